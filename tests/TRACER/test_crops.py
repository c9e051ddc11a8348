"""From a saliency map to a crop: nothing lost at the borders, no shape too odd."""

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from TRACER.crops import (
    FACE_MIDDLE,
    FACE_SIDE,
    HEAD_HEIGHT,
    cut_out,
    extract_crop,
    head_box,
    largest_region,
    resize,
    resize_map,
)
from TRACER.settings import CropSettings

KEEP = CropSettings(background="keep", margin=0.0)


@pytest.fixture
def any_area(monkeypatch):
    """Regions of any size count."""
    monkeypatch.setattr("TRACER.crops.MIN_AREA", 0.0)


def map_with(*boxes: tuple[int, int, int, int], side: int = 64) -> np.ndarray:
    saliency = np.zeros((side, side), np.uint8)
    for x0, y0, x1, y1 in boxes:
        saliency[y0:y1, x0:x1] = 255
    return saliency


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)


def test_box_is_scaled_to_the_photo(any_area):
    extraction = extract_crop(noise(256, 128), map_with((16, 8, 32, 24)), KEEP)
    assert extraction.box == (32, 32, 64, 96)
    assert not extraction.fallback


def test_largest_region_wins_and_the_others_turn_black():
    photo, saliency = noise(64, 64), map_with((0, 0, 30, 30), (32, 40, 40, 48))
    extraction = extract_crop(photo, saliency, CropSettings(crop_size=64, margin=1.0))
    assert extraction.box == (0, 0, 60, 60)

    whole = extract_crop(
        photo, map_with((0, 0, 40, 64), (50, 0, 64, 20)), CropSettings(crop_size=64, margin=1.0)
    )
    assert whole.box == (0, 0, 64, 64)
    assert (whole.crop[:, :40] == photo[:, :40]).all()
    assert (whole.crop[:, 41:] == 0).all()


def person_of(head, side=96, top=10, shoulders=80):
    """A map with a round head of this width over broad shoulders, in a ``side`` px square."""
    saliency = np.zeros((side, side), np.uint8)
    middle, height = side // 2, round(1.3 * head)
    down, across = np.mgrid[:side, :side]
    radius = ((down - top - height / 2) / (height / 2)) ** 2 + ((across - middle) / (head / 2)) ** 2
    saliency[radius <= 1] = 255
    saliency[top + height - 4 : top + height + 4, middle - head // 4 : middle + head // 4] = 255
    saliency[top + height + 4 :, middle - shoulders // 2 : middle + shoulders // 2] = 255
    return saliency


@pytest.mark.parametrize("head", [20, 28, 36])
def test_the_head_region_is_a_square_around_the_head(head):
    settings = CropSettings(crop_size=32, region="head", margin=0.05)
    extraction = extract_crop(noise(192, 192), person_of(head), settings)
    x0, y0, x1, y1 = (edge / 2 for edge in extraction.box)  # in pixels of the map
    assert x1 - x0 == pytest.approx(y1 - y0, abs=1)
    assert (x0 + x1) / 2 == pytest.approx(48, abs=1.5)
    assert y0 <= 10 and y1 >= 10 + 1.2 * head  # from the crown to the chin
    assert head <= x1 - x0 <= 1.7 * head


@pytest.mark.parametrize("head", [20, 28, 36])
def test_the_face_region_is_a_square_in_the_lower_middle_of_the_head(head):
    photo, saliency = noise(192, 192), person_of(head)
    of_head, of_face = (
        extract_crop(photo, saliency, CropSettings(crop_size=32, region=region, margin=0.0)).box
        for region in ("head", "face")
    )
    side = of_head[3] - of_head[1]
    assert of_face[2] - of_face[0] == pytest.approx(of_face[3] - of_face[1], abs=1)
    assert of_face[3] - of_face[1] == pytest.approx(0.72 * side, abs=2)
    assert (of_face[0] + of_face[2]) / 2 == pytest.approx(96, abs=3)
    assert of_head[1] + 0.15 * side < of_face[1] and of_face[3] <= of_head[3]


def test_long_hair_that_hides_the_neck_does_not_bring_the_shoulders_in():
    saliency = person_of(28)
    saliency[20:60, 34:62] = 255
    settings = CropSettings(crop_size=32, region="head")
    left, _, right, bottom = extract_crop(noise(96, 96), saliency, settings).box
    assert right - left <= 1.8 * 28 and bottom <= 66


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (300, 5), (512, 384)])
@pytest.mark.parametrize("box", [(0, 0, 64, 64), (0, 60, 64, 64), (60, 0, 64, 64), (9, 9, 10, 10)])
@pytest.mark.parametrize("region", ["head", "face"])
def test_the_head_of_any_outline_lies_within_the_photo(shape, box, region, any_area):
    settings = CropSettings(crop_size=16, region=region)
    extraction = extract_crop(noise(*shape), map_with(box), settings)
    x0, y0, x1, y1 = extraction.box
    assert 0 <= x0 < x1 <= shape[1] and 0 <= y0 < y1 <= shape[0]
    assert extraction.crop.shape == (16, 16, 3)


