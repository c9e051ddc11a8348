"""Options of the command line that go over a config."""

import argparse

import pytest

from tests.config_files import error_with_config, parse, with_config, write
from utils.config_options import Option

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_set_changes_any_value_and_reads_json():
    config = with_config(
        {}, "--set", "trainer.epochs=5", "--set", "data_dir=some where",
        "--set", 'wandb.tags=["a"]', "--set", "trainer.early_stop=null",
        "--set", "loss_name.2.2=0.5",
        "--set", "lr_scheduler.type=StepLR", "--set", "arch.args.drop_path=0.1",
    )  # fmt: skip
    assert config["trainer"]["epochs"] == 5
    assert config["data_dir"] == "some where"
    assert config["wandb"]["tags"] == ["a"]
    assert config["trainer"]["early_stop"] is None
    assert [triple[2] for triple in config["loss_name"]] == [0.375, 0.25, 0.5]
    assert config["lr_scheduler"]["type"] == "StepLR" and config["lr_scheduler"]["args"] == {}
    assert config["arch"]["args"]["drop_path"] == 0.1


def test_the_last_of_two_settings_wins():
    assert with_config({}, "--set", "seed=1", "--set", "seed=2")["seed"] == 2


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trainer.epochs", "--set trainer.epochs: must be KEY=VALUE, such as"),
        ("=5", "--set =5: must be KEY=VALUE, such as"),
        ("trainer..epochs=5", "--set trainer..epochs=5: must be KEY=VALUE, such as"),
        ("trainer.epoch=5",
         "--set: trainer.epoch: unknown key (value 5); did you mean 'epochs' or 'report'?"),
        ("trainr.epochs=5",
         "--set: trainr: unknown key (value {\"epochs\": 5}); did you mean 'trainer'"),
        ("trainer.epochs=ten", "--set: trainer.epochs: must be an integer >= 1, got 'ten'"),
        ("seed.x=1", "--set: seed.x: seed is 42, which has no keys"),
        ("loss_name.3=1", "--set: loss_name.3: loss_name is a list; its places are 0 to 2"),
        ("loss_name.x.0=1", "--set: loss_name.x.0: loss_name is a list; its places are 0 to 2"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_line(setting, message):
    assert error_with_config({}, "--set", setting).startswith(message)


def test_the_short_options_of_the_original_work():
    config = with_config(
        {}, "--lr", "3e-4", "--bs", "8", "--arch", "resnet18", "--model", "TimmModel", "-d", "1"
    )
    assert config["optimizer"]["args"]["lr"] == 3e-4
    assert config["data_loader"]["args"]["batch_size"] == 8
    assert config["arch"] == {
        "type": "TimmModel", "args": {"model_name": "resnet18", "pretrained": True}
    }  # fmt: skip
    assert config.device == "cuda:1"


def test_a_wrong_short_option_is_one_line():
    assert error_with_config({}, "--lr", "fast") == (
        "--lr: optimizer.args.lr: must be a number > 0, got 'fast'"
    )


def test_a_command_may_add_options_and_arguments_of_its_own():
    parser = argparse.ArgumentParser()
    parser.add_argument("--answers")
    options = [Option(["--ep"], "trainer;epochs", "epochs")]
    write("config.json", {"name": "test"})
    config = parse("--ep", "4", "--answers", "a.csv", parser=parser, options=options)
    assert config["trainer"]["epochs"] == 4
    assert config.args.answers == "a.csv"
