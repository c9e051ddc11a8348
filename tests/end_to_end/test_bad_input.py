"""Whatever a user may get wrong ends in one clear line, exit code 2, and nothing half-written."""

import shutil

import pytest
import torch

SETTINGS = {
    "unknown key": ("trainer.epoch=3", "trainer.epoch", "did you mean 'epochs'"),
    "wrong type": ("trainer.epochs=many", "trainer.epochs", "an integer >= 1", "'many'"),
    "out of range": ("optimizer.args.lr=-1", "optimizer.args.lr", "> 0", "-1"),
    "loss": ("loss_name.1.0=focl", "loss_name", "'focl'", "did you mean 'focal'"),
    "loss function": ("loss=all_los", "'all_los'"),
    "class weights": ("loss_name.0.1=[1, 2]", "class weights", "'kind'", "3 numbers"),
    "metric": ('metrics=["f2"]', "'f2'", "did you mean 'f1'"),
    "monitor": ("trainer.monitor=max val/f2", "trainer.monitor", "did you mean 'val/f1'"),
    "optimizer": ("optimizer.type=Adm", "optimizer.type", "'Adm'", "did you mean 'Adam'"),
    "argument": ("optimizer.args.lrr=1", "optimizer.args.lrr", "did you mean 'lr'"),
    "argument's value": (
        "optimizer.args.betas=[2, 3]",
        "optimizer.args",
        "invalid arguments for Adam",
    ),
    "scheduler": ('lr_scheduler={"type": "StepL"}', "'StepL'", "did you mean 'StepLR'"),
    "schedule's value": (
        'lr_scheduler={"type": "StepLR", "args": {"step_size": "a"}}',
        "lr_scheduler",
        "StepLR does not go on after epoch 1",
    ),
    "missing argument": ('lr_scheduler={"type": "StepLR"}', "step_size", "missing"),
    "backbone": ("arch.args.model_name=test_resnt", "'test_resnt'", "did you mean 'test_resnet'"),
    "model": ("arch.type=TimModel", "'TimModel'", "did you mean 'TimmModel'"),
    "weights file": ("arch.args.checkpoint_path=none.pth", "none.pth", "no such weights file"),
    "no network": (
        "arch.args.pretrained=true",
        "'test_resnet'",
        "arch.args.pretrained=false",
        "arch.args.checkpoint_path=FILE",
    ),
    "TRACER file": ("tracer.weights=./none.pth", "none.pth", "te1"),
    "data folder": ("data_dir=nowhere", "nowhere/train.csv: no such file", "data_dir"),
    "corrections": ('label_corrections={"path": "none.csv"}', "none.csv", "No such file"),
    "stage": ("data_loader.args.stage=eval", "data_loader.args.stage", "test.py"),
    "GPUs": ("n_gpu=99", "n_gpu: 99 asked for"),
    "run folder": ("trainer.save_dir=taken", "taken"),
    "crop folder": ("tracer.cache_dir=taken", "taken"),
}


@pytest.fixture
def train(call, product_config):
    return lambda *options: call("train.py", "--config", product_config, *options)


@pytest.mark.parametrize("what", SETTINGS)
def test_a_wrong_setting(train, tmp_path, assert_one_line_error, what):
    setting, *words = SETTINGS[what]
    (tmp_path / "taken").write_text("a file where a folder should be")
    assert_one_line_error(train("--set", setting), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--lr", "fast"), ("--lr", "a number > 0", "'fast'")),
        (("--device", "cuda:99"), ("'cuda:99'", "CUDA GPU")),
        (("-d", "99"), ("'cuda:99'", "CUDA GPU")),
        (("--run-id", "a/b"), ("--run-id", "legal file name")),
        (("--resume", "none.pth"), ("none.pth", "no such checkpoint")),
        (("--init-from", "none.pth"), ("none.pth", "no such checkpoint")),
        (("--set", "trainer.epochs"), ("--set trainer.epochs", "KEY=VALUE")),
    ],
)
def test_a_wrong_option(train, tmp_path, assert_one_line_error, option, words):
    assert_one_line_error(train(*option), *words)
    assert list(tmp_path.iterdir()) == []


