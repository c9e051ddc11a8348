"""A training on one page: what the config names is built, trained, and looked at."""

import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

import base.optimizers
import base.schedulers
import data_loader.data_loaders
from base.base_model import BaseModel
from base.base_trainer import Callback
from base.checkpoint import CheckpointFolder, init_from, load_checkpoint, require_same_weights
from base.monitor import Monitor
from base.preemption import Stopped, stopping_at_once
from base.schedulers import check_warmup, filled_in, make_schedule, refuse_more_moves
from base.task_settings import plural_of
from base.train_step import TrainStep, backbone_modules, checkpoint_activations
from data_loader.crops import extractor_from
from data_loader.data_loaders import TrainingData, labeled_photos
from data_loader.dataset import PhotoIndex
from data_loader.split import groups_in, save_split
from logger.logger import setup_logging
from logger.notice import require_address
from logger.visualization import require_writers
from logger.writer import Writer
from model.answers import SINGLE_HEAD, ClassPrior
from model.decoding import resolve_decoding
from model.loss import build_criterion, check_losses
from model.metric import find_metrics
from parse_config import ConfigParser
from TRACER.weights import DRAWN as MARKER
from trainer.batch_size import settle_batch
from trainer.callbacks import run_callbacks
from trainer.distillation import with_soft_labels
from trainer.folds import train_folds
from trainer.inference import DRAWN
from trainer.kernel_heads import fit_kernel_heads
from trainer.restore import model_to_train, require_classes
from trainer.resume import (
    Saved,
    checkpoint_to_resume,
    ignored_overrides,
    look_for_best_anew,
    require_same_optimizer,
)
from trainer.seeds import train_seeds
from trainer.trainer import Trainer, scalar_names
from trainer.tta import PLAIN, describe, views_from
from utils import distributed
from utils.cli import EXIT_STOPPED, tell
from utils.config_files import read_json5
from utils.devices import prepare_device, set_arithmetic
from utils.environment import describe_environment
from utils.errors import ConfigError
from utils.run_folder import ENVIRONMENT, SPLIT
from utils.seeding import seed_everything, seed_ranks_apart

logger = logging.getLogger("train")


@stopping_at_once()
def run(config: ConfigParser) -> None:
    """Train as the command line says: one run, or one for each fold or seed, in as many processes
    as the config asks for. One that is asked to stop leaves with ``EXIT_STOPPED``."""
    # Does not return where it has started a process for each GPU.
    distributed.relaunch(config["n_gpu"])
    which = train_folds if config.args.folds else train_seeds if config.args.seeds else None
    with distributed.process_group(config["n_gpu"]):
        try:
            which(config, train) if which else train(config)
        except Stopped as stopped:
            if distributed.is_main():
                tell(str(stopped))
            sys.exit(EXIT_STOPPED)


def train(
    config: ConfigParser, callbacks: Sequence[Callback] = (), writers: Sequence[Writer] = ()
) -> dict[str, float]:
    """Build what ``config`` names, and train; returns the log of the best epoch.

    What is wrong in the config is refused before weights are asked for and photos are cropped.
    ``callbacks`` and ``writers`` are further ones, beside the run's own.
    """
    device = prepare(config)
    monitor = check_names(config)
    saved = checkpoint_to_resume(config)
    index = read_photos(config, monitor, saved)
    model = build_model(config, index, monitor, saved, device)
    settle_batch(config, model, build_optimizer, len(index.files), saved and saved[0]["config"])
    optimizer = build_optimizer(config, model)
    if saved:  # before photos are cropped, as the weights in `build_model`
        require_same_optimizer(*saved, optimizer)
    schedule = config.settings.lr_scheduler
    by_step = schedule is not None and schedule.every == "step"
    # By steps it needs the number of batches, which only the data tell; any
    # other is checked before photos are cropped, which may take an hour.
    scheduler = None if by_step else build_scheduler(config, optimizer, monitor, saved)
    data = build_data(config, index, device)
    if by_step:
        scheduler = build_scheduler(config, optimizer, monitor, saved, len(data.train))
    step = build_step(config, model, data, optimizer, scheduler, device)
    # Model and losses had to be drawn alike on all ranks; dropout from here on has to differ.
    seed_ranks_apart(config["seed"])
    if saved:  # before the run's own config is written over with one that does not fit
        lines = look_for_best_anew(saved[0], config.config)
        step.restore(*saved)
        for line in [*lines, *ignored_overrides(saved[0]["config"], config.config)]:
            logger.warning("warning: %s", line)
    environment = describe_environment(str(device))
    begin_run(config, data, environment)
    warn_of_known_people(config.args.init_from, data)
    decoding = resolve_decoding(config.settings.decoding, index.task, data.class_counts)
    callbacks = run_callbacks(config, data, monitor, decoding, device, callbacks, writers)
    trainer = build_trainer(config, step, data, monitor, decoding, environment, callbacks)
    if saved:
        trainer.resume(*saved)
    return trainer.train()


