"""What ``make gpu`` runs, with next to nothing and without a GPU."""

import pytest

from benchmarks import gpu
from benchmarks.accuracy import PAGE, draw
from benchmarks.common import ROOT
from utils.images import read_image


@pytest.mark.parametrize(
    ("step", "measured"),
    [
        ("extraction", "complete cache"),
        ("training, small batch", "ours, eager"),
        ("prediction", "again"),
    ],
)
def test_a_step_gives_figures(monkeypatch, people, in_an_empty_folder, step, measured):
    monkeypatch.setattr("benchmarks.train.sample_people", lambda persons: people)
    rows = dict(gpu.STEPS[step].run(gpu.TINY))  # not in a process of its own: OpenCV has threads
    figure = next(figure for name, figure in rows.items() if measured in name)
    assert float(figure.split(",")[0]) > 0


def test_the_checks_run_and_those_that_need_a_gpu_say_so(run):
    # In a process of its own: each check forks, which autograd forbids once it has had threads.
    only = ["--only", "resumed_run", "frozen_parts", "graph"]
    told = run("-m", "benchmarks.gpu", "--tiny", "--check", *only, cwd=ROOT).stdout
    assert "resumed_run | ok: the same bits" in told and "frozen_parts | ok" in told
    assert "graph | skipped: no GPU" in told


def test_a_step_that_takes_too_long_is_ended_and_one_that_fails_is_named(
    monkeypatch, tmp_path, capsys
):
    def fails(size):
        raise ValueError("no such card")

    compiling = gpu.STEPS["compiling"]
    steps = {"slow": gpu.Step(lambda size: gpu.time.sleep(60), 1), "bad": gpu.Step(fails, 9)}
    monkeypatch.setattr(gpu, "STEPS", steps | {"compiling": compiling})
    with pytest.raises(SystemExit):
        gpu.main(["--tiny", "--out", str(tmp_path / "gpu.md")])
    told = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "| compiling | skipped: no GPU |" in told
    assert "slow | FAILED: not done in 1 s" in told and "FAILED: ValueError: no such card" in told


def test_the_table_of_the_page_is_drawn(tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    draw(page, tmp_path / "all.png")
    first = next(part for part in page.split("\n\n") if part.startswith("|"))
    draw("\n\n".join(["# a page", "\n".join(first.splitlines()[:4])]), tmp_path / "two.png")
    many, two = (read_image(tmp_path / name).shape[0] for name in ("all.png", "two.png"))
    assert many > two
