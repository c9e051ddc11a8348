"""The epoch loop: saving, stopping, resuming, and what callbacks are told."""

import math
import os
import signal

import pytest
import torch

from base.base_trainer import Callback, StopTraining
from base.checkpoint import load_checkpoint
from base.monitor import Monitor
from base.preemption import Stopped
from tests.trainings import a_trainer, loader, metrics_of, resumed, same_end
from utils import distributed
from utils.errors import CheckpointError, UserError
from utils.seeding import seed_ranks_apart


@pytest.mark.slow
def test_the_best_epoch_is_kept_whatever_the_save_period(tmp_path):
    trainer = a_trainer(tmp_path, epochs=3, save_period=100)
    trainer.train()
    best = load_checkpoint(tmp_path / "models" / "best_epoch.pth")
    assert best["epoch"] == trainer.monitor.best_epoch


@pytest.mark.slow
def test_only_the_newest_saves_are_kept_and_nothing_is_stored_twice(tmp_path):
    a_trainer(tmp_path, epochs=4).train()
    models = tmp_path / "models"
    names = {path.name for path in models.iterdir()}
    assert names == {"at_0003_000000.pth", "at_0004_000000.pth", "best_epoch.pth", "last_epoch.pth"}
    assert (models / "last_epoch.pth").samefile(models / "at_0004_000000.pth")


@pytest.mark.slow
def test_a_save_period_keeps_every_so_many_epochs(tmp_path):
    a_trainer(tmp_path, epochs=4, save_period=2).train()
    kept = {path.name for path in (tmp_path / "models").glob("epoch_*.pth")}
    assert kept == {"epoch_2.pth", "epoch_4.pth"}


@pytest.mark.slow
def test_training_stops_early_after_the_patience(tmp_path):
    trainer = a_trainer(tmp_path, epochs=10, lr=1e-12, monitor=Monitor("max val/top", 2))
    trainer._validate_epoch = lambda epoch: {"val/loss": 1.0, "val/top": 0.5}
    trainer.train()
    assert len(trainer.history) == 3


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_same_bits_as_one_that_never_stopped(tmp_path):
    a_trainer(tmp_path / "whole", epochs=4).train()
    a_trainer(tmp_path / "parts", epochs=2).train()
    second = a_trainer(tmp_path / "parts", epochs=4)
    resumed(second, tmp_path / "parts" / "models" / "last_epoch.pth").train()
    same_end(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(
    "optimizing",
    [
        {},
        pytest.param({"ema_decay": 0.9, "clip_norm": 1.0, "accumulate": 2}, marks=pytest.mark.slow),
    ],
    ids=["plain", "ema-clip-accumulate"],
)
def test_a_training_stopped_within_an_epoch_ends_with_the_same_bits(tmp_path, optimizing):
    a_trainer(tmp_path / "whole", epochs=2, optimizing=optimizing).train()
    stopped = a_trainer(tmp_path / "parts", epochs=2, optimizing=optimizing)
    stopped.preemption.should_stop = lambda moves: len(stopped.history) == 1 and moves == 1
    with pytest.raises(Stopped, match=r"train\.py --resume .*last_epoch\.pth"):
        stopped.train()
    again = a_trainer(tmp_path / "parts", epochs=2, optimizing=optimizing)
    resumed(again, tmp_path / "parts" / "models" / "last_epoch.pth").train()
    same_end(tmp_path / "whole", tmp_path / "parts")


def test_an_epoch_of_a_single_batch_can_be_stopped_after(tmp_path):
    trainer = a_trainer(tmp_path, epochs=3, train_loader=loader(16, 1, True))
    trainer.preemption.received = True
    with pytest.raises(Stopped):
        trainer.train()
    assert len(load_checkpoint(tmp_path / "models" / "last_epoch.pth")["history"]) == 1


def test_a_step_that_breaks_the_weights_is_not_saved_over_what_was_sound(tmp_path):
    trainer = a_trainer(tmp_path, save_every_steps=1, lr=math.inf, optimizer_class=torch.optim.SGD)
    with pytest.raises(UserError, match=r"epoch 1.*finite number.*clip_norm$"):
        trainer.train()  # and no checkpoint is spoken of, since there is none
    assert not (tmp_path / "models").exists()


def test_an_average_of_the_weights_is_not_gone_on_with_as_the_weights(tmp_path):
    a_trainer(tmp_path, epochs=1, optimizing={"ema_decay": 0.9}).train()
    last = tmp_path / "models" / "last_epoch.pth"
    with pytest.raises(CheckpointError, match=r"trainer\.ema_decay"):
        resumed(a_trainer(tmp_path, epochs=2), last)


@pytest.mark.slow
def test_saving_within_the_epoch_changes_nothing(tmp_path):
    a_trainer(tmp_path / "whole", epochs=1).train()
    a_trainer(tmp_path / "parts", epochs=1, save_every_steps=1).train()
    same_end(tmp_path / "whole", tmp_path / "parts")


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, caplog):
    a_trainer(tmp_path, epochs=2).train()
    last = tmp_path / "models" / "last_epoch.pth"
    with open(last, "r+b") as file:
        file.truncate(last.stat().st_size // 2)
    trainer = resumed(a_trainer(tmp_path, epochs=2), last)
    assert len(trainer.history) == 1
    assert "going on from" in caplog.text


def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path):
    a_trainer(tmp_path, epochs=1).train()
    other = a_trainer(tmp_path, epochs=2, optimizer_class=torch.optim.Adagrad)
    with pytest.raises(CheckpointError, match="optimizer or scheduler is not the configured one"):
        resumed(other, tmp_path / "models" / "last_epoch.pth")


