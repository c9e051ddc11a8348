"""Find photos, and people or other groups, whose labels are probably wrong.

    python train.py -c config.json --folds all --run-id first
    python -m tools.audit --run saved/models/Mask_Base/first

Models that never saw a photo say what they take it for; where they surely say something else than
the label, the label is suspect (confident learning, Northcutt et al. 2021; cleanlab does the
counting). Ordered classes and numbers: the further the answers lie from the label, the more suspect
it is, and a neighboring class is no error. Out-of-fold answers cover everything, those of a run
with a holdout only its validation photos. A head is checked photo by photo, or with ``per`` once
for each of its values, such as a person's folder.

The suspects go into audit.csv, worst first, a row each, and the worst also onto a contact sheet
for each head. Nothing is believed unseen: a row counts as a correction only once somebody has
written `yes` into its column `apply` (and, if need be, mended its `value`). Then

    "label_corrections": {"path": "saved/log/Mask_Base/first/audit.csv"}
"""

from pathlib import Path

from utils.cli import command_line, run_command


def main() -> None:
    parser = command_line(__doc__, prog="python -m tools.audit")
    add = parser.add_argument
    add("--run", type=Path, required=True, help="folder of a run or of its folds")
    add("--out", type=Path, help="the CSV to write (default: audit.csv in its log)")
    listed = "list so many of each head (default: what is taken for errors, 20 at least)"
    add("--top", type=int, metavar="N", help=listed)
    add("--data-dir", type=Path, help="where the photos are now")
    args = parser.parse_args()
    # cleanlab and the task are read only once the command line is known to be right.
    from tools.audit.proposals import audit

    audit(args.run, args.out, args.top, args.data_dir)


if __name__ == "__main__":
    run_command(main)
