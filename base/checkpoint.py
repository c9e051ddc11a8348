"""Checkpoints: what a run needs to resume, as tensors and plain JSON types, in one file."""

import contextlib
import logging
import os
import random
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from base.checkpoint_schema import require_types
from utils import distributed
from utils.errors import CheckpointError, reason_of
from utils.files import refuse_other_content, write_atomically
from utils.run_folder import BEST, LAST

FORMAT = 1
MOST_BYTES = 1 << 34
"""Of a file that is read: 16 GiB."""
NUMBERED = re.compile(r"at_(\d+)_(\d+)\.pth")

logger = logging.getLogger("checkpoint")


class CheckpointFolder:
    """The checkpoints of a run: ``last_epoch.pth``, ``best_epoch.pth`` and some before them.

    Each save is a file of its own, ``at_<epochs done>_<steps of the next>.pth``; the other names
    are further links to it, so that nothing is written twice. Only the first rank writes.

    Args:
        folder: of the run.
        keep_last: newest saves to keep; with 2, a damaged newest one still leaves one to resume.
        keep_best: best epochs to keep; from 2 on also as ``best_<epoch>_<steps>.pth`` each.

    Attributes:
        last, best: the newest save, and the best epoch's by the monitor.
        has_best: whether ``best_epoch.pth`` is known to be what the run counts as its best.
    """

    def __init__(self, folder: Path, keep_last: int = 2, keep_best: int = 1) -> None:
        self.folder = Path(folder)
        self.last, self.best = self.folder / LAST, self.folder / BEST
        self.keep_last = keep_last
        self.keep_best = keep_best
        self.has_best = False

    def last_good(self) -> str:
        """For a message on a training that broke: where to take it up; empty before any save."""
        return f" (the last good checkpoint is {self.last})" if self.last.exists() else ""

    def save(self, state: dict[str, Any], epoch: int, step: int = 0) -> Path:
        """Write ``state`` (see ``save_checkpoint``) after so many epochs and batches of the next;
        it counts once ``make_last`` is called with the path."""
        path = self.folder / f"at_{epoch:04d}_{step:06d}.pth"
        if distributed.is_main():
            for unfinished in self.folder.glob(".*.pth.*"):  # left by a kill within a save
                unfinished.unlink(missing_ok=True)
            save_checkpoint(path, state)
        return path

    def make_last(self, path: Path) -> None:
        """Let ``last_epoch.pth`` be the save ``path``, and let go of old ones."""
        if not distributed.is_main():
            return
        _link(path, self.last)
        saves = self._numbered()
        place = saves.index(path)
        # What is ahead of the newest save was made by a course that the run has gone back from.
        for old in saves[:place] + saves[place + self.keep_last :]:
            old.unlink(missing_ok=True)

    def make_best(self, path: Path) -> None:
        """Let ``best_epoch.pth`` be the save ``path``; earlier bests stay as far as wanted."""
        self.has_best = True
        if not distributed.is_main():
            return
        _link(path, self.best)
        _link(path, self.folder / f"best_{path.stem.removeprefix('at_')}.pth")
        # With a keep_best of 1 no numbered name stays: best_epoch.pth itself is the one.
        kept = sorted(self.folder.glob("best_[0-9]*.pth"), reverse=True)
        for old in kept[self.keep_best if self.keep_best > 1 else 0 :]:
            old.unlink()

    def bring_best(self, epoch: int | None, source: Path) -> None:
        """Let ``best_epoch.pth`` be the save of ``epoch``, the best, if any, of the course that is
        resumed from ``source``, a checkpoint in this folder or in that of another run."""
        if epoch is None or not distributed.is_main():
            return
        # Any file of the resumed run may still hold that epoch; a name alone proves nothing.
        stamp = f"{epoch:04d}_000000.pth"
        names = (BEST, f"best_{stamp}", f"epoch_{epoch}.pth", f"at_{stamp}")
        for path in dict.fromkeys([self.best, source, *map(source.with_name, names)]):
            if path.exists() and _epoch_of(path) == epoch:
                self.has_best = True
                if path != self.best:
                    _link(path, self.best)
                return

    def keep_for_good(self, path: Path, epoch: int) -> None:
        """Keep the save ``path`` as ``epoch_<n>.pth`` whatever comes."""
        if distributed.is_main():
            _link(path, self.folder / f"epoch_{epoch}.pth")

    def load(self, path: Path) -> tuple[dict[str, Any], Path]:
        """Read ``path``, or where the newest save is damaged the sound one before it; returns the
        state and the file it came from. A CheckpointError where no sound save is there."""
        try:
            return load_checkpoint(path), path
        except CheckpointError as error:
            for earlier in self._numbered() if path.name == LAST else ():
                with contextlib.suppress(CheckpointError):
                    # Of which last_epoch.pth is one more link: the damaged file itself.
                    if path.exists() and os.path.samefile(earlier, path):
                        continue
                    state = load_checkpoint(earlier)
                    logger.warning("%s; going on from %s, the one before", error, earlier)
                    return state, earlier
            raise

    def _numbered(self) -> list[Path]:
        """The saves by number, newest first."""
        found = [path for path in self.folder.glob("at_*.pth") if NUMBERED.fullmatch(path.name)]
        return sorted(found, reverse=True)


