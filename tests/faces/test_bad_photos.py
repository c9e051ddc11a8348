"""The layout of the faces with something wrong ends in one clear line."""

import shutil

import pytest


def some_photo(data):
    return sorted((data / "train" / "images").iterdir())[0] / "mask1.jpg"


SPOILT = {
    "no images folder": (lambda data: shutil.rmtree(data / "train"), "train/images: no such"),
    "no people": (
        lambda data: [shutil.rmtree(f) for f in (data / "train" / "images").iterdir()],
        "no images",
    ),
    "folder name": (
        lambda data: some_photo(data).parent.rename(data / "train" / "images" / "family"),
        "unexpected: family",
    ),
    "file name": (
        lambda data: some_photo(data).rename(some_photo(data).with_name("holiday.jpg")),
        "unknown mask: ",
        "/holiday.jpg ('holiday'); use mask1",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_spoilt_training_data(call, people, tiny_config, tmp_path, assert_one_line_error, what):
    spoil, *words = SPOILT[what]
    for folder in sorted((people / "train" / "images").iterdir())[:2]:
        shutil.copytree(folder, tmp_path / "data" / "train" / "images" / folder.name)
    spoil(tmp_path / "data")
    result = call("train.py", "-c", tiny_config, "--set", "data_dir=data")
    assert_one_line_error(result, *words)
    assert not (tmp_path / "saved").exists()
