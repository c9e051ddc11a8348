"""Training state on disk: tensors and plain values only, so that loading a file runs no code."""

from pathlib import Path
from typing import Any

import base.checkpoint
from base.checkpoint import read_tensors
from TRACER.weights import network_settings
from utils.errors import CheckpointError

LAST = "last.pth"
BEST = "best.pth"


def save_checkpoint(path: Path, network: Any, training: dict[str, Any] | None) -> None:
    """Write a network (the averaged one where there is one), loadable by ``load_tracer``, and what
    its training needs to go on: plain values, tensors and state dicts, or ``None`` for weights
    alone.
    """
    # The settings stand at the top, where `load_tracer` reads them from any weights file.
    content = {**network_settings(network), "model": network.state_dict()}
    more = {} if training is None else {"training": training}
    base.checkpoint.save_checkpoint(path, content | more)


def read_training(path: str | Path) -> dict[str, Any]:
    """What ``save_checkpoint`` wrote: the network's settings, its state dict as ``model``, and what
    it was given as ``training``.

    Raises:
        CheckpointError: missing, damaged, or without training state.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such checkpoint to resume from")
    content = read_tensors(Path(path))
    if not isinstance(content, dict) or not {"model", "training"} <= content.keys():
        raise CheckpointError(
            f"{path}: holds no training state; resume from {LAST}, or start from it with --weights"
        )
    return content
