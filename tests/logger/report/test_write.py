"""The command that writes reports, and what becomes of one that can't be written."""

import subprocess
import sys
from pathlib import Path

import pytest

from logger.logger import attempt
from logger.report.write import write_report
from tests.pages import command
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


class TestTheCommand:
    def test_a_run_is_named_by_its_log_its_models_or_its_checkpoint(self, make_run, tmp_path):
        log = make_run()
        models = tmp_path / "saved" / "models" / "things" / "first"
        (models / "best_epoch.pth").touch()
        for name in (log, models, models / "best_epoch.pth"):
            assert write_report(name).resolve() == (log / "report.html").resolve()

    def test_it_says_where_the_report_lies(self, make_run, tmp_path):
        make_run()
        done = command("--run", "saved/log/things/first", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith("saved/log/things/first/report.html")

    def test_something_that_is_no_run_is_one_line(self, tmp_path, assert_one_line_error):
        done = command("--run", tmp_path, cwd=tmp_path)
        assert_one_line_error(done, tmp_path, "saved/log/<name>/<run_id>")

    def test_a_folder_that_cannot_be_written_is_said(self, make_run, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match=r"report\.html: cannot be written"):
            write_report(make_run(), tmp_path / "file" / "report.html")

    def test_help_comes_without_waiting_for_heavy_imports(self, tmp_path):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "tools.report", "--help"],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0 and "--compare" in done.stdout
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert not imported & {"torch", "sklearn", "cv2", "matplotlib", "numpy"}


def test_a_report_that_fails_is_a_warning(caplog):
    def fail():
        raise UserError("report.html: cannot be written")

    assert attempt(fail) is None
    assert "report: not written: report.html: cannot be written" in caplog.text


@pytest.mark.parametrize("debug", [True, False])
def test_an_extra_that_breaks_is_one_line_and_with_debug_its_traceback(caplog, monkeypatch, debug):
    monkeypatch.setattr(sys, "argv", ["train.py"] + ["--debug"] * debug)
    assert attempt(lambda: 1 / 0, "pictures") is None
    (record,) = caplog.records
    assert record.getMessage() == "pictures: not written: ZeroDivisionError: division by zero"
    assert bool(record.exc_info) == debug
