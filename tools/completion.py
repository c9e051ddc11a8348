"""Print the shell's completion of ``masktracer``: commands, options, files, the keys of --set.

    masktracer completion bash > ~/.local/share/bash-completion/completions/masktracer
    masktracer completion zsh > ~/.zfunc/_masktracer        # a folder in $fpath
    . <(masktracer completion bash)             # in ~/.bashrc: for python -m tools.runs …, too
    eval "$(masktracer completion zsh)"         # the same in ~/.zshrc, behind compinit

``python train.py …`` and ``python -m tools.runs …`` are completed as well, in the folder of the
project, and only where the script is read at once, as by the last two lines. Made by shtab, which
only this needs. The script is as old as the commands: print it again after an update.
"""

import argparse
import re
import runpy
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from config_schema import Config
from tools.__main__ import ROOT, SCRIPTS, commands
from utils.cli import command_line, run_command
from utils.errors import UserError
from utils.schema_text import keys

SHELLS = ("bash", "zsh", "tcsh")
FILES = {"config", "resume", "init_from", "recipes", "space", "images", "image", "out", "data_dir"}
"""Options that take files or folders; so do those whose type is a path."""


class _Found(BaseException):
    """Carries the parser of a command out of it, past whoever catches errors."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, print the script.

    Raises:
        UserError: shtab is not installed.
    """
    parser = command_line(__doc__)
    parser.add_argument("shell", choices=SHELLS)
    args = parser.parse_args(argv)
    try:
        import shtab
    except ImportError as error:
        raise UserError("completion needs shtab; install it with: pip install shtab") from error
    script = shtab.complete(whole(shtab.FILE), shell=args.shell)
    further = Path(__file__).with_suffix(f".{args.shell}")
    if further.exists():
        script = with_further(script, further.read_text(encoding="utf-8"), args.shell)
    print(script)


def with_further(script: str, further: str, shell: str) -> str:
    """shtab's script with what it has no way to say of ``bash`` or ``zsh``."""
    modules = " ".join(f"tools.{name}" for name in commands() if name not in SCRIPTS)
    scripts = " ".join(f"{name}.py" for name in SCRIPTS)
    further = further.replace("MODULES", modules).replace("SCRIPTS", scripts)
    if shell == "bash":
        return f"{script}\n{further}"
    further = further.replace("KEYS", " ".join(map(shlex.quote, keys_of_set())))
    # A <head> in a list of words is no word to zsh, and it would take one key for each --set.
    asked = r'(KEY=VALUE:)\(name= .*\)"'
    script = re.sub(asked, r'\1_masktracer_keys"\n  "*:KEY=VALUE:_masktracer_keys"', script)
    # Behind the first line, which names the command, and before the last, which may complete.
    return script.replace("\n", f"\n{further}", 1)


def keys_of_set() -> list[str]:
    """What ``--set`` takes, up to the value."""
    return [f"{key}=" for key in keys(Config.model_json_schema())]


def whole(file: dict[str, str]) -> argparse.ArgumentParser:
    """One parser for all commands, each with its own options.

    Args:
        file: how shtab marks what is completed to a file.
    """
    parser = argparse.ArgumentParser("masktracer")
    each = parser.add_subparsers()
    for name, line in commands().items():
        own = parser_of(name)
        for action in own._actions:
            if action.dest in FILES or action.type is Path:
                action.complete = file  # type: ignore[attr-defined]
            if action.dest == "set":
                action.choices = keys_of_set()
        each.add_parser(name, help=line, parents=[own], add_help=False, conflict_handler="resolve")
    return parser


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser that a command makes before all else."""

    def found(self: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        raise _Found(self)

    folder = ROOT / "tools" / name
    file = ROOT / f"{name}.py" if name in SCRIPTS else folder.with_suffix(".py")
    if not file.exists():
        file = folder / "__main__.py"
    parse = argparse.ArgumentParser.parse_args
    argparse.ArgumentParser.parse_args = found  # type: ignore[method-assign, assignment]
    try:
        runpy.run_path(str(file), run_name="__main__")
    except _Found as carrying:
        return carrying.parser
    finally:
        argparse.ArgumentParser.parse_args = parse  # type: ignore[method-assign]
    raise AssertionError(f"{name} parses no command line")


if __name__ == "__main__":
    run_command(main)
