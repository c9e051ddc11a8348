"""Crops as a torch data set: what a worker does with a photo depends on its key alone."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from base.sampler import Key
from data_loader.mixing import Mixer

LAM, OTHER = "lam", "other_"
"""Of mixed photos: the photo's own part of the pixels, and the prefix of the partner's targets."""
_MIXING = 1
"""Sets the random numbers of the mixing apart from those of the transform."""


class CropSource(Protocol):
    """Where crops come from; pickled to each worker, so it should carry a path and not pixels."""

    def __getitem__(self, row: int) -> np.ndarray:
        """The crop of photo ``row``: (S, S, 3) uint8 RGB."""
        ...


class CropDataset(Dataset):
    """The crops of some photos with their targets.

    Args:
        rows: (N,) the rows of ``crops`` that belong here.
        targets: head name → (N,) int64 codes or (N, n) float32 probabilities, one for each of
            ``rows``; None where unknown.
        transform: ``(image (S, S, 3) uint8, seed) → (size, size, 3) uint8``.
        seed: of the run; the transform gets one made of it, the epoch and the row.
        mixer: joins photos with others of this data set; None leaves them alone.
    """

    def __init__(
        self,
        crops: CropSource,
        rows: np.ndarray,
        targets: dict[str, np.ndarray] | None,
        transform: Callable[[np.ndarray, int], np.ndarray],
        seed: int = 0,
        mixer: Mixer | None = None,
    ) -> None:
        self.crops = crops
        self.rows = np.asarray(rows, dtype=np.int64)
        self.targets = targets or {}
        self.transform = transform
        self.seed = seed
        self.mixer = mixer
        for head, codes in self.targets.items():
            if len(codes) != len(self.rows):
                raise ValueError(f"{len(codes)} targets of {head!r} for {len(self.rows)} rows")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | Key) -> dict[str, Any]:
        """One sample by position, or by key; a bare position means the first visit of epoch 0.

        Returns:
            ``image``: (3, size, size) uint8 tensor, RGB; ``index``: the position in this data set
            (its photo is ``rows[index]``); and for each head its target. With a mixer also
            ``lam`` and the position and targets of the mixing partner; an unmixed one is its own,
            with a ``lam`` of 1.
        """
        # A key instead of state: workers, ranks and resumed runs make the same sample of it.
        epoch, position, visit = key if isinstance(key, tuple) else (0, key, 0)
        row = int(self.rows[position])
        image = self.transform(self.crops[row], photo_seed(self.seed, epoch, row, visit))
        mixed: dict[str, Any] = {}
        if self.mixer is not None:
            image, mixed = self._mixed(self.mixer, image, epoch, position, visit)
        return {
            # (size, size, 3) → (3, size, size)
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "index": int(position),
            **{head: values[position] for head, values in self.targets.items()},
            **mixed,
        }

    def _mixed(
        self, mixer: Mixer, image: np.ndarray, epoch: int, position: int, visit: int
    ) -> tuple[np.ndarray, dict[str, Any]]:
        seed = photo_seed(self.seed, epoch, int(self.rows[position]), visit, _MIXING)
        draw = np.random.default_rng(seed)
        other, lam = position, 1.0
        if (partner := mixer.draw(position, draw)) is not None:
            other, join = partner
            crop = self.crops[int(self.rows[other])]
            # The partner is augmented by a seed of its own, not as when it is visited itself.
            image, lam = join(image, self.transform(crop, int(draw.integers(2**63))))
        others = {OTHER + head: values[other] for head, values in self.targets.items()}
        others[OTHER + "index"] = other
        # float32: of a Python float `collate` makes float64, and the loss would follow it.
        return image, {LAM: np.float32(lam), **others}


def photo_seed(seed: int, epoch: int, row: int, *further: int) -> int:
    """A 64-bit seed for one photo in one epoch; neighbors share nothing (numpy's SeedSequence).

    Zeros at the end of ``further`` count for nothing, as SeedSequence has it.
    """
    entropy = (seed, epoch, row, *further)
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
