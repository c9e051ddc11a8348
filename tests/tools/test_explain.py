"""``python -m tools.explain``: the answers as text and why as a picture."""

import runpy
import sys

import numpy as np
import pytest

from utils.images import read_image


@pytest.fixture
def explain(monkeypatch, capsys, tmp_path):
    """``explain(…)``: the command in this process; its exit code and what it printed."""

    def _explain(*options):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["explain", *map(str, options)])
        code = 0
        try:
            runpy.run_module("tools.explain", run_name="__main__")
        except SystemExit as leaving:
            code = leaving.code
        return code, capsys.readouterr()

    return _explain


@pytest.fixture
def photo(shapes):
    return shapes / "eval" / "0000.png"


@pytest.fixture
def best(trained_shapes):
    return trained_shapes.best


def test_it_prints_the_answers_and_draws_the_crop_and_a_heat_map_a_head(
    explain, best, photo, tmp_path
):
    code, printed = explain("--resume", best, "--image", photo, "--out", "new/why.png")
    assert code == 0, printed.err
    lines = [line.split()[0] for line in printed.out.splitlines()]
    assert lines == ["kind", "colour", "picture:"]
    picture = read_image(tmp_path / "new" / "why.png")
    assert picture.shape == (320, 3 * 320, 3)
    crop, *heat = np.split(picture, 3, axis=1)
    assert all(not np.array_equal(crop, each) for each in heat)


def test_the_picture_is_named_after_the_photo(explain, best, photo, tmp_path):
    assert explain("--resume", best, "--image", photo)[0] == 0
    assert (tmp_path / "submit" / f"{photo.stem}.gradcam.png").is_file()


def test_a_photo_that_is_none_is_one_line(explain, best, tmp_path):
    (tmp_path / "no.jpg").write_text("not a photo")
    code, printed = explain("--resume", best, "--image", "no.jpg")
    assert code == 2
    assert printed.err.startswith("error: no.jpg: not an image")
    assert len(printed.err.splitlines()) == 1