class Noting(Callback):
    """Notes every event; ``fails`` is raised in the event of that name."""

    def __init__(self, notes, **fails):
        self.notes, self.fails = notes, fails

    def __getattribute__(self, event):
        method = super().__getattribute__(event)
        if not event.startswith("on_") and event != "close":
            return method

        def noted(*arguments):
            self.notes.append((event, *arguments))
            if event in self.fails:
                raise self.fails[event]

        return noted


def events(notes):
    return [event for event, *_ in notes if event != "on_step"]


class TestCallbacks:
    def test_they_are_called_in_the_course_of_the_training_and_closed_last(self, tmp_path):
        notes = []
        trainer = a_trainer(tmp_path, callbacks=[Noting(notes)], description={"config": {}})
        trainer.train()
        assert notes[0] == ("on_train_start", {"config": {}}, trainer.history, 0)
        epochs = [each for each in events(notes) if each != "on_best"]
        assert epochs == ["on_train_start", *["on_epoch_end"] * 2, "on_train_end", "close"]
        assert notes[-2] == ("on_train_end", trainer.history, trainer.monitor.best_epoch)
        bests = [note for note in notes if note[0] == "on_best"]
        assert bests[0][1:3] == (1, tmp_path / "models" / "best_epoch.pth")
        assert bests[0][3].probabilities["class"].shape == (40, 18)

    def test_other_ranks_wait_for_them_outside_of_any_collective(self, tmp_path, monkeypatch):
        notes = []
        monkeypatch.setattr(distributed, "wait_for_main", lambda: notes.append(("waited",)))
        monkeypatch.setattr(distributed, "gather", lambda own: notes.append(("gather",)) or [own])
        a_trainer(tmp_path, epochs=1, callbacks=[Noting(notes)]).train()
        course = events(notes)
        course = course[course.index("on_epoch_end") :]
        assert course == [
            "on_epoch_end", "waited", "gather", "on_best", "waited", "on_train_end", "waited",
            "close",
        ]  # fmt: skip

    def test_each_update_is_told_once_with_its_losses_rates_and_photos(self, tmp_path):
        notes = []
        optimizing = {"accumulate": 2}
        a_trainer(tmp_path, epochs=1, callbacks=[Noting(notes)], optimizing=optimizing).train()
        steps = [note[1:] for note in notes if note[0] == "on_step"]
        assert [(update, photos) for update, _, _, photos in steps] == [(1, 32), (2, 32)]
        for _, losses, rates, _ in steps:
            assert losses.keys() == {"loss", "mask_loss", "gender_loss", "age_loss"}
            assert {"lr", "images_per_second", "data_wait_share"} <= rates.keys()
            assert rates["grad_norm"] > 0

    def test_one_that_fails_is_named_once_left_out_and_closed(self, tmp_path, caplog):
        broken, sound = [], []
        failing = Noting(broken, on_epoch_end=OSError("disk full"), close=OSError("again"))
        a_trainer(tmp_path, callbacks=[failing, Noting(sound)]).train()
        assert events(broken) == ["on_train_start", "on_epoch_end", "close"]
        assert events(sound).count("on_epoch_end") == 2 and events(sound)[-1] == "close"
        assert caplog.text.count("Noting: not written: OSError: disk full") == 1
        assert "again" not in caplog.text

    def test_an_essential_one_that_fails_ends_the_training(self, tmp_path):
        notes = []
        failing = Noting(notes, on_epoch_end=UserError("no room"))
        failing.essential = True
        with pytest.raises(UserError, match="no room"):
            a_trainer(tmp_path, callbacks=[failing]).train()
        assert events(notes)[-2:] == ["on_exception", "close"]

    def test_one_may_end_the_training_with_an_epoch_that_is_saved(self, tmp_path):
        notes = []
        ending = Noting([], on_epoch_end=StopTraining("no prospect"))
        with pytest.raises(StopTraining, match="no prospect"):
            a_trainer(tmp_path, epochs=3, callbacks=[ending, Noting(notes)]).train()
        assert load_checkpoint(tmp_path / "models" / "last_epoch.pth")["epoch"] == 1
        assert "on_train_end" not in events(notes) and events(notes)[-1] == "close"

    def test_they_learn_of_a_request_to_stop(self, tmp_path):
        notes = []
        trainer = a_trainer(tmp_path, epochs=3, callbacks=[Noting(notes)])
        trainer.preemption.received = True
        with pytest.raises(Stopped) as stopped:
            trainer.train()
        assert notes[-2:] == [("on_exception", stopped.value), ("close",)]

    def test_a_request_at_the_end_lets_the_resume_do_what_is_left_of_it(self, tmp_path):
        def trainer(*callbacks):
            return a_trainer(tmp_path, epochs=1, callbacks=callbacks)

        class Asked(Callback):
            def on_train_end(self, history, best_epoch):
                os.kill(os.getpid(), signal.SIGTERM)

            def on_exception(self, error):
                os.kill(os.getpid(), signal.SIGTERM)  # a second one breaks nothing off

        first, second = [], []
        with pytest.raises(Stopped, match=r"train\.py --resume .*last_epoch\.pth"):
            trainer(Asked(), Noting(first)).train()
        assert "on_train_end" not in events(first)
        assert events(first)[-2:] == ["on_exception", "close"]
        assert not (tmp_path / "log/finished.json").exists()
        resumed(trainer(Noting(second)), tmp_path / "models" / "last_epoch.pth").train()
        assert events(second) == ["on_train_start", "on_train_end", "close"]
        assert (tmp_path / "log/finished.json").exists()

    def test_two_processes_end_together_where_the_firsts_callback_asks_for_it(
        self, in_two_ranks, tmp_path
    ):
        in_two_ranks(
            "import pytest\n"
            "from pathlib import Path\n"
            "from base.base_trainer import StopTraining\n"
            "from tests.base.test_base_trainer import Noting, a_trainer\n"
            "def work():\n"
            "    ending = Noting([], on_epoch_end=StopTraining('no prospect'))\n"
            f"    trainer = a_trainer(Path({str(tmp_path)!r}), epochs=3, callbacks=[ending])\n"
            "    with pytest.raises(StopTraining, match='no prospect'):\n"
            "        trainer.train()\n"
            "    assert len(trainer.history) == 1",
            "work()",
        )


