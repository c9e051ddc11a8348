"""The Dockerfile, read line by line: nothing here builds an image."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def steps():
    """Instruction and its words, in order, comments left out and lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def test_it_runs_as_a_user_who_is_not_root_and_installs_before_the_code_comes(steps):
    names = [name for name, _ in steps]
    users = [words for name, words in steps if name == "USER"]
    assert names[0] == "FROM" and users == ["user"]
    copies = [i for i, (name, words) in enumerate(steps) if name == "COPY"]
    setup = next(i for i, (_, words) in enumerate(steps) if "make setup" in words)
    assert names.index("USER") < copies[0] < setup < copies[1]
    assert all("--chown=user" in steps[i][1] for i in copies)
    (folder,) = [words for name, words in steps if name == "WORKDIR"]
    owned = f"install --directory --owner=user --group=user {folder}"
    assert owned in steps[1][1] and names.index("USER") > 1


def test_whoever_docker_runs_it_as_has_a_home_to_write_to(steps):
    assert ("ENV", "HOME=/home/user USER=user") in steps and "chmod 1777 /home/user" in steps[1][1]
    # What the installation left there would be its own user's.
    assert 'rm -rf "$HOME/.cache"' in next(words for _, words in steps if "make setup" in words)


def test_what_it_copies_and_calls_is_there(steps):
    copied = [shlex.split(words)[1:-1] for name, words in steps if name == "COPY"]
    assert all((ROOT / source).exists() for sources in copied for source in sources)
    assert ("ENTRYPOINT", '["masktracer"]') in steps  # of pyproject.toml's scripts
    assert "masktracer =" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_one_argument_decides_between_cpu_and_cuda_and_makes_take_it(steps):
    assert [words for name, words in steps if name == "ARG"] == ['TORCH_CPU_INDEX=""']
    assert "$(TORCH_CPU_INDEX)" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_nothing_that_git_ignores_but_stays_here_is_sent_to_the_build():
    ignored = set((ROOT / ".dockerignore").read_text(encoding="utf-8").split())
    assert {".git", ".venv", "data/*", "saved/*", "submit/*", "!**/.gitkeep"} <= ignored
