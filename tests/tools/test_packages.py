"""What is installed is listed with its licence, and compared with what it should be."""

import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tools import packages
from tools.packages import brought, licence_of, licences, pinned, problems

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "licences.md"


def test_every_pinned_package_is_on_the_page_with_a_licence():
    page = PAGE.read_text(encoding="utf-8")
    for name in pinned():
        assert f"| **{distribution(name).name}** |" in page, "python -m tools.packages --write …"
    assert "not stated" not in "\n".join(row for row in page.splitlines() if "**" in row)


def test_what_a_package_needs_comes_along_and_a_long_licence_is_one_line():
    names = brought()
    assert "torch" in names and "sympy" in names  # which torch alone asks for
    assert licence_of(names["torch"]) and "\n" not in licences().replace("\n|", "|")[400:900]


@pytest.fixture
def one_package(monkeypatch, tmp_path):
    """The audit of a single small package, from files that may be changed."""
    package = distribution("iniconfig")
    monkeypatch.setattr(packages, "pinned", lambda: {"iniconfig": package.version})
    monkeypatch.setattr(packages, "distributions", lambda: [package])
    return package


def test_an_audit_finds_another_version_an_unknown_package_and_a_changed_file(
    one_package, monkeypatch
):
    assert list(problems()) == []
    monkeypatch.setattr(packages, "distributions", lambda: [one_package, distribution("pluggy")])
    assert [line.split(":")[0] for line in problems()] == ["pluggy"]
    monkeypatch.setattr(packages, "pinned", lambda: {"iniconfig": "0.1"})
    monkeypatch.setattr(packages, "_changed", lambda file: file.name == "__init__.py")
    found = list(problems())
    assert "0.1 pinned" in found[0] and "1 files are not those it brought" in found[-1]


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """``installed(name, "Requires-Dist: …")``: what an installer writes of a package."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name, *lines):
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        header = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        (folder / "METADATA").write_text(header + "".join(f"{line}\n" for line in lines))
        return Distribution.at(folder)

    return install


def test_packages_that_need_extras_of_each_other_come_to_an_end(installed, monkeypatch):
    for name, other in (("loop-a", "loop-b"), ("loop-b", "loop-a")):
        installed(name, "Provides-Extra: x", f"Requires-Dist: {other}[x]",
                  f'Requires-Dist: {other}[x]; extra == "x"')  # fmt: skip
    monkeypatch.setattr(packages, "pinned", lambda: {"loop-a": "1.0"})
    assert list(brought()) == ["loop-a", "loop-b"]


def test_the_project_itself_is_no_stranger_in_its_environment(one_package, installed, monkeypatch):
    project = tomllib.loads((packages.ROOT / "pyproject.toml").read_text())["project"]
    own = installed(project["name"])
    monkeypatch.setattr(packages, "distributions", lambda: [one_package, own])
    assert list(problems()) == []


def test_a_file_is_compared_with_its_digest(one_package):
    file = next(file for file in one_package.files if file.hash)
    assert not packages._changed(file)
    file.hash.value = "other"
    assert packages._changed(file)


def test_the_lock_holds_every_pin_and_no_address():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ") and "make lock" in lines[0]
    pairs = (line.split("==") for line in lines[1:])
    locked = {canonicalize_name(name): version for name, version in pairs}
    assert locked.items() >= pinned().items(), "make lock"


@pytest.mark.skipif(not shutil.which("make") or sys.platform != "linux", reason="make, on Linux")
def test_an_environment_without_cuda_takes_such_builds_of_torch_alone():
    def commands(*variables):
        done = subprocess.run(
            ["make", "-nB", "setup", *variables], cwd=ROOT, capture_output=True, text=True
        )
        return done.stdout

    small = commands("CPU=1", "TORCH_CPU_INDEX=URL")
    assert "--extra-index-url URL --constraint .venv/cpu.txt" in small and "CPU=1" in small
    assert "--constraint" not in commands()
