"""One epoch of a multi-head model: training with a loss a head, validation by the 18 classes."""

from collections.abc import Iterable, Sequence
from typing import Any

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
        **options: Any,
    ) -> None:
        super().__init__(model, optimizer, **options)
        self.criterion = criterion
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.metrics = list(dict.fromkeys([*metrics, *PER_HEAD]))
        self.device = device
        self.validation: Predictions | None = None

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        self.train_loader.set_epoch(epoch)
        self.model.train()
        seen, losses = [], []
        for batch in self._progress(self.train_loader, f"epoch {epoch}/{self.epochs}"):
            logits, targets, total, parts = self._step(batch)
            seen.append({"index": batch["index"], "logits": logits, "targets": targets})
            losses.append(torch.stack([total, *parts.values()]).detach() * len(batch["index"]))
        photos = sum(len(step["index"]) for step in seen)
        means = (torch.stack(losses).sum(0) / photos).tolist()
        names = ["loss", *(f"{head}_loss" for head in parts)]
        log = dict(zip(names, means, strict=True)) | self._measure(gather(seen))
        self._refuse_nan(epoch, log)
        return {f"train/{name}": value for name, value in log.items()}

    def _step(self, batch: dict[str, Tensor]) -> tuple[dict, dict, Tensor, dict[str, Tensor]]:
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
        return logits, targets, total, parts

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

    def _refuse_nan(self, epoch: int, log: dict[str, float]) -> None:
        bad = [name for name in log if name.endswith("loss") and log[name] != log[name]]
        if bad:
            raise UserError(
                f"epoch {epoch}: {', '.join(bad)} became NaN; lower optimizer.args.lr or look at"
                f" the class weights (the last good checkpoint is in {self.checkpoint_dir})"
            )
