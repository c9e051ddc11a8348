"""Training TRACER: epochs of the API loss with deep supervision, validated on held-out photos."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from base.base_data_loader import BaseDataLoader
from base.checkpoint import random_state, restore_random_state
from base.sampler import EpochSampler
from TRACER.augmentation import AUGMENTATIONS, Augmentation, PlainResize
from TRACER.checkpoints import BEST, LAST, read_training, save_checkpoint
from TRACER.dataset import Pair, SaliencyDataset
from TRACER.losses import tracer_loss
from TRACER.metrics import mean_scores, score_image
from TRACER.network import MEAN, STD, Tracer
from TRACER.weights import network_settings
from utils.csv_files import write_csv
from utils.devices import half_dtype
from utils.errors import CheckpointError, ConfigError, DataError
from utils.hub import hub_weights_at_hand
from utils.progress import Progress

OPTIMIZERS = {"adam": Adam, "adamw": AdamW}
AMP = ("auto", "bfloat16", "off")
COUNTERS = ("epoch", "done_steps", "best_loss", "bad_epochs", "history")


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; the defaults are the paper's."""

    side: int  # of the network's input in training, px
    epochs: int = 100
    batch_size: int = 32
    optimizer: str = "adam"
    lr: float = 5e-5
    weight_decay: float = 1e-4
    schedule: str = "plateau"  # or "cosine", which warms up and falls to 1 % by the last epoch
    warmup: float = 0.05  # share of all steps, for "cosine"
    clip: float = 2.0  # largest norm of the gradient
    patience: int = 10  # epochs without a lower validation loss before stopping; 0: never
    edge_weight: float = 1.0
    ema_decay: float = 0.0  # of the averaged network; 0: none
    augment: str = "paper"
    amp: str = "auto"  # bfloat16 on a GPU that has it, which is quicker there and nowhere else
    seed: int = 42
    num_workers: int = 0
    limit_steps: int | None = None  # steps per epoch, for a quick look


