"""What does each change of the recipe give on faces? From the original's recipe, one at a time.

    python -m benchmarks.accuracy --data-dir DATA --backbone LITE0.safetensors --people 640
    python -m benchmarks.accuracy … --rungs "the original's recipe" "+ head crop" --seeds 3

Each rung keeps the changes of those above it. The choice is made on validation people; the people
of ``DATA/eval`` (with ``--answers``) are looked at once a rung. A rung that is finished is not
trained again, so the command goes on where it was stopped.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.common import machine, table
from utils.config_files import read_json5

ROOT = Path(__file__).resolve().parents[1]
SAME = {
    "arch.args.pretrained": False,
    "data_loader.args.input_size": 128,
    "data_loader.args.num_workers": 2,
    "trainer.early_stop": 0,
    "trainer.verbosity": 1,
    "trainer.report": False,
    "explain": False,
    "wandb": False,
    "validation.fraction": 0.375,
}
"""What all rungs share, so that they differ in the recipe alone."""
RUNGS = {
    "the original's recipe": {"validation.type": "image_level"},
    "+ validation on other people": {"validation.type": "holdout", "trainer.monitor": "max val/f1"},
    "+ AdamW, one cycle to 1e-3, average of the weights": {
        "optimizer": {"type": "AdamW", "args": {"lr": 1e-3, "weight_decay": 0.05}},
        "lr_scheduler": {
            "type": "OneCycleLR",
            "args": {"max_lr": 1e-3, "total_steps": "all", "pct_start": 0.2},
            "every": "step",
        },
        "data_loader.args.batch_size": 32,
        "trainer.ema_decay": 0.998,
    },
    "+ label smoothing, classes by prior instead of weights": {
        "loss_name": [["label_smoothing", None, share] for share in (0.5, 1.0, 1.5)],
        "decoding": {"prior_strength": 0.5},
    },
    "+ person crop": {"tracer": {"weights": "sample"}},
    "+ head crop": {"tracer": {"weights": "sample", "region": "head", "background": "keep"}},
    "+ soft ages (4 years)": {
        "labels": {"age_spread": 4.0},
        "loss_name": [
            ["label_smoothing", None, 0.5],
            ["label_smoothing", None, 1.0],
            ["ce_loss", None, 1.5],
        ],
    },
    "+ mirror image averaged": {"tta": {"flip": True, "validation": True}},
    "+ lower blocks frozen": {"trainer.freeze": ["conv_stem", "bn1", "blocks.0", "blocks.1"]},
    "+ turned, moved and scaled more": {
        "augmentation": {"rotate": 8.0, "scale": 0.12, "affine": 0.7}
    },
    "+ dropout 0.3, drop path 0.1": {"arch.args.dropout": 0.3, "arch.args.drop_path": 0.1},
    "+ half faces and mixup": {"mixing": {"half_face": 0.15, "mixup": 0.15, "same_mask": True}},
    "+ learning rates by layer (0.9)": {"optimizer.layer_decay": 0.9},
}


def main() -> None:
    """Train and score every rung that is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--answers", type=Path, help="default: <data-dir>/eval_answers.csv")
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--backbone", type=Path, required=True, help="its ImageNet weights")
    parser.add_argument("--people", type=int, help="first people of the list only; default: all")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rungs", nargs="+", choices=RUNGS, metavar="RUNG", help="default: all")
    parser.add_argument("--out", type=Path, default=Path("saved/accuracy"), help="runs, and a CSV")
    parser.add_argument("--cache-dir", type=Path, help="of the crops; default: in --out")
    args = parser.parse_args()
    args.answers = args.answers or args.data_dir / "eval_answers.csv"
    print(machine(torch.device("cpu")), flush=True)
    data = some_people(args.data_dir, args.out / "data", args.people)
    before, rows = read(args.out / "accuracy.csv"), []
    for name, settings in cumulated().items():
        if args.rungs and name not in args.rungs:
            continue
        for seed in range(args.seeds):
            row = before.get((name, str(seed)))
            if row is None:
                row = {"rung": name, "seed": seed, **measure(args, data, name, settings, seed)}
            rows.append(row)
            write(args.out / "accuracy.csv", rows)
            print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    print("\n" + table(tuple(rows[0]), [tuple(map(str, row.values())) for row in rows]))


