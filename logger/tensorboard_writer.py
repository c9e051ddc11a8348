"""TensorBoard event files of a run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logger.writer import Cell, History, Scalars, Writer

STEPS = "steps"
"""Sub-folder of the curves over steps: TensorBoard hides what a resumed run does again by one
number a folder, and epochs and steps are two."""


class TensorboardWriter(Writer):
    """Event files for ``tensorboard --logdir <log_dir>``; curves over steps: the run ``steps``."""

    def __init__(self, log_dir: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, often not wanted

        # Opened in `start` only, when the history is known from which purge_step follows.
        self._open = SummaryWriter
        self._log_dir = Path(log_dir)
        self._epochs: Any = None
        self._steps: Any = None

    def start(self, history: History, step: int) -> None:
        """Open the files; what lies after these epochs and steps in earlier ones is hidden."""
        self._epochs = self._open(str(self._log_dir), purge_step=len(history) + 1)
        self._steps = self._open(str(self._log_dir / STEPS), purge_step=step + 1)

    def describe(self, name: str, value: Any) -> None:
        # TensorBoard renders Markdown, which would run the lines of plain JSON together.
        text = json.dumps(value, indent=2, ensure_ascii=False)
        self._epochs.add_text(name, f"```json\n{text}\n```")

    def log_step(self, step: int, scalars: Scalars) -> None:
        for name, value in scalars.items():
            self._steps.add_scalar(name, value, step)

    def log(self, epoch: int, scalars: Scalars, best: bool = False) -> None:
        """Record the scalars of an epoch, to be seen at once."""
        for name, value in scalars.items():
            if name != "epoch":
                self._epochs.add_scalar(name, value, epoch)
        # Otherwise it buffers for two minutes, and a page that is watched seems to stand still.
        self._epochs.flush()
        self._steps.flush()

    def picture(self, epoch: int, name: str, image: np.ndarray) -> None:
        self._epochs.add_image(name, image, epoch, dataformats="HWC")

    def table(self, epoch: int, name: str, rows: Sequence[Mapping[str, Cell]]) -> None:
        """Record a table as text; its pictures, which text can't hold, follow under its name."""
        pictures = {c for row in rows for c, cell in row.items() if isinstance(cell, np.ndarray)}
        columns = ["row", *(column for column in rows[0] if column not in pictures)]
        lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
        for number, row in enumerate(rows, start=1):
            lines.append(" | ".join(_text(cell) for cell in {"row": number, **row}.values()
                                    if not isinstance(cell, np.ndarray)))  # fmt: skip
            for column in sorted(pictures):
                self.picture(epoch, f"{name}/{number:02d}_{column}", np.asarray(row[column]))
        self._epochs.add_text(name, "\n".join(f"| {line} |" for line in lines), epoch)

    def close(self) -> None:
        for writer in (self._epochs, self._steps):
            if writer is not None:
                writer.close()


def _text(cell: Cell) -> str:
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell).replace("|", "\\|")
