"""What a training leaves of Grad-CAM for its report."""

import json

import numpy as np

from logger.predictions import read_predictions
from logger.report.predictions import HeadPredictions
from trainer.explanations import rows_to_explain
from utils.images import read_image


def test_a_training_leaves_pictures_and_their_index(call, shapes_config, tmp_path):
    result = call(
        "train.py", "-c", shapes_config, "--set", "explain=true", "--run-id", "why",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "saved" / "log" / "shapes" / "why" / "gradcam"
    index = json.loads((folder / "index.json").read_text())
    assert index and len(index) % 2 == 0
    for entry in index:
        assert set(entry) == {"photo", "head", "file", "predicted", "true"}
        assert read_image(folder / entry["file"]).shape == (224, 224, 3)
    assert {entry["head"] for entry in index} == {"kind", "colour"}
    assert len({entry["file"] for entry in index}) == len(index)


def test_what_is_explained_is_the_decoded_answer(call, shapes_config, tmp_path):
    result = call(
        "train.py", "-c", shapes_config, "--set", "explain=true", "decoding.prior_strength=2.0",
        'task.answer={"product": ["kind", "colour"]}', "--run-id", "why",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    log = tmp_path / "saved/log/shapes/why"
    saved = read_predictions(log / "predictions.npz")
    plain, decoded = (each["class"].argmax(axis=1) for each in (saved.raw(), saved.adjusted()))
    answer_of = dict(zip(saved.photos["photo"], decoded, strict=True))
    assert (plain != decoded).any()
    for entry in json.loads((log / "gradcam/index.json").read_text()):
        words = saved.task.class_words(answer_of[entry["photo"]])
        assert entry["predicted"] == words[entry["head"]]


def test_the_most_confident_mistakes_come_first_then_right_answers_of_different_classes():
    answers = np.array([0, 0, 1, 1, 2, 3])
    confidence = np.array([0.9, 0.8, 0.6, 0.95, 0.7, 0.5])
    said = np.array([0, 0, 5, 5, 2, 3])
    probabilities = np.zeros((6, 18))
    probabilities[np.arange(6), said] = confidence
    question = HeadPredictions.of(
        "class", "class", tuple("abcdefghijklmnopqr"), probabilities, answers
    )
    assert rows_to_explain(question, 4).tolist() == [3, 2, 0, 4]


def test_fewer_photos_than_wanted_are_all_that_is_explained():
    question = HeadPredictions.of(
        "class", "class", ("a", "b", "c"), np.eye(3)[:2], np.array([0, 1])
    )
    assert rows_to_explain(question, 6).tolist() == [0, 1]
