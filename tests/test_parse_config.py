import argparse
import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import torch

from base.task import Task, build
from config_schema import REMOVED, Config
from parse_config import ConfigParser
from tests.config_files import error_of, error_with_config, parse, with_config, write
from utils.cli import LONGEST, one_line
from utils.errors import ConfigError
from utils.schema_text import keys

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")
PROJECT = Path(__file__).resolve().parent.parent


# Reading


def test_a_name_alone_is_a_whole_config():
    config = ConfigParser({"name": "first"})
    assert config["trainer"]["monitor"] == "max val/f1"
    assert config["arch"]["args"] == {"model_name": "efficientnetv2_rw_s", "pretrained": True}


def test_another_type_than_the_default_gets_no_arguments_of_the_default():
    values = {"optimizer": {"type": "SGD"}, "arch": {"type": "MyNet", "args": {"width": 3}}}
    config = ConfigParser({"name": "a", **values})
    assert config["optimizer"]["args"] == {}
    assert config["arch"]["args"] == {"width": 3}


# Errors in files


def test_no_config_at_all_says_what_is_needed():
    assert error_of() == "config.json: no such file; give the path of a .json file"


# Errors in values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trainer": {"epoch": 50}},
         "trainer.epoch: unknown key (value 50); did you mean 'epochs' or 'report'?"),
        ({"epochs": 50}, "epochs: unknown key (value 50); did you mean 'trainer.epochs'?"),
        ({"trainer": {"epochs": "ten"}}, "trainer.epochs: must be an integer >= 1, got 'ten'"),
        ({"trainer": {"epochs": "10"}}, "trainer.epochs: must be an integer >= 1, got '10'"),
        ({"trainer": {"epochs": 0}}, "trainer.epochs: must be an integer >= 1, got 0"),
        ({"trainer": {"epochs": True}}, "trainer.epochs: must be an integer >= 1, got true"),
        ({"trainer": {"epochs": 2.5}}, "trainer.epochs: must be an integer >= 1, got 2.5"),
        ({"trainer": 5}, "trainer: must be an object {…}, got 5"),
        ({"trainer": {"monitor": "best f1"}},
         "trainer.monitor: must be 'off', 'min METRIC' or 'max METRIC' or null, got 'best f1'"),
        ({"visualize": 1}, "visualize: must be true or false, got 1"),
        ({"data_loader": {"args": {"input_size": 5000}}},
         "data_loader.args.input_size: must be an integer from 32 to 1024, got 5000"),
        ({"optimizer": {"args": {"lr": float("inf")}}},
         "optimizer.args.lr: must be a number > 0, got Infinity"),
        ({"lr_scheduler": {"args": {}}}, "lr_scheduler.type: missing; must be a string"),
        ({"tracer": {"weights": "te9"}},
         "tracer.weights: must be 'te0' … 'te7', 'sample', a path or null, got 'te9'"),
        ({"tracer": {"background": "white"}},
         "tracer.background: must be 'black' or 'keep', got 'white'"),
        ({"wandb": {"projct": "x"}},
         "wandb.projct: unknown key (value 'x'); did you mean 'project'?"),
        ({"wandb": "on"}, "wandb: must be true or false or an object {…}, got 'on'"),
        ({"loss_name": [["focal", None, 1], ["focal", "even", 1], ["focal", None, 1]]},
         "loss_name.1.1: must be null, 'balanced', 'effective', 'effective:BETA' or a list of"
         " numbers >= 0, one per class, got 'even'"),
        ({"mixing": {"mixup": 0.6, "cutmix": 0.6}},
         "mixing: mixup, cutmix and half_face add up to more than 1"),
        ({"labels": {"age_edges": [20, 30, 30, 50, 60]}},
         "labels.age_edges: must be five rising ages in whole years from 0 to 120 or null,"
         " got [20, 30, 30, 50, 60]"),
        ({"labels": {"age_edges": [30, 60]}},
         "labels.age_edges: must be five rising ages in whole years from 0 to 120 or null,"
         " got [30, 60]"),
        ({"labels": {"drop_ages": [59, 57]}},
         "labels.drop_ages: must be two ages in whole years, first and last or null,"
         " got [59, 57]"),
        ({"loss_name": [["focal", None, 1], ["focal", [1, "a"], 1], ["focal", None, 1]]},
         "loss_name.1.1.1: must be a number >= 0, got 'a'"),
        ({"name": "a/b"},
         'name: must be a legal file name (at most 100 bytes in UTF-8, no / \\ : * ? " < > |),'
         " got 'a/b'"),
        ({"name": "con"},
         'name: must be a legal file name (at most 100 bytes in UTF-8, no / \\ : * ? " < > |),'
         " got 'con'"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line_with_key_value_and_what_is_allowed(values, message):
    assert error_with_config(values) == "config.json: " + message


def test_all_errors_are_shown_at_once():
    lines = error_with_config({"trainer": {"epoch": 1, "verbosity": 7}, "seed": "x"}).split("\n  ")
    assert lines == [
        "config.json: 3 errors",
        "config.json: seed: must be an integer from 0 to 4294967295, got 'x'",
        "config.json: trainer.verbosity: must be an integer from 0 to 2, got 7",
        "config.json: trainer.epoch: unknown key (value 1); did you mean 'epochs' or 'report'?",
    ]


def test_a_missing_name_is_said():
    assert error_of("-c", write("config.json", {})).startswith(
        "config.json: name: missing; must be"
    )


def test_an_error_names_the_file_that_wrote_the_value():
    write("base.json", {"name": "base", "seed": -1})
    file = write("own.json", {"_base_": "base.json", "n_gpu": -1})
    errors = error_of("-c", file, "--set", "visualize=3")
    assert "base.json: seed:" in errors
    assert "own.json: n_gpu:" in errors
    assert "--set: visualize:" in errors


# The command line


def test_print_config_prints_the_merged_config_and_leaves(capsys):
    with pytest.raises(SystemExit) as left:
        with_config({"seed": 3}, "--print-config", "--set", "trainer.epochs=2")
    assert left.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["seed"], printed["trainer"]["epochs"]) == (3, 2)
    assert Config.model_validate_json(json.dumps(printed)).name == "test"