def prepare(config: ConfigParser) -> torch.device:
    """Logging, arithmetic, random numbers; returns the device."""
    settings = config.settings.trainer
    verbosity = settings.verbosity if distributed.is_main() else 0
    setup_logging(verbosity=verbosity)
    config.get_logger("train", verbosity)
    for line in config.warnings():
        logger.warning("warning: %s", line)
    device = prepare_device(config["n_gpu"], config.device)
    # Before the first product on a GPU: cuBLAS reads its workspace setting once.
    set_arithmetic(settings.deterministic, settings.tf32, settings.cudnn_benchmark)
    seed_everything(config["seed"])
    return device


def check_names(config: ConfigParser) -> Monitor:
    """Refuse, by a ConfigError, an optimizer or a schedule that there is not, arguments that they
    do not take, and folders that are taken; and by a ModuleNotFoundError a writer that is not
    installed."""
    settings = config.settings.trainer
    config.init_ftn("optimizer", base.optimizers)
    monitor = Monitor(settings.monitor or "off", settings.early_stop)
    if config.settings.lr_scheduler:
        config.init_ftn("lr_scheduler", base.schedulers)
        filled_in(config.settings.lr_scheduler, monitor.mode)
        check_warmup(config.settings.lr_scheduler, settings.epochs)
    require_address(settings.notify)
    require_writers(config.config)
    config.require_free_folders()
    # A lock belongs to a process, and rank 0 speaks for the whole run.
    if distributed.is_main():
        config.claim()
    return monitor


def read_photos(config: ConfigParser, monitor: Monitor, saved: Saved | None) -> PhotoIndex:
    """The photos to train and validate on; the classes found in them go into the run's config.

    Raises:
        DataError: a photo or table is wrong.
        CheckpointError: the run that is resumed had other classes.
        ConfigError: a metric, a monitored score or a decoding that the task does not have.
    """
    settings = config.settings
    index = labeled_photos(Path(config["data_dir"]), settings.task, settings.label_corrections)
    index = with_soft_labels(index)
    task = index.task
    find_metrics(task, config["metrics"])
    monitor.require(scalar_names(task, config["metrics"], [*task.heads, SINGLE_HEAD]))
    # Class counts are not known yet; that a decoding fits the task shows with any.
    sizes = {name: head.num_classes for name, head in task.heads.items()}
    sizes[SINGLE_HEAD] = task.num_classes
    resolve_decoding(settings.decoding, task, {name: np.ones(n) for name, n in sizes.items()})
    # The classes found in the data belong to the run: test and app have no training table.
    config.adopt(task.settings)
    if saved:
        require_classes(saved[0], task, saved[1])
    return index


def build_model(
    config: ConfigParser,
    index: PhotoIndex,
    monitor: Monitor,
    saved: Saved | None,
    device: torch.device,
) -> BaseModel:
    """The model as the training begins; refused are a checkpoint of another one, and a loss, a
    monitored score, a submodule to freeze and activation checkpointing that it does not have."""
    task, soft = index.task, bool(index.soft) or index.weight is not None
    origin = load_checkpoint(config.args.init_from) if config.args.init_from else None
    model = model_to_train(config, task, saved is not None, origin).to(device)
    if saved:
        require_same_weights(model, *saved)
    # Once more, by the heads of this model: TimmModel has a single one, `class`.
    monitor.require(scalar_names(task, config["metrics"], model.heads))
    check_losses(task, config["loss"], config["loss_name"], model.heads, soft)
    backbone_modules(model, config.settings.trainer.freeze)
    if config.settings.trainer.activation_checkpointing:
        checkpoint_activations(model)
    if origin:
        logger.info(init_from(model, origin))
    return model


def build_optimizer(config: ConfigParser, model: BaseModel) -> Optimizer:
    """The optimizer over the model's parameter groups."""
    settings = config.settings.optimizer
    batches = config.settings.trainer.accumulate * distributed.world_size()
    if batches > 1:
        logger.info("a step takes %d batches, at learning rate %s", batches, settings.args.lr)
    return base.optimizers.make_optimizer(settings, model)


