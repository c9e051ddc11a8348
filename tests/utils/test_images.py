import io
import itertools
import os
import pickle
import re
import struct

import numpy as np
import pytest
from PIL import Image

from tests.pictures import by_hand, encoded, png, tiff
from utils.errors import DataError, TooManyPixels
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


def test_a_cmyk_jpeg_keeps_its_colors(tmp_path, rgb):
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "a.jpg")
    assert is_red_left_blue_right(read_image(tmp_path / "a.jpg"))


def test_gray_becomes_three_equal_channels(tmp_path):
    Image.fromarray(np.full((8, 9), 77, np.uint8)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 77).all()


def test_16_bit_gray_is_scaled_rather_than_clipped(tmp_path):
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


def test_linked_folders_are_looked_into_but_not_in_circles(tmp_path):
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    photos.mkdir()
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "deep" / "a.png").touch()
    (elsewhere / "self").symlink_to(elsewhere)
    (elsewhere / "deep" / "back").symlink_to(photos)
    for name in ("one", "two"):  # the same class under two names is the user's business
        (photos / name).symlink_to(elsewhere)
    (photos / "gone").symlink_to(tmp_path / "gone")
    found, others = find_images(photos)
    assert found == [photos / "one/deep/a.png", photos / "two/deep/a.png"]
    assert others == [photos / "gone"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    with pytest.raises(DataError, match="gone: cannot be listed"):
        find_images(tmp_path / "gone")


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
def test_deep_gray_neither_wraps_nor_turns_black(tmp_path, kind, pixels, expected):
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


@pytest.mark.slow
def test_a_huge_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path):
    Image.new("L", (20_000, 20_000), 90).save(tmp_path / "huge.jpg")
    image = read_image(tmp_path / "huge.jpg")
    assert image.shape == (10_000, 10_000, 3)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_a_large_photo_of_a_camera_is_decoded_at_a_fraction_of_its_size(kind, mode):
    data = encoded(Image.new(mode, (200, 200)), kind)
    assert decode_image(data, max_pixels=40_000).shape == (200, 200, 3)
    assert decode_image(data, max_pixels=10_000).shape == (100, 100, 3)
    assert decode_image(data, max_pixels=1_000).shape == (25, 25, 3)
    with pytest.raises(TooManyPixels, match="200x200 pixels"):
        decode_image(data, max_pixels=500)


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_a_large_jpeg_that_its_decoder_would_hold_whole_is_refused(kind):
    """It takes 6 bytes a claimed pixel, at whatever fraction of its size it is decoded."""
    image = Image.new("RGB", (200, 200))
    progressive = encoded(image, kind, progressive=True)
    scan = b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00"
    each_channel_alone = encoded(image, kind).replace(scan, b"\xff\xda\0\x08\1\1\0\0\x3f\0")
    for data in (progressive, each_channel_alone):
        with pytest.raises(TooManyPixels, match="200x200 pixels"):
            decode_image(data, max_pixels=10_000)
    assert decode_image(progressive, max_pixels=40_000).shape == (200, 200, 3)


def test_a_huge_png_is_refused_before_it_fills_the_memory(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    with pytest.raises(DataError, match="20000x20000 pixels"):
        read_image(tmp_path / "huge.png")


def test_too_many_pixels_keep_what_they_say_on_the_way_from_another_process():
    error = pickle.loads(pickle.dumps(TooManyPixels("a.png: too large", 144.0)))
    assert (str(error), error.args[1]) == ("a.png: too large", 144.0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "endless.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("fifo.jpg", "endless.jpg", "folder.jpg"):
        with pytest.raises(DataError, match=rf"{name}: cannot be read \(no regular file\)"):
            read_image(tmp_path / name)


def test_a_file_that_claims_to_be_enormous_is_not_read(tmp_path):
    with open(tmp_path / "sparse.jpg", "wb") as file:
        file.truncate(100 * 2**30)
    with pytest.raises(DataError, match=r"sparse\.jpg: .*larger than the 1,074 MB"):
        read_image(tmp_path / "sparse.jpg")


def test_a_program_called_a_photo_is_never_run(tmp_path, monkeypatch):
    """Pillow would hand PostScript to Ghostscript, whatever the file is called."""
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/was_run\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n"
    )
    with pytest.raises(DataError, match=r"photo\.jpg: not an image"):
        read_image(photo)
    assert not (tmp_path / "was_run").exists()


def test_pictures_are_opened_in_one_place(request):
    """So that the list of formats and the limits hold for all; others decode what is in memory and
    their own, and examples/ runs without the project."""
    root = request.config.rootpath
    opening = re.compile(r"\b(Image\.open|imread|imdecode|pil_loader)\b")
    files = [file for file in root.rglob("*.py") if file.relative_to(root).parts[0] not in OTHERS]
    places = {str(f.relative_to(root)) for f in files if opening.search(f.read_text("utf-8"))}
    # faces/align.py runs in an environment of its own, without the project.
    assert len(files) > 100 and places - {"faces/align.py"} == {"utils/images.py"}


OTHERS = ("tests", "examples", ".venv", "saved", "data", "submit")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("channels", "kind"), [(1, 0), (3, 2), (2, 4), (4, 6)])
def test_a_png_of_any_depth_has_the_pixels_that_the_standard_says(channels, kind, bits):
    white = 2**bits - 1
    pixels = np.random.default_rng(kind).integers(0, white + 1, (9, 7, channels))
    assert_near(decode_image(png(pixels, bits, kind)), by_hand(pixels, white))


