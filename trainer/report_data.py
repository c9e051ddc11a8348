"""What a report must know of predictions and photos, put into arrays that need no label scheme."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from torch import Tensor

from data_loader.crops import WHOLE, Crops
from data_loader.labels import (
    AGE_BINS,
    AGE_EDGES,
    AGE_GROUP_EDGES,
    HEADS,
    NAMES,
    class_name,
    head_answers,
)
from logger.report_answers import Answers, Question, photos_to_show, thumbnail
from model.decode import head_probabilities

TITLES = {"mask": "mask", "gender": "gender", "age": "age group"}


@dataclass(frozen=True)
class Photographed:
    """What is known of N photos beside what a model says of them.

    Attributes:
        files: (N,) str.
        crops: of all photos.
        rows: (N,) which of the crops are theirs.
        cropped: whether the crops were cut out by TRACER.
        people: (N,) int, who is on them; ``None`` where that is not known.
        ages: (N,) int, years; ``None`` where they are not known.
        age_edges: where the bins of the age head begin, years.
    """

    files: np.ndarray
    crops: Crops
    rows: np.ndarray
    cropped: bool
    people: np.ndarray | None = None
    ages: np.ndarray | None = None
    age_edges: tuple[int, ...] = AGE_EDGES

    def subset(self, places: np.ndarray) -> "Photographed":
        """The photos at these places, (K,) int."""
        return Photographed(
            files=self.files[places],
            crops=self.crops,
            rows=self.rows[places],
            cropped=self.cropped,
            people=None if self.people is None else self.people[places],
            ages=None if self.ages is None else self.ages[places],
            age_edges=self.age_edges,
        )


def answers_for_report(
    photos: Photographed,
    class_probabilities: np.ndarray,
    classes: np.ndarray,
    of_heads: Mapping[str, np.ndarray] | None = None,
    targets: Mapping[str, Tensor] | None = None,
) -> Answers:
    """Join photos and predictions, and keep the crops of those that a report shows.

    Args:
        photos: N photos.
        class_probabilities: (N, 18).
        classes: (N,) true classes.
        of_heads, targets: probabilities (N, n) and true codes (N,) of the heads; the bins of the
            age head are a question of their own.
    """
    truth = head_answers(classes)
    marginals = head_probabilities(class_probabilities)
    names = {head: NAMES["en"]["age_group" if head == "age" else head] for head in HEADS}
    every_class = [class_name(cls) for cls in range(class_probabilities.shape[1])]
    questions = [
        Question(
            "class",
            f"{len(every_class)} classes",
            _typeset(every_class),
            class_probabilities,
            classes,
        )
    ]
    for head, title in TITLES.items():
        edges = tuple(AGE_GROUP_EDGES) if head == "age" else ()
        words = _typeset(names[head])
        questions.append(Question(head, title, words, marginals[head], truth[head], edges))
    questions += _age_bins(of_heads or {}, targets or {}, photos.age_edges)
    fallback = photos.crops.states[photos.rows] == WHOLE if photos.cropped else None
    answers = Answers(
        questions=tuple(questions),
        parts=len(TITLES),
        files=tuple(photos.files.tolist()),
        people=photos.people,
        ages=photos.ages,
        fallback=fallback,
    )
    shown = photos_to_show(answers)
    pictures = {row: thumbnail(photos.crops[photos.rows[row]]) for row in shown}
    return replace(answers, thumbnails=pictures)


def _age_bins(
    probabilities: Mapping[str, np.ndarray], targets: Mapping[str, Tensor], edges: Sequence[int]
) -> list[Question]:
    """The age head's own question, where there is such a head and its targets are bins."""
    bins, truth = probabilities.get("age"), targets.get("age")
    if bins is None or truth is None or bins.shape != (len(truth), len(edges) + 1):
        return []
    names = AGE_BINS if tuple(edges) == AGE_EDGES else _names_between(edges)
    question = Question("age_bin", "age bin", _typeset(names), bins, truth.numpy(), tuple(edges))
    return [question]


def _names_between(edges: Sequence[int]) -> list[str]:
    inner = [f"{low}-{high - 1}" for low, high in pairwise(edges)]
    return [f"<{edges[0]}", *inner, f">={edges[-1]}"]


def _typeset(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(re.sub(r"(\d)-(\d)", r"\1–\2", name.replace(">=", "≥")) for name in names)
