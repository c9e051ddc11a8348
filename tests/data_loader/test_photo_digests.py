import os

import numpy as np
import pytest

from data_loader.photo_digests import photo_digests


def photos_in(folder, number=3):
    paths = [folder / f"{n}.png" for n in range(number)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def test_a_digest_follows_from_the_bytes_and_a_missing_file_has_zeros(tmp_path):
    paths = photos_in(tmp_path)
    paths[1].write_bytes(paths[0].read_bytes())
    digests = photo_digests([*paths, tmp_path / "none.png"], tmp_path)
    assert digests[0] == digests[1] != digests[2]
    assert digests[3] == np.zeros(1, "V16")[0] != digests[0]


def test_only_files_that_changed_are_read_again(tmp_path, monkeypatch):
    paths = photos_in(tmp_path)
    first = photo_digests(paths, tmp_path)
    before = paths[1].stat()
    paths[1].write_bytes(b"other")  # as long as before, and said to be as old
    os.utime(paths[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    read = []
    monkeypatch.setattr(
        "data_loader.photo_digests._digest", lambda path: read.append(path) or bytes(16)
    )
    again = photo_digests(paths, tmp_path)
    assert read == [paths[1]]
    assert (again == first).tolist() == [True, False, True]


def test_a_damaged_file_of_digests_is_made_anew(tmp_path):
    paths = photos_in(tmp_path)
    first = photo_digests(paths, tmp_path)
    (file,) = (tmp_path / "digests").iterdir()
    file.write_bytes(b"half of a")
    assert (photo_digests(paths, tmp_path) == first).all()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="not of this system")
def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    digests = photo_digests([tmp_path / "pipe.png", tmp_path / "folder.png"], tmp_path)
    assert (digests == np.zeros(2, "V16")).all()
