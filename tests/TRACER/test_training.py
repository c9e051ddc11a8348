"""Training TRACER: it learns, it resumes exactly, and it says what it cannot use."""

import csv
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from TRACER.dataset import TRAINING_LAYOUTS, find_pairs, hold_out
from TRACER.network import Tracer
from TRACER.training import Training, TrainingSettings
from TRACER.weights import load_tracer
from utils.cli import message_of
from utils.errors import CheckpointError, ConfigError, DataError
from utils.seeding import seed_everything

CPU = torch.device("cpu")
SIDE = 128
BASE = {
    "side": SIDE,
    "batch_size": 3,
    "limit_steps": 2,
    "lr": 1e-3,
    "augment": "none",
    "patience": 0,
}


@pytest.fixture
def pairs(tmp_path: Path) -> list:
    """Twelve photos of a bright box on a dark ground, with masks."""
    for i in range(12):
        rng = np.random.default_rng(i)
        image = rng.integers(0, 60, (40, 40, 3), np.uint8)
        mask = np.zeros((40, 40), np.uint8)
        row, column = rng.integers(2, 16, 2)
        mask[row : row + 20, column : column + 20] = 255
        image[mask > 0] += 180
        for folder, picture in (("images", image), ("masks", mask)):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "data" / folder / f"{i:02d}.png"), picture)
    return find_pairs(tmp_path / "data", TRAINING_LAYOUTS)


def make_training(pairs: list, out: Path, **settings) -> Training:
    """A training of a fresh TE0, always from the same random weights."""
    seed_everything(0)
    network = Tracer(0, static_padding=False, input_size=SIDE)
    train, validation = hold_out(pairs, 0.25, seed=0)
    return Training(network, train, validation, TrainingSettings(**{**BASE, **settings}), CPU, out)


def rows(out: Path) -> list[dict[str, str]]:
    with open(out / "metrics.csv") as file:
        return list(csv.DictReader(file))


def test_the_loss_falls_and_every_epoch_is_on_record(pairs, tmp_path):
    training = make_training(pairs, tmp_path / "run", epochs=3)
    best = training.run()
    record = rows(tmp_path / "run")
    assert [row["epoch"] for row in record] == ["1", "2", "3"]
    assert float(record[-1]["train_loss"]) < float(record[0]["train_loss"])
    assert best["val_loss"] == min(float(row["val_loss"]) for row in record)


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_a_resumed_training_ends_as_if_it_had_never_stopped(pairs, tmp_path, schedule):
    settings = {
        "epochs": 2,
        "schedule": schedule,
        "ema_decay": 0.9,
        "augment": "paper",
        "limit_steps": 1,
    }
    whole = make_training(pairs, tmp_path / "whole", **settings)
    whole.run()

    class Killed(Exception):
        pass

    part = make_training(pairs, tmp_path / "part", **settings)
    finish = part._finish_epoch

    def finish_then_die(row):
        finish(row)
        raise Killed

    part._finish_epoch = finish_then_die
    with pytest.raises(Killed):
        part.run()
    rest = make_training(pairs, tmp_path / "part", **settings)
    seed_everything(99)
    rest.resume(tmp_path / "part" / "last.pth")
    rest.run()

    assert rows(tmp_path / "part") == rows(tmp_path / "whole")
    for name in ("best.pth", "last.pth"):
        expected = torch.load(tmp_path / "whole" / name, weights_only=True)
        found = torch.load(tmp_path / "part" / name, weights_only=True)
        for key, value in expected["model"].items():
            assert torch.equal(found["model"][key], value), key


def test_checkpoints_are_weights_that_the_library_loads(pairs, tmp_path):
    make_training(pairs, tmp_path / "run", epochs=1, ema_decay=0.9).run()
    network = load_tracer(tmp_path / "run" / "best.pth")
    assert not network.static_padding
    assert network.input_size == SIDE


def test_training_stops_after_patience_epochs_without_a_lower_loss(pairs, tmp_path):
    training = make_training(pairs, tmp_path / "run", epochs=50, lr=0.0, patience=2)
    training.best_loss = 0.0  # nothing is lower
    training.run()
    assert len(rows(tmp_path / "run")) == 2


def test_validation_counts_every_photo_and_training_drops_the_last_short_batch(pairs, tmp_path):
    training = make_training(
        pairs, tmp_path / "run", batch_size=4
    )  # 9 to train on, 3 held out, batches of 4
    assert len(training.loader) == 2
    assert sum(len(images) for images, _ in training.validation_loader) == 3


def test_black_masks_do_not_break_a_training(pairs, tmp_path):
    for pair in pairs[:6]:
        cv2.imwrite(str(pair.mask), np.zeros((40, 40), np.uint8))
    best = make_training(pairs, tmp_path / "run", epochs=1).run()
    assert np.isfinite(best["train_loss"])
    assert np.isfinite(best["val_loss"])


def test_the_learning_rate_warms_up_and_falls_to_a_hundredth(pairs, tmp_path):
    training = make_training(
        pairs, tmp_path / "run", schedule="cosine", epochs=10, warmup=0.2, lr=1e-2
    )
    rates = []
    for _ in range(20):
        rates.append(training.optimizer.param_groups[0]["lr"])
        training.optimizer.step()
        training.scheduler.step()
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[-1] < 0.0003


def test_resuming_with_other_settings_says_which(pairs, tmp_path):
    make_training(pairs, tmp_path / "run", epochs=1).run()
    other = make_training(pairs, tmp_path / "other", epochs=1, lr=0.5)
    with pytest.raises(CheckpointError, match="another lr; resume with the options of the first"):
        other.resume(tmp_path / "run" / "last.pth")
    other.network.input_size += 32
    with pytest.raises(CheckpointError, match="another lr, input_size"):
        other.resume(tmp_path / "run" / "last.pth")


def test_a_broken_photo_is_named_in_one_line_whoever_reads_it(pairs, tmp_path):
    for pair in pairs:
        pair.image.write_bytes(pair.image.read_bytes()[:100])
    training = make_training(pairs, tmp_path / "run", num_workers=1)
    with pytest.raises(DataError) as failed:
        training.run()
    shown = message_of(failed.value)
    assert re.fullmatch(r"\S+\.png: broken image .*replace or remove it", shown)


def test_a_loss_that_is_no_number_ends_the_training(pairs, tmp_path):
    training = make_training(pairs, tmp_path / "run", lr=1e30)
    with pytest.raises(ConfigError, match="lower --lr"):
        training.run()
    assert not (tmp_path / "run").exists()


def test_too_few_photos_for_one_batch_are_refused(pairs, tmp_path):
    with pytest.raises(DataError, match="fewer than one batch"):
        make_training(pairs, tmp_path / "run", batch_size=64)


def test_a_state_of_another_version_is_refused_in_one_line(pairs, tmp_path):
    make_training(pairs, tmp_path / "run", epochs=1, limit_steps=1).run()
    last = tmp_path / "run" / "last.pth"
    content = torch.load(last, weights_only=True)
    earlier = {"cpu": torch.get_rng_state(), "cuda": []}
    again = make_training(pairs, tmp_path / "run", epochs=2, limit_steps=1)
    for change in ({"rng": earlier}, {"optimizer": 3}, {"settings": []}):
        torch.save({**content, "training": content["training"] | change}, last)
        with pytest.raises(CheckpointError, match=r"last\.pth: no training state of this version"):
            again.resume(last)
