import io
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from utils.cli import EXTRAS, message_of, run_command, say_loading
from utils.errors import DataError

ROOT = Path(__file__).resolve().parents[2]


def fails():
    raise DataError("photo.jpg: the file is empty; replace or remove it")


def test_what_succeeds_goes_on():
    done = []
    run_command(lambda: done.append(1))
    assert done == [1]


def test_an_error_of_the_user_is_one_line_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as leaving:
        run_command(fails)
    assert leaving.value.code == 2
    assert capsys.readouterr() == (
        "",
        "error: photo.jpg: the file is empty; replace or remove it\n",
    )


def test_debug_shows_the_traceback_as_well(capsys):
    with pytest.raises(SystemExit) as leaving:
        run_command(fails, debug=True)
    shown = capsys.readouterr().err
    assert leaving.value.code == 2
    assert shown.startswith("Traceback") and "in fails" in shown
    assert shown.endswith("error: photo.jpg: the file is empty; replace or remove it\n")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(24, "Too many open files", "a.jpg"), "ulimit -n"),
        (OSError(28, "No space left on device"), "--shm-size"),
        (OSError(12, "Cannot allocate memory"), "batch_size"),
        (MemoryError(), "num_workers"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "no memory"),
        (OSError(13, "Permission denied", "data/x"), "'data/x'; this user may not write there"),
        (OSError(30, "Read-only file system", "data/x"), "name another place"),
        (OSError(20, "Not a directory", "data/x"), "'data/x'; a file is where a folder"),
        (RuntimeError("CUDA out of memory. Tried to\nallocate 2 GiB"), "batch_size"),
        (DataError("Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most"
                   " recent call last):\n  x\nutils.errors.DataError: a.jpg: empty\n"),
         "error: a.jpg: empty\n"),
    ],
)  # fmt: skip
def test_what_the_machine_refuses_is_one_line_that_says_what_to_do(capsys, error, words):
    def refused():
        raise error

    with pytest.raises(SystemExit) as leaving:
        run_command(refused)
    shown = capsys.readouterr().err
    assert leaving.value.code == 2 and shown.startswith("error: ") and shown.count("\n") == 1
    assert words in shown


@pytest.fixture
def ctrl_c_as_before():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_as_before")
def test_ctrl_c_is_exit_code_130_without_a_traceback(capsys):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as leaving:
        run_command(interrupted)
    assert leaving.value.code == 130
    assert capsys.readouterr().err == "\ninterrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_second_ctrl_c_while_the_first_ends_the_process_shows_no_traceback_either():
    code = (
        "import atexit, os, signal, time; from utils.cli import run_command\n"
        # Of a command in the background (`make test &`) it is ignored, also here.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(9)))\n"
        "run_command(lambda: os.kill(os.getpid(), signal.SIGINT) or time.sleep(9))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "\ninterrupted\n")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="terminals of POSIX")
@pytest.mark.parametrize(("ends", "code"), [("run_command(refused)", 2), ("stopped()", 75)])
def test_a_terminal_that_was_closed_changes_no_exit_code(ends, code):
    ours, theirs = os.openpty()
    lines = (
        "import sys", "from utils.cli import run_command, tell",
        "from utils.errors import UserError",
        "def refused(): raise UserError('no')",
        "def stopped(): tell('resume with'); sys.exit(75)",
        "sys.stdin.readline()", ends,
    )  # fmt: skip
    program = subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, stdin=subprocess.PIPE,
        stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)
    program.communicate(b"go on\n", timeout=60)
    assert program.returncode == code


def test_a_reader_that_stops_early_causes_no_traceback():
    code = (
        "from utils.cli import run_command\nrun_command(lambda: [print(n) for n in range(10**6)])"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    command.stdout.readline()
    command.stdout.close()
    assert command.stderr.read() == b""
    assert command.wait(timeout=30) == 1
    command.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_standard_output_is_an_error_that_says_so(unbuffered):
    """Not silence and exit code 0, nor advice about shared memory."""
    code = "from utils.cli import run_command\nrun_command(lambda: print('{}' * 3000))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard output: the disk is full")
    assert done.stderr.count("\n") == 1


def test_a_pipe_gets_each_line_at_once():
    code = "from utils.cli import run_command\nrun_command(lambda: (print('epoch 1'), input()))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    ) as command:  # fmt: skip
        assert command.stdout.readline() == b"epoch 1\n"
        command.stdin.write(b"\n")


