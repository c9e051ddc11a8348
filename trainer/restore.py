"""Trained models, rebuilt from their checkpoints."""

from collections.abc import Callable
from pathlib import Path

import torch

from base.base_model import BaseModel
from base.checkpoint import load_checkpoint, load_weights


def restore_model(
    build: Callable[..., BaseModel], checkpoint: Path, device: torch.device
) -> BaseModel:
    """The model that ``build`` makes, with the weights of ``checkpoint``, in evaluation mode.

    Args:
        build: makes the architecture; called so that it downloads and reads no weights, since
            the checkpoint holds them all.
        checkpoint: of the same architecture.
        device: where the model goes.

    Raises:
        CheckpointError: not a checkpoint, or of another architecture.
    """
    state = load_checkpoint(checkpoint)
    model = build()
    load_weights(model, state, checkpoint)
    return model.to(device).eval()
