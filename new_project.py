"""Copy the framework into a new project: ``python new_project.py ../MyProject``.

Data, runs, submissions and the git history stay behind; the tests come along and pass there.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

from utils.cli import run_command
from utils.errors import UserError

HERE = Path(__file__).resolve().parent
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".pytest_cache", ".ruff_cache", "wandb", "*.pyc", ".DS_Store"
)
WRITTEN_BY_RUNS = ("data", "saved", "submit")


def main() -> None:
    """Parse the command line and copy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, help="folder to make; must not exist or be empty")
    copy_framework(parser.parse_args().target)


def copy_framework(target: Path) -> None:
    """Copy what makes up the framework to ``target``.

    Raises:
        UserError: ``target`` holds something already, lies inside this project, or cannot be made.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: exists and is not an empty folder; choose another name")
    if target.resolve().is_relative_to(HERE):
        raise UserError(f"{target}: lies inside this project; choose a folder outside {HERE}")
    try:
        for entry in _framework_entries():
            _copy(HERE / entry, target / entry)
        for folder in WRITTEN_BY_RUNS:
            (target / folder).mkdir(parents=True, exist_ok=True)
            (target / folder / ".gitkeep").touch()
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error})") from error
    print(f"{target} is ready: cd there, edit config.json, then `make test` or `make demo`")


def _framework_entries() -> list[str]:
    """What git tracks here; without git, everything that runs did not write."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=HERE, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0 and listed.stdout and (HERE / ".git").exists():
        files = [name for name in listed.stdout.split("\0") if name and (HERE / name).exists()]
        return [name for name in files if Path(name).parts[0] not in WRITTEN_BY_RUNS]
    ignored = LEFT_BEHIND(str(HERE), [entry.name for entry in HERE.iterdir()])
    return [
        entry.name
        for entry in sorted(HERE.iterdir())
        if entry.name not in ignored and entry.name not in WRITTEN_BY_RUNS
    ]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=LEFT_BEHIND)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


if __name__ == "__main__":
    run_command(main)
