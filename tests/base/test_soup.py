import pytest
import torch

from base.checkpoint import load_checkpoint, save_checkpoint
from base.soup import main
from utils.errors import CheckpointError


@pytest.fixture
def member(tmp_path):
    def save(name, value, shape=(2,)):
        weights = {"weight": torch.full(shape, value), "batches": torch.tensor(3)}
        save_checkpoint(tmp_path / name, {"state_dict": weights, "config": {"name": name}})
        return str(tmp_path / name)

    return save


def test_a_soup_has_the_mean_weights_and_the_config_of_the_first(member, tmp_path):
    main([member("a.pth", 1.0), member("b.pth", 4.0), "--out", str(tmp_path / "soup.pth")])
    soup = load_checkpoint(tmp_path / "soup.pth")
    assert soup["state_dict"]["weight"].tolist() == [2.5, 2.5]
    assert soup["state_dict"]["batches"] == 3
    assert soup["config"] == {"name": "a.pth"}
    assert len(soup["soup"]) == 2


def test_weights_of_another_architecture_are_refused(member, tmp_path):
    with pytest.raises(CheckpointError, match=r"b\.pth: .*weight differs"):
        main([member("a.pth", 1.0), member("b.pth", 1.0, (3,)), "--out", str(tmp_path / "s.pth")])


def test_weights_that_are_no_numbers_are_refused(member, tmp_path):
    with pytest.raises(CheckpointError, match=r"b\.pth: weight has values that are no numbers"):
        main([member("a.pth", 1.0), member("b.pth", float("nan")), "--out", str(tmp_path / "s")])
    assert not (tmp_path / "s").exists()
