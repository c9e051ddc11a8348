import json
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from utils.config_files import read_json5
from utils.errors import CheckpointError, UserError
from utils.files import (
    all_or_none,
    exclusive,
    refuse_other_content,
    sha256,
    write_atomically,
    write_json,
)

ROOT = Path(__file__).resolve().parents[2]


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), write_atomically(path) as file:
        file.write("new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_folders_are_made_and_the_mode_is_that_of_an_ordinary_file(tmp_path):
    path = tmp_path / "x" / "y.json"
    write_json(path, {"name": "마스크"})
    assert "마스크" in path.read_text(encoding="utf-8")
    reference = tmp_path / "reference"
    reference.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(reference.stat().st_mode)


def test_a_path_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_json(tmp_path / "file" / "a.json", {})


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")


def test_what_is_written_as_json_is_read_back_as_a_config_whatever_characters_it_has(tmp_path):
    texts = [
        f"a{each}b"
        for each in ("\t", "\n", "\r\n", "\b", "\f", "\\t", "\\", '"', "\\\\n", "é", "\x01")
    ]
    write_json(tmp_path / "c.json", {"classes": texts})
    assert read_json5(tmp_path / "c.json") == {"classes": texts}


def test_a_name_that_is_no_text_is_written_with_its_codes(tmp_path):
    write_json(tmp_path / "a.json", {"photo": "\udcbb가.jpg"})
    assert "\\udcbb가.jpg" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["photo"] == "\udcbb가.jpg"


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 18802848\n"


@pytest.mark.parametrize(
    ("content", "called"),
    [
        (POINTER, "model.pth: a Git LFS pointer.*git lfs pull"),
        ("<!DOCTYPE html><html><body>Sign in</body></html>", "model.pth: a web page"),
        ("\ufeff\n  <html lang='en'>", "model.pth: a web page"),
        ("<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "model.pth: a web page"),
    ],
)
def test_what_lies_in_the_place_of_weights_is_called_that(tmp_path, content, called):
    path = tmp_path / "model.pth"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=called):
        refuse_other_content(path)


def test_weights_and_missing_files_are_left_to_their_reader(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"PK\x03\x04 <html>")
    refuse_other_content(tmp_path / "model.pth")
    refuse_other_content(tmp_path / "missing.pth")


def test_a_file_of_another_user_is_not_called_damaged(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    # As root, whom no mode stops, it can't be had otherwise.
    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(CheckpointError, match="may not read it"):
        refuse_other_content(tmp_path / "model.pth")


@pytest.fixture
def full_disk():
    """Files can't grow beyond 20 kB: what a full disk looks like from inside."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write(bytes(50_000)),
        lambda file: np.savez(file, a=np.zeros(50_000)),
        lambda file: np.save(file, np.zeros(50_000)),
        lambda file: torch.save({"a": torch.zeros(50_000)}, file),
    ],
)
def test_a_full_disk_is_called_that_by_whatever_writes_and_nothing_is_left(
    write, full_disk, tmp_path
):
    with (
        pytest.raises(UserError, match=r"a\.bin: the disk is full"),
        write_atomically(tmp_path / "a.bin", "wb") as file,
    ):
        write(file)
    assert not os.listdir(tmp_path)


def test_files_that_belong_together_appear_together_or_not_at_all(full_disk, tmp_path):
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(UserError, match=r"b\.csv: the disk is full"), all_or_none():
        write_json(tmp_path / "a.csv", [1])
        write_json(tmp_path / "b.csv", "x" * 50_000)
    assert (tmp_path / "a.csv").read_text() == "old" and os.listdir(tmp_path) == ["a.csv"]
    with all_or_none():
        write_json(tmp_path / "a.csv", [1])
        write_json(tmp_path / "b.csv", [2])
        assert (tmp_path / "a.csv").read_text() == "old"
    assert (tmp_path / "a.csv").read_text() == "[\n  1\n]\n" and (tmp_path / "b.csv").exists()


HOLD = """
import sys, time
from pathlib import Path
from utils.files import exclusive
held = exclusive(Path(sys.argv[1]))
print("held" if held else "taken", flush=True)
time.sleep(60)
"""


def test_a_file_is_locked_for_as_long_as_its_process_lives(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout.readline() == "held\n"
        assert exclusive(tmp_path / "lock") is None
        other.kill()
    assert exclusive(tmp_path / "lock") is not None
