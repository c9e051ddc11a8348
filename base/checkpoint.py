"""Checkpoints: what a run needs to go on, as tensors and plain JSON types, in one file."""

import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from utils.errors import CheckpointError
from utils.files import write_atomically

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors and plain JSON types only) so that ``path`` is never half a file.

    Raises:
        UserError: the folder cannot be written or the disk is full; an earlier file stays intact.
    """
    with write_atomically(path, "wb") as file:
        torch.save({"format": FORMAT, **state}, file)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a file of ``save_checkpoint`` onto the CPU, without running any code in it.

    Raises:
        CheckpointError: missing, truncated, not a checkpoint, or holding more than plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; give the path of a .pth file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file it cannot take
        raise CheckpointError(f"{path}: {_why_unreadable(path, error)}") from error
    if not isinstance(state, dict) or "state_dict" not in state or "config" not in state:
        raise CheckpointError(
            f"{path}: not a checkpoint of this project (no state_dict and config)"
        )
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {state.get('format')}, this version reads {FORMAT}"
        )
    return state


def _why_unreadable(path: Path, error: Exception) -> str:
    if path.stat().st_size == 0:
        return "the file is empty; use another checkpoint"
    if "weights_only" in str(error) or "Unsupported" in str(error):
        if zipfile.is_zipfile(path):
            return "refused, it holds more than tensors and plain values (code could run)"
        return "not a checkpoint, or one that could run code; refused"
    return "not a checkpoint, or cut short; use another one"


def load_weights(model: nn.Module, state: dict[str, Any], path: str | Path) -> None:
    """Load ``state["state_dict"]`` into ``model``, every key and shape exactly.

    Raises:
        CheckpointError: the weights are of another architecture; says which keys differ first.
    """
    theirs, ours = state["state_dict"], model.state_dict()
    missing = [key for key in ours if key not in theirs]
    surplus = [key for key in theirs if key not in ours]
    reshaped = [k for k in ours if k in theirs and ours[k].shape != theirs[k].shape]
    if missing or surplus or reshaped:
        trained = (state.get("config") or {}).get("arch", {})
        described = [
            f"{len(keys)} {what} (first: {keys[0]})"
            for keys, what in (
                (missing, "missing"),
                (surplus, "unknown"),
                (reshaped, "of another shape"),
            )
            if keys
        ]
        raise CheckpointError(
            f"{path}: weights of another architecture ({_describe_arch(trained)}): tensors "
            + ", ".join(described)
            + "; use the arch it was trained with"
        )
    model.load_state_dict(theirs)


def _describe_arch(arch: dict[str, Any]) -> str:
    name = (arch.get("args") or {}).get("model_name", "")
    return f"{arch.get('type', 'unknown')} {name}".strip()


def random_state() -> dict[str, Any]:
    """The states of all generators that training draws from, as plain values and tensors."""
    version, internal, gauss = random.getstate()
    algorithm, keys, position, has_gauss, cached = np.random.get_state()
    state = {
        "python": [version, list(internal), gauss],
        "numpy": [algorithm, keys.tolist(), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Undo everything drawn since ``random_state`` was taken."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    algorithm, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((algorithm, np.array(keys, np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state.get("cuda", ())) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
