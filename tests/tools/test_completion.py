"""The shell knows the commands, their options, and the keys of the config."""

import importlib.util
import os
import re
import select
import shutil
import subprocess
from functools import partial

import pytest

from tools.__main__ import ROOT, commands
from tools.completion import main, whole
from utils.errors import UserError

HAS_SHTAB = importlib.util.find_spec("shtab") is not None


def test_every_command_is_there_with_its_own_options_and_the_keys_of_set():
    parsers = whole({"bash": "_files"})._actions[-1].choices
    assert set(parsers) == set(commands())
    flags = {name: parser._option_string_actions for name, parser in parsers.items()}
    assert "--folds" in flags["train"] and "--grid" in flags["sweep"] and "--diff" in flags["runs"]
    assert "optimizer.args.lr=" in flags["train"]["--set"].choices
    assert flags["train"]["--config"].complete == {"bash": "_files"}


@pytest.mark.skipif(HAS_SHTAB, reason="shtab is installed")
def test_without_shtab_one_line_says_what_to_install():
    with pytest.raises(UserError, match="pip install shtab"):
        main(["bash"])


@pytest.mark.skipif(not (HAS_SHTAB and shutil.which("bash")), reason="needs shtab and bash")
def test_the_shell_completes(capsys, tmp_path):
    main(["bash"])
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    ask = """
        . "$1"; COMP_WORDS=("${@:3}"); COMP_CWORD=$(($# - 3)); $2
        printf '%s\\n' "${COMPREPLY[@]}"
    """

    def completed(*words, by="_shtab_masktracer", folder=ROOT):
        command = ["bash", "-c", ask, "bash", script, by, *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder).stdout.split()

    assert completed("masktracer", "swe") == ["sweep"]
    assert completed("masktracer", "train", "--fol") == ["--folds"]
    assert completed("masktracer", "train", "--set", "trainer.ho") == ["trainer.hours="]
    python = partial(completed, "python", by="_masktracer_python")
    assert python("train.py", "--fol") == ["--folds"]
    assert python("-m", "tools.swe") == ["tools.sweep"]
    assert python("-m", "tools.sweep", "--set", "trainer.ho") == ["trainer.hours="]
    for others in (["-m", "http.server", "--b"], ["setup.py", "--b"], ["-c"], ["-m", "swe"]):
        assert python(*others) == []
    assert python("train.py", "--fol", folder=tmp_path) == []


# Ctrl-X shows the line as the shell has it.
TERMINALS = {
    "bash": (["bash", "--norc", "-i"], r"""bind -x '"\C-x": echo "line<$READLINE_LINE>"'"""),
    "zsh": (
        ["zsh", "-f", "-i"],
        """show() { print -r -- "line<$BUFFER>"; }; zle -N show; bindkey '^X' show""",
    ),
}
BEGIN = {"bash": '. "$SCRIPT"', "zsh": 'autoload -U compinit; compinit -u -D; eval "$(<$SCRIPT)"'}


@pytest.mark.parametrize("shell", TERMINALS)
def test_in_a_terminal_values_follow_their_keys_and_python_is_completed_too(
    shell, capsys, tmp_path
):
    if not (HAS_SHTAB and shutil.which(shell)):
        pytest.skip(f"needs shtab and {shell}")
    main([shell])
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    command, binding = TERMINALS[shell]
    pid, terminal = os.forkpty()
    if not pid:
        os.chdir(ROOT)
        os.execvpe(command[0], command, os.environ | {"SCRIPT": str(script), "TERM": "dumb"})
    os.write(terminal, f"{BEGIN[shell]}; {binding}\n".encode())

    def completed(line):
        os.write(terminal, f"{line}\t\x18".encode())
        said = ""
        while not (found := re.search(r"line<([^>$]*)>", said)):
            assert select.select([terminal], [], [], 20)[0], said
            said += os.read(terminal, 4096).decode(errors="replace")
        os.write(terminal, b"\x15")  # Ctrl-U: a new line
        return found[1]

    try:
        for program in ("masktracer train", "python train.py", "python -m tools.sweep"):
            for values in ("", "seed=1 "):
                line = f"{program} --set {values}trainer.ho"
                assert completed(line) == f"{line}urs="
        assert completed("masktracer swe") == "masktracer sweep "
        assert completed("python train.py --fol") == "python train.py --folds "
        assert completed("python -m tools.swe") == "python -m tools.sweep "
        assert completed("masktracer train -c configs/sam").endswith("configs/sample.json ")
        assert completed("python -m http.ser") == "python -m http.ser"
    finally:
        os.close(terminal)  # of which the shell ends
        os.waitpid(pid, 0)
