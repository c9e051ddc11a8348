"""All runs in one table: how far each came, how good it is, and what it was told otherwise.

    python -m tools.runs                                 # of every experiment below saved/
    python -m tools.runs --name Mask_Base
    python -m tools.runs --diff saved/log/NAME/A saved/log/NAME/B

The table stands in the terminal and, to sort and filter, in saved/index.html. Folds, seeds and
trials of a sweep stand together. "may be chance" says that, on the photos that a run and the best
one both predicted, chance may explain the distance (paired, by group, 95 %).
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from logger.report.compare import config_differences
from logger.report.run import read_run
from logger.report.runs import all_runs, runs_html, text_table
from utils.cli import command_line, run_command, tell
from utils.errors import UserError
from utils.files import write_atomically


def main(argv: Sequence[str] | None = None) -> None:
    parser = command_line(__doc__)
    add = parser.add_argument
    add("--root", type=Path, default=Path("saved"), help="trainer.save_dir (saved)")
    add("--name", help="only runs of this experiment")
    add("--diff", type=Path, nargs=2, metavar="RUN", help="print where two configs differ")
    args = parser.parse_args(argv)
    if args.diff:
        for key, values in config_differences([*map(read_run, args.diff)]):
            one, other = ("not set" if value is None else value for value in values)
            print(f"{key}: {one} → {other}")
        return
    groups = all_runs(args.root, args.name)
    terminal = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(text_table(groups, terminal))
    page = args.root / "index.html"
    try:
        with write_atomically(page) as file:
            file.write(runs_html(groups))
        print(f"to sort and filter: {page}")
    except UserError as error:  # runs of somebody else can be looked at all the same
        tell(f"warning: {error}")


if __name__ == "__main__":
    run_command(main)
