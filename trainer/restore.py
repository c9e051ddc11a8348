"""Trained models, rebuilt from their checkpoints."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from base.base_model import BaseModel
from base.checkpoint import load_checkpoint, load_weights
from model.decoding import weights_of


def restore_decoding(
    decoding: str | Mapping[str, Any] | None, checkpoint: Path
) -> np.ndarray | None:
    """The factors (18,) of the classes that the config key ``decoding`` asks for, if any.

    Args:
        decoding: see ``model.decoding.weights_of``.
        checkpoint: knows how often each class occurred in its training.

    Raises:
        ConfigError, DataError: as for ``weights_of``.
    """
    counts = None
    if isinstance(decoding, Mapping) and decoding["prior_strength"]:
        counts = load_checkpoint(checkpoint).get("class_counts", {}).get("class")
    return weights_of(decoding, counts)


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
