"""Find photos and people whose labels are probably wrong.

    python train.py -c config.json --folds all --run-id first
    python -m tools.audit --run saved/models/Mask_Base/first

Models that never saw a person say what they take him for; where they surely say something else
than the label, the label is suspect (confident learning, Northcutt et al. 2021; cleanlab does the
counting). Ages are ordered: the further the answers lie from the label, the more suspect it is, and
a neighbouring bin, which may be a matter of months, is no error. Out-of-fold answers cover
everyone, those of a run with a holdout only its validation people. The way the mask is worn is
judged photo by photo, gender and age by person.

The suspects go into audit.csv, worst first, a row each, and the worst also onto a contact sheet
for each head. Nothing is believed unseen: a row counts as a correction only once somebody has
written `yes` into its column `apply` (and, if need be, mended its `value`). Then

    "label_corrections": {"path": "saved/log/Mask_Base/first/audit.csv"}
"""

import argparse
import csv
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from data_loader.labels import AGE_EDGES, GENDERS, HEADS, MASKS, NAMES, OLDEST
from utils.cli import run_command
from utils.config_files import read_json5
from utils.errors import DataError
from utils.files import write_atomically
from utils.run_folder import OUT_OF_FOLD, VALIDATION, RunFolder, answers_in

COLUMNS = (
    "apply", "key", "field", "value", "tier", "sources", "note", "rank", "score", "photo",
)  # fmt: skip
LEAST, ON_SHEET = 20, 30
"""Suspects of a head that are listed at least, and that its contact sheet shows at most."""


@dataclass(frozen=True)
class Answers:
    """What models said of N photos that they never saw in training.

    Attributes:
        photo: (N,) str, files below the data set's train/images.
        folder: (N,) str, the person's folder.
        person: (N,) str, the person's id.
        years: (N,) int, labelled age.
        labels: head → (N,) int64.
        probabilities: head → (N, n) float.
    """

    photo: np.ndarray
    folder: np.ndarray
    person: np.ndarray
    years: np.ndarray
    labels: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]


@dataclass(frozen=True)
class Suspects:
    """The samples of one head, the most suspicious first.

    Attributes:
        head: which.
        rows: (M, ) tuple of photos' rows of ``Answers``, one a sample: a photo, or all of a folder.
        labels: (M,) int64 as labelled.
        suggested: (M,) int64, the likeliest by the models.
        scores: (M,) float in [0, 1], quality of the label; low is suspicious.
        sure: (M,) float, probability of the suggested.
        flagged: how many of the first cleanlab takes for errors.
    """

    head: str
    rows: tuple[np.ndarray, ...]
    labels: np.ndarray
    suggested: np.ndarray
    scores: np.ndarray
    sure: np.ndarray
    flagged: int


def read_answers(path: Path) -> Answers:
    """Read ``oof.npz`` or ``validation.npz``.

    Raises:
        DataError: it can't be read, is of a model without the three heads, or holds NaN.
    """
    try:
        with np.load(path) as saved:
            columns = {name: saved[name] for name in saved.files}
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: answers that can't be read ({error})") from error
    for name in ("photo", *(f"probabilities_{head}" for head in HEADS)):
        if name not in columns:
            raise DataError(
                f"{path}: no {name} in it; an audit needs a run of this version with three heads"
                " (arch.type TimmModelMulti or TorchVisionModel)"
            )
    probabilities = {head: columns[f"probabilities_{head}"] for head in HEADS}
    for head, values in probabilities.items():
        if not np.isfinite(values).all():
            raise DataError(
                f"{path}: probabilities of {head} that are no numbers (NaN): the training failed;"
                " repeat it with a lower optimizer.args.lr"
            )
    return Answers(
        photo=columns["photo"],
        folder=columns["folder"],
        person=columns["group"],
        years=columns["value_age"].astype(int),
        labels={head: columns[f"target_{head}"] for head in HEADS},
        probabilities=probabilities,
    )


