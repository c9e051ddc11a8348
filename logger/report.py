"""Write the report of a run, or compare runs.

report.html goes into the run's log folder, a comparison beside the first run. Each is one file that
needs neither a network nor scripts. A run's checkpoint, or its folder under saved/models, names the
run as well.
"""

import logging
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from utils.errors import UserError
from utils.files import write_atomically
from utils.run_folder import REPORT

if TYPE_CHECKING:
    from logger.report_run import Run

T = TypeVar("T")

logger = logging.getLogger("report")


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the report of the run in this folder; returns the file.

    Args:
        run: its folder under saved/log or saved/models, or a file in one of them.
        out: left out, ``report.html`` in the log folder.

    Raises:
        UserError: there is no such run, or the file cannot be written.
    """
    from logger.report_run import find_run, read_run  # scikit-learn and OpenCV: --help does without

    return write_page(read_run(run), out or find_run(run).log / REPORT)


def attempt(write: Callable[[], T], what: str = "report") -> T | None:
    """Call what writes a report, pictures or another extra; no training or test is lost to it.

    Whatever it raises is one line in the log, under ``--debug`` with its traceback.

    Returns:
        What ``write`` returns; ``None`` where it failed.
    """
    try:
        return write()
    except Exception as error:
        reason = " ".join(str(error).split())
        if not isinstance(error, UserError):
            reason = f"{type(error).__name__}: {reason}".removesuffix(": ")
        debug = "--debug" in sys.argv
        logger.warning("%s: not written: %s", what, reason, exc_info=debug)
        return None


def write_page(run: "Run", out: Path) -> Path:
    """Write the report of a run that is in memory, such as a test; returns the file.

    Raises:
        UserError: the file cannot be written.
    """
    from logger.report_page import report_html

    return _write(out, report_html(run))


def compare_runs(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write a page that compares runs with the first of them; returns the file.

    Args:
        runs: as for ``write_report``, two or more.
        out: left out, a file in the folder that holds the first run's.

    Raises:
        UserError: a run does not exist, or the file cannot be written.
    """
    from logger.report_compare import comparison_html
    from logger.report_run import read_run

    found = [read_run(run) for run in runs]
    if out is None:
        others = found[1].run_id if len(found) == 2 else f"{len(found) - 1}_others"
        out = found[0].log_dir.parent / f"compare_{found[0].run_id}_{others}.html"
    return _write(out, comparison_html(found))


def _write(out: Path, html: str) -> Path:
    with write_atomically(out) as file:
        file.write(html)
    return out


if __name__ == "__main__":
    # Moved: python -m tools.report; this spelling goes with the next release.
    runpy.run_module("tools.report", run_name="__main__")
