"""What is measured of a photo."""

import cv2
import pytest

from base.task import load_task
from data_loader.dataset import read_index
from tools.explore.photos import measure, measure_all

FACES = load_task("faces")


def copy_as(source, target, *, mirrored=False):
    """Somebody's photo under another name: smaller, recompressed, perhaps mirrored."""
    photo = cv2.resize(cv2.imread(str(source)), None, fx=0.7, fy=0.7)
    cv2.imwrite(str(target), photo[:, ::-1] if mirrored else photo, [cv2.IMWRITE_JPEG_QUALITY, 70])


class TestMeasuring:
    @pytest.mark.slow
    def test_several_processes_find_what_one_finds_in_the_order_of_the_photos(self, shapes):
        photos = sorted(shapes.glob("train/*/*.png"))
        found = measure_all(photos * 5, workers=2)  # so many that it is worth two
        for row in range(0, len(photos), 7):
            one = measure(photos[row])
            assert (found.bits[row] == one.bits).all()
            assert found.brightness[row] == one.brightness

    def test_a_hash_survives_a_copy_and_tells_people_apart(self, people, tmp_path):
        paths = read_index(people, FACES.settings).paths()
        copy_as(paths[0], tmp_path / "copy.jpg")
        original, copied, other = (measure(p) for p in (paths[0], tmp_path / "copy.jpg", paths[70]))
        assert (original.bits != copied.bits).sum() < 20 < 50 < (original.bits != other.bits).sum()

    def test_a_missing_file_is_a_broken_one(self, tmp_path):
        assert "cannot be read" in measure(tmp_path / "none.jpg").error
