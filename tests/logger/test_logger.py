import csv
import logging
import warnings

import pytest
from tqdm import tqdm

from logger.logger import setup_logging, write_metrics


@pytest.fixture(autouse=True)
def logging_as_before():
    """Leave the root logger and the warnings as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
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
