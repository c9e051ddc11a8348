"""Average the weights of several checkpoints into one.

    python -m tools.soup saved/models/NAME/RUN-fold*/best_epoch.pth --out soup.pth

A "model soup" (Wortsman et al., ICML 2022): as cheap as one model, and often better than its
members where all of them started from the same weights, those of the heads included: folds, and
trainings of one `seed` that differ in other settings. Members of several seeds, or trained from
scratch, do not fit together. Statistics of batch norms are averaged like the weights. Compare the
soup with its members on the same photos before you rely on it:

    python test.py --resume soup.pth --answers answers.csv
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.cli import command_line, run_command
from utils.errors import CheckpointError

MEMBERS = "soup"
"""Key of a soup's checkpoint that lists the files it was made from."""
HEADS = "classifiers."
"""What the names of heads' weights begin with."""
ALIKE = 0.5
"""Cosine of heads that were drawn by the same seed, at least."""


def soup(states: Mapping[str, Mapping[str, Any]], about: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint whose weights are the mean of those given.

    Args:
        states: name of a file → what ``load_checkpoint`` read from it.
        about: what the first says of its model, see ``metadata_of``.

    Returns:
        A state for ``save_checkpoint``: the weights, and what the first says of its model, but the
        mean of the class counts, if all have them; the run id ends in ``-soup``.

    Raises:
        CheckpointError: weights of different architectures, or that are NaN or Inf.
    """
    names, members = list(states), [state["state_dict"] for state in states.values()]
    for name, weights in zip(names, members, strict=True):
        _require_same_shapes(names[0], members[0], name, weights)
    # Counters of batch norms are whole numbers; the first one's will do.
    averaged = dict(members[0])
    for key, value in averaged.items():
        if value.is_floating_point():
            # double: sums of many float16 or float32 weights would round at each step.
            total = sum(weights[key].double() for weights in members)
            averaged[key] = (total / len(members)).to(value.dtype)
    own = ("class_counts", "familiarity")  # of the first one's weights; the soup has others
    about = {key: value for key, value in about.items() if key not in own}
    counts = [state["class_counts"] for state in states.values() if "class_counts" in state]
    # Logit adjustment needs the class prior of what the soup was trained on: all folds, which are
    # trained on different people.
    if len(counts) == len(states):
        about["class_counts"] = {
            head: [sum(column) / len(names) for column in zip(*of_members, strict=True)]
            for head in counts[0]
            if (of_members := [each[head] for each in counts])
        }
    if "run_id" in about:
        about["run_id"] += "-soup"
    return {**about, "state_dict": averaged, MEMBERS: names}


def unlike_heads(states: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Of the members whose heads hardly point where the first one's do, which were drawn by another
    seed, the cosine between both.

    Heads drawn alike have 0.8 to 0.95 after training, others 0.1 to 0.2, and then a soup is far
    worse than its members (docs/accuracy.md).
    """
    heads = {
        name: [value for key, value in state["state_dict"].items() if key.startswith(HEADS)]
        for name, state in states.items()
    }
    first = next(iter(heads.values()))
    cosines = {name: _cosine(first, values) for name, values in heads.items()}
    return {name: cosine for name, cosine in cosines.items() if cosine < ALIKE}


def _cosine(a: Sequence[Any], b: Sequence[Any]) -> float:
    def product(a: Sequence[Any], b: Sequence[Any]) -> float:
        return float(sum((x.double() * y.double()).sum() for x, y in zip(a, b, strict=True)))

    lengths = (product(a, a) * product(b, b)) ** 0.5
    return product(a, b) / lengths if lengths else 1.0


def _require_same_shapes(
    first_name: str, first: Mapping[str, Any], name: str, weights: Mapping[str, Any]
) -> None:
    for key in {**first, **weights}:
        if key not in first or key not in weights or first[key].shape != weights[key].shape:
            raise CheckpointError(
                f"{name}: its weights can't be averaged with those of {first_name}: {key} differs;"
                " take checkpoints of the same arch"
            )
        if not weights[key].isfinite().all():
            raise CheckpointError(f"{name}: {key} has values that are NaN or Inf; leave it out")


def main(argv: Sequence[str] | None = None) -> None:
    parser = command_line(__doc__)
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .pth to write")
    args = parser.parse_args(argv)
    from base import checkpoint  # torch, which --help spares

    states = {name: checkpoint.load_checkpoint(name) for name in args.checkpoints}
    about = checkpoint.metadata_of(states[args.checkpoints[0]])
    checkpoint.save_checkpoint(args.out, soup(states, about))
    if apart := [f"{name} ({cosine:.2f})" for name, cosine in unlike_heads(states).items()]:
        print(
            f"warning: the heads of {', '.join(apart)} are nothing like those of"
            f" {args.checkpoints[0]}, as another seed draws them; such a soup is worse than its"
            " members: train them with one seed, or give them all to test.py --resume"
        )
    print(f"the mean of {len(args.checkpoints)} checkpoints: {args.out}")


if __name__ == "__main__":
    run_command(main)
