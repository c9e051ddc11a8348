import json
import os
import stat

import pytest

from utils.errors import UserError
from utils.files import sha256, write_atomically, write_json


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
