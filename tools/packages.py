"""What the project is made of: the packages that requirements.txt brings, and their licences.

    python -m tools.packages --write docs/licences.md
    python -m tools.packages --audit                        (make audit)

The audit compares what is installed with requirements.txt and with the digests that each package
brought along, so that a file that was changed, a version that is not the pinned one, and a package
that nobody asked for are found. It needs no network. Known vulnerabilities are looked up by
pip-audit, where that is installed.
"""

import base64
import hashlib
import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from utils.cli import command_line, run_command
from utils.errors import UserError
from utils.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]
INSTALLERS = ("pip", "setuptools", "wheel")
"""That an environment begins with."""
PAGE = """# Licences of what is installed

Printed by `python -m tools.packages --write docs/licences.md` from what the packages
say of themselves; bold ones are named in requirements.txt, the others come along.
The project's own licence is MIT.

| package | version | licence |
|---|---|---|
"""


def pinned() -> dict[str, str]:
    """Package → the version in requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("#")[0].strip().split("==") for line in lines if "==" in line)
    return {canonicalize_name(name): version for name, version in pairs}


def brought() -> dict[str, Distribution]:
    """Every package that requirements.txt brings, what those need in turn included.

    Raises:
        UserError: one of requirements.txt itself is not installed.
    """
    found, direct = dict[str, Distribution](), pinned()
    waiting = [(name, "") for name in direct]  # (name, extra)
    seen: set[tuple[str, str]] = set()  # two packages may need each other's extras
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            package = distribution(name)
        except PackageNotFoundError as error:
            if name in direct:
                raise UserError(f"{name}: not installed; run `make setup`") from error
            continue  # of another system
        for text in package.requires or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                # "Pillow", "pillow" and "PILLOW" are one package (PEP 503).
                key = canonicalize_name(need.name)
                waiting += [(key, each) for each in ({""} | need.extras)]
        found[canonicalize_name(name)] = package
    return dict(sorted(found.items()))


def licence_of(package: Distribution) -> str:
    """In the words of the package itself, short."""
    data: Any = package.metadata  # a message, also where its type does not say so
    text = data.get("License-Expression") or (data.get("License") or "").strip()
    # Some put the whole text of the licence into that field.
    if not text or len(text) > 60 or text == "UNKNOWN":
        classifiers = [each for each in data.get_all("Classifier") or () if "License ::" in each]
        text = ", ".join(each.split("::")[-1].strip() for each in classifiers) or text
    if not text:
        files = [file for file in package.files or () if "license" in file.name.lower()]
        whole = Path(str(files[0].locate())).read_text(errors="replace") if files else ""
        text = next((line for line in whole.split("\n") if line.strip()), "not stated")
    return " ".join(text.split())[:120].replace("|", "/")


def licences() -> str:
    """The page of docs/licences.md."""
    direct, rows = pinned(), ""
    for name, package in brought().items():
        shown = f"**{package.name}**" if name in direct else package.name
        rows += f"| {shown} | {package.version} | {licence_of(package)} |\n"
    return PAGE + rows


def problems() -> Iterator[str]:
    """What an audit finds, a line each."""
    versions, expected = pinned(), brought()
    for name, version in versions.items():
        # torch 2.15.0+cpu is the pinned 2.15.0, of another index.
        if (installed := expected[name].version.partition("+")[0]) != version:
            yield f"{name}: {installed} is installed, {version} pinned"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = canonicalize_name(project["name"])  # after `pip install -e .`
    for package in distributions():
        name = canonicalize_name(package.name)
        if name not in expected and name not in (*INSTALLERS, own):
            yield f"{name}: installed, but nothing in requirements.txt brings it"
    for package in expected.values():
        changed = [file for file in package.files or () if file.hash and _changed(file)]
        if changed:
            shown = ", ".join(map(str, changed[:3]))
            yield f"{package.name}: {len(changed)} files are not those it brought ({shown})"


def _changed(file) -> bool:
    path = file.locate()
    if not path.is_file():
        return path.suffix != ".pyc"  # compiled files come and go by themselves
    if not hasattr(hashlib, file.hash.mode):  # an algorithm that this Python lacks proves nothing
        return False
    with open(path, "rb") as content:
        digest = hashlib.file_digest(content, file.hash.mode).digest()
    # RECORD files write digests like this (PEP 376): URL-safe, without padding.
    return base64.urlsafe_b64encode(digest).decode().rstrip("=") != file.hash.value


def main() -> None:
    parser = command_line(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", type=Path, metavar="FILE", help="write the licences as Markdown")
    what.add_argument("--audit", action="store_true", help="look for what should not be there")
    args = parser.parse_args()
    if args.write:
        with write_atomically(args.write) as file:
            file.write(licences())
        return
    found = list(problems())
    print(f"{len(brought())} packages")
    if importlib.util.find_spec("pip_audit"):
        command = [sys.executable, "-m", "pip_audit", "-r", str(ROOT / "requirements.txt")]
        found += ["pip-audit: see above"] * bool(subprocess.run(command, check=False).returncode)
    else:
        print("known vulnerabilities: not looked up, pip-audit is not installed")
    if found:
        raise UserError("\n  ".join([f"{len(found)} findings", *found]))


if __name__ == "__main__":
    run_command(main)
