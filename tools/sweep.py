"""Train many runs: a search for better settings, a grid, a list of recipes, each with some seeds.

    python -m tools.sweep -c config.json --space configs/space.json --trials 30
    python -m tools.sweep -c config.json --grid optimizer.args.lr=1e-4,3e-4 arch.args.dropout=0,0.2
    python -m tools.sweep -c config.json --grid mixing.cutmix=0,0.5 --seeds 3
    python -m tools.sweep --recipes a.json b.json c.json --seeds 3

The study is kept in saved/sweeps/<study>/study.db; the same command goes on with it. Started
several times, it works on one study together; start one a GPU (CUDA_VISIBLE_DEVICES=1 python
-m …), or --jobs 8 on Slurm. A training that fails is noted and ends no other. Trials of a search
that fall behind in trainer.monitor are ended early. docs/sweeps.md tells more.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from parse_config import OPTIONS, ConfigParser
from utils.cli import command_line, run_command, say_loading
from utils.config_options import add_options, setting
from utils.errors import ConfigError
from utils.schema_base import legal_file_name

SEARCH, PLAN = ("trials", "seed"), ("grid", "seeds", "recipes")
"""Options of a search, and of what is planned one by one."""


def start() -> None:
    configs = parse()
    for recipe, config in configs.items():
        where = f"{recipe}: " * bool(recipe)
        if config["trainer"]["monitor"] == "off":
            raise ConfigError(
                f"{where}trainer.monitor: is off; a sweep needs a score, such as 'max val/f1'"
            )
        # Trials in parallel use more GPUs better than one trial on several.
        if config["n_gpu"] > 1:
            raise ConfigError(
                f"{where}n_gpu: a sweep trains on one GPU a process; set n_gpu=1 and start the same"
                " command once for each (CUDA_VISIBLE_DEVICES=0, 1, …)"
            )
    if len(rules := {config["trainer"]["monitor"] for config in configs.values()}) > 1:
        raise ConfigError(
            f"--recipes: are compared by {' and '.join(sorted(rules))}; give all the same by"
            " --set trainer.monitor='max val/f1'"
        )
    say_loading()
    from trainer.sweep_session import sweep  # torch, optuna and more, which --help spares

    sweep(configs)


def _parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Of the whole command line, and of the part that hands it over to jobs."""
    # A parser of its own: what it takes is left out of the command that each job runs.
    launcher = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    add = launcher.add_argument
    add("--jobs", type=int, metavar="N", help="hand over to N jobs of Slurm")
    add("--slurm", **several, metavar="KEY=VALUE",
        help="of each job, such as partition=gpu timeout_min=600 gpus_per_node=1")  # fmt: skip
    add("--cluster", choices=("slurm", "local"), default="slurm",
        help="local: jobs are processes of this machine (default: slurm)")  # fmt: skip
    parser = command_line(__doc__, parents=[launcher])
    add = parser.add_argument
    add("--space", type=Path, help="what is searched (JSON)")
    add("--trials", type=int, metavar="N",
        help="trials of a search in all, earlier ones counted in (default: 20)")  # fmt: skip
    add("--seed", type=int, help="seed of a search (default: any)")
    add("--grid", **several, metavar="KEY=VALUE,VALUE", help="train all combinations")
    add("--recipes", nargs="+", default=[], metavar="FILE", help="train each of these configs")
    add("--seeds", type=int, metavar="N", help="train each N times, with seeds of their own")
    add("--yes", action="store_true", help="don't ask, however many they are")
    add("--study", metavar="NAME", help="name of the study (default: the config's)")
    add("--storage", metavar="URL",
        help="database of the study, or journal:FILE for a folder on a network"
        " (default: sqlite in saved/sweeps/<study>, journal with --jobs)")  # fmt: skip
    add("--init-from", metavar="CHECKPOINT", help="start every training from these weights")
    add_options(parser, OPTIONS)
    return parser, launcher


def parse() -> dict[str, ConfigParser]:
    """The command line, checked and merged with the config file: recipe → config, or one config
    without a name."""
    parser, launcher = _parsers()
    args = parser.parse_args()
    # Before any config is read: combinations of options are wrong whatever those say.
    check(args)
    argv = sys.argv[1:]
    configs = {
        recipe: ConfigParser.from_args(parser, argv=[*argv, *(("-c", recipe) if recipe else ())])
        for recipe in args.recipes or ("",)
    }
    # The command line without --jobs: each job works on the study as one process would.
    _, rest = launcher.parse_known_args(argv)
    for config in configs.values():
        config.args.rest = rest
        example = ("--slurm", "--slurm partition=gpu")
        config.args.slurm = [setting(text, *example) for text in args.slurm]
    try:
        legal_file_name(args.study or next(iter(configs.values()))["name"])
    except ValueError as error:
        raise ConfigError(f"--study: {error}") from error
    return configs


def check(args: argparse.Namespace) -> None:
    """Refuse options that don't go together.

    Raises:
        ConfigError: such options.
    """
    planned = [f"--{name}" for name in PLAN if getattr(args, name)]
    searched = [f"--{name}" for name in SEARCH if getattr(args, name) is not None]
    twice = len(set(args.recipes)) < len(args.recipes)
    plan, search = (planned or [""])[0], (searched or [""])[0]
    # What is wrong → what to say of it; the first counts.
    wrong = {
        "--resume: a study goes on by itself; repeat the command that began it": args.resume,
        "say what to train: --space FILE, --grid KEY=VALUE,VALUE or --recipes":
            not (args.space or planned),
        f"--space, {plan}: a search or a plan, one at a time": args.space and planned,
        f"{search}: is of a search by --space, not of {plan}": planned and searched,
        "--recipes: takes the place of --config; leave that out": args.recipes and args.config,
        "--recipes: one of them occurs twice; --seeds N trains each several times": twice,
        f"--seeds {args.seeds}: give 2 or more": args.seeds is not None and args.seeds < 2,
        f"--jobs {args.jobs}: give 1 or more": args.jobs is not None and args.jobs < 1,
        "--slurm: needs --jobs N": args.slurm and not args.jobs,
    }  # fmt: skip
    if said := next((message for message, is_so in wrong.items() if is_so), None):
        raise ConfigError(said)


if __name__ == "__main__":
    run_command(start)
