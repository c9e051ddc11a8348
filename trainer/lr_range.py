"""The range test of learning rates: train for a moment with one that rises, and watch the loss.

L. N. Smith, "Cyclical learning rates for training neural networks" (WACV 2017).
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from base.prefetch import Prefetcher
from base.train_step import TrainStep
from data_loader.data_loaders import TrainingData
from logger.pictures import learning_rate_curve, save_picture
from parse_config import ConfigParser
from trainer import session
from trainer.batch_size import settle_batch
from trainer.mixing import split_targets
from utils.csv_files import write_csv

PICTURE, TABLE = "lr_finder.png", "lr_finder.csv"
SMOOTHING = 0.95
"""Weight of the past in the mean of the losses; one batch's says little."""
EXPLODED = 4.0
"""Times the lowest loss so far: from there on nothing is to be learned."""
UNSTEADY = 10
"""First steps, whose means are those of a few batches and jump about."""


def find(config: ConfigParser, rates: Sequence[float]) -> None:
    """Train on a batch at each rising rate, write the curve into the run's log folder, print what
    to take; the config's schedule, accumulation and average are off."""
    device = session.prepare(config)
    monitor = session.check_names(config)
    index = session.read_photos(config, monitor, None)
    model = session.build_model(config, index, monitor, None, device)
    settle_batch(config, model, session.build_optimizer, len(index.files))
    optimizer = session.build_optimizer(config, model)
    data = session.build_data(config, index, device)
    step = session.build_step(config, model, data, optimizer, None, device)
    losses = smoothed(range_test(step, batches(step, data), rates))
    proposal = steepest(rates, losses)
    save(config.log_dir, rates[: len(losses)], losses, proposal)
    if proposal is None:
        print("the loss did not fall: try another --lowest and --highest, or more --steps")
        return
    present = optimizer.defaults["lr"]
    print(
        f"the loss falls the steepest at {proposal:.1e} (the config has {present:g}); to take it:"
    )
    print(f"  --set optimizer.args.lr={proposal:.1e}")


def geometric(first: float, last: float, count: int) -> list[float]:
    """``count`` numbers from ``first`` to ``last``, each the same multiple of the one before."""
    ratio = (last / first) ** (1 / (count - 1))
    return [first * ratio**number for number in range(count)]


def range_test(
    step: TrainStep, batches: Iterable[tuple[Tensor, dict[str, Tensor]]], rates: Sequence[float]
) -> list[float]:
    """The loss of a batch at each rate, each batch with an update; ends early where it explodes.

    Groups of parameters keep the ratios of their rates (``optimizer.layer_decay``). ``step`` is of
    a model as the training begins, whose weights are changed.
    """
    groups = step.optimizer.param_groups
    ratios = [group["lr"] / step.lr for group in groups]
    losses: list[float] = []
    step.start_epoch()
    for rate, (images, targets) in zip(rates, batches, strict=False):
        for group, ratio in zip(groups, ratios, strict=True):
            group["lr"] = rate * ratio
        # Each as if it were the only one of an epoch, so each is followed by an update.
        _, total, _ = step.step(images, targets, 0, 1)
        # A wait in every step, which a test of some hundred of them can afford.
        losses.append(total.item())
        if not math.isfinite(losses[-1]) or losses[-1] > EXPLODED * min(losses):
            # Without the last one, which would bend the smoothed curve.
            return losses[:-1]
    return losses


def batches(step: TrainStep, data: TrainingData) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Training batches without end: images (B, 3, S, S) uint8 and what the loss takes."""
    for epoch in itertools.count(1):
        data.train.set_epoch(epoch)
        for batch in Prefetcher(data.train, step.device):
            yield batch["image"], split_targets(batch, step.model.heads)[1]


def smoothed(losses: Sequence[float]) -> list[float]:
    """Exponential mean of the losses so far, without the pull of its start towards zero."""
    means, mean = [], 0.0
    for number, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        # The bias correction of Adam (Kingma and Ba 2015, arXiv:1412.6980).
        means.append(mean / (1 - SMOOTHING**number))
    return means


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate at which the smoothed loss falls the most from one step to the next, each of which
    is as far from the last on the rates' logarithmic scale; ``None`` where it nowhere falls."""
    # Behind the lowest loss the curve rises and jumps, and single falls there mean nothing.
    lowest = losses.index(min(losses)) if losses else 0
    pairs = itertools.pairwise(losses[: lowest + 1])
    falls = {number: before - after for number, (before, after) in enumerate(pairs)}
    steady = [number for number, fall in falls.items() if number >= UNSTEADY and fall > 0]
    return rates[max(steady, key=falls.__getitem__)] if steady else None


def save(
    folder: Path, rates: Sequence[float], losses: Sequence[float], proposal: float | None
) -> None:
    """Write the curve and its values: of the steps that were made, the losses smoothed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / TABLE, ("lr", "loss"), zip(rates, losses, strict=True))
    save_picture(folder / PICTURE, learning_rate_curve(rates, losses, proposal))
    print(f"curve: {folder / PICTURE}, values: {folder / TABLE}")
