import numpy as np
import pytest

from base.task import Task, load_task
from base.task_settings import TaskSettings
from trainer.ensemble import combine, require_one_task
from utils.errors import CheckpointError, ConfigError

FACES = load_task("faces")


def answers(*rows):
    """(1, 18) probabilities of each model, given those of the first classes."""
    filled = ([[*row, *[0.0] * (18 - len(row))]] for row in rows)
    return {f"{n}.pth": {"class": np.array(row)} for n, row in enumerate(filled)}


def combined(models, how="mean"):
    return combine(FACES, models, how)["class"]


def test_the_mean_and_the_vote_can_disagree():
    models = answers([0.51, 0.49], [0.51, 0.49], [0.0, 1.0])
    assert combined(models, "mean").argmax() == 1
    assert combined(models, "vote").argmax() == 0


def test_the_mean_is_that_of_the_probabilities():
    models = answers([0.2, 0.8], [0.6, 0.4])
    assert np.allclose(combined(models)[0, :2], [0.4, 0.6])


def test_between_equally_many_votes_the_mean_decides():
    assert combined(answers([0.6, 0.4], [0.1, 0.9]), "vote").argmax() == 1


def test_votes_sum_to_1():
    drawn = np.random.default_rng(0).dirichlet(np.ones(18), (5, 30))
    votes = combined({str(n): {"class": part} for n, part in enumerate(drawn)}, "vote")
    assert np.allclose(votes.sum(axis=1), 1)


def test_a_model_that_answers_with_nan_is_named():
    models = answers([0.5, 0.5], [np.nan, 0.5])
    with pytest.raises(CheckpointError, match=r"1\.pth: .*1 of 1 photos.*NaN"):
        combined(models)


def test_tags_have_the_mean_of_the_models_whatever_the_way():
    tags = Task(TaskSettings(heads={"tags": {"type": "multilabel", "classes": ["a", "b"]}}))
    models = {"a": {"tags": np.array([[0.2, 0.8]])}, "b": {"tags": np.array([[0.4, 0.6]])}}
    for how in ("mean", "vote"):
        assert combine(tags, models, how)["tags"] == pytest.approx(np.array([[0.3, 0.7]]))


def test_models_of_different_tasks_are_refused_with_both_named_in_one_line():
    usual = FACES.settings
    moved = usual.changed("age", bins=(20, 30, 40, 50, 59))
    shapes = TaskSettings(name="shapes", heads={"kind": {"classes": ["a", "b"]}})
    require_one_task({})
    require_one_task({"a.pth": FACES, "b.pth": Task(usual)})
    for other, words in ((moved, "age differs"), (shapes, "'shapes' \\(kind\\).*mask differs")):
        with pytest.raises(ConfigError, match=rf"b\.pth: was taught.*{words}") as caught:
            require_one_task({"a.pth": FACES, "b.pth": Task(other)})
        assert "a.pth 'faces'" in str(caught.value) and len(str(caught.value)) < 300


def test_models_whose_classes_are_numbered_in_another_order_are_refused():
    usual = FACES.settings
    answer = usual.answer.model_copy(update={"product": ("gender", "mask", "age")})
    turned = usual.model_copy(update={"answer": answer})
    with pytest.raises(ConfigError, match=r"answer\.product differs"):
        require_one_task({"a.pth": FACES, "b.pth": Task(turned)})
