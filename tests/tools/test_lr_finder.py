"""The command proposes a rate that can be pasted, and leaves nothing but its curve."""

import json

import pandas as pd
import pytest

from tests.other_tasks import TASKS
from tools.lr_finder import main
from utils.errors import UserError


@pytest.fixture
def config(shapes, tmp_path, monkeypatch):
    """A config of drawn shapes, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    values = {
        "name": "shapes",
        "n_gpu": 0,
        "data_dir": str(shapes),
        "task": TASKS["table"],
        "arch": {"args": {"model_name": "test_resnet", "pretrained": False}},
        "data_loader": {"args": {"input_size": 32, "batch_size": 16, "num_workers": 0}},
        "tracer": {"weights": None},
        "optimizer": {"args": {"lr": 0.01}},
    }
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps(values))
    return path


def test_the_command_names_a_rate_that_can_be_pasted(config, capsys):
    main(["-c", str(config), "--run-id", "range", "--steps", "40"])
    said = capsys.readouterr().out
    assert "(the config has 0.01)" in said
    assert "--set optimizer.args.lr=" in said
    folder = config.parent / "saved/log/shapes/range"
    assert sorted(path.name for path in folder.iterdir()) == ["lr_finder.csv", "lr_finder.png"]
    table = pd.read_csv(folder / "lr_finder.csv")
    assert table["lr"].is_monotonic_increasing and len(table) > 20
    assert not (config.parent / "saved/models").exists()


def test_too_few_steps_are_refused_in_a_line(config):
    with pytest.raises(UserError, match="--steps must be 20 or more"):
        main(["-c", str(config), "--steps", "3"])
