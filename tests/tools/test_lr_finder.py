"""The command proposes a rate that can be pasted, and leaves nothing but its curve."""

import pandas as pd
import pytest

from tools.lr_finder import main
from utils.errors import UserError


@pytest.fixture
def config(shapes_config, monkeypatch):
    """In a working folder of its own."""
    monkeypatch.chdir(shapes_config.parent)
    return shapes_config


@pytest.mark.slow
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
