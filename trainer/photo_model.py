"""One photo in, one answer out, by the very functions that training and test.py use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from base.base_model import BaseModel
from base.task import Task
from data_loader.crop_dataset import CropDataset
from data_loader.crops import extractor_from
from data_loader.labels import head_answers
from data_loader.transform import eval_transform
from model.decode import head_probabilities
from model.gradcam import HeadCam
from TRACER.crops import Extraction, extract_crop
from TRACER.extractor import Extractor
from trainer.inference import DRAWN, Predictor
from trainer.restore import restore_predictor

if TYPE_CHECKING:
    from parse_config import ConfigParser


class PhotoModel:
    """A trained model with the crop and the transform that belong to it.

    Not safe to share between threads.

    Args:
        task: that it was taught.
        predictor: the model, as test.py asks it.
        extractor: makes the crops.
        input_size: side of what the model sees, px.
    """

    def __init__(
        self, task: Task, predictor: Predictor, extractor: Extractor, input_size: int
    ) -> None:
        self.task = task
        self.predictor = predictor
        self.extractor = extractor
        self.input_size = input_size
        self._cam: HeadCam | None = None

    @classmethod
    def restore(
        cls, config: "ConfigParser", checkpoint: Path, device: torch.device
    ) -> "PhotoModel":
        """The model of a checkpoint.

        Args:
            config: of the checkpoint.
            checkpoint: its weights.
            device: where model and extractor run.

        Raises:
            CheckpointError: not a checkpoint, or its TRACER weights can't be had.
        """
        predictor = restore_predictor(config, checkpoint, device)
        input_size = config["data_loader"]["args"]["input_size"]
        extractor = extractor_from(config["tracer"], input_size, device)
        extractor.load()  # whatever photo comes is cropped; better now than in the middle of it
        return cls(Task(config.settings.task), predictor, extractor, input_size)

    def batch(self, crops: Sequence[np.ndarray]) -> Tensor:
        """(S, S, 3) uint8 crops → (B, 3, ``input_size``, ``input_size``) uint8."""
        dataset = CropDataset(crops, np.arange(len(crops)), None, eval_transform(self.input_size))
        samples = default_collate([dataset[place] for place in range(len(dataset))])
        return samples["image"].to(self.predictor.device)

    def class_probabilities(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """(S, S, 3) uint8 crops → (B, 18) float32."""
        return self.predictor.class_probabilities(self.batch(crops))

    def strange(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """(S, S, 3) uint8 crops → (B,) bool: unlike what the model was trained on."""
        return self.predictor.strange(self.batch(crops))

    @property
    def drawn(self) -> bool:
        """Whether the model was trained on this project's drawn people alone."""
        return self.predictor.about.get(DRAWN, False)

    def explain(self, crop: np.ndarray, class_probabilities: np.ndarray) -> dict[str, np.ndarray]:
        """Grad-CAM of what the likeliest class says for each head.

        Args:
            crop: (S, S, 3) uint8.
            class_probabilities: (18,) of the answer to explain, be it this model's or not.

        Returns:
            head → (``input_size``, ``input_size``) float32 in [0, 1].
        """
        if self._cam is None:
            self._cam = HeadCam(self.model, self.task, self.input_size)
        answers = head_answers(class_probabilities[None].argmax(axis=1))
        return {head: heat[0] for head, heat in self._cam(self.batch([crop]), answers).items()}

    @property
    def model(self) -> BaseModel:
        """In evaluation mode."""
        return self.predictor.model


@dataclass(frozen=True)
class PhotoAnswer:
    """What one or several models say of a photo.

    Attributes:
        class_probabilities: (18,) float32, the mean over the models.
        extraction: what the first model saw.
        person: False where TRACER found none, or where the crop is unlike what most of the models
            were trained on: then the answer is not to be trusted.
    """

    class_probabilities: np.ndarray
    extraction: Extraction
    person: bool = True

    @property
    def answer(self) -> int:
        """The likeliest class, 0..17."""
        return int(self.class_probabilities.argmax())

    @property
    def head_answers(self) -> dict[str, int]:
        """What the likeliest class says for each head.

        With a decoding that need not be the likeliest answer of the head by itself.
        """
        return head_answers(self.answer)

    @property
    def sureness(self) -> float:
        """The probability that all three answers are right."""
        return float(self.class_probabilities.max())

    @property
    def heads(self) -> dict[str, np.ndarray]:
        """``{"mask": (3,), "gender": (2,), "age": (3,)}``: the probability of each answer."""
        heads = head_probabilities(self.class_probabilities[None])
        return {head: values[0] for head, values in heads.items()}


def answer_photo(members: Sequence[PhotoModel], photo: np.ndarray) -> PhotoAnswer:
    """Crop a photo, (H, W, 3) uint8 RGB, for each of the models, and average what they say.

    Models that crop alike share the crop.
    """
    cut: dict[str, Extraction] = {}
    said, strange = [], []
    for member in members:
        key = member.extractor.key
        if key not in cut:
            cut[key] = next(iter(member.extractor([photo])))
        said.append(member.class_probabilities([cut[key].crop])[0])
        strange.append(member.strange([cut[key].crop])[0])
    shown = cut[members[0].extractor.key]
    person = not shown.fallback and np.mean(strange) <= 0.5
    return PhotoAnswer(np.mean(said, axis=0), shown, bool(person))


def crop_to_show(member: PhotoModel, photo: np.ndarray, cut: Extraction, side: int) -> np.ndarray:
    """The crop of ``photo`` that ``cut`` is, with ``side`` px instead of what the model takes."""
    settings = replace(member.extractor.settings, size=side)
    return extract_crop(photo, cut.saliency, settings).crop
