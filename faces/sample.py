"""Sample people: generated portraits in the competition's layout, to try the system without photos.

    DIR/train/images/<id>_<gender>_<race>_<age>/{mask1..mask5,incorrect_mask,normal}.jpg
    DIR/train/train.csv         id,gender,race,age,path
    DIR/eval/images/<name>.jpg
    DIR/eval/info.csv           ImageID,ans (0 everywhere)
    DIR/eval/answers.csv        ImageID,ans (the truth, in the order of info.csv)
    DIR/{train,eval}/saliency/  with --saliency: 255 where the person is, 0 elsewhere, as PNG
    DIR/sample.json             what was asked for; written last

Genders and ages follow the competition's, or are balanced; every photo is decided by the seed, the
half (train or eval) and the person's number alone, whatever the number of processes.
"""

import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from base.task import load_task
from faces.portrait.calm import calm_photos
from faces.portrait.masks import KINDS, Mask, choose_mask, misplace
from faces.portrait.traits import imagine_person
from faces.portrait.wild import wild_photos
from utils.csv_files import write_csv
from utils.errors import DataError
from utils.files import write_json
from utils.progress import Progress

FACES = load_task("faces")
GENDERS = FACES.heads["gender"].classes
MASK_OF_PHOTO = {
    photo: code
    for code, photos in enumerate(FACES.heads["mask"].settings.cells)
    for photo in photos
}
"""A photo's file name without its ending → mask code; everyone is photographed these seven ways."""
# TRACER/weights.py knows this name, too: by it drawn
# people are told from photographed ones.
MARKER = "sample.json"
BEGUN = "sample.begun.json"
"""In its place until the last photo is drawn: make takes a file that is there for a whole set."""
RACE = "Drawn"
VERSION = 2
"""Raised when the same arguments come to draw other pictures, so that an old set is not kept."""
GENDER_SHARES = (1042, 1658)
"""How many of the competition's 2,700 people are male and female."""
AGE_SHARES = {
    (18, 19): 599,
    (20, 29): 682,
    (30, 39): 95,
    (40, 49): 192,
    (50, 59): 940,
    (60, 60): 192,
}
"""How many of them are of these ages (first and last year, both included)."""
HALVES = ("train", "eval")
WORTH_A_PROCESS = 8
"""People for whom it pays to start one more process."""


class Entry(NamedTuple):
    """One person to draw: half 0 is train, 1 is eval."""

    half: int
    number: int
    gender: int
    age: int


def generate(
    out: Path,
    persons: int,
    eval_persons: int,
    seed: int,
    saliency: bool = False,
    varied: bool = False,
    workers: int | None = None,
    balanced: Collection[str] = (),
) -> None:
    """Write a whole data set; one that is already there, with the same arguments, is kept.

    Args:
        out: the folder; it must be new, empty, or hold this very set, whole or in part.
        persons, eval_persons: how many people each half has; everyone is photographed seven times.
        saliency: write the masks of the people as well.
        varied: any framing, clothing, background and camera, to train TRACER on.
        workers: processes; None takes as many as there are cores.
        balanced: halves (``"train"``, ``"eval"``) that have as many people of each gender and age
            group, rather than the competition's shares: a test with few photos of a class says
            little of that class.

    Raises:
        DataError: ``out`` holds something else or cannot be written, or a number makes no sense.
    """
    _check_numbers(persons, eval_persons, seed, workers)
    asked = {"persons": persons, "eval_persons": eval_persons, "seed": seed, "saliency": saliency,
             "varied": varied, "version": VERSION, "balanced": sorted(balanced)}  # fmt: skip
    if _already_there(out, asked):
        print(f"{out}: these sample people are already there")
        return
    # Before the first photo, so that a folder that was
    # cut off is told from somebody else's.
    write_json(out / BEGUN, asked | {"complete": False})
    (out / MARKER).unlink(missing_ok=True)  # of an older version, which wrote it first
    # Two casts by seeds of their own: more people in
    # one half change nobody in the other.
    counts = (persons, eval_persons)
    entries = [
        entry for half, (name, count) in enumerate(zip(HALVES, counts, strict=True))
        for entry in cast_people(count, half, seed, name in balanced)
    ]  # fmt: skip
    _write_tables(out, entries, seed)
    draw = partial(_draw_entry, out=out, seed=seed, saliency=saliency, varied=varied)
    _run(draw, entries, workers)
    write_json(out / MARKER, asked | {"complete": True})
    (out / BEGUN).unlink()


