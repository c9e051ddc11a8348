"""From JSON files and the command line to one checked config, and from the config to objects."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from base.task_settings import TaskSettings
from config_schema import defaults, idle_options, validated
from stored_config import checkpoints_at, existing, origin_of, require_same_task, up_to_date
from utils.config_files import Assignment, Draft, Layer, assign, read_json5, read_layers
from utils.config_options import Option, add_options, assignments
from utils.errors import ConfigError
from utils.files import exclusive, write_json
from utils.objects import check_arguments, find
from utils.run_folder import CONFIG, ENVIRONMENT, FOLD_RUN, LOCK, RunFolder, is_run
from utils.schema_base import legal_file_name

DEFAULT_CONFIG = "config.json"
AUTO = "auto"
LEVELS = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}


OPTIONS = (
    Option(("--lr", "--learning_rate"), "optimizer.args.lr", "learning rate"),
    Option(("--bs", "--batch_size"), "data_loader.args.batch_size", "photos per step"),
    Option(("--arch",), "arch.args.model_name", "backbone"),
    Option(("--model",), "arch.type", "class in model/model.py"),
)


class ConfigParser:
    """The checked config of one run: ``config["trainer"]["epochs"]`` gives plain JSON values.

    Args:
        config: values as in config.json (what is left out takes its default), or a ``Draft`` of
            several sources.
        resume: the checkpoint to resume, or several to predict with.
        run_id: names the run's folders; left out, it is that of the checkpoint, else the time.
        modification: dotted path → value, over ``config``.

    Attributes:
        resumes: the checkpoints; ``resume`` is the first of them or ``None``.
        settings: the whole config as settings objects; ``config`` is the same as plain values.
        args: the parsed command line; without one, of what only a command line says, nothing.
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
            Assignment("modification", path.replace(";", "."), value)
            for path, value in (modification or {}).items()
        ]
        self._own = config
        values = defaults() if config.defaults is None else config.defaults
        self._draft = Draft(config.layers, [*config.assignments, *changes], values)
        self.settings = validated(self._draft)
        self.config: dict[str, Any] = self.settings.model_dump(mode="json")
        self.resumes = [Path(path) for path in _as_list(resume)]
        self.resume = self.resumes[0] if self.resumes else None
        self._lock: IO | None = None
        self.args = argparse.Namespace(init_from=None)  # all that a training without one asks for
        self.device: str | None = None
        self._chosen_run_id = run_id
        own = self.resume if self.resume is not None and is_run(self.resume.parent) else None
        stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        # Not resolved: a run that lies elsewhere, with a link in its place, keeps its name.
        self.run_id = run_id or (os.path.basename(os.path.abspath(own.parent)) if own else stamp)
        _check_run_id(self.run_id)

    def adopt(self, task: TaskSettings) -> None:
        """Take the task as built, with the classes that the data told, in place of what was asked;
        it travels with the run, its checkpoints and exports."""
        self.settings = self.settings.model_copy(update={"task": task})
        self.config["task"] = task.model_dump(mode="json")

    def settle(self, values: Mapping[str, Any]) -> None:
        """Put what the run found out, dotted path → value, in place of what was asked for."""
        for path, value in values.items():
            assign(self.config, path, value, "the run")
            self.settings = _changed(self.settings, path.split("."), value)

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
        both, what the file says goes key by key over what the checkpoint says. ``-r auto`` goes
        on with the newest run of this name, or the one that ``--run-id`` names, or starts it.

        Raises:
            ConfigError: a config file, an option or a value is wrong.
            CheckpointError: a checkpoint is missing or none.
        """
        options = (*OPTIONS, *options)
        add_options(parser, options)
        args = parser.parse_args(argv)
        given = [] if args.resume == AUTO else [Path(path) for path in _as_list(args.resume)]
        several = isinstance(args.resume, list)
        named = [path for each in given for path in checkpoints_at(each, several)]
        file = args.config or (None if named else DEFAULT_CONFIG)
        layers = read_layers(file) if file else []
        # A run's own config may be of an older version; in one that the user writes it's an error.
        if file and is_run(Path(file).parent):
            layers = [up_to_date(layer) for layer in layers]
        own = Draft(layers, assignments(args, options))
        run_id = args.run_id or (given[0].name if len(given) == 1 and given[0].is_dir() else None)
        # Without a checkpoint first: only the finished config tells the folder to look for one in.
        config = cls._over_checkpoints(own, named, run_id)
        # Of several runs each looks for its own checkpoint.
        alone = not (getattr(args, "folds", None) or getattr(args, "seeds", None))
        if args.resume == AUTO and alone and (newest := config._newest_checkpoint()):
            config = cls._over_checkpoints(own, [newest], args.run_id)
        config.args = args
        config.device = f"cuda:{args.device}" if (args.device or "").isdecimal() else args.device
        if args.print_config:
            print(json.dumps(config.config, indent=2, ensure_ascii=False))
            sys.exit(0)
        return config

    @classmethod
    def stored(cls, values: Mapping[str, Any], source: str | Path) -> "ConfigParser":
        """The config that a run, maybe of an older version, has kept at ``source``."""
        return cls(Draft([up_to_date(Layer(str(source), dict(values)))]))

    def for_checkpoint(self, checkpoint: str | Path) -> "ConfigParser":
        """The config of another checkpoint, with what this command line says over it."""
        return self._over_checkpoints(self._own, [existing(Path(checkpoint))], None)

    def as_trained(self, checkpoint: str | Path) -> "ConfigParser":
        """The config that a checkpoint was trained with, whatever this command line says."""
        return self._over_checkpoints(Draft([], []), [existing(Path(checkpoint))], None)

    def variant(self, changes: Mapping[str, Any], run_id: str, source: str) -> "ConfigParser":
        """The config with other values, dotted path → value, as a run of its own; it goes on where
        that has stopped. ``source`` says in messages who changes them."""
        changed = [Assignment(source, path, value) for path, value in changes.items()]
        own = Draft(self._own.layers, [*self._own.assignments, *changed], self._own.defaults)
        config = self._over_checkpoints(own, [], run_id)
        if last := config.folder.last:
            config = self._over_checkpoints(own, [last], run_id)
        config.args, config.device = self.args, self.device
        return config

    def __getitem__(self, name: str) -> Any:
        """The plain JSON value of a top-level key."""
        return self.config[name]

    def init_obj(
        self,
        name: str,
        module: ModuleType,
        *args: Any,
        instead: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """``init_obj("optimizer", torch.optim, parameters)``: the object that the config names.

        ``config[name]["type"]`` is looked up in ``module`` and called with ``args``, the
        ``config[name]["args"]`` and ``kwargs``; ``instead`` takes the place of arguments that were
        written or left to their default.

        Raises:
            ConfigError: no such name in the module, or arguments it does not take.
        """
        # Names and number of arguments are checked here;
        # their values only the class itself can check.
        build = self._callable(name, module, args, kwargs, complete=True)
        try:
            return build(**(instead or {}))
        except (TypeError, ValueError) as error:
            where, kind = self._where(f"{name}.args"), self[name]["type"]
            raise ConfigError(
                f"{where}: invalid arguments for {kind}: {error} (--debug shows where)"
            ) from error

    def init_ftn(self, name: str, module: ModuleType, *args: Any, **kwargs: Any) -> partial:
        """Like ``init_obj``, but the function itself, with those arguments filled in.

        Raises:
            ConfigError: no such name in the module, or arguments it does not take.
        """
        return self._callable(name, module, args, kwargs, complete=False)

    def warnings(self) -> list[str]:
        """One line for every option that was written for this run but has no effect in it, and
        for those of an older version's run that there are no more."""
        written = self._draft.written()
        # Of a recipe whose validation --folds chooses, or that is tried
        # without TRACER, what is without effect for once is no mistake.
        told = {path for _, path, _ in self._own.assignments}
        folds, whole = getattr(self.args, "folds", None), "tracer.weights" in told
        # Whole sections, since a recipe fills them in for the other way of running it.
        spared = (*["validation."] * bool(folds), *["tracer."] * whole)
        written = {path for path in written if path in told or not path.startswith(spared)}
        idle = [(sorted(keys & written), reason) for keys, reason in idle_options(self.settings)]
        notes = [(layer.source, note) for layer in self._draft.layers for note in layer.notes]
        return [
            # A note on a checkpoint's value matters to nobody who gives another.
            *(f"{of}: {note}" for of, note in notes if note.partition("=")[0] not in told),
            *(f"{', '.join(keys)}: no effect, since {reason}" for keys, reason in idle if keys),
        ]

    @property
    def folder(self) -> RunFolder:
        """Where the run keeps its files."""
        return RunFolder(Path(self["trainer"]["save_dir"]), self["name"], self.run_id)

    @property
    def save_dir(self) -> Path:
        """Where the run's checkpoints go."""
        return self.folder.models

    @property
    def log_dir(self) -> Path:
        """Where the run's logs go."""
        return self.folder.log

    def require_free_folders(self) -> None:
        """Refuse, before anything is done, folders that ``start_run`` would refuse."""
        if self._chosen_run_id and not self._resumes_here and any(self.save_dir.glob("*.pth")):
            raise ConfigError(
                f"--run-id {self.run_id}: {self.save_dir} holds a run already; choose another id,"
                " or go on with that run by --resume"
            )
        for folder in (self.save_dir, self.log_dir):
            there = next(path for path in (folder, *folder.parents) if path.exists())
            if not there.is_dir():
                raise ConfigError(f"trainer.save_dir: {folder} cannot be made ({there} is a file)")
            if not os.access(there, os.W_OK):
                raise ConfigError(
                    f"trainer.save_dir: {there} cannot be written; name another place"
                )

    def claim(self) -> None:
        """Keep other processes out of the run's folder, where there is one already, for as long as
        this config lives; a ConfigError where another trains there."""
        file = self.save_dir / LOCK
        # Closing any handle of a locked file lets go of the lock, so it is opened but once.
        if not self.save_dir.is_dir() or (self._lock and self._lock.name == str(file)):
            return
        self._lock = exclusive(file)
        if self._lock is None:
            raise ConfigError(
                f"--run-id {self.run_id}: another process trains in {self.save_dir} just now; wait"
                " for its end, or choose another id"
            )

    def start_run(self, environment: Mapping[str, Any] | None = None) -> None:
        """Make the run's folders and write the merged config and the environment into them.

        A resumed run goes on in its own folders unless ``--run-id`` names new ones. A time stamp
        that is taken already gets ``-2``, ``-3``, … appended.

        Args:
            environment: what ``utils.environment`` tells of; passed in, since it imports torch.

        Raises:
            ConfigError: the run id is taken, or the folders cannot be made.
            UserError: the files cannot be written.
        """
        self.require_free_folders()
        stamp, number = self.run_id, 1
        # Two runs may be started within one second; making the folder decides which of them has it.
        while not (_made(self.save_dir) or self._resumes_here or self._chosen_run_id):
            number += 1
            self.run_id = f"{stamp}-{number}"
        self.claim()
        _made(self.log_dir)
        write_json(self.save_dir / CONFIG, self.config)
        if environment is None:
            return
        now = dict(environment)
        if self._resumes_here and (self.save_dir / ENVIRONMENT).is_file():
            begun = read_json5(self.save_dir / ENVIRONMENT)  # what gives the same run again
            first = {key: begun[key] for key in ("started", "command") if key in begun}
            now = now | first | {"resumed": {key: now[key] for key in first}}
        write_json(self.save_dir / ENVIRONMENT, now)

    def get_logger(self, name: str, verbosity: int = 2) -> logging.Logger:
        """A logger that shows warnings (0), also information (1), or everything (2)."""
        logger = logging.getLogger(name)
        logger.setLevel(LEVELS[verbosity])
        return logger

    @classmethod
    def _over_checkpoints(
        cls, own: Draft, checkpoints: list[Path], run_id: str | None
    ) -> "ConfigParser":
        """``own`` over the config of the first checkpoint, if there is one."""
        draft, stored_id = own, None
        if checkpoints:  # its config is complete: what it leaves out was left out on purpose
            layer, stored_id = origin_of(checkpoints[0])
            require_same_task(own, layer.values, checkpoints[0])
            draft = Draft([layer, *own.layers], own.assignments, defaults={})
        config = cls(draft, resume=checkpoints, run_id=run_id)
        config._own = own
        if stored_id and not run_id:
            _check_run_id(stored_id)
            config.run_id = stored_id
        return config

    @property
    def _resumes_here(self) -> bool:
        """Whether the run is resumed in its own folders."""
        return self.resume is not None and self.save_dir.resolve() == self.resume.resolve().parent

    def _newest_checkpoint(self) -> Path | None:
        if self._chosen_run_id:
            return self.folder.last
        # A fold is resumed as one of all folds, never as the newest run of the name.
        runs = [run for run in self.save_dir.parent.glob("*") if not FOLD_RUN.search(run.name)]
        folders = (RunFolder(self.folder.root, self.folder.name, run.name) for run in runs)
        found = [folder.last for folder in folders if folder.last]
        # Where a file system counts in whole seconds, of two the one with the later time stamp.
        return max(found, key=lambda path: (path.stat().st_mtime_ns, path), default=None)

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


def _changed(section: Any, path: Sequence[str], value: Any) -> Any:
    key, *rest = path
    inner = _changed(getattr(section, key), rest, value) if rest else value
    return section.model_copy(update={key: inner})


def _made(folder: Path) -> bool:
    """Make ``folder`` if it is missing; whether it was."""
    try:
        folder.mkdir(parents=True)
        return True
    except OSError as error:
        if folder.is_dir():
            return False
        raise ConfigError(
            f"trainer.save_dir: {folder} cannot be made ({error.strerror or error})"
        ) from error


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, str | Path) else list(value)


def _check_run_id(run_id: str) -> None:
    try:
        legal_file_name(run_id)
    except ValueError as error:
        raise ConfigError(f"--run-id: {error}") from error
