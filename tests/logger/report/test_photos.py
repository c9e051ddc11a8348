"""The photos of a report: the heat maps that a run left."""

import json

import cv2
import numpy as np
import pytest

from logger.report.photos import EXPLAINED, explained


@pytest.fixture
def folder(tmp_path):
    """``folder(entries)``: with a picture ``a.png`` and an index of these entries."""

    def make(entries):
        (tmp_path / "run").mkdir()
        for place in ("run/a.png", "outside.png"):
            cv2.imwrite(str(tmp_path / place), np.zeros((8, 8, 3), np.uint8))
        (tmp_path / "run/index.json").write_text(json.dumps(entries))
        return tmp_path / "run"

    return make


def entry(photo="p.jpg", **changes):
    return {
        "photo": photo,
        "head": "kind",
        "predicted": "a",
        "true": "b",
        "file": "a.png",
    } | changes


def test_the_maps_of_a_photo_stand_together(folder):
    found = explained(folder([entry(), entry("q.jpg"), entry(head="colour")]))
    assert [photo["file"] for photo in found] == ["p.jpg", "q.jpg"]
    assert [heat["head"] for heat in found[0]["heads"]] == ["kind", "colour"]
    assert found[0]["heads"][0]["picture"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("file", ["../outside.png", "none.png", None])
def test_of_a_bad_entry_the_others_are_shown(folder, caplog, file):
    (shown,) = explained(folder([entry(file=file), entry("q.jpg")]))
    assert shown["file"] == "q.jpg"
    assert "an entry is left out of the report" in caplog.text


def test_there_are_only_so_many(folder):
    assert len(explained(folder([entry(str(n)) for n in range(EXPLAINED + 3)]))) == EXPLAINED


def test_no_index_or_a_damaged_one_is_no_photos(folder, tmp_path, caplog):
    assert explained(tmp_path) == [] and not caplog.text
    place = folder({"not": "a list"})
    assert explained(place) == []
    (place / "index.json").write_text("{")
    assert explained(place) == [] and "left out of the report" in caplog.text