def test_the_printed_config_gives_the_same_config_again(capsys):
    with pytest.raises(SystemExit):
        with_config({"wandb": {"project": "x"}, "augmentation": None}, "--print-config")
    printed = capsys.readouterr().out
    assert ConfigParser(json.loads(printed)).config == json.loads(printed)


def test_a_modification_by_the_program_goes_over_the_config():
    config = ConfigParser({"name": "a"}, modification={"optimizer;args;lr": 0.5, "seed": 1})
    assert (config["optimizer"]["args"]["lr"], config["seed"]) == (0.5, 1)


def test_help_needs_no_torch():
    code = (
        "import sys, argparse; from parse_config import ConfigParser\n"
        "try: ConfigParser.from_args(argparse.ArgumentParser(), argv=['--help'])\n"
        "finally: print([m for m in ('torch', 'numpy', 'pandas', 'timm') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"


# Options without effect


def test_an_option_without_effect_is_named_with_the_reason():
    config = with_config(
        {"visualize": True, "trainer": {"early_stop": 3}, "tracer": {"margin": 0.4}},
        "--set", "trainer.monitor=off", "tracer.weights=null", "tracer.threshold=0.4",
        "--set", "augmentation.affine=0", "--set", "augmentation.rotate=9",
    )  # fmt: skip
    assert config.warnings() == [
        "trainer.early_stop: no effect, since trainer.monitor is off",
        "visualize: no effect, since wandb and trainer.tensorboard are off",
        "tracer.threshold: no effect, since tracer.weights is null",
        "augmentation.rotate: no effect, since augmentation.affine is 0",
    ]


def test_options_that_nobody_wrote_are_not_warned_of():
    write("base.json", {"name": "base", "tracer": {"threshold": 0.4}})
    file = write("own.json", {"_base_": "base.json"})
    assert parse("-c", file, "--set", "tracer.weights=null").warnings() == []


def test_a_crop_of_a_config_without_tracer_is_said_to_have_no_effect():
    file = write("own.json", {"name": "own", "tracer": {"weights": None, "region": "face"}})
    reason = "tracer.weights is null"
    assert parse("-c", file).warnings() == [f"tracer.region: no effect, since {reason}"]


def test_a_crop_of_a_few_pixels_is_refused():
    with pytest.raises(ConfigError, match=r"tracer\.crop_size: must be an integer from 32"):
        with_config({}, "--set", "tracer.crop_size=8")


# Keys of older versions


OLD = {
    "name": "old",
    "trainer": {"swa_start": 8, "progressive_resizing": {"full_from": 0.5}, "epochs": 3},
    "optimizer": {"scale_lr": "off", "backbone_lr_ratio": 1.0},
    "augmentation": None,
}


@pytest.mark.parametrize("way", ["-c", "-r", "alone"])
def test_the_config_of_an_older_run_loses_the_keys_that_are_gone_and_says_which_did_something(way):
    folder = Path("saved/models/old/1")
    checkpoint = write(folder / "last_epoch.pth", "")
    source = write(folder / "config.json", OLD)
    write(folder / "environment.json", "{}")
    if way == "alone":
        checkpoint = source = "old.pth"
        torch.save({"format": 1, "state_dict": {}, "config": OLD}, checkpoint)
    config = parse("-c", source) if way == "-c" else parse("-r", checkpoint)
    assert "swa_start" not in config["trainer"] and config["trainer"]["epochs"] == 3
    assert config.warnings() == [
        f'{source}: trainer.progressive_resizing={{"full_from": 0.5}}: dropped, since it was'
        " removed; use data_loader.args.input_size",
        f"{source}: trainer.swa_start=8: dropped, since it was removed; use trainer.ema_decay or"
        " python -m tools.soup",
    ]


@pytest.mark.parametrize("path", REMOVED)
def test_a_removed_key_that_a_user_writes_is_an_error_that_names_what_replaced_it(path):
    (section, key), (default, instead) = path.split("."), REMOVED[path]
    message = f"{path}: was removed; use {instead}"
    assert error_with_config({section: {key: default}}) == f"config.json: {message}"
    assert error_with_config({}, "--set", f"{path}={json.dumps(default)}") == f"--set: {message}"
    shown = Config.model_json_schema()
    for name in instead.replace(" or ", " ").split():
        if "." in name and not name.startswith("tools."):
            assert name in keys(shown) or name == "optimizer.args.weight_decay"


# Building objects


def test_an_object_is_built_from_type_and_args():
    config = ConfigParser({"name": "a", "optimizer": {"type": "SGD", "args": {"lr": 0.5}}})
    optimizer = config.init_obj("optimizer", torch.optim, [torch.zeros(1, requires_grad=True)])
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_function_is_prepared_from_type_and_args():
    config = ConfigParser({"name": "a", "optimizer": {"type": "SGD", "args": {"lr": 0.5}}})
    build = config.init_ftn("optimizer", torch.optim, momentum=0.9)
    group = build([torch.zeros(1, requires_grad=True)]).param_groups[0]
    assert (group["lr"], group["momentum"]) == (0.5, 0.9)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ({"type": "Adamm"}, "optimizer.type: no 'Adamm' in torch.optim; did you mean 'Adam'"),
        ({"type": "Tensor"}, "optimizer.type: no 'Tensor' in torch.optim"),
        ({"args": {"lr": 1e-3, "weight_decy": 0}},
         "optimizer.args.weight_decy: Adam takes no such argument; did you mean 'weight_decay'"),
        ({"args": {"params": []}}, "optimizer.args.params: set automatically"),
        ({"args": {"eps": -1.0}}, "optimizer.args: invalid arguments for Adam: Invalid epsilon"),
    ],
)  # fmt: skip
def test_an_object_that_cannot_be_built_is_one_line(optimizer, message):
    config = with_config({"optimizer": optimizer})
    with pytest.raises(ConfigError) as caught:
        config.init_obj("optimizer", torch.optim, [torch.zeros(1, requires_grad=True)])
    assert str(caught.value).startswith("config.json: " + message)
    assert "\n" not in str(caught.value)


