"""Which processor the work runs on, and how many threads and workers it may use there."""

import logging
import os

import torch

from utils.errors import ConfigError

logger = logging.getLogger("device")


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


def prepare_device(n_gpu: int, name: str | None = None) -> torch.device:
    """The processor a run uses: ``name`` if given, else by how many GPUs the config asks for.

    Args:
        n_gpu: 0 for the CPU, 1 for a GPU if there is one.
        name: what ``--device`` said.

    Raises:
        ConfigError: more GPUs than there are, or a device that isn't there.
    """
    if name is not None:
        return resolve_device(name)
    found = torch.cuda.device_count()
    if n_gpu > max(found, 1):
        raise ConfigError(f"n_gpu: {n_gpu} asked for, this machine has {found}; set n_gpu={found}")
    if n_gpu == 1 and found == 0:
        logger.warning("no GPU found, so this runs on the CPU (n_gpu=0 says so without this line)")
    return resolve_device("cpu" if n_gpu == 0 or found == 0 else "cuda:0")


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