def _check_numbers(persons: int, eval_persons: int, seed: int, workers: int | None) -> None:
    for option, value in (("persons", persons), ("eval-persons", eval_persons), ("seed", seed)):
        if value < 0:
            raise DataError(f"--{option} {value}: give 0 or more")
    if persons + eval_persons == 0:
        raise DataError("--persons 0 --eval-persons 0: ask for at least one person")
    if workers is not None and workers < 1:
        raise DataError(f"--workers {workers}: give 1 or more")


def cast_people(count: int, half: int, seed: int, balanced: bool = False) -> list[Entry]:
    """Who is photographed, in random order: the competition's shares of gender and age, or with
    ``balanced`` as many of each gender and age group.

    Every group of gender and age group gets one person before the shares are filled up, so that
    six people already cover them all.
    """
    # The third number keeps this stream apart from
    # those of the photos (2) and the order (3).
    rng = np.random.default_rng([seed, half, 1])
    quota = _quota(count, balanced)
    entries = []
    for (gender, ages), people in quota.items():
        entries += [(gender, int(rng.integers(ages[0], ages[1] + 1))) for _ in range(people)]
    # Else the number in the id would tell the age: an eval
    # of the first hundred would be all young.
    order = rng.permutation(len(entries))
    return [Entry(half, number + 1, *entries[place]) for number, place in enumerate(order)]


Cell = tuple[int, tuple[int, int]]
"""Gender, and first and last year of age."""


def _quota(count: int, balanced: bool) -> dict[Cell, int]:
    """People per gender and age bin: one for each of the six groups, the rest by their shares;
    ``balanced``, each group the same."""
    share = {
        (gender, ages): GENDER_SHARES[gender] * AGE_SHARES[ages] / sum(AGE_SHARES.values())
        for gender in range(len(GENDERS))
        for ages in AGE_SHARES
    }
    groups: dict[tuple[int, int], dict[Cell, float]] = {}
    # Ascending, so that the last one of a group is its commonest.
    for gender, ages in sorted(share, key=share.__getitem__):
        groups.setdefault((gender, _age_group(ages[0])), {})[gender, ages] = share[gender, ages]
    quota = dict.fromkeys(share, 0)
    if balanced:
        for place, cells in enumerate(groups.values()):
            _fill(quota, cells, count // len(groups) + (place < count % len(groups)))
        return quota
    for cells in list(groups.values())[:count]:
        quota[list(cells)[-1]] = 1
    _fill(quota, share, count)
    return quota


def _fill(quota: dict[Cell, int], share: Mapping[Cell, float], count: int) -> None:
    """Raise ``quota`` until the cells of ``share`` have ``count`` people."""
    total = sum(share.values())
    while sum(quota[cell] for cell in share) < count:
        # To whoever is furthest below their share:
        # exact for any number, without drawing.
        quota[max(share, key=lambda cell: share[cell] / total * count - quota[cell])] += 1


def _already_there(out: Path, asked: dict) -> bool:
    """Whether the set is there and whole; a part of it is drawn again."""
    try:
        if not out.exists() or not any(out.iterdir()):
            return False
    except OSError as error:
        raise DataError(f"{out}: not a folder that can be read ({error.strerror})") from error
    try:
        marker = next(path for path in (out / MARKER, out / BEGUN) if path.exists())
        found = json.loads(marker.read_text(encoding="utf-8"))
        # Sets from before there was a choice have the competition's shares.
        found.setdefault("balanced", [])
        # What was asked for is compared without it.
        complete = found.pop("complete")
    except (StopIteration, OSError, ValueError, KeyError, AttributeError):
        raise DataError(f"{out}: not empty; give a new or empty folder with --out") from None
    if found != asked:
        shown = ", ".join(
            f"{key} {found.get(key)}" for key in asked if found.get(key) != asked[key]
        )
        raise DataError(
            f"{out}: holds other sample people ({shown}); give another folder or remove it"
        )
    return complete


def _run(draw: Callable[[Entry], None], entries: list[Entry], workers: int | None) -> None:
    """Draw everyone, in this process or in several, with a progress bar."""
    # os.cpu_count would count cores that a container may not use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(workers or cores or 1, max(1, len(entries) // WORTH_A_PROCESS))
    bar = partial(Progress, total=len(entries), desc="sample people", unit="person")
    if workers == 1:
        for _ in bar(map(draw, entries)):
            pass
        return
    # Fork would copy OpenCV's threads in the middle of their work.
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, spawn, _prepare_process) as pool:
            # In twos: few messages between processes, and
            # all end at about the same time.
            for _ in bar(pool.map(draw, entries, chunksize=2)):
                pass
    except BrokenProcessPool:
        raise DataError(
            "a process that drew was killed (memory?); run again, --workers 1"
        ) from None


