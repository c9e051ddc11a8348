from pathlib import Path

import pytest

from utils.run_folder import RunFolder


@pytest.mark.parametrize("part", ["log", "models"])
def test_either_folder_of_a_run_and_any_file_in_it_name_the_run(tmp_path, part):
    folder = tmp_path / "saved" / part / "faces" / "first"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").touch()
    run = RunFolder(tmp_path / "saved", "faces", "first")
    assert RunFolder.of(folder) == RunFolder.of(folder / "metrics.csv") == run
    assert run.models == tmp_path / "saved" / "models" / "faces" / "first"
    assert run.log == tmp_path / "saved" / "log" / "faces" / "first"
    assert run.fold(2).best.parts[-2:] == ("first-fold2", "best_epoch.pth")


def test_what_does_not_lie_like_a_run_is_none(tmp_path):
    assert RunFolder.of(tmp_path) is None
    assert RunFolder.of(Path("/")) is None


def test_below_the_working_folder_paths_stay_short(tmp_path, monkeypatch):
    (tmp_path / "saved" / "log" / "faces" / "first").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert RunFolder.of(Path("saved/log/faces/first")).root == Path("saved")


def test_the_newest_checkpoint_is_found_also_before_it_got_its_second_name(tmp_path):
    run = RunFolder(tmp_path, "faces", "first")
    assert run.last is None
    run.models.mkdir(parents=True)
    for name in ("at_0001_000000.pth", "at_0002_000000.pth"):
        (run.models / name).touch()
    assert run.last.name == "at_0002_000000.pth"
    (run.models / "last_epoch.pth").touch()
    assert run.last.name == "last_epoch.pth"
