"""The writers that a config switches on beside the console and metrics.csv."""

import importlib.util
from pathlib import Path
from typing import Any

from logger.tensorboard_writer import TensorboardWriter
from logger.wandb_writer import WandbWriter
from logger.writer import Writer
from utils import distributed


def require_writers(config: dict[str, Any]) -> None:
    """Raise the ModuleNotFoundError of a writer that ``config`` wants; to be asked before photos
    are cropped, which may take an hour."""
    wanted = {"tensorboard": config["trainer"]["tensorboard"], "wandb": config["wandb"]}
    for name in wanted:
        if wanted[name] and importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def open_writers(config: dict[str, Any], log_dir: Path, run_id: str) -> list[Writer]:
    """TensorBoard and wandb, as far as ``config`` wants them; they begin with ``start``."""
    # Several ranks would write the same event files, and open a wandb run each.
    if not distributed.is_main():
        return []
    writers: list[Writer] = []
    if config["trainer"]["tensorboard"]:
        writers.append(TensorboardWriter(log_dir))
    if config["wandb"]:
        # `"wandb": true`, as the original writes it, takes all defaults.
        chosen = config["wandb"] if isinstance(config["wandb"], dict) else {}
        options = {k: v for k, v in chosen.items() if v is not None}
        writers.append(WandbWriter(log_dir, run_id, config["name"], **options))
    return writers