def _epoch_of(path: Path) -> int | None:
    """How many epochs went into a checkpoint; ``None`` within an epoch, or where it is damaged."""
    try:
        state = load_checkpoint(path)
    except CheckpointError:
        return None
    # The key of a mid-epoch state: its epoch is not done.
    return None if state.get("partial") else state.get("epoch")


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors and plain JSON types only) so that ``path`` is never half a file; a
    UserError where the folder cannot be written or the disk is full."""
    with write_atomically(path, "wb") as file:
        torch.save({"format": FORMAT, **state}, file)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a file of ``save_checkpoint`` onto the CPU, without running any code in it.

    The CRC-32 of every part is compared, so a damaged file is noticed; and every value has the type
    that ``base.checkpoint_schema`` says.

    Raises:
        CheckpointError: missing, damaged, not a checkpoint, or holding more than plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; give the path of a .pth file")
    state = read_tensors(path)
    if not isinstance(state, dict) or "state_dict" not in state or "config" not in state:
        raise CheckpointError(
            f"{path}: not a checkpoint of this project (no state_dict and config in it)"
        )
    if (found := state.get("format")) != FORMAT:
        known = isinstance(found, str | int | float | None)
        shown = (repr(found) if known else type(found).__name__)[:40]
        raise CheckpointError(f"{path}: checkpoint format {shown}, this version reads {FORMAT}")
    require_types(state, path)
    return state


def read_tensors(path: Path) -> Any:
    """What ``torch.save`` wrote, onto the CPU: tensors and plain values, without running any code.
    A CheckpointError for what is damaged, too large, compressed, or holds more than that."""
    refuse_other_content(path)
    try:
        _require_sound(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error says what is wrong with the file
            # On the CPU first: the GPU of whoever saved it may not exist here, or be full.
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path}: not a checkpoint, damaged or cut short; use another one"
        ) from error
    except CheckpointError:
        raise
    except Exception as error:  # torch raises many kinds for a file it does not take
        raise CheckpointError(
            f"{path}: refused, it holds more than tensors and plain values (code could run)"
        ) from error


def _require_sound(path: Path) -> None:
    """Refuse a file that says of itself that it is damaged, or would inflate.

    torch itself writes all parts as they are; compressed ones, or several in the same bytes, could
    fill the memory from a small file.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise CheckpointError(f"{path}: has {size:,} bytes; {MOST_BYTES:,} are the most")
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        compressed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
        if compressed or sum(part.file_size for part in parts) > size:
            raise CheckpointError(
                f"{path}: refused, its parts are compressed, which torch.save never does"
            )
        if damaged := archive.testzip():
            raise CheckpointError(f"{path}: damaged (checksum of {damaged}); use another one")


TRAINING = (
    "format", "state_dict", "raw_model", "averaged_epochs", "optimizer", "kinds", "lr_scheduler",
    "scaler", "updates", "at_once", "pace", "ahead", "budget", "epoch", "monitor", "history",
    "partial", "random",
)  # fmt: skip
"""What a checkpoint holds of the course of a training; older ones also ``averaged_epochs``."""


