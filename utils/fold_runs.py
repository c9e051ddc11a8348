"""Trainings of folds on disk: one run per fold, and a folder that says which of them are trained.

The folds of the run id ``first`` are the runs ``first-fold0``, ``first-fold1``, …, each of them
like any other. ``saved/models/<name>/first/folds.json`` joins them.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.config_files import differing_paths, read_json5
from utils.errors import CheckpointError, ConfigError
from utils.files import write_json
from utils.run_folder import FOLDS, RunFolder


def record_folds(run: RunFolder, folds: int, trained: Sequence[int]) -> None:
    """Write down which of how many folds are trained."""
    write_json(run.folds, {"folds": folds, "trained": list(trained)})


def fold_checkpoints(folder: Path) -> list[Path]:
    """The best checkpoint of each trained fold; empty where ``folder`` is not one of folds.

    Raises:
        CheckpointError: none of its folds is trained yet.
    """
    if not (folder / FOLDS).is_file():
        return []
    # The run id is read off the path, which a link or `.` does not show.
    folder = folder.resolve()
    trained = read_json5(folder / FOLDS)["trained"]
    if not trained:
        raise CheckpointError(
            f"{folder}: none of its folds is trained yet; go on with train.py --folds all"
            f" --run-id {shlex.quote(folder.name)} --resume auto"
        )
    run = RunFolder.of(folder)
    if run is None:
        raise CheckpointError(
            f"{folder}: folds are found only where a training left them, in models/NAME/RUN_ID;"
            " name their checkpoints one by one"
        )
    return [run.fold(fold).best for fold in trained]


def newest_folds(models: Path) -> str | None:
    """The run id of the newest training of folds below ``models``."""
    found = models.glob(f"*/{FOLDS}")
    # Where a file system counts in whole seconds, of two the one with the later time stamp.
    newest = max(found, key=lambda path: (path.stat().st_mtime_ns, path), default=None)
    return newest.parent.name if newest else None


def require_same_config(begun: Path, saved: dict[str, Any], config: dict[str, Any]) -> None:
    """Refuse to go on with folds under another config than the one ``saved`` in the file ``begun``.

    Raises:
        ConfigError: they differ; says in which keys.
    """
    found = {  # by each run itself
        "data_loader.args.batch_size": config["data_loader"]["args"]["batch_size"] == "auto",
        "trainer.accumulate": config["trainer"]["effective_batch"] is not None,
    }
    if differing := [key for key in differing_paths(saved, config) if not found.get(key)]:
        raise ConfigError(
            f"--resume auto: {begun.parent} was begun with another"
            f" {', '.join(differing[:3])}; go on with -c {begun}, or start anew with another"
            " --run-id"
        )
