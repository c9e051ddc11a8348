"""From JSON files and the command line to one checked config, and from the config to objects."""

import argparse
import contextlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from pydantic import ValidationError

from config_schema import Config, idle_options, legal_file_name
from utils.config_files import (
    Assignment,
    Draft,
    Layer,
    parse_setting,
    parse_value,
    read_json5,
    read_layers,
)
from utils.errors import CheckpointError, ConfigError
from utils.files import write_json
from utils.objects import check_arguments, find
from utils.schema_text import explain

DEFAULT_CONFIG = "config.json"
RUN_CONFIG = "config.json"
"""The merged config beside a run's checkpoints."""
LEVELS = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}


class Option(NamedTuple):
    """A command-line option that stands for one config value.

    Attributes:
        flags: such as ``("--lr", "--learning_rate")``.
        target: dotted path of the config value (``;`` separates as well as ``.``).
        help: a few words.
    """

    flags: Sequence[str]
    target: str
    help: str = ""


OPTIONS = (
    Option(("--lr", "--learning_rate"), "optimizer.args.lr", "learning rate"),
    Option(("--bs", "--batch_size"), "data_loader.args.batch_size", "photos a step"),
    Option(("--arch",), "arch.args.model_name", "backbone"),
    Option(("--model",), "arch.type", "class in model/model.py"),
)


