"""Salient object detection on the command line.

    python -m TRACER extract --images DIR --out DIR --weights te1 --save mask,cutout,crop
    python -m TRACER train --data DIR --out DIR
    python -m TRACER evaluate --data DIR --weights te1

``torchrun --nproc-per-node N -m TRACER extract …`` spreads the photos over N processes.
"""

import argparse
import sys
from collections.abc import Sequence

from TRACER import evaluate_command, extract_command, train_command
from utils.cli import run_command

COMMANDS = {"extract": extract_command, "train": train_command, "evaluate": evaluate_command}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments

    def run() -> None:
        options = _parser().parse_args(arguments)
        options.run(options)

    # Parsing is inside `run`, so that a wrong option's error is one line like any other.
    run_command(run, debug="--debug" in arguments)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    common.add_argument("--num-workers", type=int, help="default: what the machine has cores for")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser(prog="python -m TRACER", description=_purpose(__doc__))
    commands = parser.add_subparsers(required=True, metavar=" | ".join(COMMANDS))
    for name, module in COMMANDS.items():
        purpose = _purpose(module.__doc__)
        command = commands.add_parser(
            name,
            parents=[common],
            help=purpose,
            description=purpose,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        module.add_options(command)
        command.set_defaults(run=module.run)
    return parser


def _purpose(text: str | None) -> str:
    return (text or "").partition("\n")[0]


if __name__ == "__main__":
    main()
