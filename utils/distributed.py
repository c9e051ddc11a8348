"""The process group: who am I, wait for the others, gather what they hold.

Everything here also works without a group, as the only rank.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from utils.errors import ConfigError

TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others; the first may be building a crop cache meanwhile."""


def launched() -> bool:
    """Whether torchrun (or a launcher that speaks like it) started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def rank() -> int:
    """This process's number, 0 to ``world_size() - 1``."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", 0))


def world_size() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the one process that logs and writes."""
    return rank() == 0


def relaunch(n_gpu: int) -> None:
    """Where a plain ``python train.py`` asks for several GPUs, become torchrun and start over.

    Raises:
        ConfigError: this machine has fewer.
    """
    if n_gpu <= 1 or launched():
        return
    found = torch.cuda.device_count()
    if n_gpu > found:
        raise ConfigError(f"n_gpu: {n_gpu} asked for, this machine has {found}; set n_gpu={found}")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    sys.stdout.flush()
    os.execv(sys.executable, [*torchrun, f"--nproc-per-node={n_gpu}", *sys.argv])


@contextlib.contextmanager
def process_group(n_gpu: int) -> Iterator[None]:
    """Join the launcher's group for the time of the block; nothing where no launcher is.

    Args:
        n_gpu: 0 for the CPU; otherwise each process of a machine takes the GPU of its number.
    """
    if not launched():
        yield
        return
    on_gpu = n_gpu > 0 and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # NCCL for tensors on GPUs, gloo for everything that lies on the CPU.
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def barrier() -> None:
    """Wait until every rank is here."""
    if dist.is_initialized():
        dist.barrier()


def gather(value: Any) -> list[Any]:
    """The values of all ranks in their order, on every rank; picklable, on the CPU."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def broadcast(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    if not dist.is_initialized():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]
