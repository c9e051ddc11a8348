"""Out-of-fold answers as soft labels of the photos themselves."""

import re
from dataclasses import replace

import numpy as np
import pytest

from base.task import load_task
from base.task_settings import TaskSettings
from data_loader.dataset import read_index
from logger.predictions import SavedPredictions, write_predictions
from trainer.distillation import with_soft_labels
from utils.errors import DataError

FACES = load_task("faces")


@pytest.fixture
def distilled(people, tmp_path):
    """``distilled(share, change)``: the index of ``people`` that learns from answers out of fold,
    and these, as ``change`` makes them."""

    def make(share=0.5, change=lambda saved: saved):
        values = FACES.settings.model_dump()
        values["data"]["soft_labels"] = {"answers": str(tmp_path / "p.npz"), "share": share}
        index = read_index(people, TaskSettings.model_validate(values))
        rows, draw = np.arange(0, len(index), 2), np.random.default_rng(0)
        sizes = {name: head.num_classes for name, head in FACES.heads.items()} | {"class": 18}
        found = {k: draw.dirichlet(np.ones(n), len(rows)).astype("f4") for k, n in sizes.items()}
        labels = {name: each[rows] for name, each in index.values.items()}
        photos = index.describe(rows) | {"fold": rows % 2, "model": rows % 2}
        saved = change(SavedPredictions(index.task, found, labels, photos))
        write_predictions(tmp_path / "p.npz", saved)
        return with_soft_labels(index), saved

    return make


def test_answered_photos_learn_the_mean_of_label_and_answer_and_others_the_label(distilled):
    index, saved = distilled(share=0.25)
    targets, learned = (each(np.arange(len(index))) for each in (index.targets, index.learned))
    for name in (*FACES.heads, "class"):
        hard = np.eye(learned[name].shape[1])[targets[name]]
        assert np.allclose(learned[name][1::2], hard[1::2])
        expected = 0.75 * hard[::2] + 0.25 * saved.probabilities[name]
        assert np.allclose(learned[name][::2], expected, atol=1e-6)
    assert index.truth(np.arange(3))["class"].tolist() == targets["class"][:3].tolist()


def test_a_model_of_one_head_for_all_teaches_every_head(distilled):
    index, saved = distilled(1.0, of_one_head)
    learned = index.learned(np.arange(0, len(index), 2))
    gender = FACES.marginals(saved.probabilities["class"])["gender"]
    assert np.allclose(learned["gender"], gender, atol=1e-6)


def of_one_head(saved):
    return replace(saved, probabilities={"class": saved.probabilities["class"]})


def without(name):
    return lambda s: replace(s, photos={k: v for k, v in s.photos.items() if k != name})


def moved(saved):
    return replace(saved, task=saved.task.changed("age", bins=[20, 30, 40, 50, 58]))


def elsewhere(saved):
    photos = np.array([f"other/{photo}" for photo in saved.photos["photo"]])
    return replace(saved, photos={**saved.photos, "photo": photos})


@pytest.mark.parametrize(
    "change, reason",
    [
        (without("fold"), "not of a training of folds"),
        (moved, "whose heads or classes are others"),
        (elsewhere, "answers none of the photos"),
    ],
)
def test_answers_that_leak_or_do_not_fit_are_refused_in_a_line(distilled, change, reason):
    with pytest.raises(DataError, match=re.escape(reason)) as error:
        distilled(change=change)
    assert "\n" not in str(error.value)


def test_without_the_key_nothing_changes(people):
    index = read_index(people, FACES.settings)
    assert with_soft_labels(index) is index
