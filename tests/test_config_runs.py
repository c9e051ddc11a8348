"""The folders of a run, and going on with it from its checkpoints."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from base.checkpoint import save_checkpoint
from parse_config import ConfigParser
from tests.config_files import error_with_config, parse, with_config, write
from utils.environment import describe_environment
from utils.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_folders_are_made_only_when_the_run_starts():
    config = with_config({}, "--run-id", "first")
    assert list(Path().iterdir()) == [Path("config.json")]
    config.start_run(describe_environment("cpu"))
    assert config.save_dir == Path("saved/models/test/first")
    assert config.log_dir.is_dir()
    assert json.loads((config.save_dir / "config.json").read_text()) == config.config
    environment = json.loads((config.save_dir / "environment.json").read_text())
    assert environment["device"] == "cpu"
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0]
    assert {"python", "command", "git", "started", "cpu", "cores"} <= environment.keys()


def test_runs_of_the_same_second_get_folders_of_their_own():
    configs = [ConfigParser({"name": "a"}) for _ in range(3)]
    for config in configs:
        config.run_id = "2026-01-01_00-00-00"
        config.start_run()
    assert [config.run_id[19:] for config in configs] == ["", "-2", "-3"]


def test_a_run_id_is_a_time_that_every_system_takes_as_a_name():
    run_id = ConfigParser({"name": "a"}).run_id
    assert ConfigParser({"name": run_id}).run_id.count("-") == 4
    assert error_with_config({}, "--run-id", "a:b").startswith("--run-id: must be a legal file")


def test_a_chosen_run_id_never_overwrites_a_run():
    with_config({}, "--run-id", "x").start_run()
    with_config({}, "--run-id", "x").start_run()  # nothing was trained there yet
    Path("saved/models/test/x/last_epoch.pth").touch()
    with pytest.raises(ConfigError, match="--run-id x: saved/models/test/x holds a run already"):
        with_config({}, "--run-id", "x").start_run()


def test_a_folder_that_cannot_be_made_is_one_line():
    write("saved", "a file")
    with pytest.raises(ConfigError, match=r"^trainer\.save_dir: saved/models/\S+ cannot be made"):
        with_config({}).start_run()


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_done():
    Path("saved").mkdir(mode=0o500)
    if os.access("saved", os.W_OK):
        pytest.skip("root may write anywhere")
    with pytest.raises(ConfigError, match=r"^trainer\.save_dir: saved cannot be written"):
        with_config({}).require_free_folders()


def test_loggers_follow_the_verbosity():
    config = ConfigParser({"name": "a"})
    assert not config.get_logger("quiet", 0).isEnabledFor(20)
    assert config.get_logger("loud", 2).isEnabledFor(10)


# Going on from a checkpoint


def start_run(values, run_id="first"):
    config = with_config({"trainer": {"epochs": 7}, **values}, "--run-id", run_id)
    config.start_run(describe_environment("cpu"))
    checkpoint = config.save_dir / "last_epoch.pth"
    save_checkpoint(checkpoint, {"state_dict": {}, "config": config.config})
    Path("config.json").unlink()
    return checkpoint


def test_a_resumed_run_goes_on_with_its_config_and_folder():
    checkpoint = start_run({"seed": 5})
    config = parse("--resume", str(checkpoint), "--set", "trainer.epochs=9")
    assert (config["seed"], config["trainer"]["epochs"]) == (5, 9)
    assert config.resume == checkpoint
    config.start_run()
    assert config.save_dir == checkpoint.parent


def test_a_run_moved_to_a_larger_disk_with_a_link_in_its_place_goes_on_there_under_its_name():
    folder = start_run({}).parent
    folder.rename("disk_of_first")
    folder.symlink_to(Path("disk_of_first").absolute())
    resumed = parse("--resume", str(folder / "last_epoch.pth"))
    assert (resumed.run_id, resumed.log_dir) == ("first", Path("saved/log/test/first"))
    resumed.start_run()
    assert not Path("saved/models/test/first-2").exists()


def test_a_resumed_run_takes_no_defaults_that_it_ran_without():
    checkpoint = start_run({"optimizer": {"type": "SGD"}})
    config = parse("--resume", str(checkpoint), "--set", "optimizer.type=Adam")
    assert (config["optimizer"]["type"], config["optimizer"]["args"]) == ("Adam", {})


def test_a_resumed_run_can_move_to_a_folder_of_its_own():
    checkpoint = start_run({})
    config = parse("--resume", str(checkpoint), "--run-id", "second")
    config.start_run()
    assert config.save_dir.name == "second"


def test_what_a_file_says_goes_over_the_checkpoint_and_the_rest_stays():
    checkpoint = start_run({"seed": 5})
    file = write("own.json", {"trainer": {"verbosity": 0}})
    config = parse("-c", file, "-r", str(checkpoint))
    assert (config["seed"], config["trainer"]["epochs"]) == (5, 7)
    assert config["trainer"]["verbosity"] == 0


def test_a_checkpoint_without_its_folder_brings_its_config_along():
    alone = start_run({"seed": 5}).rename("alone.pth")
    write("config.json", {"name": "another", "seed": 6})
    assert parse("-r", str(alone))["seed"] == 5


def test_several_checkpoints_each_bring_their_own_config():
    first, second = start_run({"seed": 1}, "one"), start_run({"seed": 2}, "two")
    parser = argparse.ArgumentParser()
    parser.add_argument("-r", "--resume", nargs="+")
    config = parse("-r", str(first), str(second), "--set", "n_gpu=0", parser=parser)
    assert config.resumes == [first, second]
    other = config.for_checkpoint(second)
    assert (config["seed"], other["seed"], other["n_gpu"]) == (1, 2, 0)


def test_resume_auto_starts_a_run_and_later_goes_on_with_it():
    write("config.json", {"name": "test"})
    assert parse("--resume", "auto", "--run-id", "first").resume is None
    checkpoint = start_run({"seed": 5})
    write("config.json", {"name": "test"})
    assert parse("--resume", "auto", "--run-id", "first").resume == checkpoint
    assert parse("--resume", "auto").resume == checkpoint
    assert parse("--resume", "auto", "--run-id", "other").resume is None


def test_of_runs_saved_in_one_second_auto_takes_the_one_with_the_later_stamp():
    write("config.json", {"name": "test"})
    stamps = ("2026-01-01_10-00-01", "2026-01-01_10-00-00", "2026-01-01_10-00-00-2")
    for stamp in stamps:
        file = Path(write(f"saved/models/test/{stamp}/last_epoch.pth", ""))
        save_checkpoint(file, {"state_dict": {}, "config": {"name": "test"}, "run_id": stamp})
        os.utime(file, (1, 1))
    assert parse("--resume", "auto").resume.parent.name == stamps[0]


# What a checkpoint of anybody may choose, and what not


def test_a_run_goes_on_where_it_lies_also_outside_the_working_folder(tmp_path_factory):
    elsewhere = str(tmp_path_factory.mktemp("large_disk"))
    checkpoint = start_run({"trainer": {"save_dir": elsewhere}})
    config = parse("-r", str(checkpoint))
    assert config["trainer"]["save_dir"] == elsewhere and config._resumes_here
    moved = checkpoint.parent.rename("moved")
    assert parse("-r", str(moved / checkpoint.name))["trainer"]["save_dir"] == "saved/"


HOLD = """
import sys, time
from parse_config import ConfigParser
config = ConfigParser({"name": "test"}, run_id="first")
config.start_run()
print("trains", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_a_second_process_is_kept_out_of_a_run_until_the_first_has_died():
    here = {"cwd": Path.cwd(), "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, **here) as first:
        assert first.stdout.readline() == b"trains\n"
        with pytest.raises(ConfigError, match="--run-id first: another process trains in"):
            with_config({}, "--run-id", "first").claim()
        first.kill()
    with_config({}, "--run-id", "first").start_run()


def test_a_resumed_run_still_says_by_which_command_it_began(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--init-from", "a.pth"])
    checkpoint = start_run({})
    monkeypatch.setattr(sys, "argv", ["train.py", "--resume", "last"])
    parse("--resume", str(checkpoint)).start_run(describe_environment("cpu"))
    environment = json.loads((checkpoint.parent / "environment.json").read_text())
    assert environment["command"] == "python train.py --init-from a.pth"
    assert environment["resumed"]["command"] == "python train.py --resume last"
