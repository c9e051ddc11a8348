"""One seed for every generator that training draws from."""

import random

import numpy as np
import torch

from utils import distributed


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (CPU and every GPU)."""
    random.seed(seed)
    # numpy's old generator takes 32 bits, torch 64.
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_ranks_apart(seed: int) -> None:
    """Let each rank but the first draw numbers of its own: other dropout masks, above all.

    To be called once the model, its moving average and the criterion are made, which have to be
    alike on all ranks. The first rank goes on with what it has, as one process does.
    """
    if rank := distributed.rank():
        seed_everything(int(np.random.SeedSequence((seed, rank)).generate_state(1, np.uint64)[0]))
