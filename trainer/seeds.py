"""The same training with several seeds: how much of a score is chance.

``--seeds 3`` with the run id ``first`` makes the runs ``first-seed42``, ``first-seed43`` and
``first-seed44``, each of them a run like any other. All validate on the same photos, so that they
differ in weights, order and augmentation alone.
"""

from statistics import fmean, stdev
from typing import Any

from logger.logger import setup_logging
from logger.report.run import read_run
from parse_config import AUTO, ConfigParser
from trainer.folds import Train, train_each
from utils import distributed
from utils.config_files import read_json5
from utils.errors import ConfigError
from utils.fold_runs import require_same_config

SHOWN = "val/"
"""Beginning of the scores that the table shows."""


def train_seeds(config: ConfigParser, train: Train) -> None:
    """Train those of the ``config.args.seeds`` runs that are left, then print mean ± sd of all; a
    ConfigError for fewer than two, or a run id that is taken."""
    if config.args.seeds < 2:
        raise ConfigError(f"--seeds {config.args.seeds}: give 2 or more")
    if config.args.resume == AUTO and not config.args.run_id:
        raise ConfigError("--seeds with --resume auto: name the runs by --run-id, without -seed…")
    # Made of the time, it would be another on each rank.
    config.run_id = distributed.broadcast(config.run_id)
    runs = [
        config.variant({"seed": n} | same_split(config), f"{config.run_id}-seed{n}", "--seeds")
        for n in range(config["seed"], config["seed"] + config.args.seeds)
    ]
    for run in (run for run in runs if run.folder.last):
        if config.args.resume != AUTO:
            raise ConfigError(
                f"--run-id {config.run_id}: {run.run_id} is there already; choose another id, or go"
                " on with --resume auto"
            )
        begun = run.folder.config
        saved = ConfigParser.stored(read_json5(begun), begun)
        require_same_config(begun, saved.config, run.config)
    train_each(runs, train, ["--seeds", str(len(runs)), "--run-id", config.run_id])
    if distributed.is_main():
        setup_logging(verbosity=config["trainer"]["verbosity"])
        logger = config.get_logger("seeds", config["trainer"]["verbosity"])
        logger.info("%d seeds\n%s", len(runs), table(runs))
        logger.info("beside other runs: python -m tools.runs --name %s", config["name"])


def same_split(config: ConfigParser) -> dict[str, Any]:
    """What keeps the split of ``config`` where its seed is another: dotted path → value."""
    # On one split for all seeds, or people would differ as well as weights.
    split = config.settings.validation.seed
    return {"validation.seed": config["seed"] if split is None else split}


def table(runs: list[ConfigParser]) -> str:
    """A line for each validation score of the best epochs: mean ± sd, and each run's."""
    best = [read_run(run.log_dir).best for run in runs]
    names = [name for name in best[0] if name.startswith(SHOWN)]
    width = max(map(len, names))
    lines = []
    for name in names:
        scores = [log[name] for log in best]
        each = ", ".join(f"{score:.4f}" for score in scores)
        lines.append(f"{name:{width}}  {fmean(scores):.4f} ± {stdev(scores):.4f}  ({each})")
    return "\n".join(lines)
