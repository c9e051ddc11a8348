"""Write the report of a run, or compare runs.

    python -m tools.report --run saved/log/Mask_Base/<run_id>
    python -m tools.report --compare saved/log/Mask_Base/<run_id> saved/log/Mask_Base/<run_id>

report.html goes into the run's log folder, a comparison beside the first run. Each is one file that
needs neither a network nor scripts. A run's checkpoint, or its folder under saved/models, names the
run as well.
"""

from pathlib import Path

from utils.cli import command_line, run_command


def main() -> None:
    parser = command_line(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=Path, metavar="RUN", help="write this run's report")
    compared = "compare two or more runs"
    what.add_argument("--compare", type=Path, nargs="+", metavar="RUN", help=compared)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the HTML file to write")
    args = parser.parse_args()
    if args.compare and len(args.compare) < 2:
        parser.error("--compare needs two runs or more")
    # scikit-learn and OpenCV, which --help does without.
    from logger.report.write import compare_runs, write_report

    page = write_report(args.run, args.out) if args.run else compare_runs(args.compare, args.out)
    print(f"report: {page}")


if __name__ == "__main__":
    run_command(main)
