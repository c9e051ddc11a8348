"""What a checkpoint's config may say."""

import json

import pytest

from base.checkpoint import save_checkpoint
from parse_config import ConfigParser
from tests.config_files import parse, write
from utils.errors import CheckpointError, ConfigError

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.pth", "missing.pth: no such checkpoint"),
        (".", ".: is a folder; name the .pth file in it"),
        ("text.pth", "text.pth: not a checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_one_line(path, message):
    write("text.pth", "not tensors")
    with pytest.raises(CheckpointError) as caught:
        parse("--resume", path)
    assert str(caught.value).startswith(message)


def stranger(**values):
    config = ConfigParser({"name": "test"}).config | {"data_dir": "/their/photos"}
    for key, place in values.items():
        section, _, name = key.rpartition("__")
        (config[section] if section else config)[name] = place
    save_checkpoint("alone.pth", {"state_dict": {}, "config": config, "run_id": "theirs"})
    return "alone.pth"


@pytest.mark.parametrize("place", ["/etc/x", "../x", "a/../../x", "~/x", "C:\\x", "\\\\server\\x"])
@pytest.mark.parametrize("key", ["submit_dir", "trainer__save_dir", "tracer__cache_dir"])
def test_a_checkpoint_chooses_no_place_to_write_outside_the_working_folder(key, place):
    config = parse("-r", stranger(**{key: place}))
    defaults = ConfigParser({"name": "test"})
    path = key.replace("__", ".")
    section, _, name = path.rpartition(".")
    chosen, default = [(c[section] if section else c.config)[name] for c in (config, defaults)]
    assert chosen == default
    told = [line for line in config.warnings() if "not taken from a checkpoint" in line]
    assert len(told) == 1 and told[0].startswith(f"alone.pth: {path}=")
    assert config["data_dir"] == "/their/photos"  # to read from


def test_places_within_the_working_folder_and_those_of_the_command_line_are_taken():
    config = parse("-r", stranger(submit_dir="out/csv"), "--set", "tracer.cache_dir=/fast/crops")
    assert (config["submit_dir"], config["tracer"]["cache_dir"]) == ("out/csv", "/fast/crops")
    assert not [line for line in config.warnings() if "not taken" in line]


@pytest.mark.parametrize("key", ["arch", "trainer", "lr_scheduler"])
def test_a_section_that_is_none_is_one_line(key):
    with pytest.raises(ConfigError, match=rf"alone\.pth: {key}") as caught:
        parse("-r", stranger(**{key: "a word"}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["name", "run_id"])
def test_names_in_a_checkpoint_are_no_paths(key):
    state = {"state_dict": {}, "config": ConfigParser({"name": "test"}).config, "run_id": "a"}
    state = state | {"run_id": "../x"} if key == "run_id" else state
    if key == "name":
        state["config"]["name"] = "../x"
    save_checkpoint("alone.pth", state)
    with pytest.raises(ConfigError, match="must be a legal file name"):
        parse("-r", "alone.pth")


def test_a_training_of_folds_is_no_single_model():
    write("saved/models/test/cv/folds.json", {"folds": 2, "trained": [0, 1]})
    with pytest.raises(CheckpointError, match=r"a training of folds, .*cv-fold0/best_epoch\.pth"):
        parse("--resume", "saved/models/test/cv")


DATA = {"train": {"reader": "folders", "head": "kind"}}
HEADS = {"kind": {"classes": ["a", "b"]}, "tag": {"classes": ["c", "d"]}}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"arch": {"type": "TimmModelMulti"}}, "'faces'"),
        ({"task": {"name": "cats", "heads": HEADS}}, "'cats'"),
        ({"task": {"data": DATA, "heads": {"kind": {}}}}, "'dogs' (kind)"),
        ({"task": {"data": DATA, "heads": HEADS | {"more": {}}}}, "'dogs' (kind, tag, more)"),
    ],
)
def test_another_task_is_refused_instead_of_laid_over_that_of_a_checkpoint(other, told):
    path = stranger(task={"name": "dogs", "heads": HEADS})
    write("other.json", {"name": "n", **other})
    with pytest.raises(CheckpointError) as caught:
        parse("-r", path, "-c", "other.json")
    message = f"the task 'dogs' (kind, tag), and other.json has {told}; leave out -c"
    assert message in str(caught.value)


def test_the_checkpoint_s_own_task_and_single_keys_of_it_are_laid_over_it():
    path = stranger(task={"name": "dogs", "heads": HEADS})
    own = {"name": "dogs", "heads": {"kind": {}, "tag": {}}}
    write("own.json", {"name": "n", "task": own})
    write("part.json", {"task": {"heads": {"tag": {"names": {"en": ["C", "D"]}}}}})
    write("less.json", {"name": "n", "tta": {"flip": True}})
    write("model.json", {"arch": {"type": "TimmModelMulti"}})
    for extra in (
        ["-c", "own.json"],
        ["-c", "part.json"],
        ["-c", "less.json"],
        ["--set", "task.name=puppies"],
        ["-c", "model.json", "--set", f"task={json.dumps(own | {'heads': HEADS})}"],
    ):
        task = parse("-r", path, *extra).settings.task
        assert task.heads["kind"].classes == ["a", "b"] and list(task.heads) == [*HEADS]
