"""Whatever a user may get wrong ends in one clear line, exit code 2, and nothing half-written."""

import csv
import shutil

import pytest
import torch

SETTINGS = {
    "unknown key": ("trainer.epoch=3", "trainer.epoch", "did you mean 'epochs'"),
    "wrong type": ("trainer.epochs=many", "trainer.epochs", "an integer >= 1", "'many'"),
    "out of range": ("optimizer.args.lr=-1", "optimizer.args.lr", "> 0", "-1"),
    "loss": ("loss_name.1.0=focl", "loss_name", "'focl'", "did you mean 'focal'"),
    "loss function": ("loss=all_los", "'all_los'"),
    "class weights": ("loss_name.0.1=[1, 2]", "class weights", "'mask'", "3 numbers"),
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
    "data folder": ("data_dir=nowhere", "nowhere/train/images: no such folder", "data_dir"),
    "corrections": ('label_corrections={"path": "none.csv"}', "none.csv", "No such file"),
    "stage": ("data_loader.args.stage=eval", "data_loader.args.stage", "test.py"),
    "GPUs": ("n_gpu=99", "n_gpu: 99 asked for"),
    "run folder": ("trainer.save_dir=taken", "taken"),
    "crop folder": ("tracer.cache_dir=taken", "taken"),
}


@pytest.fixture
def train(call, tiny_config):
    return lambda *options: call("train.py", "--config", tiny_config, *options)


@pytest.fixture
def own_data(people, tmp_path):
    """Four people to train on and eight to test on, to be spoilt."""
    for folder in sorted((people / "train" / "images").iterdir())[:4]:
        shutil.copytree(folder, tmp_path / "data" / "train" / "images" / folder.name)
    shutil.copytree(people / "eval", tmp_path / "data" / "eval")
    return tmp_path / "data"


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
    "decoding file": ("decoding=none.json", "none.json", "not a decoding file"),
    "run id": ("name=tiny", "--run-id r", "holds a run already"),
    "folder": ("trainer.save_dir=tiny.txt", "trainer.save_dir", "tiny.txt is a file"),
    "part to freeze": ('trainer.freeze=["layer9"]', "trainer.freeze", "'layer9'"),
    "resume": ("--resume=none.pth", "none.pth", "no such checkpoint"),
}


@pytest.mark.parametrize("what", BEFORE_PHOTOS)
def test_what_can_be_known_at_once_is_said_before_a_photo_is_read(
    train, own_data, tmp_path, assert_one_line_error, what
):
    setting, *words = BEFORE_PHOTOS[what]
    first_photo(own_data).write_bytes(b"broken")
    (tmp_path / "tiny.txt").touch()
    if what == "run id":
        (tmp_path / "saved/models/tiny/r").mkdir(parents=True)
        (tmp_path / "saved/models/tiny/r/last_epoch.pth").touch()
    options = ["--set", f"data_dir={own_data}", "--run-id", "r", "--set", "tracer.cache_dir=crops"]
    options += [setting] if setting.startswith("--") else ["--set", setting]
    assert_one_line_error(train(*options), *words)
    assert not (tmp_path / "crops").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("trainer.monitor=max val/f2", ("trainer.monitor", "'val/f2'")),
        ("data_dir=nowhere", ("nowhere/train/images: no such folder",)),
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


def first_photo(data):
    return sorted((data / "train" / "images").iterdir())[0] / "mask1.jpg"


SPOILT_TRAINING = {
    "no images folder": (lambda data: shutil.rmtree(data / "train"), "train/images: no such"),
    "no people": (
        lambda data: [shutil.rmtree(f) for f in (data / "train" / "images").iterdir()],
        "no images",
    ),
    "one person": (
        lambda data: [shutil.rmtree(f) for f in sorted((data / "train/images").iterdir())[1:]],
        "1 person cannot be split",
    ),
    "folder name": (
        lambda data: first_photo(data).parent.rename(data / "train" / "images" / "family"),
        "unexpected: family",
    ),
    "file name": (
        lambda data: first_photo(data).rename(first_photo(data).with_name("holiday.jpg")),
        "unknown mask: ",
        "/holiday.jpg ('holiday'); use mask1",
    ),
    "truncated photo": (
        lambda data: first_photo(data).write_bytes(first_photo(data).read_bytes()[:4000]),
        "mask1.jpg: broken image",
    ),
    "empty photo": (
        lambda data: first_photo(data).write_bytes(b""),
        "mask1.jpg: the file is empty",
    ),
    "no photo": (
        lambda data: first_photo(data).write_text("hello"),
        "mask1.jpg: not an image",
    ),
}


@pytest.mark.parametrize("what", SPOILT_TRAINING)
def test_spoilt_training_data(train, own_data, tmp_path, assert_one_line_error, what):
    spoil, *words = SPOILT_TRAINING[what]
    spoil(own_data)
    crops = tmp_path / "crops"
    result = train("--set", f"data_dir={own_data}", "--set", f"tracer.cache_dir={crops}")
    assert_one_line_error(result, *words)
    assert not (tmp_path / "saved").exists()


