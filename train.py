"""Train a model.

    python train.py --config config.json
    python train.py -c config.json --set optimizer.args.lr=3e-4 --set trainer.epochs=20
    python train.py --resume saved/models/Mask_Base/<run_id>/last_epoch.pth
    python train.py -c config.json --folds all                (or --folds 0,2)
    torchrun --nproc-per-node 8 train.py -c config.json       (or n_gpu: 8 in the config)

Checkpoints, the merged config and the environment go to saved/models/<name>/<run_id>/, the log,
metrics.csv and pictures to saved/log/<name>/<run_id>/. Folds are runs of their own,
<run_id>-fold0 and so on; their joint scores and answers go to saved/log/<name>/<run_id>/.
"""

import argparse
import contextlib
import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from parse_config import ConfigParser
from train_folds import train_folds
from utils.cli import EXIT_STOPPED, run_command
from utils.errors import ConfigError
from utils.run_folder import FINISHED, SPLIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from data_loader.data_loaders import TrainingData
    from logger.writer import Writer
    from model.decoding import Factors


def main(config: ConfigParser, watchers: "Sequence[Writer]" = ()) -> dict[str, float]:
    """Build the parts that ``config`` names, train, and leave the pictures of the run.

    Args:
        config: of the run.
        watchers: get the scores of every epoch, beside the writers that ``config`` names.

    Returns:
        The log of the best epoch.
    """
    # Heavy imports wait until the command line is known to be right.
    import numpy as np

    import base.optimizers as module_optim
    import base.schedulers as module_schedule
    import data_loader.data_loaders as module_data
    from base.checkpoint import CheckpointFolder, init_from, load_checkpoint
    from base.monitor import Monitor
    from base.train_step import TrainStep, backbone_modules
    from data_loader.crops import extractor_from
    from data_loader.split import save_split
    from logger.logger import setup_logging
    from logger.report import attempt, write_report
    from logger.visualization import open_writers
    from model.decode import SINGLE_HEAD, class_names
    from model.decoding import factors_of
    from model.loss import build_criterion, check_losses
    from model.metric import find_metrics
    from TRACER.weights import DRAWN as MARKER
    from trainer.inference import DRAWN
    from trainer.plausibility import note_familiarity
    from trainer.records import record_pictures
    from trainer.report_data import SampleMetadata
    from trainer.restore import model_to_train, require_classes
    from trainer.results import training_pictures
    from trainer.trainer import Trainer, scalar_names
    from trainer.tta import PLAIN, describe, views_from
    from utils import distributed
    from utils.devices import prepare_device, set_arithmetic
    from utils.environment import describe_environment
    from utils.files import write_json
    from utils.seeding import seed_everything, seed_ranks_apart

    settings = config["trainer"]
    verbosity = settings["verbosity"] if distributed.is_main() else 0
    setup_logging(verbosity=verbosity)
    logger = config.get_logger("train", verbosity)
    for line in config.warnings():
        logger.warning("warning: %s", line)
    device = prepare_device(config["n_gpu"], config.device)
    set_arithmetic(settings["deterministic"], settings["tf32"])
    seed_everything(config["seed"])
    # What is wrong in the config is said before weights are asked for and photos are cropped.
    build_optimizer = config.init_ftn("optimizer", module_optim)
    monitor = Monitor(settings["monitor"], settings["early_stop"])
    build_schedule, every = None, config.options("lr_scheduler").get("every", "epoch")
    if config["lr_scheduler"]:
        build_schedule = config.init_ftn("lr_scheduler", module_schedule)
        module_schedule.filled_in(build_schedule, every, monitor.mode)
    config.require_free_folders()
    saved = None
    if config.resume:
        saved = CheckpointFolder(config.resume.parent).load(config.resume)
        module_schedule.refuse_longer(saved[0]["config"], settings["epochs"])
    index = module_data.labelled_photos(
        Path(config["data_dir"]), config.settings.task, config.settings.label_corrections
    )
    task = index.task
    find_metrics(task, config["metrics"])
    monitor.require(scalar_names(task, config["metrics"], [*task.heads, SINGLE_HEAD]))
    ones = {name: np.ones(head.num_classes) for name, head in task.heads.items()}
    factors_of(config.settings.decoding, task, ones | {SINGLE_HEAD: np.ones(task.num_classes)})
    config.config["task"] = task.to_json()  # with the classes that the data told
    if saved:
        require_classes(saved[0], task, saved[1])

    origin = load_checkpoint(config.args.init_from) if config.args.init_from else None
    model = model_to_train(config, task, saved is not None, origin).to(device)
    monitor.require(scalar_names(task, config["metrics"], model.heads))
    check_losses(config["loss"], config["loss_name"], model.heads)
    if origin:
        logger.info(init_from(model, origin))
    optimizer = module_optim.make_optimizer(
        build_optimizer,
        model,
        batches_a_step=settings["accumulate"] * distributed.world_size(),
        **config.options("optimizer"),
    )
    schedule = partial(
        module_schedule.make_schedule,
        build_schedule,
        optimizer,
        epochs=settings["epochs"],
        monitor_mode=monitor.mode,
        epochs_done=len(saved[0]["history"]) if saved else 0,
        **config.options("lr_scheduler"),
    )
    scheduler = schedule(steps_an_epoch=1) if every == "epoch" else None  # counted in the data
    backbone_modules(model, settings["freeze"])
    input_size = config["data_loader"]["args"]["input_size"]
    data = config.init_ftn("data_loader", module_data)(
        index=index,
        extractor=extractor_from(config["tracer"], input_size, device),
        cache_dir=Path(config["tracer"]["cache_dir"]),
        validation=config.settings.validation,
        augmentation=config.settings.augmentation,
        sampling=config.settings.sampling,
        mixing=config.settings.mixing,
        seed=config["seed"],
        device=device,
        limit_train_batches=settings["limit_train_batches"],
        limit_val_batches=settings["limit_val_batches"],
        overfit_batch=settings["overfit_batch"],
        progress=verbosity > 1,
    )
    criterion = build_criterion(
        config["loss"], config["loss_name"], model.heads, data.class_counts
    ).to(device)
    if settings["accumulate"] > 1 and (heads := criterion.heads_beyond_means()):
        logger.warning(
            "warning: trainer.accumulate: the loss of %s weighs photos by their whole batch, so %d"
            " batches are not one large one; data_loader.args.batch_size, where it fits, is",
            ", ".join(heads), settings["accumulate"],
        )  # fmt: skip
    decoding = factors_of(config.settings.decoding, task, data.class_counts)
    if every == "step":
        scheduler = schedule(steps_an_epoch=-(-len(data.train) // settings["accumulate"]))
        if saved:
            module_schedule.refuse_more_moves(saved[0], scheduler)
    train_step = TrainStep(
        model,
        criterion,
        optimizer,
        config.settings.trainer,
        scheduler=scheduler,
        schedule_every=every,
    )
    seed_ranks_apart(config["seed"])
    if saved:  # before the run's own config is written over with one that does not fit
        train_step.restore(*saved)
        for line in overruled(saved[0]["config"], config.config):
            logger.warning("warning: %s", line)

    if distributed.is_main():
        config.start_run(str(device))
        setup_logging(config.log_dir, verbosity)
        parts = {"train": data.train_rows, "val": data.val_rows}
        split = config.save_dir / SPLIT
        began_with = config.resume and config.resume.parent / split.name
        known = began_with.read_bytes() if began_with and began_with.exists() else None
        save_split(split, data.index, parts)
        if known not in (None, split.read_bytes()):
            logger.warning("warning: not the people, or not the split, that the run began with")
    config.run_id = distributed.broadcast(config.run_id)
    checkpoints = CheckpointFolder(config.save_dir, settings["keep_last"], settings["keep_best"])
    views = views_from(config["tta"]) if (config["tta"] or {}).get("validation") else PLAIN
    if len(views) > 1:
        logger.info("validation, each epoch: %s", describe([len(views)], len(data.val_rows)))
    counts = {head: each.tolist() for head, each in data.class_counts.items()}
    trainer = Trainer(
        train_step,
        config.settings.trainer,
        task=task,
        train_loader=data.train,
        val_loader=data.val,
        train_truth=data.train_truth,
        val_truth=data.val_truth,
        metrics=config["metrics"],
        name_of=lambda position: str(data.index.files[data.train_rows[position]]),
        monitor=monitor,
        checkpoints=checkpoints,
        log_dir=config.log_dir,
        metadata={
            "config": config.config,
            "run_id": config.run_id,
            "class_counts": counts,
            "classes": class_names(task, model.heads),
            DRAWN: (Path(config["data_dir"]) / MARKER).exists(),
        },
        description={
            "config": config.config,
            "environment": describe_environment(str(device)),
            "augmentation_pipeline": data.train.dataset.transform.describe(),
        },
        writers=[*open_writers(config.config, config.log_dir, config.run_id), *watchers],
        report_photos=SampleMetadata.of(
            data.index, data.crops, data.val_rows, config["tracer"]["weights"] is not None
        ),
        log_every_steps=settings["log_every_steps"],
        decoding=decoding,
        views=views,
        val_photos=data.index.describe(data.val_rows),
    )
    if saved:
        trainer.resume(*saved)
    with contextlib.ExitStack() as closing:
        for writer in trainer.writers:
            closing.callback(writer.close)
        best = trainer.train()
        epochs = len(trainer.history)
        if (
            distributed.is_main()
        ):  # whatever happens to the pictures, the training has come to its end
            write_json(config.log_dir / FINISHED, {"epochs": epochs, "best": best})
            draw = partial(training_pictures, config.log_dir, trainer.history)
            best_epoch, rows = trainer.monitor.best_epoch, data.val_rows
            pictures = attempt(
                partial(draw, best_epoch, task, data.crops, rows, decoding), "pictures"
            )
            for picture in pictures or ():
                logger.info("picture: %s", picture)
            if checkpoints.best.exists():
                note = partial(note_familiarity, config, checkpoints.best, data, device)
                attempt(note, "what strange photos are known by")
            if config["explain"] and checkpoints.best.exists():
                explain = partial(explain_best, config, checkpoints.best, data, decoding, device)
                attempt(explain, "Grad-CAM pictures")
            if config["visualize"]:
                shown = (trainer.writers, epochs, config.log_dir, pictures or (), data, decoding)
                attempt(partial(record_pictures, *shown), "pictures for wandb and TensorBoard")
        for writer in trainer.writers if checkpoints.best.exists() else ():
            writer.checkpoint(checkpoints.best, best)
    if distributed.is_main() and settings["report"]:
        attempt(lambda: logger.info("report: %s", write_report(config.log_dir)))
    return best


def overruled(saved: dict, asked: dict) -> list[str]:
    """What a resumed run was asked to do otherwise, and does as it did: a line for each."""
    lines = []
    for part in ("optimizer", "lr_scheduler"):
        before, now = [(config.get(part) or {}).get("args") or {} for config in (saved, asked)]
        if before != now:
            lines.append(f"{part}.args: no effect, since the run goes on as saved")
        elif saved["trainer"]["epochs"] != asked["trainer"]["epochs"] and "all" in now.values():
            lines.append(f"{part}: stays made for {saved['trainer']['epochs']} epochs, as saved")
    return lines


def explain_best(
    config: ConfigParser,
    checkpoint: Path,
    data: "TrainingData",
    decoding: "Factors | None",
    device: "torch.device",
) -> None:
    """Leave Grad-CAM pictures of the best epoch's model in the log folder."""
    from trainer.explanations import explanation_pictures
    from trainer.restore import restore_predictor

    best = restore_predictor(config, checkpoint, device).model
    size = config["data_loader"]["args"]["input_size"]
    files = explanation_pictures(
        config.log_dir, best, size, data.index, data.crops, data.val_rows, decoding
    )
    if files:
        logging.getLogger("train").info("Grad-CAM: %d pictures in %s", len(files), files[0].parent)


def start() -> None:
    """Check the command line, then run ``main`` in as many processes as the config asks for."""
    config = parse()
    from base.stopping import Stopped
    from utils import distributed

    distributed.relaunch(config["n_gpu"])
    with distributed.process_group(config["n_gpu"]):
        try:
            train_folds(config, main) if config.args.folds else main(config)
        except Stopped as stopped:
            if distributed.is_main():
                print(stopped, file=sys.stderr)
            sys.exit(EXIT_STOPPED)


def parse() -> ConfigParser:
    """The command line, checked and merged with the config file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--init-from", metavar="CHECKPOINT", help="start from the weights of another run's model"
    )
    parser.add_argument(
        "--folds", metavar="WHICH",
        help="train one model for each of the validation.folds folds: 'all', or such as 0,2",
    )  # fmt: skip
    config = ConfigParser.from_args(parser)
    if config.args.folds and config.resume:
        raise ConfigError("--folds: with it, --resume takes only 'auto'")
    return config


if __name__ == "__main__":
    run_command(start, debug="--debug" in sys.argv)
