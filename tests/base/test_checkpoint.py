import os
import random
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from base.checkpoint import (
    CheckpointFolder,
    load_checkpoint,
    load_weights,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from utils.errors import CheckpointError, UserError


def a_state(model):
    config = {"arch": {"type": "TimmModelMulti", "args": {"model_name": "resnet10t"}}}
    return {"state_dict": model.state_dict(), "config": config, "random": [random_state()]}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "last_epoch.pth"
    save_checkpoint(path, a_state(nn.Linear(3, 2)))
    return path


def test_what_is_saved_is_loaded(tmp_path):
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    save_checkpoint(tmp_path / "a.pth", a_state(model))
    load_weights(other, load_checkpoint(tmp_path / "a.pth"), "a.pth")
    assert torch.equal(model.weight, other.weight)


def test_a_checkpoint_loads_where_only_plain_data_is_allowed(saved):
    assert "random" in torch.load(saved, weights_only=True)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pth: no such checkpoint"):
        load_checkpoint(tmp_path / "none.pth")


def test_a_truncated_file_is_refused(saved):
    saved.write_bytes(saved.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="not a checkpoint, damaged or cut short"):
        load_checkpoint(saved)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.pth"):
        load_checkpoint(path)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/it_ran",)


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path):
    torch.save({"state_dict": {}, "config": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(CheckpointError, match="code"):
        load_checkpoint(tmp_path / "bomb.pth")
    assert not os.path.exists("/tmp/it_ran")


def test_weights_of_another_architecture_are_refused_with_the_first_difference(saved):
    with pytest.raises(CheckpointError, match=r"TimmModelMulti resnet10t.*shape \(first: weight\)"):
        load_weights(nn.Linear(5, 2), load_checkpoint(saved), saved)


def test_a_failed_save_leaves_the_earlier_checkpoint_whole(saved):
    before = saved.read_bytes()
    with pytest.raises(Exception, match=r"^Can't (pickle|get) local object .*<lambda>"):
        save_checkpoint(saved, {"state_dict": {}, "config": lambda: None})
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "a.pth", {})


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_restoring_the_random_state_repeats_what_was_drawn(tmp_path):
    save_checkpoint(tmp_path / "a.pth", a_state(nn.Linear(1, 1)))
    state = load_checkpoint(tmp_path / "a.pth")["random"][0]
    first = draw()
    draw()
    restore_random_state(state)
    assert draw() == first


def a_save(folder, epoch, step=0):
    partial = {"step": step, "rates": {}, "steps": [], "loss_names": []} if step else None
    state = a_state(nn.Linear(1, 1)) | {"epoch": epoch, "partial": partial}
    path = folder.save(state, epoch, step)
    folder.make_last(path)
    return path


def test_what_a_kill_left_of_a_save_is_cleared_by_the_next(tmp_path):
    for name in (".at_0001_000000.pth.k2j3", ".best_epoch.pth.link"):
        (tmp_path / name).write_bytes(b"half a save")
    a_save(CheckpointFolder(tmp_path), 1)
    assert {path.name for path in tmp_path.iterdir()} == {"at_0001_000000.pth", "last_epoch.pth"}


def test_only_a_checkpoint_that_is_there_is_spoken_of(tmp_path):
    checkpoints = CheckpointFolder(tmp_path)
    assert checkpoints.last_good() == ""
    checkpoints.make_last(checkpoints.save({}, epoch=1))
    assert str(tmp_path / "last_epoch.pth") in checkpoints.last_good()


def test_a_run_that_goes_back_leaves_nothing_of_the_course_it_left_to_fall_back_on(tmp_path):
    folder = CheckpointFolder(tmp_path)
    for epoch in (1, 2, 3, 4):
        folder.keep_for_good(a_save(folder, epoch), epoch)
    newest = a_save(folder, 3, step=5)  # resumed from epoch_3.pth
    assert newest.exists() and folder.last.samefile(newest)
    numbered = {path.name for path in tmp_path.glob("at_*")}
    assert numbered == {"at_0003_000000.pth", "at_0003_000005.pth"}


def test_a_damaged_checkpoint_that_was_named_is_not_replaced_by_another(tmp_path):
    folder = CheckpointFolder(tmp_path)
    a_save(folder, 1)
    (tmp_path / "epoch_7.pth").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"epoch_7\.pth"):
        folder.load(tmp_path / "epoch_7.pth")


@pytest.mark.parametrize("named", ["last_epoch.pth", "best_epoch.pth"])
def test_a_run_that_goes_on_elsewhere_takes_its_best_epoch_along(tmp_path, named):
    old, new = CheckpointFolder(tmp_path / "old"), CheckpointFolder(tmp_path / "new")
    best = a_save(old, 1)
    old.make_best(best)
    a_save(old, 2)
    new.bring_best(1, tmp_path / "old" / named)
    assert new.has_best and load_checkpoint(new.best)["epoch"] == 1


def test_a_best_epoch_that_is_nowhere_is_not_claimed(tmp_path):
    old, new = CheckpointFolder(tmp_path / "old"), CheckpointFolder(tmp_path / "new")
    new.bring_best(1, a_save(old, 2))
    assert not new.has_best and not new.best.exists()


def test_a_git_lfs_pointer_in_place_of_a_checkpoint_is_called_that(tmp_path):
    path = tmp_path / "best_epoch.pth"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 9\n")
    with pytest.raises(CheckpointError, match=r"best_epoch\.pth: a Git LFS pointer"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("config", [1]),
        ("config", {"seed": torch.zeros(1)}),
        ("run_id", torch.zeros(2)),
        ("state_dict", {"weight": "text"}),
        ("state_dict", {"weight": torch.zeros(1).expand(10**12)}),
        ("state_dict", {"weight": torch.empty(9, device="meta")}),
        ("epoch", "three"),
        ("epoch", -1),
        ("history", {"val/f1": 1.0}),
        ("history", [{"val/f1": "good"}]),
        ("monitor", [0.5]),
        ("random", {"torch": 1}),
        ("partial", {"step": 3}),
        ("class_counts", {"mask": 5}),
        ("optimizer", {"state": {0: 1}, "param_groups": []}),
    ],
)
def test_a_value_of_another_type_is_one_line_that_names_its_place(tmp_path, place, value):
    save_checkpoint(tmp_path / "a.pth", a_state(nn.Linear(1, 1)) | {place: value})
    with pytest.raises(CheckpointError, match=rf"a\.pth: not a checkpoint .*\({place}") as caught:
        load_checkpoint(tmp_path / "a.pth")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_compressed_parts_are_refused_before_they_fill_the_memory(saved, tmp_path):
    bomb = tmp_path / "bomb.pth"
    with zipfile.ZipFile(saved) as parts, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        for part in parts.namelist():
            file.writestr(part, parts.read(part))
    with pytest.raises(CheckpointError, match="compressed"):
        load_checkpoint(bomb)
