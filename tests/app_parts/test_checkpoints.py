"""Which models the page offers."""

import pytest

from app_parts.checkpoints import named_checkpoints, parse, saved_checkpoints
from utils.errors import CheckpointError, ConfigError


def test_runs_under_saved_are_offered_newest_first(trained):
    found = saved_checkpoints(trained.home / "saved")
    assert [checkpoint.title for checkpoint in found] == ["tiny / first"]
    assert saved_checkpoints(trained.home / "nowhere") == []


def test_a_checkpoint_that_is_not_there_is_named():
    with pytest.raises(CheckpointError, match=r"nowhere\.pth: no such checkpoint"):
        named_checkpoints(["nowhere.pth"])


def test_an_unknown_option_is_an_error_the_page_can_show():
    with pytest.raises(ConfigError, match="--nonsense"):
        parse(["--nonsense"])
