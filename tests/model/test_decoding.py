"""Decoding by a class prior: what it does, how it is tuned, and how it is cross-validated."""

import sys

import numpy as np
import pytest

from base.task import Task, load_task
from base.task_settings import TaskSettings
from logger.predictions import SavedPredictions, write_predictions
from model.answers import decode
from model.decoding import (
    class_prior,
    counts_of,
    cross_validated,
    objective,
    read_class_prior,
    resolve_decoding,
    to_json,
    tune,
)
from model.metric import compute_metrics
from model.settings import Decoding
from tools import tune_decoding
from utils.errors import ConfigError, DataError
from utils.files import write_json

FACES = load_task("faces")
NUM_CLASSES = FACES.num_classes
COUNTS = np.arange(1, NUM_CLASSES + 1) * 10
PLAIN = {"class": np.ones(NUM_CLASSES)}


def weights(counts=None, **settings):
    """The class prior of the 18 classes."""
    counts = None if counts is None else {"class": counts}
    return class_prior(Decoding(**settings), FACES, counts)["class"]


def macro_f1(probabilities, classes, weights):
    return objective({"class": probabilities}, {"class": classes}, {"class": weights})


def tuned_on(probabilities, classes):
    return tune(FACES, {"class": probabilities}, {"class": classes})


def age_of(classes):
    return FACES.decode(classes)["age"]


def people_of_all_ages(people, seed=0, photos=3):
    """A model that is calibrated on frequent classes, so the likeliest is seldom a rare one.

    Returns:
        probabilities, classes and people of ``people * photos`` photos; one in ten is old.
    """
    draw = np.random.default_rng(seed)
    age = np.repeat(draw.choice(3, size=people, p=[0.5, 0.4, 0.1]), photos)
    gender = np.repeat(draw.integers(2, size=people), photos)
    mask = np.tile(np.arange(photos) % 3, people)
    logits = 1.2 * np.eye(3)[age] + draw.normal(size=(len(age), 3)) + np.log([0.5, 0.4, 0.1])
    ages = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    masks, genders = (0.9 * np.eye(n)[codes] + 0.1 / n for codes, n in ((mask, 3), (gender, 2)))
    joint = masks[:, :, None, None] * genders[:, None, :, None] * ages[:, None, None, :]
    classes = FACES.encode({"mask": mask, "gender": gender, "age": age})
    return joint.reshape(-1, NUM_CLASSES), classes, np.repeat(np.arange(people), photos)


def test_plain_decoding_changes_nothing():
    probabilities, _, _ = people_of_all_ages(20)
    assert weights() == pytest.approx(np.ones(NUM_CLASSES))
    assert decode(probabilities, {"class": weights()}) == pytest.approx(probabilities)


def test_a_prior_strength_divides_by_the_frequency_to_that_power():
    found = weights(COUNTS, prior_strength=0.5)
    assert found / found[0] == pytest.approx((COUNTS / COUNTS[0]) ** -0.5)


def test_a_bias_moves_one_answer_of_one_head():
    found = weights(bias={"age": (0.0, 0.0, 1.0)})
    old = age_of(np.arange(NUM_CLASSES)) == 2
    assert found[old] / found[0] == pytest.approx(np.full(6, np.e))
    assert found[~old] == pytest.approx(np.full(12, found[0]))

    probabilities, _, _ = people_of_all_ages(20)
    adjusted = decode(probabilities, {"class": found})
    before, after = (FACES.marginals(p) for p in (probabilities, adjusted))
    assert (after["age"][:, 2] > before["age"][:, 2]).all()
    assert after["gender"] == pytest.approx(before["gender"])


def test_decoded_rows_sum_to_one_and_keep_their_type():
    probabilities = people_of_all_ages(20)[0].astype(np.float32)
    decoded = decode(probabilities, {"class": weights(COUNTS, prior_strength=1.0)})
    assert decoded.dtype == np.float32
    assert decoded.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-5)


