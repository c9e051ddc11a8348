"""Training state on disk: tensors and plain values only, so that loading a file runs no code."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from TRACER.weights import network_settings
from utils.errors import CheckpointError
from utils.files import refuse_other_content, write_atomically

LAST = "last.pth"
BEST = "best.pth"


def save_checkpoint(path: Path, network: Any, training: dict[str, Any] | None) -> None:
    """Write a network, loadable by ``load_tracer``, and what its training needs to go on.

    Args:
        path: of the file; what stood there stays until the new one is whole.
        network: a ``Tracer``; the one to use, that is, the averaged one where there is one.
        training: plain values, tensors and state dicts; None for weights alone.
    """
    content = {**network_settings(network), "model": network.state_dict()}
    if training is not None:
        content["training"] = training
    with write_atomically(path, "wb") as file:
        torch.save(content, file)


def read_training(
    path: str | Path, settings: dict[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a network's state dict, and what ``save_checkpoint`` was given as ``training``.

    Args:
        path: of the file.
        settings: ``network_settings`` of the network that is to go on.

    Raises:
        CheckpointError: missing, damaged, without training state, or of another network.
    """
    refuse_other_content(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        model, training = content["model"], content["training"]
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such checkpoint to resume from") from error
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"{path}: holds no training state; resume from {LAST}, or start from it with --weights"
        ) from error
    except Exception as error:  # torch.load raises whatever the damaged bytes lead to
        raise CheckpointError(f"{path}: not a checkpoint, or damaged; resume another") from error
    for name, value in settings.items():
        if content[name] != value:
            raise CheckpointError(
                f"{path}: its network has {name} {content[name]!r}, this run {value!r};"
                " resume with the options of the first run"
            )
    return model, training


def rng_state() -> dict[str, Any]:
    """The state of torch's generators, the only ones that training draws from as it goes."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_rng(state: dict[str, Any]) -> None:
    """Put back what ``rng_state`` gave; GPUs only where their number is the same."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
