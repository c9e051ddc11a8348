"""The commands of the library, run as a user runs them."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from TRACER.__main__ import main
from TRACER.network import Tracer
from TRACER.weights import load_tracer, save_float16

SIDE = 128


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    """A TE0 with random weights and a small input; its maps are meaningless but not constant."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_float16(Tracer(0, static_padding=False, input_size=SIDE), path)
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six photos in two folders, with masks, in the sample people's layout."""
    for i in range(6):
        image = np.random.default_rng(i).integers(0, 256, (50 + i, 40, 3), np.uint8)
        mask = np.zeros((50 + i, 40), np.uint8)
        mask[10:40, 10:30] = 255
        for part in ("train", "eval"):
            for folder, picture in (("images", image), ("saliency", mask)):
                path = tmp_path / "data" / part / folder / f"person{i % 2}" / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture)
    return tmp_path / "data"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def extract(data: Path, out: Path, weights: str, *options: str) -> None:
    images = data / "train" / "images"
    main(["extract", "--images", str(images), "--out", str(out), "--weights", weights, *options])


def fails(capsys, *arguments: str) -> str:
    """Run a command that must end in one line and exit code 2; returns the line."""
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert exit_.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    return last


def test_extract_writes_what_was_asked_for_in_the_sizes_promised(data, tmp_path, weights):
    extract(data, tmp_path / "out", weights, "--save", "mask,cutout,crop", "--size", "32")
    mask = cv2.imread(str(tmp_path / "out/mask/person0/4.png"), cv2.IMREAD_UNCHANGED)
    cutout = cv2.imread(str(tmp_path / "out/cutout/person0/4.png"), cv2.IMREAD_UNCHANGED)
    crop = cv2.imread(str(tmp_path / "out/crop/person0/4.png"), cv2.IMREAD_UNCHANGED)
    photo = cv2.imread(str(data / "train/images/person0/4.png"))
    assert mask.shape == (54, 40)
    assert crop.shape == (32, 32, 3)
    assert (cutout[..., :3] == photo).all()
    assert (cutout[..., 3] == mask).all()
    with open(tmp_path / "out" / "boxes.csv") as file:
        table = list(csv.DictReader(file))
    assert [row["photo"] for row in table] == [
        *(f"person0/{i}.png" for i in (0, 2, 4)),
        *(f"person1/{i}.png" for i in (1, 3, 5)),
    ]
    assert all(0 <= int(row["x0"]) < int(row["x1"]) <= 40 for row in table)


def test_two_processes_write_what_one_does_byte_for_byte(data, tmp_path, weights, monkeypatch):
    extract(data, tmp_path / "one", weights, "--save", "mask,crop")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        extract(data, tmp_path / "two", weights, "--save", "mask,crop")
        assert (tmp_path / "two" / "boxes.csv").exists() == (rank == "1")
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")


def test_the_next_run_completes_what_a_dead_process_left(data, tmp_path, weights, monkeypatch):
    extract(data, tmp_path / "whole", weights, "--save", "mask")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    extract(data, tmp_path / "left", weights, "--save", "mask")
    # The other one died between a picture and its entry.
    (tmp_path / "left/mask/person0/0.png").write_bytes(b"half a pict")
    (tmp_path / "left/boxes/person0/0.json").unlink()
    untouched = (tmp_path / "left/mask/person0/4.png").stat().st_mtime_ns
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.delenv("RANK")
    extract(data, tmp_path / "left", weights, "--save", "mask")
    assert files_of(tmp_path / "left") == files_of(tmp_path / "whole")
    assert (tmp_path / "left/mask/person0/4.png").stat().st_mtime_ns == untouched


def test_a_changed_photo_or_setting_is_noticed(data, tmp_path, weights):
    extract(data, tmp_path / "out", weights)
    before = files_of(tmp_path / "out")
    cv2.imwrite(str(data / "train/images/person0/0.png"), np.zeros((20, 20, 3), np.uint8))
    extract(data, tmp_path / "out", weights)
    after = files_of(tmp_path / "out")
    assert {name for name in before if before[name] != after[name]} == {
        "crop/person0/0.png",
        "boxes/person0/0.json",
        "boxes.csv",
    }
    extract(data, tmp_path / "out", weights, "--size", "50")
    assert cv2.imread(str(tmp_path / "out/crop/person1/1.png")).shape[0] == 50


def test_a_broken_photo_is_named_or_skipped(data, tmp_path, weights, capsys):
    broken = data / "train/images/person0/2.png"
    broken.write_bytes(broken.read_bytes()[:200])
    arguments = ["extract", "--images", str(data / "train/images"), "--weights", weights]
    arguments += ["--out", str(tmp_path / "out")]
    said = fails(capsys, *arguments)
    assert "person0/2.png" in said and "--skip-unreadable" in said
    main([*arguments, "--skip-unreadable"])
    assert "skipped" in capsys.readouterr().out
    assert len((tmp_path / "out" / "boxes.csv").read_text().splitlines()) == 1 + 5


