"""Checkpoints with damaged bytes, or with anything in the place of any value.

A case predicts with the file, or goes on with its training: both to the end.
"""

import io
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.fuzz.configs import parse
from tests.fuzz.mutate import damaged, mutated, odd_value
from tests.fuzz.shapes import train, write_config

CASES = 1000
SLICE = 40
SECONDS = 30


def odd_tensor_or_value(draw: random.Random) -> Any:
    """What a checkpoint may hold, in the wrong place."""
    return draw.choice(
        (
            lambda: torch.zeros(draw.choice(((), (1,), (0,), (3, 4)))),
            lambda: torch.zeros(1).expand(10**12),
            lambda: torch.full((2,), float("nan"), dtype=torch.float16),
            lambda: torch.empty(10**9, device="meta"),
            lambda: torch.eye(3).to_sparse(),
            lambda: (1, "a"),
            lambda: b"bytes",
            lambda: odd_value(draw),
            lambda: odd_value(draw),
        )
    )()


def prepare(folder: Path) -> Callable[[random.Random], None]:
    """Train once; a save from within an epoch and one from between two are what cases change."""
    from trainer.restore import restore_predictor

    config = train("-c", write_config(folder), "--run-id", "whole")
    whole = config.save_dir
    saves = [max(whole.glob("at_*_000002.pth")), config.folder.best]
    states = [torch.load(save, weights_only=True) for save in saves]
    alone, beside = folder / "alone.pth", folder / "saved" / "models" / "shapes" / "r"
    photos = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)

    def content(draw: random.Random) -> bytes:
        if draw.random() < 0.3:
            return damaged(draw.choice(saves).read_bytes(), draw)
        buffer = io.BytesIO()
        torch.save(mutated(draw.choice(states), draw, odd_tensor_or_value), buffer)
        if draw.random() < 0.05:
            return compressed(buffer.getvalue())
        return buffer.getvalue()

    def attempt(draw: random.Random) -> None:
        alone.write_bytes(content(draw))
        if draw.random() < 0.7:
            predictor = restore_predictor(parse("-r", alone), alone, torch.device("cpu"))
            predictor.probabilities(photos)
            return
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(whole, beside, ignore=shutil.ignore_patterns("*.pth"))
        shutil.copy(alone, beside / "last_epoch.pth")
        train("-c", whole / "config.json", "--run-id", "r", "--resume", "auto")

    return attempt


def compressed(content: bytes) -> bytes:
    """The same parts in a zip file that torch would not write."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as parts,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped,
    ):
        for part in parts.infolist():
            zipped.writestr(part.filename, parts.read(part))
    return buffer.getvalue()