def with_rows(*more):
    """Change the rows of info.csv: what is added is a row, or a function of the first row."""

    def spoil(data):
        table = data / "eval" / "info.csv"
        header, *rows = table.read_text().splitlines()
        added = [row(rows[0]) if callable(row) else row for row in more]
        table.write_text("\n".join([header, *rows, *added]) + "\n")

    return spoil


SPOILT_EVAL = {
    "no table": (lambda data: (data / "eval" / "info.csv").unlink(), "info.csv", "--images"),
    "no ImageID": (
        lambda data: (data / "eval" / "info.csv").write_text("Image,ans\na.jpg,0\n"),
        "info.csv: no column 'ImageID'",
        "did you mean 'Image'",
    ),
    "empty table": (
        lambda data: (data / "eval" / "info.csv").write_text("ImageID,ans\n"),
        "info.csv: no rows",
    ),
    "a photo twice": (with_rows(lambda first: first), "info.csv: lines 2 and 58 both list"),
    "a missing photo": (with_rows("none.jpg,0"), "info.csv", "none.jpg"),
    "an unreadable photo": (
        lambda data: next((data / "eval" / "images").iterdir()).write_bytes(b"GIF89a"),
        "not an image",
    ),
}


@pytest.mark.parametrize("what", SPOILT_EVAL)
def test_spoilt_eval_data(call, trained, own_data, tmp_path, assert_one_line_error, what):
    spoil, *words = SPOILT_EVAL[what]
    spoil(own_data)
    crops = tmp_path / "crops"
    result = call(
        "test.py", "-r", trained.best, "--set", f"data_dir={own_data}",
        "--set", f"tracer.cache_dir={crops}",
    )  # fmt: skip
    assert_one_line_error(result, *words)
    assert not (tmp_path / "submit").exists()


def test_answers_of_other_photos(call, trained, people, tmp_path, assert_one_line_error):
    with open(people / "eval" / "answers.csv", newline="") as file:
        rows = list(csv.reader(file))
    cases = {
        "missing.csv": (rows[:-1], f"no answer for: {rows[-1][0]}"),
        "more.csv": ([*rows, ["none.jpg", "0"]], "not predicted: none.jpg"),
        "class.csv": ([*rows[:-1], [rows[-1][0], "18"]], "line 57: ans '18' is not a class"),
    }
    for name, (table, words) in cases.items():
        with open(tmp_path / name, "w", newline="") as file:
            csv.writer(file).writerows(table)
        result = call("test.py", "-r", trained.best, "--answers", name)
        assert_one_line_error(result, name, words)
    assert not (tmp_path / "submit").exists()


class Bomb:
    def __reduce__(self):
        return open, ("it_ran", "w")


class TestCheckpoints:
    @pytest.fixture
    def alone(self, trained, tmp_path):
        """A copy of a good checkpoint, in a folder of its own."""
        folder = tmp_path / "alone"
        folder.mkdir()
        return shutil.copy(trained.best, folder / "model.pth")

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

    def test_one_of_another_architecture(self, call, trained, tmp_path, assert_one_line_error):
        result = call("test.py", "-r", trained.best, "--arch", "test_vit")
        words = ("best_epoch.pth", "another architecture", "TimmModelMulti test_resnet")
        assert_one_line_error(result, *words)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (("--arch", "test_vit"), "another architecture"),
            (
                ("--model", "TimmModel", "--set", 'loss_name=[["ce_loss", null, 1]]'),
                "another architecture",  # one head of 18 classes: another label scheme
            ),
            (("--set", "optimizer.type=SGD"), "optimizer or scheduler is not the configured one"),
        ],
    )
    def test_one_of_another_run_to_go_on_from_leaves_that_run_as_it_is(
        self, call, trained, alone, tmp_path, assert_one_line_error, change, words
    ):
        # The crops are made before the weights are compared; a checkpoint doesn't say where.
        change = (*change, "--set", f"tracer.cache_dir={trained.config.parent / 'crops'}")
        assert_one_line_error(call("train.py", "-r", alone, *change), "model.pth", words)
        assert [path.name for path in tmp_path.iterdir()] == ["alone"]
        before = (trained.models / "config.json").read_bytes()
        assert_one_line_error(call("train.py", "-r", trained.best, *change), words)
        assert (trained.models / "config.json").read_bytes() == before


@pytest.mark.parametrize("out", ["folder", "file/s.csv"])
def test_an_output_that_cannot_be_written(call, trained, tmp_path, assert_one_line_error, out):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    result = call("test.py", "-r", trained.best, "--out", out)
    assert_one_line_error(result, out, "cannot be written", "--out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_of_no_photos(call, trained, tmp_path, assert_one_line_error):
    (tmp_path / "empty").mkdir()
    for folder, words in (("empty", "no images"), ("none", "no such folder")):
        result = call("test.py", "-r", trained.best, "--images", folder)
        assert_one_line_error(result, folder, words)


def test_the_real_command_says_one_line_and_with_debug_the_traceback_too(
    run, tiny_config, tmp_path, assert_one_line_error
):
    command = ("train.py", "-c", tiny_config, "--set", "data_dir=nowhere")
    plain = run(*command, cwd=tmp_path)
    assert_one_line_error(plain, "nowhere/train/images")
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
