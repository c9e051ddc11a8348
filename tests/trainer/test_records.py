"""What TensorBoard and wandb get of a finished training."""

import argparse

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from base.checkpoint import load_checkpoint
from base.task import load_task
from logger.writer import Writer
from model.decoding import decode, factors_of
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
    """What a writer kept of a run whose decoding changes answers, its ``validation.npz``, and the
    decoded probabilities."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--init-from")
    options = ["decoding.prior_strength=2.0", "trainer.epochs=1", "visualize=true"]
    argv = ["-c", str(tiny_config), "--run-id", "shown", "--set", *options]
    kept = Kept()
    train(ConfigParser.from_args(parser, argv=argv), writers=[kept])
    with np.load(tmp_path / "saved/log/tiny/shown/validation.npz") as saved:
        validation = dict(saved)
    counts = load_checkpoint(tmp_path / "saved/models/tiny/shown/best_epoch.pth")["class_counts"]
    factors = factors_of(Decoding(prior_strength=2.0), FACES, counts)
    return kept, validation, decode(validation["class_probabilities"], factors)


def test_pictures_and_tables_show_the_decoded_answers(decoded_run):
    kept, validation, decoded = decoded_run
    assert (validation["class_probabilities"].argmax(axis=1) != validation["answers"]).any()

    rows = kept.tables["validation.predictions"]
    answers = dict(zip(validation["photo"], validation["answers"], strict=True))
    assert rows and all(row["predicted"] == FACES.class_name(answers[row["file"]]) for row in rows)

    said = FACES.said({"class": decoded, **FACES.marginals(decoded)})
    true = FACES.decode(validation["classes"])
    for name, head in FACES.heads.items():
        matrix = confusion_matrix(true[name], said[name], labels=range(len(head.answers)))
        assert matrix.sum() == len(validation["index"])
        assert f"validation.confusion.{name}" in kept.pictures
