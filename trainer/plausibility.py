"""What a finished training leaves in its best checkpoint to know strange photos by."""

from pathlib import Path

import torch

from base.checkpoint import load_checkpoint, save_checkpoint
from data_loader.crop_dataset import CropDataset
from data_loader.data_loaders import TrainingData
from data_loader.transform import eval_transform
from model.familiarity import Familiarity
from parse_config import ConfigParser
from trainer.inference import FAMILIARITY, Predictor
from trainer.restore import restore_predictor
from utils.spread import spread

PHOTOS, BATCH = 512, 64
"""Of each half that are looked at: seconds, beside a training."""


def note_familiarity(
    config: ConfigParser, checkpoint: Path, data: TrainingData, device: torch.device
) -> None:
    """Look at some photos of the training and of the validation without augmentation, and keep in
    ``checkpoint`` where their features lie.

    Args:
        config: of the training.
        checkpoint: written anew; its other names, if it has some, keep what they were.
        data: that it was trained and validated on.
        device: where the model is to run.
    """
    state = load_checkpoint(checkpoint)
    predictor = restore_predictor(config, checkpoint, device, state)
    transform = eval_transform(config["data_loader"]["args"]["input_size"])
    trained, unseen = (
        # Evenly from all rows: they come person by person, and the first 512 would be few people.
        _features(predictor, CropDataset(data.crops, spread(rows, PHOTOS), None, transform))
        for rows in (data.train_rows, data.val_rows)
    )
    known = Familiarity.fit(trained, unseen)
    save_checkpoint(checkpoint, state | {FAMILIARITY: known.to_state()})


def _features(predictor: Predictor, photos: CropDataset) -> torch.Tensor:
    """(N, D) float32 on the CPU."""
    # (N, 3, S, S) in batches → (N, D)
    images = [photos[place]["image"] for place in range(len(photos))]
    batches = [torch.stack(images[first : first + BATCH]) for first in range(0, len(images), BATCH)]
    return torch.cat([predictor.features(batch).cpu() for batch in batches])
