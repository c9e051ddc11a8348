"""What ``make gpu`` runs, with next to nothing and without a GPU."""

import time

import pytest
import torch

from benchmarks import gpu, gpu_checks, gpu_steps
from benchmarks.accuracy import PAGE, draw
from benchmarks.common import ROOT
from tests import cuda_stand_in
from utils.images import read_image

graphs_on_the_cpu = cuda_stand_in.graphs_on_the_cpu


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
    # Not in a process of its own: OpenCV has threads.
    rows = dict(gpu_steps.STEPS[step].run(gpu_steps.TINY))
    figure = next(figure for name, figure in rows.items() if measured in name)
    assert float(figure.split(",")[0]) > 0


def test_the_checks_run_and_those_that_need_a_gpu_say_so(run):
    # In a process of its own: each check forks, which autograd forbids once it has had threads.
    only = ["--only", "resumed_run", "frozen_parts", "graph"]
    told = run("-m", "benchmarks.gpu", "--tiny", "--check", *only, cwd=ROOT).stdout
    assert "resumed_run | ok: the same bits" in told and "frozen_parts | ok" in told
    assert "graph | skipped: no GPU" in told


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="a torch without CUDA")
def test_whether_there_is_a_gpu_is_asked_without_spoiling_it_for_what_is_forked(monkeypatch):
    # https://docs.pytorch.org/docs/main/notes/multiprocessing.html#poison-fork-in-multiprocessing
    asked = []
    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", lambda: asked.append(1) or 1)
    assert gpu.has_gpu() and not asked, "CUDA's driver was begun here"
    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", lambda: 0)
    assert not gpu.has_gpu()


@pytest.mark.parametrize(
    "check",
    ["graph", "graph_beside_its_update", "graph_of_a_resumed_run", "graph_that_fails"],
)
def test_the_checks_of_graphs_find_what_a_stand_in_for_the_gpu_does(
    monkeypatch, graphs_on_the_cpu, check
):
    monkeypatch.setattr("model.head_losses.require_labels", lambda *_: None)  # waits on a CPU alone
    try:
        assert getattr(gpu_checks, check)(torch.device("cpu")).startswith("ok: the same")
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_step_that_takes_too_long_is_ended_and_one_that_fails_is_named(
    monkeypatch, tmp_path, capsys
):
    def fails(size):
        raise ValueError("no such card")

    compiling = gpu_steps.STEPS["compiling"]

    def slow(size):
        yield "a figure", "3"
        time.sleep(60)

    steps = {"slow": gpu_steps.Step(slow, 0.1), "bad": gpu_steps.Step(fails, 9)}
    monkeypatch.setattr(gpu, "STEPS", steps | {"compiling": compiling})
    with pytest.raises(SystemExit):
        gpu.main(["--tiny", "--out", str(tmp_path / "gpu.md")])
    told = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "| compiling | skipped: no GPU |" in told
    assert "| a figure | 3 |" in told, "what was measured before is kept"
    assert "slow | FAILED: not done in 2 s" in told and "FAILED: ValueError: no such card" in told


def test_the_table_of_the_page_is_drawn(tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    draw(page, tmp_path / "all.png")
    first = next(part for part in page.split("\n\n") if part.startswith("|"))
    draw("\n\n".join(["# a page", "\n".join(first.splitlines()[:4])]), tmp_path / "two.png")
    many, two = (read_image(tmp_path / name).shape[0] for name in ("all.png", "two.png"))
    assert many > two