def metadata_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its model beside the weights: config, class counts and names, …;
    whoever writes other weights in their place keeps it."""
    return {key: value for key, value in state.items() if key not in TRAINING}


def load_weights(model: nn.Module, state: dict[str, Any], path: str | Path) -> None:
    """Load ``state["state_dict"]`` into ``model``, every key and shape exactly; a CheckpointError
    for weights of another architecture."""
    # Compared before torch does it, whose message lists a thousand keys.
    require_same_weights(model, state, path)
    model.load_state_dict(state["state_dict"])


def require_same_weights(model: nn.Module, state: dict[str, Any], path: str | Path) -> None:
    """Refuse, by a CheckpointError that says which keys differ first, weights of another
    architecture than ``model``."""
    theirs, ours = state["state_dict"], model.state_dict()
    differing = {
        "missing": [key for key in ours if key not in theirs],
        "unknown": [key for key in theirs if key not in ours],
        "of another shape": [k for k in ours if k in theirs and ours[k].shape != theirs[k].shape],
    }
    described = [
        f"{len(keys)} {what} (first: {keys[0]})" for what, keys in differing.items() if keys
    ]
    if described:
        arch = state["config"].get("arch", {})
        name = (arch.get("args") or {}).get("model_name", "")
        trained = f"{arch.get('type', 'unknown')} {name}".strip()
        raise CheckpointError(
            f"{path}: weights of another architecture ({trained}): tensors {', '.join(described)};"
            " use the arch it was trained with"
        )


def init_from(model: nn.Module, state: dict[str, Any]) -> str:
    """Load those weights of a checkpoint that fit ``model``, by name and shape; returns lines that
    say what was loaded and what was not."""
    theirs, ours = state["state_dict"], model.state_dict()
    fitting = {k: v for k, v in theirs.items() if k in ours and ours[k].shape == v.shape}
    # Not strict, which leaves the rest as initialized; shapes that differ would still be an error.
    model.load_state_dict(fitting, strict=False)
    left = {
        "new here, so initialized": [key for key in ours if key not in theirs],
        "of another shape, so initialized": [k for k in ours if k in theirs and k not in fitting],
        "in the checkpoint only": [key for key in theirs if key not in ours],
    }
    lines = [f"loaded {len(fitting)} of {len(ours)} tensors from the checkpoint"]
    lines += [f"  {what}: {', '.join(keys)}" for what, keys in left.items() if keys]
    return "\n".join(lines)


def _link(source: Path, target: Path) -> None:
    """Let ``target`` be another name of ``source``'s bytes, in one step; copied where links
    can't be made."""
    temporary = target.with_name(f".{target.name}.link")
    temporary.unlink(missing_ok=True)
    try:
        # `os.link` refuses a name that exists; removed first, there would be none for a moment.
        os.link(source, temporary)
        os.replace(temporary, target)
    except OSError:
        with write_atomically(target, "wb") as file:
            file.write(source.read_bytes())


def random_state() -> dict[str, Any]:
    """The states of all generators that training draws from, as plain values and tensors."""
    version, internal, gauss = random.getstate()
    numpy_state: Any = np.random.get_state()  # its type allows for another form, not asked for
    algorithm, keys, position, has_gauss, cached = numpy_state
    state = {
        "python": [version, list(internal), gauss],
        # `weights_only=True` reads no numpy arrays.
        "numpy": [algorithm, keys.tolist(), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Undo everything drawn since ``random_state`` was taken; a CheckpointError for a state that no
    generator has."""
    version, internal, gauss = state["python"]
    algorithm, keys, position, has_gauss, cached = state["numpy"]
    try:
        random.setstate((version, tuple(internal), gauss))
        np.random.set_state((algorithm, np.array(keys, np.uint32), position, has_gauss, cached))
        torch.set_rng_state(state["torch"])
        # On a machine with other GPUs these states belong to none of them.
        if torch.cuda.is_available() and len(state.get("cuda", ())) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise CheckpointError(f"the random state saved is none ({reason_of(error)})") from error
