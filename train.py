"""Train a model.

    python train.py --config config.json
    python train.py -c config.json --set optimizer.args.lr=3e-4 --set trainer.epochs=20
    python train.py --resume saved/models/Mask_Base/<run_id>/last_epoch.pth

Checkpoints, the merged config and the environment go to saved/models/<name>/<run_id>/, the log,
metrics.csv and pictures to saved/log/<name>/<run_id>/.
"""

import argparse
import sys
from pathlib import Path

from parse_config import ConfigParser
from utils.cli import run_command


def main(config: ConfigParser) -> None:
    """Build the parts that ``config`` names, train, and leave the pictures of the run."""
    # Heavy imports wait until the command line is known to be right.
    import torch

    import data_loader.data_loaders as module_data
    import model.model as module_arch
    from base.checkpoint import CheckpointFolder
    from base.monitor import Monitor
    from base.optimisation import Optimisation
    from data_loader.crops import extractor_from
    from data_loader.split import save_split
    from logger.logger import setup_logging
    from logger.visualization import open_writers
    from model.loss import build_criterion
    from model.metric import find_metrics
    from trainer.results import training_pictures
    from trainer.trainer import Trainer
    from utils.devices import prepare_device
    from utils.files import write_json
    from utils.seeding import seed_everything

    verbosity = config["trainer"]["verbosity"]
    setup_logging(verbosity=verbosity)
    logger = config.get_logger("train", verbosity)
    for line in config.warnings():
        logger.warning("warning: %s", line)
    device = prepare_device(config["n_gpu"], config.device)
    seed_everything(config["seed"])

    find_metrics(config["metrics"])
    model = config.init_obj("arch", module_arch).to(device)
    input_size = config["data_loader"]["args"]["input_size"]
    data = config.init_ftn("data_loader", module_data)(
        data_dir=Path(config["data_dir"]),
        extractor=extractor_from(config["tracer"], input_size, device),
        cache_dir=Path(config["tracer"]["cache_dir"]),
        validation=config["validation"],
        augmentation=config["augmentation"],
        label_corrections=config["label_corrections"],
        seed=config["seed"],
        device=device,
        progress=verbosity > 1,
    )
    criterion = build_criterion(
        config["loss"], config["loss_name"], model.heads, data.class_counts
    ).to(device)
    optimizer = config.init_obj("optimizer", torch.optim, model.parameters())
    lr_scheduler = None
    if config["lr_scheduler"]:
        lr_scheduler = config.init_obj("lr_scheduler", torch.optim.lr_scheduler, optimizer)

    config.start_run(str(device))
    setup_logging(config.log_dir, verbosity)
    parts = {"train": data.train_rows, "val": data.val_rows}
    save_split(config.save_dir / "split.csv", data.index, parts)
    checkpoints = CheckpointFolder(config.save_dir)
    trainer = Trainer(
        Optimisation(model, criterion, optimizer, scheduler=lr_scheduler),
        train_loader=data.train,
        val_loader=data.val,
        metrics=config["metrics"],
        name_of=lambda position: str(data.index.files[data.train_rows[position]]),
        epochs=config["trainer"]["epochs"],
        monitor=Monitor(config["trainer"]["monitor"], config["trainer"]["early_stop"]),
        save_period=config["trainer"]["save_period"],
        checkpoints=checkpoints,
        log_dir=config.log_dir,
        metadata={"config": config.config, "run_id": config.run_id},
        writers=open_writers(config.config, config.log_dir, config.run_id),
        verbosity=verbosity,
    )
    if config.resume:
        trainer.resume(*checkpoints.load(config.resume))
    best = trainer.train()
    for picture in training_pictures(
        config.log_dir, trainer.history, trainer.monitor.best_epoch, data.crops, data.val_rows
    ):
        logger.info("picture: %s", picture)
    write_json(config.log_dir / "finished.json", {"epochs": len(trainer.history), "best": best})


def parse() -> ConfigParser:
    """The command line, checked and merged with the config file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return ConfigParser.from_args(parser)


if __name__ == "__main__":
    run_command(lambda: main(parse()), debug="--debug" in sys.argv)
