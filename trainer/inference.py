"""A trained model that answers as its run's validation did: for test.py, the page and the rest."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from base.base_model import BaseModel
from base.inference import infer
from trainer.predict import Predictions, adjusted, predict
from trainer.tta import PLAIN, View
from utils.devices import set_arithmetic


class Predictor:
    """A model with the settings of its run that answers depend on.

    Args:
        model: in evaluation mode, on its device; its weights change their memory format.
        views: test-time augmentation, see ``trainer.tta``.
        decoding: (18,) factors on the class probabilities; ``None`` for none.
        amp: autocast to this type; ``None`` computes in float32.
        channels_last: memory format of photos and weights.
        arithmetic: what ``set_arithmetic`` takes; ``None`` leaves torch as it is.
    """

    def __init__(
        self,
        model: BaseModel,
        views: Sequence[View] = PLAIN,
        decoding: np.ndarray | None = None,
        amp: torch.dtype | None = None,
        channels_last: bool = True,
        arithmetic: Mapping[str, bool] | None = None,
    ) -> None:
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(memory_format=self.memory_format)
        self.views = views
        self.decoding = decoding
        self.amp = amp
        self.arithmetic = arithmetic

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) RGB in 0..255 → head → (B, n) float32, of the photos as they are."""
        return infer(self.model, images, self.amp, self.memory_format)

    def predict(self, batches: Iterable[dict[str, Tensor]]) -> Predictions:
        """The adjusted answers of all views; ``batches`` as for ``trainer.predict.predict``."""
        if self.arithmetic is not None:  # of the whole process, where others may have set theirs
            set_arithmetic(**self.arithmetic)
        return adjusted(predict(self.logits, batches, self.views), self.decoding)

    def class_probabilities(self, images: Tensor) -> np.ndarray:
        """(B, 3, S, S) RGB in 0..255 on the model's device → (B, 18) float32, adjusted."""
        batch = {"image": images, "index": torch.arange(len(images))}
        return self.predict([batch]).class_probabilities

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.model.parameters()).device