BEFORE_PHOTOS = {
    "loss": ("loss_name.0.0=focl", "loss_name[0]", "'focl'"),
    "class weights": ("loss_name.0.1=[1, 2]", "loss_name[0]", "3 numbers"),
    "optimizer": ("optimizer.args.betas=[2, 3]", "optimizer.args: invalid arguments for Adam"),
    "schedule": (
        'lr_scheduler={"type": "StepLR", "args": {"step_size": 50}}',
        "StepLR never changes the learning rate in 2 epochs",
    ),
    "plateau by step": (
        'lr_scheduler={"type": "ReduceLROnPlateau", "every": "step"}',
        "lr_scheduler.every: ReduceLROnPlateau",
    ),
    "warm-up by steps": (
        'lr_scheduler={"type": "CosineAnnealingLR", "args": {"T_max": "all"}, "every": "step",'
        ' "warmup_epochs": 90}',
        "lr_scheduler.warmup_epochs: takes all",
    ),
    "decoding file": ("decoding=none.json", "none.json", "not a decoding file"),
    "run id": ("name=shapes", "--run-id r", "holds a run already"),
    "folder": ("trainer.save_dir=taken.txt", "trainer.save_dir", "taken.txt is a file"),
    "part to freeze": ('trainer.freeze=["layer9"]', "trainer.freeze", "'layer9'"),
    "resume": ("--resume=none.pth", "none.pth", "no such checkpoint"),
}


@pytest.mark.parametrize("what", BEFORE_PHOTOS)
def test_what_can_be_known_at_once_is_said_before_a_photo_is_read(
    train, shapes, tmp_path, assert_one_line_error, what
):
    setting, *words = BEFORE_PHOTOS[what]
    shutil.copytree(shapes, tmp_path / "data")
    (tmp_path / "data/train/circle/0000.png").write_bytes(b"broken")
    (tmp_path / "taken.txt").touch()
    if what == "run id":
        (tmp_path / "saved/models/shapes/r").mkdir(parents=True)
        (tmp_path / "saved/models/shapes/r/last_epoch.pth").touch()
    options = ["--set", "data_dir=data", "--run-id", "r", "--set", "tracer.cache_dir=crops"]
    options += [setting] if setting.startswith("--") else ["--set", setting]
    assert_one_line_error(train(*options), *words)
    assert not (tmp_path / "crops").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("trainer.monitor=max val/f2", ("trainer.monitor", "'val/f2'")),
        ("data_dir=nowhere", ("nowhere/train.csv: no such file",)),
    ],
)
def test_a_monitor_and_a_missing_data_folder_are_said_before_weights_are_asked_for(
    train, assert_one_line_error, setting, words
):
    unreachable = ("--set", "arch.args.checkpoint_path=none.pth", "--set", "tracer.weights=no.pth")
    assert_one_line_error(train(*unreachable, "--set", setting), *words)


def test_batch_norm_over_one_value_names_both_ways_out(train, assert_one_line_error):
    result = train("--bs", "1", "--set", "data_loader.args.input_size=32")
    assert_one_line_error(result, "data_loader.args.batch_size", "input_size", "batch of 1")


class TestConfigFile:
    def test_a_missing_one(self, run, tmp_path, assert_one_line_error):
        result = run("train.py", "--config", "none.json", cwd=tmp_path)
        assert_one_line_error(result, "none.json", "no such file")
        assert result.stderr.count("\n") == 1
        assert list(tmp_path.iterdir()) == []

    def test_a_syntax_error_is_given_by_line_and_column(
        self, call, tmp_path, assert_one_line_error
    ):
        (tmp_path / "broken.json").write_text('{\n  "name": "x",\n  "seed" 5\n}\n')
        result = call("train.py", "-c", "broken.json")
        assert_one_line_error(result, "broken.json:3:", "line 3, column")

    def test_all_errors_are_told_at_once(self, call, tmp_path):
        (tmp_path / "wrong.json").write_text('{"name": "x", "sed": 5, "trainer": {"epochs": 0}}')
        result = call("train.py", "-c", "wrong.json")
        assert result.returncode == 2
        assert "2 errors" in result.stderr
        assert "sed: unknown key" in result.stderr and "trainer.epochs: must be" in result.stderr


class Bomb:
    def __reduce__(self):
        return open, ("it_ran", "w")


