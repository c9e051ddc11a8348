"""Begin a project for another task: ``python new_project.py ../Shapes --data DIR``.

Looks at DIR (folders of classes, or a table of photos) and copies the framework with a config whose
task it proposes; without --data the project begins with drawn shapes. What is the faces' own stays
behind: their generator, sample weights, benchmarks, recipes and tests. The tests that come along
pass there.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tools.guess_task import guess_task
from utils.cli import command_line, run_command
from utils.errors import UserError

HERE = Path(__file__).resolve().parent
NOT_OURS = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".*_cache", "wandb", "htmlcov", "*.pyc", ".DS_Store"
)
WRITTEN_BY_RUNS = ("data", "saved", "submit")
LEFT_BEHIND = re.compile(
    r"(faces|benchmarks|docs/images|tests/(faces|golden|fuzz))/.*|TRACER/weights/.*|tests/people\.py"
    r"|README(\.ko)?\.md|docs/ko/.*|tests/test_korean\.py|CHANGELOG\.md"
    r"|docs/(a_day|accuracy|errors|new_task|reliability|scaling)\.md|examples/first_steps\.ipynb"
    r"|tests/test_(a_day|docs|errors|first_steps)\.py"
    r"|config\.json|configs/(?!schema)[^/]*\.json|tools/(convert_backbone|sample)\.py|new_project\.py"
    r"|tests/(test_new_project|test_new_task|test_places|shape)\.py"
    r"|(export|sweep|data_loader/(sample|audit|explore)|base/soup|model/(explain|tune_decoding))\.py"
    r"|tests/tools/test_old_spellings\.py"
)
"""What is the faces' own, or this repository's."""
OF_FACES = re.compile(
    r"\b(from faces|benchmarks|configs/\w+\.json|weights(=|\", \")sample|COMPETITION)\b"
    r"|def \w+\([^)]*\b(people|tiny_config|trained)\b"
)
"""A test that needs what stays behind, or asks for a fixture of the faces."""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("target", type=Path, help="folder to make; must not exist or be empty")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the photos it is to learn")
    args = parser.parse_args()
    make_project(args.target, args.data)


def make_project(target: Path, data: Path | None) -> None:
    """Copy the framework to ``target``, with a config for the photos in ``data``.

    Raises:
        UserError: ``target`` holds something already, lies inside this project, or cannot be made;
            or ``data`` holds nothing that a task can be made of.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: exists and is not an empty folder; choose another name")
    if target.resolve().is_relative_to(HERE):
        raise UserError(f"{target}: lies inside this project; choose a folder outside {HERE}")
    # It names runs and a package, which allow less than folders do.
    name = re.sub(r"\W+", "_", target.resolve().name) or "project"
    # Before anything is written: without a task there is no project.
    task = guess_task(data, name) if data else shapes_task(name)
    try:
        for entry in framework_files():
            (target / entry).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(HERE / entry, target / entry)
        for folder in WRITTEN_BY_RUNS:
            (target / folder).mkdir(parents=True, exist_ok=True)
            # git keeps no empty folders, and commands expect these.
            (target / folder / ".gitkeep").touch()
        write_own_files(target, name, task, data)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error})") from error
    # check=False: without git it is still a project.
    subprocess.run(["git", "init", "--quiet", str(target)], check=False)
    for head, settings in task["heads"].items():
        print(f"asks {head}: {', '.join(f'{key} {value}' for key, value in settings.items())}")
    print(f"{target} is ready: read the task in its config.json, then `make demo` there")


def framework_files() -> list[str]:
    """What git tracks here, or without git whatever runs did not write; but for what is left."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=HERE, capture_output=True, text=True, check=False
    )
    # Tracked files alone: caches, runs and data would otherwise come along.
    if listed.returncode == 0 and listed.stdout and (HERE / ".git").exists():
        files = [name for name in listed.stdout.split("\0") if name and (HERE / name).exists()]
    else:
        files = sorted(walked(HERE))
    return [
        file
        for file in files
        if Path(file).parts[0] not in WRITTEN_BY_RUNS
        and not LEFT_BEHIND.fullmatch(file)
        and not (
            Path(file).name.startswith("test_")
            and OF_FACES.search((HERE / file).read_text(encoding="utf-8"))
        )
    ]


def walked(folder: Path) -> list[str]:
    """Files below this project's ``folder`` that are its own."""
    entries = list(folder.iterdir())
    others = NOT_OURS(str(folder), [entry.name for entry in entries])
    ours = [entry for entry in entries if entry.name not in others and not entry.is_symlink()]
    below = [file for entry in ours if entry.is_dir() for file in walked(entry)]
    return [entry.relative_to(HERE).as_posix() for entry in ours if entry.is_file()] + below


def shapes_task(name: str) -> dict[str, Any]:
    """The task of the shapes that ``tools.shapes`` draws."""
    return {
        "name": name,
        "data": {
            "train": {"reader": "csv", "table": "train.csv", "path": "path"},
            "test": {"reader": "csv", "table": "eval.csv", "path": "path"},
            "group": "board",
        },
        "heads": {"kind": {"type": "classes"}, "colour": {"type": "classes"}},
        "answer": {"csv": {"id": "path"}},
    }


