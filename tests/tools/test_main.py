"""All commands under one name."""

import pytest

from tools.__main__ import commands, main
from utils.errors import UserError


def test_every_command_is_listed_with_what_it_does(capsys):
    main([])
    said = capsys.readouterr().out
    for name in ("train", "test", "runs", "export", "explore", "sweep"):
        assert f"\n{name} " in f"\n{said}", name
    assert all(line.strip() for line in commands().values())


def test_a_command_is_run_with_what_follows_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["masktracer"])
    for name, word in (("runs", "--diff"), ("train", "--folds")):
        with pytest.raises(SystemExit) as leaving:
            main([name, "--help"])
        assert leaving.value.code == 0
        assert word in capsys.readouterr().out


def test_a_command_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'export'"):
        main(["exprot"])
