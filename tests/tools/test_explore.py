import csv
import json
import re
import shutil
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from base.task import load_task
from data_loader.dataset import read_index
from data_loader.split import holdout
from tests.other_tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ROOT / "tools" / "explore" / "__main__.py"
FACES = load_task("faces")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SEED, FRACTION = 42, 0.3


def copy_as(source, target, *, mirrored=False):
    """Somebody's photo under another name: smaller, recompressed, perhaps mirrored."""
    photo = cv2.resize(cv2.imread(str(source)), None, fx=0.7, fy=0.7)
    cv2.imwrite(str(target), photo[:, ::-1] if mirrored else photo, [cv2.IMWRITE_JPEG_QUALITY, 70])


@pytest.fixture(scope="module")
def planted(people, tmp_path_factory):
    """The shared people without women of 60 and more, with a leak, a mirrored copy within
    training, and broken files.

    Returns:
        The data folder and what was planted, as files below ``train/images``.
    """
    data = tmp_path_factory.mktemp("planted") / "data"
    shutil.copytree(people / "train", data / "train")
    for folder in (data / "train" / "images").iterdir():
        _, gender, _, age = folder.name.split("_")
        if gender == "female" and int(age) >= 60:
            shutil.rmtree(folder)
    index = read_index(data, FACES.settings)
    train, val = holdout(index, FRACTION, SEED)
    of = {row: index.files[row] for row in range(len(index))}
    normal = [row for row in train if "/normal." in of[row]]
    validating = next(row for row in val if "/normal." in of[row])
    root = index.root
    copy_as(root / of[normal[0]], root / of[validating])
    copy_as(root / of[normal[1]], root / of[normal[2]], mirrored=True)
    broken = [of[row] for row in train if "/mask1." in of[row]][:2]
    (root / broken[0]).write_bytes(b"no picture")
    (root / broken[1]).write_bytes((root / broken[1]).read_bytes()[:500])
    return data, {
        "leak": {of[normal[0]], of[validating]},
        "mirrored": {of[normal[1]], of[normal[2]]},
        "broken": set(broken),
    }


