"""The generated people: layout, labels, masks, and what happens in a folder that is not empty."""

import csv
import filecmp
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from faces.sample import FACES, GENDERS, MASK_OF_PHOTO, cast_people, generate
from utils.errors import DataError, UserError

PERSONS, EVAL_PERSONS = 12, 6
PHOTOS = [f"mask{number}.jpg" for number in range(1, 6)] + ["incorrect_mask.jpg", "normal.jpg"]


def age_group(years):
    return int(FACES.heads["age"].answer_of(np.array([float(years)]))[0])


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    """A small set with person masks, drawn in two processes."""
    out = tmp_path_factory.mktemp("sample") / "people"
    generate(out, PERSONS, EVAL_PERSONS, seed=5, saliency=True, workers=2)
    return out


@pytest.fixture(scope="module")
def varied(tmp_path_factory) -> Path:
    """A few varied photos with person masks."""
    out = tmp_path_factory.mktemp("varied") / "people"
    generate(out, 4, 0, seed=5, saliency=True, varied=True, workers=1)
    return out


def read_table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files_of(folder: Path) -> dict[str, Path]:
    return {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_same_files(first: Path, second: Path) -> None:
    assert files_of(first).keys() == files_of(second).keys()
    for name, path in files_of(first).items():
        assert filecmp.cmp(path, second / name, shallow=False), name


def test_everyone_is_photographed_seven_times(sample):
    folders = sorted((sample / "train" / "images").iterdir())
    assert len(folders) == PERSONS
    for folder in folders:
        assert sorted(photo.name for photo in folder.iterdir()) == sorted(PHOTOS)
    assert len(list((sample / "eval" / "images").iterdir())) == EVAL_PERSONS * len(PHOTOS)


def test_photos_have_the_competitions_size(sample):
    for photo in [*sample.glob("train/images/*/normal.jpg"), *sample.glob("eval/images/*.jpg")]:
        assert cv2.imread(str(photo)).shape == (512, 384, 3)


def test_folder_names_and_the_train_table_agree(sample):
    rows = read_table(sample / "train" / "train.csv")
    assert list(rows[0]) == ["id", "gender", "race", "age", "path"]
    for row in rows:
        assert row["path"] == f"{row['id']}_{row['gender']}_{row['race']}_{row['age']}"
        assert (sample / "train" / "images" / row["path"]).is_dir()
        assert re.fullmatch(r"\d{6}", row["id"]) and row["gender"] in GENDERS
        assert 18 <= int(row["age"]) <= 60


def test_the_eval_tables_name_every_photo_once_and_give_nothing_away(sample):
    info, answers = (read_table(sample / "eval" / f"{name}.csv") for name in ("info", "answers"))
    names = [row["ImageID"] for row in info]
    assert sorted(names) == sorted(photo.name for photo in (sample / "eval" / "images").iterdir())
    assert names == [row["ImageID"] for row in answers]
    assert {row["ans"] for row in info} == {"0"}
    assert all(re.fullmatch(r"[0-9a-f]{40}\.jpg", name) for name in names)
    assert names != sorted(names)


def test_even_a_small_set_has_every_class(sample):
    train = [folder.name.split("_") for folder in (sample / "train" / "images").iterdir()]
    groups = {(GENDERS.index(gender), age_group(int(age))) for _, gender, _, age in train}
    assert len(groups) == 6
    answers = [int(row["ans"]) for row in read_table(sample / "eval" / "answers.csv")]
    assert set(answers) == set(range(18))
    masks = Counter(FACES.decode(answer)["mask"] for answer in answers)
    assert masks == {0: 5 * EVAL_PERSONS, 1: EVAL_PERSONS, 2: EVAL_PERSONS}


def test_the_answers_are_those_of_the_people_drawn(sample):
    people = cast_people(EVAL_PERSONS, half=1, seed=5)
    expected = Counter(
        FACES.encode({"mask": mask, "gender": person.gender, "age": age_group(person.age)})
        for person in people
        for mask in MASK_OF_PHOTO.values()
    )
    answers = read_table(sample / "eval" / "answers.csv")
    assert Counter(int(row["ans"]) for row in answers) == expected


def test_genders_and_ages_follow_the_competition():
    people = cast_people(2700, half=0, seed=1)
    assert abs(sum(person.gender == 0 for person in people) - 1042) <= 6
    for low, high, count in [(18, 19, 599), (20, 29, 682), (30, 39, 95), (40, 49, 192),
                             (50, 59, 940), (60, 60, 192)]:  # fmt: skip
        assert abs(sum(low <= person.age <= high for person in people) - count) <= 6


@pytest.mark.parametrize("count", [60, 64, 5])
def test_balanced_halves_have_as_many_of_each_gender_and_age_group(count):
    people = cast_people(count, half=1, seed=1, balanced=True)
    groups = Counter((person.gender, age_group(person.age)) for person in people)
    assert len(people) == count and len(groups) == min(count, 6)
    assert max(groups.values()) - min(groups.values()) <= 1


def test_another_balance_is_another_set(tmp_path):
    generate(tmp_path / "people", 1, 0, seed=5, workers=1, balanced=["train"])
    with pytest.raises(DataError, match=r"balanced \['train'\]"):
        generate(tmp_path / "people", 1, 0, seed=5, workers=1)


def test_person_masks_fit_their_photos(sample):
    photos = files_of(sample / "train" / "images") | files_of(sample / "eval" / "images")
    masks = files_of(sample / "train" / "saliency") | files_of(sample / "eval" / "saliency")
    assert {Path(name).with_suffix("") for name in photos} == {
        Path(name).with_suffix("") for name in masks
    }
    for path in masks.values():
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (512, 384) and mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 255}
        assert 0.2 < (mask > 0).mean() < 0.75
        assert mask[195:265, 165:219].all(), "the middle of the face belongs to the person"
        assert not mask[:20].any(), "there is room above the head"


