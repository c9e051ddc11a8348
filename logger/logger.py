"""Console and file logging, and the tables of epochs."""

import csv
import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from logger.writer import MACHINE, Writer
from utils.files import write_atomically
from utils.run_folder import MESSAGES, METRICS, TIMINGS

LEVELS = {0: logging.WARNING, 1: logging.INFO, 2: logging.INFO}


class _ConsoleHandler(logging.Handler):
    """Prints above the progress bars instead of through them."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


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
    console = _ConsoleHandler(LEVELS[verbosity])
    console.setFormatter(logging.Formatter("%(message)s"))
    handlers: list[logging.Handler] = [console]
    if log_dir is None:
        handlers.append(_Backlog())
    else:
        log_dir.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(log_dir / MESSAGES, encoding="utf-8", errors="backslashreplace")
        file.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        handlers.append(file)
        for handler in logging.getLogger().handlers:
            for record in handler.records if isinstance(handler, _Backlog) else ():
                file.handle(record)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    for noisy in ("httpx", "huggingface_hub", "timm", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)


class EpochLines(Writer):
    """A line an epoch on the console and, after ``setup_logging`` with a folder, in ``run.log``.

    Args:
        epochs: how many there will be.
        monitored: the score that decides which epoch is the best; ``None`` if none does.
    """

    def __init__(self, epochs: int, monitored: str | None) -> None:
        self._epochs = epochs
        self._monitored = monitored
        self._logger = logging.getLogger("trainer")

    def log(self, epoch: int, scalars: Mapping[str, float], best: bool = False) -> None:
        """Say the scores that matter most, and how fast it went."""
        wanted = ("lr", "train/loss", "val/loss", "val/accuracy", "val/f1", self._monitored)
        names = [name for name in dict.fromkeys(wanted) if name in scalars]
        shown = "  ".join(f"{name} {scalars[name]:.4g}" for name in names)
        star = "  * best" if best and self._monitored else ""
        speed = scalars.get("time/images_per_second", 0)
        text = f"epoch {epoch}/{self._epochs}  {shown}  {speed:.0f} images/s{star}"
        self._logger.info(text)


class MetricsTables(Writer):
    """``metrics.csv``, which a repeated run gives again byte by byte, and ``timings.csv``, which
    tells of the machine; a row an epoch.

    Args:
        log_dir: where they go.
    """

    def __init__(self, log_dir: Path) -> None:
        self._metrics_file = log_dir / METRICS
        self._timings_file = log_dir / TIMINGS
        self._metrics: list[dict[str, float]] = []
        self._timings: list[dict[str, float]] = []

    def start(self, history: Sequence[Mapping[str, float]], step: int) -> None:
        """Take over the rows of the epochs that are done, as far as they are known."""
        self._metrics = [dict(log) for log in history]
        known = read_metrics(self._timings_file)
        self._timings = [row for row in known if row["epoch"] <= len(history)]

    def log(self, epoch: int, scalars: Mapping[str, float], best: bool = False) -> None:
        """Write both tables with a further row.

        Raises:
            UserError: they cannot be written.
        """
        timings = {name: value for name, value in scalars.items() if name.startswith(MACHINE)}
        self._metrics.append({k: v for k, v in scalars.items() if k not in timings})
        self._timings.append({"epoch": epoch} | timings)
        write_metrics(self._metrics_file, self._metrics)
        write_metrics(self._timings_file, self._timings)


def write_metrics(path: Path, history: list[dict[str, float]]) -> None:
    """Write the log of every epoch as one CSV row, atomically; columns in order of appearance."""
    columns = list(dict.fromkeys(name for log in history for name in log))
    with write_atomically(path) as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(history)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read back what ``write_metrics`` wrote, by epoch, ascending; of two rows of one the later.

    A crash may have cut the last line short: a line with fewer or more values than the heading,
    or without a whole epoch, is passed over. Values that are no finite numbers are left out.
    """
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
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
    for values in table[1:]:
        if len(values) != len(table[0]):
            continue
        row = {k: v for k, v in zip(table[0], map(_number, values), strict=True) if v is not None}
        if row.get("epoch", 0) >= 1:
            rows[int(row["epoch"])] = row | {"epoch": int(row["epoch"])}
    return [rows[epoch] for epoch in sorted(rows)]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
