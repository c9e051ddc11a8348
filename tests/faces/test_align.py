import cv2
import numpy as np
import pytest

from faces.align import EYES, align_folder, aligned
from utils.images import read_image


def photo_with_eyes(eyes, width=400, height=500):
    """Black, with a green left and a red right eye."""
    photo = np.zeros((height, width, 3), np.uint8)
    for (x, y), color in zip(eyes, [(0, 255, 0), (255, 0, 0)], strict=True):
        cv2.circle(photo, (round(x), round(y)), 6, color, -1)
    return photo


def places_of_eyes(crop):
    """Centers of green and red, as shares of the side."""
    # Above what the JPEG left of the black.
    weights = [np.maximum(crop[:, :, channel].astype(float) - 60, 0) for channel in (1, 0)]
    rows, columns = np.mgrid[: crop.shape[0], : crop.shape[1]] + 0.5
    return np.array(
        [[(w * columns).sum() / w.sum(), (w * rows).sum() / w.sum()] for w in weights]
    ) / len(crop)


@pytest.mark.parametrize(
    "eyes",
    [
        pytest.param([[150, 200], [250, 200]], id="upright"),
        pytest.param([[150, 230], [240, 180]], id="tilted"),
        pytest.param([[60, 90], [90, 92]], id="small, at the border"),
    ],
)
@pytest.mark.parametrize("size", [64, 150])
def test_eyes_come_to_lie_in_the_same_place(eyes, size):
    crop = aligned(photo_with_eyes(eyes), np.array(eyes, float), size)
    assert crop.shape == (size, size, 3)
    assert places_of_eyes(crop) == pytest.approx(EYES, abs=0.01)


def test_a_folder_keeps_its_names_and_every_photo(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    eyes = np.array([[0.3, 0.4], [0.6, 0.4]])
    for name in ("000001_male_Asian_20/normal.jpg", "a.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(photos / name), photo_with_eyes(eyes * (400, 500))[:, :, ::-1])
    (photos / "notes.txt").write_text("no photo")
    found = align_folder(photos, out, 64, lambda photo: (eyes, "test"))
    assert found == {"test": 2}
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == ["000001_male_Asian_20/normal.jpg", "a.png"]
    # With the project's own reader, which goes by the content and not by the name.
    assert places_of_eyes(read_image(out / files[0])) == pytest.approx(EYES, abs=0.02)
