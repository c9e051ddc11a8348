import importlib.util

import pytest

from logger.visualization import open_writers, require_writers

OFF = {"name": "faces", "trainer": {"tensorboard": False}, "wandb": False}


def test_nothing_is_opened_when_all_is_off(tmp_path):
    assert open_writers(OFF, tmp_path, "id") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_writer_that_is_not_installed_is_missed_only_where_it_is_wanted(monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None)
    require_writers(OFF)
    with pytest.raises(ModuleNotFoundError, match=name):
        require_writers(
            {"trainer": {"tensorboard": name == "tensorboard"}, "wandb": name == "wandb"}
        )
