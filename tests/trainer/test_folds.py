import csv

import numpy as np
import pytest

from base.task import load_task
from trainer.folds import choose_folds, out_of_fold, write_results
from utils.errors import ConfigError, DataError

FACES = load_task("faces")


def answers_of(folder, fold, photos, **changes):
    """The validation.npz of a fold, right about every other photo."""
    draw = np.random.default_rng(fold)
    number = len(photos)
    target = {head: draw.integers(0, n, number) for head, n in HEADS.items()}
    age_group = np.take(FACES.heads["age"].group_of, target["age"])
    classes = FACES.encode(target | {"age": age_group})
    said = np.where(np.arange(number) % 2, classes, (classes + 1) % 18)
    columns = {
        "index": np.arange(number),
        "classes": classes,
        "class_probabilities": np.eye(18, dtype=np.float32)[said],
        "answers": said,
        "photo": np.array(photos),
        "group": np.array([photo.split("/")[0] for photo in photos]),
        "value_age": draw.integers(18, 60, number),
    }
    columns |= {f"target_{head}": codes for head, codes in target.items()}
    columns |= {f"probabilities_{h}": np.eye(n)[target[h]] for h, n in HEADS.items()}
    path = folder / f"{fold}.npz"
    np.savez(path, **columns | changes)
    return path


HEADS = {"mask": 3, "gender": 2, "age": 6}


@pytest.fixture
def answers(tmp_path):
    return {
        0: answers_of(tmp_path, 0, [f"b/mask{n}" for n in range(1, 6)]),
        1: answers_of(tmp_path, 1, [f"a/mask{n}" for n in range(1, 5)]),
    }


def test_folds_are_named_by_number_or_all_at_once():
    assert choose_folds("all", 3) == [0, 1, 2]
    assert choose_folds("2,0", 5) == [0, 2]
    with pytest.raises(ConfigError, match=r"--folds 5: .*0 to 4"):
        choose_folds("5", 5)
    with pytest.raises(ConfigError, match=r"--folds every: give 'all'"):
        choose_folds("every", 5)


def test_out_of_fold_answers_hold_every_photo_once_in_order(answers):
    joined = out_of_fold(answers)
    assert joined["photo"].tolist() == sorted(joined["photo"].tolist())
    assert joined["fold"].tolist() == [1] * 4 + [0] * 5
    assert joined["probabilities_age"].shape == (9, 6)
    assert (joined["probabilities_mask"].argmax(axis=1) == joined["target_mask"]).all()


def test_the_table_has_each_fold_their_mean_and_sd_and_all_together(answers, tmp_path):
    text = write_results(tmp_path / "out", answers, FACES)
    with open(tmp_path / "out" / "folds.csv") as file:
        rows = {row["part"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["fold 0", "fold 1", "mean", "sd", "out of fold"]
    accuracies = [float(rows[f"fold {fold}"]["accuracy"]) for fold in (0, 1)]
    assert accuracies == [0.4, 0.5]
    assert float(rows["mean"]["accuracy"]) == pytest.approx(0.45)
    assert float(rows["sd"]["accuracy"]) == pytest.approx(np.std(accuracies, ddof=1))
    assert float(rows["out of fold"]["accuracy"]) == pytest.approx(4 / 9)
    assert "macro-F1" in text and "0.4500" in text
    assert (tmp_path / "out" / "folds.md").read_text() == text + "\n"


def test_answers_with_nan_are_refused(answers, tmp_path):
    broken = np.full((4, 18), np.nan, np.float32)
    answers[1] = answers_of(tmp_path, 1, [f"a/{n}" for n in range(4)], class_probabilities=broken)
    with pytest.raises(DataError, match=r"1\.npz: class_probabilities .*NaN.*fold 1"):
        out_of_fold(answers)


def test_a_photo_that_two_folds_validated_is_refused(answers, tmp_path):
    answers[1] = answers_of(tmp_path, 1, ["b/mask1"])
    with pytest.raises(DataError, match="b/mask1: validated in two folds"):
        out_of_fold(answers)


def test_missing_answers_are_refused(answers, tmp_path):
    answers[1] = tmp_path / "none.npz"
    with pytest.raises(DataError, match=r"none\.npz: the answers of fold 1 can't be read"):
        out_of_fold(answers)


def test_a_number_that_is_not_known_of_a_photo_is_no_failed_training(tmp_path):
    photos = [f"b/mask{n}" for n in range(1, 6)]
    years = np.array([20.0, np.nan, 30, 40, 50])
    joined = out_of_fold({0: answers_of(tmp_path, 0, photos, value_age=years)})
    assert np.isnan(joined["value_age"]).sum() == 1
    broken = np.full((5, 6), np.nan)
    with pytest.raises(DataError, match="probabilities_age has values that are no numbers"):
        out_of_fold({0: answers_of(tmp_path, 0, photos, probabilities_age=broken)})
