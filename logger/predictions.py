"""``predictions.npz``: what a model said of photos that it was validated on, and what is true.

Probabilities are kept as the model gave them, so that a decoding can be tuned on them; whoever
scores or shows answers takes the ``adjusted`` ones. The task, the decoding and the few thumbnails
that a report shows are in the file: it can be read when photos and checkpoint are gone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from base.task import Task
from base.task_settings import TaskSettings
from model.answers import SINGLE_HEAD, TEMPERATURE, adjusted, with_marginals
from utils.errors import DataError
from utils.files import write_atomically

EXACT = 64
"""Classes of a head up to which probabilities are kept in float32, beyond in float16."""
AT_ONCE = 1 << 22
"""Probabilities that a report adjusts at once: all of 20,000 photos of 1,000 classes are 80 MB."""
PARTS = ("value", "probabilities", "factors")
"""Beginnings of the names of arrays that there are several of, each followed by a head's."""
THUMBNAILS = ("thumbnail_rows", "thumbnail_sizes", "thumbnail_bytes")


@dataclass(frozen=True)
class SavedPredictions:
    """The answers to N photos.

    Attributes:
        task: that was asked.
        probabilities: head of the model → (N, its classes), and with a product ``"class"`` →
            (N, C), none of them adjusted.
        values: head → true values as ``Head.encode`` gives them.
        photos: column → (N,): ``photo``, the file; ``group``, such as who is on it; ``index``, the
            place in the validation set; of folds ``fold``, and ``model``, the
            row of ``prior`` that is theirs; and what ``PhotoIndex.describe`` adds.
        prior: of the classes, by the decoding, see ``model.decoding``: name → (models, n).
        fallback: (N,) bool, photos used whole since nothing to cut out was found; ``None`` where
            nothing was looked for.
        thumbnails: row → the crop as JPEG, for the photos that a report shows.
    """

    task: Task
    probabilities: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    photos: Mapping[str, np.ndarray]
    prior: Mapping[str, np.ndarray] = field(default_factory=dict)
    fallback: np.ndarray | None = None
    thumbnails: Mapping[int, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.photos["photo"])

    def raw(self, rows: Any = slice(None)) -> dict[str, np.ndarray]:
        """Head → (K, its answers) float32, and with a product ``"class"``, of these rows, as the
        model gives them."""
        found = {
            name: head.group(self.probabilities[name][rows].astype(np.float32))
            for name, head in self.task.heads.items()
            if name not in self.task.product
        }
        if self.task.product:
            # The heads of a product follow from its classes by their marginals, below.
            found[SINGLE_HEAD] = self.probabilities[SINGLE_HEAD][rows].astype(np.float32)
        return with_marginals(self.task, found)

    def adjusted(self, rows: Any = slice(None)) -> dict[str, np.ndarray]:
        """``raw``, as the decoding of the run answers; of folds each by its own."""
        found = self.raw(rows)
        # Each fold was trained on other photos, and so has its own class prior and bias.
        model = self.photos.get("model", np.zeros(len(self), int))[rows]
        for number in np.unique(model) if self.prior else ():
            mine = model == number
            prior = {name: each[number] for name, each in self.prior.items()}
            answers = adjusted(self.task, {k: each[mine] for k, each in found.items()}, prior)
            for name, values in answers.items():
                found[name][mine] = values
        return found

    def truth(self) -> dict[str, np.ndarray]:
        """Head → (N,) true answers, and with a product ``"class"``, see ``Task.truth``."""
        return self.task.truth(self.values)

    def chunks(self) -> list[np.ndarray]:
        """The rows in parts whose probabilities fit into memory, however many classes there are."""
        # By memory and not by photos: 1,000 classes of 20,000 photos, adjusted at once, are 80 MB a
        # copy.
        widest = max(each.shape[1] for each in self.probabilities.values())
        return np.array_split(np.arange(len(self)), max(1, len(self) * widest // AT_ONCE))

    def at(self, rows: np.ndarray) -> "SavedPredictions":
        """Of these rows alone, in this order; (K,) int or (N,) bool."""
        rows = np.arange(len(self))[rows]
        chosen: dict[str, Any] = {
            name: {key: values[rows] for key, values in getattr(self, name).items()}
            for name in COLUMNS
        }
        chosen["fallback"] = None if self.fallback is None else self.fallback[rows]
        kept = [(new, old) for new, old in enumerate(rows.tolist()) if old in self.thumbnails]
        return replace(self, **chosen, thumbnails={new: self.thumbnails[old] for new, old in kept})


COLUMNS = ("probabilities", "values", "photos")
"""Attributes with a row per photo."""


def joined(parts: Mapping[int, SavedPredictions]) -> SavedPredictions:
    """What the models of several folds, fold → answers, said, each of other photos, fold by fold.

    Raises:
        DataError: two folds have the same photo.
    """
    folds = [parts[fold] for fold in sorted(parts)]
    columns = {
        name: {
            key: np.concatenate([getattr(each, name)[key] for each in folds])
            for key in getattr(folds[0], name)
            if key != "index"
        }
        for name in COLUMNS
    }
    # Photos and not people: with image_level a person is in several folds on purpose.
    photos, times = np.unique(columns["photos"]["photo"], return_counts=True)
    if (times > 1).any():
        raise DataError(
            f"{photos[times > 1][0]}: validated in two folds; the folds were not divided alike,"
            " train them again under a new --run-id"
        )
    sizes = [len(each) for each in folds]
    columns["photos"]["fold"] = np.repeat(sorted(parts), sizes)
    columns["photos"]["model"] = np.repeat(np.arange(len(folds)), sizes)
    looked = [each.fallback for each in folds if each.fallback is not None]
    starts = np.cumsum([0, *sizes]).tolist()
    return SavedPredictions(
        folds[0].task,
        **columns,
        prior={k: np.concatenate([each.prior[k] for each in folds]) for k in folds[0].prior},
        fallback=np.concatenate(looked) if len(looked) == len(folds) else None,
        thumbnails={
            start + row: jpeg
            for start, each in zip(starts, folds, strict=False)
            for row, jpeg in each.thumbnails.items()
        },
    )


def of_common_photos(parts: Mapping[Any, SavedPredictions]) -> dict[Any, SavedPredictions]:
    """Several trainings' answers, name → answers, to the photos that all of them answered, in the
    order of the first.

    Raises:
        DataError: there are no such photos, or their labels differ.
    """
    places = [{n: row for row, n in enumerate(p.photos["photo"].tolist())} for p in parts.values()]
    common = [name for name in places[0] if all(name in place for place in places)]
    if not common:
        raise DataError(f"{', '.join(map(str, parts))}: no photo was answered by all of them")
    found = {
        name: saved.at(np.array([place[photo] for photo in common]))
        for (name, saved), place in zip(parts.items(), places, strict=True)
    }
    first, *others = found
    for name, head in ((name, head) for name in others for head in found[first].values):
        one, other = found[first].values[head], found[name].values[head]
        if not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            raise DataError(f"{name}: the photos have other labels ({head}) than in {first}")
    return found


def averaged(parts: Sequence[SavedPredictions]) -> SavedPredictions:
    """The mean of what several models, or folds of models, said of the very same photos; they are
    decoded by the geometric mean of the priors, of which only ratios mean anything."""
    first = parts[0]
    model = [each.photos.get("model", np.zeros(len(first), int)) for each in parts]
    # Models that answered a photo together, each by its row of its prior → a row of the new one.
    rows, number = np.unique(np.stack(model, axis=1), axis=0, return_inverse=True)
    logs: dict[str, np.ndarray] = {}
    for each, row in zip(parts, rows.T, strict=True):
        for name, prior in each.prior.items():  # who has none multiplies by 1
            logs[name] = logs.get(name, 0) + np.log(prior[row]) / len(parts)
    columns = set.intersection(*(set(each.photos) for each in parts)) - {"index"}
    return replace(
        first,
        probabilities={
            name: np.mean([each.probabilities[name] for each in parts], axis=0)
            for name in first.probabilities
            if all(name in each.probabilities for each in parts)
        },
        photos={k: v for k, v in first.photos.items() if k in columns} | {"model": number},
        prior={name: np.exp(each) for name, each in logs.items()},
    )


def write_predictions(path: Path, saved: SavedPredictions) -> None:
    """Write them, nothing pickled; of heads with more than ``EXACT`` classes in half precision, in
    which the likeliest class stays the likeliest.

    Raises:
        UserError: the file cannot be written.
    """
    # The task as JSON text: a pickled object would run code when it is read.
    arrays: dict[str, Any] = {"task": np.array(json.dumps(saved.task.to_json()))}
    packed = {name: _packed(values) for name, values in saved.probabilities.items()}
    for part, columns in zip(PARTS, (saved.values, packed, saved.prior), strict=True):
        arrays |= {f"{part}_{name}": values for name, values in columns.items()}
    # One array of bytes with their sizes, since npz knows no list of arrays of several lengths.
    jpegs = saved.thumbnails.values()
    sizes = (np.array(each, np.int64) for each in ([*saved.thumbnails], [*map(len, jpegs)]))
    data = np.frombuffer(b"".join(jpegs), np.uint8)
    arrays |= zip(THUMBNAILS, (*sizes, data), strict=True)
    if saved.fallback is not None:
        arrays["fallback"] = saved.fallback
    # Not compressed: probabilities are noise to zip, which would only take time.
    with write_atomically(path, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays, **saved.photos)


def read_predictions(path: Path) -> SavedPredictions:
    """What ``write_predictions`` wrote.

    Raises:
        DataError: it can't be read, or holds NaN.
    """
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        task = Task(TaskSettings.model_validate_json(str(arrays.pop("task"))))
        rows, sizes, data = (arrays.pop(name) for name in THUMBNAILS)
        names = (*task.heads, SINGLE_HEAD, TEMPERATURE)
        true, probabilities, prior = (
            {name: arrays.pop(f"{part}_{name}") for name in names if f"{part}_{name}" in arrays}
            for part in PARTS
        )
        jpegs = [each.tobytes() for each in np.split(data, np.cumsum(sizes))[:-1]]
        thumbnails = dict(zip(rows.tolist(), jpegs, strict=True))
        fallback = arrays.pop("fallback", None)
        saved = SavedPredictions(task, probabilities, true, arrays, prior, fallback, thumbnails)
        # Called to find a damaged file here, where the message names it, and not in the middle of a
        # report.
        saved.truth(), len(saved)
    except Exception as error:  # a cut zip raises half a dozen kinds
        raise DataError(
            f"{path}: not the answers of a validation ({error!r}); a training writes them"
        ) from error
    for name, values in saved.probabilities.items():
        # NaN counts as no class at all, and every score below it would quietly be one too.
        broken = ~np.isfinite(values).all(axis=1)
        if broken.any():
            raise DataError(
                f"{path}: probabilities_{name} of {broken.sum()} of {len(broken)} photos are"
                " NaN or Inf: the training failed; train again with a lower optimizer.args.lr"
            )
    return saved


def _packed(probabilities: np.ndarray) -> np.ndarray:
    """(N, n) float, in half precision where n is large."""
    # Three digits of float16 would move scores of few classes; of many they halve the file.
    if probabilities.shape[1] <= EXACT:
        return probabilities.astype(np.float32, copy=False)
    packed = probabilities.astype(np.float16)
    rows, likeliest = np.arange(len(packed)), probabilities.argmax(axis=1)
    # Rounding makes equals of near ones, of which the first would be the likeliest.
    lost = packed.argmax(axis=1) != likeliest
    packed[rows[lost], likeliest[lost]] = np.nextafter(packed[lost].max(axis=1), np.float16(2))
    return packed