def test_extract_takes_every_kind_of_photo_and_names_what_it_leaves_out(
    data, tmp_path, weights, capsys
):
    images = data / "train/images"
    Image.new("RGB", (40, 50)).save(images / "phone.HEIC", "HEIF")
    (images / "film.mov").touch()
    (images / ".thumbnails").mkdir()
    Image.new("RGB", (40, 50)).save(images / ".thumbnails" / "small.png")
    extract(data, tmp_path / "out", weights)
    assert "1 file left out" in (said := capsys.readouterr().err) and "film.mov" in said
    with open(tmp_path / "out" / "boxes.csv") as file:
        assert [row["photo"] for row in csv.DictReader(file)][-1] == "phone.HEIC"
    assert len(list((tmp_path / "out" / "crop").rglob("*.png"))) == 7


def test_what_extract_cannot_use_is_one_line(data, tmp_path, weights, capsys):
    images, out = str(data / "train/images"), str(tmp_path / "out")
    arguments = ["extract", "--images", images, "--out", out, "--weights", weights]
    assert "did you mean 'crop'" in fails(capsys, *arguments, "--save", "crops")
    assert "threshold" in fails(capsys, *arguments, "--threshold", "7")
    arguments[2] = str(tmp_path / "missing")
    assert "No such file or directory" in fails(capsys, *arguments)
    assert not (tmp_path / "out").exists()
    arguments[2] = images
    cv2.imwrite(str(data / "train/images/person0/0.jpg"), np.zeros((9, 9, 3), np.uint8))
    assert "rename or remove one" in fails(capsys, *arguments)


def test_evaluate_prints_the_measures_and_writes_them(data, tmp_path, weights, capsys):
    out = tmp_path / "figures.json"
    cv2.imwrite(str(data / "eval/saliency/person0/0.png"), np.zeros((50, 40), np.uint8))
    main(["evaluate", "--data", str(data), "--weights", weights, "--out", str(out)])
    figures = json.loads(out.read_text())
    assert figures["photos"] == 6
    assert figures["empty_masks"] == 1
    printed = capsys.readouterr().out
    for name in ("mae", "max_f", "dataset_max_f", "mean_f", "s_measure", "mean_e", "box_iou"):
        assert 0 <= figures[name] <= 1
        assert f"{name} " in printed


def test_train_makes_weights_that_evaluate_can_use(data, tmp_path, capsys):
    arguments = ["train", "--data", str(data), "--out", str(tmp_path / "run"), "--size", "128"]
    arguments += ["--weights", "none", "--epochs", "1", "--batch-size", "3", "--limit-steps", "1"]
    arguments += ["--validation-share", "0.5"]
    cv2.imwrite(str(data / "train/saliency/person0/0.png"), np.zeros((50, 40), np.uint8))
    main(arguments)
    assert "1 of 6 masks are all black" in capsys.readouterr().out
    for name in ("best.pth", "weights.safetensors"):
        assert load_tracer(tmp_path / "run" / name).input_size == 128
    main(["evaluate", "--data", str(data), "--weights", str(tmp_path / "run" / name)])

    assert "--resume auto" in fails(capsys, *arguments)
    main([*arguments, "--resume", "auto", "--epochs", "2"])
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 3


def test_what_train_cannot_use_is_one_line(data, tmp_path, capsys):
    arguments = ["train", "--data", str(data), "--out", str(tmp_path / "run"), "--weights", "none"]
    assert "multiple of 32" in fails(capsys, *arguments, "--size", "100")
    assert "validation-share" in fails(capsys, *arguments, "--validation-share", "2")
    assert "fewer than one batch" in fails(capsys, *arguments, "--batch-size", "500")
    assert "no such checkpoint" in fails(
        capsys, *arguments, "--batch-size", "3", "--resume", str(tmp_path / "missing.pth")
    )
    (data / "train/saliency/person0/0.png").unlink()
    assert "no partner" in fails(capsys, *arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("out", ["", "results", "results/deep"])
def test_results_among_the_photos_are_refused(data, tmp_path, weights, capsys, out):
    images = data / "train" / "images"
    (tmp_path / "link").symlink_to(images)
    arguments = ["extract", "--images", str(images), "--weights", weights, "--out"]
    for folder in (images / out, tmp_path / "link" / out):
        said = fails(capsys, *arguments, str(folder))
        assert "among the photos" in said and "name a folder outside" in said
    assert not list(images.rglob("crop"))


def test_crops_are_not_written_over_the_crops_they_are_made_of(data, tmp_path, weights, capsys):
    extract(data, tmp_path / "out", weights)
    before = files_of(tmp_path / "out")
    crops, out = str(tmp_path / "out" / "crop"), str(tmp_path / "out")
    said = fails(capsys, "extract", "--images", crops, "--out", out, "--weights", weights)
    assert "among the photos" in said
    assert files_of(tmp_path / "out") == before


def test_results_may_lie_beside_the_photos(data, weights):
    extract(data, data / "train", weights)
    assert len(list((data / "train" / "crop").rglob("*.png"))) == 6


@pytest.mark.parametrize("command", ["extract", "evaluate"])
def test_sample_weights_before_photographs_are_warned_of(data, tmp_path, caplog, command):
    folder = (
        ["--images", str(data / "eval" / "images")]
        if command == "extract"
        else ["--data", str(data)]
    )
    main([command, *folder, "--out", str(tmp_path / "out"), "--weights", "sample"])
    assert caplog.text.count("sample weights of TRACER") == 1
