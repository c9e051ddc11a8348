import io

import numpy as np
import pytest
from PIL import Image

from utils.errors import DataError
from utils.images import read_image


@pytest.fixture
def rgb():
    """Left half red, right half blue: 40 wide, 30 high."""
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, :20, 0] = image[:, 20:, 2] = 255
    return image


def is_red_left_blue_right(image, tolerance=30):
    left, right = image[15, 5].astype(int), image[15, 35].astype(int)
    return (
        np.abs(left - (255, 0, 0)).max() < tolerance
        and np.abs(right - (0, 0, 255)).max() < tolerance
    )


def test_a_jpeg_and_a_png_are_read_as_rgb(tmp_path, rgb):
    for name in ("a.jpg", "a.png"):
        Image.fromarray(rgb).save(tmp_path / name)
        image = read_image(tmp_path / name)
        assert image.shape == (30, 40, 3) and image.dtype == np.uint8
        assert is_red_left_blue_right(image)


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path, rgb):
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "a.jpg")
    assert is_red_left_blue_right(read_image(tmp_path / "a.jpg"))


def test_grey_becomes_three_equal_channels(tmp_path):
    Image.fromarray(np.full((8, 9), 77, np.uint8)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 77).all()


def test_16_bit_grey_is_scaled_rather_than_clipped(tmp_path):
    Image.fromarray(np.full((8, 9), 128 * 257, np.uint16)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.shape == (8, 9, 3) and (image == 128).all()


def test_what_is_transparent_becomes_white(tmp_path, rgb):
    alpha = np.zeros((30, 40, 1), np.uint8)
    alpha[:, :20] = 255
    Image.fromarray(np.concatenate([rgb, alpha], axis=2)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert (image[:, :20] == (255, 0, 0)).all() and (image[:, 20:] == 255).all()


def test_a_palette_picture_is_read(tmp_path, rgb):
    Image.fromarray(rgb).convert("P").save(tmp_path / "a.png")
    assert is_red_left_blue_right(read_image(tmp_path / "a.png"))


def test_exif_orientation_is_applied(tmp_path, rgb):
    upright = Image.fromarray(rgb)
    exif = upright.getexif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees to the right to see it upright
    upright.rotate(90, expand=True).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (30, 40, 3) and is_red_left_blue_right(image)


def jpeg_bytes(rgb):
    buffer = io.BytesIO()
    Image.fromarray(rgb).resize((200, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda rgb: b"", "the file is empty"),
        (lambda rgb: b"no picture at all", "not an image"),
        (lambda rgb: jpeg_bytes(rgb)[:-400], "broken image"),
        (lambda rgb: b"\x89PNG\r\n\x1a\n", "image"),
    ],
)
def test_a_broken_file_is_named_with_the_reason(tmp_path, rgb, content, message):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content(rgb))
    with pytest.raises(DataError, match=rf"broken\.jpg: .*{message}"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.jpg: cannot be read"):
        read_image(tmp_path / "gone.jpg")


def test_a_huge_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path):
    Image.new("L", (20_000, 20_000), 90).save(tmp_path / "huge.jpg")
    image = read_image(tmp_path / "huge.jpg")
    assert image.shape == (10_000, 10_000, 3)


def test_a_huge_png_is_refused_before_it_fills_the_memory(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    with pytest.raises(DataError, match="20000x20000 pixels"):
        read_image(tmp_path / "huge.png")


def test_a_single_pixel_is_a_picture(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]
