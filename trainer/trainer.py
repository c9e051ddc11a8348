"""One epoch of a multi-head model: training with a loss per head, validation by its answers."""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from base.base_data_loader import BaseDataLoader
from base.base_trainer import BaseTrainer
from base.checkpoint_schema import OLDER_METRIC_INDEX
from base.prefetch import Batch, Prefetcher
from base.settings import LoopSettings
from base.task import Arrays, Task
from base.train_step import TrainStep
from logger.logger import attempt
from logger.report.page import duration
from model.answers import ClassPrior, with_marginals
from model.decode import answers, probabilities
from model.metric import always, compute_metrics, evaluate, find_metrics, metrics_of, names_of
from trainer.mixing import split_targets
from trainer.predict import adjusted, gather, predict
from trainer.profiling import profiled
from trainer.tta import PLAIN, View
from trainer.updates import Updates, peak_memory, reset_gpu_memory, training_flops
from utils import distributed
from utils.devices import peak_flops
from utils.errors import CheckpointError, UserError, first_of
from utils.progress import Progress

CHECK_EVERY = 50
"""Steps between two looks at whether the losses are still numbers; each look waits for the GPU."""


@dataclass(frozen=True)
class Step:
    """What is kept of a training step, on the device: no copy, no waiting, and nothing that grows
    with the number of classes.

    Attributes:
        index: (B,) int64, positions in the data set, on the CPU.
        metric_index: (B,) int64, the position whose true answers the metrics go by: of mixed photos
            that of the larger ``lam``.
        answers: what ``model.decode.answers`` gives.
        finite: (B,) bool, whether all logits are.
        losses: (1 + heads,) total and each head's.
    """

    index: Tensor
    metric_index: Tensor
    answers: dict[str, Tensor]
    finite: Tensor
    losses: Tensor

    @property
    def kind(self) -> dict[str, Any]:
        """What all steps of a training have alike, however many photos they are of."""
        of_photos = {"metric_index": self.metric_index, "finite": self.finite, **self.answers}
        kinds: dict[str, Any] = {"index": self.index.ndim, "losses": self.losses.shape}
        for name, values in of_photos.items():
            kinds[name] = values.shape[1:], values.shape[:1] == self.index.shape
        return kinds

    def to(self, device: torch.device) -> "Step":
        """The same elsewhere; ``index`` stays on the CPU."""
        answers = {name: values.to(device) for name, values in self.answers.items()}
        others = (each.to(device) for each in (self.metric_index, self.finite, self.losses))
        return Step(self.index, next(others), answers, *others)


def scalar_names(task: Task, metrics: Iterable[str], heads: Iterable[str]) -> list[str]:
    """What ``trainer.monitor`` can watch: the scores and losses in the log of an epoch."""
    names = ["loss", *(f"{head}_loss" for head in heads), *metrics, *always(task)]
    kept = metrics_of(task)
    of_training = [name for name in names if name in kept or name not in names_of(task)]
    found = [f"val/{name}" for name in names] + [f"train/{name}" for name in of_training]
    return list(dict.fromkeys(found))