def a_trainer_of_two(folder, **optimizing):
    photos = loader(64, 1, True, batch_size=8)
    trainer = a_trainer(folder, optimizing=optimizing, train_loader=photos)
    seed_ranks_apart(1)
    return trainer


def stopped_and_resumed(folder, **optimizing):
    """A training that is stopped within its second epoch and then ends."""
    first = a_trainer_of_two(folder, **optimizing)
    first.preemption.should_stop = lambda moves: len(first.history) == 1 and moves == 1
    with pytest.raises(Stopped):
        first.train()
    again = a_trainer_of_two(folder, **optimizing)
    resumed(again, folder / "models" / "last_epoch.pth").train()


def test_two_processes_with_dropout_of_their_own_stop_and_resume_exactly(in_two_ranks, tmp_path):
    in_two_ranks(
        "from pathlib import Path\n"
        "from tests.base.test_base_trainer import a_trainer_of_two, stopped_and_resumed\n"
        f"folder, optimizing = Path({str(tmp_path)!r}), dict(ema_decay=0.9, accumulate=2)\n"
        "whole = lambda: a_trainer_of_two(folder / 'whole', **optimizing).train()\n"
        "parts = lambda: stopped_and_resumed(folder / 'parts', **optimizing)",
        "(whole(), parts())",
    )
    same_end(tmp_path / "whole", tmp_path / "parts")
    draws = load_checkpoint(tmp_path / "parts" / "models" / "last_epoch.pth")["random"]
    assert not torch.equal(draws[0]["torch"], draws[1]["torch"])


def test_two_processes_validate_the_model_that_is_kept(in_two_ranks, tmp_path):
    averages = {"plain": {}, "ema": {"ema_decay": 0.9}}
    in_two_ranks(
        "from pathlib import Path\n"
        "from tests.trainings import a_trainer\n"
        "work = lambda: [\n"
        f"    a_trainer(Path({str(tmp_path)!r}) / name, epochs=1, optimizing=average).train()\n"
        f"    for name, average in {averages}.items()\n"
        "]",
        "work()",
    )
    alone = a_trainer(tmp_path / "alone")
    for name in averages:
        validated = metrics_of(tmp_path / name)[-1]
        kept = load_checkpoint(tmp_path / name / "models" / "last_epoch.pth")["state_dict"]
        alone.train_step.model.load_state_dict(kept)
        for score, value in alone._validate_epoch(1).items():
            assert float(validated[score]) == pytest.approx(value, rel=1e-4), (name, score)
