"""Train a model.

    python train.py --config config.json
    python train.py -c config.json --set optimizer.args.lr=3e-4 --set trainer.epochs=20
    python train.py --resume saved/models/Mask_Base/<run_id>/last_epoch.pth
    python train.py -c config.json --folds all                (or --folds 0,2)
    python train.py -c config.json --seeds 3
    torchrun --nproc-per-node 8 train.py -c config.json       (or n_gpu: 8 in the config, or srun)

Checkpoints, the merged config and the environment go to saved/models/<name>/<run_id>/, the log,
metrics.csv and pictures to saved/log/<name>/<run_id>/. Folds are runs of their own,
<run_id>-fold0 and so on; their joint scores and answers go to saved/log/<name>/<run_id>/. So are
seeds, <run_id>-seed42 and so on, which share their validation.
"""

from parse_config import ConfigParser
from utils.cli import command_line, run_command, say_loading
from utils.errors import ConfigError
from utils.slurm import join_tasks


def start() -> None:
    """Check the command line, then train in as many processes as the config asks for."""
    join_tasks()
    config = parse()
    say_loading()
    from trainer import session  # takes seconds, which --help and a mistyped key spare

    session.run(config)


def parse() -> ConfigParser:
    """The command line, checked and merged with the config file."""
    parser = command_line(__doc__)
    parser.add_argument(
        "--init-from", metavar="CHECKPOINT", help="start from the weights of another run's model"
    )
    parser.add_argument(
        "--folds", metavar="WHICH",
        help="train one model for each of the validation.folds folds: 'all', or such as 0,2",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="train N runs that differ in their seed alone"
    )
    config = ConfigParser.from_args(parser)
    if config.args.folds and config.args.seeds:
        raise ConfigError("--folds and --seeds: one of them at a time")
    # A checkpoint is of one of them, which this could not tell.
    if (config.args.folds or config.args.seeds) and config.resume:
        raise ConfigError("--folds, --seeds: with one of them, --resume takes only 'auto'")
    return config


if __name__ == "__main__":
    run_command(start)
