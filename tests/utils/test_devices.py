import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from utils.devices import (
    MOST_WORKERS,
    amp_dtype,
    available_cores,
    fit_workers,
    peak_flops,
    prepare_device,
    resolve_device,
    set_arithmetic,
    set_threads,
)
from utils.errors import ConfigError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


class TestDevice:
    def test_a_named_device_is_taken(self):
        assert resolve_device("cpu") == CPU
        assert prepare_device(1, "cpu") == CPU

    def test_auto_is_what_the_machine_has(self):
        assert resolve_device("auto") == resolve_device(None)
        assert resolve_device().type == "cpu"  # conftest.py hides what else there is

    @pytest.mark.parametrize("name", ["tpu", "cuda:x", "gpu", ""])
    def test_an_unknown_device_is_named_with_what_is_allowed(self, name):
        with pytest.raises(ConfigError, match=f"device {name!r}: use 'auto', 'cpu'"):
            resolve_device(name)

    def test_a_gpu_that_is_not_there_is_refused(self):
        with pytest.raises(ConfigError, match=r"'cuda:99': this machine has . CUDA GPU"):
            resolve_device("cuda:99")

    def test_no_gpus_asked_for_is_the_cpu(self, caplog):
        assert prepare_device(0) == CPU
        assert not caplog.text

    def test_one_gpu_asked_for_and_none_there_is_the_cpu_with_a_word_about_it(self, caplog):
        assert prepare_device(1) == CPU
        assert "runs on the CPU" in caplog.text

    @pytest.mark.parametrize(("launched", "name"), [({"LOCAL_RANK": "1"}, None), ({}, "cuda:1")])
    def test_the_chosen_gpu_is_the_one_that_everything_is_made_on(
        self, monkeypatch, launched, name
    ):
        current = []
        monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
        monkeypatch.setattr("torch.cuda.set_device", current.append)
        for variable, value in launched.items():
            monkeypatch.setenv(variable, value)
        assert prepare_device(2, name) == torch.device("cuda", 1)
        assert current == [torch.device("cuda", 1)]

    def test_more_gpus_than_there_are_is_an_error(self):
        with pytest.raises(
            ConfigError, match=r"n_gpu: 99 asked for, this machine has .; set n_gpu"
        ):
            prepare_device(99)


class TestCores:
    def test_cores_are_those_this_process_may_use(self):
        if not hasattr(os, "sched_setaffinity"):
            pytest.skip("this system can't take cores away")
        allowed = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(allowed)})
            assert available_cores() == 1
        finally:
            os.sched_setaffinity(0, allowed)
        assert available_cores() == len(allowed)

    def test_processes_of_one_machine_share_its_cores(self, monkeypatch):
        alone = available_cores()
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        assert available_cores() == max(1, alone // 2)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
        assert available_cores() == 1

    def test_threads_are_no_more_than_the_user_allows(self, monkeypatch, threads_as_before):
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert set_threads(0, CPU) == torch.get_num_threads() == 1

    @pytest.mark.parametrize("device", [CPU, GPU])
    @pytest.mark.parametrize("asked", [0, 1, 4, 1000, "auto"])
    def test_workers_and_threads_leave_no_core_to_two(self, device, asked, threads_as_before):
        workers = fit_workers(asked, device)
        assert 0 <= workers <= (MOST_WORKERS if asked == "auto" else asked)
        if device == CPU:
            assert workers + set_threads(workers, device) <= available_cores()
            assert torch.get_num_threads() >= 1

    @pytest.mark.parametrize(
        ("cores", "device", "workers"), [(16, GPU, 15), (64, GPU, 16), (16, CPU, 4), (2, CPU, 0)]
    )
    def test_as_many_workers_as_the_cores_allow_unless_told(
        self, monkeypatch, cores, device, workers
    ):
        monkeypatch.setattr("utils.devices.available_cores", lambda: cores)
        assert fit_workers("auto", device) == workers


def test_no_more_workers_are_started_than_the_shared_memory_has_room_for(
    monkeypatch, tmp_path, caplog
):
    free = 64 * 2**20
    monkeypatch.setattr("utils.devices.available_cores", lambda: 16)
    monkeypatch.setattr("utils.devices.SHARED_MEMORY", tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    batch = 32 * 3 * 240**2
    assert fit_workers("auto", GPU, batch) == 6 and "--shm-size" in caplog.text
    assert fit_workers(8, GPU, batch) == 8  # as asked
    free = 2**34
    caplog.clear()
    assert fit_workers("auto", GPU, batch) == 15 and not caplog.text


def test_cudnn_tries_its_ways_out_only_when_asked(monkeypatch):
    for part in ("cudnn.benchmark", "cudnn.allow_tf32"):
        monkeypatch.setattr(f"torch.backends.{part}", True)
    found = []
    for asked in ({}, {"cudnn_benchmark": True}):
        set_arithmetic(deterministic=False, tf32=True, **asked)
        found.append(torch.backends.cudnn.benchmark)
    assert found == [False, True]


class TestPrecision:
    def test_the_cpu_computes_in_float32_unless_told_otherwise(self):
        assert amp_dtype("auto", CPU) is None
        assert amp_dtype("off", CPU) is None
        assert amp_dtype("bf16", CPU) == torch.bfloat16

    def test_float16_on_the_cpu_is_refused(self):
        with pytest.raises(ConfigError, match=r"trainer\.amp: 'fp16' needs a GPU"):
            amp_dtype("fp16", CPU)


@pytest.mark.parametrize(
    ("name", "amp", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, 989e12),
        ("NVIDIA H100 PCIe", torch.float16, 756e12),
        ("NVIDIA A10G", torch.float16, 125e12),
        ("NVIDIA A100-SXM4-80GB", torch.float16, 312e12),
        ("NVIDIA L40S", torch.bfloat16, 362e12),
        ("NVIDIA L40", torch.bfloat16, 181e12),
        ("NVIDIA T400 4GB", torch.float16, None),
        ("NVIDIA A100-SXM4-80GB", None, None),
        ("GeForce 256", torch.float16, None),
    ],
)
def test_the_peak_of_a_gpu_is_found_by_its_name(monkeypatch, name, amp, peak):
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: name)
    assert peak_flops(GPU, amp) == peak
    assert peak_flops(CPU, amp) is None


FREED_AND_TAKEN = """
import resource, sys, torch
from utils.devices import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def take_and_free(times):
    for _ in range(times):
        kept = torch.ones(16 * 2**20)

take_and_free(60)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
take_and_free(30)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.slow
def test_memory_that_a_step_frees_is_there_for_the_next_one():
    """Counts page faults once the heap has grown to its size, which takes 4 to 13 rounds."""

    def faults(setting: str) -> int:
        command = [sys.executable, "-c", FREED_AND_TAKEN, setting]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("keep") < faults("default") / 10
