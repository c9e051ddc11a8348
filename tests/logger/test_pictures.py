import cv2
import numpy as np
import pytest

from logger.pictures import (
    GREEN,
    PAPER,
    confusion_picture,
    contact_sheet,
    drawable,
    learning_curves,
    most_confused,
    save_picture,
    scatter_picture,
)

UNDRAWN = "\U0010fffd"
"""A character that no font has."""


def is_picture(image):
    return image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.std() > 0


@pytest.mark.parametrize("best", [None, 2])
def test_learning_curves_take_what_the_history_has(best):
    history = [
        {"epoch": 1, "train/loss": 1.0, "val/f1": 0.1},
        {"epoch": 2, "train/loss": float("nan"), "val/loss": 0.5},
    ]
    assert is_picture(learning_curves(history, best))
    assert is_picture(learning_curves(history[:1], best))


def test_a_confusion_matrix_shows_classes_that_never_occurred():
    matrix = np.zeros((18, 18), int)
    matrix[3, 4] = 100
    assert is_picture(confusion_picture(matrix, [f"class {n}" for n in range(18)], "18 classes"))


def test_a_picture_of_a_thousand_classes_shows_the_most_confused_and_stays_small():
    matrix = np.diag(np.full(1000, 50))
    matrix[700, 300] = 20
    assert {300, 700} <= set(most_confused(matrix))
    assert most_confused(matrix, 2).tolist() == [300, 700]
    picture = confusion_picture(matrix, [f"class {n}" for n in range(1000)], "classes")
    assert is_picture(picture) and max(picture.shape) <= 2100


class TestContactSheet:
    def test_photos_of_any_size_and_shape_are_fitted_into_a_grid(self):
        sizes = [(10, 30), (300, 100), (160, 160), (1, 1), (40, 40)]
        photos = [np.full((*size, 3), 50 * n, np.uint8) for n, size in enumerate(sizes)]

        sheet = contact_sheet(photos, [[("text", GREEN)]] * 5, columns=3, side=160)

        assert sheet.shape == (2 * (160 + 18 + 12) + 8, 3 * 170 + 10, 3)
        assert (sheet[8:168, 350:510] == 100).all()

    def test_captions_keep_their_color(self):
        photo = np.zeros((160, 160, 3), np.uint8)
        sheet = contact_sheet([photo], [[("right", GREEN)]])
        assert (sheet[170:] == GREEN).all(axis=2).any()

    def test_fewer_photos_than_columns_make_a_narrow_sheet(self):
        sheet = contact_sheet([np.zeros((8, 8, 3), np.uint8)], [[]], columns=6)
        assert sheet.shape[1] == 180
        assert (sheet[-1] == PAPER).all()


def test_a_saved_picture_is_read_back_in_the_same_colors(tmp_path):
    image = np.zeros((4, 5, 3), np.uint8)
    image[..., 0] = 255
    save_picture(tmp_path / "new" / "red.png", image)
    read = cv2.cvtColor(cv2.imread(str(tmp_path / "new" / "red.png")), cv2.COLOR_BGR2RGB)
    assert (read == image).all()


@pytest.mark.filterwarnings("error")
def test_names_with_dollars_are_no_formulas():
    names = ["$5-$10", "$a_{$", "$\\x$"]
    assert is_picture(confusion_picture(np.eye(3, dtype=int), names, "price in $, not in $x"))
    assert is_picture(scatter_picture(np.arange(3), np.arange(3), r"$\\price$"))


@pytest.mark.filterwarnings("error")
def test_what_no_font_draws_is_named_by_its_number_and_never_a_box():
    names = drawable(["round ≥60", f"x{UNDRAWN}", "마스크"])
    assert names[:2] == ["round ≥60", "#1"] and names[2] in ("마스크", "#2")
    assert is_picture(confusion_picture(np.eye(3, dtype=int), names, "shape"))
    photo = np.zeros((8, 8, 3), np.uint8)
    sheets = [contact_sheet([photo], [[(text, GREEN)]]) for text in ("≥60", "–")]
    assert not np.array_equal(*sheets)
