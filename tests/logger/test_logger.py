import csv
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from tqdm import tqdm

from logger.logger import (
    _Backlog,
    read_metrics,
    setup_logging,
    write_metrics,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def logging_as_before():
    """Leave the root logger and the warnings as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # What the tests of another file said before would come first in the files of these.
    root.handlers[:] = [each for each in handlers if not isinstance(each, _Backlog)]
    yield
    logging.captureWarnings(False)
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:], root.level = handlers, level


def say(*, debug="details", info="progress", warning="trouble"):
    log = logging.getLogger("some.part")
    log.debug(debug)
    log.info(info)
    log.warning(warning)


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [(0, "trouble\n"), (1, "progress\ntrouble\n"), (2, "progress\ntrouble\n")],
)
def test_the_console_shows_what_the_verbosity_says(verbosity, shown, capsys):
    setup_logging(verbosity=verbosity)
    say()
    assert capsys.readouterr().out == shown


def test_the_file_keeps_time_place_and_level_and_is_appended_to(tmp_path):
    for _ in range(2):
        setup_logging(tmp_path / "new", verbosity=0)
        say()
    lines = (tmp_path / "new" / "run.log").read_text().splitlines()
    assert len(lines) == 4
    assert lines[0].endswith("some.part INFO progress")
    assert lines[0][:2] == "20"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
def test_a_console_that_takes_nothing_more_does_not_end_the_work(tmp_path):
    """A closed terminal, a reader that has gone, a full disk: run.log goes on."""
    code = (
        "import logging, sys; from pathlib import Path; from logger.logger import setup_logging\n"
        "setup_logging(Path(sys.argv[1]))\n"
        "for number in range(3): logging.warning('line %d', number)"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=full, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "run.log").read_text().count("line") == 3


def test_what_is_said_before_the_run_has_a_folder_stands_in_its_file_once(tmp_path):
    for run in ("first", "second"):
        setup_logging(verbosity=0)
        say(warning=f"trouble before {run}")
        setup_logging(tmp_path / run, verbosity=0)
        say()
        setup_logging(tmp_path / run, verbosity=0)
    for run in ("first", "second"):
        lines = (tmp_path / run / "run.log").read_text().splitlines()
        said = [line.split(" some.part ")[1] for line in lines]
        assert said == [
            "INFO progress", f"WARNING trouble before {run}", "INFO progress", "WARNING trouble",
        ]  # fmt: skip


def test_a_log_line_stands_above_the_progress_bar(capsys):
    setup_logging()
    with tqdm(total=2, desc="epoch") as bar:
        bar.update()
        say()
        bar.update()
    assert capsys.readouterr().out == "progress\ntrouble\n"


def test_warnings_of_libraries_go_to_the_log(tmp_path):
    setup_logging(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old function", stacklevel=1)
    assert "old function" in (tmp_path / "run.log").read_text()


def test_metrics_are_a_row_an_epoch_with_a_column_for_every_name(tmp_path):
    write_metrics(tmp_path / "m.csv", [{"epoch": 1, "a": 0.5}, {"epoch": 2, "a": 0.25, "b": 1.0}])
    with open(tmp_path / "m.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"epoch": "1", "a": "0.5", "b": ""}, {"epoch": "2", "a": "0.25", "b": "1.0"}]


class TestReadingMetricsBack:
    def test_what_was_written_comes_back_as_numbers(self, tmp_path):
        rows = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "late": 1e-7}]
        write_metrics(tmp_path / "m.csv", rows)
        assert read_metrics(tmp_path / "m.csv") == rows

    @pytest.mark.parametrize("end", ["3,0.1", "3", "3,0.1,7\n", "x,0.1\n", "\0\0\0", "3,"])
    def test_a_last_line_cut_short_is_passed_over(self, tmp_path, end):
        (tmp_path / "m.csv").write_text("epoch,loss\n1,0.5\n2,0.25\n" + end)
        assert [row["epoch"] for row in read_metrics(tmp_path / "m.csv")] == [1, 2]

    def test_of_two_rows_of_an_epoch_the_later_holds_and_nan_is_left_out(self, tmp_path):
        (tmp_path / "m.csv").write_text("epoch,a,b\n2,1,nan\n1,1,1\n2,3,\n")
        assert read_metrics(tmp_path / "m.csv") == [
            {"epoch": 1, "a": 1, "b": 1},
            {"epoch": 2, "a": 3},
        ]

    @pytest.mark.parametrize("text", ["", "\n", "loss\n1\n", "\ufffd\ufffd"])
    def test_what_is_no_such_table_has_no_rows(self, tmp_path, text):
        (tmp_path / "m.csv").write_text(text)
        assert read_metrics(tmp_path / "m.csv") == []
        assert read_metrics(tmp_path / "missing.csv") == []


def test_a_process_that_never_has_a_folder_keeps_the_last_thousand_lines_alone():
    """Such as a server, which runs for months."""
    setup_logging(verbosity=0)
    (backlog,) = (each for each in logging.getLogger().handlers if isinstance(each, _Backlog))
    for number in range(1500):
        logging.getLogger("serve").info("%d", number)
    assert [each.args for each in backlog.records] == [(n,) for n in range(500, 1500)]
