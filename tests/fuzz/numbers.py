"""Losses and metrics over random inputs, against ones that other people wrote: torch's and
scikit-learn's, or the formula in plain numpy. No case is wrong here, so none may be refused."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, top_k_accuracy_score
from sklearn.metrics import average_precision_score as average_precision

from base.heads import MISSING
from base.task import Task
from base.task_settings import TaskSettings
from model.loss import single_loss
from model.metric import compute_metrics

CASES = 2000
SLICE = 100
SECONDS = 10
ALL_RIGHT = True


def prepare(_: Path) -> Callable[[random.Random], None]:
    """Nothing is prepared."""
    return lambda draw: draw.choice((losses, metrics_of_classes, metrics_of_others))(
        np.random.default_rng(draw.getrandbits(32))
    )


def losses(draw: np.random.Generator) -> None:
    """Cross entropy, focal and binary losses of a batch, weighted and with labels missing."""
    photos, classes = int(draw.integers(1, 40)), int(draw.integers(2, 30))
    logits = torch.from_numpy(draw.normal(0, draw.choice((0.1, 3, 30)), (photos, classes))).float()
    targets = torch.from_numpy(draw.integers(0, classes, photos))
    weights = torch.from_numpy(draw.uniform(0.1, 5, classes)).float()
    weights = weights if draw.random() < 0.5 else None
    targets[1:][torch.from_numpy(draw.random(photos - 1) < 0.2)] = MISSING

    ours = single_loss("ce_loss", classes, weights)(logits, targets)
    near(ours, F.cross_entropy(logits, targets, weights, ignore_index=MISSING))

    smoothing = float(draw.uniform(0, 0.5))
    given = {"type": "label_smoothing", "args": {"smoothing": smoothing}}
    if weights is None:  # torch weighs the smoothed part by each class, we by the true one
        expected = F.cross_entropy(logits, targets, label_smoothing=smoothing, ignore_index=MISSING)
        near(single_loss(given, classes)(logits, targets), expected)

    gamma = float(draw.choice((1.0, 2.0, 5.0)))
    known = targets != MISSING
    log_p = logits.double().log_softmax(1)[known, targets[known]].numpy()
    scale = np.ones(classes) if weights is None else weights.numpy()
    each = scale[targets[known].numpy()]
    expected = (each * (1 - np.exp(log_p)) ** gamma * -log_p).sum() / each.sum()
    focal = {"type": "focal", "args": {"gamma": gamma}}
    near(single_loss(focal, classes, weights)(logits, targets), expected)

    there = torch.from_numpy(draw.integers(0, 2, (photos, classes))).float()
    ours = single_loss("bce", classes)(logits, there)
    near(ours, F.binary_cross_entropy_with_logits(logits, there))


def metrics_of_classes(draw: np.random.Generator) -> None:
    """Scores of two heads and their product, some classes missing from truth and answers."""
    sizes = {"a": int(draw.integers(2, 6)), "b": int(draw.integers(2, 5))}
    heads = {name: {"classes": [f"{name}{n}" for n in range(size)]} for name, size in sizes.items()}
    task = Task(TaskSettings(heads=heads, answer={"product": ["a", "b"]}))
    photos = int(draw.integers(1, 60))
    truth = {name: draw.integers(0, size, photos) for name, size in sizes.items()}
    truth["class"] = truth["a"] * sizes["b"] + truth["b"]
    said = {name: draw.dirichlet(np.full(size, 0.5), photos) for name, size in sizes.items()}
    said["class"] = draw.dirichlet(np.full(task.num_classes, 0.5), photos)
    said = {name: values.astype(np.float32) for name, values in said.items()}
    found = compute_metrics(
        task, ["accuracy", "f1", "top_k_acc", "a_f1", "b_accuracy"], said, truth
    )
    answers = {name: values.argmax(axis=1) for name, values in said.items()}
    near(found["accuracy"], accuracy_score(truth["class"], answers["class"]))
    near(found["f1"], f1_score(truth["class"], answers["class"], average="macro"))
    near(found["a_f1"], f1_score(truth["a"], answers["a"], average="macro"))
    near(found["b_accuracy"], accuracy_score(truth["b"], answers["b"]))
    every = np.arange(task.num_classes)
    near(found["top_k_acc"], top_k_accuracy_score(truth["class"], said["class"], k=3, labels=every))


def metrics_of_others(draw: np.random.Generator) -> None:
    """Scores of tags and of a number."""
    tags, photos = int(draw.integers(1, 6)), int(draw.integers(1, 60))
    heads = {
        "tags": {"type": "multilabel", "classes": [f"t{n}" for n in range(tags)]},
        "years": {"type": "number", "bins": [0, 10, 20, 30, 40]},
    }
    task = Task(TaskSettings(heads=heads))
    truth = {
        "tags": draw.integers(0, 2, (photos, tags)) * 1.0,
        "years": draw.uniform(0, 40, photos),
    }
    truth["tags"][0] = 1  # each tag occurs, else it has no average precision
    said = {"tags": draw.random((photos, tags)), "years": draw.dirichlet(np.ones(4), photos)}
    found = compute_metrics(task, ["tags_f1", "tags_map", "years_mae"], said, truth)
    given = said["tags"] >= 0.5
    of_each = [
        f1_score(*pair, zero_division=0) for pair in zip(truth["tags"].T, given.T, strict=True)
    ]
    near(found["tags_f1"], np.mean(of_each))
    near(found["tags_map"], average_precision(truth["tags"], said["tags"], average="macro"))
    middles = np.array([5.0, 15, 25, 35])
    near(found["years_mae"], mean_absolute_error(truth["years"], said["years"] @ middles))


def near(ours: float | torch.Tensor, theirs: float | torch.Tensor) -> None:
    """Assert that two numbers are the same, as far as float32 goes."""
    assert np.isclose(float(ours), float(theirs), rtol=2e-5, atol=1e-6), (
        float(ours),
        float(theirs),
    )
