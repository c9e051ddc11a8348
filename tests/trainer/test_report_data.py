import numpy as np
import pytest
import torch

from data_loader.crops import CROPPED, WHOLE
from data_loader.labels import age_bin, age_group, encode_class
from trainer.predict import Predictions
from trainer.report_data import Photographed, answers_for_report
from trainer.results import save_for_report

AGES = np.array([19, 29, 30, 59, 60])
CLASSES = encode_class(0, 1, age_group(AGES))


class SomeCrops:
    states = np.array([CROPPED, WHOLE, CROPPED, CROPPED, CROPPED, CROPPED], np.uint8)

    def __getitem__(self, row):
        return np.full((40, 40, 3), row, np.uint8)


def photographed(**options):
    known = {"people": np.arange(5), "ages": AGES} | options
    files = np.array([f"p{number}/normal.jpg" for number in range(5)])
    return Photographed(files, SomeCrops(), np.arange(1, 6), True, **known)


@pytest.fixture
def probabilities():
    return np.eye(18, dtype=np.float32)[CLASSES] * 0.9 + 0.1 / 18


def test_the_parts_of_the_answer_are_mask_gender_and_age_group(probabilities):
    answers = answers_for_report(photographed(), probabilities, CLASSES)
    assert [q.title for q in answers.details] == ["mask", "gender", "age group"]
    assert not any(q.wrong.any() for q in answers.questions)
    assert answers.details[2].names == ("<30", "30–59", "≥60")
    assert answers.details[2].edges == (30, 60)
    assert answers.fallback.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("edges", "names"),
    [
        ((20, 30, 40, 50, 60), ("<20", "20s", "30s", "40s", "50s", "≥60")),
        ((20, 30, 40, 50, 58), ("<20", "20–29", "30–39", "40–49", "50–57", "≥58")),
    ],
)
def test_the_bins_of_the_age_head_are_a_question_of_their_own(probabilities, edges, names):
    truth = age_bin(AGES, edges)
    bins = np.eye(6, dtype=np.float32)[truth]
    targets = {"age": torch.from_numpy(truth)}
    photos = photographed(age_edges=edges)
    question = answers_for_report(photos, probabilities, CLASSES, {"age": bins}, targets)
    assert question.questions[-1].names == names and question.questions[-1].edges == edges


def test_a_model_of_one_head_has_no_bins(probabilities):
    heads = {"class": probabilities}
    targets = {"class": torch.from_numpy(CLASSES)}
    answers = answers_for_report(photographed(), probabilities, CLASSES, heads, targets)
    assert [q.key for q in answers.questions] == ["class", "mask", "gender", "age"]


def test_what_cannot_be_kept_is_a_warning_and_no_end(probabilities, tmp_path, caplog):
    predictions = Predictions(
        np.arange(5), {}, {"class": torch.from_numpy(CLASSES)}, probabilities, {}
    )
    (tmp_path / "report.npz").mkdir()
    save_for_report(tmp_path / "report.npz", predictions, photographed())
    assert "so the report lacks this epoch" in caplog.text