def cumulated() -> dict[str, dict]:
    """Rung → every setting of it, those of the rungs above included."""
    settings, rungs = {}, {}
    for name, changes in RUNGS.items():
        settings = settings | changes
        rungs[name] = settings
    return rungs


def measure(args: argparse.Namespace, data: Path, name: str, settings: dict, seed: int) -> dict:
    """Train a rung unless it is trained, score it, and return the figures."""
    run_id = f"{list(RUNGS).index(name):02d}-{seed}"
    folder = args.out / "log" / "Mask_Base" / run_id
    config = {
        **SAME,
        **settings,
        "seed": seed,
        "data_dir": str(data),
        "arch.args.model_name": args.model,
        "arch.args.checkpoint_path": str(args.backbone.resolve()),
        "trainer.epochs": args.epochs,
        "trainer.save_dir": str(args.out),
        "tracer.cache_dir": str(args.cache_dir or args.out / "crops"),
    }
    if "tracer" not in settings:
        config["tracer.weights"] = None
    recipe = args.out / f"{run_id}.json"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(json.dumps(nested(config), indent=2))
    began = time.perf_counter()
    if not (folder / "finished.json").exists():
        call("train.py", "-c", recipe, "--run-id", run_id, "--resume", "auto")
    minutes = (time.perf_counter() - began) / 60
    best = json.loads((folder / "finished.json").read_text())["best"]
    out = args.out / f"{run_id}.csv"
    checkpoint = args.out / "models" / "Mask_Base" / run_id / "best_epoch.pth"
    if not out.with_suffix(".metrics.json").exists():
        eval_dir = args.data_dir.resolve() / "eval"
        call(
            "test.py", "--resume", checkpoint, "--answers", args.answers, "--out", out,
            "--set", f"info_dir={eval_dir}",
        )  # fmt: skip
    scores = json.loads(out.with_suffix(".metrics.json").read_text())
    return {
        "validation F1": round(best["val/f1"], 4),
        "F1": round(scores["macro_f1"], 4),
        "accuracy": round(scores["accuracy"], 4),
        **{head: round(scores[f"{head}_accuracy"], 4) for head in ("mask", "gender", "age")},
        "minutes": round(minutes, 1),
    }


def nested(settings: dict) -> dict:
    """The seed's config with dotted paths put into their places, the later ones last."""
    config = read_json5(ROOT / "configs/seed.json")
    config["submit_dir"], config["info_dir"] = "submit", None
    for path, value in settings.items():
        *parents, key = path.split(".")
        place = config
        for parent in parents:
            place = place.setdefault(parent, {})
        merge = isinstance(value, dict) and isinstance(place.get(key), dict)
        place[key] = place[key] | value if merge and key not in REPLACED else value
    return config


REPLACED = ("optimizer", "lr_scheduler")


def call(script: str, *arguments: object) -> None:
    """Run one of the project's commands; its output goes on as it is."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    subprocess.run(command, check=True, env=environment)


def some_people(data: Path, out: Path, number: int | None) -> Path:
    """A data folder of the first ``number`` people of the list, as links."""
    if number is None:
        return data
    out = out / str(number)
    (out / "train" / "images").mkdir(parents=True, exist_ok=True)
    with open(data / "train" / "train.csv", newline="") as file:
        header, *rows = list(csv.reader(file))
    with open(out / "train" / "train.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *rows[:number]])
    for row in rows[:number]:
        name = row[header.index("path")]
        link = out / "train" / "images" / name
        if not link.exists():
            link.symlink_to((data / "train" / "images" / name).resolve())
    return out


def read(path: Path) -> dict[tuple[str, str], dict]:
    """The figures of an earlier call, by rung and seed."""
    if not path.exists():
        return {}
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["rung"], row["seed"]): row for row in rows}


def write(path: Path, rows: list[dict]) -> None:
    """The figures so far as CSV."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
