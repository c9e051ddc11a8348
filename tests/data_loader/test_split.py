import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from base.task import load_task
from data_loader.dataset import PhotoIndex
from data_loader.settings import Validation
from data_loader.split import (
    groups_in,
    holdout,
    image_level,
    save_split,
    split,
    stratified_group_kfold,
)
from utils.errors import ConfigError, DataError, UserError

FACES = load_task("faces")
AGE = FACES.heads["age"]


def index_of(people):
    """An index of seven photos for each ``(id, gender, age)``, one folder each."""
    ids, genders, ages = (np.repeat(each, 7) for each in zip(*people, strict=True))
    groups, group = np.unique(ids, return_inverse=True)
    words = np.array(["male", "female"])[genders]
    folders = [f"{i}_{g}_Asian_{a}" for i, g, a in zip(ids, words, ages, strict=True)]
    files = np.array([f"{folder}/{n % 7}.jpg" for n, folder in enumerate(folders)])
    return PhotoIndex(
        root=Path("photos"),
        files=files,
        on_disk={},
        task=FACES,
        columns={"path": files, "folder": np.array(folders)},
        values={
            "mask": np.tile([1, 0, 0, 0, 0, 0, 2], len(people)),
            "gender": genders,
            "age": ages.astype(float),
        },
        group=group.astype(np.int32),
        groups=groups,
    )


@pytest.fixture
def crowd():
    """People as unevenly spread as the competition's, one id with two folders among them."""
    rng = np.random.default_rng(0)
    ages = rng.choice([18, 25, 35, 45, 55, 60], 299, p=[0.22, 0.25, 0.04, 0.07, 0.35, 0.07])
    people = [(f"{n:06}", int(rng.random() < 0.6), int(age)) for n, age in enumerate(ages)]
    return index_of([*people, ("000007", people[7][1], 60 if people[7][2] < 60 else 18)])


def people_of(index, rows):
    return set(index.groups[index.group[rows]])


def test_validation_people_never_appear_in_training(crowd):
    for seed in range(20):
        train, validation = holdout(crowd, 0.2, seed)
        assert not people_of(crowd, train) & people_of(crowd, validation)


def test_every_photo_is_on_one_side(crowd):
    train, validation = holdout(crowd, 0.2, 0)

    assert sorted([*train, *validation]) == list(range(len(crowd)))


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.2, 1 / 3, 0.5, 0.9])
def test_the_size_is_the_fraction_and_so_is_that_of_every_stratum(crowd, fraction):
    _, validation = holdout(crowd, fraction, 3)

    assert len(people_of(crowd, validation)) == round(299 * fraction)
    for gender in range(2):
        for band in range(6):
            alike = np.flatnonzero(
                (crowd.values["gender"] == gender) & (AGE.class_of(crowd.values["age"]) == band)
            )
            there = people_of(crowd, alike)
            chosen = there & people_of(crowd, validation)
            # The id with two ages belongs to one stratum and shows up in two.
            assert abs(len(chosen) - len(there) * fraction) < 1 + 1


def test_the_seed_decides_and_nothing_else(crowd):
    first, again, other = holdout(crowd, 0.2, 1), holdout(crowd, 0.2, 1), holdout(crowd, 0.2, 2)

    assert (first[1] == again[1]).all()
    assert people_of(crowd, first[1]) != people_of(crowd, other[1])


def test_all_people_get_their_turn_over_the_seeds(crowd):
    turns = np.zeros(len(crowd))
    for seed in range(200):
        turns[holdout(crowd, 0.2, seed)[1]] += 1

    assert turns.min() > 200 * 0.2 * 0.4
    assert turns.max() < 200 * 0.2 * 1.8


def test_some_photos_of_the_index_can_be_split_alone(crowd):
    part = crowd.subset(np.arange(0, 700))

    train, validation = holdout(part, 0.2, 0)

    assert len(train) + len(validation) == 700
    assert not people_of(part, train) & people_of(part, validation)


def test_two_people_are_enough_and_one_is_not():
    two = index_of([("000001", 0, 20), ("000002", 1, 60)])
    one = index_of([("000001", 0, 20), ("000001", 0, 21)])

    train, validation = holdout(two, 0.01, 0)

    assert len(train) == len(validation) == 7
    with pytest.raises(DataError, match="1 person cannot be split"):
        holdout(one, 0.2, 0)