class TestCheckpoints:
    @pytest.fixture
    def alone(self, trained_shapes, tmp_path):
        """A copy of a good checkpoint, in a folder of its own."""
        folder = tmp_path / "alone"
        folder.mkdir()
        return shutil.copy(trained_shapes.best, folder / "model.pth")

    @pytest.mark.parametrize("command", ["train.py", "test.py"])
    def test_one_that_is_none(self, call, tmp_path, assert_one_line_error, command):
        (tmp_path / "photo.pth").write_bytes(b"\xff\xd8\xff\xe0 this is a photo")
        torch.save({"weights": torch.ones(2)}, tmp_path / "other.pth")
        for name in ("photo.pth", "other.pth"):
            assert_one_line_error(call(command, "--resume", name), name, "not a checkpoint")
        assert len(list(tmp_path.iterdir())) == 2

    @pytest.mark.parametrize("command", ["train.py", "test.py"])
    def test_a_truncated_one(self, call, alone, tmp_path, assert_one_line_error, command):
        alone.write_bytes(alone.read_bytes()[:-5000])
        assert_one_line_error(call(command, "--resume", alone), "model.pth", "cut short")
        assert [path.name for path in tmp_path.iterdir()] == ["alone"]

    @pytest.mark.parametrize("command", ["train.py", "test.py"])
    def test_one_with_code_in_it_is_refused_and_the_code_not_run(
        self, call, tmp_path, assert_one_line_error, command
    ):
        torch.save({"state_dict": {}, "config": Bomb(), "format": 1}, tmp_path / "bomb.pth")
        assert_one_line_error(call(command, "--resume", "bomb.pth"), "bomb.pth", "code could run")
        assert [path.name for path in tmp_path.iterdir()] == ["bomb.pth"]

    def test_one_of_another_architecture(
        self, call, trained_shapes, tmp_path, assert_one_line_error
    ):
        result = call("test.py", "-r", trained_shapes.best, "--arch", "test_vit")
        words = ("best_epoch.pth", "another architecture", "TimmModelMulti test_resnet")
        assert_one_line_error(result, *words)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (("--arch", "test_vit"), "another architecture"),
            (
                ("--model", "TimmModel", "--set", 'loss_name=[["ce_loss", null, 1]]'),
                "another architecture",  # one head of all classes: another label scheme
            ),
            (("--set", "optimizer.type=SGD"), "its optimizer is not the configured one"),
        ],
    )
    def test_one_of_another_run_to_go_on_from_leaves_that_run_as_it_is_and_crops_nothing(
        self, call, trained_shapes, alone, tmp_path, assert_one_line_error, change, words
    ):
        assert_one_line_error(call("train.py", "-r", alone, *change), "model.pth", words)
        assert [path.name for path in tmp_path.iterdir()] == ["alone"]
        before = (trained_shapes.models / "config.json").read_bytes()
        assert_one_line_error(call("train.py", "-r", trained_shapes.best, *change), words)
        assert (trained_shapes.models / "config.json").read_bytes() == before


@pytest.mark.parametrize("out", ["folder", "file/s.csv"])
def test_an_output_that_cannot_be_written(
    call, trained_shapes, tmp_path, assert_one_line_error, out
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    result = call("test.py", "-r", trained_shapes.best, "--out", out)
    assert_one_line_error(result, out, "cannot be written", "--out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_the_real_command_says_one_line_and_with_debug_the_traceback_too(
    run, product_config, tmp_path, assert_one_line_error
):
    command = ("train.py", "-c", product_config, "--set", "data_dir=nowhere")
    plain = run(*command, cwd=tmp_path)
    assert_one_line_error(plain, "nowhere/train.csv")
    assert plain.stderr.count("\n") == 1
    debug = run(*command, "--debug", cwd=tmp_path)
    assert debug.returncode == 2
    assert debug.stderr.startswith("Traceback") and debug.stderr.endswith(plain.stderr)
    assert list(tmp_path.iterdir()) == []


def test_released_tracer_weights_without_network_name_three_ways_out(
    train, tmp_path, monkeypatch, assert_one_line_error
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    result = train("--set", "tracer.weights=te1")
    assert_one_line_error(result, "'te1'", "by hand to", "'sample'", "null")
    assert not list(tmp_path.rglob("*.pth"))
