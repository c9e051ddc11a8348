"""Where the time of training steps goes: a trace to open in a browser, and one screen of text."""

import logging
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch.profiler import profile, schedule

from base.prefetch import Batch
from logger.logger import attempt

PARTS = ("data wait", "host-to-device", "graph", "forward", "backward", "optimizer")
"""Names under which a step's parts are recorded."""
LONGEST = 12

logger = logging.getLogger("profile")


def profiled(
    batches: Iterable[Batch], steps: int, folder: Path, device: torch.device
) -> Iterator[Batch]:
    """Pass ``batches`` on, with a profiler over the first ``steps`` after one for warming up.

    Leaves ``trace.json`` (for chrome://tracing or ui.perfetto.dev) and ``profile.txt``.
    """
    # Without the first step, in which libraries choose their kernels and memory is allocated.
    course = schedule(wait=0, warmup=1, active=steps, repeat=1)

    def leave(profiler: profile) -> None:
        attempt(partial(_write, folder, device, profiler), "profile")

    with profile(schedule=course, on_trace_ready=leave, acc_events=True) as profiler:
        for batch in batches:
            yield batch
            profiler.step()


def _write(folder: Path, device: torch.device, profiler: profile) -> None:
    steps = profiler.step_num - 1  # those that were recorded
    folder.mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(str(folder / "trace.json"))
    averages = profiler.key_averages()
    by_name = {event.key: event for event in averages}
    lines = [f"{steps} steps on {device}; milliseconds a step, on the host and on the device"]
    for part in PARTS:
        # On the CPU there is no copy to a device.
        event = by_name.get(part)
        host, on_device = (event.cpu_time_total, event.device_time_total) if event else (0, 0)
        each = 1000 * max(steps, 1)
        lines.append(f"  {part:14} {host / each:10.2f} {on_device / each:10.2f}")
    logger.info("profile: %s\n%s", folder / "profile.txt", "\n".join(lines))
    key = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    lines += ["", averages.table(sort_by=key, row_limit=LONGEST)]
    (folder / "profile.txt").write_text("\n".join(lines), encoding="utf-8")
