import time

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import f1_score

from logger.report.predictions import HeadPredictions, galleries
from logger.report.scores import (
    better_than_guessing,
    borders,
    calibration,
    class_scores,
    errors_by_number,
    guessing,
    intervals,
    main_score,
    main_score_gain,
)


def test_the_macro_f1_is_that_of_scikit_learn(mixed_answers):
    whole = mixed_answers.whole
    expected = f1_score(whole.truth, whole.predicted, average="macro")
    assert main_score(whole) == pytest.approx(expected)
    assert main_score(whole) == pytest.approx(np.mean([s.f1 for s in class_scores(whole)]))


def test_a_class_that_never_occurs_has_no_recall_and_one_never_said_no_precision(make_answers):
    scores = class_scores(make_answers([0, 0, 1], [0, 2, 0]).whole)
    assert (scores[1].support, scores[1].precision, scores[1].recall, scores[1].f1) == (
        1,
        None,
        0,
        0,
    )
    assert (scores[2].support, scores[2].recall, scores[2].f1) == (0, None, 0)
    assert scores[3].f1 is None


def test_the_interval_of_the_macro_f1_holds_it_and_draws_people(mixed_answers, make_answers):
    found = intervals(mixed_answers.whole, mixed_answers.groups)
    low, high = found.score
    assert low < main_score(mixed_answers.whole) < high
    assert found.accuracy[0] < 0.8 < found.accuracy[1]
    for score, (least, most) in zip(class_scores(mixed_answers.whole), found.f1, strict=True):
        assert 0 <= least < score.f1 < most <= 1
    few = make_answers([0, 1], [0, 1], people=np.arange(2))
    assert intervals(few.whole, few.groups) is None
    assert intervals(mixed_answers.whole, None) is None


def test_a_class_that_occurs_nowhere_has_no_interval(make_answers):
    predictions = make_answers([0, 1, 2] * 20, [0, 1, 1] * 20, people=np.arange(60) // 3)
    f1 = intervals(predictions.whole, predictions.groups).f1
    assert np.isnan(f1[3:]).all() and not np.isnan(f1[:3]).any()


def test_a_class_that_few_people_have_has_no_interval_either(make_answers):
    truth = np.array([0] * 60 + [1] * 9 * 3)
    predictions = make_answers(truth, truth, people=np.arange(87) // 3)
    f1 = intervals(predictions.whole, predictions.groups).f1
    assert np.isnan(f1[1]).all() and not np.isnan(f1[0]).any()


def question_of(truth, said, classes):
    names = tuple(map(str, range(classes)))
    return HeadPredictions.of(
        "class", "classes", names, np.eye(classes, dtype=np.float32)[said], truth
    )


def answers_of_two_models(rng, people=60, correlation=0.8, right=(0.75, 0.75)):
    """What two models say of seven photos of each of these people, whose mistakes go together."""
    person = np.repeat(np.arange(people), 7)
    truth = np.tile([0, 0, 0, 0, 0, 1, 2], people) + 3 * (person % 2)
    heads = []
    for share in right:
        of_person, of_photo = rng.normal(size=people)[person], rng.normal(size=7 * people)
        luck = np.sqrt(correlation) * of_person + np.sqrt(1 - correlation) * of_photo
        said = np.where(luck > norm.ppf(share), (truth + 3) % 6, truth)
        heads.append(question_of(truth, said, 6))
    return *heads, person


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_two_equal_models_seldom_differ_though_photos_of_a_person_go_together(correlation):
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(150):
        low, high = main_score_gain(*answers_of_two_models(rng, correlation=correlation))
        alarms += low > 0 or high < 0
    assert alarms <= 0.1 * 150  # 5 % wanted; photos for people give 24 to 33 %


@pytest.mark.slow
def test_a_model_that_is_better_is_found_to_be_so_and_in_the_right_direction():
    rng = np.random.default_rng(4)
    pairs = [answers_of_two_models(rng, right=(0.6, 0.9)) for _ in range(20)]
    assert sum(main_score_gain(*pair)[0] > 0 for pair in pairs) >= 18
    assert sum(main_score_gain(b, a, people)[1] < 0 for a, b, people in pairs) >= 18


@pytest.mark.parametrize(("classes", "people"), [(18, 20_000), (1000, 2_000)])
def test_intervals_take_no_time_for_many_photos_people_or_classes(classes, people):
    rng = np.random.default_rng(0)
    truth = rng.integers(classes, size=20_000)
    said = [np.where(rng.random(20_000) < 0.8, truth, 0) for _ in range(2)]
    before, after = (question_of(truth, each, classes) for each in said)
    began = time.perf_counter()
    low, high = main_score_gain(before, after, np.arange(20_000) % people)
    assert low < main_score(after) - main_score(before) < high
    assert time.perf_counter() - began < 10  # 0.3 s; a table of classes a draw takes minutes


def test_better_than_guessing_draws_people_and_says_where_there_are_too_few(make_answers):
    truth = np.array([0] * 60 + [1] * 40)
    lucky = np.where(np.arange(100) >= 80, 1, 0)  # right on 80: 20 more than guessing
    everyone = make_answers(truth, lucky, people=np.arange(100))
    of_one = make_answers(truth, lucky, people=np.minimum(np.arange(100), 80))
    assert better_than_guessing(everyone)
    assert not better_than_guessing(of_one)  # all that it has on guessing is one person
    assert better_than_guessing(make_answers(truth, lucky, people=np.arange(100) % 9)) is None


def test_guessing_the_commonest_class_scores_what_scikit_learn_says(make_answers):
    predictions = make_answers([0, 0, 0, 1, 2] * 4, [0] * 20)
    guess = guessing(predictions.whole)
    assert guess.accuracy == pytest.approx(0.6)
    assert guess.score == pytest.approx(f1_score([0, 0, 0, 1, 2], [0] * 5, average="macro"))
    assert better_than_guessing(predictions) is False


def test_calibration_error_is_the_gap_between_confidence_and_truth(make_answers):
    truth = np.zeros(100, int)
    said = np.where(np.arange(100) < 70, 0, 1)
    found = calibration(make_answers(truth, said, confidence=0.95).whole)
    assert found.error == pytest.approx(0.25, abs=1e-6)
    assert found.overconfidence == pytest.approx(0.25, abs=1e-6)
    assert calibration(make_answers(truth, truth, confidence=1.0).whole).error == 0


def test_errors_are_counted_by_age_and_on_each_side_of_a_border(make_answers):
    ages = np.array([26, 27, 29, 30, 32, 33])
    head = make_answers([0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 1, 0], ages=ages).heads[2]
    assert [(row.value, row.wrong) for row in errors_by_number(head)] == [
        (26, 0), (27, 1), (29, 1), (30, 1), (32, 0), (33, 1),
    ]  # fmt: skip
    (border,) = borders(head)
    assert (border.edge, border.below, border.above) == (30, (2, 2), (2, 1))


def test_galleries_start_with_the_most_confident_mistake_and_the_least_sure_answer(make_answers):
    predictions = make_answers([0, 0, 0, 0], [1, 0, 1, 0], confidence=[0.5, 0.4, 0.9, 0.95])
    assert [rows.tolist() for rows in galleries(predictions)] == [[2, 0], [1, 0, 2, 3], []]
    assert list(predictions.thumbnails) == [0, 1, 2, 3]
