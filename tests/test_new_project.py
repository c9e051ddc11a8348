import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from parse_config import ConfigParser
from utils.config_files import read_json5

ROOT = Path(__file__).resolve().parents[1]


def command(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


def new_project(*arguments):
    return command(ROOT / "new_project.py", *arguments)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of drawn shapes."""
    target = tmp_path_factory.mktemp("new") / "MyShapes"
    done = new_project(target)
    assert done.returncode == 0, done.stderr
    return target


def test_the_framework_is_copied_without_data_runs_and_what_is_of_faces_alone(project):
    for name in ("train.py", "Makefile", "tests", "TRACER", "saved/.gitkeep", ".github", ".git"):
        assert (project / name).exists(), name
    assert (project / "configs/tasks/faces.json").exists()  # as an example
    left = ("faces", "benchmarks", "CHANGELOG.md", "data/sample", "saved/models", "export.py",
            "TRACER/weights", "tests/faces", "tests/golden", "tests/people.py")  # fmt: skip
    for name in left:
        assert not (project / name).exists(), name
    # so that nothing there tells of people any more
    assert not [f for f in project.rglob("*.py") if re.search(r"from faces\b", f.read_text())
                and f.name != "conftest.py"]  # fmt: skip


def test_its_readme_and_makefile_are_its_own(project):
    readme, makefile = (project / "README.md").read_text(), (project / "Makefile").read_text()
    assert readme.startswith("# MyShapes")
    for script in ("python train.py", "python test.py", "streamlit run app.py"):
        assert script in readme
    assert "NAME := MyShapes" in makefile and "sample" not in makefile and "golden:" not in makefile


def test_its_config_asks_what_is_drawn(project):
    config = ConfigParser(read_json5(project / "config.json"))
    assert list(config.settings.task.heads) == ["kind", "colour"]
    assert config["name"] == "MyShapes"


def test_its_docs_lead_only_to_what_is_there(project):
    pages = [*project.glob("*.md"), *project.glob("docs/*.md"), *project.glob("TRACER/*.md")]
    assert len(pages) > 10
    for page in pages:
        text = page.read_text()
        links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
        here = [link for link in links if link and "://" not in link]
        assert not [link for link in here if not (page.parent / link).exists()], page.name
        configs = set(re.findall(r"\b(?:configs/[\w/]+|config)\.json", text))
        assert not [name for name in configs if not (project / name).exists()], page.name


def test_its_make_knows_no_target_of_what_stayed_behind(project):
    targets = re.findall(r"(?m)^([a-z-]+):.*##", (project / "Makefile").read_text())
    assert "demo" in targets and not {"golden", "shape", "soak", "fuzz"} & set(targets)


def test_its_tests_can_be_imported_and_pass(project, run):
    """All are imported; run are those of files that are not the same there as here."""
    few = "test_config_schema or test_shapes"
    done = run("-m", "pytest", "-n0", "-k", few, cwd=project)
    assert done.returncode == 0, done.stdout[-2000:]
    assert int(re.search(r"(\d+) deselected", done.stdout)[1]) > 800


def test_the_task_is_proposed_by_a_table(shapes, tmp_path):
    done = new_project(tmp_path / "Tabled", "--data", shapes)
    assert done.returncode == 0, done.stderr
    config = read_json5(tmp_path / "Tabled" / "config.json")
    assert config["task"]["data"]["group"] == "board"
    assert config["task"]["data"]["test"]["table"] == "eval.csv"
    types = {name: head["type"] for name, head in config["task"]["heads"].items()}
    assert types == {
        "kind": "classes", "colour": "classes", "tags": "multilabel", "size": "number",
    }  # fmt: skip
    assert "asks tags: type multilabel" in done.stdout
    assert Path(config["data_dir"]) == shapes.resolve()
    assert "DEMO_DATA :=\n" in (tmp_path / "Tabled" / "Makefile").read_text()  # never cleaned away


def test_the_task_is_proposed_by_folders_of_classes(shapes, tmp_path):
    done = new_project(tmp_path / "Sorted", "--data", shapes / "train")
    assert done.returncode == 0, done.stderr
    config = read_json5(tmp_path / "Sorted" / "config.json")
    assert config["task"]["heads"] == {"kind": {"column": "folder"}}
    readme = (tmp_path / "Sorted" / "README.md").read_text()
    assert (
        "--images FOLDER" in readme
        and "test.py" not in (tmp_path / "Sorted" / "Makefile").read_text()
    )
    json.dumps(config)


@pytest.mark.parametrize("data", ["empty", "none"])
def test_data_that_nothing_can_be_made_of_is_refused_before_anything_is_copied(tmp_path, data):
    (tmp_path / "empty").mkdir()
    done = new_project(tmp_path / "New", "--data", tmp_path / data)
    assert done.returncode == 2 and not (tmp_path / "New").exists()
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    done = new_project(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_a_folder_inside_the_project_is_refused():
    done = new_project(ROOT / "copy_of_itself")
    assert done.returncode == 2 and not (ROOT / "copy_of_itself").exists()
