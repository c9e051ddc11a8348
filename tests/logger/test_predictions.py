"""The one file that keeps a run's answers, for tasks of every kind."""

from dataclasses import replace

import numpy as np
import pytest

from base.task import Task
from base.task_settings import TaskSettings
from logger.predictions import (
    SavedPredictions,
    averaged,
    joined,
    of_common_photos,
    read_predictions,
    write_predictions,
)
from logger.report.per_head import predictions_of_run
from utils.errors import DataError

HEADS = {
    "shape": {"classes": ["round", "long"]},
    "tags": {"type": "multilabel", "classes": ["sky", "sea"], "threshold": 0.4},
    "size": {"bins": [10, 20]},
    "years": {"type": "number", "bins": "0:4:1"},
    "kind": {"classes": [f"kind {number}" for number in range(100)]},
}
PHOTOS = {"photo": np.array(["a.jpg", "b.jpg"]), "group": np.array(["a", "b"])}


def predictions_of(heads, values, seed=0, photos=PHOTOS, **others):
    task = Task(TaskSettings.model_validate({"heads": heads}))
    rng = np.random.default_rng(seed)
    said = {
        name: rng.dirichlet(np.ones(head.num_classes), len(photos["photo"])).astype(np.float32)
        for name, head in task.heads.items()
    }
    return SavedPredictions(task, said, values, photos, **others)


@pytest.fixture
def everything():
    values = {
        "shape": np.array([0, -1]), "tags": np.eye(2, dtype=np.float32), "kind": np.array([7, 99]),
        "size": np.array([5.0, np.nan]), "years": np.array([1.0, 2.0]),
    }  # fmt: skip
    looked = {"fallback": np.array([True, False]), "thumbnails": {1: b"jpeg"}}
    return predictions_of(HEADS, values, **looked)


def test_answers_of_every_kind_come_back_from_disk_as_they_were(everything, tmp_path):
    write_predictions(tmp_path / "p.npz", everything)
    again = read_predictions(tmp_path / "p.npz")
    assert again.thumbnails == {1: b"jpeg"} and again.fallback.tolist() == [True, False]
    before, after = predictions_of_run(everything), predictions_of_run(again)
    assert before.files == after.files and before.groups.tolist() == after.groups.tolist()
    for one, other in zip(before.heads, after.heads, strict=True):
        assert type(one) is type(other) and one.names == other.names and one.edges == other.edges
        for name, values in one.arrays().items():
            assert np.allclose(values, other.arrays()[name], atol=1e-3, equal_nan=True), name
        assert np.array_equal(one.predicted, other.predicted)


def test_a_thousand_classes_take_half_the_room_and_answer_the_same(tmp_path):
    number, photos = 1000, {"photo": np.arange(400).astype(str)}
    heads = {"kind": {"classes": [str(code) for code in range(number)]}}
    saved = predictions_of(heads, {"kind": np.zeros(400, int)}, photos=photos)
    saved.probabilities["kind"][:, 7] = saved.probabilities["kind"].max(axis=1) * (1 + 1e-6)
    assert (saved.probabilities["kind"].astype(np.float16).argmax(axis=1) != 7).any()
    write_predictions(tmp_path / "p.npz", saved)
    assert (tmp_path / "p.npz").stat().st_size < 400 * number * 2.2
    assert (read_predictions(tmp_path / "p.npz").raw()["kind"].argmax(axis=1) == 7).all()


@pytest.fixture
def two_folds():
    """Folds 1 and 3, each with a decoding that always answers with another class."""
    heads, values = {"shape": HEADS["shape"]}, {"shape": np.array([0, 1])}
    return {
        fold: predictions_of(
            heads, values, fold,
            {"photo": np.array([f"b{fold}.jpg", f"a{fold}.jpg"]), "index": np.arange(2)},
            prior={"shape": np.array([prior])}, thumbnails={0: b"%d" % fold},
        )
        for fold, prior in ((3, (1e6, 1)), (1, (1, 1e6)))
    }  # fmt: skip


def test_folds_are_joined_and_each_is_decoded_as_its_own_model_is(two_folds, tmp_path):
    write_predictions(tmp_path / "p.npz", joined(two_folds))
    saved = read_predictions(tmp_path / "p.npz")
    assert saved.photos["photo"].tolist() == ["b1.jpg", "a1.jpg", "b3.jpg", "a3.jpg"]
    assert saved.photos["fold"].tolist() == [1, 1, 3, 3] and "index" not in saved.photos
    assert saved.values["shape"].tolist() == [0, 1, 0, 1]
    assert saved.thumbnails == {0: b"1", 2: b"3"}
    assert saved.adjusted()["shape"].argmax(axis=1).tolist() == [1, 1, 0, 0]
    plain = np.concatenate([two_folds[fold].raw()["shape"] for fold in (1, 3)])
    assert np.array_equal(saved.raw()["shape"], plain)
    of_one = saved.at(saved.photos["fold"] == 3)
    assert of_one.adjusted()["shape"].argmax(axis=1).tolist() == [0, 0]


def test_a_photo_that_two_folds_validated_is_refused(two_folds):
    two_folds[2] = two_folds[1]
    with pytest.raises(DataError, match=r"a1\.jpg: validated in two folds"):
        joined(two_folds)


def test_what_is_damaged_or_nan_is_one_line(everything, tmp_path):
    with pytest.raises(DataError, match=r"no\.npz: not the answers of a validation"):
        read_predictions(tmp_path / "no.npz")
    everything.probabilities["tags"][1] = np.nan
    write_predictions(tmp_path / "nan.npz", everything)
    with pytest.raises(DataError, match=r"probabilities_tags of 1 of 2 photos are NaN or Inf"):
        read_predictions(tmp_path / "nan.npz")


def test_answers_to_the_same_photos_are_averaged_in_whatever_order_they_lie(two_folds):
    """Also where one of them was answered by other models, and has no prior."""
    first, second = joined(two_folds), joined({1: two_folds[1], 3: two_folds[3]}).at([3, 0, 1])
    second = replace(second, prior={})
    second.probabilities["shape"][:] = [0.5, 0.5]
    parts = of_common_photos({"first": first, "second": second})
    together = averaged([*parts.values()])
    assert together.photos["photo"].tolist() == ["b1.jpg", "a1.jpg", "a3.jpg"]
    kept = first.at([0, 1, 3])
    assert np.allclose(together.raw()["shape"], kept.raw()["shape"] / 2 + 0.25)
    # Half of 1e6 to 1, as a ratio.
    ratio = together.prior["shape"][together.photos["model"]]
    assert np.allclose(ratio[:, 1] / ratio[:, 0], [1e3, 1e3, 1e-3])
    assert together.photos["fold"].tolist() == [1, 1, 3]


def test_answers_to_other_photos_or_with_other_labels_are_refused(two_folds):
    with pytest.raises(DataError, match="one, other: no photo was answered by all of them"):
        of_common_photos({"one": two_folds[1], "other": two_folds[3]})
    other = replace(two_folds[1], values={"shape": np.array([1, 1])})
    with pytest.raises(DataError, match=r"other: the photos have other labels \(shape\) than in"):
        of_common_photos({"one": two_folds[1], "other": other})
