"""Metrics of a whole epoch against values counted by hand."""

from functools import partial

import numpy as np
import pytest

from data_loader.labels import decode_class, encode_class
from model.metric import METRICS, compute_metrics, confusion_matrices, find_metrics
from utils.errors import ConfigError, DataError


def answers(*classes):
    """Probabilities that are certain of these classes."""
    return np.eye(18)[list(classes)]


def measure(name, probabilities, targets):
    return compute_metrics([name], probabilities, np.array(targets))[name]


def test_right_answers_score_one_in_every_metric():
    every = np.arange(18)
    assert set(compute_metrics(list(METRICS), answers(*every), every).values()) == {1.0}


def test_classes_absent_from_truth_and_prediction_are_left_out_of_f1():
    assert measure("f1", answers(0, 0, 5), [0, 0, 5]) == 1.0


def test_a_class_predicted_but_absent_counts_as_zero_in_f1():
    # class 0: 2·1/(1+2) = 2/3; class 1 is predicted once and never true.
    assert measure("f1", answers(0, 1), [0, 0]) == pytest.approx((2 / 3 + 0) / 2)


def test_f1_of_the_epoch_is_not_the_mean_over_batches():
    probabilities, targets = answers(0, 0, 1, 1), np.array([0, 1, 1, 0])
    whole = measure("f1", probabilities, targets)
    halves = [measure("f1", probabilities[part], targets[part]) for part in (slice(2), slice(2, 4))]
    assert whole == 0.5
    assert np.mean(halves) == pytest.approx(1 / 3)


def test_top_k_looks_at_the_three_likeliest_classes():
    probabilities = np.zeros((2, 18))
    probabilities[:, :4] = [0.4, 0.3, 0.2, 0.1]
    assert measure("top_k_acc", probabilities, [2, 3]) == 0.5


def test_head_metrics_fold_the_eighteen_classes():
    # Truth: mask 0, gender 0, ages 0, 1, 2, 2; answered with the mask wrong once, an age twice.
    truth = [encode_class(0, 0, age) for age in (0, 1, 2, 2)]
    given = answers(
        encode_class(0, 0, 0), encode_class(2, 0, 1), encode_class(0, 0, 1), encode_class(0, 0, 0)
    )
    assert measure("mask_accuracy", given, truth) == 0.75
    assert measure("gender_accuracy", given, truth) == 1.0
    assert measure("age_accuracy", given, truth) == 0.5
    assert measure("accuracy", given, truth) == 0.25
    assert measure("mask_f1", given, truth) == pytest.approx((2 * 3 / (3 + 4) + 0) / 2)
    assert measure("age_f1", given, truth) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)


def test_heads_are_judged_by_their_marginal_probabilities():
    probabilities = np.zeros((1, 18))
    probabilities[0, encode_class(0, 0, 0)] = 0.4
    probabilities[0, [encode_class(1, 0, 0), encode_class(1, 1, 0)]] = 0.3
    assert measure("mask_accuracy", probabilities, [encode_class(1, 0, 0)]) == 1.0
    assert measure("accuracy", probabilities, [encode_class(1, 0, 0)]) == 0.0


def test_macro_f1_agrees_with_counting_by_hand_on_random_answers():
    random = np.random.default_rng(0)
    targets, predicted = random.integers(0, 18, 500), random.integers(0, 18, 500)
    scores = []
    for cls in range(18):
        hits = np.sum((targets == cls) & (predicted == cls))
        scores.append(2 * hits / (np.sum(targets == cls) + np.sum(predicted == cls)))
    assert measure("f1", answers(*predicted), targets) == pytest.approx(np.mean(scores))


def test_confusion_matrices_have_truth_in_rows_and_every_class():
    truth, given = np.array([0, 0, 17]), answers(0, 17, 17)
    matrices = confusion_matrices(given, truth)
    assert {name: m.shape for name, m in matrices.items()} == {
        "class": (18, 18),
        "mask": (3, 3),
        "gender": (2, 2),
        "age": (3, 3),
    }
    assert matrices["class"][0, 17] == 1 and matrices["class"].sum() == 3
    mask, gender, age = decode_class(17)
    assert matrices["mask"][0, mask] == 1
    assert matrices["gender"][0, gender] == 1
    assert matrices["age"][0, age] == 1


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match=r"metrics: .*'acuracy'; did you mean 'accuracy'"):
        find_metrics(["f1", "acuracy"])


def test_no_photos_are_refused():
    with pytest.raises(ValueError, match="at least one photo"):
        compute_metrics(["f1"], np.zeros((0, 18)), np.zeros(0, int))


@pytest.mark.parametrize("label", [-1, 18])
def test_a_true_class_that_is_none_is_refused_and_neither_scored_nor_dropped(label):
    for measured in (partial(compute_metrics, ["f1"]), confusion_matrices):
        with pytest.raises(DataError, match=rf"label {label} at position 1 is none of 0 to 17"):
            measured(answers(0, 17), np.array([0, label]))
