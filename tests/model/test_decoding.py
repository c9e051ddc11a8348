"""Decoding by factors: what they do, how they are chosen, and how honestly they are judged."""

import sys

import numpy as np
import pytest

from data_loader.labels import NUM_CLASSES, decode_class, encode_class
from model.decode import head_probabilities
from model.decoding import (
    Decoding,
    decode,
    honest_macro_f1,
    macro_f1,
    read_weights,
    to_json,
    tune,
    weights_of,
)
from model.metric import f1
from tools import tune_decoding
from utils.errors import ConfigError, DataError
from utils.files import write_json

COUNTS = np.arange(1, NUM_CLASSES + 1) * 10


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
    classes = encode_class(mask, gender, age)
    return joint.reshape(-1, NUM_CLASSES), classes, np.repeat(np.arange(people), photos)


def test_plain_decoding_changes_nothing():
    probabilities, _, _ = people_of_all_ages(20)
    assert Decoding().weights() == pytest.approx(np.ones(NUM_CLASSES))
    assert decode(probabilities, Decoding().weights()) == pytest.approx(probabilities)


def test_a_prior_strength_divides_by_the_frequency_to_that_power():
    weights = Decoding(prior_strength=0.5).weights(COUNTS)
    assert weights / weights[0] == pytest.approx((COUNTS / COUNTS[0]) ** -0.5)


def test_a_bias_moves_one_answer_of_one_head():
    weights = Decoding(age=(0.0, 0.0, 1.0)).weights()
    old = decode_class(np.arange(NUM_CLASSES))[2] == 2
    assert weights[old] / weights[0] == pytest.approx(np.full(6, np.e))
    assert weights[~old] == pytest.approx(np.full(12, weights[0]))

    probabilities, _, _ = people_of_all_ages(20)
    before, after = (head_probabilities(p) for p in (probabilities, decode(probabilities, weights)))
    assert (after["age"][:, 2] > before["age"][:, 2]).all()
    assert after["gender"] == pytest.approx(before["gender"])


def test_decoded_rows_sum_to_one_and_keep_their_type():
    probabilities = people_of_all_ages(20)[0].astype(np.float32)
    decoded = decode(probabilities, Decoding(prior_strength=1.0).weights(COUNTS))
    assert decoded.dtype == np.float32
    assert decoded.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-5)


def test_a_class_that_never_occurs_is_not_favoured_without_end():
    weights = Decoding(prior_strength=1.0).weights(np.where(COUNTS == 10, 0, COUNTS))
    assert np.isfinite(weights).all()


def test_the_fast_macro_f1_is_that_of_the_metric():
    probabilities, classes, _ = people_of_all_ages(30)
    weights = Decoding(prior_strength=0.7).weights(COUNTS)
    decoded = decode(probabilities, weights)
    assert macro_f1(probabilities, classes, weights) == pytest.approx(f1(decoded, classes))
    few = classes < 3
    assert macro_f1(probabilities[few], classes[few], weights) == pytest.approx(
        f1(decoded[few], classes[few])
    )


def test_tuning_favours_the_rare_and_gains_on_people_it_has_not_seen():
    probabilities, classes, people = people_of_all_ages(400)
    tuned = tune(probabilities, classes)
    counts = np.bincount(classes, minlength=NUM_CLASSES)
    plain = macro_f1(probabilities, classes, np.ones(NUM_CLASSES))
    flattering = macro_f1(probabilities, classes, tuned.weights(counts))
    honest = honest_macro_f1(probabilities, classes, people, folds=3)
    assert tuned.prior_strength > 0 or tuned.age[2] > 0
    assert plain + 0.02 < honest <= flattering + 0.02
    fresh, truth, _ = people_of_all_ages(400, seed=9)
    assert macro_f1(fresh, truth, tuned.weights(counts)) > macro_f1(fresh, truth, np.ones(18))


def test_tuning_leaves_answers_alone_that_are_right_already():
    classes = np.arange(90) % NUM_CLASSES
    certain = 0.9 * np.eye(NUM_CLASSES)[classes] + 0.1 / NUM_CLASSES
    assert tune(certain, classes) == Decoding()


def test_a_file_gives_back_the_factors_it_was_written_with(tmp_path):
    tuned = Decoding(prior_strength=0.5, age=(0.0, 0.0, 0.3))
    write_json(tmp_path / "d.json", to_json(tuned, COUNTS, {"macro_f1": 0.5}))
    assert read_weights(tmp_path / "d.json") == pytest.approx(tuned.weights(COUNTS))
    assert weights_of(str(tmp_path / "d.json"), None) == pytest.approx(tuned.weights(COUNTS))


@pytest.mark.parametrize("text", ["", "{}", '{"weights": [1, 2]}', '{"weights": ["a"]}'])
def test_a_file_that_is_no_decoding_is_refused(tmp_path, text):
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(DataError, match=r"d\.json"):
        read_weights(tmp_path / "d.json")


def test_a_prior_needs_the_counts_of_the_training():
    with pytest.raises(ConfigError, match="doesn't say how often each class occurred"):
        weights_of({"prior_strength": 0.5}, None)
    assert weights_of(None, None) is None
    assert weights_of({"age": [0, 0, 1]}, None) is not None


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
    arrays = {"class_probabilities": probabilities, "classes": classes, "group": persons}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays | changes)
    return path


def test_the_command_says_the_honest_gain_beside_the_flattering_one(tmp_path, tuned_by_command):
    save_answers(tmp_path / "log" / "a" / "first" / "validation.npz")
    said = tuned_by_command("--run", tmp_path / "models" / "a" / "first", "--folds", 2)
    assert "180 photos of 60 people" in said
    assert "tuned, on the same people (flattering)" in said
    assert "tuned, on others (2 people-disjoint folds)" in said
    assert "classes with fewer than 20 photos" in said
    written = tmp_path / "log" / "a" / "first" / "decoding.json"
    assert read_weights(written).shape == (NUM_CLASSES,)


def test_out_of_fold_answers_go_before_those_of_one_validation(tmp_path):
    save_answers(tmp_path / "validation.npz")
    assert tune_decoding.find_answers(tmp_path).name == "validation.npz"
    save_answers(tmp_path / "oof.npz")
    assert tune_decoding.find_answers(tmp_path).name == "oof.npz"


def test_answers_that_can_not_be_used_are_one_clear_line(tmp_path, tuned_by_command):
    with pytest.raises(DataError, match=r"no oof\.npz or validation\.npz there"):
        tuned_by_command("--run", tmp_path)
    broken = np.full((180, NUM_CLASSES), np.nan)
    path = save_answers(tmp_path / "nan.npz", class_probabilities=broken)
    with pytest.raises(DataError, match="on 180 of 180 photos are no numbers"):
        tuned_by_command("--run", path)
    (tmp_path / "odd.npz").write_bytes(b"odd")
    with pytest.raises(DataError, match="not the answers of a validation"):
        tuned_by_command("--run", tmp_path / "odd.npz")
    with pytest.raises(DataError, match="photos of one person only"):
        tuned_by_command("--run", save_answers(tmp_path / "one.npz", group=np.zeros(180)))
