"""The process group: who am I, wait for the others, gather what they hold.

Everything here also works without a group, as the only rank.
"""

import contextlib
import itertools
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from utils.cli import EXIT_INTERRUPTED, EXIT_STOPPED
from utils.errors import ConfigError, UserError, reason_of

TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others in a collective; see ``wait_for_main`` for longer."""
GRACE = 100
"""Seconds that processes which were asked to stop have for saving."""

_stores: list[dist.Store] = []  # of the group that is joined
_waits = itertools.count()


def launched() -> bool:
    """Whether torchrun (or a launcher that speaks like it) started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def rank() -> int:
    """This process's number, 0 to ``world_size() - 1``."""
    # Before the group is joined the launcher's number counts: messages are rank 0's from the start.
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", 0))


def world_size() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def first_machine() -> int:
    """How many processes work on the machine of rank 0, which are the first so many ranks.

    The launcher says so in ``LOCAL_WORLD_SIZE``; where it doesn't, rank 0 counts as alone there.
    """
    return broadcast(int(os.environ.get("LOCAL_WORLD_SIZE", 1))) if world_size() > 1 else 1


def is_main() -> bool:
    """Whether this is the one process that logs and writes."""
    return rank() == 0


def relaunch(n_gpu: int) -> None:
    """Where a plain ``python train.py`` asks for several GPUs, be the launcher of that many.

    Raises:
        ConfigError: this machine has fewer.
    """
    if n_gpu <= 1 or launched():
        return
    found = torch.cuda.device_count()
    if n_gpu > found:
        raise ConfigError(f"n_gpu: {n_gpu} asked for, this machine has {found}; set n_gpu={found}")
    sys.exit(launch(n_gpu, sys.argv))


def launch(processes: int, command: Sequence[str]) -> int:
    """Run a script as so many processes of this machine, as torchrun does; torchrun's own exit code
    is 1 whatever its processes left with, and SIGUSR1 kills it.

    Returns:
        The exit code of the first process that failed, ``EXIT_STOPPED`` after a signal, else 0.
    """
    # A free port of its own, so that two trainings on one machine do not meet.
    options = ["--standalone", f"--nproc-per-node={processes}"]
    if hasattr(signal, "SIGUSR1"):
        options += [
            "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGUSR1",
            f"--shutdown-timeout={GRACE}",
        ]
    try:
        torchrun([*options, *command])
    except ChildFailedError as failed:
        code = failed.get_first_failure()[1].exitcode
        return code if code > 0 else 128 - code  # as shells say which signal it was
    except SignalException as asked:
        return EXIT_INTERRUPTED if asked.sigval == signal.SIGINT else EXIT_STOPPED
    return 0


@contextlib.contextmanager
def process_group(n_gpu: int) -> Iterator[None]:
    """Join the launcher's group for the time of the block; nothing where no launcher is. With
    ``n_gpu`` above 0 each process of a machine takes the GPU of its number.
    """
    if not launched():
        yield
        return
    on_gpu = n_gpu > 0 and torch.cuda.is_available()
    try:
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # `init_process_group` would take the launcher's store, see `agree_on_store`.
        if not 0 <= rank() < int(os.environ["WORLD_SIZE"]):  # which would wait for ever
            raise ValueError("there is no such rank")
        store, number, size = next(dist.rendezvous("env://", timeout=TIMEOUT))
    except (KeyError, ValueError, dist.DistError) as error:
        raise UserError(
            f"RANK={os.environ['RANK']} and WORLD_SIZE={os.environ['WORLD_SIZE']} say that a "
            f"launcher started this process, but the group can't be joined: {reason_of(error)}; "
            "start it by torchrun, or alone: env -u RANK -u WORLD_SIZE python …"
        ) from error
    store.set_timeout(TIMEOUT)
    _stores.append(agree_on_store(store, number, size))
    # NCCL for tensors on GPUs, gloo for everything that lies on the CPU.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=_stores[-1],
        rank=number,
        world_size=size,
        timeout=TIMEOUT,
    )
    try:
        yield
    except Exception:  # of this rank alone: NCCL would wait for the others to leave with it
        raise
    except BaseException:
        dist.destroy_process_group()
        raise
    wait_for_main()  # NCCL's farewell is one of all ranks
    _let_main_leave_last()
    dist.destroy_process_group()