def assert_near(image, expected):
    # Of 16 bits Pillow keeps the upper 8, of the color and of the transparency.
    assert image.dtype == np.uint8 and np.abs(image - expected).max() < 2.0


def test_a_dark_png_of_16_bits_stays_dark():
    assert (decode_image(png(np.full((2, 2, 1), 200), 16, 0)) == 1).all()


def test_a_tiff_of_32_bits_does_not_wrap():
    pixels = np.array([[0, 2**31 - 1, 2**31, 2**32 - 1]] * 2, np.uint32)
    assert_near(decode_image(tiff(pixels)), by_hand(pixels, 2**32 - 1))


@pytest.mark.parametrize("endian", "<>")
def test_tiffs_of_other_depths(endian):
    draw = np.random.default_rng(0)
    deep = draw.integers(0, 65_536, (5, 6), dtype=np.uint16)
    deep[0, 0] = 65_535
    assert_near(decode_image(tiff(deep, endian)), by_hand(deep, 65_535))
    color = draw.integers(0, 65_536, (5, 6, 3), dtype=np.uint16)
    assert_near(decode_image(tiff(color, endian, photometric=2)), by_hand(color, 65_535))
    negative = draw.integers(0, 256, (5, 6), dtype=np.uint8)
    assert_near(decode_image(tiff(negative, endian, photometric=0)), 255 - by_hand(negative))
    floats = draw.random((5, 6), dtype=np.float32)
    assert_near(decode_image(tiff(floats, endian, sample_format=3)), by_hand(floats, 1.0))
    floats[0] = [np.inf, -np.inf, np.nan, -3.0, 0.0, 1.0]
    image = decode_image(tiff(floats, endian, sample_format=3))
    assert image[0, :, 0].tolist() == [255, 0, 0, 0, 0, 255]


def test_ink_is_taken_from_white():
    ink = np.random.default_rng(0).integers(0, 256, (5, 6, 4), dtype=np.uint8)
    expected = 255 * (1 - ink[..., :3] / 255) * (1 - ink[..., 3:] / 255)
    assert_near(decode_image(tiff(ink, photometric=5)), expected)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_each_pixel_of_a_palette_has_its_color(kind):
    draw = np.random.default_rng(0)
    palette, codes = draw.integers(0, 256, (4, 3)), draw.integers(0, 4, (9, 7), dtype=np.uint8)
    image = Image.fromarray(codes, "P")
    image.putpalette(palette.astype(np.uint8).tobytes())
    assert_near(decode_image(encoded(image, kind)), palette[codes])
    clear = decode_image(encoded(image, kind, transparency=2))
    assert_near(clear, np.where((codes == 2)[..., None], 255, palette[codes]))


def test_one_bit_is_black_or_white():
    bits = np.random.default_rng(0).integers(0, 2, (9, 13)).astype(bool)
    for kind in ("PNG", "TIFF", "BMP"):
        image = decode_image(encoded(Image.fromarray(bits), kind))
        assert_near(image, np.repeat(255 * bits[..., None], 3, axis=2))


def test_a_large_photo_made_rgb_in_strips_is_the_same_photo(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 4), dtype=np.uint8)
    data = encoded(Image.fromarray(pixels), "PNG")
    whole = decode_image(data)
    monkeypatch.setattr("utils.images.STRIP", 150)
    assert (decode_image(data) == whole).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (511, 13), (2200, 2000)])  # 17 MiB in Pillow
def test_the_pixels_are_those_that_were_saved_whatever_the_size(shape):
    expected = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(expected).save(file, "BMP")
    pixels = [decode_image(file.getvalue()) for _ in range(3)]  # the memory of one is not another's
    assert all((image == expected).all() and image.flags.c_contiguous for image in pixels)


def test_a_single_pixel_is_a_picture(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]
