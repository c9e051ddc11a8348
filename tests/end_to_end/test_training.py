"""``python train.py`` from outside: what it leaves, repeats, goes on with, and says."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.runs import files_under, read_rows, trains
from utils.config_files import read_json5

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def train_faces(call, tiny_config):
    """The same on the people."""
    return trains(call, tiny_config)


class TestWhatARunLeaves:
    def test_checkpoints_config_environment_and_split(self, trained):
        assert files_under(trained.models) >= {
            "best_epoch.pth",
            "last_epoch.pth",
            "config.json",
            "environment.json",
            "split.csv",
        }

    def test_log_metrics_and_pictures(self, trained):
        assert files_under(trained.log) >= {
            "run.log",
            "metrics.csv",
            "learning_curves.png",
            "validation.confusion.png",
            "validation.mistakes.png",
            "finished.json",
        }

    def test_nothing_lies_about_outside_of_saved(self, trained):
        names = {path.name for path in trained.home.iterdir()}
        assert names - {"submit"} == {"saved"}  # other tests predict with this run

    def test_the_config_is_whole_and_trains_the_same_again(self, trained, call):
        config = json.loads((trained.models / "config.json").read_text())
        printed = call("train.py", "-c", trained.models / "config.json", "--print-config")
        assert json.loads(printed.stdout) == config
        assert config["trainer"]["epochs"] == 2 and "augmentation" in config

    def test_the_environment_says_what_it_ran_on(self, trained):
        environment = json.loads((trained.models / "environment.json").read_text())
        assert environment["device"] == "cpu"
        assert environment["packages"]["torch"] == torch.__version__.partition("+")[0] or (
            environment["packages"]["torch"] == torch.__version__
        )
        assert {"git", "python", "started"} <= environment.keys()
        assert "train.py" in environment["command"]

    def test_the_split_names_everyone_once_on_one_side(self, trained, people):
        rows = read_rows(trained.models / "split.csv")
        folders = {path.name for path in (people / "train" / "images").iterdir()}
        assert sorted(row["folder"] for row in rows) == sorted(folders)
        assert {row["part"] for row in rows} == {"train", "val"}

    def test_metrics_are_a_row_an_epoch(self, trained):
        rows = read_rows(trained.log / "metrics.csv")
        assert [row["epoch"] for row in rows] == ["1", "2"]
        for part in ("train", "val"):
            for name in ("loss", "accuracy", "f1", "mask_accuracy", "gender_f1", "age_loss"):
                assert 0 <= float(rows[0][f"{part}/{name}"]) < 100

    def test_finished_says_which_epoch_was_best(self, trained):
        rows = read_rows(trained.log / "metrics.csv")
        finished = json.loads((trained.log / "finished.json").read_text())
        best = max(rows, key=lambda row: (float(row["val/f1"]), -int(row["epoch"])))
        assert finished["epochs"] == 2
        assert finished["best"]["epoch"] == int(best["epoch"])

    def test_checkpoints_are_plain_data_with_the_config_in_them(self, trained):
        state = torch.load(trained.best, map_location="cpu", weights_only=True)
        assert state["config"] == json.loads((trained.models / "config.json").read_text())
        assert state["run_id"] == "first"

    def test_the_console_says_what_happens_and_where_things_lie(self, trained):
        said = trained.result.stdout
        assert "training on 98 photos of 14 people, validating on 14 photos of 2 others" in said
        assert "epoch 2/2" in said
        assert "saved/models/tiny/first/best_epoch.pth" in said
        assert trained.result.stderr == ""


def test_the_same_seed_gives_the_same_run_where_no_logging_service_is_installed(
    trained, run, tmp_path
):
    code = (
        "import runpy, sys\n"
        "sys.modules |= {'wandb': None, 'tensorboard': None}\n"
        f"sys.path.insert(0, {str(ROOT)!r}); sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    again = run("-c", code, "train.py", "-c", trained.config, "--run-id", "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    repeated = tmp_path / "saved" / "log" / "tiny" / "again" / "metrics.csv"
    assert repeated.read_bytes() == (trained.log / "metrics.csv").read_bytes()


def test_another_seed_gives_another_run(train, tmp_path):
    train("one")
    train("other", "--set", "seed=7")
    rows = [
        read_rows(tmp_path / f"saved/log/shapes/{run}/metrics.csv")[0] for run in ("one", "other")
    ]
    assert rows[0]["train/loss"] != rows[1]["train/loss"]


@pytest.fixture
def preset(call, people, tmp_path):
    """``preset(name, …)``: the rows of ``metrics.csv`` of a debug preset, over its own base or
    over other keys."""

    def _preset(name, **keys):
        file = ROOT / "configs/debug" / name
        if keys:
            file = tmp_path / name
            file.write_text(json.dumps(read_json5(ROOT / "configs/debug" / name) | keys))
        ran = call(
            "train.py", "-c", file, "--arch", "test_resnet", "--bs", "16", "--run-id", "d",
            "--set", f"data_dir={people}", "--set", "tracer.weights=null", "--set", "n_gpu=0",
            "--set", "data_loader.args.input_size=32", "--set", "arch.args.pretrained=false",
            "--set", "trainer.report=false", "--set", "explain=false",
            "--lr", "0.003",  # our recipe's is for a network that knows much already
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return read_rows(tmp_path / "saved/log/debug/d/metrics.csv")

    return _preset


# Its own base, and our recipe: averages, mixing, soft labels and so on must not blunt it.
@pytest.mark.parametrize("keys", [{}, {"_base_": str(ROOT / "config.json")}])
def test_the_overfit_preset_learns_its_batch_by_heart(preset, keys):
    rows = preset("overfit_batch.json", **keys)
    assert float(rows[-1]["val/accuracy"]) == 1.0


def test_the_short_presets_run_as_long_as_they_say_and_learn_all_weights(preset, tmp_path):
    assert len(preset("fast_dev_run.json")) == 1
    shutil.rmtree(tmp_path / "saved/models")
    rows = preset("limited_batches.json")
    assert len(rows) == 3
    assert float(rows[-1]["train/loss"]) < float(rows[0]["train/loss"])


def test_the_profile_preset_leaves_a_trace_of_whole_steps(preset, tmp_path):
    preset("profile.json")
    assert (tmp_path / "saved/log/debug/d/profile/trace.json").stat().st_size > 0


def test_a_profile_is_a_trace_and_one_screen_that_names_the_parts_of_a_step(train, tmp_path):
    said = train("p", "--set", "trainer.profile_steps=3")
    folder = tmp_path / "saved/log/shapes/p/profile"
    names = {event.get("name") for event in json.loads((folder / "trace.json").read_text())
             ["traceEvents"]}  # fmt: skip
    summary = (folder / "profile.txt").read_text()
    assert summary.startswith("3 steps on cpu; milliseconds a step")
    assert len(summary.splitlines()) < 40
    for part in ("data wait", "host-to-device", "forward", "backward", "optimizer"):
        assert f"  {part} " in summary and f"  {part} " in said
        assert part in names or part == "host-to-device"  # which the CPU has no use for


class TestOptions:
    def test_printing_the_config_starts_no_run(self, call, shapes_config, tmp_path):
        printed = call("train.py", "-c", shapes_config, "--set", "seed=5", "--print-config")
        assert printed.returncode == 0
        assert json.loads(printed.stdout)["seed"] == 5
        assert list(tmp_path.iterdir()) == [shapes_config]

    def test_an_option_without_effect_or_with_another_is_said(self, train_faces):
        options = ("visualize=true", "tracer.margin=0.2", "trainer.accumulate=2")
        said = train_faces("v", *(f"--set={option}" for option in options))
        assert "warning: trainer.accumulate: the loss of mask, gender, age weighs photos by" in said
        assert "warning: visualize: no effect, since wandb and trainer.tensorboard are off" in said
        assert "warning: tracer.margin: no effect, since tracer.weights is null" in said

    def test_the_recipe_of_the_original_runs(self, call, people, tmp_path):
        result = call(
            "train.py", "--config", ROOT / "configs/seed.json", "--set", f"data_dir={people}",
            "--set", "arch.args.pretrained=false", "--set", "wandb=false",
            "--set", "trainer.epochs=1", "--arch", "test_resnet",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert len(list((tmp_path / "saved/models/Mask_Base").glob("*/best_epoch.pth"))) == 1

    def test_training_stops_after_exactly_the_patience(self, train, tmp_path):
        train("early", "--set", "trainer.epochs=9", "--set", "trainer.early_stop=2",
              "--lr", "1e-12")  # fmt: skip
        assert len(read_rows(tmp_path / "saved/log/shapes/early/metrics.csv")) == 3

    @pytest.mark.parametrize("monitor", ["off", "max val/top_k_acc"])
    def test_any_score_may_choose_the_best_epoch(self, train, tmp_path, monitor):
        train("m", "--set", f"trainer.monitor={monitor}", "--set", 'metrics=["top_k_acc"]')
        assert (tmp_path / "saved/models/shapes/m/best_epoch.pth").is_file()
        assert "val/top_k_acc" in read_rows(tmp_path / "saved/log/shapes/m/metrics.csv")[0]

    def test_corrected_labels_are_reported_and_dropped_people_are_not_trained_on(
        self, train_faces, tmp_path
    ):
        table = tmp_path / "fixes.csv"
        table.write_text("key,field,value,tier\n000001,drop,,sure\n000002/normal,mask,wear,sure\n")
        said = train_faces("fixed", "--set", f'label_corrections={{"path": "{table}"}}')
        assert "2 label corrections applied (1 photos relabeled, 7 left out)" in said
        split = (tmp_path / "saved/models/tiny/fixed/split.csv").read_text()
        assert "000001" not in split and "000002" in split

    def test_every_loss_takes_its_place_in_a_triple(self, train_faces):
        losses = [
            [{"type": "focal", "args": {"gamma": 1}}, None, 1],
            ["label_smoothing", [1, 2], 0.5],
            ["ArcFaceLoss", None, 1],
        ]
        train_faces("l", "--set", f"loss_name={json.dumps(losses)}")


ONE_HEAD = (
    "--set", 'task.answer={"product": ["kind", "colour"]}', 'loss_name=[["ce_loss", null, 1]]',
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "backbone", "options"),
    [
        ("TimmModel", "test_resnet", ONE_HEAD),
        ("TorchVisionModel", "shufflenet_v2_x0_5", ()),
    ],
)
def test_the_other_models_train_and_predict_by_the_same_commands(
    train, call, tmp_path, model, backbone, options
):
    arch = {"type": model, "args": {"model_name": backbone, "pretrained": False}}
    train("other", "--set", f"arch={json.dumps(arch)}", *options)

    predicted = call("test.py", "-r", tmp_path / "saved/models/shapes/other/best_epoch.pth")

    assert predicted.returncode == 0, predicted.stderr
    assert len(read_rows(tmp_path / "submit/shapes_other.csv")) == 30


def test_tensorboard_and_wandb_record_the_run_without_asking_anything(
    train_faces, tmp_path, monkeypatch, eventually
):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "stdin", None)  # whoever asks a question fails

    said = train_faces(
        "seen", "--set", "wandb=true", "--set", "trainer.tensorboard=true",
        "--set", "visualize=true",
    )  # fmt: skip

    log = tmp_path / "saved/log/tiny/seen"
    folder = tmp_path / said.split("wandb sync ")[1].splitlines()[0]
    assert eventually(lambda: b"val/f1" in (folder / "run-seen.wandb").read_bytes())
    assert list(folder.glob("files/media/images/learning_curves*.png"))
    assert list(folder.glob("files/media/table/validation.predictions*.json"))
    events = EventAccumulator(str(log), size_guidance={"images": 0}).Reload()
    recorded = [float(row["val/loss"]) for row in read_rows(log / "metrics.csv")]
    assert [event.value for event in events.Scalars("val/loss")] == pytest.approx(recorded)
    shown = set(events.Tags()["images"])
    matrices = {f"validation.confusion.{head}" for head in ("mask", "gender", "age")}
    assert {"learning_curves", "validation.confusion", "augmentation"} | matrices <= shown
    assert {"validation.predictions/01_photo", "validation.predictions/01_crop"} <= shown
    texts = {name.removesuffix("/text_summary") for name in events.Tags()["tensors"]}
    assert texts == {"config", "environment", "augmentation_pipeline", "validation.predictions"}
    assert (log / "timings.csv").exists()


@pytest.mark.parametrize("command", ["train.py", "test.py"])
def test_help_comes_without_waiting_for_torch(run, command, tmp_path):
    shown = run("-X", "importtime", command, "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "--set KEY=VALUE" in shown.stdout
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "argparse" in imported and not imported & {"torch", "timm", "cv2", "pandas"}
