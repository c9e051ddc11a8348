"""Writers that carry a run's scalars and pictures to TensorBoard and wandb."""

import logging
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np

from utils import distributed

logger = logging.getLogger("logger")


def open_writers(
    config: dict[str, Any], log_dir: Path, run_id: str, epochs_done: int = 0
) -> list["Guarded"]:
    """The writers that ``config`` switches on.

    Args:
        config: the whole config; ``trainer.tensorboard`` and ``wandb`` decide.
        log_dir: of the run.
        run_id: of the run.
        epochs_done: by the run that this one resumes; its curves go on after them.
    """
    if not distributed.is_main():
        return []
    writers: list[Guarded] = []
    if config["trainer"]["tensorboard"]:
        writers.append(Guarded(TensorboardWriter(log_dir, epochs_done + 1)))
    if config["wandb"]:
        chosen = config["wandb"] if isinstance(config["wandb"], dict) else {}
        options = {"project": config["name"]} | {k: v for k, v in chosen.items() if v is not None}
        writers.append(Guarded(WandbWriter(log_dir, run_id, config, **options)))
    return writers


class Writer(Protocol):
    """What the trainer asks of a writer."""

    def log(self, epoch: int, scalars: dict[str, float]) -> None:
        """Record the scalars of an epoch."""

    def picture(self, epoch: int, name: str, image: np.ndarray) -> None:
        """Record a picture, (H, W, 3) uint8 RGB."""

    def close(self) -> None:
        """Write out what is still buffered."""


class TensorboardWriter:
    """Event files for ``tensorboard --logdir <log_dir>``.

    Args:
        log_dir: where they go.
        first_epoch: what an interrupted run wrote from this epoch on is hidden.
    """

    def __init__(self, log_dir: Path, first_epoch: int = 1) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, often not wanted

        self._writer = SummaryWriter(str(log_dir), purge_step=first_epoch)

    def log(self, epoch: int, scalars: dict[str, float]) -> None:
        """Record the scalars of an epoch."""
        for name, value in scalars.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def picture(self, epoch: int, name: str, image: np.ndarray) -> None:
        """Record a picture, (H, W, 3) uint8 RGB."""
        self._writer.add_image(name, image, epoch, dataformats="HWC")

    def close(self) -> None:
        """Write out what is still buffered."""
        self._writer.close()


class WandbWriter:
    """A wandb run; without a login or a network it is written to disk, to be synced later.

    Args:
        log_dir: the run's files go to ``<log_dir>/wandb``.
        run_id: the wandb run to start or continue.
        config: the merged config, shown beside the curves.
        mode: ``"online"``, ``"offline"`` or ``"disabled"``; the environment's ``WANDB_MODE`` goes
            over it.
        options: ``project``, ``entity``, ``group``, ``tags``, ``notes`` as wandb takes them.
    """

    def __init__(
        self,
        log_dir: Path,
        run_id: str,
        config: dict[str, Any],
        mode: str = "online",
        **options: Any,
    ) -> None:
        import wandb  # slow to import, often not wanted

        log_dir.mkdir(parents=True, exist_ok=True)
        self._wandb = wandb
        start = partial(
            wandb.init, dir=str(log_dir), id=run_id, config=config, resume="allow",
            settings=wandb.Settings(silent=True, console="off"), **options,
        )  # fmt: skip
        mode = os.environ.get("WANDB_MODE") or mode
        obstacle = _why_offline(wandb) if mode == "online" else None
        if obstacle is None:
            try:
                self._run = start(mode=mode)
            except wandb.Error as error:
                obstacle = f"it refused to start ({' '.join(str(error).split())})"
                wandb.teardown()  # it still holds the run's name
        if obstacle is not None:
            logger.warning("wandb: %s, so this run is logged offline", obstacle)
            mode = "offline"
            self._run = start(mode=mode)
        if mode == "offline":
            logger.info("wandb: send it later with: wandb sync %s", self._run.settings.sync_dir)

    def log(self, epoch: int, scalars: dict[str, float]) -> None:
        """Record the scalars of an epoch."""
        self._run.log(scalars, step=epoch)

    def picture(self, epoch: int, name: str, image: np.ndarray) -> None:
        """Record a picture, (H, W, 3) uint8 RGB."""
        self._run.log({name: self._wandb.Image(image)}, step=epoch)

    def close(self) -> None:
        """Write out what is still buffered."""
        self._run.finish()


class Guarded:
    """A writer whose failures are said once and then stay out of the training's way."""

    def __init__(self, writer: Writer) -> None:
        self._writer: Writer | None = writer

    def log(self, epoch: int, scalars: dict[str, float]) -> None:
        """Record the scalars of an epoch."""
        self._try("log", epoch, scalars)

    def picture(self, epoch: int, name: str, image: np.ndarray) -> None:
        """Record a picture, (H, W, 3) uint8 RGB."""
        self._try("picture", epoch, name, image)

    def close(self) -> None:
        """Write out what is still buffered."""
        self._try("close")

    def _try(self, method: str, *args: Any) -> None:
        if self._writer is None:
            return
        try:
            getattr(self._writer, method)(*args)
        except Exception as error:  # whatever a logging service does, training goes on
            name = type(self._writer).__name__
            logger.warning("%s failed and is off from now on: %s", name, error)
            self._writer = None


def _why_offline(wandb: Any) -> str | None:
    if not wandb.login(prompt=False, verify=False):
        return "no login (WANDB_API_KEY or `wandb login`)"
    address = urlsplit(wandb.setup().settings.base_url)
    try:
        socket.create_connection((address.hostname, address.port or 443), timeout=3).close()
    except OSError:
        return f"{address.hostname} can't be reached"
    return None