def build_scheduler(
    config: ConfigParser,
    optimizer: Optimizer,
    monitor: Monitor,
    saved: Saved | None,
    batches: int = 1,
) -> Any:
    """The schedule of the learning rate, if any; one by steps must know the batches of an epoch."""
    settings, chosen = config.settings.trainer, config.settings.lr_scheduler
    scheduler = make_schedule(
        chosen,
        optimizer,
        epochs=settings.epochs,
        # Rounded up: the last update of an epoch may be of fewer batches.
        steps_per_epoch=-(-batches // settings.accumulate),
        monitor_mode=monitor.mode,
        epochs_done=len(saved[0]["history"]) if saved else 0,
    )
    if saved and scheduler and chosen and chosen.every == "step":
        refuse_more_moves(saved[0], scheduler)
    return scheduler


def build_data(config: ConfigParser, index: PhotoIndex, device: torch.device) -> TrainingData:
    """The loaders; makes the crops that are not there yet."""
    settings = config.settings.trainer
    input_size = config["data_loader"]["args"]["input_size"]
    return config.init_ftn("data_loader", data_loader.data_loaders)(
        index=index,
        extractor=extractor_from(config.settings.tracer, input_size, device),
        cache_dir=Path(config.settings.tracer.cache_dir),
        validation=config.settings.validation,
        augmentation=config.settings.augmentation,
        sampling=config.settings.sampling,
        mixing=config.settings.mixing,
        limits=settings,
        seed=config["seed"],
        device=device,
        progress=settings.verbosity > 1 and distributed.is_main(),
    )


def build_step(
    config: ConfigParser,
    model: BaseModel,
    data: TrainingData,
    optimizer: Optimizer,
    scheduler: Any,
    device: torch.device,
) -> TrainStep:
    """The training step: model, loss, optimizer, schedule."""
    settings = config.settings.trainer
    criterion = build_criterion(
        data.index.task, config["loss"], config["loss_name"], model.heads, data.class_counts
    ).to(device)
    heads = criterion.heads_beyond_means() if data.index.weight is None else list(model.heads)
    if settings.accumulate > 1 and heads:
        logger.warning(
            "warning: trainer.accumulate: the loss of %s weighs photos by their whole batch, so %d"
            " batches are not one large one; data_loader.args.batch_size, where it fits, is",
            ", ".join(heads), settings.accumulate,
        )  # fmt: skip
    schedule = config.settings.lr_scheduler
    every = schedule.every if schedule else "epoch"
    return TrainStep(
        model, criterion, optimizer, settings, scheduler=scheduler, schedule_every=every
    )


def begin_run(config: ConfigParser, data: TrainingData, environment: dict[str, Any]) -> None:
    """Make the run's folders, with its config, environment and split; all ranks learn its id."""
    if distributed.is_main():
        environment["data"] = data.digest()
        before = data_of(config.resume.parent) if config.resume else None
        config.start_run(environment)
        setup_logging(config.log_dir, config.settings.trainer.verbosity)
        split = config.save_dir / SPLIT
        began_with = config.resume and config.resume.parent / split.name
        known = began_with.read_bytes() if began_with and began_with.exists() else None
        save_split(split, data.index, {"train": data.train_rows, "val": data.val_rows})
        # The file is written in one fixed order, so the same split has the same bytes.
        if known not in (None, split.read_bytes()):
            logger.warning(
                "warning: not the %s, or not the split, that the run began with", data.index.plural
            )
        elif before not in (None, environment["data"]):
            logger.warning(
                "warning: photos, their crops or labels have changed since the run was stopped, and"
                " it goes on with those of now"
            )
    config.run_id = distributed.broadcast(config.run_id)


def data_of(models: Path) -> Any:
    """``TrainingData.digest`` as the run in a folder noted it; ``None`` of older versions."""
    try:
        return read_json5(models / ENVIRONMENT).get("data")
    except ConfigError:
        return None


def warn_of_known_people(init_from: str | None, data: TrainingData) -> None:
    """Say so where today's validation is known to the model that ``--init-from`` starts from."""
    if not init_from:
        return
    index = data.index
    ours = {str(index.groups[group]) for group in np.unique(index.group[data.val_rows])}
    # A model that has memorized a person scores well on them, whatever the split is now.
    known = ours & groups_in(Path(init_from).parent / SPLIT, "train")
    if known:
        logger.warning(
            "warning: --init-from %s: was trained on %d of the %d %s that validate now, so their"
            " scores flatter", init_from, len(known), len(ours), plural_of(index.noun),
        )  # fmt: skip


def build_trainer(
    config: ConfigParser,
    step: TrainStep,
    data: TrainingData,
    monitor: Monitor,
    decoding: ClassPrior | None,
    environment: dict[str, Any],
    callbacks: Sequence[Callback],
) -> Trainer:
    """The trainer, with what checkpoints and callbacks record of the run."""
    settings = config.settings.trainer
    size, shown = config["data_loader"]["args"]["input_size"], settings.verbosity > 1
    fit_heads = partial(fit_kernel_heads, data=data, size=size, progress=shown)
    # Off by default in validation, which it would make twice as long in every epoch.
    views = views_from(config["tta"]) if (config["tta"] or {}).get("validation") else PLAIN
    if len(views) > 1:
        logger.info("validation, each epoch: %s", describe([len(views)], len(data.val_rows)))
    return Trainer(
        step,
        settings,
        task=data.index.task,
        train_loader=data.train,
        val_loader=data.val,
        train_truth=data.train_truth,
        val_truth=data.val_truth,
        metrics=config["metrics"],
        name_of=lambda position: str(data.index.files[data.train_rows[position]]),
        monitor=monitor,
        checkpoints=CheckpointFolder(config.save_dir, settings.keep_last, settings.keep_best),
        metadata={
            "config": config.config,
            "run_id": config.run_id,
            "class_counts": {head: each.tolist() for head, each in data.class_counts.items()},
            DRAWN: (Path(config["data_dir"]) / MARKER).exists(),
        },
        description={
            "config": config.config,
            "environment": environment,
            "augmentation_pipeline": data.train.dataset.transform.describe(),
        },
        callbacks=callbacks,
        before_validation=fit_heads,
        decoding=decoding,
        profile_dir=config.log_dir / "profile",
        views=views,
    )
