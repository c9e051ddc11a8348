"""Console and file logging, and the files of tables of epochs."""

import csv
import logging
import math
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from utils.cli import drop_stdout
from utils.csv_files import write_csv
from utils.errors import described
from utils.run_folder import MESSAGES

T = TypeVar("T")


class _ConsoleHandler(logging.Handler):
    """Prints above the progress bars instead of through them."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # A plain print would cut a bar in two and leave half of it standing.
            tqdm.write(self.format(record))
        except OSError:  # no terminal, reader or room is left there; the work, and run.log, go on
            drop_stdout()


class _Backlog(logging.Handler):
    """Keeps what is said before a run has its folder: warnings of the config, the people."""

    def __init__(self) -> None:
        super().__init__()
        self.records: deque[logging.LogRecord] = deque(maxlen=1000)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def setup_logging(log_dir: Path | None = None, verbosity: int = 2) -> None:
    """Send the log to the console and, with a folder, also to ``<log_dir>/run.log``.

    Args:
        log_dir: made if missing; the file is appended to, first with what was said since a call
            without a folder.
        verbosity: 0 shows warnings only, 1 and 2 also what happens.
    """
    console = _ConsoleHandler(logging.INFO if verbosity else logging.WARNING)
    console.setFormatter(logging.Formatter("%(message)s"))
    second: logging.Handler = _Backlog()
    if log_dir is not None:
        log_dir.mkdir(parents=True, exist_ok=True)
        # backslashreplace: a path that is no UTF-8 must not make the message about it fail.
        second = logging.FileHandler(
            log_dir / MESSAGES, encoding="utf-8", errors="backslashreplace"
        )
        second.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        # Before force=True, below, takes the old handlers away, and the backlog with them.
        for handler in logging.getLogger().handlers:
            for record in handler.records if isinstance(handler, _Backlog) else ():
                second.handle(record)
    logging.basicConfig(level=logging.INFO, handlers=[console, second], force=True)
    for noisy in ("httpx", "huggingface_hub", "timm", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def attempt(write: Callable[[], T], what: str = "report") -> T | None:
    """Call what writes a report, pictures or another extra; no training or test is lost to it: what
    it raises is a line in the log, under ``--debug`` with its traceback, and ``None`` returned."""
    try:
        return write()
    except Exception as error:
        debug, why = "--debug" in sys.argv, described(error)
        logging.getLogger("report").warning("%s: not written: %s", what, why, exc_info=debug)
        return None


def write_metrics(path: Path, history: list[dict[str, float]]) -> None:
    """Write the log of every epoch as one CSV row, atomically; columns in order of appearance."""
    # Over all rows: epochs without a validation lack columns that later ones have.
    columns = list(dict.fromkeys(name for log in history for name in log))
    write_csv(path, columns, ([log.get(name, "") for name in columns] for log in history))


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read back what ``write_metrics`` wrote, by epoch, ascending; of two rows of one the later.

    A crash may have cut the last line short: a line with fewer or more values than the heading,
    or without a whole epoch, is passed over. Values that are no finite numbers are left out.
    """
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            # After a power failure some file systems leave zeros where the last line was to be.
            text = file.read().replace("\0", "")
    except OSError:
        return []
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()  # its last number may have lost digits and still look like one
    table = list(csv.reader(lines))
    if not table or "epoch" not in table[0]:
        return []
    rows = {}
    for cells in table[1:]:
        if len(cells) != len(table[0]):
            continue
        values = zip(table[0], map(_number, cells), strict=True)
        row = {name: value for name, value in values if math.isfinite(value)}
        if row.get("epoch", 0) >= 1:
            # A later row of the same epoch wins: a resumed run wrote it after a crash.
            rows[int(row["epoch"])] = row | {"epoch": int(row["epoch"])}
    return [rows[epoch] for epoch in sorted(rows)]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