def _prepare_process() -> None:
    """One thread each, and Ctrl-C is the main process's business."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw_entry(entry: Entry, out: Path, seed: int, saliency: bool, varied: bool) -> None:
    """Draw and write the seven photos of one person."""
    # Of this person's own, whichever process draws them and in what order.
    rng = np.random.default_rng([seed, entry.half, 2, entry.number])
    person = imagine_person(entry.gender, entry.age, rng)
    masks = _masks(rng)
    photos = (wild_photos if varied else calm_photos)(person, list(masks.values()), rng)
    for name, (image, covered, quality) in zip(masks, photos, strict=True):
        stem = eval_name(seed, entry, name) if entry.half else name
        jpeg = [cv2.IMWRITE_JPEG_QUALITY, quality]
        _write(_place(out, entry, "images") / f"{stem}.jpg", image[..., ::-1], jpeg)
        if saliency:
            # Level 1: masks compress well at any level, and at this one quickly.
            png = [cv2.IMWRITE_PNG_COMPRESSION, 1]
            _write(_place(out, entry, "saliency") / f"{stem}.png", covered, png)


def _masks(rng: np.random.Generator) -> dict[str, Mask | None]:
    """Photo name → mask: all five kinds worn, one of them wrongly, and none."""
    # In another order for each person, or mask1 would always be the surgical one.
    kinds = rng.permutation(KINDS)
    worn = {f"mask{place + 1}": choose_mask(str(kind), rng) for place, kind in enumerate(kinds)}
    wrong = misplace(choose_mask(str(rng.choice(KINDS)), rng), rng)
    return worn | {"incorrect_mask": wrong, "normal": None}


def eval_name(seed: int, entry: Entry, photo: str) -> str:
    """The name of an eval photo, which says nothing of its label: 40 hexadecimal digits."""
    return hashlib.sha1(f"{seed}/{entry.number}/{photo}".encode()).hexdigest()


def _folder(entry: Entry) -> str:
    return f"{entry.number:06d}_{GENDERS[entry.gender]}_{RACE}_{entry.age}"


def _place(out: Path, entry: Entry, kind: str) -> Path:
    """The folder of a person's ``images`` or ``saliency``."""
    return out / "eval" / kind if entry.half else out / "train" / kind / _folder(entry)


def _write(path: Path, image: np.ndarray, options: list[int]) -> None:
    data = cv2.imencode(path.suffix, image, options)[1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def _write_tables(out: Path, entries: list[Entry], seed: int) -> None:
    train = [entry for entry in entries if entry.half == 0]
    answers = [
        (
            f"{eval_name(seed, entry, photo)}.jpg",
            FACES.encode({"mask": mask, "gender": entry.gender, "age": _age_group(entry.age)}),
        )
        for entry in entries
        if entry.half == 1
        for photo, mask in MASK_OF_PHOTO.items()
    ]
    # Mixed: in the order of people a neighbor's
    # answer would give away gender and age.
    order = np.random.default_rng([seed, 3]).permutation(len(answers))
    answers = [answers[place] for place in order]
    rows = [(f"{e.number:06d}", GENDERS[e.gender], RACE, e.age, _folder(e)) for e in train]
    write_csv(out / "train" / "train.csv", ("id", "gender", "race", "age", "path"), rows)
    write_csv(
        out / "eval" / "info.csv",
        ("ImageID", "ans"),
        [(name, 0) for name, _ in answers],
    )
    write_csv(out / "eval" / "answers.csv", ("ImageID", "ans"), answers)


def _age_group(years: int) -> int:
    return int(FACES.heads["age"].answer_of(np.array([float(years)]))[0])
