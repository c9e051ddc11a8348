"""What does each change of the recipe give on faces? From the original's recipe, one at a time.

    python -m benchmarks.accuracy --data-dir DATA --backbone LITE0.safetensors
    python -m benchmarks.accuracy … --rungs "the original's recipe" "+ person crop" --seeds 3
    python -m benchmarks.accuracy --picture docs/images/accuracy.png

Each rung keeps the changes of those above it; the last is ``configs/lite0_128.json``, with the
backbone's weights from a file and TRACER's sample weights, which suit faces before drawn scenes.
The choice is made on validation people; the people of ``DATA/eval`` (with ``--answers``) are looked
at once a rung. A rung that is finished is not trained again, so the command goes on where it was
stopped, and two calls with different ``--rungs`` may share the work. ``--photos 3000`` shortens the
epochs, for a first look: drawn from all people, because few people mislead about regularization.
``--picture`` trains nothing and draws the first table of docs/accuracy.md.
"""

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmarks.common import ROOT, machine, table
from utils.cli import command_line, run_command

PAGE = ROOT / "docs/accuracy.md"
CHANCE = 0.014
"""Twice the standard deviation of five models of lite0_128.json on the same test people."""
SAME = {
    "info_dir": None,
    "submit_dir": "submit",
    "arch.args.pretrained": False,
    "data_loader.args.input_size": 128,
    "data_loader.args.num_workers": "auto",
    "trainer.early_stop": 0,
    "trainer.verbosity": 1,
    "trainer.report": False,
    "explain": False,
    "wandb": False,
}
"""What all rungs share, so that they differ in the recipe alone."""
RUNGS: dict[str, dict[str, Any]] = {
    "the original's recipe": {"validation": {"type": "image_level", "fraction": 0.2}},
    "+ validation on other people": {
        "validation": {"type": "stratified_group_kfold", "folds": 5, "fold": 0},
        "trainer.monitor": "max val/f1",
    },
    "+ AdamW, one cycle to 1e-3, average of the weights": {
        "optimizer": {"type": "AdamW", "args": {"lr": 1e-3, "weight_decay": 0.05}},
        "lr_scheduler": {
            "type": "OneCycleLR",
            "args": {"total_steps": "all", "pct_start": 0.2},
            "every": "step",
        },
        "data_loader.args.batch_size": 32,
        "trainer.ema_decay": 0.998,
    },
    "+ lower blocks frozen": {"trainer.freeze": ["conv_stem", "bn1", "blocks.0", "blocks.1"]},
    "+ label smoothing, a mild prior for class weights, mirror image": {
        "loss_name": [["label_smoothing", None, share] for share in (0.5, 1.0, 1.0)],
        "decoding.prior_strength": 0.2,
        "tta.flip": True,
        "tta.validation": True,
    },
    "+ person crop": {"tracer.weights": "sample"},
    "+ face crop instead": {"tracer.region": "face", "tracer.background": "keep"},
    "+ soft ages (7 years)": {"labels.age_spread": 7.0},
    "+ mixup and half faces": {
        "mixing.mixup": 0.3,
        "mixing.half_face": 0.3,
        "mixing.mixup_alpha": 0.5,
        "mixing.same_mask": True,
    },
    "+ dropout 0.4, drop path 0.1, turned and scaled more": {
        "arch.args.dropout": 0.4,
        "arch.args.drop_path": 0.1,
        "augmentation.rotate": 8.0,
        "augmentation.scale": 0.12,
        "augmentation.affine": 0.7,
    },
    "+ learning rates by layer (0.9)": {"optimizer.layer_decay": 0.9},
}
"""Name of a rung → dotted path of the config → value."""


def main() -> None:
    """Train and score every rung that is not there yet, and print the table."""
    parser = command_line(__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--answers", type=Path, help="default: <data-dir>/eval_answers.csv")
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--backbone", type=Path, help="its ImageNet weights")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--photos", type=int, help="of an epoch; default: all")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rungs", nargs="+", choices=RUNGS, metavar="RUNG", help="default: all")
    parser.add_argument("--out", type=Path, default=Path("saved/accuracy"), help="runs, and a CSV")
    parser.add_argument("--cache-dir", type=Path, help="of the crops; default: in --out")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="only draw the page's table")
    args = parser.parse_args()
    if args.picture:
        draw(PAGE.read_text(encoding="utf-8"), args.picture)
        return
    if not (args.data_dir and args.backbone):
        parser.error("--data-dir and --backbone are needed")
    for name in ("data_dir", "backbone", "out"):
        setattr(args, name, getattr(args, name).resolve())  # the commands run in ROOT
    args.answers = (args.answers or args.data_dir / "eval_answers.csv").resolve()
    args.cache_dir = (args.cache_dir or args.out / "crops").resolve()
    print(machine(torch.device("cpu")), flush=True)
    figures = args.out / "accuracy.csv"
    done = read(figures)
    for name, settings in cumulated().items():
        if args.rungs and name not in args.rungs:
            continue
        for seed in map(str, range(args.seeds)):
            run = (name, seed)
            if run not in done:
                row = {"rung": name, "seed": seed, **measure(args, name, settings, seed)}
                done = read(figures) | {run: row}  # another call may have added its own
                pd.DataFrame(list(done.values())).to_csv(figures, index=False)
            print("  ".join(f"{key} {value}" for key, value in done[run].items()), flush=True)
    rows = sorted(done.values(), key=lambda row: (list(RUNGS).index(row["rung"]), row["seed"]))
    print("\n" + table(rows[0], (row.values() for row in rows)))


