"""Several runs on one page."""

import numpy as np
import pytest

from logger.report.scores import class_scores
from logger.report.write import compare_runs
from tests.pages import Page, command


class TestComparison:
    @pytest.fixture
    def two(self, make_run, make_answers, mixed_answers):
        truth = mixed_answers.whole.truth
        better = make_answers(truth, truth, people=mixed_answers.groups)
        return make_run("first", predictions=mixed_answers), make_run(
            "second", predictions=better, lr=0.2
        )

    def test_it_says_which_is_better_and_whether_that_may_be_chance(self, two):
        page = Page(compare_runs(two))
        assert page.headings[0].startswith("“second” is much better than “first”: macro-F1 1.0")
        assert "60 are right with “second” only and 0 with “first” only." in page.text
        assert "changes by +0.2" in page.text and ", more than chance" in page.text

    def test_a_difference_that_may_be_chance_makes_no_winner(self, make_run, make_answers):
        truth = [0, 1, 2, 3] * 9
        runs = [
            make_run("a", predictions=make_answers(truth, [1, 1, *truth[2:]])),
            make_run("b", predictions=make_answers(truth, [1, *truth[1:]])),
        ]
        assert Page(compare_runs(runs)).headings[0].startswith("No clear winner: macro-F1")

    def test_seven_photos_of_one_person_are_not_seven_witnesses(self, make_run, make_answers):
        truth = np.arange(140) % 6
        people = np.arange(140) // 7
        said = np.where(people < 2, (truth + 1) % 6, truth)  # 14 photos, but two people
        runs = [
            make_run("a", predictions=make_answers(truth, said, people=people)),
            make_run("b", predictions=make_answers(truth, truth, people=people)),
        ]
        page = Page(compare_runs(runs))
        assert page.headings[0].startswith("No clear winner")
        assert "0 with “a” only. The macro-F1 changes by +0.1" in page.text
        assert "which may be chance (95% interval" in page.text and "20 people" in page.text

    def test_more_right_photos_make_no_winner_where_the_macro_f1_falls(
        self, make_run, make_answers
    ):
        truth = np.array([0] * 400 + [1, 2, 3, 4, 5] * 8)
        rare_lost = np.where(np.arange(440) < 400, truth, (truth + 1) % 6)
        common_lost = np.where(np.arange(440) < 150, 1, truth)
        people = np.arange(440)
        runs = [
            make_run("rare-lost", predictions=make_answers(truth, rare_lost, people=people)),
            make_run("common-lost", predictions=make_answers(truth, common_lost, people=people)),
        ]
        headline = Page(compare_runs(runs)).headings[0]
        assert headline.startswith("“common-lost” is much better than “rare-lost”")

    def test_of_runs_that_share_some_photos_only_these_are_compared(self, make_run, make_answers):
        truth = np.arange(300) % 6
        people = np.arange(300) // 3
        worse = np.where(np.arange(300) % 2, truth, (truth + 1) % 6)
        more = make_answers(truth, worse, people=people)
        fewer = make_answers(truth[:120], truth[:120], people=people[:120])
        page = Page(
            compare_runs([make_run("a", predictions=more), make_run("b", predictions=fewer)])
        )
        assert "Of the 120 photos that both predicted, 60 are right with “b” only" in page.text
        assert page.headings[0].startswith("“b” is much better than “a”: macro-F1 1.000")

    @pytest.mark.parametrize(
        ("people", "reason"),
        [(np.arange(300) % 9, "fewer than 10 people"), (None, "it isn't known who they show")],
    )
    def test_where_chance_cannot_be_evaluated_nobody_wins(
        self, make_run, make_answers, people, reason
    ):
        truth = np.arange(300) % 6
        runs = [
            make_run("a", predictions=make_answers(truth, (truth + 1) % 6, people=people)),
            make_run("b", predictions=make_answers(truth, truth, people=people)),
        ]
        page = Page(compare_runs(runs))
        assert page.headings[0].startswith("No clear winner") and reason in page.text

    def test_legends_show_each_run_at_its_own_best_epoch(self, make_run, mixed_answers):
        runs = [
            make_run("a", predictions=mixed_answers),
            make_run("b", epochs=5, predictions=mixed_answers),
        ]
        assert "a 0.6 in epoch 3 b 1 in epoch 5" in Page(compare_runs(runs)).text

    def test_only_what_differs_of_the_config_is_shown(self, two):
        page = Page(compare_runs(two))
        assert "optimizer.args.lr 0.1 0.2" in page.text
        assert "trainer.save_dir" not in page.text

    def test_every_class_shows_its_change(self, two, mixed_answers):
        before = class_scores(mixed_answers.whole)[0]
        page = Page(compare_runs(two))
        row = f"{before.name} {before.support} {before.f1:.3f} 1.000 {1 - before.f1:+.3f}"
        assert row in page.text

    def test_runs_evaluated_on_other_photos_are_pointed_out(self, make_run, make_answers):
        runs = [
            make_run("a", predictions=make_answers([0, 1, 2, 3], [0, 1, 2, 2])),
            make_run("b", predictions=make_answers([1, 0], [1, 0])),
        ]
        page = Page(compare_runs(runs))
        assert page.headings[0].startswith("No clear winner")
        assert "“b” was evaluated on other photos than “a”" in page.text

    def test_three_runs_of_different_length_one_without_answers(self, make_run, mixed_answers):
        runs = [
            make_run("a", predictions=mixed_answers),
            make_run("b", epochs=1, predictions=mixed_answers),
            make_run("c", epochs=0),
        ]
        page = compare_runs(runs)
        assert page.name == "compare_a_2_others.html"
        assert "Learning curves" in Page(page).headings

    def test_one_run_alone_is_refused(self, make_run, tmp_path):
        make_run()
        done = command("--compare", "saved/log/things/first", cwd=tmp_path)
        assert done.returncode == 2 and "two runs or more" in done.stderr
