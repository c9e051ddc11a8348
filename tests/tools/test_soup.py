import pytest
import torch

from base.checkpoint import load_checkpoint, metadata_of, save_checkpoint
from tools.soup import main
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


def test_a_soup_of_a_training_answers_by_its_decoding(call, trained_shapes, tmp_path):
    models = trained_shapes.models
    members = [models / "best_epoch.pth", models / "last_epoch.pth"]
    main([*map(str, members), "--out", str(tmp_path / "soup.pth")])
    soup, best = (load_checkpoint(path) for path in (tmp_path / "soup.pth", members[0]))
    own = ("run_id", "familiarity")  # that of the first one's weights is not the soup's
    kept = {key: value for key, value in metadata_of(best).items() if key not in own}
    assert {"config", "class_counts"} <= set(kept)
    assert {key: soup[key] for key in kept} == kept
    assert "optimizer" not in soup and "familiarity" not in soup
    result = call("test.py", "-r", "soup.pth", "--set", "decoding.prior_strength=0.2")
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "submit").glob("shapes_first-soup_decoding-????.csv"))) == 1


def test_the_classes_of_a_soup_are_as_frequent_as_its_members_had_them_on_average(tmp_path):
    weights = {"weight": torch.ones(2)}
    for name, counts in {"a": [4, 0], "b": [2, 2]}.items():
        state = {"state_dict": weights, "config": {}, "class_counts": {"class": counts}}
        save_checkpoint(tmp_path / name, state)
    main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "soup")])
    assert load_checkpoint(tmp_path / "soup")["class_counts"] == {"class": [3, 1]}


def test_heads_that_were_drawn_by_another_seed_are_named(tmp_path, capsys):
    for name, head in {"a": [3.0, 1.0], "b": [2.0, 1.0], "c": [1.0, -3.0]}.items():
        weights = {"backbone.stem": torch.ones(2), "classifiers.kind.weight": torch.tensor(head)}
        save_checkpoint(tmp_path / name, {"state_dict": weights, "config": {}})
    main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "soup")])
    assert "warning" not in capsys.readouterr().out
    main([*(str(tmp_path / name) for name in "abc"), "--out", str(tmp_path / "soup")])
    assert f"warning: the heads of {tmp_path / 'c'} (0.00) are nothing" in capsys.readouterr().out


def test_weights_of_another_architecture_are_refused(member, tmp_path):
    with pytest.raises(CheckpointError, match=r"b\.pth: .*weight differs"):
        main([member("a.pth", 1.0), member("b.pth", 1.0, (3,)), "--out", str(tmp_path / "s.pth")])


def test_weights_that_are_no_numbers_are_refused(member, tmp_path):
    with pytest.raises(CheckpointError, match=r"b\.pth: weight has values that are NaN or Inf"):
        main([member("a.pth", 1.0), member("b.pth", float("nan")), "--out", str(tmp_path / "s")])
    assert not (tmp_path / "s").exists()
