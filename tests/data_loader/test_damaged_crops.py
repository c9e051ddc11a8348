"""A crop cache whose files were damaged, lost or cut short gives no wrong pixel."""

import os

import numpy as np
import pytest

from data_loader.crops import (
    CROPPED,
    PENDING,
    WHOLE,
)
from tests.cropping import Counting, build, counting
from TRACER.settings import CropSettings
from utils.errors import DataError


class Losing(Counting):
    """What was written to the file of states never reaches it: another took its place."""

    def __call__(self, photos, on_error=None):
        yield from super().__call__(photos, on_error)
        (file,) = self.cache.glob("*/*/states.npy")
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)


class TestLostRows:
    def test_they_are_an_error_and_never_complete(self, photos, tmp_path):
        losing = Losing(None, CropSettings(crop_size=16, num_workers=1))
        losing.cache = tmp_path / "cache"
        with pytest.raises(DataError, match=r"12 of 12 crops were lost.*run the same again"):
            build(photos, tmp_path, losing)
        assert not list(tmp_path.rglob("complete.json"))

        crops, extractor = build(photos, tmp_path)
        assert extractor.asked == photos
        assert (crops.states == CROPPED).all()

    def test_a_cache_that_an_earlier_version_called_complete_is_mended(self, photos, tmp_path):
        crops, _ = build(photos, tmp_path)
        images, states = (np.load(crops.folder / f"{n}.npy", mmap_mode="r+") for n in (
            "images", "states"))  # fmt: skip
        images[3], states[3] = 0, PENDING
        images.flush(), states.flush()

        crops, extractor = build(photos, tmp_path)

        assert extractor.asked == [photos[3]]
        assert (crops[3] == next(counting()([photos[3]])).crop).all()


def damage(path, how):
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "text": b"x" * 300}[how])


@pytest.mark.parametrize("how", ["empty", "cut", "text", "of other photos"])
class TestDamagedSideFiles:
    def test_digests_are_read_anew(self, photos, tmp_path, how):
        build(photos, tmp_path)
        (file,) = (tmp_path / "cache" / "digests").iterdir()
        if how == "of other photos":
            np.savez(file, stamps=np.zeros((5, 3), np.int64), digests=np.zeros(5, "V16"))
        else:
            damage(file, how)
        before = file.read_bytes()

        crops, extractor = build(photos, tmp_path)

        assert not hasattr(extractor, "asked") and (crops.states == CROPPED).all()
        assert file.read_bytes() != before

    @pytest.mark.parametrize("name", ["digests", "images", "boxes", "states"])
    def test_another_cache_is_not_copied_from(self, photos, tmp_path, how, name):
        other, _ = build(photos[:8], tmp_path)
        file = other.folder / f"{name}.npy"
        if how == "of other photos":
            np.save(file, np.load(file)[:3])
        else:
            damage(file, how)

        crops, _ = build(photos, tmp_path)

        assert (crops.states == CROPPED).all()
        for row, photo in enumerate(photos):
            assert (crops[row] == next(counting()([photo])).crop).all()


@pytest.mark.parametrize("name", ["digests", "images", "boxes", "states"])
def test_a_pipe_in_another_cache_is_not_waited_for(photos, tmp_path, name):
    other, _ = build(photos[:8], tmp_path)
    (other.folder / f"{name}.npy").unlink()
    os.mkfifo(other.folder / f"{name}.npy")
    _, extractor = build(photos, tmp_path)
    assert extractor.asked == photos