def test_a_class_that_never_occurs_is_not_raised_without_end():
    found = weights(np.where(COUNTS == 10, 0, COUNTS), prior_strength=1.0)
    assert np.isfinite(found).all()


def test_the_objective_is_the_metric_of_the_decoded_answers():
    probabilities, classes, _ = people_of_all_ages(30)
    found = weights(COUNTS, prior_strength=0.7)
    decoded = decode(probabilities, {"class": found})
    for part in (classes >= 0, classes < 3):
        answered = ({"class": decoded[part]}, {"class": classes[part]})
        expected = compute_metrics(FACES, ["f1"], *answered)["f1"]
        assert macro_f1(probabilities[part], classes[part], found) == pytest.approx(expected)


def test_tuning_raises_the_rare_and_gains_on_people_it_has_not_seen():
    probabilities, classes, people = people_of_all_ages(400)
    tuned = tuned_on(probabilities, classes)
    found = class_prior(tuned, FACES, counts_of(FACES, {"class": classes}))["class"]
    plain = macro_f1(probabilities, classes, np.ones(NUM_CLASSES))
    flattering = macro_f1(probabilities, classes, found)
    answered = ({"class": probabilities}, {"class": classes})
    cross_checked = cross_validated(FACES, *answered, people, folds=3)
    assert tuned.prior_strength > 0 or tuned.bias["age"][2] > 0
    assert plain + 0.02 < cross_checked <= flattering + 0.02
    fresh, truth, _ = people_of_all_ages(400, seed=9)
    assert macro_f1(fresh, truth, found) > macro_f1(fresh, truth, np.ones(18))


def test_tuning_leaves_answers_alone_that_are_right_already():
    classes = np.arange(90) % NUM_CLASSES
    certain = 0.9 * np.eye(NUM_CLASSES)[classes] + 0.1 / NUM_CLASSES
    assert tuned_on(certain, classes) == Decoding()


def test_a_file_gives_back_the_factors_it_was_written_with(tmp_path):
    tuned = Decoding(prior_strength=0.5, bias={"age": (0.0, 0.0, 0.3)})
    found = class_prior(tuned, FACES, {"class": COUNTS})["class"]
    write_json(tmp_path / "d.json", to_json(tuned, FACES, {"class": COUNTS}, {"macro_f1": 0.5}))
    assert read_class_prior(tmp_path / "d.json", FACES)["class"] == pytest.approx(found)
    read = resolve_decoding(str(tmp_path / "d.json"), FACES, None)
    assert read["class"] == pytest.approx(found)


def test_a_file_from_before_there_were_tasks_still_counts(tmp_path):
    write_json(tmp_path / "d.json", {"weights": COUNTS.tolist()})
    assert read_class_prior(tmp_path / "d.json", FACES)["class"].tolist() == COUNTS.tolist()


@pytest.mark.parametrize("text", ["", "{}", '{"weights": [1, 2]}', '{"weights": ["a"]}'])
def test_a_file_that_is_no_decoding_is_refused(tmp_path, text):
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(DataError, match=r"d\.json"):
        read_class_prior(tmp_path / "d.json", FACES)


def test_a_prior_needs_the_counts_of_the_training():
    with pytest.raises(ConfigError, match="doesn't say how often each class occurred"):
        resolve_decoding(Decoding(prior_strength=0.5), FACES, {})
    assert resolve_decoding(None, FACES, None) is None
    assert resolve_decoding(Decoding(age=[0, 0, 1]), FACES, None) is not None


def test_the_biases_of_the_faces_have_their_older_names_as_well():
    assert Decoding(age=[0, 0, 1]) == Decoding(bias={"age": [0, 0, 1]})


