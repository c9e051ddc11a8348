import json
import os
import stat

import pytest

from utils.errors import CheckpointError, UserError
from utils.files import refuse_other_content, sha256, write_atomically, write_json


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