class Training:
    """One training run in the folder ``out``: ``metrics.csv``, ``best.pth``, ``last.pth``.

    ``network`` is trained on ``device`` with the photos of ``train``; those of ``validation`` are
    held out.
    """

    def __init__(
        self,
        network: Tracer,
        train: list[Pair],
        validation: list[Pair],
        settings: TrainingSettings,
        device: torch.device,
        out: Path,
    ) -> None:
        self.settings, self.device, self.out = settings, device, Path(out)
        full = len(train) // settings.batch_size
        if not full:
            raise DataError(
                f"{len(train)} training photos are fewer than one batch; lower --batch-size"
                f" {settings.batch_size}"
            )
        # Full batches only: batch norms of a rest of one photo would upset the running means.
        self.steps = min(full, settings.limit_steps or full)
        augmentation = AUGMENTATIONS[settings.augment](settings.side)
        self.loader = _loader(train, augmentation, settings, device, self.steps)
        self.validation_loader = _loader(validation, PlainResize(settings.side), settings, device)
        network.to(device).to(memory_format=torch.channels_last)
        self.network = network
        # One group as in the paper: sparing norms the decay would move every published figure.
        self.optimizer = OPTIMIZERS[settings.optimizer](
            self.network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        self.scheduler = _scheduler(self.optimizer, settings, self.steps)
        self.ema = (
            # use_warmup: or the average would hold the start's weights long.
            ModelEmaV3(self.network, decay=settings.ema_decay, use_warmup=True)
            if settings.ema_decay
            else None
        )
        self.epoch = self.done_steps = 0
        self.best_loss = math.inf
        self.bad_epochs = 0
        self.history: list[dict[str, float]] = []

    def run(self) -> dict[str, float]:
        """Train until the last epoch, or until the validation loss has stopped falling.

        Returns:
            The ``metrics.csv`` row of the best epoch.

        Raises:
            DataError: a photo or mask cannot be read.
            ConfigError: the loss is no longer a number.
        """
        while self.epoch < self.settings.epochs and not self._has_stalled():
            self._finish_epoch({"train_loss": self._train_epoch(), **self._validate()})
        return min(self.history, key=lambda row: row["val_loss"])

    def resume(self, checkpoint: Path) -> None:
        """Go on as if the run that wrote ``checkpoint`` had never stopped.

        Raises:
            CheckpointError: see ``read_training``; or the settings differ from that run's.
        """
        content = read_training(checkpoint)
        try:
            self._restore(content, content["training"], checkpoint)
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{checkpoint}: no training state of this version ({type(error).__name__}); start"
                " a new run from it with --weights"
            ) from error

    def _restore(self, content: dict[str, Any], state: dict[str, Any], checkpoint: Path) -> None:
        theirs = {**content, **state["settings"]}
        ours = self._essentials() | network_settings(self.network)
        if changed := [name for name in ours if theirs.get(name) != ours[name]]:
            raise CheckpointError(
                f"{checkpoint}: was trained with another {', '.join(changed)}; resume with the"
                " options of the first run, or start a new one from it with --weights"
            )
        # The checkpoint's "model" is the averaged one, for use; the trained one stands in `state`.
        if self.ema:
            self.ema.module.load_state_dict(content["model"])
        self.network.load_state_dict(state["network"] if self.ema else content["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        for name in COUNTERS:
            setattr(self, name, state[name])
        restore_random_state(state["rng"])

    def _has_stalled(self) -> bool:
        return 0 < self.settings.patience <= self.bad_epochs

    def _train_epoch(self) -> float:
        self.network.train()
        sampler: Any = self.loader.sampler
        # The order depends on the epoch, so that a resumed run goes on with the same one.
        sampler.epoch = self.epoch
        total = torch.zeros((), device=self.device)
        bar = Progress(
            enumerate(self.loader),
            desc=f"epoch {self.epoch + 1}/{self.settings.epochs}",
            total=self.steps,
            unit="batch",
        )
        for step, (images, masks) in bar:
            loss = self._train_step(*_to_device(images, masks, self.device))
            total += loss
            # `item` waits for the GPU; every step it would take the lead away that the host has.
            if step % 10 == 9:
                bar.set_postfix(loss=f"{total.item() / (step + 1):.3f}")
        # Before the checkpoint of this epoch is written over the last good one.
        if not math.isfinite(total.item()):
            raise ConfigError(
                f"the loss of epoch {self.epoch + 1} is {total.item()}; lower --lr"
                f" {self.settings.lr} or --clip {self.settings.clip}"
            )
        return total.item() / self.steps

    def _train_step(self, images: Tensor, masks: Tensor) -> Tensor:
        with _autocast(self.device, self.settings.amp):
            output = self.network(images)
        # Outside of autocast: the loss is computed in float32.
        loss = tracer_loss(output, masks, self.settings.edge_weight)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        self.optimizer.step()
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
        if self.ema:
            self.ema.update(self.network, step=self.done_steps)
        self.done_steps += 1
        return loss.detach()

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        # What is validated is what is saved as the best.
        network = (self.ema.module if self.ema else self.network).eval()
        losses, scores = [], []
        bar = Progress(self.validation_loader, desc="validation", leave=False)
        for images, masks in bar:
            images, masks = _to_device(images, masks, self.device)
            with _autocast(self.device, self.settings.amp):
                output = network(images)
            # · photos, since the last batch may be smaller.
            losses.append(tracer_loss(output, masks, self.settings.edge_weight) * len(masks))
            pairs = zip(output.saliency[:, 0].float().cpu(), masks[:, 0].cpu(), strict=True)
            scores += [score_image(map_.numpy(), mask.numpy() > 0) for map_, mask in pairs]
        measures = mean_scores(scores)
        wanted = ("mae", "max_f", "dataset_max_f", "mean_f", "s_measure")
        loss = torch.stack(losses).sum().item() / len(scores)
        return {"val_loss": loss, **{f"val_{name}": measures[name] for name in wanted}}

    def _finish_epoch(self, row: dict[str, float]) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(row["val_loss"])
        self.epoch += 1
        row = {"epoch": self.epoch, "lr": self.optimizer.param_groups[0]["lr"], **row}
        self.history.append(row)
        is_best = row["val_loss"] < self.best_loss
        self.best_loss = min(self.best_loss, row["val_loss"])
        self.bad_epochs = 0 if is_best else self.bad_epochs + 1
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
        self._save(is_best)

    def _save(self, is_best: bool) -> None:
        names = list(self.history[0])
        rows = ([row[name] for name in names] for row in self.history)
        write_csv(self.out / "metrics.csv", names, rows)
        state = {
            "settings": self._essentials(),
            "network": self.network.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "rng": random_state(),
            **{name: getattr(self, name) for name in COUNTERS},
        }
        usable = self.ema.module if self.ema else self.network
        if is_best:
            save_checkpoint(self.out / BEST, usable, None)
        save_checkpoint(self.out / LAST, usable, state)

    def _essentials(self) -> dict[str, Any]:
        """What a resumed run must have in common with the first: all that changes the result."""
        free = ["epochs", "patience", "num_workers"]
        if self.settings.schedule == "cosine":
            # The others decide how long it trains, not what is learned.
            free.remove("epochs")  # its curve ends with the last one
        values = {k: v for k, v in asdict(self.settings).items() if k not in free}
        pairs: Any = self.loader.dataset
        return {**values, "photos": len(pairs), "steps": self.steps}


def load_imagenet_encoder(network: Tracer) -> None:
    """Start from timm's AdvProp ImageNet weights, as the paper did; timm downloads them.

    Raises:
        CheckpointError: they cannot be downloaded.
    """
    name = f"tf_efficientnet_b{network.scale}.ap_in1k"
    way_out = f"use --weights none, te{network.scale}, sample or a file"
    published = timm.get_pretrained_cfg(name)
    # Asked first: without a network timm would go on trying.
    if not (published and published.hf_hub_id and hub_weights_at_hand(published.hf_hub_id)):
        raise CheckpointError(
            f"{name}: not in the cache, and its server can't be reached; {way_out}"
        )
    try:
        source = timm.create_model(
            name, pretrained=True, features_only=True, out_indices=(1, 2, 3, 4)
        )
    except Exception as error:  # whatever the network and timm's download raise
        raise CheckpointError(
            f"{name}: cannot be downloaded ({type(error).__name__}); {way_out}"
        ) from error
    loaded = network.encoder.load_state_dict(source.state_dict(), strict=False)
    # ImageNet has no edge module.
    foreign = [key for key in loaded.missing_keys if not key.startswith("edge.")]
    if foreign or loaded.unexpected_keys:
        raise CheckpointError(f"{name}: does not fit the encoder ({(foreign or loaded)!r})")


def _loader(
    pairs: list[Pair],
    augmentation: Augmentation,
    settings: TrainingSettings,
    device: torch.device,
    steps: int | None = None,
) -> BaseDataLoader:
    """Of all photos in their order, or of so many full batches of them in a new one each epoch."""
    dataset = SaliencyDataset(pairs, augmentation, settings.seed)
    limit = None if steps is None else steps * settings.batch_size
    sampler = EpochSampler(len(dataset), shuffle=steps is not None, seed=settings.seed, limit=limit)
    return BaseDataLoader(
        dataset,
        sampler,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        device=device,
    )


def _scheduler(
    optimizer: Optimizer, settings: TrainingSettings, steps: int
) -> LambdaLR | ReduceLROnPlateau:
    if settings.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, factor=0.1, patience=5)
    total = steps * settings.epochs
    rising = max(1, round(settings.warmup * total))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        share = (step - rising) / max(1, total - rising)
        # Falls to 1 %, not 0: the last epochs still learn.
        return 0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2

    return LambdaLR(optimizer, factor)


def _to_device(images: Tensor, masks: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """(B, S, S, 3) and (B, S, S) uint8 -> normalized (B, 3, S, S) and (B, 1, S, S) float32."""
    images = images.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std, masks.to(device, non_blocking=True)[:, None].float()


def _autocast(device: torch.device, amp: str) -> torch.autocast:
    fast = amp == "auto" and device.type == "cuda" and half_dtype(device) is torch.bfloat16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast or amp == "bfloat16")
