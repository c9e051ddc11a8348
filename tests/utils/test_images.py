import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image

from utils.errors import DataError
from utils.images import EXTENSIONS, FORMATS, KINDS, decode_image, find_images, read_image


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


def exif_with(tag, kind, count, fill, endian="<"):
    """An EXIF block: orientation 6, and one more tag of that type and count, filled with a byte."""
    entry = struct.pack(endian + "HHL", tag, kind, count)
    fits = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}.get(kind, 1) * count <= 4
    entry += bytes([fill]) * 4 if fits else struct.pack(endian + "L", 38)
    entries = sorted([(0x112, struct.pack(endian + "HHLHH", 0x112, 3, 1, 6, 0)), (tag, entry)])
    head = {"<": b"II*\0", ">": b"MM\0*"}[endian] + struct.pack(endian + "LH", 8, 2)
    return b"Exif\0\0" + head + b"".join(each for _, each in entries) + bytes([fill]) * 64


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
def test_no_odd_exif_tag_keeps_a_photo_from_being_read_or_turned(rgb):
    # Width, maker, resolution, software, pointers to other blocks, notes, comments of Windows, …
    tags = (0x100, 0x10F, 0x11A, 0x128, 0x131, 0x132, 0x8769, 0x8825, 0xA005, 0x927C, 0x9C9B)
    kinds = (0, 1, 2, 3, 4, 5, 7, 10, 12, 13, 65535)
    fillings = ((0, 0), (1, 0), (1, 255), (5, 255), (2**31, 1))
    side = io.BytesIO()
    Image.fromarray(rgb).rotate(90, expand=True).save(side, "JPEG", quality=95)
    jpeg = side.getvalue()
    for tag, kind, (count, fill) in itertools.product(tags, kinds, fillings):
        block = exif_with(tag, kind, count, fill, "<>"[(tag + kind) % 2])
        marker = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
        image = decode_image(jpeg[:2] + marker + jpeg[2:])
        assert image.shape == (30, 40, 3) and is_red_left_blue_right(image), (tag, kind, count)


@pytest.mark.parametrize("kind", sorted(FORMATS.keys() - {"BMP", "GIF", "JPEG2000"}))
def test_a_turned_photo_of_any_kind_that_knows_orientation_is_upright(rgb, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(rgb).rotate(90, expand=True).save(file, kind, exif=exif.tobytes(), quality=95)
    image = decode_image(file.getvalue())
    assert image.shape == (30, 40, 3) and is_red_left_blue_right(image)


@pytest.mark.parametrize("kind", [*FORMATS, "MPO"])
def test_every_kind_of_photo_is_read_whatever_it_is_called(tmp_path, rgb, kind):
    Image.fromarray(rgb).save(tmp_path / "photo.jpg", kind)
    assert is_red_left_blue_right(read_image(tmp_path / "photo.jpg"))


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICO", "EPS", "PCX"])
def test_nothing_else_is_decoded_whatever_it_is_called(tmp_path, rgb, kind):
    Image.fromarray(rgb).save(tmp_path / "photo.jpg", kind)
    with pytest.raises(DataError, match=r"photo\.jpg: not an image .*PNG.*HEIF can"):
        read_image(tmp_path / "photo.jpg")


def test_the_kinds_are_named_in_messages():
    assert len(KINDS) == len(FORMATS)
    for kind, name in zip(FORMATS, KINDS, strict=True):
        assert name.upper().replace(" ", "") == kind


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
def test_what_a_decoder_raises_is_an_error_of_the_photo(tmp_path, rgb):
    """Bytes of good photos are changed at random; whatever comes of it has the path in it."""
    draw = np.random.default_rng(0)
    for kind in FORMATS:
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, kind)
        for _ in range(40):
            data = np.frombuffer(file.getvalue(), np.uint8).copy()
            places = draw.integers(0, min(len(data), 400), 6)
            data[places] = draw.integers(0, 256, 6)
            try:
                assert decode_image(data.tobytes(), "odd.jpg").dtype == np.uint8
            except DataError as error:
                assert str(error).startswith("odd.jpg: ") and "\n" not in str(error)


def test_photos_and_other_files_of_a_folder_are_told_apart(tmp_path):
    (tmp_path / "sub.jpg").mkdir()
    (tmp_path / ".cache").mkdir()
    photos = [f"photo{ending}" for ending in EXTENSIONS] + ["UPPER.HEIC", "sub.jpg/a.png"]
    others = ["notes.txt", "film.mov", "sub.jpg/jpg"]
    for name in [*photos, *others, ".hidden.jpg", "Thumbs.db", ".cache/c.jpg"]:
        (tmp_path / name).touch()
    found = find_images(tmp_path)
    assert found == tuple(sorted(tmp_path / name for name in names) for names in (photos, others))


@pytest.mark.parametrize(
    ("kind", "pixels", "expected"),
    [
        ("TIFF", np.array([[0, 30_000, 65_535]], np.int32), [0, 117, 255]),
        ("TIFF", np.array([[-5, 100_000, 200_000]], np.int32), [0, 128, 255]),
        ("TIFF", np.array([[0, 77, 200]], np.int32), [0, 77, 200]),
        ("TIFF", np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        ("TIFF", np.array([[-1.0, 0.5, 1.25]], np.float32), [0, 128, 255]),
        ("TIFF", np.array([[np.nan, 127.5, 255.0]], np.float32), [0, 128, 255]),
        ("TIFF", np.array([[0.0, 32_896.0, 65_535.0]], np.float32), [0, 128, 255]),
        ("PNG", np.array([[0, 128 * 257, 65_535]], np.uint16), [0, 128, 255]),
    ],
)
def test_deep_grey_neither_wraps_nor_turns_black(tmp_path, kind, pixels, expected):
    Image.fromarray(pixels).save(tmp_path / "deep", kind)
    assert read_image(tmp_path / "deep")[0, :, 1].tolist() == expected


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


def test_a_huge_jpeg_of_a_phone_with_two_pictures_in_it_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.images.MAX_PIXELS", 10_000)
    Image.new("RGB", (200, 200)).save(tmp_path / "huge.jpg", "MPO")
    assert read_image(tmp_path / "huge.jpg").shape == (100, 100, 3)


def test_a_huge_png_is_refused_before_it_fills_the_memory(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    with pytest.raises(DataError, match="20000x20000 pixels"):
        read_image(tmp_path / "huge.png")


def test_a_single_pixel_is_a_picture(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]
