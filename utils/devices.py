"""Which processor the work runs on, and how many threads and workers it may use there."""

import contextlib
import ctypes
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from utils.errors import ConfigError, UserError

logger = logging.getLogger("device")

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's <malloc.h>
SHARED_MEMORY = Path("/dev/shm")
"""Where loader processes put their batches; containers often have no more than 64 MiB of it."""
PREFETCHED = 2
"""Batches that each loader process has ready, unless told otherwise."""
MOST_WORKERS = 16
"""Loader processes that are started unasked: a core augments some 1,100 photos a second, so more
would only take memory."""

PEAKS = {
    "B200": 2250, "H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312, "A10": 125,
    "L40S": 362, "L40": 181, "L4": 121, "RTX 5090": 209, "RTX 4090": 165, "RTX 3090": 71,
    "V100": 125, "T4": 65,
}  # fmt: skip
"""Part of a GPU's name, with no digit behind it → TFLOP/s in 16 bits with sums in float32, without
sparsity, as NVIDIA's data sheets and white papers say; of two that fit, the first."""


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
    """``choose_device`` and ``use_device``."""
    return use_device(choose_device(n_gpu, name))


def use_device(device: torch.device) -> torch.device:
    """Settle a process that does one thing over and over, and then ends, on its device."""
    if device.type == "cuda" and device.index is not None:
        # What names no device (pinned memory, an event, a stream) is made for the current one.
        torch.cuda.set_device(device)
    keep_freed_memory()
    return device


def choose_device(n_gpu: int, name: str | None = None) -> torch.device:
    """The processor a run uses: ``name`` (what ``--device`` said) if given, else by ``n_gpu``: 0
    for the CPU, 1 for a GPU if there is one.

    Raises:
        ConfigError: more GPUs than there are, or a device that isn't there.
    """
    if name is not None:
        return resolve_device(name)
    found = torch.cuda.device_count()
    if "LOCAL_RANK" in os.environ:  # launched by torchrun: each process has its own
        local = int(os.environ["LOCAL_RANK"])
        return resolve_device(f"cuda:{local}" if n_gpu and local < found else "cpu")
    if n_gpu > max(found, 1):
        raise ConfigError(f"n_gpu: {n_gpu} asked for, this machine has {found}; set n_gpu={found}")
    if n_gpu == 1 and found == 0:
        logger.warning("no GPU found, so this runs on the CPU (n_gpu=0 says so without this line)")
    return resolve_device("cpu" if n_gpu == 0 or found == 0 else "cuda:0")


def keep_freed_memory() -> bool:
    """Let a process keep what memory it frees, for the next step to use.

    By default glibc maps every large tensor or photo anew and gives it back at once, so that the
    kernel clears the same pages in every step: a fifth of the time of training a small network on
    the CPU, and a quarter of what a photo costs beside TRACER's network. Nothing grows by this,
    since every step needs as much as the one before. Returns whether it was done: other C
    libraries have no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    return bool(mallopt and mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))


def available_cores() -> int:
    """Cores that fall to this process (containers, ``taskset`` and the other ranks included)."""
    # `cpu_count` is that of the machine, also where a scheduler has given us two cores of it.
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    # Slurm may have bound each rank to its own already.
    allotted = int(os.environ.get("SLURM_CPUS_ON_NODE", cores))
    return max(1, min(cores, allotted // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


def fit_workers(requested: int | str, device: torch.device, batch_bytes: int = 0) -> int:
    """How many of the requested loader workers this machine has cores for.

    On the CPU the model needs most cores, and the workers get a quarter. Beside a GPU the main
    process mostly waits, so they get all but one.

    Args:
        requested: a number, or ``"auto"`` for as many as there are cores and shared memory for, up
            to ``MOST_WORKERS``.
        device: where the model runs.
        batch_bytes: of the batches of all loaders together.
    """
    cores = available_cores()
    limit = max(0, cores // 4 if device.type == "cpu" else cores - 1)
    if not isinstance(requested, str):
        return min(requested, limit)
    limit = min(limit, MOST_WORKERS)
    if not (batch_bytes and SHARED_MEMORY.is_dir()):
        return limit
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # of this machine, each with its loaders
    # What workers have ready lies in it, those of all ranks on this machine.
    room = shutil.disk_usage(SHARED_MEMORY).free // (PREFETCHED * batch_bytes * ranks)
    if room < limit:
        logger.warning(
            "warning: data_loader.args.num_workers: %d of %d processes, since more batches do not"
            " fit into %s; give the container more by --shm-size", room, limit, SHARED_MEMORY,
        )  # fmt: skip
    return min(limit, room)


@contextlib.contextmanager
def explain_out_of_memory(work: str, images: torch.Tensor) -> Iterator[None]:
    """Say in one line what a GPU had too little memory for (``work`` on (B, 3, S, S) photos), and
    what to set.

    Raises:
        UserError: the block ran out of memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        # Up to the figures; behind them torch explains fragmentation for a paragraph.
        reason = str(error).partition(". GPU")[0]
        raise UserError(
            f"{work} of {len(images)} photos of {images.shape[-1]} px does not fit into the GPU's"
            f" memory ({reason}); lower data_loader.args.batch_size (in training,"
            " trainer.accumulate keeps the photos of a step) or data_loader.args.input_size"
        ) from error


