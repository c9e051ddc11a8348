"""The arrays of a crop cache: opened only if they are what they should be."""

import numpy as np
import pytest

from data_loader import crop_files
from data_loader.crop_files import CROPPED, PENDING, SHAPES, UNREADABLE, WHOLE, load_arrays
from utils.errors import DataError

PHOTOS, SIDE = 5, 8


@pytest.fixture
def folder(tmp_path):
    for name, (dtype, shape_of) in SHAPES.items():
        crop_files.create_array(tmp_path / f"{name}.npy", dtype, shape_of(PHOTOS, SIDE))
    return tmp_path


@pytest.fixture
def arrays(folder):
    """A cache whose rows 0 and 1 are done."""
    arrays = load_arrays(folder, "r+", (PHOTOS, SIDE))
    arrays["images"][:2] = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3))
    arrays["states"][:2] = CROPPED, WHOLE
    arrays["checks"][:2] = crop_files.checks_of(arrays, range(2))
    return arrays


def test_what_was_made_is_whole_and_of_zeros(folder):
    arrays = load_arrays(folder, "r")
    assert {name: array.shape for name, array in arrays.items()} == {
        "images": (5, 8, 8, 3), "boxes": (5, 4), "states": (5,), "checks": (5,),
    }  # fmt: skip
    assert not any(array.any() for array in arrays.values())
    assert not list(folder.glob("*.partial"))


def test_only_rows_with_a_crop_are_there():
    states = np.array([CROPPED, PENDING, WHOLE, UNREADABLE, 77])
    assert crop_files.missing_rows(states).tolist() == [1, 3, 4]


@pytest.mark.parametrize("name", ["images", "boxes", "states"])
def test_a_changed_row_is_damaged_whatever_of_it_changed(arrays, name):
    assert crop_files.damaged_rows(arrays).tolist() == []
    arrays[name][1] = CROPPED
    assert crop_files.damaged_rows(arrays).tolist() == [1]


def test_a_cache_without_checks_is_believed(arrays, folder):
    (folder / "checks.npy").unlink()
    arrays["images"][1] = 0
    assert crop_files.damaged_rows(load_arrays(folder, "r")).tolist() == []


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("states", np.zeros(PHOTOS, np.int64), "states.npy is int64"),
        ("boxes", np.zeros((PHOTOS, 3), np.int32), r"boxes.npy is int32 \(5, 3\)"),
        ("images", np.asfortranarray(np.zeros((PHOTOS, SIDE, SIDE, 3), np.uint8)), "images.npy"),
        ("images", None, "images.npy is not there"),
    ],
)
def test_another_array_is_refused_with_the_way_out(folder, name, array, words):
    (folder / f"{name}.npy").unlink()
    if array is not None:
        np.save(folder / f"{name}.npy", array)
    with pytest.raises(DataError, match=f"{words}.*delete this folder"):
        load_arrays(folder, "r", (PHOTOS, SIDE))


def test_bytes_after_the_end_are_refused(folder):
    with open(folder / "boxes.npy", "ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match=r"boxes.npy goes on after its end"):
        load_arrays(folder, "r+")
