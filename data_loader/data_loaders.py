"""From photos to batches: the loaders of a training and those of a prediction."""

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from base.base_data_loader import BaseDataLoader
from base.heads import Head
from base.sampler import EpochSampler
from base.settings import LimitSettings
from base.task import WEIGHT
from base.task_settings import TaskSettings
from data_loader.corrections import NOTHING_TO_SAY, apply_corrections
from data_loader.crop_dataset import CropDataset
from data_loader.crops import Crops, build_crops
from data_loader.dataset import PhotoIndex, class_counts, read_index
from data_loader.mixing import Mixer
from data_loader.photo_digests import photo_digests
from data_loader.readers import raise_if_any
from data_loader.sampling import sampling_weights
from data_loader.settings import (
    ON_CPU,
    Augmentation,
    LabelCorrections,
    Mixing,
    Sampling,
    Validation,
)
from data_loader.split import split
from data_loader.transform import eval_transform, start_worker, train_transform
from TRACER.extractor import Extractor
from utils import distributed
from utils.devices import fit_workers, set_threads
from utils.errors import ConfigError, DataError, first_of
from utils.spread import spread

logger = logging.getLogger("data")

NO_LIMITS = LimitSettings()
PROJECT = Path(__file__).parents[1]
"""What paths in a task start from."""


@dataclass(frozen=True)
class TrainingData:
    """Everything a training needs of the photos.

    Attributes:
        train: shuffled, augmented batches of the training people.
        val: batches of the validation people, in order, without augmentation.
        index: the photos and their labels.
        crops: their crops, row for row.
        train_rows, val_rows: which photos of the index are whose.
        class_counts: head → how many of each class, among the training people.
        train_truth, val_truth: name → (N,) true answers, see ``Task.truth``.
    """

    train: BaseDataLoader
    val: BaseDataLoader
    index: PhotoIndex
    crops: Crops
    train_rows: np.ndarray
    val_rows: np.ndarray
    class_counts: dict[str, np.ndarray]
    train_truth: dict[str, np.ndarray]
    val_truth: dict[str, np.ndarray]

    def digest(self) -> str:
        """What changes with any photo, crop or label."""
        # A cache's folders are named by its settings and by what the photos hold.
        known = hashlib.sha256("/".join(self.crops.folder.parts[-2:]).encode())
        for name, values in sorted(self.index.values.items()):
            known.update(name.encode() + values.tobytes())
        return known.hexdigest()[:16]


def setup(
    stage: str,
    input_size: int,
    batch_size: int,
    num_workers: int | str,
    *,
    index: PhotoIndex,
    extractor: Extractor,
    cache_dir: Path,
    validation: Validation,
    augmentation: Augmentation | None,
    sampling: Sampling | None = None,
    mixing: Mixing | None = None,
    seed: int,
    device: torch.device,
    limits: LimitSettings = NO_LIMITS,
    progress: bool = True,
) -> TrainingData:
    """Build the loaders of a training.

    Args:
        stage: ``"train"``; predictions take ``prediction_loader``.
        input_size: side of the square the model sees, px.
        batch_size: photos per step.
        num_workers: loader processes asked for, or ``"auto"``; see ``fit_workers``.
        index: the photos and their labels, see ``labeled_photos``.
        extractor: makes the crops, which ``cache_dir`` keeps.
        augmentation, sampling, mixing: sections of the config; ``None`` for none.
        seed: of the split, the order and the augmentations.
        limits: of the batches, for a look.

    Raises:
        ConfigError: another stage.
        DataError: the photos are not there, not readable, or too few to split.
    """
    if stage != "train":
        raise ConfigError(
            f"data_loader.args.stage: a training needs 'train', got {stage!r}; test.py predicts"
        )
    _require_new_photos(index, cache_dir, progress)
    # Before cropping: a wrong split shows in a second.
    both_sides = _both_sides(index, validation, seed, limits, batch_size)
    train_rows, val_rows = both_sides
    if limits.overfit_batch:
        # Anything that changes the photos would keep the loss from reaching 0, which is the test.
        augmentation = mixing = sampling = None
    # Of all photos and not of the chosen rows: every split, fold and limit finds the same cache.
    crops = build_crops(index.paths(), extractor, cache_dir, progress=progress)
    # Both loaders keep their workers, so that their batches lie in shared memory at the same time.
    at_once = batch_size + batch_of_predictions(batch_size, device)
    workers = _fit_workers(num_workers, at_once, input_size, device)
    dataset = _training_set(index, crops, train_rows, input_size, augmentation, mixing, seed)
    weights = sampling_weights(index.plain_targets(train_rows), sampling) if sampling else None
    order = _training_order(len(train_rows), batch_size, limits.limit_train_batches, seed, weights)
    train = _loader(dataset, order, batch_size, workers, device)
    val_targets = index.targets(val_rows)
    val = _in_order(crops, val_rows, val_targets, input_size, batch_size, workers, device)
    counts, truths = class_counts(index, train_rows), map(index.truth, both_sides)
    return _alike(TrainingData(train, val, index, crops, *both_sides, counts, *truths))


