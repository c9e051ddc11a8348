import cv2
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from base.task import Task, load_task
from base.task_settings import TaskSettings
from logger.predictions import SavedPredictions, write_predictions
from logger.report.per_head import predictions_of
from logger.report.predictions import HeadPredictions
from model.answers import with_marginals
from trainer.results import (
    mistakes_sheet,
    prediction_pictures,
    score,
    score_table,
    training_pictures,
)

FACES = load_task("faces")
NAMES = tuple(FACES.class_name(code) for code in range(FACES.num_classes))
HISTORY = [
    {"epoch": 1, "train/loss": 0.9, "val/loss": 0.8, "val/f1": 0.1, "val/accuracy": 0.2},
    {"epoch": 2, "train/loss": 0.5, "val/loss": 0.6, "val/f1": 0.3, "val/accuracy": 0.4},
]


@pytest.fixture
def answered():
    """(40, 18) probabilities and (40,) true classes, half of them right."""
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 18, 40)
    said = np.where(np.arange(40) % 2, answers, rng.integers(0, 18, 40))
    probabilities = np.eye(18)[said] * 0.6 + rng.random((40, 18)) * 0.02
    return probabilities / probabilities.sum(axis=1, keepdims=True), answers


@pytest.fixture
def photos():
    return np.random.default_rng(1).integers(0, 255, (50, 24, 24, 3), dtype=np.uint8)


def scored(probabilities, codes):
    found = with_marginals(FACES, {"class": probabilities})
    return score(FACES, found, {"class": codes} | FACES.answers_of(codes))


def test_scores_are_those_of_scikit_learn(answered):
    probabilities, answers = answered
    predicted = probabilities.argmax(axis=1)
    scores = scored(probabilities, answers)
    assert scores["n"] == 40
    assert scores["accuracy"] == pytest.approx(accuracy_score(answers, predicted))
    assert scores["macro_f1"] == pytest.approx(f1_score(answers, predicted, average="macro"))


def test_the_table_shows_every_score(answered):
    scores = scored(*answered)
    table = score_table(FACES, scores)
    assert "40 photos" in table
    for name, value in scores.items():
        assert name == "n" or f"{value:.4f}" in table


def test_pictures_of_a_prediction_lie_beside_the_submission(tmp_path, photos, answered):
    rows = np.arange(5, 45)
    probabilities, classes = answered
    said = {"class": probabilities, **FACES.marginals(probabilities)}
    answers = predictions_of(FACES, said, {"class": classes, **FACES.decode(classes)})
    files = prediction_pictures(tmp_path / "team_v1.5", photos, rows, answers)
    assert {file.name for file in files} >= {"team_v1.5.confusion.png", "team_v1.5.mistakes.png"}
    assert all(cv2.imread(str(file)) is not None for file in files)


HEADS = {
    "classes": {"kind": {"classes": ["a", "b", "c"]}},
    "two heads": {"kind": {"classes": ["a", "b", "c"]}, "hue": {"classes": ["red", "blue"]}},
    "tags": {"tags": {"type": "multilabel", "classes": ["sky", "sea"]}},
    "a number": {"years": {"type": "number", "bins": "0:4:1"}},
}


@pytest.mark.parametrize(
    ("kind", "drawn"),
    [
        ("classes", {"confusion"}),
        ("two heads", {"confusion.kind", "confusion.hue"}),
        ("tags", set()),
        ("a number", {"scatter"}),
    ],
)
def test_every_kind_of_task_has_its_pictures(tmp_path, photos, kind, drawn):
    task = Task(TaskSettings.model_validate({"heads": HEADS[kind]}))
    rng, truth, said = np.random.default_rng(0), {}, {}
    for name, head in task.heads.items():
        said[name] = rng.dirichlet(np.ones(len(head.answers)), 9)
        truth[name] = head.predict(rng.dirichlet(np.ones(len(head.answers)), 9))
    files = prediction_pictures(
        tmp_path / "v", photos, np.arange(9), predictions_of(task, said, truth)
    )
    parts = drawn | {"mistakes", "examples"}
    assert {file.name for file in files} == {f"v.{part}.png" for part in parts}
    assert all(cv2.imread(str(file)) is not None for file in files)


def test_the_most_confident_mistakes_come_first(photos):
    answers = np.array([0, 0, 0])
    probabilities = np.full((3, 18), 0.01)
    probabilities[[0, 1, 2], [0, 5, 6]] = 0.4, 0.5, 0.7
    question = HeadPredictions.of("class", "class", NAMES, probabilities, answers)
    sheet = mistakes_sheet(photos, np.array([10, 20, 30]), question)
    worst_first = cv2.resize(photos[30], (160, 160), interpolation=cv2.INTER_CUBIC)
    assert (sheet[8:168, 10:170] == worst_first).all()


def test_a_few_photos_make_a_sheet_as_well(photos):
    question = HeadPredictions.of("class", "class", NAMES, np.eye(18)[[4]], np.array([4]))
    sheet = mistakes_sheet(photos, np.array([3]), question)
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3


class TestTrainingPictures:
    def test_curves_and_the_best_epochs_mistakes_are_drawn(self, tmp_path, photos, answered):
        probabilities, answers = answered
        values = FACES.decode(answers) | {"age": np.full(40, 20.0)}
        columns = {"photo": np.arange(40).astype(str), "index": np.arange(40)}
        saved = SavedPredictions(FACES, {"class": probabilities}, values, columns)
        write_predictions(tmp_path / "predictions.npz", saved)

        files = training_pictures(tmp_path, HISTORY, 2, photos, np.arange(10, 50))

        assert {file.name for file in files} >= {
            "learning_curves.png",
            "validation.confusion.png",
            "validation.mistakes.png",
        }
        assert all(cv2.imread(str(file)) is not None for file in files)

    def test_a_run_without_a_best_epoch_of_its_own_has_its_curves(self, tmp_path, photos):
        files = training_pictures(tmp_path, HISTORY, 1, photos, np.arange(40))
        assert [file.name for file in files] == ["learning_curves.png"]