@pytest.mark.parametrize(
    "bias, words",
    [
        ({"ages": (0.0,)}, r"decoding\.bias\.ages: no head is called 'ages'; did you mean 'age'"),
        ({"age": (0.0,)}, r"decoding\.bias\.age: must be 3 numbers, one for each of <30, 30-59"),
    ],
)
def test_a_bias_that_fits_no_head_is_one_clear_line(bias, words):
    with pytest.raises(ConfigError, match=words):
        class_prior(Decoding(bias=bias), FACES)


TWO = Task(
    TaskSettings(
        heads={"shape": {"classes": ["circle", "square"]}, "tint": {"classes": ["a", "b"]}}
    )
)


def test_without_a_product_each_head_has_factors_of_its_own_and_is_tuned():
    counts = {"shape": np.array([90, 10]), "tint": np.array([50, 50])}
    found = class_prior(Decoding(prior_strength=1.0, bias={"tint": (0.0, 1.0)}), TWO, counts)
    assert found["shape"][1] / found["shape"][0] == pytest.approx(9)
    assert found["tint"][1] / found["tint"][0] == pytest.approx(np.e)
    draw = np.random.default_rng(1)
    truth = {name: (draw.random(600) < 0.1).astype(int) for name in TWO.heads}
    said = {}
    for name, codes in truth.items():
        square = np.clip(0.12 + 0.3 * codes + 0.1 * draw.normal(size=600), 0.01, 0.99)
        said[name] = np.stack([1 - square, square], axis=1)
    tuned = tune(TWO, said, truth)
    plain = objective(said, truth, class_prior(Decoding(), TWO))
    assert objective(said, truth, class_prior(tuned, TWO, counts_of(TWO, truth))) > plain + 0.1
    assert cross_validated(TWO, said, truth, np.arange(600), folds=3) > plain + 0.1


@pytest.fixture
def tuned_by_command(tmp_path, monkeypatch, capsys):
    """``tuned_by_command(argument, …)``: what the command prints."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["tune_decoding", *map(str, arguments)])
        tune_decoding.main()
        return capsys.readouterr().out

    return call


def save_answers(path, people=60, **changes):
    probabilities, classes, persons = people_of_all_ages(people)
    values = FACES.decode(classes)
    columns = {"photo": np.arange(len(classes)).astype(str), "group": persons}
    saved = {"class": changes.get("probabilities", probabilities)}
    values["age"] = np.array([20.0, 40.0, 70.0])[values["age"]]
    columns["group"] = changes.get("group", persons)
    write_predictions(path, SavedPredictions(FACES, saved, values, columns))
    return path


def test_the_command_says_the_honest_gain_beside_the_flattering_one(tmp_path, tuned_by_command):
    save_answers(tmp_path / "log" / "a" / "first" / "predictions.npz")
    said = tuned_by_command("--run", tmp_path / "models" / "a" / "first", "--folds", 2)
    assert "180 photos of 60 people" in said
    assert "tuned, on the same people (flattering)" in said
    assert "tuned, on others (2 folds of people)" in said
    assert "classes with fewer than 20 photos" in said
    written = tmp_path / "log" / "a" / "first" / "decoding.json"
    assert read_class_prior(written, FACES)["class"].shape == (NUM_CLASSES,)


def test_answers_that_can_not_be_used_are_one_clear_line(tmp_path, tuned_by_command):
    with pytest.raises(DataError, match=r"no predictions\.npz there"):
        tuned_by_command("--run", tmp_path)
    broken = np.full((180, NUM_CLASSES), np.nan)
    path = save_answers(tmp_path / "nan.npz", probabilities=broken)
    with pytest.raises(DataError, match="of 180 of 180 photos are NaN or Inf"):
        tuned_by_command("--run", path)
    (tmp_path / "odd.npz").write_bytes(b"odd")
    with pytest.raises(DataError, match="not the answers of a validation"):
        tuned_by_command("--run", tmp_path / "odd.npz")
    with pytest.raises(DataError, match="photos of one person only"):
        tuned_by_command("--run", save_answers(tmp_path / "one.npz", group=np.zeros(180)))
