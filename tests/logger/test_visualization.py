from logger.visualization import open_writers

OFF = {"name": "faces", "trainer": {"tensorboard": False}, "wandb": False}


def test_nothing_is_opened_when_all_is_off(tmp_path):
    assert open_writers(OFF, tmp_path, "id") == []
    assert list(tmp_path.iterdir()) == []