def test_a_missing_argument_and_one_given_twice_are_named():
    class Model:
        def __init__(self, model_name, width):
            pass

    Model.__module__ = "models"
    module = types.ModuleType("models")
    module.Model = Model
    config = ConfigParser({"name": "a", "arch": {"type": "Model", "args": {"model_name": "x"}}})
    with pytest.raises(ConfigError, match=r"arch\.args\.width: missing; Model needs it"):
        config.init_obj("arch", module)
    with pytest.raises(ConfigError, match=r"arch\.args\.model_name: set automatically"):
        config.init_obj("arch", module, model_name="y", width=1)


def test_what_is_null_cannot_be_built():
    with pytest.raises(ConfigError, match="lr_scheduler: is null; give it a type and args"):
        ConfigParser({"name": "a"}).init_obj("lr_scheduler", torch.optim.lr_scheduler)


def test_a_run_knows_its_task_by_the_classes_that_its_data_told():
    config = ConfigParser({"name": "n", "task": {"heads": {"kind": {}}}})
    built = build(config.settings.task, {"kind": ["round", "long", "round"]})
    config.adopt(built.settings)
    assert Task(config.settings.task).heads["kind"].classes == ("long", "round")
    assert Task(ConfigParser(config.config).settings.task).meaning == built.meaning