def write_own_files(target: Path, name: str, task: dict[str, Any], data: Path | None) -> None:
    """Config, README, Makefile and pyproject of the new project."""
    # Without photos to predict, the demo ends with the training.
    has_test = "test" in task["data"]
    config = {"$schema": "configs/schema.json"} | config_of(name, task, data)
    text = json.dumps(config, indent=4, ensure_ascii=False)
    head = "//   python train.py --config config.json\n// docs/config.md explains every key.\n"
    (target / "config.json").write_text(f"{head}{text}\n", encoding="utf-8")
    images, tests = ("", " and tests") if has_test else (" --images FOLDER", "")
    readme = README.format(name=name, images=images, tests=tests)
    (target / "README.md").write_text(readme, encoding="utf-8")
    makefile = (target / "Makefile").read_text(encoding="utf-8")
    for key, value in demo_of(name, data).items():
        # The variables at its top are all that a Makefile has of a task.
        makefile = re.sub(rf"(?m)^{key} :=.*$", f"{key} := {value}".rstrip(), makefile)
    if not has_test:
        makefile = re.sub(r"\t\$\(BIN\)/python test\.py .*\n", "", makefile)
    makefile = re.sub(r"(?ms)^(golden|shape|fuzz|soak|gpu): .*?\n\n", "", makefile)
    (target / "Makefile").write_text(makefile, encoding="utf-8")
    for page in [*(target / "docs").glob("*.md"), *(target / "TRACER").glob("*.md")]:
        page.write_text(about_here(page), encoding="utf-8")
    project = (target / "pyproject.toml").read_text(encoding="utf-8")
    project = re.sub(r"(?m)^name = .*$", f'name = "{name.lower()}"', project, count=1)
    project = project.replace('"masktracer[', f'"{name.lower()}[')
    project = re.sub(r"(?m)^description = .*\n", "", project, count=1)
    of_faces = '\n[[tool.importlinter.contracts]]\nname = "no room knows the faces"'
    # The contract stands last in the file.
    project = project.partition(of_faces)[0]
    project = re.sub(r'\s*"(faces|benchmarks)",', "", project)
    (target / "pyproject.toml").write_text(project, encoding="utf-8")


def about_here(page: Path) -> str:
    """A page of the docs without links to what stayed behind, and with the config that is there."""

    def kept(link: re.Match[str]) -> str:
        place = link[3].partition("#")[0]
        if "://" in place or not place or (page.parent / place).exists():
            return link[0]
        return "" if link[1] else link[2]

    text = page.read_text(encoding="utf-8").replace(f"[한국어](ko/{page.name})\n\n", "")
    text = re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", kept, text)
    return re.sub(r"configs/\w+\.json", "config.json", text)


def config_of(name: str, task: dict[str, Any], data: Path | None) -> dict[str, Any]:
    """A modest config; drawn shapes are learned from scratch within a minute."""
    small = {"model_name": "resnet10t", "pretrained": False}
    pretrained = {"model_name": "tf_efficientnet_lite0", "pretrained": True}
    size, epochs = (160, 10) if data else (48, 25)
    loader = {"stage": "train", "input_size": size, "batch_size": 32, "num_workers": "auto"}
    return {
        "name": name,
        "n_gpu": 1,
        "data_dir": data.resolve().as_posix() if data else "data/shapes",
        "task": task,
        "arch": {"type": "TimmModelMulti", "args": pretrained if data else small},
        "tracer": {"weights": None},
        "data_loader": {"type": "setup", "args": loader},
        "optimizer": {"type": "AdamW", "args": {"lr": 0.001, "weight_decay": 0.05}},
        "trainer": {"epochs": epochs},
    }


def demo_of(name: str, data: Path | None) -> dict[str, str]:
    """The variables at the top of the Makefile."""
    return {
        "NAME": name,
        "DEMO_DATA": "" if data else "data/shapes",  # `make clean` removes it
        "DEMO_DRAW": "-m tools.shapes --out $(DEMO_DATA)",
        "DEMO_DRAWN": "config.json" if data else "data/shapes/eval.csv",
        "DEMO_CONFIG": "config.json",
        "DEMO_TEST": "" if data else "--answers data/shapes/eval.csv",
    }


README = """# {name}

```
python train.py --config config.json                    # writes saved/models/{name}/<run_id>/
python test.py --resume saved/models/{name}/<run_id>/best_epoch.pth{images}
streamlit run app.py -- --resume saved/models/{name}/<run_id>/best_epoch.pth
```

`make setup` makes the environment, `make demo` trains{tests}, `make test` checks the code. What
is asked of a photo stands in `config.json` under `task`; docs/config.md explains every key. Where
a page in docs/ speaks of people, masks and ages, read the groups (`task.data.group`) and heads of
this task.
"""

if __name__ == "__main__":
    run_command(main)
