import numpy as np
import pytest
from sklearn.metrics import f1_score

from logger.report_answers import (
    Answers,
    fallback_photos,
    least_certain,
    photos_to_show,
    worst_mistakes,
)
from logger.report_run import Run
from logger.report_scores import (
    better_than_guessing,
    borders,
    calibration,
    class_scores,
    errors_by_age,
    guessing,
    macro_f1,
    macro_f1_interval,
)
from logger.report_verdict import verdict


def test_the_macro_f1_is_that_of_scikit_learn(mixed_answers):
    whole = mixed_answers.whole
    expected = f1_score(whole.truth, whole.predicted, average="macro")
    assert macro_f1(whole) == pytest.approx(expected)
    assert macro_f1(whole) == pytest.approx(np.mean([s.f1 for s in class_scores(whole)]))


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
    low, high = macro_f1_interval(mixed_answers)
    assert low < macro_f1(mixed_answers.whole) < high
    assert macro_f1_interval(make_answers([0, 1], [0, 1])) is None


def test_guessing_the_commonest_class_scores_what_scikit_learn_says(make_answers):
    question = make_answers([0, 0, 0, 1, 2], [0] * 5).whole
    guess = guessing(question)
    assert guess.accuracy == pytest.approx(0.6)
    assert guess.macro_f1 == pytest.approx(f1_score([0, 0, 0, 1, 2], [0] * 5, average="macro"))
    assert not better_than_guessing(question)


def test_calibration_error_is_the_gap_between_sureness_and_truth(make_answers):
    truth = np.zeros(100, int)
    said = np.where(np.arange(100) < 70, 0, 1)
    found = calibration(make_answers(truth, said, sureness=0.95).whole)
    assert found.error == pytest.approx(0.25, abs=1e-6)
    assert found.surer_by == pytest.approx(0.25, abs=1e-6)
    assert calibration(make_answers(truth, truth, sureness=1.0).whole).error == 0


def test_errors_are_counted_by_age_and_on_each_side_of_a_border(make_answers):
    ages = np.array([26, 27, 29, 30, 32, 33])
    question = make_answers([0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 1, 0], ages=ages).questions[2]
    assert [(row.years, row.wrong) for row in errors_by_age(question, ages)] == [
        (26, 0), (27, 1), (29, 1), (30, 1), (32, 0), (33, 1),
    ]  # fmt: skip
    (border,) = borders(question, ages)
    assert (border.edge, border.below, border.above) == (30, (2, 2), (2, 1))


def test_galleries_start_with_the_surest_mistake_and_the_least_sure_answer(make_answers):
    answers = make_answers([0, 0, 0, 0], [1, 0, 1, 0], sureness=[0.5, 0.4, 0.9, 0.95])
    assert worst_mistakes(answers).tolist() == [2, 0]
    assert least_certain(answers).tolist() == [1, 0, 2, 3]
    assert fallback_photos(answers).tolist() == []
    assert photos_to_show(answers) == [0, 1, 2, 3]


def test_answers_come_back_from_disk_as_they_were(mixed_answers, tmp_path):
    np.savez(tmp_path / "a.npz", **mixed_answers.to_arrays())
    with np.load(tmp_path / "a.npz") as saved:
        again = Answers.from_arrays(dict(saved))
    assert again.files == mixed_answers.files and again.thumbnails == mixed_answers.thumbnails
    for before, after in zip(mixed_answers.questions, again.questions, strict=True):
        assert before.names == after.names and before.edges == after.edges
        assert (before.probabilities == after.probabilities).all()
    assert (again.ages == mixed_answers.ages).all()


class TestVerdict:
    @pytest.mark.parametrize(
        ("right", "grade"),
        [(1.0, "Excellent"), (0.8, "Good"), (0.5, "Fair"), (0.3, "Weak"),
         (1 / 6, "No better than guessing")],
    )  # fmt: skip
    def test_the_grade_follows_the_score(self, make_answers, right, grade):
        truth = np.arange(600) % 6
        said = np.where(np.arange(600) // 6 < right * 100, truth, (truth + 1) % 6)
        assert verdict(Run("r", "1", answers=make_answers(truth, said))).grade == grade

    def test_a_single_mistake_is_not_rounded_away(self, make_answers):
        truth = np.arange(600) % 6
        said = truth.copy()
        said[0] = 1
        found = verdict(Run("r", "1", answers=make_answers(truth, said)))
        assert found.headline.startswith("Right on 99.8 of 100")

    def test_close_calls_at_an_age_border_are_named_as_a_reason(self, mixed_answers):
        said = " ".join(verdict(Run("r", "1", answers=mixed_answers)).why)
        assert "100% of the size mistakes are on people within 3 years of 30" in said

    def test_learning_by_heart_is_named_as_a_reason(self, mixed_answers):
        history = [{"epoch": 1, "train/f1": 0.99, "val/f1": 0.6}]
        run = Run("r", "1", answers=mixed_answers, history=history, best_epoch=1)
        assert "knows its training photos better than others" in verdict(run).why[0]

    def test_being_too_sure_is_named_as_a_reason(self, make_answers):
        truth = np.arange(60) % 6
        said = np.where(np.arange(60) < 40, truth, (truth + 2) % 6)
        found = verdict(Run("r", "1", answers=make_answers(truth, said, sureness=0.99)))
        assert "too sure of itself: on average 99% sure and 67% right" in " ".join(found.why)

    def test_all_right_leaves_nothing_to_explain(self, make_answers):
        truth = np.arange(60) % 6
        assert verdict(Run("r", "1", answers=make_answers(truth, truth))).where == [
            "Nowhere: every photo is right."
        ]
