"""``data_loader.args.batch_size: "auto"``: the largest batch that a GPU has memory for, and how
many of them make the step that was asked for."""

import contextlib
import copy
import gc
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from base.base_model import BaseModel
from base.settings import StepSettings
from data_loader.settings import ON_CPU
from parse_config import AUTO, ConfigParser
from utils import distributed
from utils.devices import amp_dtype
from utils.errors import ConfigError

BATCH, ACCUMULATE = "data_loader.args.batch_size", "trainer.accumulate"
EFFECTIVE = "effective_batch"
MOST, FEWEST_STEPS = 1024, 16
"""Photos of a batch, and steps of an epoch: a larger batch is no use, however much memory there
is."""
FIRST = 8
RESERVE, RESERVE_OF_GRAPH = 0.9, 0.75
"""Share of what fits that is taken: losses, exchanged gradients and a fragmented heap need some;
and beside a CUDA graph, which shares its memory with nothing, the validation."""

logger = logging.getLogger("train")


def settle_batch(
    config: ConfigParser,
    model: BaseModel,
    make_optimizer: Callable[[ConfigParser, BaseModel], Optimizer],
    photos: int,
    saved: dict[str, Any] | None = None,
) -> None:
    """Put numbers into the config, and so into the run's, for ``"auto"`` and for
    ``trainer.effective_batch``.

    Args:
        config: of the run.
        model: on its device; stays as it is.
        make_optimizer: for a twin of the model.
        photos: of the data set.
        saved: the config of the run that goes on, which has the number already.
    """
    asked, effective = config["data_loader"]["args"]["batch_size"], config["trainer"][EFFECTIVE]
    batch, ranks = asked, distributed.world_size()
    if asked == AUTO and saved:
        batch = saved["data_loader"]["args"]["batch_size"]
    if batch == AUTO:
        most = max(1, min(MOST, photos // (FEWEST_STEPS * ranks)))
        if effective:
            most = min(MOST, -(-effective // ranks))
        batch = _measured(config, model, make_optimizer, most)
        if effective:
            batch = sharing_evenly(-(-effective // ranks), batch)
    accumulate = config["trainer"]["accumulate"]
    if effective:
        accumulate = round(effective / (batch * ranks))
        if effective < batch * ranks:
            raise ConfigError(
                f"trainer.effective_batch: {effective} is less than one batch ({BATCH}={batch} on"
                f" {ranks} processes); make it larger, or that smaller"
            )
    config.settle({BATCH: batch, ACCUMULATE: accumulate})
    if asked == AUTO or effective:
        logger.info(
            "%s=%d, %s=%d: %d photos per step", BATCH, batch, ACCUMULATE, accumulate,
            batch * accumulate * ranks,
        )  # fmt: skip


def sharing_evenly(photos: int, most: int) -> int:
    """The size of a batch, up to ``most``, a few of which make ``photos``: exactly, if at most
    twice as many as needed do, else with the last photos left over."""
    fewest = -(-photos // most)
    even = (count for count in range(fewest, 2 * fewest) if photos % count == 0)
    return photos // next(even, fewest)


def _measured(config: ConfigParser, model: BaseModel, make_optimizer: Callable, most: int) -> int:
    """What all ranks have memory for; on the CPU ``ON_CPU``, since it has no such limit."""
    device = next(model.parameters()).device
    if device.type != "cuda":
        return min(ON_CPU, most)
    size = config["data_loader"]["args"]["input_size"]
    with torch.random.fork_rng([device]):  # what is drawn here is not missing in the training
        twin = copy.deepcopy(model)
        optimizer = make_optimizer(config, twin)
        settings = config.settings.trainer
        trial = Trial(twin, optimizer, settings, size)
        share = RESERVE_OF_GRAPH if settings.cuda_graph else RESERVE
        found = largest(trial.fits, most, share)
    del twin, optimizer, trial
    release()
    found = min(distributed.gather(found))
    if not found:
        raise ConfigError(
            f"{BATCH}: not even one photo of {size} px fits into the GPU's memory; lower"
            " data_loader.args.input_size, take a smaller arch.args.model_name, or set"
            " trainer.activation_checkpointing=true"
        )
    return found


def largest(fits: Callable[[int], bool], most: int, share: float = RESERVE) -> int:
    """The largest size up to ``most`` that fits, less a reserve (``share`` is what is left): found
    by doubling, then by halving the gap; a multiple of 8 where it is 16 or more, 0 where nothing
    fits."""
    size = min(FIRST, most)
    while size and not fits(size):
        size //= 2
    if size < min(FIRST, most):  # next to nothing: no halving, no reserve
        return size
    while size < most and fits(min(2 * size, most)):
        size = min(2 * size, most)
    if size == most:
        return most
    too_large = min(2 * size, most)
    while too_large - size > max(1, size // 8):
        middle = (size + too_large) // 2
        size, too_large = (middle, too_large) if fits(middle) else (size, middle)
    kept = int(size * share)
    return kept if kept < 16 else kept - kept % 8


class Trial:
    """Training steps on photos of nothing, ``size`` px square, to see whether they fit into
    memory; model and optimizer are changed."""

    def __init__(
        self, model: BaseModel, optimizer: Optimizer, settings: StepSettings, size: int
    ) -> None:
        self.device = next(model.parameters()).device
        channels_last = settings.channels_last is not False
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.model = model.to(memory_format=self.format).train()
        self.optimizer = optimizer
        self.amp = amp_dtype(settings.amp, self.device)
        self.size = size

    def fits(self, photos: int) -> bool:
        """Whether a whole step does: forward, backward, the move of the weights."""
        fitting = False
        with contextlib.suppress(torch.OutOfMemoryError):
            self._step(photos)
            fitting = True
        # Out here, where no error holds the tensors of the step any more.
        self.optimizer.zero_grad(set_to_none=True)
        release()
        return fitting

    def _step(self, photos: int) -> None:
        side = self.size
        images = torch.zeros((photos, 3, side, side), dtype=torch.uint8, device=self.device)
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            logits = self.model(images.contiguous(memory_format=self.format))
        torch.stack([each.mean() for each in logits.values()]).sum().backward()
        self.optimizer.step()


def release() -> None:
    """Give memory that nothing holds any more back to the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