class ConfigParser:
    """The checked config of one run: ``config["trainer"]["epochs"]`` gives plain JSON values.

    Args:
        config: values as in config.json (what is left out takes its default), or a ``Draft`` of
            several sources.
        resume: the checkpoint to go on from, or several to predict with.
        run_id: names the run's folders; left out, it is that of the checkpoint, else the time.
        modification: dotted path → value, over ``config``.

    Attributes:
        resumes: the checkpoints; ``resume`` is the first of them or ``None``.
        args: the parsed command line, empty without one.
        device: what ``--device`` named, or ``None``.

    Raises:
        ConfigError: the config has errors; the message lists all of them.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | Draft,
        resume: str | Path | Sequence[str | Path] | None = None,
        run_id: str | None = None,
        modification: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(config, Draft):
            config = Draft([Layer("config", dict(config), named=True)])
        changes = [
            Assignment("modification", _dotted(path), value)
            for path, value in (modification or {}).items()
        ]
        self._draft = Draft([_defaults(), *config.layers], [*config.assignments, *changes])
        self._schema = _validate(self._draft)
        self.config: dict[str, Any] = self._schema.model_dump(mode="json")
        self.resumes = [Path(path) for path in _as_list(resume)]
        self.resume = self.resumes[0] if self.resumes else None
        self.args = argparse.Namespace()
        self.device: str | None = None
        self._chosen_run_id = run_id
        self.run_id = run_id or self._id_of_resumed_run() or _time_stamp()
        _check_run_id(self.run_id)

    @classmethod
    def from_args(
        cls,
        parser: argparse.ArgumentParser,
        options: Sequence[Option] = (),
        argv: Sequence[str] | None = None,
    ) -> "ConfigParser":
        """Parse a command line whose own arguments, if any, are in ``parser`` already.

        ``-c``, ``-r``, ``-d``, ``--set``, ``--run-id``, ``--print-config``, ``--debug``,
        ``OPTIONS`` and ``options`` are added where ``parser`` does not define them itself (a
        command that takes several checkpoints defines ``-r`` with ``nargs="+"``).

        Without ``-c`` the config is that of the checkpoint, and without ``-r`` config.json. With
        both, what the file says goes key by key over what the checkpoint says.

        Raises:
            ConfigError: a config file, an option or a value is wrong.
            CheckpointError: a checkpoint is missing or none.
        """
        options = (*OPTIONS, *options)
        _add_arguments(parser, options)
        args = parser.parse_args(argv)
        checkpoints = [_existing(Path(path)) for path in _as_list(args.resume)]
        draft = Draft(_layers(args.config, checkpoints), _assignments(args, options))
        config = cls(draft, resume=checkpoints, run_id=args.run_id)
        config.args = args
        config.device = f"cuda:{args.device}" if (args.device or "").isdecimal() else args.device
        if args.print_config:
            print(json.dumps(config.config, indent=2, ensure_ascii=False))
            sys.exit(0)
        return config

    def __getitem__(self, name: str) -> Any:
        """The plain JSON value of a top-level key."""
        return self.config[name]

    def init_obj(self, name: str, module: ModuleType, *args: Any, **kwargs: Any) -> Any:
        """``init_obj("optimizer", torch.optim, parameters)``: the object that the config names.

        ``config[name]["type"]`` is looked up in ``module`` and called with ``args``, the
        ``config[name]["args"]`` and ``kwargs``.

        Raises:
            ConfigError: no such name in the module, or arguments it does not take.
        """
        build = self._callable(name, module, args, kwargs, complete=True)
        try:
            return build()
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{self._where(f'{name}.args')}: {self[name]['type']} refuses them: {error}"
                " (--debug shows where)"
            ) from error

    def init_ftn(self, name: str, module: ModuleType, *args: Any, **kwargs: Any) -> partial:
        """Like ``init_obj``, but the function itself, with those arguments filled in.

        Raises:
            ConfigError: no such name in the module, or arguments it does not take.
        """
        return self._callable(name, module, args, kwargs, complete=False)

    def warnings(self) -> list[str]:
        """One line for every option that was written for this run but has no effect in it."""
        written = self._draft.written()
        idle = [(sorted(keys & written), reason) for keys, reason in idle_options(self._schema)]
        return [f"{', '.join(keys)}: no effect, since {reason}" for keys, reason in idle if keys]

    @property
    def save_dir(self) -> Path:
        """Where the run's checkpoints go."""
        return self._folder("models")

    @property
    def log_dir(self) -> Path:
        """Where the run's logs go."""
        return self._folder("log")

    def start_run(self, device: str = "cpu") -> None:
        """Make the run's folders and write the merged config and the environment into them.

        A resumed run goes on in its own folders unless ``--run-id`` names new ones. A time stamp
        that is taken already gets ``-2``, ``-3``, … appended.

        Args:
            device: the processor the run uses, for the record.

        Raises:
            ConfigError: the run id is taken, or the folders cannot be made.
            UserError: the files cannot be written.
        """
        from utils.environment import describe_environment  # imports torch, which --help spares

        self._claim_run_id()
        for folder in (self.save_dir, self.log_dir):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(
                    f"trainer.save_dir: {folder} cannot be made ({error.strerror or error})"
                ) from error
        write_json(self.save_dir / RUN_CONFIG, self.config)
        write_json(self.save_dir / "environment.json", describe_environment(device))

    def get_logger(self, name: str, verbosity: int = 2) -> logging.Logger:
        """A logger that shows warnings (0), also information (1), or everything (2).

        Raises:
            ConfigError: another verbosity.
        """
        if verbosity not in LEVELS:
            raise ConfigError(f"verbosity: must be 0, 1 or 2, got {verbosity!r}")
        logger = logging.getLogger(name)
        logger.setLevel(LEVELS[verbosity])
        return logger

    def _folder(self, kind: str) -> Path:
        return Path(self["trainer"]["save_dir"]) / kind / self["name"] / self.run_id

    def _id_of_resumed_run(self) -> str | None:
        if self.resume is None or not (self.resume.parent / RUN_CONFIG).is_file():
            return None
        return self.resume.resolve().parent.name

    def _claim_run_id(self) -> None:
        stamp, number = self.run_id, 1
        resumed = self.resume.resolve().parent if self.resume else None
        while self.save_dir.exists() and self.save_dir.resolve() != resumed:
            if self._chosen_run_id:
                raise ConfigError(
                    f"--run-id {self.run_id}: {self.save_dir} exists already; choose another id,"
                    " or continue that run with --resume"
                )
            number += 1
            self.run_id = f"{stamp}-{number}"

    def _where(self, path: str) -> str:
        return f"{self._draft.source_of(path)}: {path}"

    def _callable(
        self, name: str, module: ModuleType, args: Sequence[Any], kwargs: Any, complete: bool
    ) -> partial:
        chosen = self[name]
        if chosen is None:
            raise ConfigError(f"{self._where(name)}: is null; give it a type and args")
        target = find(module, chosen["type"], self._where(f"{name}.type"))
        written = chosen.get("args", {})
        check_arguments(
            target, written, lambda key: self._where(f"{name}.args.{key}"), args, kwargs, complete
        )
        return partial(target, *args, **written, **kwargs)