def amp_dtype(choice: str, device: torch.device) -> torch.dtype | None:
    """The type to autocast to, or ``None`` for float32, by ``"bf16"``, ``"fp16"``, ``"off"`` or
    ``"auto"``: ``half_dtype`` on a GPU, float32 on the CPU.

    Raises:
        ConfigError: float16 on the CPU.
    """
    if choice == "off" or (choice == "auto" and device.type == "cpu"):
        return None
    if choice == "fp16" and device.type == "cpu":
        raise ConfigError("trainer.amp: 'fp16' needs a GPU; use 'bf16', 'auto' or 'off'")
    if choice == "auto":
        return half_dtype(device)
    return torch.bfloat16 if choice == "bf16" else torch.float16


def peak_flops(device: torch.device, amp: torch.dtype | None) -> float | None:
    """Floating-point operations a second that a GPU does at best in 16 bits; ``None`` where that
    is not known, or where it computes in another precision."""
    if device.type != "cuda" or amp is None:
        return None
    name = torch.cuda.get_device_name(device)
    # An L4 is no L40, and a T4 no T400.
    fitting = (peak for part, peak in PEAKS.items() if re.search(rf"{part}(?!\d)", name))
    return next((1e12 * peak for peak in fitting), None)


def half_dtype(gpu: torch.device) -> torch.dtype:
    """The 16-bit type that a GPU multiplies fast: bfloat16 from Ampere (2020) on, else float16.

    Older ones emulate bfloat16 in float32, which is slower than float32 itself; torch's
    ``is_bf16_supported`` counts that as support, and asks the current device.
    """
    native = torch.version.hip or torch.cuda.get_device_capability(gpu)[0] >= 8
    return torch.bfloat16 if native else torch.float16


def set_arithmetic(deterministic: bool, tf32: bool, cudnn_benchmark: bool = False) -> None:
    """Choose between speed and repeatable bits for all of torch.

    Args:
        deterministic: refuse operations whose result depends on the order of threads.
        tf32: multiply float32 matrices in TensorFloat-32 where a GPU has it.
        cudnn_benchmark: let cuDNN try its ways of every convolution, for every size of a batch,
            unless ``deterministic``. On an H100 that took 20 s and gave nothing
            (efficientnetv2_rw_s, 240 px, batch 128: 1,928 images/s with it, 1,939 without).
    """
    if deterministic:
        # cuBLAS sums up in another order else; torch refuses to begin without it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = cudnn_benchmark and not deterministic
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32


def set_threads(num_workers: int, device: torch.device) -> int:
    """Give torch the cores that the loader workers leave free; returns that number.

    ``OMP_NUM_THREADS``, where it is set, is the most it takes.
    """
    # Beside a GPU torch's own threads have little to do, and take no core from the workers.
    threads = max(1, available_cores() - (num_workers if device.type == "cpu" else 0))
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdecimal():
        threads = min(threads, max(1, int(limit)))
    torch.set_num_threads(threads)
    return threads
