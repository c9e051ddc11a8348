"""What a training of TRACER resumes from."""

import pytest
import torch

from TRACER.checkpoints import read_training
from utils.errors import CheckpointError


def test_a_broken_checkpoint_is_not_resumed(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_training(tmp_path / "missing.pth")
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"PK\x03\x04 half of a file")
    with pytest.raises(CheckpointError, match="damaged"):
        read_training(broken)
    torch.save({"model": {}}, broken)
    with pytest.raises(CheckpointError, match="no training state"):
        read_training(broken)