def find_suspects(answers: Answers, head: str) -> Suspects:
    """Rank the labels of a head: of photos for the mask, of people (folders) for the others."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    rows = [np.array([row]) for row in range(len(answers.photo))]
    if head != "mask":
        _, folder = np.unique(answers.folder, return_inverse=True)
        rows = [np.flatnonzero(folder == number) for number in range(folder.max() + 1)]
    labels = np.array([answers.labels[head][each[0]] for each in rows])
    probabilities = np.stack([answers.probabilities[head][each].mean(axis=0) for each in rows])
    # Classes that nobody is labelled with would divide by zero.
    present = np.unique(labels)
    known = probabilities[:, present] / probabilities[:, present].sum(axis=1, keepdims=True)
    codes, suggested = np.searchsorted(present, labels), present[known.argmax(axis=1)]
    scores, issues = np.ones(len(labels)), np.zeros(len(labels), bool)
    if len(present) > 1:
        scores = get_label_quality_scores(codes, known, method="normalized_margin")
        issues = find_label_issues(codes, known, n_jobs=1)
    if head == "age":
        scores = 1 - expected_distance(probabilities, labels) / (probabilities.shape[1] - 1)
        issues &= np.abs(suggested - labels) > 1
    order = np.lexsort((scores, ~issues))
    return Suspects(
        head=head,
        rows=tuple(rows[place] for place in order),
        labels=labels[order],
        suggested=suggested[order],
        scores=scores[order],
        sure=known.max(axis=1)[order],
        flagged=int(issues.sum()),
    )


def expected_distance(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many bins the answers lie from the labels on average, (M,).

    The earth mover's distance between answer and label for classes in an order (Hou, Yu and
    Samaras 2016, arXiv:1611.05916, there squared).

    Args:
        probabilities: (M, n).
        labels: (M,) codes.
    """
    bins = np.arange(probabilities.shape[1])
    return (probabilities * np.abs(bins - labels[:, None])).sum(axis=1)


def propose(
    answers: Answers, suspects: Suspects, number: int, age_edges: Sequence[int] = AGE_EDGES
) -> list[dict[str, str]]:
    """The first ``number`` suspects as lines of a table of corrections, none of them applied."""
    lines = []
    for place in range(min(number, len(suspects.labels))):
        rows = suspects.rows[place]
        label, suggested = suspects.labels[place], suspects.suggested[place]
        names = NAMES["en"][suspects.head]
        value = _value(suspects.head, int(suggested), int(answers.years[rows[0]]), age_edges)
        note = f"labelled {names[label]}, looks {names[suggested]} ({suspects.sure[place]:.0%})"
        if suspects.head == "age":
            note = note.replace("labelled", f"labelled {answers.years[rows[0]]},", 1)
        lines += [
            {
                "apply": "",
                "key": key,
                "field": suspects.head,
                "value": value,
                "tier": "likely",
                "sources": "audit",
                "note": note,
                "rank": str(place + 1),
                "score": f"{suspects.scores[place]:.4f}",
                "photo": str(answers.photo[_shown(answers, rows)]),
            }
            for key in _keys(answers, rows)
        ]
    return lines


def contact_sheet_of(answers: Answers, suspects: Suspects, number: int, photos: Path) -> np.ndarray:
    """Photos of the first ``number`` suspects with label and suggestion, (H, W, 3) uint8 RGB."""
    from logger.pictures import GREEN, INK, RED, contact_sheet
    from utils.images import read_image

    names = NAMES["en"][suspects.head]
    pictures, captions = [], []
    for place in range(min(number, len(suspects.labels))):
        rows = suspects.rows[place]
        pictures.append(read_image(photos / str(answers.photo[_shown(answers, rows)])))
        suggestion = f"looks {names[suspects.suggested[place]]} {suspects.sure[place]:.0%}"
        captions.append(
            [
                (f"{place + 1}. {_keys(answers, rows)[0]}"[:24], INK),
                (f"is {names[suspects.labels[place]]}", RED),
                (suggestion, GREEN),
            ]
        )
    return contact_sheet(pictures, captions)