def test_a_task_can_change_another_whose_bins_still_divide_the_folds():
    finer = {
        "bins": [20, 30, 45, 60],
        "groups": {"of_bin": [0, 0, 1, 1, 2]},
        "names": {"en": list("abcde"), "ko": list("abcde")},
    }
    given = {"name": "n", "task": {"_base_": "faces", "heads": {"age": finer}}}
    plain, changed = ConfigParser({"name": "n"}).config, ConfigParser(given).config
    age = changed["task"]["heads"]["age"]
    assert age["bins"] == finer["bins"] and age["groups"]["edges"] == [30, 60]
    assert age["split_bins"] == plain["task"]["heads"]["age"]["bins"]
    assert changed["task"]["data"] == plain["task"]["data"]
    assert changed["loss_name"] == plain["loss_name"]
    assert ConfigParser(changed).config == changed
    with pytest.raises(ConfigError, match=r"task: .*no such file"):
        ConfigParser({"name": "n", "task": {"_base_": "nowhere"}})


@pytest.mark.parametrize(
    "setting",
    ["decoding.age=[0, 0.3, 0.4]", "decoding.bias.age=[0, 0.3, 0.4]",
     'decoding={"bias": {"age": [0, 0.3, 0.4]}}'],
)  # fmt: skip
def test_a_bias_of_the_decoding_is_taken_by_its_name_and_by_its_alias(setting):
    parser = argparse.ArgumentParser()
    argv = ["-c", str(PROJECT / "config.json"), "--set", setting]
    config = ConfigParser.from_args(parser, argv=argv)
    assert config["decoding"]["bias"] == {"age": [0.0, 0.3, 0.4]}


@pytest.mark.parametrize("setting", ["decoding.age=3", 'decoding.age=["a", 1]', "decoding.bias=3"])
def test_a_bias_that_is_none_is_an_error_and_no_traceback(setting):
    argv = ["-c", str(PROJECT / "config.json"), "--set", setting]
    with pytest.raises(ConfigError, match=r"--set: decoding\."):
        ConfigParser.from_args(argparse.ArgumentParser(), argv=argv)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"data_dir": "a\0b"}, "data_dir: must be a path"),
        ({"submit_dir": "x" * 300}, "submit_dir: must be a path"),
        ({"trainer": {"save_dir": "x/" * 3000}}, "trainer.save_dir: must be a path"),
        ({"trainer": {"epochs": 10**30}}, "trainer.epochs: must be an integer >= 1 and at most"),
        ({"name": "가" * 60}, "name: must be a legal file name"),
        ({"data_dir": "caf\udce9"}, 'data_dir: "caf\udce9" is not UTF-8; rename it'),
        ({"trainer": {"freeze": ["\ud800"]}}, 'trainer.freeze: ["\ud800"] is not UTF-8'),
    ],
)
def test_what_no_file_system_or_library_takes_is_said_at_once(values, told):
    assert told in error_with_config(values)


def test_the_home_folder_may_be_written_as_in_a_shell():
    assert with_config({"data_dir": "~/photos"})["data_dir"] == os.path.expanduser("~/photos")


@pytest.mark.parametrize(
    "values",
    [{f"key{n}": 1 for n in range(5000)}, {"x" * 900_000: 1}, {"name": "x" * 900_000}],
    ids=["many keys", "a long key", "a long value"],
)
def test_enormous_configs_are_refused_within_seconds(values):
    began = time.process_time()
    message = one_line(error_with_config(values))
    assert time.process_time() - began < 3 and len(message) <= LONGEST