def slow_region(saliency, level):
    """The largest 8-connected part by flooding: its box, and the map without the others."""
    above, best = saliency >= level, []
    left = set(zip(*np.nonzero(above), strict=True))
    for start in sorted(left):  # of equally large parts the first one in reading order counts
        part, edge = [], [start] if start in left else []
        left.discard(start)
        while edge:
            part.append(here := edge.pop())
            around = {(here[0] + y, here[1] + x) for y in (-1, 0, 1) for x in (-1, 0, 1)} & left
            left -= around
            edge.extend(around)
        best = part if len(part) > len(best) else best
    rows, columns = np.array(best).T
    kept = np.where(above, 0, saliency)
    kept[rows, columns] = saliency[rows, columns]
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), kept


def slow_head_box(region, shape, settings, level):
    """As ``head_box`` describes it, a row at a time."""
    x0, y0, x1, y1 = region.box
    row_px, column_px = shape[0] / len(region.saliency), shape[1] / len(region.saliency)
    inside = region.saliency[y0:y1, x0:x1] >= level
    widths, depth = inside.sum(axis=1) * column_px, 1
    while depth < len(widths) and depth * row_px < HEAD_HEIGHT * np.median(widths[:depth]):
        depth += 1
    part, middle = (FACE_SIDE, FACE_MIDDLE) if settings.region == "face" else (1.0, 0.5)
    side = min(depth * row_px * part * (1 + 2 * settings.margin), *shape)
    across = (x0 + np.nonzero(inside[:depth])[1].mean() + 0.5) * column_px
    left = np.clip(across - side / 2, 0, shape[1] - side)
    top = np.clip((y0 + depth * middle) * row_px - side / 2, 0, shape[0] - side)
    right, bottom = (int(np.ceil(edge)) for edge in (left + side, top + side))
    return int(np.floor(left)), int(np.floor(top)), min(shape[1], right), min(shape[0], bottom)


