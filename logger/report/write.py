"""The files of a report: of a run, of a test, of several runs; see ``tools.report``."""

from collections.abc import Sequence
from pathlib import Path

from logger.report.compare import comparison_html
from logger.report.page import report_html
from logger.report.run import Run, find_run, read_run
from utils.files import write_atomically
from utils.run_folder import REPORT


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the report of the run in this folder; returns the file.

    Args:
        run: its folder under saved/log or saved/models, or a file in one of them.
        out: left out, ``report.html`` in the log folder.

    Raises:
        UserError: there is no such run, or the file cannot be written.
    """
    return write_page(read_run(run), out or find_run(run).log / REPORT)


def write_page(run: Run, out: Path) -> Path:
    """Write the report of a run that is in memory, such as a test; returns the file.

    Raises:
        UserError: the file cannot be written.
    """
    return _write(out, report_html(run))


def compare_runs(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write a page that compares runs, as for ``write_report``, with the first of them, by default
    into the folder that holds the first run's; returns the file.

    Raises:
        UserError: a run does not exist, or the file cannot be written.
    """
    found = [read_run(run) for run in runs]
    if out is None:
        # Many ids would make a name longer than file systems take.
        others = found[1].run_id if len(found) == 2 else f"{len(found) - 1}_others"
        out = find_run(runs[0]).log.parent / f"compare_{found[0].run_id}_{others}.html"
    return _write(out, comparison_html(found))


def _write(out: Path, html: str) -> Path:
    with write_atomically(out) as file:
        file.write(html)
    return out
