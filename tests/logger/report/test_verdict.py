"""The sentence that a report begins with."""

import numpy as np
import pytest

from logger.report.run import Run
from logger.report.verdict import verdict


class TestVerdict:
    @pytest.mark.parametrize(
        ("right", "grade"),
        [(1.0, "Excellent"), (0.8, "Good"), (0.5, "Fair"), (0.3, "Weak"),
         (1 / 6, "No better than guessing")],
    )  # fmt: skip
    def test_the_grade_follows_the_score(self, make_answers, right, grade):
        truth = np.arange(600) % 6
        said = np.where(np.arange(600) // 6 < right * 100, truth, (truth + 1) % 6)
        assert verdict(Run("r", "1", predictions=make_answers(truth, said))).grade == grade

    def test_a_single_mistake_is_not_rounded_away(self, make_answers):
        truth = np.arange(600) % 6
        said = truth.copy()
        said[0] = 1
        found = verdict(Run("r", "1", predictions=make_answers(truth, said)))
        assert found.headline.startswith("Right on 99.8 of 100")

    def test_close_calls_at_an_age_border_are_named_as_a_reason(self, mixed_answers):
        said = " ".join(verdict(Run("r", "1", predictions=mixed_answers)).why)
        assert "100% of the size mistakes are within 3 of the age 30" in said

    def test_learning_by_heart_is_named_as_a_reason(self, mixed_answers):
        history = [{"epoch": 1, "train/f1": 0.99, "val/f1": 0.6}]
        run = Run("r", "1", predictions=mixed_answers, history=history, best_epoch=1)
        assert "knows its training photos better than others" in verdict(run).why[0]

    def test_being_too_sure_is_named_as_a_reason(self, make_answers):
        truth = np.arange(60) % 6
        said = np.where(np.arange(60) < 40, truth, (truth + 2) % 6)
        found = verdict(Run("r", "1", predictions=make_answers(truth, said, confidence=0.99)))
        assert "overconfident: on average 99% sure and 67% right" in " ".join(found.why)

    def test_all_right_leaves_nothing_to_explain(self, make_answers):
        truth = np.arange(60) % 6
        assert verdict(Run("r", "1", predictions=make_answers(truth, truth))).where == [
            "Nowhere: every photo is right."
        ]

    def test_where_chance_may_explain_the_gain_over_guessing_it_is_said(self, make_answers):
        truth = np.arange(60) % 6
        few = np.where(
            np.arange(60) < 12, truth, (truth + 1) % 6
        )  # 12 of 60, where guessing has 10
        found = verdict(Run("r", "1", predictions=make_answers(truth, few)))
        assert found.grade == "No better than guessing"
        assert "Chance may explain that difference." in found.detail
