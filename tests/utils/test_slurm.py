"""Tasks that srun starts are ranks of one training."""

import io
import os
from types import SimpleNamespace

import pytest

from utils.devices import available_cores
from utils.slurm import join_tasks, ranks_of

# As srun of Slurm 22.05 has it in task 5 of 8 on two machines.
STEP = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_ID": "0",
}


def test_a_task_of_several_is_a_rank():
    assert ranks_of(STEP) == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": "29744",
    }


@pytest.mark.parametrize("visible, local", [("3", "0"), ("0,1,2,3", "1")])
def test_a_gpu_of_its_own_is_the_first_that_a_task_sees(visible, local):
    assert ranks_of(STEP | {"CUDA_VISIBLE_DEVICES": visible})["LOCAL_RANK"] == local


@pytest.mark.parametrize(
    "machines, first",
    [
        ("vm", "vm"),
        ("login2,gpu[1-3]", "login2"),
        ("gpu[07-12,20],login2", "gpu07"),
        ("n[3,5]-ib", "n3-ib"),
    ],
)
def test_rank_0_is_asked_for_on_the_first_machine(machines, first):
    assert ranks_of(STEP | {"SLURM_STEP_NODELIST": machines})["MASTER_ADDR"] == first


def test_steps_of_a_job_meet_at_ports_of_their_own():
    assert ranks_of(STEP | {"SLURM_STEP_ID": "1"})["MASTER_PORT"] == "29745"


@pytest.mark.parametrize("alone", [{}, STEP | {"SLURM_STEP_NUM_TASKS": "1"}])
def test_a_process_without_others_is_no_rank(alone):
    assert ranks_of(alone) == {}


def test_a_launcher_that_has_spoken_is_believed(monkeypatch):
    for key, value in (STEP | {"RANK": "0", "WORLD_SIZE": "2"}).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    join_tasks()
    assert os.environ["WORLD_SIZE"] == "2"


def test_a_terminal_within_a_step_is_alone(monkeypatch):
    for key, value in STEP.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    join_tasks()
    assert "RANK" not in os.environ


def test_a_task_without_standard_input_is_a_rank(monkeypatch):
    for key in (*ranks_of(STEP), *STEP):
        monkeypatch.setenv(key, STEP.get(key, ""))
    monkeypatch.delenv("RANK")
    monkeypatch.setattr("sys.stdin", None)
    join_tasks()
    assert os.environ["RANK"] == "5"


@pytest.mark.parametrize("bound, cores", [({0, 1}, 2), (set(range(16)), 4)])
def test_cores_that_slurm_gave_each_rank_are_not_divided_again(bound, cores, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: bound, raising=False)
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "16")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert available_cores() == cores
