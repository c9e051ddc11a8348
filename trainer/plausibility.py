"""What a finished training leaves in its best checkpoint to know strange photos by."""

from pathlib import Path

import numpy as np
import torch

from base.checkpoint import load_checkpoint, save_checkpoint
from data_loader.data_loaders import TrainingData
from model.familiarity import Familiarity
from parse_config import ConfigParser
from trainer.inference import FAMILIARITY, as_seen
from trainer.restore import restore_predictor
from utils.spread import spread

PHOTOS, BATCH = 512, 64
"""Of each half that are looked at: seconds, beside a training."""


def note_familiarity(
    config: ConfigParser, checkpoint: Path, data: TrainingData, device: torch.device
) -> None:
    """Look at some photos of the training and of the validation without augmentation, and keep in
    ``checkpoint``, whose other names keep what they were, where their features lie."""
    state = load_checkpoint(checkpoint)
    predictor = restore_predictor(config, checkpoint, device, state)
    size = config["data_loader"]["args"]["input_size"]

    def features(rows: np.ndarray) -> torch.Tensor:
        # Evenly from all rows: they come person by person, and the first 512 would be few people.
        images = as_seen(data.crops, spread(rows, PHOTOS), size)
        # (N, 3, S, S) in batches → (N, D) float32 on the CPU
        return torch.cat([predictor.features(batch).cpu() for batch in images.split(BATCH)])

    known = Familiarity.fit(features(data.train_rows), features(data.val_rows))
    save_checkpoint(checkpoint, state | {FAMILIARITY: known.to_state()})
