import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def new_project(target):
    return subprocess.run(
        [sys.executable, str(ROOT / "new_project.py"), str(target)], capture_output=True, text=True
    )


def test_the_framework_is_copied_without_data_runs_and_history(tmp_path):
    target = tmp_path / "MyProject"
    assert new_project(target).returncode == 0
    for name in ("train.py", "Makefile", "tests", "TRACER", "saved/.gitkeep"):
        assert (target / name).exists(), name
    for name in (".git", ".venv", "data/sample", "saved/models"):
        assert not (target / name).exists(), name


def test_the_new_project_runs(tmp_path):
    target = tmp_path / "MyProject"
    new_project(target)
    done = subprocess.run(
        [sys.executable, "train.py", "--help"], cwd=target, capture_output=True, text=True
    )
    assert done.returncode == 0 and "--config" in done.stdout


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    done = new_project(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_a_folder_inside_the_project_is_refused():
    done = new_project(ROOT / "copy_of_itself")
    assert done.returncode == 2 and not (ROOT / "copy_of_itself").exists()