def test_the_saved_split_says_for_every_folder_where_it_went(tmp_path, crowd):
    train, validation = holdout(crowd, 0.2, 0)

    save_split(tmp_path / "split.csv", crowd, {"train": train, "validation": validation})

    with open(tmp_path / "split.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["folder"] for row in rows} == set(np.unique(crowd.columns["folder"]))
    assert len(rows) == 300
    assert {row["person"] for row in rows if row["part"] == "validation"} == people_of(
        crowd, validation
    )
    assert len({row["part"] for row in rows if row["person"] == "000007"}) == 1


def test_a_split_that_cannot_be_written_is_reported(tmp_path, crowd):
    (tmp_path / "file").touch()

    with pytest.raises(UserError, match="cannot be written"):
        save_split(tmp_path / "file" / "split.csv", crowd, {"train": np.arange(7)})


def folds_of(index, folds=5, seed=0):
    return [stratified_group_kfold(index, folds, fold, seed) for fold in range(folds)]


def test_nobody_is_in_two_folds_or_on_both_sides_of_one(crowd):
    for train, validation in folds_of(crowd):
        assert not people_of(crowd, train) & people_of(crowd, validation)
    validated = np.concatenate([validation for _, validation in folds_of(crowd)])
    assert sorted(validated) == list(range(len(crowd)))


def test_folds_are_equally_large_and_alike_in_gender_and_age(crowd):
    validated = [validation for _, validation in folds_of(crowd)]
    sizes = [len(people_of(crowd, rows)) for rows in validated]
    assert max(sizes) - min(sizes) <= 2
    for gender in range(2):
        for band in range(6):
            alike = (crowd.values["gender"] == gender) & (AGE.class_of(crowd.values["age"]) == band)
            shares = [alike[rows].sum() / 7 for rows in validated]
            assert max(shares) - min(shares) <= 2


@pytest.mark.slow
def test_the_seed_decides_the_folds(crowd):
    first, again, other = (folds_of(crowd, seed=seed)[0][1] for seed in (1, 1, 2))
    assert (first == again).all()
    assert people_of(crowd, first) != people_of(crowd, other)


def test_more_folds_than_people_in_the_rarest_group_are_said_and_what_to_do(caplog):
    common = [(f"{n}", n % 2, 25) for n in range(20)]
    index = index_of([*common, *((f"old{n}", 1, 70) for n in range(3))])
    for fold in range(5):
        train, validation = stratified_group_kfold(index, 5, fold, 0)
        assert len(train) + len(validation) == len(index)
    assert "female >=60: 3" in caplog.text
    assert "set validation.folds to 3" in caplog.text


def test_folds_where_every_group_is_small_still_cover_everyone():
    index = index_of([(f"{n}", n % 2, 15 + 10 * n) for n in range(6)])
    validated = np.concatenate([validation for _, validation in folds_of(index)])
    assert sorted(validated) == list(range(len(index)))


def test_more_folds_than_people_are_refused():
    index = index_of([(f"{n}", 0, 25) for n in range(4)])
    with pytest.raises(DataError, match=r"4 people.*5 folds.*validation\.folds to 4"):
        stratified_group_kfold(index, 5, 0, 0)


def test_a_fold_that_does_not_exist_is_refused(crowd):
    with pytest.raises(ConfigError, match=r"validation\.fold: 5 of 5 folds.*0 to 4"):
        stratified_group_kfold(crowd, 5, 5, 0)


def test_a_class_that_a_fold_lacks_is_named(caplog):
    index = index_of([*((f"{n}", 0, 25) for n in range(9)), ("old", 1, 70)])
    validation = Validation(type="stratified_group_kfold", folds=5)
    for fold in range(5):
        caplog.clear()
        train, _ = split(index, validation.model_copy(update={"fold": fold}), 0)
        lacking = "training" if "old" not in people_of(index, train) else "validation"
        assert f"no photo in {lacking} shows: gender female; age >=60" in caplog.text
        assert "mask worn, female, >=60" in caplog.text


def test_an_image_level_split_mixes_people_and_says_that_it_flatters(crowd, caplog):
    train, validation = image_level(crowd, 0.2, 0)
    assert sorted([*train, *validation]) == list(range(len(crowd)))
    assert len(validation) == round(0.2 * len(crowd))
    assert len(people_of(crowd, train) & people_of(crowd, validation)) > 200
    assert "flatter" in caplog.text


def test_groups_that_look_like_formulas_are_read_back_as_they_are(crowd, tmp_path):
    odd = replace(crowd, groups=np.char.add("-", crowd.groups))
    save_split(tmp_path / "split.csv", odd, {"train": np.arange(7)})
    assert groups_in(tmp_path / "split.csv", "train") == {str(odd.groups[odd.group[0]])}


def test_the_groups_of_a_part_are_read_back_and_nothing_of_what_is_no_split(crowd, tmp_path):
    train, validation = np.arange(7), np.arange(7, 14)
    save_split(tmp_path / "split.csv", crowd, {"train": train, "val": validation})
    groups = {str(crowd.groups[group]) for group in crowd.group[train]}
    assert groups_in(tmp_path / "split.csv", "train") == groups
    (tmp_path / "other.csv").write_bytes(b"\xff\x00,x\n")
    assert groups_in(tmp_path / "other.csv", "train") == set()
    assert groups_in(tmp_path / "none.csv", "train") == set()
