"""Train the network on photos and masks, from released weights, ImageNet or nothing."""

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path

from TRACER.augmentation import AUGMENTATIONS
from TRACER.checkpoints import BEST, LAST
from TRACER.dataset import TRAINING_LAYOUTS, Pair, count_empty_masks, find_pairs, hold_out
from TRACER.network import MIN_SIDE, STRIDE, Tracer
from TRACER.training import AMP, OPTIMIZERS, Training, TrainingSettings, load_imagenet_encoder
from TRACER.weights import OFFICIAL_NAMES, load_tracer, save_float16
from utils.devices import fit_workers, resolve_device, set_threads, use_device
from utils.errors import ConfigError
from utils.seeding import seed_everything

DEFAULTS = {field.name: field.default for field in dataclasses.fields(TrainingSettings)}
DEFAULT_WORKERS = 8


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options; the defaults are the paper's settings."""
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        help="folders with DUTS-TR-Image and DUTS-TR-Mask, images and masks, or train/images and"
        " train/saliency",
    )
    parser.add_argument("--out", required=True, help="folder of checkpoints and metrics.csv")
    parser.add_argument("--scale", type=int, default=0, help="N of TE-N")
    parser.add_argument(
        "--weights",
        default="imagenet",
        help="start: imagenet (timm's, the encoder alone), none, te0 ... te7, sample, or a file",
    )
    parser.add_argument(
        "--size", type=int, help="input side, px, in training and after (default: the weights')"
    )
    parser.add_argument(
        "--resume", help="a last.pth to go on from, or auto: the one in --out, if any"
    )
    parser.add_argument("--validation-share", type=float, default=0.05, help="of the photos")
    parser.add_argument("--batch-size", type=int, default=DEFAULTS["batch_size"])
    for name in ("epochs", "patience", "seed"):
        parser.add_argument(f"--{name}", type=int, default=DEFAULTS[name])
    for name in ("lr", "weight-decay", "warmup", "clip", "edge-weight", "ema-decay"):
        default = DEFAULTS[name.replace("-", "_")]
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default=DEFAULTS["optimizer"])
    parser.add_argument("--schedule", choices=("plateau", "cosine"), default=DEFAULTS["schedule"])
    parser.add_argument("--augment", choices=AUGMENTATIONS, default=DEFAULTS["augment"])
    parser.add_argument("--amp", choices=AMP, default=DEFAULTS["amp"])
    parser.add_argument("--limit-steps", type=int, help="at most so many steps per epoch")


def run(options: argparse.Namespace) -> None:
    """Train as the options say.

    Raises:
        UserError: an option, the photos or the weights are not usable.
    """
    device = resolve_device(options.device)
    use_device(device)
    workers = DEFAULT_WORKERS if options.num_workers is None else options.num_workers
    workers = fit_workers(workers, device)
    set_threads(workers, device)
    # Before the network, whose decoder starts from random numbers.
    seed_everything(options.seed)
    train, validation = _find_photos(options)
    # Reads all, since a broken mask would end the training hours later.
    empty = count_empty_masks(train + validation)
    if empty:
        print(f"{empty} of {len(train) + len(validation)} masks are all black; they are used too")
    network = _initial_network(options)
    settings = _settings(options, network, workers)
    checkpoint = _checkpoint_to_resume(options.resume, Path(options.out))
    training = Training(network, train, validation, settings, device, Path(options.out))
    if checkpoint:
        training.resume(checkpoint)
    print(f"TE{network.scale}, {len(train)} photos, {len(validation)} held out, {device}")
    best = training.run()
    print(f"best epoch {best['epoch']}: max-F {best['val_max_f']:.4f}, MAE {best['val_mae']:.4f}")
    weights = Path(options.out) / "weights.safetensors"
    command = shlex.join(["python", "-m", "TRACER", *sys.argv[1:]])
    save_float16(load_tracer(Path(options.out) / BEST), weights, made_by=command)
    print(f"its weights in float16: {weights}")


def _find_photos(options: argparse.Namespace) -> tuple[list[Pair], list[Pair]]:
    if not 0 < options.validation_share < 1:
        raise ConfigError(f"--validation-share {options.validation_share}: must be in (0, 1)")
    pairs: list[Pair] = []
    for folder in options.data:
        pairs += (
            # Two folders may have people of one number.
            pair._replace(group=f"{folder}/{pair.group}")
            for pair in find_pairs(folder, TRAINING_LAYOUTS)
        )
    return hold_out(pairs, options.validation_share, options.seed)


def _initial_network(options: argparse.Namespace) -> Tracer:
    if options.weights in ("none", "imagenet"):
        # The released paddings belong to the released weights alone.
        network = Tracer(options.scale, static_padding=False)
        if options.weights == "imagenet":
            load_imagenet_encoder(network)
        return network
    scale = options.scale if options.weights not in OFFICIAL_NAMES else None
    return load_tracer(options.weights, scale=scale)


def _settings(options: argparse.Namespace, network: Tracer, num_workers: int) -> TrainingSettings:
    side = options.size or network.input_size
    if side % STRIDE or side < MIN_SIDE:
        raise ConfigError(f"--size {side}: must be a multiple of {STRIDE} from {MIN_SIDE} up")
    values = {name: getattr(options, name) for name in DEFAULTS if hasattr(options, name)}
    # Kept in the checkpoint: crops are to be made at the side that was trained for.
    network.input_size = side
    return TrainingSettings(**{**values, "side": side, "num_workers": num_workers})


def _checkpoint_to_resume(resume: str | None, out: Path) -> Path | None:
    last = out / LAST
    if resume == "auto":
        # "auto" is for a job that is started again and again: the first time there is nothing yet.
        return last if last.exists() else None
    if resume is None and last.exists():
        raise ConfigError(f"{last} exists; go on with --resume auto, or choose another --out")
    return Path(resume) if resume else None