class Trainer(BaseTrainer):
    """Trains on batches of ``image`` (B, 3, S, S) uint8, ``index`` and a target per head.

    Photos may be mixed and labels soft (see ``trainer.mixing``); the losses take them as they are.

    Args:
        train_loader, val_loader: of which the first shuffles and augments.
        train_truth, val_truth: the true answers to their photos, see ``Task.truth``.
        metrics: names from ``model.metric``; those of ``always`` are measured in any case.
        name_of: position in the training set → what to call the photo in a message.
        decoding: class prior that multiplies the probabilities before validation scores are taken;
            ``None`` for none. ``predictions`` are kept without it.
        views: of a validation photo, whose answers are averaged.
        before_validation: called with the training step, whose model is in evaluation mode.
        options: what ``BaseTrainer`` takes.
    """

    def __init__(
        self,
        train_step: TrainStep,
        settings: LoopSettings,
        *,
        task: Task,
        train_loader: BaseDataLoader,
        val_loader: BaseDataLoader,
        train_truth: Arrays,
        val_truth: Arrays,
        metrics: Sequence[str],
        name_of: Callable[[int], str] = str,
        decoding: ClassPrior | None = None,
        views: Sequence[View] = PLAIN,
        profile_dir: Path = Path("profile"),
        before_validation: Callable[[TrainStep], None] = lambda step: None,
        **options: Any,
    ) -> None:
        super().__init__(train_step, settings, **options)
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.task = task
        self.train_truth, self.val_truth = train_truth, val_truth
        self.metrics = find_metrics(task, [*metrics, *always(task)])
        self.name_of = name_of
        self.decoding = decoding
        self.views = views
        self.profile_dir = profile_dir
        self.before_validation = before_validation
        self._steps: list[Step] = []
        self._loss_names: list[str] = []
        self._flops: float | None = None
        self._side = 0

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        self._steps, photos_done = self._resumed_steps()
        self.train_loader.set_epoch(epoch, done=photos_done)
        self.train_step.start_epoch()
        total = len(self._steps) + len(self.train_loader)
        fetched = Prefetcher(self.train_loader, self.train_step.device)
        batches: Iterable[Batch] = fetched
        if self.settings.profile_steps and epoch == 1 and distributed.is_main():
            steps, device = self.settings.profile_steps, self.train_step.device
            batches = profiled(fetched, steps, self.profile_dir, device)
        # Read to empty it: what came before is no part of this epoch.
        self.train_step.stopwatch.read()
        reset_gpu_memory(self.train_step.device)
        began, done = time.perf_counter(), len(self._steps)
        updates = Updates(self.train_step, fetched, done)
        title = f"epoch {epoch}/{self.epochs}"
        if left := self.budget.seconds_left:
            title += f", {duration(left)} left"
        batches = self._progress(batches, title, done, total)
        for number, batch in enumerate(batches, len(self._steps)):
            self._steps.append(self._step(batch, number, total))
            if self.mid_epoch and number == done:
                self._require_of_one_kind(self._steps)
            updates.note(number + 1, len(batch["index"]) * distributed.world_size())
            if (number + 1) % CHECK_EVERY == 0:
                self._refuse_nan(epoch, number + 1 - CHECK_EVERY)
                self._tell_of(updates)
            # Where gradients, which aren't saved, are empty; the end of an epoch saves by itself.
            if (number + 1) % self.train_step.settings.accumulate == 0 and number + 1 < total:
                self._after_step(number + 1)
        # The steps since the last look.
        self._refuse_nan(epoch, total - total % CHECK_EVERY)
        self._tell_of(updates)
        log = self._train_log()
        if updates.grad_norm is not None:
            log["train/grad_norm"] = updates.grad_norm
        photos = sum(len(step.index) for step in self._steps[done:]) * distributed.world_size()
        seconds = time.perf_counter() - began
        self.timings = self._utilization(photos / seconds) | {
            "time/train_seconds": seconds,
            "time/images_per_second": photos / seconds,
            "time/data_wait_share": fetched.waited_seconds / seconds,
        }
        memory = peak_memory(self.train_step.device)
        self.timings |= {f"memory/{name}": value for name, value in memory.items()}
        spent = self.train_step.stopwatch.read()
        self.timings |= {f"time/{name}_seconds": seconds for name, seconds in spent.items()}
        return log

    def _utilization(self, images_per_second: float) -> dict[str, float]:
        """``time/mfu``, model FLOPs utilization (Chowdhery et al. 2022, arXiv:2204.02311): what
        the model computes, as a share of what the GPUs could; empty where that is not known."""
        step = self.train_step
        peak = peak_flops(step.device, step.amp)
        if peak is None:
            return {}
        if self._flops is None:  # a model whose operations can't be counted trains all the same
            self._flops = attempt(lambda: training_flops(step.model, self._side), "time/mfu") or 0.0
        if not self._flops:
            return {}
        return {"time/mfu": images_per_second * self._flops / peak / distributed.world_size()}

    def _tell_of(self, updates: Updates) -> None:
        losses = [step.losses for step in self._steps]
        for update in updates.since_last_time(losses, self._loss_names):
            self._tell("on_step", *update)

    def _step(self, batch: Batch, number: int, of: int) -> Step:
        # Not of the config: a data set of the user's own may give another size.
        self._side = batch["image"].shape[-1]
        # Of a mixed photo a loss takes both labels, a metric only one.
        metric_index, targets = split_targets(batch, self.train_step.model.heads)
        logits, total, head_losses = self.train_step.step(batch["image"], targets, number, of)
        self._loss_names = ["loss", *(f"{head}_loss" for head in head_losses)]
        predicted = answers(self.task, with_marginals(self.task, probabilities(self.task, logits)))
        finite = torch.stack([values.isfinite().all(dim=1) for values in logits.values()])
        losses = torch.stack([total, *head_losses.values()])
        return Step(batch["index"], metric_index, predicted, finite.all(dim=0), losses)

    def _train_log(self) -> dict[str, float]:
        sizes = torch.tensor([len(step.index) for step in self._steps])
        losses = torch.stack([step.losses for step in self._steps]).cpu()
        # (steps, losses) → (losses,); by photos, since the last batch may be a small one.
        means = ((losses * sizes[:, None]).sum(0) / sizes.sum()).tolist()
        log = dict(zip(self._loss_names, means, strict=True))
        seen = [
            {"index": step.index, "answers": step.answers, "metric": {"index": step.metric_index}}
            for step in self._steps
        ]
        _, joined = gather(seen)
        place = joined["metric"]["index"].numpy()
        predicted = {name: values.numpy() for name, values in joined["answers"].items()}
        truth = {name: values[place] for name, values in self.train_truth.items()}
        log |= evaluate(self.task, self.metrics, predicted, truth)
        return {f"train/{name}": value for name, value in log.items()}

    def _mid_epoch_state(self) -> dict[str, Any]:
        """The steps so far of all ranks, as tensors and plain values."""
        # A NaN among the steps would come back with every resume.
        self._refuse_nan(len(self.history) + 1, len(self._steps) - len(self._steps) % CHECK_EVERY)
        steps = [vars(step.to(torch.device("cpu"))) for step in self._steps]
        return {"steps": distributed.gather(steps), "loss_names": self._loss_names}

    def _resumed_steps(self) -> tuple[list[Step], int]:
        """This rank's steps of the epoch that was stopped, and how many photos all ranks saw."""
        if self.mid_epoch is None:
            return [], 0
        ranks = self.mid_epoch["steps"]
        if len(ranks) != distributed.world_size():
            raise CheckpointError(
                f"the run stopped within an epoch on {len(ranks)} processes; from there it can be"
                f" resumed with as many only, not with {distributed.world_size()}"
            )
        self._loss_names, device = self.mid_epoch["loss_names"], self.train_step.device
        renamed = {OLDER_METRIC_INDEX: "metric_index"}  # of an older version
        own = [
            Step(**{renamed.get(k, k): each for k, each in state.items()}).to(device)
            for state in ranks[distributed.rank()]
        ]
        return own, sum(len(step["index"]) for steps in ranks for step in steps)

    def _require_of_one_kind(self, steps: list[Step]) -> None:
        """A made-up state may hold steps that could not be joined with the training's own."""
        photos = min(map(len, self.train_truth.values()))
        for step in steps[:-1]:
            places = torch.cat([step.index, step.metric_index.cpu()])
            if step.kind != steps[-1].kind or not ((places >= 0) & (places < photos)).all():
                raise CheckpointError(
                    "the steps of the epoch in which the run stopped are not those of this"
                    " training; resume from a checkpoint of an epoch's end"
                )

    def _validate_epoch(self, epoch: int) -> dict[str, float]:
        began = time.perf_counter()
        step = self.train_step
        step.best_model.eval()
        self.before_validation(step)
        # Always the same epoch, so that every validation sees the same.
        self.val_loader.set_epoch(0)
        fetched = Prefetcher(self.val_loader, step.device)
        batches = self._progress(fetched, "validation", 0, len(self.val_loader))
        predictions = self.predictions = predict(step.predict, batches, self.task, self.views)
        # The loss of the whole epoch at once: a mean of batch values would weigh photos unevenly.
        on_device = [
            {head: values.to(step.device) for head, values in group.items()}
            for group in (predictions.logits, predictions.targets)
        ]
        with torch.inference_mode():
            total, losses = step.criterion(*on_device)
        log = {"loss": total.item()}
        log |= {f"{head}_loss": loss.item() for head, loss in losses.items()}
        truth = {name: values[predictions.index] for name, values in self.val_truth.items()}
        # Scores are of decoded answers; `predictions`
        # keep the others, on which a decoding is tuned.
        found = adjusted(predictions, self.decoding).probabilities
        log |= compute_metrics(self.task, self.metrics, found, truth)
        self.timings["time/validation_seconds"] = time.perf_counter() - began
        return {f"val/{name}": value for name, value in log.items()}

    def _progress(self, loader: Iterable, title: str, done: int, total: int) -> Iterable:
        hidden = self.verbosity < 2
        return Progress(
            loader, title, total, initial=done, unit="batch", leave=False, disable=hidden
        )

    def _refuse_nan(self, epoch: int, first: int) -> None:
        """Raise for the first step from number ``first`` on whose loss is NaN or Inf."""
        steps = self._steps[first:]
        if not steps:
            return
        # One wait for all steps since the last look.
        good = torch.stack([step.losses for step in steps]).isfinite()
        if good.all():
            return
        number = int((~good.all(dim=1)).nonzero()[0])
        step = steps[number]
        names = itertools.compress(self._loss_names, ~good[number])
        bad = step.index[~step.finite.cpu()]
        # The loss is that of all ranks, so all are here; whose photos did it, only some can say.
        found = distributed.gather([self.name_of(position) for position in bad.tolist()])
        whole = distributed.gather([self.name_of(position) for position in step.index.tolist()])
        photos = list(itertools.chain(*found)) or list(itertools.chain(*whole))
        raise UserError(
            f"epoch {epoch}, step {first + number + 1}: {', '.join(names)} is not a finite number;"
            f" photos: {first_of(photos, 5)}; lower optimizer.args.lr or look at these photos"
            f"{self.checkpoints.last_good()}"
        )
