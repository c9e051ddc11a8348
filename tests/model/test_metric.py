"""Metrics of a whole epoch against values counted by hand."""

import numpy as np
import pytest
import torch

from base.task import Task, load_task
from base.task_settings import TaskSettings
from model import decode
from model.answers import with_marginals
from model.metric import always, compute_metrics, evaluate, find_metrics, names_of
from utils.errors import ConfigError, DataError

FACES = load_task("faces")


def encode_class(mask, gender, age):
    return FACES.encode({"mask": mask, "gender": gender, "age": age})


def answers(*classes):
    """Probabilities that are certain of these classes."""
    return np.eye(18)[list(classes)]


def evaluated(names, probabilities, classes):
    """The metrics of class probabilities (N, 18) against classes (N,) of the faces."""
    found = with_marginals(FACES, {"class": probabilities})
    classes = np.array(classes)
    return compute_metrics(FACES, names, found, {"class": classes} | FACES.answers_of(classes))


def measure(name, probabilities, classes):
    return evaluated([name], probabilities, classes)[name]


def test_right_answers_score_one_in_every_metric():
    every = np.arange(18)
    assert set(evaluated(names_of(FACES), answers(*every), every).values()) == {1.0}


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


def test_heads_are_evaluated_by_their_marginal_probabilities():
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


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match=r"metrics: .*'acuracy'; did you mean 'accuracy'"):
        find_metrics(FACES, ["f1", "acuracy"])


def test_no_photos_are_refused():
    with pytest.raises(ValueError, match="at least one photo"):
        evaluated(["f1"], np.zeros((0, 18)), np.zeros(0, int))


@pytest.mark.parametrize("label", [-2, 18])
def test_a_true_class_that_is_none_is_refused_and_neither_scored_nor_dropped(label):
    said, true = {"class": answers(0, 17)}, {"class": np.array([0, label])}
    with pytest.raises(DataError, match=rf"label {label} at position 1 is none of 0 to 17"):
        compute_metrics(FACES, ["f1"], said, true)


def test_a_missing_label_is_passed_over_in_every_metric():
    given = answers(0, 5, 17, 3)
    assert evaluated(names_of(FACES), given, [0, 5, -1, 3]) == evaluated(
        names_of(FACES), given[[0, 1, 3]], [0, 5, 3]
    )


MIXED = Task(
    TaskSettings(
        heads={
            "shape": {"classes": ["circle", "square", "star"]},
            "tags": {"type": "multilabel", "classes": ["red", "big", "old"]},
            "years": {"type": "number", "bins": "0:40:10"},
        }
    )
)
SAID = {
    "shape": np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3], [0.1, 0.2, 0.7]]),
    "tags": np.array([[0.9, 0.2, 0.1], [0.8, 0.1, 0.2], [0.6, 0.7, 0.1], [0.3, 0.2, 0.4]]),
    "years": np.eye(4)[[0, 1, 2, 3]],
}
TRUE = {
    "shape": np.array([0, 1, 2, -1]),
    "tags": np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]], np.float32),
    "years": np.array([4.0, 18.0, np.nan, 31.0]),
}


def test_without_a_product_accuracy_is_all_heads_right_and_f1_the_mean_of_theirs():
    names = names_of(MIXED)
    assert names == [
        "accuracy", "f1", "top_k_acc", "shape_accuracy", "years_mae", "shape_f1", "tags_f1",
        "tags_map",
    ]  # fmt: skip
    found = compute_metrics(MIXED, names, SAID, TRUE)
    # Of the first three, whose labels are known, the second has a tag too many, the third no star.
    assert found["accuracy"] == pytest.approx(1 / 3) and found["shape_accuracy"] == pytest.approx(
        2 / 3
    )
    assert found["years_mae"] == pytest.approx((1 + 3 + 4) / 3)
    # red: 2·2/(2 + 3); big: 1; old neither occurs nor is answered.
    assert found["tags_f1"] == pytest.approx((0.8 + 1) / 2)
    assert found["shape_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["f1"] == pytest.approx((found["tags_f1"] + found["shape_f1"]) / 2)
    # red: 0.9 and 0.6 are right, 0.8 between them is not; big: the most confident is right.
    assert found["tags_map"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)


def test_a_task_of_a_number_alone_is_evaluated_by_its_error_whatever_is_asked_for():
    years = Task(TaskSettings(heads={"years": {"type": "number", "bins": "0:40:10"}}))
    assert find_metrics(years, ["accuracy", "f1"]) == []
    assert always(years) == ["years_mae"]
    with pytest.raises(ConfigError, match="'years_f1'"):
        find_metrics(years, ["years_f1"])


def test_a_thousand_classes_are_evaluated_by_the_answers_that_a_training_keeps():
    many = Task(TaskSettings(heads={"kind": {"classes": [f"kind {n}" for n in range(1000)]}}))
    draw = np.random.default_rng(0)
    truth = {"kind": draw.integers(0, 1000, 200)}
    found = {"kind": draw.random((200, 1000)) + 0.999 * np.eye(1000)[truth["kind"]]}
    kept = decode.answers(many, {"kind": torch.from_numpy(found["kind"])})
    assert kept["kind"].shape == (200, 3)
    kept = {name: values.numpy() for name, values in kept.items()}
    names = ["accuracy", "f1", "top_k_acc"]
    assert evaluate(many, names, kept, truth) == compute_metrics(many, names, found, truth)


def test_of_equally_likely_classes_the_lower_is_answered():
    said = decode.answers(FACES, {"class": torch.full((1, 18), 1 / 18)})
    assert said["class"].tolist() == [[0, 1, 2]]
