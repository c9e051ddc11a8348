"""All commands under one name.

python -m tools                  what there is
python -m tools runs             the same as python -m tools.runs
masktracer train -c config.json  the same as python train.py …, after `pip install -e .`
"""

import ast
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.cli import run_command
from utils.errors import UserError, nearest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("train", "test", "new_project")
"""Commands at the top of the project; all others stand in this folder."""


def commands() -> dict[str, str]:
    """Name → its first line of documentation, for everything that is a command."""
    files = {name: ROOT / f"{name}.py" for name in SCRIPTS}
    files |= {path.stem: path for path in sorted((ROOT / "tools").glob("*.py"))}
    files |= {path.parent.name: path for path in sorted((ROOT / "tools").glob("*/__main__.py"))}
    # Read and not imported: importing all commands would take as long as torch does.
    texts = {
        name: path.read_text(encoding="utf-8") for name, path in files.items() if path.exists()
    }
    return {
        name: (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        for name, text in texts.items()
        # Every command hands itself to run_command; a plain module of this folder does not.
        if "run_command(" in text and name != "__main__"
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the first word names; without one, list them.

    Raises:
        UserError: there is no such command.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    known = commands()
    if name in ("-h", "--help"):
        width = max(map(len, known))
        print("\n".join(f"{each:{width}}  {line}" for each, line in known.items()))
        return
    if name not in known:
        raise UserError(f"{name}: no such command{nearest(name, known)}")
    if name in SCRIPTS:
        # As if called directly: messages, --help and the run's record of its command name the file.
        sys.argv = [str(ROOT / f"{name}.py"), *rest]
        runpy.run_path(sys.argv[0], run_name="__main__")
        return
    sys.argv[1:] = rest
    runpy.run_module(f"tools.{name}", run_name="__main__", alter_sys=True)


def masktracer() -> None:
    run_command(main)


if __name__ == "__main__":
    masktracer()
