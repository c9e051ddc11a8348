"""One photo in, one answer out, by the very functions that training and test.py use."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from base.base_model import BaseModel
from base.task import Arrays, Task
from data_loader.crops import extractor_from
from model.gradcam import HeadCam, codes_to_explain
from parse_config import ConfigParser
from TRACER.crops import Extraction, extract_crop
from TRACER.extractor import Extractor
from trainer.inference import DRAWN, Predictor, as_seen
from trainer.restore import restore_predictor


class PhotoModel:
    """A trained model, as test.py asks it, with the crop and the transform, to ``input_size`` px,
    that belong to it. Not safe to share between threads."""

    def __init__(self, predictor: Predictor, extractor: Extractor, input_size: int) -> None:
        self.task = predictor.task
        self.predictor = predictor
        self.extractor = extractor
        self.input_size = input_size
        self._cam: HeadCam | None = None

    @classmethod
    def restore(cls, config: ConfigParser, checkpoint: Path, device: torch.device) -> "PhotoModel":
        """The model of a checkpoint, whose config this is; a CheckpointError where there is none,
        or its TRACER weights can't be had."""
        predictor = restore_predictor(config, checkpoint, device)
        input_size = config["data_loader"]["args"]["input_size"]
        extractor = extractor_from(config.settings.tracer, input_size, device)
        extractor.load()  # whatever photo comes is cropped; better now than in the middle of it
        return cls(predictor, extractor, input_size)

    def batch(self, crops: Sequence[np.ndarray]) -> Tensor:
        """(S, S, 3) uint8 crops → (B, 3, ``input_size``, ``input_size``) uint8."""
        return as_seen(crops, np.arange(len(crops)), self.input_size).to(self.predictor.device)

    def probabilities(self, crops: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """(S, S, 3) uint8 crops → head → (B, answers) float32, and with a product ``"class"``."""
        return self.predictor.probabilities(self.batch(crops))

    def strange(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """(S, S, 3) uint8 crops → (B,) bool: unlike what the model was trained on."""
        return self.predictor.strange(self.batch(crops))

    @property
    def drawn(self) -> bool:
        """Whether the model was trained on this project's drawn people alone."""
        return self.predictor.about.get(DRAWN, False)

    def explain(self, crop: np.ndarray, probabilities: Arrays) -> dict[str, np.ndarray]:
        """Grad-CAM of what is predicted for each head.

        Args:
            crop: (S, S, 3) uint8.
            probabilities: of the ``PhotoAnswer`` to explain, be it this model's or not.

        Returns:
            head → (``input_size``, ``input_size``) float32 in [0, 1].
        """
        # Made when first asked for: it runs the model once, to look for a layer.
        if self._cam is None:
            self._cam = HeadCam(self.model, self.task, self.input_size)
        # (n,) → (1, n), a batch of one.
        codes = codes_to_explain(self.task, {k: p[None] for k, p in probabilities.items()})
        return {head: heat[0] for head, heat in self._cam(self.batch([crop]), codes).items()}

    @property
    def model(self) -> BaseModel:
        """In evaluation mode."""
        return self.predictor.model


@dataclass(frozen=True)
class PhotoAnswer:
    """What one or several models predict for a photo.

    Attributes:
        task: that they were asked.
        probabilities: head → (its answers,) float32, and with a product ``"class"`` → (C,), the
            mean over the models.
        extraction: what the first model saw.
        trusted: False where TRACER found nothing to cut out, or where the crop is unlike what most
            of the models were trained on.
    """

    task: Task
    probabilities: dict[str, np.ndarray]
    extraction: Extraction
    trusted: bool = True

    @cached_property
    def predicted(self) -> dict[str, Any]:
        """Head → its answer, see ``Head.predict``, and with a product ``"class"`` → its code.

        With a decoding the likeliest class need not say the likeliest answer of a head by itself.
        """
        predicted = self.task.predict({k: p[None] for k, p in self.probabilities.items()})
        return {name: values[0] for name, values in predicted.items()}

    def sentence(self, language: str) -> str:
        """The answer as one would say it."""
        return self.task.sentence(self.predicted, language)

    def in_words(self, language: str) -> dict[str, str]:
        """Head → its answer in words."""
        heads = self.task.heads.items()
        return {name: head.in_words(self.predicted[name], language) for name, head in heads}

    @property
    def confidence(self) -> float | None:
        """The probability that the answers are all right; of tags that of the least sure one;
        ``None`` for numbers alone."""
        found = self.task.confidence({k: p[None] for k, p in self.probabilities.items()})
        return None if found is None else float(found[0])


def answer_photo(members: Sequence[PhotoModel], photo: np.ndarray) -> PhotoAnswer:
    """Crop a photo, (H, W, 3) uint8 RGB, for each of the models, and average what they say.

    Models that crop alike share the crop.
    """
    cut: dict[str, Any] = {}
    answers, strange = [], []
    for member in members:
        # The key names all that a crop depends on: weights, region, margin, size, …
        key = member.extractor.key
        if key not in cut:
            # TRACER costs more than the classification, so nothing is cropped twice.
            cut[key] = next(iter(member.extractor([photo])))
        answers.append(member.probabilities([cut[key].crop]))
        strange.append(member.strange([cut[key].crop])[0])
    shown = cut[members[0].extractor.key]
    mean = {name: np.mean([each[name][0] for each in answers], axis=0) for name in answers[0]}
    trusted = not shown.fallback and np.mean(strange) <= 0.5
    return PhotoAnswer(members[0].task, mean, shown, bool(trusted))


def crop_to_show(member: PhotoModel, photo: np.ndarray, cut: Extraction, side: int) -> np.ndarray:
    """The crop of ``photo`` that ``cut`` is, with ``side`` px instead of what the model takes."""
    settings = member.extractor.settings.model_copy(update={"crop_size": side})
    return extract_crop(photo, cut.saliency, settings).crop