def agree_on_store(store: dist.Store, rank: int, world_size: int) -> dist.Store:
    """A part of ``store`` that only the ranks alive now know of.

    torchrun keeps one store over its restarts and gives every generation of workers the same part
    of it (https://github.com/pytorch/pytorch/issues/135712). So a restarted rank may read where a
    dead one listened, and wait for it or be refused. The generations are told apart by a name that
    rank 0 draws: each rank asks under a name of its own, rank 0 answers whatever is asked, and goes
    on when all have read the answer. What the dead have asked costs an answer that nobody reads.

    Raises:
        UserError: a rank does not come.
    """
    own = uuid.uuid4().hex
    if rank > 0:
        store.set(f"asks/{rank}", own)
        generation = store.get(f"answer/{own}").decode()
        store.add(f"read/{generation}", 1)
        return dist.PrefixStore(generation, store)
    answered: dict[int, str] = {}
    deadline = time.monotonic() + TIMEOUT.total_seconds()
    while (here := 1 + store.add(f"read/{own}", 0)) < world_size:
        if time.monotonic() > deadline:
            raise UserError(f"only {here} of {world_size} processes came within {TIMEOUT}")
        for other in range(1, world_size):
            if store.check([f"asks/{other}"]):
                name = store.get(f"asks/{other}").decode()
                if answered.get(other) != name:
                    store.set(f"answer/{name}", own)
                    answered[other] = name
        time.sleep(0.01)
    return dist.PrefixStore(own, store)


def barrier() -> None:
    """Wait until every rank is here, however long that takes.

    Whoever waited in a collective would be ended after ``TIMEOUT``, while another rank still crops.
    Where one dies, the launcher ends the others.
    """
    if dist.is_initialized():
        key = f"all/{next(_waits)}"
        _stores[-1].add(key, 1)
        # Adding 0 is how a store tells a counter without waiting.
        while _stores[-1].add(key, 0) < world_size():
            time.sleep(0.02)


def wait_for_main() -> None:
    """Let the others wait for rank 0 alone, however long that takes; all ranks call it.

    They would be ended as in ``barrier``, while rank 0 still writes a report.
    """
    if not dist.is_initialized():
        return
    store, key = _stores[-1], f"main/{next(_waits)}"
    if is_main():
        store.set(key, "here")
    # `check` never blocks, where `get` would give up after TIMEOUT.
    while not store.check([key]):
        time.sleep(0.05)


def _let_main_leave_last() -> None:
    """Where no launcher keeps the store, rank 0 does, and takes it along; a rank that asked it
    once more would fail after a training that went well."""
    key = f"left/{next(_waits)}"
    _stores[-1].add(key, 1)
    until = time.monotonic() + TIMEOUT.total_seconds()  # of ranks that have died nothing comes
    while is_main() and _stores[-1].add(key, 0) < world_size() and time.monotonic() < until:
        time.sleep(0.02)


def gather(value: Any) -> list[Any]:
    """The values of all ranks in their order, on every rank; picklable, on the CPU."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * world_size()
    # Pickled and sent over gloo: whatever lies on a GPU would come back on the sender's device.
    dist.all_gather_object(values, value)
    return values


@torch.no_grad()
def broadcast_tensors(tensors: Iterable[torch.Tensor]) -> None:
    """Overwrite tensors, of the same shapes and types on every rank, with those of rank 0."""
    for tensor in tensors if dist.is_initialized() else ():
        sent = tensor.contiguous()  # gloo takes no channels-last
        dist.broadcast(sent, src=0)
        tensor.copy_(sent)


def broadcast(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    if not dist.is_initialized():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]
