"""Which processor the work runs on, and how many threads and workers it may use there."""

import os

import torch

from utils.errors import ConfigError


def resolve_device(name: str | None = None) -> torch.device:
    """``"auto"``/``None`` takes the first GPU, or the CPU where there is none.

    Raises:
        ConfigError: a device that this machine does not have.
    """
    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name!r}: use 'auto', 'cpu', 'cuda' or 'cuda:0'") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ConfigError(
            f"device {name!r}: this machine has {found} CUDA GPU(s); use 'auto' or 'cpu'"
        )
    return device


def available_cores() -> int:
    """Cores this process may run on (containers and ``taskset`` included)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fit_workers(requested: int, device: torch.device) -> int:
    """How many of the requested loader workers this machine has cores for.

    On the CPU, workers and torch threads share the cores, and the model needs most of them: the
    workers get a quarter. Beside a GPU the main process mostly waits, so they get all but one.
    """
    cores = available_cores()
    limit = cores // 4 if device.type == "cpu" else cores - 1
    return max(0, min(requested, limit))


def set_threads(num_workers: int, device: torch.device) -> int:
    """Give torch the cores that the loader workers leave free; returns that number."""
    threads = max(1, available_cores() - (num_workers if device.type == "cpu" else 0))
    torch.set_num_threads(threads)
    return threads
