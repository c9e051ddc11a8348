"""Which models the page can use, and how it loads them."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from parse_config import ConfigParser
from trainer.photo_model import PhotoModel
from utils.config_options import DECODING
from utils.devices import choose_device
from utils.errors import ConfigError
from utils.run_folder import BEST


class Arguments(argparse.ArgumentParser):
    """A parser whose complaints the page can show."""

    # argparse would end the process, and with it the page of all visitors.
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"app.py: {message}; streamlit run app.py -- --resume CHECKPOINT …")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What follows ``--`` on the command line.

    Raises:
        ConfigError: an option that isn't there.
    """
    parser = Arguments(prog="streamlit run app.py --")
    add = parser.add_argument
    several = "trained model, or the folder of a training of folds; several are averaged"
    add("-r", "--resume", nargs="*", default=[], metavar="CHECKPOINT", help=several)
    add("--saved", type=Path, default=Path("saved"), metavar="DIR",
        help="folder of runs whose models the page offers besides (default: saved)")  # fmt: skip
    add("-d", "--device", metavar="NAME", help="auto, cpu, cuda or cuda:N")
    add("--decoding", metavar="FILE",
        help="of python -m tools.tune_decoding, such as temperatures; for all models")  # fmt: skip
    return parser.parse_args(argv)


class Checkpoint(NamedTuple):
    """A checkpoint file; written anew, it is another one."""

    path: str
    stamp: int

    @property
    def title(self) -> str:
        """Name and run, such as "sample / demo"."""
        folder = Path(self.path).parent
        return f"{folder.parent.name} / {folder.name}"


def named_checkpoints(resume: Sequence[str]) -> list[Checkpoint]:
    """The checkpoints that ``--resume`` names.

    Raises:
        CheckpointError: one that isn't there.
    """
    return [_checkpoint(path) for path in _config_of(*resume).resumes] if resume else []


def saved_checkpoints(saved: Path) -> list[Checkpoint]:
    """The best epoch of every run under ``saved``, the newest first."""
    found = [_checkpoint(path) for path in saved.glob(f"models/*/**/{BEST}")]
    return sorted(found, key=lambda checkpoint: -checkpoint.stamp)


class Loaded(NamedTuple):
    """A model and what the page says of it."""

    model: PhotoModel
    backbone: str
    crop: str | None
    """TRACER's weights; None for whole photos."""


def load(checkpoint: Checkpoint, device: str | None, decoding: str | None = None) -> Loaded:
    """The model of a checkpoint, ready for photos; decoded by a file, or as its run says.

    Raises:
        CheckpointError: not a checkpoint, or its TRACER weights can't be had.
        ConfigError: no such device.
        DataError: not a decoding file, or for another task.
    """
    config = _config_of(checkpoint.path, decoding=decoding)
    # Of the checkpoint's config, unless the command line says otherwise.
    where = choose_device(config["n_gpu"], device)
    model = PhotoModel.restore(config, Path(checkpoint.path), where)
    weights = config["tracer"]["weights"]
    return Loaded(model, config["arch"]["args"]["model_name"], weights and Path(weights).stem)


def _checkpoint(path: Path) -> Checkpoint:
    # The time is part of the cache's key: a training that goes on is loaded anew.
    return Checkpoint(str(path), path.stat().st_mtime_ns)


def _config_of(*checkpoints: str, decoding: str | None = None) -> ConfigParser:
    # Through the same parser as test.py's, so that config and checks are the same.
    parser = argparse.ArgumentParser()
    parser.add_argument("-r", "--resume", nargs="+")
    chosen = ["--decoding", decoding] if decoding else []
    return ConfigParser.from_args(parser, (DECODING,), argv=["--resume", *checkpoints, *chosen])