def test_the_photos_of_a_person_share_a_background(sample):
    folder = next((sample / "train" / "images").iterdir())
    outside = []
    for name in ("mask1", "normal"):
        mask = cv2.imread(str(sample / "train" / "saliency" / folder.name / f"{name}.png"), 0)
        outside.append(cv2.imread(str(folder / f"{name}.jpg"))[mask == 0].mean(0))
    assert np.abs(outside[0] - outside[1]).max() < 40


def test_varied_photos_come_with_masks_of_many_sizes(varied):
    shares = [
        (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 0).mean()
        for path in files_of(varied / "train" / "saliency").values()
    ]
    assert len(shares) == 4 * len(PHOTOS)
    assert max(shares) - min(shares) > 0.25
    assert min(shares) > 0.02


def test_the_number_of_processes_does_not_change_a_byte(sample, tmp_path):
    generate(tmp_path / "again", PERSONS, EVAL_PERSONS, seed=5, saliency=True, workers=1)
    assert_same_files(sample, tmp_path / "again")


def test_more_people_to_train_on_leave_the_eval_half_as_it_is(sample, tmp_path):
    generate(tmp_path / "fewer", 1, EVAL_PERSONS, seed=5, saliency=True, workers=1)
    assert_same_files(sample / "eval", tmp_path / "fewer" / "eval")


def test_another_seed_draws_other_people(tmp_path, sample):
    generate(tmp_path / "other", 0, 1, seed=6, workers=1)
    other = {path.read_bytes() for path in (tmp_path / "other").rglob("*.jpg")}
    assert not other & {path.read_bytes() for path in sample.rglob("*.jpg")}


def test_a_finished_set_is_kept(sample, capsys):
    before = {name: path.stat().st_mtime_ns for name, path in files_of(sample).items()}
    generate(sample, PERSONS, EVAL_PERSONS, seed=5, saliency=True)
    assert before == {name: path.stat().st_mtime_ns for name, path in files_of(sample).items()}
    assert "already there" in capsys.readouterr().out


def test_an_interrupted_set_is_completed(tmp_path):
    out = tmp_path / "people"
    generate(out, 2, 0, seed=5, workers=1)
    whole = {name: path.read_bytes() for name, path in files_of(out).items()}
    marker = json.loads((out / "sample.json").read_text())
    # As an older version left it.
    (out / "sample.json").write_text(json.dumps(marker | {"complete": False}))
    victim = next(out.rglob("normal.jpg"))
    victim.unlink()
    victim.mkdir()
    with pytest.raises(UserError):
        generate(out, 2, 0, seed=5, workers=1)
    # By this file make knows that all are drawn; without it, the next call draws the rest.
    assert not (out / "sample.json").exists()
    victim.rmdir()
    generate(out, 2, 0, seed=5, workers=1)
    assert whole == {name: path.read_bytes() for name, path in files_of(out).items()}


def test_other_sample_people_in_the_folder_are_refused(sample):
    with pytest.raises(DataError, match="seed 5"):
        generate(sample, PERSONS, EVAL_PERSONS, seed=6, saliency=True)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match="not empty"):
        generate(tmp_path, 1, 0, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(DataError, match="folder"):
        generate(tmp_path / "file", 1, 0, seed=1)


@pytest.mark.parametrize("numbers", [(-1, 3, 0, 1), (0, 0, 0, 1), (1, 1, -1, 1), (1, 1, 0, 0)])
def test_numbers_without_sense_are_refused(tmp_path, numbers):
    persons, eval_persons, seed, workers = numbers
    with pytest.raises(DataError, match="--"):
        generate(tmp_path / "new", persons, eval_persons, seed, workers=workers)
    assert not (tmp_path / "new").exists()


def test_the_command_ends_in_one_line_and_code_2_for_a_full_folder(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    command = [sys.executable, "-m", "tools.sample", "--out", str(tmp_path), "--persons", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_importing_the_generator_does_not_import_torch():
    code = "import sys, faces.sample; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
