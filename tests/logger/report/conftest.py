import json

import numpy as np
import pytest

from base.task import Task
from base.task_settings import TaskSettings
from logger.logger import write_metrics
from logger.predictions import SavedPredictions, write_predictions
from logger.report.predictions import HeadPredictions, TaskPredictions, thumbnails

SHAPES = ("round", "square", "long")
SIZES = ("small", "large")
NAMES = tuple(f"{shape}, {size}" for shape in SHAPES for size in SIZES)
EDGES = (30,)


def predictions_of(truth, said, confidence=0.8, ages=None, people=None, fallback=None):
    """For six classes and their two parts, not those of this project's labels;
    ``confidence`` is the probability of what is said."""
    truth, said = np.asarray(truth), np.asarray(said)
    probabilities = np.zeros((len(truth), 6), np.float32)
    sure = np.broadcast_to(np.asarray(confidence, np.float32), len(truth))
    probabilities[:] = ((1 - sure) / 5)[:, None]
    probabilities[np.arange(len(truth)), said] = sure
    joint = probabilities.reshape(-1, 3, 2)
    heads = (
        HeadPredictions.of("class", "6 classes", NAMES, probabilities, truth),
        HeadPredictions.of("shape", "shape", SHAPES, joint.sum(2), truth // 2),
        HeadPredictions.of("size", "size", SIZES, joint.sum(1), truth % 2,
                    edges=EDGES, values=ages, number="age"),
    )  # fmt: skip
    files = tuple(f"thing-{number}.jpg" for number in range(len(truth)))
    predictions = TaskPredictions(heads, 2, files, people, fallback, noun="person", plural="people")
    crops = np.full((len(truth), 20, 20, 3), 200, np.uint8)
    predictions.thumbnails.update(thumbnails(predictions, crops, np.arange(len(truth))))
    return predictions


def saved_of(predictions):
    """The same answers as a run keeps them: the questions are the heads of a task."""
    parts = predictions.heads[1:] if predictions.joint and predictions.parts else predictions.heads
    heads = {}
    for part in parts:
        heads[part.key] = {"classes": part.names}
        if part.values is not None:
            heads[part.key] = {"bins": part.edges, "names": {"en": part.names}, "range": (0, 120)}
        if part.kind == "tags":
            heads[part.key] = {"type": "multilabel", "classes": part.names}
        if part.kind == "number":
            heads[part.key] = {"type": "number", "bins": f"0:{len(part.names)}:1"}
    settings = {"heads": heads, "data": {"train": TABLE, "group": predictions.noun}}
    if len(parts) < len(predictions.heads):
        settings["answer"] = {"product": list(heads)}
    task = Task(TaskSettings.model_validate(settings))
    photos = {"photo": np.array(predictions.files)}
    if predictions.groups is not None:
        photos["group"] = predictions.groups
    return SavedPredictions(
        task,
        {head.key: probabilities_of(head) for head in predictions.heads},
        {part.key: part.truth if part.values is None else part.values for part in parts},
        photos,
        fallback=predictions.fallback,
        thumbnails=predictions.thumbnails,
    )


TABLE = {"reader": "csv", "table": "train.csv", "path": "path"}


def probabilities_of(head):
    if head.kind == "tags":
        return np.where(head.predicted, head.sure, 1 - head.sure)
    number = len(head.names)
    codes = head.predicted.astype(int)  # of numbers: the bins begin at 0, and are 1 wide
    sure = np.ones(len(codes)) if head.kind == "number" else head.confidence
    found = np.repeat(((1 - sure) / max(number - 1, 1))[:, None], number, axis=1)
    found[np.arange(len(codes)), codes] = sure
    return found


@pytest.fixture(scope="session")
def make_answers():
    """``make_answers(truth, said, …)``; see ``answers_of``."""
    return predictions_of


@pytest.fixture(scope="session")
def mixed_answers():
    """300 photos of 60 people aged 25 to 35; four in five are right, and every error crosses 30."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(60), 5)
    ages = np.repeat(rng.integers(25, 36, 60), 5)
    truth = rng.integers(0, 3, 300) * 2 + (ages >= 30)
    near = np.flatnonzero((ages >= 28) & (ages < 32))
    said = truth.copy()
    said[near[:60]] = truth[near[:60]] ^ 1
    fallback = np.arange(300) % 50 == 0
    return predictions_of(truth, said, rng.uniform(0.5, 0.99, 300), ages, people, fallback)


@pytest.fixture
def make_run(tmp_path):
    """``make_run("first", epochs=3, answers=…, lr=0.1)``: the folders of a run, as a training
    leaves them; returns the log folder."""

    def make(
        run_id="first",
        *,
        epochs=3,
        predictions=None,
        validated=True,
        finished=True,
        lr=0.1,
        **config,
    ):
        log = tmp_path / "saved" / "log" / "things" / run_id
        models = tmp_path / "saved" / "models" / "things" / run_id
        for folder in (log, models):
            folder.mkdir(parents=True)
        history = [_epoch(number, validated) for number in range(1, epochs + 1)]
        if history:
            write_metrics(log / "metrics.csv", history)
            timings = [{"epoch": h["epoch"], **_times()} for h in history]
            write_metrics(log / "timings.csv", timings)
        if predictions is not None:
            write_predictions(log / "predictions.npz", saved_of(predictions))
        trainer = {"epochs": epochs, "save_dir": "saved/", "monitor": "max val/f1"}
        config = {
            "name": "things",
            "optimizer": {"type": "Adam", "args": {"lr": lr}},
            "validation": {"type": "holdout"},
            **config,
            "trainer": trainer | config.get("trainer", {}),
        }
        environment = {
            "started": "2026-01-02T03:04:05+00:00",
            "command": "python train.py -c mine.json --init-from 'other run/best_epoch.pth'",
            "git": {"commit": "abc123", "dirty": True},
            "packages": {"torch": "9.9"},
        }
        (models / "config.json").write_text(json.dumps(config))
        (models / "environment.json").write_text(json.dumps(environment))
        if finished and history:
            done = {"epochs": epochs, "best": history[-1]}
            (log / "finished.json").write_text(json.dumps(done))
        return log

    return make


def _epoch(number, validated):
    log = {"epoch": number, "lr": 0.1, "train/loss": 1 / number, "train/f1": 0.2 * number}
    return log | ({"val/loss": 1 / number, "val/f1": 0.2 * number} if validated else {})


def _times():
    return {
        "time/train_seconds": 10.0,
        "time/images_per_second": 50.0,
        "time/data_wait_share": 0.3,
        "time/forward_seconds": 2.0,
        "time/backward_seconds": 4.0,
        "time/optimizer_seconds": 0.5,
        "time/validation_seconds": 1.0,
    }
