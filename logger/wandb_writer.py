"""A wandb run: online, or on disk until somebody syncs it."""

import hashlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from logger.writer import Cell, History, Scalars, Writer
from utils.hub import answers

logger = logging.getLogger("logger")

AXES = {
    "step/*": "step",
    **dict.fromkeys(("train/*", "val/*", "lr*", "time/*", "memory/*"), "epoch"),
}
"""Names of scalars → what they are drawn over. wandb's own step would refuse what a resumed run
does again."""


class WandbWriter(Writer):
    """A wandb run; without a login or a network it is written to disk, to be synced later.

    Args:
        log_dir: the run's files go to ``<log_dir>/wandb``.
        run_id: the wandb run to start or continue; what wandb takes in no id becomes a dash.
        name: of the experiment, which names the artifact and, without ``project``, the project.
        mode: ``"online"``, ``"offline"`` or ``"disabled"``; the environment's ``WANDB_MODE`` goes
            over it.
        artifact: keep the best checkpoint as an artifact of the run.
        options: ``project``, ``entity``, ``group``, ``tags``, ``notes`` as wandb takes them.
    """

    def __init__(
        self,
        log_dir: Path,
        run_id: str,
        name: str = "model",
        mode: str = "online",
        artifact: bool = False,
        **options: Any,
    ) -> None:
        import wandb  # slow to import, often not wanted

        self._wandb = wandb
        self._log_dir = Path(log_dir)
        self._run_id = legal_for_wandb(run_id)
        self._artifact = legal_for_wandb(f"{name}-{run_id}", r"[^\w.-]") if artifact else None
        # So that a cluster's or a test's environment can silence any config.
        self._mode = os.environ.get("WANDB_MODE") or mode
        self._options = {"project": legal_for_wandb(name), "name": run_id, **options}
        self._run: Any = None

    def start(self, history: History, step: int) -> None:
        """Start the run, or go on with it if wandb knows its id; asks nobody anything."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        # resume="allow": a stopped run goes on under its id. 30 s, where wandb's own wait is 90.
        init = partial(
            self._wandb.init, dir=str(self._log_dir.absolute()), id=self._run_id, resume="allow",
            settings=self._wandb.Settings(silent=True, console="off", init_timeout=30),
            **self._options,
        )  # fmt: skip
        mode: Any = self._mode
        # Asked first: `init` itself would wait for an answer at a prompt, or for the network.
        obstacle = _why_offline(self._wandb) if mode == "online" else None
        if obstacle is None:
            try:
                self._run = init(mode=mode)
            except self._wandb.Error as error:
                if mode != "online":
                    raise
                obstacle = f"it refused to start ({' '.join(str(error).split())})"
                self._wandb.teardown()  # it still holds the run's name
        if obstacle is not None:
            logger.warning("wandb: %s, so this run is logged offline", obstacle)
            mode = "offline"
            self._run = init(mode=mode)
        if mode == "offline":
            logger.info("wandb: send it later with: wandb sync %s", self._run.settings.sync_dir)
        # With axes of our own, points that are logged again replace those before.
        for names, axis in AXES.items():
            self._run.define_metric(names, step_metric=axis)

    def describe(self, name: str, value: Any) -> None:
        """Show plain JSON values beside the curves; those of ``config`` without a name before."""
        values = value if name == "config" else {name: value}
        # A resumed run may change keys, such as trainer.epochs; wandb takes that for a mistake.
        self._run.config.update(values, allow_val_change=True)

    def log_step(self, step: int, scalars: Scalars) -> None:
        self._run.log({"step": step, **scalars})

    def log(self, epoch: int, scalars: Scalars, best: bool = False) -> None:
        """Record the scalars of an epoch; those of the best one also stand in the summary."""
        self._run.log({"epoch": epoch, **scalars})
        if best:
            self._run.summary.update({f"best/{name}": value for name, value in scalars.items()})

    def picture(self, epoch: int, name: str, image: np.ndarray) -> None:
        self._run.log({"epoch": epoch, name: self._wandb.Image(image)})

    def table(self, epoch: int, name: str, rows: Sequence[Mapping[str, Cell]]) -> None:
        """Record a table with its pictures."""
        cells = [[self._cell(cell) for cell in row.values()] for row in rows]
        self._run.log({"epoch": epoch, name: self._wandb.Table(list(rows[0]), cells)})

    def checkpoint(self, path: Path, scalars: Scalars) -> None:
        """Keep the best checkpoint as an artifact, if the config asks for it."""
        if self._artifact is not None:
            artifact = self._wandb.Artifact(self._artifact, "model", metadata=dict(scalars))
            artifact.add_file(str(path))
            self._run.log_artifact(artifact, aliases=["best"])

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()

    def _cell(self, cell: Cell) -> Any:
        return self._wandb.Image(cell) if isinstance(cell, np.ndarray) else cell


def legal_for_wandb(name: str, illegal: str = r"[:;,#?/'\\%]|^\s|\s$") -> str:
    """``name`` with dashes for what is ``illegal`` in wandb, 128 characters at most; ever the same.

    A digest keeps names apart that would become the same one. Without this, wandb would refuse a
    run id such as ``lr#2`` when the run starts, or its artifact once all is trained.
    """
    # ASCII: \w would else let Korean letters pass, which the name of an artifact may not have.
    legal = re.sub(illegal, "-", name, flags=re.ASCII)
    if legal == name and len(name) <= 128:
        return name
    return f"{legal[:120]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:6]}"


def _why_offline(wandb: Any) -> str | None:
    # verify=False: asking the server is done below, with a timeout of our own.
    if not wandb.login(prompt=False, verify=False):
        return "no login (WANDB_API_KEY or `wandb login`)"
    address = wandb.setup().settings.base_url
    return None if answers(address) else f"{urlsplit(address).hostname} can't be reached"
