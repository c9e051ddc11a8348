"""docs/new_task.md does what it says: its blocks are run."""

import re
import shlex
from pathlib import Path

import json5
import pytest

from base.task_settings import TaskSettings
from data_loader.dataset import read_index

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "new_task.md").read_text(encoding="utf-8")
TASKS = re.findall(r"```jsonc\n(.*?)```", PAGE, re.DOTALL)
(COMMANDS,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", TASKS, ids=lambda text: "-".join(re.findall(r'"(\w+)": \{', text)))
def test_each_task_of_the_page_reads_the_shapes(shapes, text):
    settings = TaskSettings.model_validate(json5.loads(text))
    index = read_index(shapes, settings)
    assert len(index) == 90
    for head in index.task.heads.values():
        assert head.num_classes and head.count(index.values[head.name]).sum() > 0


def test_the_commands_of_the_page_lead_from_a_folder_to_predictions(run, tmp_path):
    place = tmp_path / "here"
    place.mkdir()
    for line in COMMANDS.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        if program == "cd":
            place = (place / arguments[0]).resolve()
            continue
        assert program == "python"
        # The page begins in this project, and goes on in the one that it makes.
        project = place if (place / "train.py").is_file() else ROOT
        if arguments[0].endswith(".py"):
            arguments[0] = str(project / arguments[0])
        done = run(*arguments, cwd=place, PYTHONPATH=str(project))
        assert done.returncode == 0, (line, done.stderr[-2000:])
    submission = place / "submit" / "Shapes_first.csv"
    rows = submission.read_text().splitlines()
    assert rows[0] == "path,kind,colour,tags,size" and len(rows) == 61