def test_closed_output_is_silent():
    code = (
        "import sys; from utils.cli import run_command; from tqdm import tqdm\n"
        "run_command(lambda: [tqdm.write('x', each) for each in (sys.stdout, sys.stderr)])"
    )
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" >&- 2>&-', sys.executable, code], cwd=ROOT, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("console", ["ascii", "ascii:strict", "cp1252"])
def test_what_a_console_cannot_show_is_printed_as_a_code(console):
    """Of every stream; also a file's name that is no text at all."""
    code = (
        "import sys; from utils.cli import run_command; from utils.errors import DataError\n"
        "def main():\n"
        "    for stream in (sys.stdout, sys.stderr): print('가 \\udcbb', file=stream)\n"
        "    raise DataError('나.jpg: broken')\n"
        "run_command(main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, encoding="ascii",
        env={**os.environ, "PYTHONIOENCODING": console},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == "\\uac00 \\udcbb\n"
    assert done.stderr == "\\uac00 \\udcbb\nerror: \\ub098.jpg: broken\n"


def test_every_command_runs_through_it():
    """Found by reading, since some take minutes; Streamlit runs the page."""
    places = [ROOT, *(ROOT / room for room in ("benchmarks", "tools"))]
    rooms = ("base", "data_loader", "logger", "model", "TRACER", "trainer", "utils")
    places += [ROOT / room for room in rooms]
    for file in sorted(path for place in places for path in place.glob("*.py")):
        _, main, ending = file.read_text(encoding="utf-8").partition('if __name__ == "__main__":')
        if main and file.name not in ("app.py", "__main__.py"):
            assert "run_command(" in ending or 'runpy.run_module("tools.' in ending, file


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb\r\tc\x1b[31m", "a\\nb\\r\\tc\\x1b[31m"),
        ("2 errors:\n  lr: too high\n  name: empty", "2 errors:\n  lr: too high\n  name: empty"),
        ("가 é – …", "가 é – …"),
    ],
)
def test_what_names_and_cells_hold_makes_no_lines_of_its_own(text, line):
    assert message_of(DataError(text)) == line


def test_a_message_keeps_its_beginning_and_its_end():
    message = message_of(DataError(f"t.csv: {'x' * 10_000}; delete it"))
    assert len(message) < 2000 and message.startswith("t.csv: x") and message.endswith("delete it")


def test_a_name_that_no_file_system_takes_is_no_bug_of_ours():
    with pytest.raises(OSError) as caught:
        Path("x" * 300).read_text()
    assert "no file system takes this name" in message_of(caught.value)


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_a_missing_package_of_an_extra_is_named_with_the_extra():
    missing = ModuleNotFoundError("No module named 'optuna'", name="optuna")
    assert message_of(missing) == (
        "optuna is not installed; python -m pip install -e '.[sweep]' brings it"
    )
    assert message_of(ModuleNotFoundError("No module named 'a'", name="a")) is None


def test_pyproject_and_requirements_pin_the_same_and_every_extra_is_known():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    extras = dict(PROJECT["optional-dependencies"])
    of_all = extras.pop("all")
    pins = [*PROJECT["dependencies"], *(pin for pins in extras.values() for pin in pins)]
    assert sorted(pins) == sorted(line for line in lines if line and not line.startswith("#"))
    del extras["dev"]
    assert of_all == [f"{PROJECT['name']}[{','.join(extras)}]"]
    named = {pin.partition("==")[0].replace("-", "_"): x for x in extras for pin in extras[x]}
    assert named == EXTRAS


@pytest.mark.slow
def test_training_predicting_and_exporting_need_no_extra():
    code = (
        "import sys, utils.cli; sys.modules |= dict.fromkeys(utils.cli.EXTRAS)\n"
        "import train, test, tools.runs, trainer.session, trainer.prediction_session\n"
        "import trainer.export_session, trainer.explain_session, logger.report.write"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("terminal", "rank"), [(True, "0"), (False, "0"), (True, "1")])
def test_only_a_terminal_is_told_that_libraries_load_and_only_once(terminal, rank, monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("RANK", rank)
    say_loading()
    assert ("loading" in shown.getvalue()) == (terminal and rank == "0")
