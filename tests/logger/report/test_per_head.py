"""What a report gets of predictions, for tasks of every kind."""

import numpy as np
import pytest

from base.task import Task, load_task
from base.task_settings import TaskSettings
from logger import predictions
from logger.predictions import SavedPredictions
from logger.report.per_head import predictions_of, predictions_of_run

FACES = load_task("faces")
AGES = np.array([19.0, 29, 30, 59, 60])
VALUES = {"mask": np.zeros(5, np.int64), "gender": np.ones(5, np.int64), "age": AGES}
TRUTH = FACES.truth(VALUES)


def saved(task=FACES, **heads):
    """The five photos, answered with certainty; and further probabilities of heads."""
    whole = sure_of(TRUTH["class"], 18)
    return SavedPredictions(
        task,
        {"class": whole, **heads},
        VALUES,
        {"photo": np.array([f"p{n}/normal.jpg" for n in range(5)]), "group": np.arange(5)},
        fallback=np.arange(5) == 0,
    )


def task_of(heads, **answer):
    return Task(TaskSettings.model_validate({"heads": heads, "answer": answer}))


def sure_of(codes, classes, share=0.9):
    return (np.eye(classes)[codes] * share + (1 - share) / classes).astype(np.float32)


def test_the_parts_of_the_answer_are_mask_gender_and_age_group():
    predictions = predictions_of_run(saved())
    assert predictions.whole.title == "18 classes"
    assert [q.title for q in predictions.details] == ["mask", "gender", "age group"]
    assert not any(q.wrong.any() for q in predictions.heads)
    assert predictions.details[2].names == ("<30", "30–59", "≥60")
    assert predictions.details[2].edges == (30, 60) and predictions.details[2].near == 3
    assert predictions.fallback.tolist() == [True, False, False, False, False]
    assert predictions.count(predictions.groups) == "5 people"


@pytest.mark.parametrize(
    ("edges", "names"),
    [
        ((20, 30, 40, 50, 60), ("<20", "20s", "30s", "40s", "50s", "≥60")),
        ((20, 30, 40, 50, 58), ("<20", "20–29", "30–39", "40–49", "50–57", "≥58")),
    ],
)
def test_the_bins_of_the_age_head_are_a_question_of_their_own(edges, names):
    task = FACES.changed("age", bins=edges)
    bins = sure_of(task.heads["age"].class_of(AGES), 6)
    head = predictions_of_run(saved(task, age=bins)).heads[-1]
    assert head.title == "age bin" and not head.wrong.any()
    assert head.names == names and head.edges == edges


def test_a_model_of_one_head_has_no_bins():
    assert [q.key for q in predictions_of_run(saved()).heads] == ["class", "mask", "gender", "age"]


def test_many_photos_are_answered_a_part_at_a_time(monkeypatch):
    whole = predictions_of_run(saved())
    monkeypatch.setattr(predictions, "AT_ONCE", 18)
    assert len(saved().chunks()) == 5
    for one, other in zip(whole.heads, predictions_of_run(saved()).heads, strict=True):
        assert all(np.array_equal(values, other.arrays()[k]) for k, values in one.arrays().items())


def test_two_heads_without_a_product_are_right_where_both_are():
    task = task_of({"shape": {"classes": ["round", "long"]}, "hue": {"classes": ["a", "b", "c"]}})
    truth = {"shape": np.array([0, 1, 1]), "hue": np.array([0, 1, -1])}
    said = {"shape": sure_of([0, 1, 0], 2), "hue": sure_of([0, 2, 2], 3)}
    predictions = predictions_of(task, said, truth)
    assert [q.key for q in predictions.details] == ["shape", "hue"]
    assert predictions.whole.wrong.tolist() == [False, True, False]
    assert predictions.whole.known.tolist() == [True, True, False]
    assert (predictions.whole.said(1), predictions.whole.true(2)) == ("long, c", "long, not known")


def test_one_head_of_a_thousand_classes_is_the_whole_answer():
    task = task_of({"kind": {"classes": [f"kind {number}" for number in range(1000)]}})
    truth = np.arange(1000)
    predictions = predictions_of(task, {"kind": sure_of(truth, 1000)}, {"kind": truth})
    assert predictions.whole.title == "kind" and not predictions.details
    assert predictions.whole.said(999) == "kind 999" and not predictions.whole.wrong.any()


def test_tags_are_right_where_all_are():
    task = task_of({"tags": {"type": "multilabel", "classes": ["sky", "sea", "sand"]}})
    truth = np.array([[1, 1, 0], [0, 0, 0], [np.nan] * 3], np.float32)
    said = np.array([[0.9, 0.6, 0.2], [0.7, 0.1, 0.1], [0.9, 0.9, 0.9]], np.float32)
    whole = predictions_of(task, {"tags": said}, {"tags": truth}).whole
    assert whole.wrong.tolist() == [False, True, False]
    assert [whole.said(0), whole.true(1), whole.true(2)] == ["sky, sea", "none", "not known"]


def test_a_number_is_only_more_or_less_far_off():
    task = task_of({"years": {"type": "number", "bins": "0:4:1"}})
    said = np.array([[0, 0.5, 0.5, 0], [0, 0, 0, 1]], np.float32)
    whole = predictions_of(task, {"years": said}, {"years": np.array([2.5, 0.5])}).whole
    assert whole.predicted.tolist() == [2.0, 3.5] and whole.errors.tolist() == [0.5, 3.0]
    assert not whole.wrong.any() and whole.mistakes.tolist() == [1, 0]