def draw(page: str, out: Path) -> None:
    """The first table of a page as a picture: each recipe's macro-F1, from the worst way down.

    Args:
        page: Markdown; the table has columns "recipe", "validation F1" and "F1, test people", with
            a number first in each cell that has one.
        out: the picture.
    """
    lines = next(part for part in page.split("\n\n") if part.startswith("|")).splitlines()
    header, _, *recipes = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    columns = {name: header.index(name) for name in ("validation F1", "F1, test people")}
    figure = Figure(figsize=(9, 0.8 + 0.34 * len(recipes)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(recipes):
        test, validation = (
            float(found[0]) if (found := re.search(r"0\.\d+", row[columns[name]])) else None
            for name in ("F1, test people", "validation F1")
        )
        if validation is not None:
            axes.plot(validation, place, "o", color="tab:gray", fillstyle="none")
        if test is not None:
            axes.errorbar(test, place, xerr=CHANCE, fmt="o", color="tab:blue", capsize=3)
            beside = axes.get_yaxis_transform()  # x in shares of the width, y as plotted
            axes.text(1.01, place, f"{test:.3f}", va="center", transform=beside)
    names = [re.sub(r"[`*]", "", row[0]) for row in recipes]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first one on top
    axes.margins(x=0.1)
    axes.grid(axis="x", alpha=0.3)
    figure.supxlabel(
        "macro-F1 over 18 classes; filled: 500 test people, the bar two standard deviations of\n"
        "models of lite0_128.json; hollow: validation (in the first row, people it trained on)",
        fontsize=9,
    )
    figure.savefig(out)


def cumulated() -> dict[str, dict[str, Any]]:
    """Rung → every setting of it, those of the rungs above included."""
    # Each rung on all before it: a change alone would be measured without what it builds on.
    return dict(zip(RUNGS, itertools.accumulate(RUNGS.values(), dict.__or__), strict=True))


def measure(args: argparse.Namespace, name: str, settings: dict, seed: str) -> dict:
    """Train a rung unless it is trained, score it, and return the figures."""
    run_id = f"{list(RUNGS).index(name):02d}-{seed}"
    settings = {
        **SAME,
        **settings,
        "seed": int(seed),
        "data_dir": str(args.data_dir),
        "arch.args.model_name": args.model,
        "arch.args.checkpoint_path": str(args.backbone),
        "trainer.epochs": args.epochs,
        "trainer.save_dir": str(args.out),
    }
    if args.photos:
        batch = settings.get("data_loader.args.batch_size", 16)  # the original's
        # As photos and not as batches, so that rungs of several batch sizes see equally many.
        settings["trainer.limit_train_batches"] = max(1, args.photos // batch)
    # One cache for all rungs, since their crops are mostly the same.
    if "tracer.weights" in settings:
        settings["tracer.cache_dir"] = str(args.cache_dir)
    began = time.perf_counter()
    call(
        # --resume auto: a call that was stopped goes on with the epoch it was in.
        "train.py", "-c", "configs/seed.json", "--run-id", run_id, "--resume", "auto",
        "--set", *(f"{path}={json.dumps(value)}" for path, value in settings.items()),
    )  # fmt: skip
    minutes = (time.perf_counter() - began) / 60
    best = json.loads((args.out / f"log/Mask_Base/{run_id}/finished.json").read_text())["best"]
    out = args.out / f"{run_id}.csv"
    call(
        "test.py", "--resume", args.out / f"models/Mask_Base/{run_id}/best_epoch.pth",
        "--answers", args.answers, "--out", out, "--set", f"info_dir={args.data_dir / 'eval'}",
    )  # fmt: skip
    scores = json.loads(out.with_suffix(".metrics.json").read_text())
    return {
        "validation F1": round(best["val/f1"], 4),
        "F1": round(scores["macro_f1"], 4),
        "accuracy": round(scores["accuracy"], 4),
        **{head: round(scores[f"{head}_accuracy"], 4) for head in ("mask", "gender", "age")},
        "minutes": round(minutes, 1),
    }


def call(script: str, *arguments: object) -> None:
    """Run one of the project's commands in its folder; its output goes on as it is."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, script, *map(str, arguments)]
    subprocess.run(command, check=True, env=environment, cwd=ROOT)


def read(path: Path) -> dict[tuple[str, str], dict]:
    """The figures of an earlier call, by rung and seed."""
    rows = pd.read_csv(path, dtype=str).to_dict("records") if path.exists() else []
    return {(row["rung"], row["seed"]): row for row in rows}


if __name__ == "__main__":
    run_command(main)
