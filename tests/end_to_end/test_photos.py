"""Photos that test.py is given: any folder, any format, also such as can't be read."""

import json
import os
import shutil
import sys

import cv2
import numpy as np
from PIL import Image

from tests.other_tasks import class_of
from tests.runs import probabilities_of, read_rows
from TRACER.network import Tracer
from TRACER.weights import save_float16


class TestFolderOfPhotos:
    def test_any_folder_is_predicted_without_a_table(self, predict, shapes, tmp_path):
        photos = sorted((shapes / "eval").iterdir())[:3]
        holiday = tmp_path / "holiday.2026_x"
        (holiday / "beach").mkdir(parents=True)
        names = ["a.JPG", "beach/b.webp", "beach/c.heic"]
        for name, photo in zip(names, photos, strict=True):
            with Image.open(photo) as picture:
                picture.save(holiday / name)
        korean = os.fsdecode(os.fsencode(holiday) + b"/\xbb\xe7\xc1\xf8.jpg")  # of a cp949 zip
        if sys.platform == "linux":  # others refuse names that are no UTF-8
            shutil.copy(photos[0], korean)
            names.append("\\udcbb\\udce7\\udcc1\\udcf8.jpg")
        (holiday / "._a.JPG").write_bytes(b"hidden")
        (holiday / "notes.txt").write_text("not a photo")

        result = predict("--images", holiday, "--out", "h.csv")

        assert result.returncode == 0, result.stderr
        rows = read_rows(tmp_path / "h.csv")
        assert [row["path"] for row in rows] == names
        assert all(class_of(row) == int(row["class"]) for row in rows)
        assert "1 file left out" in result.stdout and "notes.txt" in result.stdout

    def test_the_same_picture_in_any_format_gets_the_same_answer(self, predict, shapes, tmp_path):
        folder = tmp_path / "formats"
        folder.mkdir()
        gray = cv2.imread(str(shapes / "eval/0000.png"), cv2.IMREAD_GRAYSCALE)
        picture = Image.fromarray(gray)
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 270 degrees
        opaque = np.dstack([gray] * 3 + [np.full_like(gray, 255)])
        picture.convert("RGB").save(folder / "rgb.png")
        picture.save(folder / "gray.png")
        Image.fromarray(opaque).save(folder / "alpha.png")
        Image.fromarray(gray.astype(np.uint16) * 257).save(folder / "sixteen.png")
        picture.convert("RGB").transpose(Image.Transpose.ROTATE_90).save(
            folder / "turned.png", exif=exif
        )
        picture.convert("CMYK").save(folder / "cmyk.jpg", quality=100, subsampling=0)

        result = predict("--images", folder, "--out", "f.csv")

        assert result.returncode == 0, result.stderr
        said = probabilities_of(tmp_path / "f.probabilities.csv")
        ids = [row["path"] for row in read_rows(tmp_path / "f.csv")]
        exact = [ids.index(name) for name in ids if name != "cmyk.jpg"]
        assert len(exact) == 5 and (said[exact] == said[exact[0]]).all()
        assert np.allclose(said[ids.index("cmyk.jpg")], said[exact[0]], atol=0.02)


def test_tracers_weights_are_not_needed_where_all_crops_are_there(predict, tmp_path):
    weights = tmp_path / "own.safetensors"
    save_float16(Tracer(0, input_size=128), weights)
    options = [f"--set=tracer.weights={weights}", "--set=tracer.cache_dir=crops", "--out", "s.csv"]
    assert predict(*options).returncode == 0
    before = (tmp_path / "s.csv").read_bytes()
    weights.unlink()
    result = predict(*options)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "s.csv").read_bytes() == before


class TestUnreadablePhotos:
    def spoil(self, own_data, row, content=b"no photo"):
        name = read_rows(own_data / "eval.csv")[row]["path"]
        (own_data / name).write_bytes(content)
        return name

    def test_one_is_an_error_that_leaves_the_earlier_submission(
        self, predict, own_data, tmp_path, assert_one_line_error
    ):
        assert predict("--set", f"data_dir={own_data}", "--out", "s.csv").returncode == 0
        before = (tmp_path / "s.csv").read_bytes()
        name = self.spoil(own_data, 3)
        failed = predict("--set", f"data_dir={own_data}", "--out", "s.csv")
        assert_one_line_error(failed, name, "not an image", "--skip-unreadable")
        assert (tmp_path / "s.csv").read_bytes() == before

    def test_skipped_ones_are_listed_at_the_end_and_the_rest_is_written_and_scored(
        self, predict, own_data, answers, submission, tmp_path
    ):
        names = [self.spoil(own_data, row, b"") for row in (3, 7, 9)]
        (own_data / names[2]).unlink()

        result = predict(
            "--set", f"data_dir={own_data}", "--skip-unreadable", "--out", "s.csv",
            "--answers", answers,
        )  # fmt: skip

        assert result.returncode == 0, result.stderr
        listed = result.stderr.splitlines()[-4:]
        assert "left out, since they could not be read (3)" in listed[0]
        assert [line.strip() for line in listed[1:]] == [str(own_data / name) for name in names]
        rest = [row for row in read_rows(submission) if row["path"] not in names]
        assert read_rows(tmp_path / "s.csv") == rest
        assert json.loads((tmp_path / "s.metrics.json").read_text())["n"] == 27

    def test_none_that_can_be_read_is_an_error(
        self, predict, own_data, tmp_path, assert_one_line_error
    ):
        for photo in (own_data / "eval").iterdir():
            photo.write_bytes(b"")
        failed = predict("--set", f"data_dir={own_data}", "--skip-unreadable")
        assert_one_line_error(failed, "none of the 30 photos can be read")
        assert not (tmp_path / "submit").exists()
