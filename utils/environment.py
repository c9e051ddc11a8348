"""What a run ran on: versions, machine, code, command."""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from utils.devices import available_cores

PROJECT = Path(__file__).resolve().parent.parent


def describe_environment(device: str) -> dict[str, Any]:
    """Plain JSON values that say what a later reader needs to repeat a run."""
    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "git": git_state(PROJECT),
        "device": device,
        "gpus": [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda,
        "cpu": cpu_name(),
        "cores": available_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": installed(),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """``commit`` and whether tracked files were ``dirty``; ``None`` outside a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    # Data, runs and crops are untracked on purpose; they do not change what the code does.
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        # In a repository on a network that is gone, git would hold up the training.
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def installed() -> dict[str, str]:
    """Every installed package → its version; of two of a name, the one that is imported."""
    found: dict[str, str] = {}
    for package in importlib.metadata.distributions():
        if package.name:  # what is left of one that was half removed has none
            found.setdefault(package.name.lower().replace("_", "-"), package.version)
    return dict(sorted(found.items()))


def cpu_name() -> str:
    """The processor's name, as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
