"""What a run or a checkpoint has kept of its config, as one layer of another."""

import copy
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from config_schema import migrate
from utils.config_files import Draft, Layer, read_json5
from utils.errors import CheckpointError
from utils.fold_runs import fold_checkpoints
from utils.run_folder import BEST, CONFIG, FOLDS, RunFolder, is_run


def origin_of(checkpoint: Path) -> tuple[Layer, str | None]:
    """The config of the run that wrote a checkpoint, from the file beside it; of one that lies
    alone, from inside it, and with that the run's id, where it has one."""
    # The file beside it first: no torch to import, and no gigabyte to read for a few keys.
    if is_run(checkpoint.parent):
        beside, run_id = checkpoint.parent / CONFIG, None
        layer = up_to_date(Layer(str(beside), read_json5(beside)))
    else:
        values, run_id = _config_inside(checkpoint, checkpoint.stat().st_mtime_ns)
        layer = up_to_date(Layer(str(checkpoint), values))
    return layer._replace(notes=[*layer.notes, *_keep_inside(layer.values, checkpoint)]), run_id


@lru_cache(maxsize=8)  # several configs are made of one: a command's own, that of its training
def _config_inside(checkpoint: Path, stamp: int) -> tuple[dict[str, Any], str | None]:
    from base.checkpoint import load_checkpoint  # imports torch, which --help spares

    # `stamp`, the time of the file, is there for the cache: a checkpoint written anew is read anew.
    state = load_checkpoint(checkpoint)
    return state["config"], state.get("run_id")


WRITING = {"submit_dir": "submit", "trainer.save_dir": "saved/", "tracer.cache_dir": "saved/crops"}
"""Keys that say where files are written → their defaults."""


def _keep_inside(values: dict[str, Any], checkpoint: Path) -> Iterator[str]:
    """Give places outside the working folder their default, in place: a checkpoint may be
    anybody's. A run that lies where its config says goes on there. Gives a line for each."""
    for path, default in WRITING.items():
        *above, key = path.split(".")
        section = values.get(above[0]) if above else values
        if not isinstance(section, dict):
            continue
        place = section.get(key)
        if not isinstance(place, str) or not _leads_out(place):
            continue
        run = RunFolder.of(checkpoint) if key == "save_dir" else None
        if run is None or run.root.resolve() != Path(place).resolve():
            section[key] = default
            yield f"{path}={place}: not taken from a checkpoint; {default} (or --set) holds"


def _leads_out(place: str) -> bool:
    # A colon is in drives of Windows and in addresses such as s3://.
    return place.startswith(("/", "~", "\\")) or ":" in place or ".." in Path(place).parts


def require_same_task(own: Draft, stored: dict[str, Any], checkpoint: Path) -> None:
    """Refuse a config that writes out a whole task, by its name or data, of another name or other
    heads than a checkpoint's: laid over that key by key, it would be neither."""
    values, theirs = Draft(own.layers).merged(), stored.get("task")
    # One that says its model, too, is a training's own, and without a task that of the faces.
    task = values.get("task", {"name": "faces"} if "arch" in values else None)
    # One that is named, or set as a whole, takes the place of the checkpoint's, and is compared
    # with it later on.
    whole = any(each.path == "task" for each in own.assignments)
    if whole or not isinstance(task, dict) or not isinstance(theirs, dict):
        return
    before = theirs.get("name"), list(theirs.get("heads") or ())
    heads = list(task.get("heads") or ()) if task.get("data") else []
    name = task.get("name", before[0])
    if (name, heads or before[1]) != before:
        others = f" ({', '.join(heads)})" if heads else ""
        raise CheckpointError(
            f"{checkpoint}: was trained for the task {before[0]!r} ({', '.join(before[1])}), and"
            f" {own.source_of('task')} has {name!r}{others}; leave out -c, or train again"
        )


def up_to_date(layer: Layer) -> Layer:
    """What a run has kept, without the keys that there are no more."""
    # What was read from a checkpoint is cached above, and others take it from there.
    values = copy.deepcopy(layer.values)
    return layer._replace(values=values, notes=migrate(values))


def checkpoints_at(path: Path, several: bool) -> list[Path]:
    """The checkpoint at ``path``; where several are wanted, also those of a folder of folds."""
    folds = fold_checkpoints(path) if several else []
    return [existing(checkpoint) for checkpoint in folds or [path]]


def existing(checkpoint: Path) -> Path:
    """``checkpoint`` itself; a CheckpointError where no file is there."""
    if (checkpoint / FOLDS).is_file():
        raise CheckpointError(
            f"{checkpoint}: a training of folds, and this takes one model; name that of a fold,"
            f" such as {checkpoint}-fold0/{BEST}, or join them with python -m tools.soup"
        )
    if checkpoint.is_dir():
        raise CheckpointError(f"{checkpoint}: is a folder; name the .pth file in it")
    if not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint}: no such checkpoint; runs keep theirs in saved/models")
    return checkpoint
