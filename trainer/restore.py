"""Trained models, rebuilt from their checkpoints."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import model.model as module_arch
from base.base_model import BaseModel
from base.checkpoint import load_checkpoint, load_weights
from model.decoding import weights_of
from trainer.inference import Predictor
from trainer.tta import views_from
from utils.devices import amp_dtype
from utils.seeding import seed_everything

if TYPE_CHECKING:
    from parse_config import ConfigParser


def restore_predictor(config: "ConfigParser", checkpoint: Path, device: torch.device) -> Predictor:
    """The model of a checkpoint, with the settings that its answers depend on.

    Args:
        config: of the checkpoint.
        checkpoint: its weights, and how often each class occurred in its training.
        device: where the model goes.

    Raises:
        CheckpointError: not a checkpoint, or of another architecture.
        ConfigError, DataError: a decoding that it can't do.
    """
    settings = config["trainer"]
    # Only a GPU has float16; on a CPU the nearest is float32.
    amp = "off" if settings["amp"] == "fp16" and device.type == "cpu" else settings["amp"]
    return Predictor(
        restore_model(lambda: build_without_weights(config), checkpoint, device),
        views_from(config["tta"]),
        restore_decoding(config["decoding"], checkpoint),
        amp_dtype(amp, device),
        settings["channels_last"] is not False,
        {key: settings[key] for key in ("deterministic", "tf32")},
    )


def build_without_weights(config: "ConfigParser") -> BaseModel:
    """The model that ``config`` names, untrained: it downloads and reads no backbone weights, for
    those who have a checkpoint that holds them all."""
    arch = config.init_ftn("arch", module_arch)
    takes = {*inspect.signature(arch.func).parameters, *arch.keywords}
    without = {"pretrained": False, "checkpoint_path": None}
    instead = {key: value for key, value in without.items() if key in takes}
    return config.init_obj("arch", module_arch, instead=instead)


def model_to_train(
    config: "ConfigParser", resumed: bool, start: Mapping[str, Any] | None = None
) -> BaseModel:
    """The model that a training begins with, before any checkpoint is loaded into it.

    Published backbone weights are asked for only where no checkpoint gives them all.

    Args:
        config: of the training.
        resumed: whether a checkpoint with all weights will be loaded.
        start: the checkpoint of ``--init-from``, if any, of which what fits will be loaded.
    """
    if resumed or start is not None:
        model = build_without_weights(config)
        if resumed or _holds_backbone(start["state_dict"], model):
            return model
        seed_everything(config["seed"])  # as if that one had not been drawn
    return config.init_obj("arch", module_arch)


def _holds_backbone(weights: Mapping[str, torch.Tensor], model: BaseModel) -> bool:
    ours = {k: v.shape for k, v in model.state_dict().items() if k.startswith("backbone.")}
    return all(k in weights and weights[k].shape == shape for k, shape in ours.items())


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
