"""What the real client of wandb writes to disk, read back."""

import json
import logging
import os
import pty
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from logger.visualization import open_writers
from logger.wandb_writer import WandbWriter, legal_for_wandb

ROOT = Path(__file__).resolve().parents[2]
OFF = {"name": "faces", "trainer": {"tensorboard": False}, "wandb": False}
RED = np.zeros((8, 8, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
ROWS = [{"file": "a.jpg", "crop": RED, "p": 0.75}, {"file": "b.jpg", "crop": RED, "p": 0.5}]

HEADER, BLOCK = 7, 32768
"""Bytes of ":W&B", magic number and version in front; then LevelDB's log format."""
LAST_PARTS = (1, 4)
"""Kinds of part that end a record: a whole one, and the last of several."""


class WandbFile(NamedTuple):
    """What a .wandb file holds.

    Attributes:
        run: the record of the run: project, run_group, tags, notes, run_id, …
        config: key → value.
        history: the rows of the curves.
        summary: key → value, as last written.
        artifacts: their records.
        files: paths of media and other files, below the run's folder.
        axes: names of scalars → what they are drawn over.
        exited: whether the run was closed.
    """

    run: Any
    config: dict
    history: list[dict]
    summary: dict
    artifacts: list
    files: list[str]
    axes: dict
    exited: bool = False


def records(data):
    from wandb.proto import wandb_internal_pb2

    place, parts = HEADER, b""
    while place + 7 <= len(data):
        left = BLOCK - place % BLOCK
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in LAST_PARTS:
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b""


def values(items):
    found: dict = {}
    for item in items:
        *outer, last = item.nested_key or [item.key]
        place = found
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = json.loads(item.value_json)
    return found


def read(path):
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    found = WandbFile(None, {}, [], {}, [], [], {})
    for record in records(data):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found = found._replace(run=record.run)
            found.config.update(values(record.run.config.update))
        elif kind == "config":
            found.config.update(values(record.config.update))
        elif kind == "history":
            found.history.append(values(record.history.item))
        elif kind == "summary":
            found.summary.update(values(record.summary.update))
        elif kind == "artifact":
            found.artifacts.append(record.artifact)
        elif kind == "request" and record.request.HasField("log_artifact"):
            found.artifacts.append(record.request.log_artifact.artifact)
        elif kind == "metric":
            found.axes[record.metric.glob_name or record.metric.name] = record.metric.step_metric
        elif kind == "exit":
            found = found._replace(exited=True)
        elif kind == "files":
            found.files.extend(file.path for file in record.files.files)
    return found


def started(writer, history=(), step=0):
    writer.start(history, step)
    return writer


def record_a_little(writer):
    writer.start([], 0)
    writer.describe("config", {"seed": 1})
    writer.log(1, {"val/f1": 0.25}, True)
    writer.table(1, "predictions", ROWS)
    writer.close()


@pytest.fixture(autouse=True)
def nobody_logged_in(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_ENTITY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / "netrc"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def written(eventually):
    """``written(folder)``: the run in it, once wandb's own process has written all of it."""

    def found_in(folder):
        (path,) = folder.glob("*.wandb")
        return eventually(lambda: (found := read(path)).exited and found)

    return found_in


def test_all_that_a_run_records_is_read_back_from_its_file(tmp_path, written):
    (tmp_path / "best.pth").write_bytes(b"weights")
    chosen = {"project": "masks", "group": "folds", "tags": ["try", "te1"], "notes": "why",
              "mode": "offline", "entity": None, "artifact": True}  # fmt: skip
    (writer,) = open_writers({**OFF, "wandb": chosen}, tmp_path, "run1")
    writer.start([], 0)
    writer.describe("config", {"seed": 42, "optimizer": {"args": {"lr": 0.1}}})
    writer.describe("augmentation_pipeline", ["HorizontalFlip(p=0.5)"])
    writer.log_step(10, {"step/loss": 2.0, "step/mask_loss": 0.5})
    writer.log(1, {"epoch": 1, "val/f1": 0.25, "time/images_per_second": 90.0}, True)
    writer.picture(1, "mistakes", RED)
    writer.table(1, "predictions", ROWS)
    writer.checkpoint(tmp_path / "best.pth", {"val/f1": 0.25})
    writer.close()

    (folder,) = tmp_path.glob("wandb/offline-run-*-run1")
    found = written(folder)
    run = found.run
    assert (run.run_id, run.project, run.run_group) == ("run1", "masks", "folds")
    assert (list(run.tags), run.notes) == (["try", "te1"], "why")
    assert found.config["optimizer"] == {"args": {"lr": 0.1}}
    assert found.config["augmentation_pipeline"] == ["HorizontalFlip(p=0.5)"]
    step, epoch, picture, table = (dict(row) for row in found.history)
    assert (step["step"], step["step/loss"], step["step/mask_loss"]) == (10, 2.0, 0.5)
    assert (epoch["epoch"], epoch["val/f1"], epoch["time/images_per_second"]) == (1, 0.25, 90)
    assert picture["mistakes"]["_type"] == "image-file"
    assert (table["predictions"]["ncols"], table["predictions"]["nrows"]) == (3, 2)
    assert found.axes["step/*"] == "step" and found.axes["val/*"] == "epoch"
    assert found.summary["best/val/f1"] == 0.25
    (artifact,) = (kept for kept in found.artifacts if kept.type == "model")
    assert artifact.name == "faces-run1"
    assert [content.path for content in artifact.manifest.contents] == ["best.pth"]
    assert all((folder / "files" / name).exists() for name in found.files)


def test_a_resumed_run_goes_on_under_the_same_id(tmp_path, written):
    for history in ([], [{"epoch": 1}]):
        writer = WandbWriter(tmp_path, "run1", mode="offline", project="faces")
        started(writer, history, 20 * len(history))
        writer.log(len(history) + 1, {"epoch": len(history) + 1, "val/f1": 0.5})
        writer.close()
        time.sleep(1)  # the folders of a run are told apart by the second
    both = [written(folder) for folder in sorted(tmp_path.glob("wandb/offline-run-*"))]
    assert [found.run.run_id for found in both] == ["run1", "run1"]
    assert [row["epoch"] for found in both for row in found.history] == [1, 2]


@pytest.mark.parametrize("run_id", ["lr#2,wd=0", "what?", "it's; 50%", " a b", "x" * 100])
def test_a_run_id_that_wandb_refuses_is_made_legal(tmp_path, written, caplog, run_id):
    (tmp_path / "best.pth").write_bytes(b"weights")
    config = {**OFF, "name": "faces #1", "wandb": {"mode": "offline", "artifact": True}}
    (writer,) = open_writers(config, tmp_path, run_id)
    record_a_little(writer)
    assert "is off from now on" not in caplog.text
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    assert written(folder).run.display_name == run_id


def test_ids_that_differ_in_what_is_refused_alone_stay_apart():
    legal = {legal_for_wandb(name) for name in ("a#b", "a,b", "a-b")}
    assert len(legal) == 3 and "a-b" in legal
    for kept in ("2026-11-26_06-59-01-fold0", "my run"):
        assert legal_for_wandb(kept) == kept


def test_without_the_switch_there_is_no_artifact(tmp_path, written):
    writer = started(WandbWriter(tmp_path, "run1", mode="offline", project="faces"))
    writer.checkpoint(tmp_path / "best.pth", {})
    writer.close()
    assert written(next(tmp_path.glob("wandb/offline-run-*"))).artifacts == []


def test_without_a_login_it_goes_offline_and_says_how_to_sync(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        (writer,) = open_writers({**OFF, "wandb": True}, tmp_path / "log", "run1")
        started(writer).close()
    assert "no login" in caplog.text and "logged offline" in caplog.text
    folder = Path(caplog.text.split("wandb sync ")[1].splitlines()[0])
    assert list(folder.glob("run-run1.wandb"))
    assert folder.parent.parent == tmp_path / "log"


def test_it_asks_nothing_even_of_somebody_at_a_terminal(tmp_path):
    terminal, inside = pty.openpty()
    code = (
        "from logger.wandb_writer import WandbWriter\n"
        f"writer = WandbWriter({str(tmp_path)!r}, 'run1', project='faces')\n"
        "writer.start([], 0)\nwriter.close()\n"
    )
    with os.fdopen(terminal, "rb"), os.fdopen(inside, "wb") as user:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, timeout=60,
            stdin=user, stdout=user, stderr=user,
        )  # fmt: skip
    assert done.returncode == 0
    assert list(tmp_path.glob("wandb/offline-run-*"))


def test_without_a_network_it_goes_offline_too(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    import wandb

    wandb.teardown()  # it reads the environment once
    with caplog.at_level(logging.INFO):
        started(WandbWriter(tmp_path, "run2", project="faces")).close()
    wandb.teardown()
    assert "127.0.0.1 can't be reached" in caplog.text
    assert list(tmp_path.glob("wandb/offline-run-*-run2/run-run2.wandb"))


def test_disabled_it_writes_nothing(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    (writer,) = open_writers({**OFF, "wandb": {"mode": "disabled"}}, tmp_path, "run3")
    record_a_little(writer)
    assert not list(tmp_path.glob("wandb/*run*"))
    assert caplog.text == ""  # nor fails at it


def test_disabled_by_the_environment_it_writes_nothing(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    (writer,) = open_writers({**OFF, "wandb": {"mode": "online"}}, tmp_path, "run3")
    record_a_little(writer)
    assert not list(tmp_path.glob("wandb/*run*"))
    assert caplog.text == ""
