"""The files that test.py leaves: the submission, the probabilities, the scores."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from base.heads import Head, NumberHead, TagHead
from base.task import Arrays, Task
from model.answers import SINGLE_HEAD
from utils.csv_files import write_csv, write_rows
from utils.errors import UserError
from utils.files import write_json

SCORES = (".metrics.json", ".mistakes.png", ".examples.png", ".report.html")
"""Endings of what lies beside a submission that was scored; and ``.confusion``, ``.scatter``."""
CALL = ".call.json"
"""Ending of what lies beside a submission that test.py named: the call that wrote it."""


@dataclass(frozen=True)
class Call:
    """What answers depend on: calls that differ in it never replace each other's files.

    Attributes:
        checkpoints: the last parts of their paths.
        photos: the folder of ``--images``, or what the config's ``info_dir`` comes to.
        ensemble: how several models are combined.
        settings: ``tta``, ``decoding`` and the like, as plain JSON values.
    """

    checkpoints: tuple[str, ...]
    photos: str
    ensemble: str
    settings: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        config: Mapping[str, Any],
        checkpoints: Sequence[Path],
        images: Path | None,
        ensemble: str,
    ) -> "Call":
        """The call of test.py with these checkpoints and the config of the first."""
        # <name>/<run_id>/<file>, which stay the same wherever saved/ is moved to.
        names = tuple("/".join(path.resolve().parts[-3:]) for path in checkpoints)
        of_run = config["info_dir"] or Path(config["data_dir"]) / "eval"
        # Where crops are cached changes no answer.
        tracer = {key: value for key, value in config["tracer"].items() if key != "cache_dir"}
        size = config["data_loader"]["args"]["input_size"]
        answering = {key: config[key] for key in ("tta", "decoding")}
        settings = answering | {"tracer": tracer, "input_size": size}
        return cls(names, str(images.resolve() if images else of_run), ensemble, settings)

    def tags(self, own: "Call", images: bool) -> list[str]:
        """A short word for each thing that is not as in the run's ``own`` call, for file names."""
        tags = [Path(self.photos).name] if images else []
        if not images and self.photos != own.photos:
            tags.append(f"info-{Path(self.photos).name}")
        if self.checkpoints != own.checkpoints:
            tags.append(f"{len(self.checkpoints)}-models")
        for key in ("tta", "decoding"):
            value = self.settings[key]
            if value is None and own.settings[key] is not None:
                tags.append(f"no-{key}")
            elif value != own.settings[key]:
                text = json.dumps(value, sort_keys=True)
                tags.append(f"{key}-{hashlib.sha256(text.encode()).hexdigest()[:4]}")
        return tags if self.ensemble == own.ensemble else [*tags, self.ensemble]

    def require_own(self, path: Path, plain: bool) -> None:
        """Refuse to replace the submission ``path`` of another call; a ``plain`` call is the run's
        own, whose file may be from before calls were noted."""
        if not path.exists():
            return
        try:
            wrote = json.loads(path.with_suffix(CALL).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            # A file without a note is of an older version, which wrote only the run's own.
            wrote = self.to_json() if plain else {}
        differing = [key for key, value in self.to_json().items() if wrote.get(key) != value]
        if differing:
            raise UserError(
                f"{path}: holds the answers of another call ({', '.join(differing)} differ);"
                " name another file with --out, which may replace it"
            )

    def note(self, path: Path) -> None:
        """Leave this call beside the submission ``path``."""
        write_json(path.with_suffix(CALL), self.to_json())

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        # As it is read again, in which tuples are lists.
        return json.loads(json.dumps(asdict(self)))


def check_writable(path: Path) -> None:
    """Refuse before the work a ``path`` that can't be written after it; makes nothing yet."""
    existing = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"{path}: cannot be written; name another file with --out")


def forget_scores(path: Path) -> list[Path]:
    """Remove scores and pictures of an earlier submission ``path``, which tell of other answers;
    returns what was removed of them."""
    path.with_suffix(CALL).unlink(missing_ok=True)
    files = [path.with_suffix(ending) for ending in SCORES]
    for what in ("confusion", "scatter"):  # one of the whole, or one per head
        files += path.parent.glob(f"{escape(path.stem)}.{what}*.png")
    gone = [file for file in files if file.exists()]
    for file in gone:
        file.unlink()
    return gone


def write_submission(
    path: Path, ids: Sequence[str], task: Task, probabilities: Arrays, in_words: bool = False
) -> None:
    """Write the answers as ``task.answer.csv`` asks for them, a row per photo as ``ids`` has them.

    Args:
        probabilities: head → (N, answers), and with a product ``"class"`` → (N, C).
        in_words: also a column for each head, for people to read.
    """
    columns: dict[str, Sequence[Any]] = {task.settings.id_column: ids}
    for column, kind in task.settings.answer.csv.columns.items() if task.product else ():
        codes = probabilities[SINGLE_HEAD].argmax(axis=1).tolist()
        columns[column] = codes if kind == "code" else [task.class_name(code) for code in codes]
    # Without a product there is nothing else to write than the heads.
    if in_words or len(columns) == 1:
        predicted = task.predict(probabilities)
        columns |= {name: _texts(head, predicted[name]) for name, head in task.heads.items()}
    rows = zip(*columns.values(), strict=True)
    if in_words:
        write_csv(path, list(columns), rows)
    else:  # ids as the table of the test photos has them: whoever scores looks them up
        write_rows(path, (list(columns), *rows))


def write_probabilities(path: Path, ids: Sequence[str], task: Task, probabilities: Arrays) -> None:
    """Write the probabilities, with 6 decimals: of a product ``p0``, ``p1``, … a class; without one
    ``<head>_p0``, …; arguments as for ``write_submission``."""
    columns: dict[str, Sequence[Any]] = {task.settings.id_column: ids}
    for name, values in probabilities.items():
        if name not in task.product:
            prefix = "p" if name == SINGLE_HEAD else f"{name}_p"
            # (N, n) → (n, N): a column for each class.
            rows = values.T
            columns |= {f"{prefix}{n}": [f"{p:.6f}" for p in row] for n, row in enumerate(rows)}
    write_csv(path, list(columns), zip(*columns.values(), strict=True))


def write_soft_labels(path: Path, ids: Sequence[str], task: Task, said: Arrays) -> None:
    """Write what ``task.data.further`` reads as soft labels, with 6 decimals: columns
    ``<head>:<class>``; ``said`` is head → (N, its classes)."""
    columns: dict[str, Sequence[Any]] = {task.settings.id_column: ids}
    for name, head in task.heads.items():
        values = zip(head.classes, said[name].T, strict=True)
        columns |= {f"{name}:{each}": [f"{p:.6f}" for p in column] for each, column in values}
    write_csv(path, list(columns), zip(*columns.values(), strict=True))


def _texts(head: Head, predicted: np.ndarray) -> list[str]:
    if isinstance(head, NumberHead):
        return [f"{value:.6g}" for value in predicted.tolist()]
    if isinstance(head, TagHead):
        tags = np.array(head.classes, dtype=object)
        return [head.settings.separator.join(tags[row > 0]) for row in predicted]
    return [head.in_words(code) for code in predicted]