class TestDamagedPixels:
    def change(self, crops, name, row, value):
        array = np.load(crops.folder / f"{name}.npy", mmap_mode="r+")
        array[row] = value
        array.flush()

    @pytest.mark.parametrize(("name", "value"), [("images", 0), ("boxes", 7), ("states", WHOLE)])
    @pytest.mark.parametrize("finished", [True, False])
    def test_they_are_noticed_and_made_anew(self, photos, tmp_path, caplog, name, value, finished):
        crops, _ = build(photos, tmp_path)
        expected = crops.images.copy(), crops.boxes.copy(), crops.states.copy()
        if not finished:
            (crops.folder / "complete.json").unlink()
        self.change(crops, name, 3, value)

        again, extractor = build(photos, tmp_path)

        assert extractor.asked == [photos[3]]
        assert f"{crops.folder}: 1 damaged crops are made anew" in caplog.text
        for was, now in zip(expected, (again.images, again.boxes, again.states), strict=True):
            np.testing.assert_array_equal(was, now)

    def test_they_are_not_copied_to_another_cache(self, photos, tmp_path):
        crops, _ = build(photos[:8], tmp_path)
        self.change(crops, "images", 3, 0)
        _, extractor = build(photos, tmp_path)
        assert extractor.asked == [photos[3], *photos[8:]]

    def test_a_cache_of_a_version_without_checks_is_believed_and_gets_some(self, photos, tmp_path):
        crops, _ = build(photos[:8], tmp_path)
        (crops.folder / "checks.npy").unlink()
        _, extractor = build(photos[:8], tmp_path)
        assert not hasattr(extractor, "asked")

        (crops.folder / "complete.json").unlink()
        _, extractor = build(photos[:8], tmp_path)
        assert extractor.asked == []
        assert np.load(crops.folder / "checks.npy").all()

    @pytest.mark.parametrize("missing", [["images"], ["states"], ["images", "checks"]])
    def test_crops_of_which_a_file_is_gone_are_made_anew(self, photos, tmp_path, missing):
        crops, _ = build(photos, tmp_path)
        (crops.folder / "complete.json").unlink()
        for name in missing:
            (crops.folder / f"{name}.npy").unlink()
        again, extractor = build(photos, tmp_path)
        assert extractor.asked == photos
        assert (again[5] == next(counting()([photos[5]])).crop).all()


class TestShapes:
    def assert_refused(self, photos, tmp_path, file):
        size = file.stat().st_size
        for again in range(2):
            with pytest.raises(
                DataError, match=r"damaged crop cache.*delete this folder"
            ) as refused:
                build(photos, tmp_path)
            assert "\n" not in str(refused.value)
            if not again:
                (file.parent / "complete.json").unlink(missing_ok=True)  # as if it were to go on
        assert file.stat().st_size == size, "nothing was filled up"

    @pytest.mark.parametrize("name", ["images", "boxes", "states", "checks"])
    @pytest.mark.parametrize("by", [-1, 1])
    def test_a_file_too_short_or_too_long_is_refused(self, photos, tmp_path, name, by):
        crops, _ = build(photos, tmp_path)
        file = crops.folder / f"{name}.npy"
        os.truncate(file, file.stat().st_size + by)
        self.assert_refused(photos, tmp_path, file)

    @pytest.mark.parametrize(
        "other",
        [
            np.zeros((11, 16, 16, 3), np.uint8),
            np.zeros((12, 16, 48), np.uint8),
            np.zeros((12, 16, 16, 3), np.int8),
            np.asfortranarray(np.zeros((12, 16, 16, 3), np.uint8)),
            np.zeros(12 * 16 * 16 * 3, np.uint8),
        ],
    )
    def test_another_shape_or_type_is_refused(self, photos, tmp_path, other):
        crops, _ = build(photos, tmp_path)
        np.save(crops.folder / "images.npy", other)
        self.assert_refused(photos, tmp_path, crops.folder / "images.npy")


def test_an_unfinished_cache_that_is_damaged_is_named(photos, tmp_path):
    crops, _ = build(photos, tmp_path)
    (crops.folder / "complete.json").unlink()
    damage(crops.folder / "states.npy", "empty")
    with pytest.raises(DataError, match=f"{crops.folder.name}: damaged crop cache.*delete"):
        build(photos, tmp_path)