def outlines(number):
    """Maps of persons, of blobs, of stripes and of noise, 8 to 90 px."""
    draw = np.random.default_rng(6)
    for count in range(number):
        side = int(draw.integers(8, 90))
        if count % 4 == 0:
            saliency = person_of(int(draw.integers(2, 30)), 96, int(draw.integers(0, 20)))
        elif count % 4 == 1:
            blobs = cv2.GaussianBlur(draw.random((side, side)), (0, 0), draw.uniform(0.5, 6))
            saliency = cv2.normalize(blobs, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
        elif count % 4 == 2:  # widths that go up and down, often equal: medians between two
            widths = draw.integers(1, side + 1, side) // draw.integers(1, 4) * draw.integers(1, 3)
            saliency = np.where(np.arange(side) < widths[:, None], 255, 40).astype(np.uint8)
        else:
            saliency = draw.integers(0, 256, (side, side), dtype=np.uint8)
        yield saliency, tuple(int(size) for size in draw.integers(1, 700, 2)), draw


@pytest.mark.slow
def test_thousands_of_outlines_get_the_box_that_a_loop_over_rows_finds():
    for saliency, shape, draw in outlines(2500):
        threshold, region = draw.uniform(0.1, 0.9), draw.choice(["head", "face"])
        settings = CropSettings(threshold=threshold, region=region, margin=draw.uniform(0, 0.3))
        level = int(np.ceil(threshold * 255))
        if (found := largest_region(saliency, settings)) is not None:
            assert head_box(found, shape, settings) == slow_head_box(found, shape, settings, level)


def test_the_largest_region_is_that_of_flooding_pixel_by_pixel(any_area):
    settings = CropSettings(threshold=0.5)
    for saliency, _, _ in outlines(40):
        found, (box, kept) = largest_region(saliency, settings), slow_region(saliency, 128)
        assert found.box == box
        np.testing.assert_array_equal(found.saliency, kept)


def test_kept_background_is_the_photo_itself(any_area):
    photo = noise(64, 64)
    extraction = extract_crop(
        photo, map_with((10, 10, 30, 30)), CropSettings(crop_size=20, background="keep", margin=0.0)
    )
    np.testing.assert_array_equal(extraction.crop, photo[10:30, 10:30])


def test_margin_is_a_share_of_the_longer_side_and_ends_at_the_photo(any_area):
    settings = CropSettings(background="keep", margin=0.1)
    extraction = extract_crop(noise(640, 640), map_with((0, 20, 20, 60)), settings)
    assert extraction.box == (0, 160, 240, 640)


def test_last_row_and_column_are_in_the_crop(any_area):
    photo = noise(101, 57)
    extraction = extract_crop(photo, map_with((60, 60, 64, 64)), KEEP)
    assert extraction.box[2:] == (57, 101)
    assert extract_crop(photo, map_with((0, 0, 64, 64)), KEEP).box == (0, 0, 57, 101)


@pytest.mark.parametrize("box", [(63, 0, 64, 64), (0, 63, 64, 64), (5, 5, 6, 6)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (37, 23)])
@pytest.mark.parametrize("background", ["black", "keep"])
def test_thin_regions_and_photos_give_a_crop(box, shape, background, any_area):
    settings = CropSettings(crop_size=32, margin=0.0, background=background)
    extraction = extract_crop(noise(*shape), map_with(box), settings)
    x0, y0, x1, y1 = extraction.box
    assert 0 <= x0 < x1 <= shape[1]
    assert 0 <= y0 < y1 <= shape[0]
    assert extraction.crop.shape == (32, 32, 3)
    if background == "keep":
        assert extraction.crop.any()


@pytest.mark.parametrize("saliency", [map_with(), map_with((0, 0, 9, 9)), map_with() + 127])
def test_no_region_or_a_tiny_one_falls_back_to_the_whole_photo(saliency):
    photo = noise(100, 80)
    extraction = extract_crop(photo, saliency, CropSettings(crop_size=50))
    assert extraction.fallback
    assert extraction.box == (0, 0, 80, 100)
    np.testing.assert_array_equal(extraction.crop, resize(photo, 50, 50))


def test_region_of_exactly_the_minimum_area_counts():
    for wide, fallback in ((8, False), (7, True)):  # 2 % of 400 px
        saliency = map_with((0, 0, wide, 1), side=20)
        assert extract_crop(noise(64, 64), saliency, CropSettings()).fallback is fallback


def test_threshold_is_where_a_pixel_starts_to_belong():
    saliency = np.full((64, 64), 204, np.uint8)  # 0.8
    assert not extract_crop(noise(64, 64), saliency, CropSettings(threshold=0.8)).fallback
    assert extract_crop(noise(64, 64), saliency, CropSettings(threshold=0.81)).fallback


def test_without_saliency_the_whole_photo_is_taken_and_is_no_fallback():
    extraction = extract_crop(noise(90, 120), None, CropSettings(crop_size=30))
    assert extraction.box == (0, 0, 120, 90)
    assert not extraction.fallback
    assert extraction.saliency is None


def test_shrinking_averages_and_growing_keeps_the_size_asked_for():
    stripes = np.zeros((8, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    shrunk = resize(stripes, 8, 16)
    assert shrunk.shape == (16, 8, 3)
    assert (shrunk == 100).all()


def test_part_of_a_resized_map_is_the_part_of_the_whole():
    saliency = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    whole = resize_map(saliency, (301, 203)).astype(int)
    part = resize_map(saliency, (301, 203), (20, 30, 150, 290)).astype(int)
    # OpenCV places pixels to 1/32 of one.
    assert np.abs(part - whole[30:290, 20:150]).max() <= 8
    assert resize_map(saliency, (64, 64)).tolist() == saliency.tolist()


def test_cut_out_has_the_saliency_as_opacity():
    photo = noise(50, 70)
    rgba = cut_out(photo, map_with((0, 0, 64, 64)))
    np.testing.assert_array_equal(rgba[..., :3], photo)
    assert (rgba[..., 3] == 255).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop_size": 0},
        {"threshold": 0.0},
        {"threshold": 1.5},
        {"margin": -0.1},
        {"background": "white"},
    ],
)
def test_impossible_settings_are_refused_by_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        CropSettings(**wrong)
