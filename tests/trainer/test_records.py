"""What TensorBoard and wandb get of a finished training."""

import argparse

import numpy as np
import pytest

from base.checkpoint import load_checkpoint
from base.task import load_task
from logger.predictions import read_predictions
from logger.writer import Writer
from model.answers import decode
from model.decoding import resolve_decoding
from model.settings import Decoding
from parse_config import ConfigParser
from trainer.session import train

FACES = load_task("faces")


class Kept(Writer):
    """A writer that keeps what it gets."""

    def __init__(self):
        self.pictures, self.tables = {}, {}

    def picture(self, epoch, name, image):
        self.pictures[name] = image

    def table(self, epoch, name, rows):
        self.tables[name] = rows


@pytest.fixture
def decoded_run(tiny_config, tmp_path, in_an_empty_folder):
    """What a writer kept of a run whose decoding changes answers, and its answers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--init-from")
    options = ["decoding.prior_strength=2.0", "trainer.epochs=1", "visualize=true"]
    argv = ["-c", str(tiny_config), "--run-id", "shown", "--set", *options]
    kept = Kept()
    train(ConfigParser.from_args(parser, argv=argv), writers=[kept])
    saved = read_predictions(tmp_path / "saved/log/tiny/shown/predictions.npz")
    counts = load_checkpoint(tmp_path / "saved/models/tiny/shown/best_epoch.pth")["class_counts"]
    prior = resolve_decoding(Decoding(prior_strength=2.0), FACES, counts)
    assert np.array_equal(saved.adjusted()["class"], decode(saved.raw()["class"], prior))
    return kept, saved


@pytest.mark.slow
def test_pictures_and_tables_show_the_decoded_answers(decoded_run):
    kept, saved = decoded_run
    decoded = saved.adjusted()["class"].argmax(axis=1)
    assert (saved.raw()["class"].argmax(axis=1) != decoded).any()
    rows = kept.tables["validation.predictions"]
    said = dict(zip(saved.photos["photo"], map(FACES.class_name, decoded), strict=True))
    typeset = str.maketrans({"≥": ">=", "–": "-"})
    assert rows and all(row["predicted"].translate(typeset) == said[row["file"]] for row in rows)
    assert all(f"validation.confusion.{name}" in kept.pictures for name in FACES.heads)