def _keys(answers: Answers, rows: np.ndarray) -> list[str]:
    """What a table of corrections calls these photos of one folder."""
    person = str(answers.person[rows[0]])
    if len(np.unique(answers.folder[answers.person == person])) > 1:
        return [str(photo) for photo in answers.photo[rows]]
    if len(rows) == 1:
        return [f"{person}/{PurePosixPath(answers.photo[rows[0]]).stem.lower()}"]
    return [person]


def _value(head: str, code: int, years: int, age_edges: Sequence[int]) -> str:
    """What a table of corrections calls a class; of an age bin the year nearest to ``years``."""
    if head != "age":
        return {"mask": MASKS, "gender": GENDERS}[head][code]
    first, last = (0, *age_edges)[code], (*age_edges, OLDEST + 1)[code] - 1
    return str(min(max(years, first), last))


def _shown(answers: Answers, rows: np.ndarray) -> int:
    """The photo that shows most of a person's face."""
    stems = [PurePosixPath(photo).stem.lower() for photo in answers.photo[rows]]
    return int(rows[stems.index("normal") if "normal" in stems else 0])


def find_run(run: Path) -> tuple[Path, Path]:
    """The answers of a run and its config, by its folder under ``models`` or ``log``.

    Raises:
        DataError: it is no run, or has left no answers.
    """
    folder = RunFolder.of(run.resolve())
    if folder is None:
        raise DataError(f"{run}: not a run; name its folder, such as saved/models/<name>/<run_id>")
    if answers := answers_in(folder.log):
        return answers, folder.config
    raise DataError(
        f"{run}: no {OUT_OF_FOLD} or {VALIDATION} in {folder.log}; train it, best with"
        " train.py --folds all"
    )


def write_table(path: Path, lines: Sequence[dict[str, str]]) -> None:
    """Write proposals as a table of corrections."""
    with write_atomically(path) as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Rank, write, and say how many."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of a run or of its folds")
    parser.add_argument("--out", type=Path, help="the CSV to write (default: audit.csv in its log)")
    parser.add_argument(
        "--top", type=int, metavar="N",
        help="list so many of each head (default: what cleanlab takes for errors, 20 at least)",
    )  # fmt: skip
    parser.add_argument("--data-dir", type=Path, help="where the photos are now")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    args = parser.parse_args(argv)
    from logger.pictures import save_picture

    path, config = find_run(args.run)
    answers = read_answers(path)
    out = args.out or path.with_name("audit.csv")
    settings = read_json5(config)
    photos = (args.data_dir or Path(settings["data_dir"])) / "train" / "images"
    age_edges = settings.get("labels", {}).get("age_edges", AGE_EDGES)
    print(f"{len(answers.photo)} photos of {len(np.unique(answers.person))} people: {path}")
    if path.name != OUT_OF_FOLD:
        print("only people of the validation are audited; train.py --folds all covers everyone")
    lines, sheets = [], []
    for head in HEADS:
        suspects = find_suspects(answers, head)
        number = max(suspects.flagged, LEAST) if args.top is None else args.top
        lines += propose(answers, suspects, number, age_edges)
        kind = "photos" if head == "mask" else "people"
        print(f"{head}: {suspects.flagged} of {len(suspects.labels)} {kind} are taken for errors")
        if number:
            sheet = contact_sheet_of(answers, suspects, min(number, ON_SHEET), photos)
            sheets.append(out.with_suffix(f".{head}.png"))
            save_picture(sheets[-1], sheet)
    write_table(out, lines)
    print(f"proposals: {out}", *(f"pictures: {sheet}" for sheet in sheets), sep="\n")
    print("write `yes` under `apply` where one is right, then train with")
    print("  --set " + shlex.quote(f"label_corrections.path={out}"))


if __name__ == "__main__":
    run_command(main, debug="--debug" in sys.argv)
