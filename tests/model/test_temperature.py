"""Temperatures: what they make of probabilities, how they are fitted, and where they are used."""

import re
import sys

import numpy as np
import pytest
import torch

from base.task import Task, load_task
from base.task_settings import TaskSettings
from logger.predictions import SavedPredictions, read_predictions, write_predictions
from model.answers import adjusted
from model.decoding import class_prior, read_class_prior, resolve_decoding
from model.settings import Decoding
from model.temperature import (
    calibration_on_others,
    ece,
    fit_temperatures,
    log_loss,
    with_temperatures,
)
from tools import tune_decoding
from utils.errors import ConfigError

FACES = load_task("faces")
HEADS = {"mask": 3, "gender": 2, "age": 3}
"""Head → its answers."""


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def too_sure(photos=3000, seed=0, by=2.0):
    """Answers of heads whose logits are ``by`` times as large as they should be; and the truth."""
    draw = np.random.default_rng(seed)
    honest = {name: softmax(2 * draw.normal(size=(photos, n))) for name, n in HEADS.items()}
    truth = {
        name: (p.cumsum(axis=1) < draw.random((photos, 1))).sum(axis=1).clip(0, p.shape[1] - 1)
        for name, p in honest.items()
    }
    given = {name: softmax(by * np.log(p)) for name, p in honest.items()}
    joint = given["mask"][:, :, None, None] * given["gender"][:, None, :, None]
    joint = (joint * given["age"][:, None, None, :]).reshape(photos, 18)
    return given, {"class": joint}, truth | {"class": FACES.encode(truth)}


def test_logits_that_are_too_large_are_found_out_and_put_right():
    _, answers, truth = too_sure()
    found = fit_temperatures(FACES, answers, truth, None)
    assert all(found[name] == pytest.approx(2, rel=0.12) for name in HEADS)
    prior = with_temperatures(None, FACES, found)
    before, after = adjusted(FACES, answers, None), adjusted(FACES, answers, prior)
    for name in (*HEADS, "class"):
        assert ece(after[name], truth[name]) < 0.04 < ece(before[name], truth[name])
        assert log_loss(after[name], truth[name]) < log_loss(before[name], truth[name])
        assert after[name].sum(axis=1) == pytest.approx(np.ones(3000))


def test_each_head_of_a_product_gets_its_own_and_no_answer_changes():
    given, answers, _ = too_sure(photos=200)
    prior = with_temperatures(None, FACES, {"mask": 2.0, "age": 0.5})
    after = adjusted(FACES, answers, prior)
    assert np.allclose(after["mask"], softmax(np.log(given["mask"]) / 2))
    assert np.allclose(after["age"], softmax(np.log(given["age"]) / 0.5))
    assert np.allclose(after["gender"], given["gender"])
    for name in HEADS:
        assert (after[name].argmax(axis=1) == given[name].argmax(axis=1)).all()
    assert (after["class"].argmax(axis=1) == answers["class"].argmax(axis=1)).all()
    # As it runs in an exported model.
    in_torch = {"class": torch.from_numpy(answers["class"])}
    of_export = {name: torch.from_numpy(values) for name, values in prior.items()}
    from_torch = adjusted(FACES, in_torch, of_export)
    assert np.allclose(from_torch["class"].numpy(), after["class"])


def test_one_head_for_all_has_one_temperature():
    _, answers, truth = too_sure()
    found = fit_temperatures(FACES, answers, truth, None, single=True)
    assert list(found) == ["class"] and found["class"] == pytest.approx(2, rel=0.1)
    after = adjusted(FACES, answers, with_temperatures(None, FACES, found))
    raised = answers["class"] ** (1 / found["class"])
    assert np.allclose(after["class"], raised / raised.sum(axis=1, keepdims=True))


def test_the_error_is_the_gap_in_15_bins():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])
    truth = np.array([0, 1, 1, -1])  # a bin of 2 photos half right, one of 1 all right
    assert ece(probabilities, truth) == pytest.approx((2 * 0.4 + 1 * 0.3) / 3)


def test_numbers_and_tags_have_none():
    heads = {"size": {"type": "number", "bins": [0, 1, 2]}, "tags": {"type": "multilabel",
             "classes": ["a", "b"]}, "kind": {"classes": ["c", "d"]}}  # fmt: skip
    task = Task(TaskSettings.model_validate({"heads": heads}))
    answers = {name: softmax(np.random.default_rng(0).normal(size=(9, 2))) for name in heads}
    truth = {name: np.zeros(9, int) for name in heads}
    assert list(fit_temperatures(task, answers, truth, None)) == ["kind"]
    on_others = calibration_on_others(task, answers, truth, None, False, np.arange(9), 3, 0)
    assert list(on_others) == ["kind"]


def test_a_config_may_name_them_and_a_wrong_name_is_one_line():
    found = resolve_decoding(Decoding(temperature={"age": 2.0}), FACES, None)
    _, answers, _ = too_sure(photos=50)
    plain = class_prior(Decoding(), FACES)
    expected = adjusted(FACES, answers, with_temperatures(plain, FACES, {"age": 2.0}))
    assert np.allclose(adjusted(FACES, answers, found)["class"], expected["class"])
    with pytest.raises(ConfigError, match=r"decoding\.temperature\.ages: .* did you mean 'age'"):
        resolve_decoding(Decoding(temperature={"ages": 2.0}), FACES, None)


def test_predictions_keep_the_temperatures_of_their_run(tmp_path):
    _, answers, truth = too_sure(photos=40)
    prior = with_temperatures(class_prior(Decoding(), FACES), FACES, {"age": 2.0})
    values = {name: truth[name] for name in HEADS} | {"age": np.full(40, 20.0)}
    photos = {"photo": np.arange(40).astype(str), "group": np.arange(40)}
    saved = SavedPredictions(
        FACES, answers, values, photos, {name: each[None] for name, each in prior.items()}
    )
    write_predictions(tmp_path / "p.npz", saved)
    read = read_predictions(tmp_path / "p.npz")
    expected = adjusted(FACES, answers, prior)["class"]
    assert np.allclose(read.adjusted()["class"], expected, atol=1e-6)


def test_the_command_fits_writes_and_says_them(tmp_path, monkeypatch, capsys):
    _, answers, truth = too_sure(photos=600)
    values = {name: truth[name] for name in HEADS}
    values["age"] = np.array([20.0, 40.0, 70.0])[truth["age"]]
    photos = {"photo": np.arange(600).astype(str), "group": np.arange(600) // 3}
    heads = {"mask": np.zeros((600, 3)), "gender": np.zeros((600, 2)), "age": np.zeros((600, 6))}
    saved = SavedPredictions(FACES, heads | answers, values, photos)
    write_predictions(tmp_path / "predictions.npz", saved)
    arguments = ["--run", str(tmp_path / "predictions.npz"), "--temperature-only", "--folds", "3"]
    monkeypatch.setattr(sys, "argv", ["tune_decoding", *arguments])
    tune_decoding.main()
    said = capsys.readouterr().out
    before, after = map(float, re.search(r"class +ECE ([\d.]+) -> ([\d.]+)", said).groups())
    assert after < before / 2
    prior = read_class_prior(tmp_path / "decoding.json", FACES)
    assert (prior["class"] == 1).all()
    assert prior["head-temperature"][0] == pytest.approx(2, rel=0.3)
