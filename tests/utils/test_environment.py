"""What a run ran on."""

import json
import subprocess
from importlib.metadata import distributions, version

from utils.environment import describe_environment, git_state, installed


def test_it_is_plain_json_that_names_versions_machine_and_command():
    described = json.loads(json.dumps(describe_environment("cpu")))
    assert described["device"] == "cpu" and described["cores"] >= 1
    assert described["packages"]["torch"] and described["python"].startswith("3.")
    assert described["command"].startswith("python ")


def test_every_installed_package_is_told():
    told = describe_environment("cpu")["packages"]
    assert {"torch", "pytorch-metric-learning", "sympy"} <= told.keys()  # sympy comes with torch
    # One version a name, as the import takes it: a path may hold a second copy of pip.
    assert told == {name: version(name) for name in told}
    assert told.keys() == {package.name.lower().replace("_", "-") for package in distributions()}


def test_of_two_copies_of_a_package_the_imported_one_is_told(tmp_path, monkeypatch):
    for place, number in (("first", "2.0"), ("second", "1.0")):
        folder = tmp_path / place / f"Twice_Here-{number}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: Twice_Here\nVersion: {number}\n")
        monkeypatch.syspath_prepend(str(tmp_path / place))  # "second" comes to stand before "first"
    assert installed()["twice-here"] == "1.0"


def test_outside_a_repository_there_is_no_commit_and_changes_are_told(tmp_path):
    assert git_state(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "file").write_text("1")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *arguments], check=True)
    assert git_state(tmp_path)["dirty"] is False
    (tmp_path / "file").write_text("2")
    assert git_state(tmp_path)["dirty"] is True
