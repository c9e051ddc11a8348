import csv
import json
from threading import Event, Thread

import numpy as np
import pytest
from filelock import FileLock

from base.task import load_task
from logger.predictions import SavedPredictions, read_predictions, write_predictions
from tests.config_files import with_config
from trainer.folds import JOINING, choose_folds, start_folds, train_folds, write_results
from utils.errors import ConfigError, DataError

FACES = load_task("faces")


def answers_of(folder, fold, photos):
    """The predictions of a fold, right about every other photo."""
    draw = np.random.default_rng(fold)
    number = len(photos)
    values = {"mask": draw.integers(0, 3, number), "gender": draw.integers(0, 2, number),
              "age": draw.integers(18, 60, number) * 1.0}  # fmt: skip
    classes = FACES.truth(values)["class"]
    said = np.where(np.arange(number) % 2, classes, (classes + 1) % 18)
    columns = {"photo": photos, "group": [photo.split("/")[0] for photo in photos]}
    saved = SavedPredictions(
        FACES, {"class": np.eye(18)[said]}, values, {k: np.array(v) for k, v in columns.items()}
    )
    write_predictions(folder / f"{fold}.npz", saved)
    return folder / f"{fold}.npz"


@pytest.fixture
def answers(tmp_path):
    return {
        0: answers_of(tmp_path, 0, [f"b/mask{n}" for n in range(1, 6)]),
        1: answers_of(tmp_path, 1, [f"a/mask{n}" for n in range(1, 5)]),
    }


def test_folds_are_named_by_number_or_all_at_once():
    assert choose_folds("all", 3) == [0, 1, 2]
    assert choose_folds("2,0", 5) == [0, 2]
    with pytest.raises(ConfigError, match=r"--folds 5: .*0 to 4"):
        choose_folds("5", 5)
    with pytest.raises(ConfigError, match=r"--folds every: give 'all'"):
        choose_folds("every", 5)


def test_the_table_has_each_fold_their_mean_and_sd_and_all_together(answers, tmp_path):
    text = write_results(tmp_path / "out", answers)
    with open(tmp_path / "out" / "folds.csv") as file:
        rows = {row["part"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["fold 0", "fold 1", "mean", "sd", "out of fold"]
    accuracies = [float(rows[f"fold {fold}"]["accuracy"]) for fold in (0, 1)]
    assert accuracies == [0.4, 0.5]
    assert float(rows["mean"]["accuracy"]) == pytest.approx(0.45)
    assert float(rows["sd"]["accuracy"]) == pytest.approx(np.std(accuracies, ddof=1))
    assert float(rows["out of fold"]["accuracy"]) == pytest.approx(4 / 9)
    assert "macro-F1" in text and "0.4500" in text
    assert (tmp_path / "out" / "folds.md").read_text() == text + "\n"


def test_missing_answers_are_refused(answers, tmp_path):
    answers[1] = tmp_path / "none.npz"
    with pytest.raises(DataError, match=r"none\.npz: not the answers of a validation"):
        write_results(tmp_path / "out", answers)


def test_folds_that_failed_before_their_first_checkpoint_leave_the_run_id_free(
    in_an_empty_folder,
):
    config = with_config({"validation": {"fraction": 0.2}}, "--run-id", "first")
    config.args.folds = "all"
    assert not [line for line in config.warnings() if "validation" in line]
    start_folds(config)
    again = with_config({"validation": {"fraction": 0.2}}, "--run-id", "first")
    start_folds(again)
    checkpoint = config.folder.fold(0).models / "last_epoch.pth"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    with pytest.raises(ConfigError, match=r"--run-id first: .* holds folds already"):
        start_folds(with_config({"validation": {"fraction": 0.2}}, "--run-id", "first"))


def test_folds_that_end_in_two_processes_at_once_are_both_joined(in_an_empty_folder):
    """Another process is joining: ours has to wait for it before it looks which are finished."""
    config = with_config({"trainer": {"report": False, "verbosity": 0}}, "--run-id", "first")
    config.args.folds, trained = "0", Event()

    def finish(run):
        fold = run["validation"]["fold"]
        run.log_dir.mkdir(parents=True)
        answers_of(run.log_dir, fold, [f"{fold}/mask1"]).rename(run.log_dir / "predictions.npz")
        (run.log_dir / "finished.json").touch()
        trained.set()

    with FileLock(config.save_dir / JOINING):
        ours = Thread(target=train_folds, args=(config, finish))
        ours.start()
        assert trained.wait(60)
        ours.join(0.5)  # time to look, for one that does not wait
        finish(config.variant({"validation.fold": 1}, "first-fold1", "test"))
    ours.join()
    assert json.loads(config.folder.folds.read_text())["trained"] == [0, 1]
    joined = read_predictions(config.log_dir / "predictions.npz")
    assert joined.photos["photo"].tolist() == ["0/mask1", "1/mask1"]
