"""Where a run keeps its files: the one place that knows their names.

    saved/models/<name>/<run_id>/    checkpoints, config, environment, split
    saved/log/<name>/<run_id>/       metrics, log, predictions, pictures, report

The folds of the run ``first`` are the runs ``first-fold0``, ``first-fold1``, …, each like any
other; the folders of ``first`` itself hold what joins them.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from utils.files import is_held

BEST, LAST = "best_epoch.pth", "last_epoch.pth"
CONFIG, ENVIRONMENT, SPLIT, FOLDS = "config.json", "environment.json", "split.csv", "folds.json"
"""Beside the checkpoints: the merged config, what it ran on, who was trained on and who validated,
and of a training of folds which of them are trained."""
METRICS, TIMINGS, MESSAGES, FINISHED = "metrics.csv", "timings.csv", "run.log", "finished.json"
"""In the log folder: scores and seconds, an epoch a row, what was said, and the mark of the end."""
ENDED = "ended.json"
"""How a training ended that did not finish, unless it was killed."""
PREDICTIONS = "predictions.npz"
"""The answers to the validation in the best epoch, or those of all folds."""
DECODING = "decoding.json"
"""What ``python -m tools.tune_decoding`` found on these answers, and what it is worth."""
LOCK = ".lock"
"""Beside the checkpoints: held by the process that trains."""
REPORT, EXPLANATIONS = "report.html", "gradcam"
FOLD_RUN = re.compile(r"-fold\d+$")
"""How the run id of a fold ends."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, whether they exist or not.

    Attributes:
        root: the config's ``trainer.save_dir``.
        name: of the experiment.
        run_id: of the run.
    """

    root: Path
    name: str
    run_id: str

    @classmethod
    def of(cls, path: Path) -> "RunFolder | None":
        """The run that one of its two folders, or a file in one of them, belongs to; ``None``
        where ``path`` does not lie like that. Below the working folder ``root`` is relative."""
        folder = (path.parent if path.is_file() else path).absolute()
        if len(folder.parts) < 4 or folder.parts[-3] not in ("log", "models"):
            return None
        root = folder.parents[2]
        # As a config has it, so that commands in messages can be pasted and are short.
        if root.is_relative_to(Path.cwd()):
            root = root.relative_to(Path.cwd())
        return cls(root, *folder.parts[-2:])

    @property
    def models(self) -> Path:
        """The folder of the checkpoints."""
        return self.root / "models" / self.name / self.run_id

    @property
    def log(self) -> Path:
        """The folder of logs, predictions and pictures."""
        return self.root / "log" / self.name / self.run_id

    def fold(self, number: int) -> "RunFolder":
        """The run of one fold of this run."""
        return RunFolder(self.root, self.name, f"{self.run_id}-fold{number}")

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.models / BEST

    @property
    def last(self) -> Path | None:
        """The newest checkpoint; ``None`` where there is none yet."""
        newest = self.models / LAST
        # A kill may have come before the first save got its second name.
        return newest if newest.exists() else max(self.models.glob("at_*.pth"), default=None)

    @property
    def config(self) -> Path:
        """The merged config."""
        return self.models / CONFIG

    @property
    def folds(self) -> Path:
        """Which folds are trained, of a training of folds."""
        return self.models / FOLDS

    @property
    def is_finished(self) -> bool:
        """Whether the training came to its end."""
        return (self.log / FINISHED).exists()

    @property
    def state(self) -> str:
        """``finished``, ``failed``, ``running``, or ``stopped``: asked to, or killed."""
        if self.is_finished:
            return "finished"
        try:
            return str(json.loads((self.log / ENDED).read_text(encoding="utf-8"))["ended"])
        except FileNotFoundError:
            # A kill leaves no word, but the system lets go of the lock.
            return "running" if is_held(self.models / LOCK) else "stopped"
        except (OSError, ValueError, KeyError, TypeError):
            return "stopped"


def is_run(models: Path) -> bool:
    """Whether a folder is that of a run's checkpoints; a config.json may lie elsewhere too."""
    return (models / CONFIG).is_file() and (models / ENVIRONMENT).is_file()
