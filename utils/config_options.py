"""The command-line options that choose a config and change values in it."""

import argparse
import contextlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from utils.config_files import Assignment
from utils.errors import ConfigError


class Option(NamedTuple):
    """A command-line option that stands for one config value.

    Attributes:
        flags: such as ``("--lr", "--learning_rate")``.
        target: dotted path of the config value; ``;`` separates as well as ``.``.
        help: a few words.
    """

    flags: Sequence[str]
    target: str
    help: str = ""

    @property
    def destination(self) -> str:
        """The attribute of the parsed arguments that holds the value."""
        return self.flags[0].lstrip("-").replace("-", "_")


DECODING = Option(("--decoding",), "decoding", "file of python -m tools.tune_decoding")
"""Of commands that answer. An Option: it sets the config's section, and is checked as that is."""


def add_options(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    """Give ``parser`` the options that it does not define itself."""

    def add(*flags: str, **settings: Any) -> None:
        with contextlib.suppress(argparse.ArgumentError):  # the command has its own
            parser.add_argument(*flags, **settings)

    add("-c", "--config", metavar="FILE", help="config file (default: config.json)")
    add("-r", "--resume", metavar="CHECKPOINT", help="go on from this checkpoint, or from the "
        "newest with 'auto'")  # fmt: skip
    add("-d", "--device", metavar="NAME", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--run-id", metavar="ID", help="name of the run's folders (default: the time)")
    for option in options:
        described = f"{option.help} ({option.target})"
        add(*option.flags, dest=option.destination, metavar="VALUE", help=described)
    add("--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE",
        help="config values, such as --set trainer.epochs=5 seed=1; may be repeated")  # fmt: skip
    add("--print-config", action="store_true", help="print the merged config and leave")
    add("--debug", action="store_true", help="show tracebacks of errors")


def assignments(args: argparse.Namespace, options: Sequence[Option]) -> list[Assignment]:
    """The config values that the parsed ``args`` give, those of ``--set`` last.

    Raises:
        ConfigError: a ``--set`` that is not ``KEY=VALUE``.
    """
    given = [(option, getattr(args, option.destination, None)) for option in options]
    shortcuts = [
        Assignment(option.flags[0], option.target.replace(";", "."), json_or_text(text))
        for option, text in given
        if text is not None
    ]
    return [*shortcuts, *map(setting, args.set)]


def setting(
    text: str, option: str = "--set", example: str = "--set trainer.epochs=5"
) -> Assignment:
    """What ``KEY=VALUE`` behind an option says.

    Raises:
        ConfigError: it is not of that form.
    """
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise ConfigError(f"{option} {text}: must be KEY=VALUE, such as {example}")
    return Assignment(option, path, json_or_text(value))


def json_or_text(text: str) -> Any:
    """JSON, or else the text itself, so that simple words need no quotes."""
    try:
        return json.loads(text)
    except ValueError:
        return text
