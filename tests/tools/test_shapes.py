import csv

import cv2

from tools.shapes import SIDE, generate


def test_the_same_arguments_draw_the_same_photos_and_tables(tmp_path):
    for name in ("one", "two"):
        generate(tmp_path / name, photos=6, eval_photos=3, seed=4)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 6 + 3 + 2
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_tables_list_the_photos_and_what_is_on_them(shapes):
    for part, number in (("train", 90), ("eval", 30)):
        with open(shapes / f"{part}.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == number
        for row in rows:
            photo = cv2.imread(str(shapes / row["path"]))
            assert photo.shape == (SIDE, SIDE, 3)
            where = (abs(photo.astype(int) - 190).max(axis=2) > 60).sum()
            assert where > 0 and 8 <= int(row["size"]) < 20
            assert ("large" in row["tags"]) == (int(row["size"]) >= 14)
