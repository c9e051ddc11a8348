"""One epoch of a multi-head model: training with a loss a head, validation by the 18 classes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from base.base_data_loader import BaseDataLoader
from base.base_model import BaseModel
from base.base_trainer import BaseTrainer
from data_loader.labels import HEADS
from model.metric import compute_metrics
from trainer.predict import Predictions, gather, predict
from trainer.results import save_validation
from utils.errors import UserError

CHECK_EVERY = 50
"""Steps between two looks at whether the losses are still numbers; each look waits for the GPU."""


class Step(NamedTuple):
    """What is kept of a training step, on the device: no copy, no waiting.

    Attributes:
        index: (B,) int64, positions in the data set, on the CPU.
        logits: head → (B, n).
        targets: head → (B,) int64.
        losses: (1 + heads,) total and each head's.
    """

    index: Tensor
    logits: dict[str, Tensor]
    targets: dict[str, Tensor]
    losses: Tensor


PER_HEAD = [f"{head}_{score}" for head in HEADS for score in ("accuracy", "f1")]


class Trainer(BaseTrainer):
    """Trains a ``BaseModel`` on batches of ``image`` (B, 3, S, S) uint8, ``index`` and targets.

    Args:
        model: gives a dict head → logits.
        criterion: (logits, targets) → (total loss, dict head → loss).
        optimizer: over the model's parameters.
        train_loader: shuffled and augmented.
        val_loader: photos of people that the training never sees.
        metrics: names from ``model.metric``; those of each head are always measured too.
        device: where the model is.
        name_of: position in the training set → what to call the photo in a message.
        options: what ``BaseTrainer`` takes.
    """

    def __init__(
        self,
        model: BaseModel,
        criterion: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        train_loader: BaseDataLoader,
        val_loader: BaseDataLoader,
        metrics: Sequence[str],
        device: torch.device,
        name_of: Callable[[int], str] = str,
        **options: Any,
    ) -> None:
        super().__init__(model, optimizer, **options)
        self.criterion = criterion
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.metrics = list(dict.fromkeys([*metrics, *PER_HEAD]))
        self.device = device
        self.name_of = name_of
        self.validation: Predictions | None = None

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        self.train_loader.set_epoch(epoch)
        self.model.train()
        steps: list[Step] = []
        for batch in self._progress(self.train_loader, f"epoch {epoch}/{self.epochs}"):
            steps.append(self._step(batch))
            if len(steps) % CHECK_EVERY == 0:
                self._refuse_nan(epoch, steps[-CHECK_EVERY:], len(steps) - CHECK_EVERY)
        self._refuse_nan(epoch, steps[-CHECK_EVERY:], max(0, len(steps) - CHECK_EVERY))
        sizes = torch.tensor([len(step.index) for step in steps], device=self.device)
        losses = torch.stack([step.losses for step in steps])
        means = ((losses * sizes[:, None]).sum(0) / sizes.sum()).tolist()
        log = dict(zip(self._loss_names, means, strict=True))
        log |= self._measure(gather(step._asdict() for step in steps))
        return {f"train/{name}": value for name, value in log.items()}

    def _step(self, batch: dict[str, Tensor]) -> Step:
        images = batch["image"].to(self.device, non_blocking=True)
        targets = {
            name: batch[name].to(self.device, non_blocking=True)
            for name in batch
            if name not in ("image", "index")
        }
        logits = self.model(images)
        total, parts = self.criterion(logits, targets)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        self._loss_names = ["loss", *(f"{head}_loss" for head in parts)]
        losses = torch.stack([total, *parts.values()]).detach()
        return Step(batch["index"], {h: v.detach() for h, v in logits.items()}, targets, losses)

    def _validate_epoch(self, epoch: int) -> dict[str, float]:
        self.val_loader.set_epoch(0)
        batches = self._progress(self.val_loader, "validation")
        predictions = self.validation = predict(self.model, batches, self.device)
        # The loss of the whole epoch at once: a mean of batch values would weigh photos unevenly.
        on_device = [
            {head: values.to(self.device) for head, values in group.items()}
            for group in (predictions.logits, predictions.targets)
        ]
        with torch.inference_mode():
            total, parts = self.criterion(*on_device)
        log = {"loss": total.item()} | {f"{head}_loss": loss.item() for head, loss in parts.items()}
        log |= self._measure(predictions)
        return {f"val/{name}": value for name, value in log.items()}

    def _on_best(self, epoch: int) -> None:
        save_validation(self.log_dir / "validation.npz", self.validation)

    def _measure(self, predictions: Predictions) -> dict[str, float]:
        return compute_metrics(
            self.metrics,
            predictions.class_probabilities,
            predictions.targets["class"].numpy(),
        )

    def _progress(self, loader: Iterable, title: str) -> Iterable:
        return tqdm(loader, title, unit="batch", leave=False, disable=self.verbosity < 2)

    def _refuse_nan(self, epoch: int, steps: list[Step], first: int) -> None:
        """Raise for the first of ``steps``, which begin with number ``first``, without a number."""
        good = torch.stack([step.losses for step in steps]).isfinite()
        if good.all():
            return
        number = int((~good.all(dim=1)).nonzero()[0])
        step = steps[number]
        names = [name for name, fine in zip(self._loss_names, good[number], strict=True) if not fine]
        finite = torch.stack([logits.isfinite().all(dim=1) for logits in step.logits.values()])
        bad = step.index[~finite.all(dim=0).cpu()]
        photos = (bad if len(bad) else step.index).tolist()
        shown = ", ".join(self.name_of(position) for position in photos[:5])
        raise UserError(
            f"epoch {epoch}, step {first + number + 1}: {', '.join(names)} is not a finite number;"
            f" photos: {shown}{' …' if len(photos) > 5 else ''}; lower optimizer.args.lr or look at"
            f" these photos (the last good checkpoint is in {self.checkpoint_dir})"
        )
