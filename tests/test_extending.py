"""docs/extending.md does what it says: its changes are made to a copy of the code, which trains."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHANGES = re.findall(
    r"```diff\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), re.DOTALL
)
ROOMS = ("base", "configs", "data_loader", "logger", "model", "trainer", "TRACER", "utils")
CONFIG = {
    "name": "own", "n_gpu": 0, "data_dir": "photos", "metrics": ["accuracy", "kind_recall"],
    "task": {"name": "own", "data": {"train": {"reader": "list"}}, "heads": {"kind": {}}},
    "arch": {"type": "PlainModel", "args": {"width": 8}},
    "loss_name": [["confidence_penalty", "balanced", 1.0]],
    "data_loader": {"args": {"input_size": 32, "batch_size": 16, "num_workers": 0}},
    "tracer": {"weights": None, "cache_dir": "crops"}, "trainer": {"epochs": 1},
}  # fmt: skip


def made(change, folder):
    """Make a change of the page, hunk by hunk; each place is found by the lines that stay or go."""
    file = None
    for hunk in re.split(r"^(?=--- )|^@@\n", change, flags=re.MULTILINE):
        lines = hunk.splitlines()
        if lines and lines[0].startswith("--- "):
            file = folder / lines.pop(0)[4:]
        if lines:
            before, after = (
                "".join(f"{line[1:]}\n" for line in lines if not line.startswith(sign))
                for sign in "+-"
            )
            text = file.read_text(encoding="utf-8")
            assert text.count(before) == 1, (file.name, before)
            file.write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory, shapes):
    """The code with all changes of the page, and photos as its reader wants them."""
    folder = tmp_path_factory.mktemp("copy")
    code = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=code)
    for script in ("train.py", "parse_config.py", "stored_config.py", "config_schema.py"):
        shutil.copy(ROOT / script, folder)
    for change in CHANGES:
        made(change, folder)
    shutil.copytree(shapes / "train", folder / "photos")
    photos = sorted(path.relative_to(shapes / "train") for path in shapes.glob("train/*/*.png"))
    lines = [f"{path.as_posix()} {path.parts[0]}\n" for path in photos]
    (folder / "photos" / "list.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "own.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return folder


def test_each_change_takes_five_lines_or_so():
    assert len(CHANGES) == 6
    for change in CHANGES:
        added = [line for line in change.splitlines() if line.startswith("+") and line != "+"]
        assert len(added) <= 8, change


def test_a_training_uses_all_of_them_at_once(copy, run):
    done = run(copy / "train.py", "-c", "own.json", "--run-id", "r", cwd=copy)
    assert done.returncode == 0, done.stderr[-3000:]
    (row,) = csv.DictReader((copy / "saved/log/own/r/metrics.csv").open())
    assert 0 <= float(row["val/kind_recall"]) <= 1
    assert (copy / "scores.txt").read_text() == f"1 {float(row['val/f1']):.4f}\n"
