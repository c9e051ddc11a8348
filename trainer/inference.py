"""A trained model that answers as its run's validation did: for test.py, the page and the rest."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from base.base_model import BaseModel
from base.cuda_graph import Graphed
from base.inference import infer
from base.task import Task
from data_loader.crop_dataset import CropDataset
from data_loader.transform import eval_transform
from model.answers import ClassPrior
from model.familiarity import Familiarity
from trainer.predict import Predictions, adjusted, predict
from trainer.tta import PLAIN, View
from utils.devices import set_arithmetic

FAMILIARITY, DRAWN = "familiarity", "drawn"
"""Keys of a checkpoint: what it knows strange photos by, and whether it has seen drawn people
alone."""


def as_seen(crops: Any, rows: np.ndarray, input_size: int) -> Tensor:
    """(N, 3, ``input_size``, ``input_size``) uint8: the crops of these rows as validation has them.

    By the very data set of the training: a second way to make a batch could come to differ.
    """
    dataset = CropDataset(crops, rows, None, eval_transform(input_size))
    return torch.stack([dataset[place]["image"] for place in range(len(dataset))])


class Predictor:
    """A model with the settings of its run that answers depend on.

    Args:
        model: in evaluation mode, on its device; its weights change their memory format.
        views: test-time augmentation, see ``trainer.tta``.
        decoding: class prior that multiplies the probabilities; ``None`` for none.
        amp: autocast to this type; ``None`` computes in float32.
        arithmetic: what ``set_arithmetic`` takes; ``None`` leaves torch as it is.
        about: what the checkpoint says of the model beside its weights.
        cuda_graph: replay the network as a CUDA graph, for one thread and batches of one size.
    """

    def __init__(
        self,
        model: BaseModel,
        task: Task,
        views: Sequence[View] = PLAIN,
        decoding: ClassPrior | None = None,
        amp: torch.dtype | None = None,
        channels_last: bool = True,
        arithmetic: Mapping[str, bool] | None = None,
        about: Mapping[str, Any] | None = None,
        cuda_graph: bool = False,
    ) -> None:
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        # Set once here, and photos are brought to the same in `infer`.
        self.model = model.to(memory_format=self.memory_format)
        self.task = task
        self.views = views
        self.decoding = decoding
        self.amp = amp
        self.arithmetic = arithmetic
        self.about = about or {}
        # Not of a method: holding itself, a predictor would outlive the next one's beginning.
        function = partial(infer, self.model, amp=amp, memory_format=self.memory_format)
        self._graphed = Graphed(function, "trainer.cuda_graph: prediction") if cuda_graph else None

    @torch.inference_mode()
    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) RGB in 0..255 → head → (B, n) float32, of the photos as they are."""
        if self._graphed is not None:
            logits: dict[str, Tensor] = self._graphed(images)
            return logits
        return infer(self.model, images, self.amp, self.memory_format)

    def predict(self, batches: Iterable[dict[str, Tensor]]) -> Predictions:
        """The adjusted answers of all views; ``batches`` as for ``trainer.predict.predict``."""
        return adjusted(self.predict_unadjusted(batches), self.decoding)

    def predict_unadjusted(self, batches: Iterable[dict[str, Tensor]]) -> Predictions:
        """The same without decoding and temperatures."""
        if self.arithmetic is not None:  # of the whole process, where others may have set theirs
            set_arithmetic(**self.arithmetic)
        return predict(self.logits, batches, self.task, self.views)

    def probabilities(self, images: Tensor) -> dict[str, np.ndarray]:
        """(B, 3, S, S) RGB in 0..255 on the model's device → head → (B, answers) float32, and with
        a product ``"class"``; adjusted."""
        # `predict` sorts by position; counted up, the answers stay in the order of the photos.
        batch = {"image": images, "index": torch.arange(len(images))}
        return self.predict([batch]).probabilities

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in 0..255, on any device → (B, D) float32: what the heads see."""
        images = images.to(self.device)
        return infer(self.model.features, images, self.amp, self.memory_format).float()

    def strange(self, images: Tensor) -> np.ndarray:
        """(B, 3, S, S) → (B,) bool: not of the kind that the model was trained on. A checkpoint
        from before this was kept, or of a training that was stopped, finds nothing strange."""
        if self._familiarity is None:
            return np.zeros(len(images), bool)
        # On the CPU, where a checkpoint's tensors are.
        return self._familiarity.strange(self.features(images).cpu()).numpy()

    @cached_property
    def _familiarity(self) -> Familiarity | None:
        state = self.about.get(FAMILIARITY)
        return None if state is None else Familiarity(**state)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.model.parameters()).device
