"""Does the label audit find errors that are known to be there?

    python -m benchmarks.audit

Gives 2 % of the generated people a wrong gender, 2 % a wrong age and 2 % of the photos a wrong
mask label (by a table of corrections; the photos stay as they are), trains folds with a quick
recipe, and looks how many of the errors are among as many of the most suspicious labels, and among
those that cleanlab takes for errors. A call that is cut off is continued by the next one.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import FACES, PEOPLE, ROOT, machine, options, sample_people, table
from data_loader.dataset import PhotoIndex, read_index
from tools.audit.proposals import find_run
from tools.audit.suspects import find_suspects, read_answers
from utils.cli import run_command

HEADER = ("head", "labels", "planted", "precision = recall at the planted count", "flagged",
          "precision of the flagged", "recall of the flagged")  # fmt: skip


def main() -> None:
    """Plant, train, find."""
    args = options(__doc__, persons=300, share=0.02, folds=3, epochs=8, size=64, seed=0)
    data = sample_people(args.persons).resolve()
    index = read_index(data, FACES.settings)
    # Named by what was planted, so that another call finds its own folds again.
    home = (PEOPLE / f"audit-{args.persons}-{args.share}-{args.seed}").resolve()
    planted = plant(index, args.share, np.random.default_rng(args.seed))
    home.mkdir(parents=True, exist_ok=True)
    with open(home / "planted.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("key", "field", "value", "tier"))
        for field, values in planted.items():
            writer.writerows((key, field, value, "sure") for key, value in values.items())
    train(home, data, args)
    found, _ = find_run(home / "saved" / "models" / "sample" / "audit")
    answers = read_answers(found, FACES)
    rows = []
    for name, head in FACES.heads.items():
        suspects, number = find_suspects(answers, head), len(planted[name])
        keys = [_key(answers, each, name) for each in suspects.rows]
        wrong = np.isin(keys, list(planted[name]))
        # At the planted count precision and recall are the same number.
        first, flagged = wrong[:number].sum(), wrong[: suspects.flagged].sum()
        shares = (flagged / max(suspects.flagged, 1), flagged / number)
        rows.append((name, len(keys), number, f"{first / number:.2f}", suspects.flagged,
                     *(f"{share:.2f}" for share in shares)))  # fmt: skip
    print(machine(torch.device("cpu")))
    print(table(HEADER, rows))


def plant(index: PhotoIndex, share: float, draw: np.random.Generator) -> dict[str, dict[str, str]]:
    """Choose wrong labels: head → key of a table of corrections → the wrong value."""
    people, first = np.unique(index.group, return_index=True)
    ids, ages = index.groups[people], index.values["age"].astype(int)
    genders, masks = FACES.heads["gender"].classes, FACES.heads["mask"].classes
    bins = FACES.heads["age"].class_of(ages)
    number = max(1, round(share * len(people)))
    # Different people, so that each error is found or missed alone.
    swapped, aged = draw.permutation(len(people))[: 2 * number].reshape(2, number)
    gender = {str(ids[p]): genders[1 - int(index.values["gender"][first[p]])] for p in swapped}
    # An age of another bin, by how often ages occur: a year more would be no error to a model.
    age = {str(ids[p]): str(draw.choice(ages[bins != bins[first[p]]])) for p in aged}
    mask = {}
    for row in draw.permutation(len(index))[: max(1, round(share * len(index)))]:
        # A photo's key: a person's own would change the masks of all seven.
        key = f"{index.groups[index.group[row]]}/{Path(str(index.files[row])).stem}"
        other = int(index.values["mask"][row]) + draw.integers(1, len(masks))
        mask[key] = masks[other % len(masks)]
    return {"mask": mask, "gender": gender, "age": age}


def train(home: Path, data: Path, args: argparse.Namespace) -> None:
    """Train the folds that are left, with the wrong labels."""
    settings = (
        f"data_dir={data}", f"trainer.save_dir={home / 'saved'}", "trainer.verbosity=1",
        f"tracer.cache_dir={home / 'crops'}", f"data_loader.args.input_size={args.size}",
        f"trainer.epochs={args.epochs}", f"validation.folds={args.folds}",
        f'label_corrections={{"path": "{home / "planted.csv"}", "tiers": ["sure"]}}',
    )  # fmt: skip
    command = [sys.executable, str(ROOT / "train.py"), "-c", str(ROOT / "configs" / "sample.json")]
    command += ["--folds", "all", "--run-id", "audit", "--resume", "auto", "--set", *settings]
    subprocess.run(command, check=True)


def _key(answers, rows, head: str) -> str:
    person, photo = (str(answers.photos[name][rows[0]]) for name in ("group", "photo"))
    return f"{person}/{Path(photo).stem}" if head == "mask" else person


if __name__ == "__main__":
    run_command(main)
