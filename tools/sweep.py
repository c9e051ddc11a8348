"""Search for better settings: train many runs, each with other values.

    python -m tools.sweep --config config.json --space configs/space.json --trials 30
    python -m tools.sweep -c config.json --space configs/space.json --trials 60   go on to 60 trials

The study is kept in saved/sweeps/<study>/study.db. The same command started several times works on
one study together; start one a GPU (CUDA_VISIBLE_DEVICES=1 python -m …). Trials that fall
behind in trainer.monitor are ended early, one that fails is noted and does not count.
docs/sweeps.md tells more.
"""

import argparse
import sys
from pathlib import Path

from parse_config import ConfigParser
from utils.cli import run_command, say_loading
from utils.errors import ConfigError
from utils.schema_base import legal_file_name


def start() -> None:
    """Check the command line, then search."""
    config = parse()
    if config["trainer"]["monitor"] == "off":
        raise ConfigError("trainer.monitor: is off; a sweep needs a score, such as 'max val/f1'")
    if config["n_gpu"] > 1:
        raise ConfigError(
            "n_gpu: a sweep trains on one GPU a process; set n_gpu=1 and start the same command"
            " once for each (CUDA_VISIBLE_DEVICES=0, 1, …)"
        )
    say_loading()
    from trainer.sweep_session import sweep  # torch, optuna and more, which --help spares

    sweep(config)


def parse() -> ConfigParser:
    """The command line, checked and merged with the config file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", type=Path, required=True, help="what is tried (JSON)")
    parser.add_argument(
        "--trials", type=int, default=20, metavar="N",
        help="trials of the study in all, earlier ones counted in (default: 20)",
    )  # fmt: skip
    parser.add_argument("--study", metavar="NAME", help="name of the study (default: the config's)")
    parser.add_argument(
        "--storage", metavar="URL",
        help="database of the study, or journal:FILE for a folder on a network"
        " (default: sqlite in saved/sweeps/<study>)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="seed of the search (default: any)")
    parser.add_argument(
        "--init-from", metavar="CHECKPOINT", help="start every trial from these weights"
    )
    config = ConfigParser.from_args(parser)
    try:
        legal_file_name(config.args.study or config["name"])
    except ValueError as error:
        raise ConfigError(f"--study: {error}") from error
    if config.resumes:
        raise ConfigError("--resume: a study goes on by itself; repeat the command that began it")
    return config


if __name__ == "__main__":
    run_command(start, debug="--debug" in sys.argv)