def _validate(draft: Draft) -> Config:
    values = draft.merged()
    try:
        return Config.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        problems = explain(error, Config.model_json_schema(), values)
    lines = [f"{draft.source_of(path)}: {path}: {text}" for path, text in problems.items()]
    heading = [f"{draft.main_source}: {len(lines)} errors"] if len(lines) > 1 else []
    raise ConfigError("\n  ".join(heading + lines))


def _defaults() -> Layer:
    values = Config(name="unnamed").model_dump(mode="json")
    del values["name"]
    return Layer("defaults", values)


def _layers(config: str | None, checkpoints: list[Path]) -> list[Layer]:
    layers = [_layer_of_checkpoint(checkpoints[0])] if checkpoints else []
    if config or not checkpoints:
        layers += read_layers(config or DEFAULT_CONFIG)
    return layers


def _layer_of_checkpoint(path: Path) -> Layer:
    """The config of the run that wrote a checkpoint: from the file beside it, or from inside it."""
    beside = path.parent / RUN_CONFIG
    if beside.is_file():
        return Layer(str(beside), read_json5(beside))
    from base.checkpoint import load_checkpoint  # imports torch, which --help spares

    return Layer(str(path), load_checkpoint(path)["config"])


def _existing(checkpoint: Path) -> Path:
    if checkpoint.is_dir():
        raise CheckpointError(f"{checkpoint}: is a folder; name the .pth file in it")
    if not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint}: no such checkpoint; runs keep theirs in saved/models")
    return checkpoint


def _add_arguments(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    def add(*flags: str, **settings: Any) -> None:
        with contextlib.suppress(argparse.ArgumentError):  # the command has its own
            parser.add_argument(*flags, **settings)

    add("-c", "--config", metavar="FILE", help=f"config file (default: {DEFAULT_CONFIG})")
    add("-r", "--resume", metavar="CHECKPOINT", help="go on from this checkpoint")
    add("-d", "--device", metavar="NAME", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--run-id", metavar="ID", help="name of the run's folders (default: the time)")
    for option in options:
        text = f"{option.help} ({option.target})"
        add(*option.flags, dest=_dest(option), metavar="VALUE", help=text)
    add("--set", action="append", default=[], metavar="KEY=VALUE",
        help="any config value, such as --set trainer.epochs=5; may be repeated")  # fmt: skip
    add("--print-config", action="store_true", help="print the merged config and leave")
    add("--debug", action="store_true", help="show tracebacks of errors")


def _assignments(args: argparse.Namespace, options: Sequence[Option]) -> list[Assignment]:
    shortcuts = [
        Assignment(
            option.flags[0], _dotted(option.target), parse_value(getattr(args, _dest(option)))
        )
        for option in options
        if getattr(args, _dest(option), None) is not None
    ]
    return shortcuts + [parse_setting(text) for text in args.set]


def _dest(option: Option) -> str:
    return option.flags[0].lstrip("-").replace("-", "_")


def _dotted(path: str) -> str:
    return path.replace(";", ".")


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, str | Path) else list(value)


def _time_stamp() -> str:
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _check_run_id(run_id: str) -> None:
    try:
        legal_file_name(run_id)
    except ValueError as error:
        raise ConfigError(f"--run-id: {error}") from error
