"""Trained models, rebuilt from their checkpoints."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import model.model as module_arch
from base.base_model import BaseModel
from base.checkpoint import load_checkpoint, load_weights, metadata_of
from base.task import Task
from model.decode import class_names
from model.decoding import resolve_decoding
from parse_config import ConfigParser
from trainer.inference import Predictor
from trainer.tta import views_from
from utils.devices import amp_dtype
from utils.errors import CheckpointError
from utils.seeding import seed_everything


def restore_predictor(
    config: ConfigParser,
    checkpoint: Path,
    device: torch.device,
    state: dict[str, Any] | None = None,
    *,
    in_batches: bool = False,
) -> Predictor:
    """The model of a checkpoint, with the settings that its answers depend on.

    Args:
        config: of the checkpoint.
        checkpoint: its weights, and how often each class occurred in its training.
        state: what the checkpoint holds, where it has been read already.
        in_batches: many batches of one size will be predicted, one after the other.

    Raises:
        CheckpointError: not a checkpoint, or of another architecture or other classes.
        ConfigError, DataError: a decoding that it can't do.
    """
    state = load_checkpoint(checkpoint) if state is None else state
    # Before the model is built, since it takes no time to refuse what does not fit.
    task = Task(config.settings.task)
    require_classes(state, task, checkpoint)
    counts = {name: np.array(each) for name, each in state.get("class_counts", {}).items()}
    decoding = resolve_decoding(config.settings.decoding, task, counts)
    model = build_without_weights(config, task)
    load_weights(model, state, checkpoint)
    settings = config["trainer"]
    # Only a GPU has float16; on a CPU the nearest is float32.
    amp = "off" if settings["amp"] == "fp16" and device.type == "cpu" else settings["amp"]
    return Predictor(
        model.to(device).eval(),
        task,
        views_from(config["tta"]),
        decoding,
        amp_dtype(amp, device),
        settings["channels_last"] is not False,
        {key: settings[key] for key in ("deterministic", "tf32")},
        metadata_of(state),
        in_batches and settings["cuda_graph"] and device.type == "cuda",
    )


def build_without_weights(config: ConfigParser, task: Task) -> BaseModel:
    """The model that ``config`` names, untrained: it downloads and reads no backbone weights, for
    those who have a checkpoint that holds them all."""
    arch = config.init_ftn("arch", module_arch, task=task)
    # A class of the user's own need not have these arguments.
    takes = {*inspect.signature(arch.func).parameters, *arch.keywords}
    without = {"pretrained": False, "checkpoint_path": None}
    instead = {key: value for key, value in without.items() if key in takes}
    return config.init_obj("arch", module_arch, instead=instead, task=task)


def model_to_train(
    config: ConfigParser, task: Task, resumed: bool, start: Mapping[str, Any] | None = None
) -> BaseModel:
    """The model that a training begins with, before any checkpoint is loaded into it: one with all
    weights (``resumed``), or what fits of that of ``--init-from`` (``start``).

    Published backbone weights are asked for only where no checkpoint gives them all.
    """
    if resumed or start is not None:
        model = build_without_weights(config, task)
        if resumed or start is None or _holds_backbone(start["state_dict"], model):
            return model
        seed_everything(config["seed"])  # as if that one had not been drawn
    return config.init_obj("arch", module_arch, task=task)


def _holds_backbone(weights: Mapping[str, torch.Tensor], model: BaseModel) -> bool:
    ours = {k: v.shape for k, v in model.state_dict().items() if k.startswith("backbone.")}
    # One tensor that does not fit, and the published weights are asked for after all.
    return all(k in weights and weights[k].shape == shape for k, shape in ours.items())


def require_classes(state: Mapping[str, Any], task: Task, checkpoint: Path) -> None:
    """Refuse a checkpoint whose answers mean something else than the program would write: of
    another task, or with other names of classes."""
    taught = Task(ConfigParser.stored(state["config"], checkpoint).settings.task)
    if list(taught.heads) != list(task.heads):
        raise CheckpointError(
            f"{checkpoint}: was trained for the task {taught.name!r} ({', '.join(taught.heads)}),"
            f" this config has {task.name!r} ({', '.join(task.heads)}); use the checkpoint's own"
            " config, or train again"
        )
    theirs, ours = (class_names(each, each.heads) for each in (taught, task))
    for head, names in {**theirs["heads"], "answer": theirs["answer"]}.items():
        if names != (own := {**ours["heads"], "answer": ours["answer"]}[head]):
            raise CheckpointError(
                f"{checkpoint}: was trained for the {head} classes {names}, this config has {own};"
                " use the checkpoint's own config, or train again"
            )
    for head, known in taught.heads.items():
        bins, own = known.settings.bins, task.heads[head].settings.bins
        if bins != own:
            raise CheckpointError(
                f"{checkpoint}: was trained for the {head} bins {bins}, this config has {own}; use"
                " the checkpoint's own config, or train again"
            )