def _alike(data: TrainingData) -> TrainingData:
    """``data``; raises, on all ranks, where one reads other photos or labels than the first: scores
    would be of answers and truths that do not belong together."""
    seen = distributed.gather((data.digest(), data.val_rows.tobytes()))
    ranks = [f"rank {rank}" for rank, each in enumerate(seen) if each != seen[0]]
    what = "data_dir: other photos or labels than rank 0 has are read by"
    raise_if_any(ranks, what, "let all machines read the same")
    return data


def _fit_workers(asked: int | str, photos: int, size: int, device: torch.device) -> int:
    """How many processes load batches; this one gets as many threads as they leave."""
    workers = fit_workers(asked, device, photos * 3 * size**2)  # bytes: uint8 RGB
    set_threads(workers, device)
    return workers


def _require_new_photos(index: PhotoIndex, cache_dir: Path, progress: bool) -> None:
    """Raise for photos of further tables that are, byte for byte, among those that validate."""
    if index.further is None:
        return
    digests = photo_digests(index.paths(), cache_dir, progress).tolist()
    own = {digest: row for row, digest in enumerate(digests) if not index.further[row]}
    rows = [row for row in np.flatnonzero(index.further).tolist() if digests[row] in own]
    names = [f"{index.files[row]} (as {index.files[own[digests[row]]]})" for row in rows]
    what = "in a table of task.data.further, but also among the photos that validate"
    raise_if_any(names, f"{index.root}: {what}", "leave them out of the further table")


