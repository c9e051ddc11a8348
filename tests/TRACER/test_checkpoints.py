"""What a training of TRACER resumes from."""

import pytest
import torch

from TRACER.checkpoints import read_training
from TRACER.network import Tracer
from TRACER.weights import network_settings
from utils.errors import CheckpointError

SIDE = 128


def test_a_broken_or_foreign_checkpoint_is_not_resumed(tmp_path):
    settings = network_settings(Tracer(0, input_size=SIDE))
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_training(tmp_path / "missing.pth", settings)
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"PK\x03\x04 half of a file")
    with pytest.raises(CheckpointError, match="damaged"):
        read_training(broken, settings)
    torch.save({"model": {}}, broken)
    with pytest.raises(CheckpointError, match="no training state"):
        read_training(broken, settings)
    torch.save({**settings, "scale": 3, "model": {}, "training": {}}, broken)
    with pytest.raises(CheckpointError, match="scale 3, this run 0"):
        read_training(broken, settings)