@pytest.fixture(scope="module")
def explored(planted, tiny_config, tmp_path_factory, run):
    """What the command left of the planted people, and what it said."""
    out = tmp_path_factory.mktemp("explored") / "new" / "out"
    result = run(
        "-m", "tools.explore", "--data-dir", planted[0], "--out", out, "-c", tiny_config,
        "--set", f"seed={SEED}", "--set", f"validation.fraction={FRACTION}", "--photos", "3",
        "--set", "tracer.weights=sample", "--workers", "2", cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return out, result


@pytest.fixture(scope="module")
def page(explored):
    return (explored[0] / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows(explored):
    with open(explored[0] / "photos.csv", newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_every_photo_is_a_row_of_the_table(rows, planted):
    index = read_index(planted[0], FACES.settings)
    assert list(rows) == index.files.tolist()
    targets = index.targets(np.arange(len(index)))["class"]
    assert [int(row["class"]) for row in rows.values()] == targets.tolist()
    sound = next(row for row in rows.values() if not row["error"])
    assert int(sound["width"]) > 0 and 0 < float(sound["brightness"]) < 255
    assert re.fullmatch("[0-9a-f]{64}", sound["hash"])


def test_a_leak_between_the_halves_is_named_on_the_page_the_terminal_and_in_the_table(
    explored, page, rows, planted
):
    first, second = sorted(planted[1]["leak"])
    said = explored[1].stderr
    (line,) = (line for line in said.splitlines() if line.startswith("leak between"))
    assert first in line and second in line
    assert "1 of them leaks" in explored[1].stdout
    assert rows[first]["near_duplicate"] == second
    assert {rows[first]["half"], rows[second]["half"]} == {"training", "validation"}
    card = page.split('class="couple leak"')[1].split("</figure>")[0]
    assert first in card and second in card


def test_a_mirrored_copy_of_another_person_is_found(rows, planted, page):
    first, second = planted[1]["mirrored"]
    assert rows[first]["near_duplicate"] == second
    assert rows[second]["near_duplicate"] == first
    assert "mirrored" in page.split('class="couple"')[1].split("</figure>")[0]


def test_nobody_else_is_taken_for_a_copy(rows, planted):
    taken = {name for name, row in rows.items() if row["near_duplicate"]}
    assert taken == planted[1]["leak"] | planted[1]["mirrored"]


def test_broken_files_are_listed_and_the_page_is_written_all_the_same(
    explored, page, rows, planted
):
    for name in planted[1]["broken"]:
        assert rows[name]["error"]
        assert name in page and name in explored[1].stderr
    assert "2 broken" in explored[1].stdout


def test_the_page_needs_nothing_beside_itself(page):
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    for source in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert source.startswith(("data:image/jpeg;base64,", "#")), source
    assert "prefers-color-scheme: dark" in page and "@media print" in page
    assert 'name="viewport"' in page


def test_a_class_without_photos_says_so(page, rows):
    there = {int(row["class"]) for row in rows.values()}
    assert not there & {5, 11, 17}
    assert page.count("no photo of this class") == 18 - len(there)
    assert f"{18 - len(there)} empty" in page


def test_names_are_typeset_as_in_a_report(page):
    assert "<td>≥60</td>" in page and "no mask, male, 30–59" in page
    assert "&gt;=60" not in page and "30-59" not in page


def test_every_step_of_the_augmentation_is_shown(page):
    for step in ("HorizontalFlip", "Affine", "GaussianBlur", "CoarseDropout", "all, draw 1"):
        assert f"<th>{step}</th>" in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)")
def test_it_fits_a_phone_also_with_a_long_address_in_a_message(page, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    address = "https://example.org/" + "weights-of-te1" * 20
    said = f'<p class="bad">No crop: {address}</p><figcaption>{address}</figcaption>'
    file = tmp_path / "index.html"
    file.write_text(page.replace("</h1>", f"</h1>{said}"), encoding="utf-8")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 360, "height": 740})
        shown.goto(file.as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") == 360
        browser.close()


class TestMistakes:
    @pytest.fixture
    def explore(self, call, tiny_config):
        return lambda data, out: call(COMMAND, "--data-dir", data, "--out", out, "-c", tiny_config)

    def test_a_folder_without_photos(self, explore, tmp_path, assert_one_line_error):
        result = explore(tmp_path, tmp_path / "out")
        assert_one_line_error(result, tmp_path / "train" / "images", "no such folder")

    def test_an_out_that_is_a_file(self, explore, people, tmp_path, assert_one_line_error):
        (tmp_path / "file").write_text("")
        assert_one_line_error(explore(people, tmp_path / "file"), "--out", tmp_path / "file")


class TestOtherTasks:
    @pytest.fixture
    def explore(self, call, shapes, tmp_path):
        def _explore(task, data=shapes):
            config = {
                "name": "other", "n_gpu": 0, "data_dir": str(data), "task": task,
                "data_loader": {"args": {"input_size": 32}}, "tracer": {"weights": None},
            }  # fmt: skip
            (tmp_path / "c.json").write_text(json.dumps(config))
            result = call(COMMAND, "-c", "c.json", "--out", "out", "--photos", "2")
            assert result.returncode == 0, result.stderr
            with open(tmp_path / "out" / "photos.csv", newline="") as file:
                rows = list(csv.DictReader(file))
            return rows, (tmp_path / "out" / "index.html").read_text(), result.stdout

        return _explore

    def test_heads_of_a_table_and_its_groups_by_their_names(self, explore):
        rows, page, said = explore(TASKS["table"])
        assert [rows[1][name] for name in ("board", "kind", "colour")] == ["b000", "square", "blue"]
        assert "90 photos of 30 boards" in said and "near-duplicates across boards" in page
        assert "kind head" in page and "colour 0: blue" in page and "people" not in page

    def test_folders_of_classes(self, explore):
        rows, page, said = explore(TASKS["folders"])
        assert {row["kind"] for row in rows} == {"circle", "square", "triangle"}
        assert "90 photos: 0 broken" in said and "2: triangle" in page

    def test_tags(self, explore):
        rows, page, _ = explore(TASKS["tags"])
        assert {row["tags"] for row in rows} == {"", "filled", "large", "filled large"}
        assert "0: filled" in page and "1: large" in page

    def test_a_histogram_of_a_number_with_the_edges_of_its_bins(self, explore):
        rows, page, _ = explore(TASKS["number"])
        assert [row["size"] for row in rows[:2]] == ["15", "8"]
        assert 'aria-label="Photos by size"' in page
        assert page.count('<line class="mark') == len(range(7, 22))
        number = sum(row["size"] == "15" for row in rows)
        assert f"<title>from 15: {number}</title>" in page

    def test_a_thousand_classes_take_bounded_memory_and_room(self, explore, tmp_path):
        photo = np.zeros((8, 8, 3), np.uint8)
        for number in range(1000):
            (tmp_path / f"data/train/k{number:03}").mkdir(parents=True)
            cv2.imwrite(str(tmp_path / f"data/train/k{number:03}/a.png"), photo)
        cv2.imwrite(str(tmp_path / "data/train/k500/b.png"), photo)
        tracemalloc.start()
        _, page, _ = explore(TASKS["folders"], tmp_path / "data")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100e6 and len(page) < 1e6
        assert "960 others lie between them" in page and "40 of 1000" in page
        assert "<td>k500</td>" in page