def _both_sides(
    index: PhotoIndex, validation: Validation, seed: int, limits: LimitSettings, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of the index are trained on and validated, as far as the limits let them."""
    train_rows, val_rows = split(
        index, validation, seed if validation.seed is None else validation.seed
    )
    # After the split, so that `drop` moves nobody to the other side and scores stay comparable.
    for head in index.task.heads.values():
        train_rows = _without_dropped(index, train_rows, head)
    if limits.overfit_batch:
        # The same photos on both sides: the validation, too, must reach a perfect score.
        train_rows = val_rows = spread(train_rows, batch_size)
    if limits.limit_val_batches is not None:
        # Evenly over the rows, which are sorted by folder: the first ones would be few people.
        val_rows = spread(val_rows, limits.limit_val_batches * batch_size)
    _describe(index, train_rows, val_rows)
    return train_rows, val_rows


def _training_set(
    index: PhotoIndex,
    crops: Crops,
    rows: np.ndarray,
    size: int,
    augmentation: Augmentation | None,
    mixing: Mixing | None,
    seed: int,
) -> CropDataset:
    # Who may be mixed with whom goes by the plain labels, not by soft ones.
    mixer = Mixer(mixing, index.plain_targets(rows)) if mixing else None
    targets = index.learned(rows)
    if index.weight is not None:
        targets[WEIGHT] = index.weight[rows]
    transform = train_transform(augmentation, size) if augmentation else eval_transform(size)
    return CropDataset(crops, rows, targets, transform, seed, mixer)


def prediction_loader(
    photos: Sequence[Path],
    *,
    extractor: Extractor,
    cache_dir: Path,
    input_size: int,
    batch_size: int | str,
    num_workers: int | str,
    device: torch.device,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> tuple[BaseDataLoader, Crops]:
    """The loader for photos without labels, in their order, and their crops; arguments as for
    ``setup``.

    Raises:
        DataError: a photo cannot be read and ``skip_unreadable`` is off.
    """
    crops = build_crops(
        photos, extractor, cache_dir, skip_unreadable=skip_unreadable, progress=progress
    )
    rows = np.arange(len(photos))
    at_once = batch_of_predictions(batch_size, device)
    workers = _fit_workers(num_workers, at_once, input_size, device)
    return _in_order(crops, rows, None, input_size, batch_size, workers, device), crops


def _in_order(
    crops: Crops,
    rows: np.ndarray,
    targets: dict[str, np.ndarray] | None,
    input_size: int,
    batch_size: int | str,
    workers: int,
    device: torch.device,
) -> BaseDataLoader:
    batch_size = batch_of_predictions(batch_size, device)
    dataset = CropDataset(crops, rows, targets, eval_transform(input_size), seed=0)
    # Rank r takes every world_size-th row; the trainer puts the answers in order again.
    sampler = EpochSampler(
        len(rows), shuffle=False, rank=distributed.rank(), world_size=distributed.world_size()
    )
    return _loader(dataset, sampler, batch_size, workers, device)


def _loader(
    dataset: CropDataset, sampler: EpochSampler, batch_size: int, workers: int, device: torch.device
) -> BaseDataLoader:
    return BaseDataLoader(
        dataset,
        sampler,
        batch_size=batch_size,
        num_workers=workers,
        device=device,
        worker_init_fn=start_worker,
    )


def batch_of_predictions(batch_size: int | str, device: torch.device) -> int:
    """How many photos are predicted at once where so many are trained on at once.

    A GPU wants many, so that it does not wait for its kernels to be launched, and has the memory:
    without gradients, the layers before the present one leave nothing behind.
    """
    # "auto" is measured by a training alone.
    trained = ON_CPU if isinstance(batch_size, str) else batch_size
    return trained if device.type == "cpu" else max(trained, min(8 * trained, 256))


def _training_order(
    photos: int, batch_size: int, limit_batches: int | None, seed: int, weights: np.ndarray | None
) -> EpochSampler:
    """Whole batches only, equally many on every rank; other photos are left out each epoch."""
    step = batch_size * distributed.world_size()
    if photos < step and distributed.world_size() > 1:
        raise DataError(
            f"{photos} training photos do not fill a batch of {batch_size} on each of"
            f" {distributed.world_size()} processes; make data_loader.args.batch_size smaller"
        )
    # One batch at least, then a smaller one: ten photos must do for a first look.
    batches = max(1, min(photos // step, limit_batches or photos))
    return EpochSampler(
        photos,
        shuffle=True,
        seed=seed,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        limit=batches * step,
        weights=weights,
    )


def _without_dropped(index: PhotoIndex, rows: np.ndarray, head: Head) -> np.ndarray:
    kept = rows[head.trained_on(index.values[head.name][rows])]
    if len(kept) == len(rows):
        return rows
    key = f"task.heads.{head.name}.drop"
    first, last = head.settings.drop or (-math.inf, math.inf)
    if not len(kept):
        raise DataError(
            f"{key}: everybody in training is {first:g} to {last:g}; leave out fewer of them"
        )
    lost = index.counted(len(np.unique(index.group[np.setdiff1d(rows, kept)])))
    logger.info("%s: %s of %g to %g left out of training", key, lost, first, last)
    return kept


def labeled_photos(
    data_dir: Path, task: TaskSettings, corrections: LabelCorrections | None
) -> PhotoIndex:
    """The photos under ``data_dir`` with their labels corrected; a warning names groups of which
    the data say several things, and counts photos of none.

    Raises:
        DataError: the photos or a table of corrections don't fit the task.
    """
    index = corrected(read_index(data_dir, task), corrections)
    if several := index.conflicting_groups():
        logger.warning(
            "warning: labels of one %s contradict each other: %s; each folder counts with its own,"
            " and all of a %s are on one side of a split",
            index.noun, first_of(several, 5, counted=True), index.noun,
        )  # fmt: skip
    if unnamed := np.count_nonzero(np.isin(index.group, np.flatnonzero(index.groups == ""))):
        # Each by itself, the same person could be on both sides.
        logger.warning(
            "warning: %d photos have no %s, and so are all on one side of a split; fill in the"
            " column", unnamed, index.noun,
        )  # fmt: skip
    return index


def corrected(index: PhotoIndex, corrections: LabelCorrections | None) -> PhotoIndex:
    """The index with the corrections that the config section ``label_corrections`` names."""
    if not corrections:
        return index
    paths = [corrections.path] if isinstance(corrections.path, str) else corrections.path
    data = index.task.settings.data
    known = data.corrections if data else {}
    for path in paths:
        # A name in the task comes with the project; any other path is the user's.
        table = PROJECT / known[path] if path in known else path
        index, report = apply_corrections(index, table, corrections.tiers)
        if report != NOTHING_TO_SAY:
            logger.info("label corrections: %s", report)
        if report.unknown:
            logger.warning(
                "warning: label_corrections.path: %s corrects what is not in %s: %s;"
                " mend or delete these lines", path, index.root, ", ".join(report.unknown),
            )  # fmt: skip
    return index


def _describe(index: PhotoIndex, train_rows: np.ndarray, val_rows: np.ndarray) -> None:
    learned, validated = (np.unique(index.group[rows]) for rows in (train_rows, val_rows))
    known = len(np.intersect1d(learned, validated))
    others = f"{index.plural}, {known} of them trained on" if known else "others"
    trained, held_out = f"{len(train_rows)} photos", f"{len(val_rows)} photos of {len(validated)}"
    if index.plural == "photos":  # each is a group of its own
        held_out = f"{len(val_rows)}"
    else:
        trained += f" of {len(learned)} {index.plural}"
    logger.info("training on %s, validating on %s %s", trained, held_out, others)
    for column, lacking in index.incomplete().items():
        logger.info(
            "%d lack some of the photos of a %s (first: %s)", len(lacking), column, lacking[0]
        )
