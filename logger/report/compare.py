"""Several runs on one page: what differs in what they were told, and what came of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from logger.pictures import SHOWN_CLASSES
from logger.report import scores
from logger.report.charts import Chart, line_chart
from logger.report.page import TEMPLATES, duration, epochs_of, flat, intervals_of, span_text
from logger.report.predictions import (
    HeadPredictions,
    JointPredictions,
    NumberPredictions,
    TaskPredictions,
)
from logger.report.run import Run
from utils.pages import render

CURVES = {
    "Macro-F1, validation": ("val/f1", False),
    "Accuracy, validation": ("val/accuracy", True),
    "Loss, validation": ("val/loss", False),
    "Loss, training": ("train/loss", False),
    "Macro-F1, training": ("train/f1", False),
    "Learning rate": ("lr", False),
}


@dataclass(frozen=True)
class Gain:
    """How a run does against another on the photos that both were validated on.

    Attributes:
        photos: how many.
        groups: of how many, in words, such as "20 people"; empty where that is not known.
        plural: what to call several.
        only_before, only_after: photos that one of them alone gets right; of a number, those where
            it is nearer.
        before, after: the main score of each.
        interval: 95 % of the difference, groups drawn; ``None`` where that can't be said.
        measure: what the main score is called.
    """

    photos: int
    groups: str
    plural: str
    only_before: int
    only_after: int
    before: float
    after: float
    interval: tuple[float, float] | None
    measure: str

    @property
    def sign(self) -> int:
        """1 where the later run is better by more than chance would make it, -1 worse, else 0."""
        low, high = self.interval or (0.0, 0.0)
        # Only an interval that leaves 0 out decides.
        sign = int(low > 0) - int(high < 0)
        return -sign if self.measure == NumberPredictions.measure else sign


def comparison_html(runs: Sequence[Run]) -> str:
    """Runs beside each other, the first as what the others are compared with."""
    named = dict(zip(_labels(runs), runs, strict=True))
    return render(
        TEMPLATES / "compare.html",
        labels=list(named),
        headline=_headline(named),
        remarks=_remarks(named),
        scores=_scores(runs),
        curves=_curves(named),
        differences=config_differences(runs),
        classes=_classes(runs),
    )


def config_differences(runs: Sequence[Run]) -> list[tuple[str, list[str | None]]]:
    """The config keys that are not the same in all runs; ``None`` where a run has no such key."""
    configs = [flat(run.config) for run in runs]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    rows = [(key, [config.get(key) for config in configs]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _labels(runs: Sequence[Run]) -> list[str]:
    """Run ids; with the name before where the names differ, numbered where that is not enough."""
    several = len({run.name for run in runs}) > 1
    labels = [f"{run.name} / {run.run_id}" if several else run.run_id for run in runs]
    if len(set(labels)) < len(labels):
        labels = [f"{label} ({number})" for number, label in enumerate(labels, 1)]
    return labels


def _headline(named: Mapping[str, Run]) -> str:
    measure = _measure(named.values())
    of_number = measure == NumberPredictions.measure
    found = {label: s for label, run in named.items() if (s := main_score_of(run)) is not None}
    if len(found) < 2:
        return "There is too little validation to say which run is better."
    best, second = sorted(found, key=found.__getitem__, reverse=not of_number)[:2]
    gain = gain_of(named[second].predictions, named[best].predictions)
    if gain is None or gain.sign < 1:
        ranked = f"{found[best]:.3f} for “{best}”, {found[second]:.3f} for “{second}”"
        return f"No clear winner: {measure} {ranked}."
    gap = gain.after - gain.before
    if of_number:
        # Relative, as a number's error has a unit, and macro-F1 is always out of 1.
        gap = -gap / max(gain.before, 1e-9)
    against = f"{measure} {gain.after:.3f} against {gain.before:.3f}."
    if len(named) > 2:
        return f"“{best}” is the best, “{second}” comes second: {against}"
    word = "a little better" if gap < 0.01 else "better" if gap < 0.05 else "much better"
    return f"“{best}” is {word} than “{second}”: {against}"


def _remarks(named: Mapping[str, Run]) -> list[str]:
    """On which photos each run is compared with the first, and what chance may have done."""
    (first, before), *others = named.items()
    said = []
    for label, run in others:
        if before.predictions is None or run.predictions is None:
            continue
        gain = gain_of(before.predictions, run.predictions)
        if gain is None:
            said.append(
                f"“{label}” was evaluated on other photos than “{first}”: which of them is better"
                " can't be said."
            )
            continue
        both = f"Of {gain.photos:,} photos"
        right = "nearer" if gain.measure == NumberPredictions.measure else "right"
        if gain.photos < max(len(before.predictions), len(run.predictions)):
            both = f"Of the {gain.photos:,} photos that both predicted"
        said.append(
            f"{both}, {gain.only_after:,} are {right} with “{label}” only and"
            f" {gain.only_before:,} with “{first}” only. {_chance(gain)}"
        )
    return said


def _chance(gain: Gain) -> str:
    if gain.interval is None:
        few = f"fewer than {scores.FEWEST_GROUPS} {gain.plural}"
        reason = few if gain.groups else "it isn't known who they show"
        return f"Whether that is chance can't be said: {reason}."
    low, high = gain.interval
    outcome = "more than chance would give" if gain.sign else "which may be chance"
    return (
        f"The {gain.measure} changes by {gain.after - gain.before:+.3f}, {outcome} (95% interval"
        f" {low:+.3f} to {high:+.3f}: with others of the kind of these {gain.groups})."
    )


def gain_of(before: TaskPredictions | None, after: TaskPredictions | None) -> Gain | None:
    """How one does against another; ``None`` where no photo was predicted by both, with the
    same classes and labels."""
    if before is None or after is None or before.whole.names != after.whole.names:
        return None
    # By file name: runs with other splits have only some photos in common.
    _, *rows = np.intersect1d(before.files, after.files, return_indices=True)
    first, other = before.whole.at(rows[0]), after.whole.at(rows[1])
    # A label may have been corrected between the runs; such a photo proves nothing.
    same = _same_truth(first, other)
    if not same.any():
        return None
    rows, first, other = [each[same] for each in rows], first.at(same), other.at(same)
    groups = None if before.groups is None else before.groups[rows[0]]
    # (N,) how wrong each is; of classes 0 or 1.
    off = [q.errors if isinstance(q, NumberPredictions) else q.wrong * 1 for q in (first, other)]
    return Gain(
        photos=len(rows[0]),
        groups="" if groups is None else before.count(groups),
        plural=before.plural,
        only_before=int((off[0] < off[1]).sum()),
        only_after=int((off[1] < off[0]).sum()),
        before=scores.main_score(first),
        after=scores.main_score(other),
        interval=None if groups is None else scores.main_score_gain(first, other, groups),
        measure=first.measure,
    )


def _same_truth(before: HeadPredictions, after: HeadPredictions) -> np.ndarray:
    """(N,) bool, of the photos whose labels are known and alike."""
    if isinstance(before, JointPredictions):
        parts = zip(before.parts, after.parts, strict=True)
        return np.all([_same_truth(*pair) for pair in parts], axis=0)
    same = before.truth == after.truth
    return same.all(axis=1) if same.ndim > 1 else same


def _measure(runs: Iterable[Run]) -> str:
    wholes = (run.scored.whole for run in runs if run.scored)
    return next(wholes, HeadPredictions).measure


def main_score_of(run: Run) -> float | None:
    """Of the best epoch: by its answers, else as its log says; ``None`` before there is one."""
    return scores.main_score(run.scored.whole) if run.scored else run.best.get("val/f1")


def _scores(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row per measure: its values, as text, how they compare with the first, the best of them."""
    measure, wholes = _measure(runs), [run.scored.whole if run.scored else None for run in runs]
    spans = [intervals_of(run.scored) if run.scored else {} for run in runs]
    # JointPredictions are made anew at each asking, so that intervals are found by key.
    of_wholes = [q and span.get(q.key) for q, span in zip(wholes, spans, strict=True)]
    better = "low" if measure == NumberPredictions.measure else "high"
    rows = [_row(measure, [main_score_of(run) for run in runs], better=better)]
    rows[0]["spans"] = [span and span_text(span.score) for span in of_wholes]
    if any(isinstance(q, JointPredictions) for q in wholes):
        values = [scores.accuracy(q) if q else None for q in wholes]
        rows.append(_row("accuracy, all right at once", values, "percent"))
        rows[-1]["spans"] = [span and span_text(span.accuracy, ".0%") for span in of_wholes]
    first = next((q for q in wholes if q), None)
    for key, head in {q.key: q for run in runs if run.scored for q in run.scored.heads}.items():
        heads, found = [_of_head(run, key) for run in runs], [span.get(key) for span in spans]
        if head.kind == "number":
            values = [q and scores.main_score(q) for q in heads]
            rows.append(_row(f"{head.title}, mean error", values, better="low"))
            rows[-1]["spans"] = [span and span_text(span.score) for span in found]
        else:
            of = "all right at once" if first and key == first.key else ""
            title = f"accuracy, {of}" if of else f"{head.title}, accuracy"
            rows.append(_row(title, [q and scores.accuracy(q) for q in heads], "percent"))
            rows[-1]["spans"] = [span and span_text(span.accuracy, ".0%") for span in found]
    errors = [
        scores.calibration(q).error if q and q.kind in ("classes", "tags") else None for q in wholes
    ]
    # The median: the first epoch pays for compiling, and for filling caches.
    medians = [float(np.median(run.speeds)) if run.speeds else None for run in runs]
    rows += [
        _row("calibration error (ECE)", errors, "percent", "low"),
        _row("validation loss", [run.best.get("val/loss") for run in runs], better="low"),
        _row("best epoch", [run.best_epoch for run in runs], "count", None),
        _row("epochs", [len(run.history) or None for run in runs], "count", None),
        _row("training time", [run.seconds or None for run in runs], "time", None),
        _row("images a second", medians, "count", None),
    ]
    return [row for row in rows if any(value is not None for value in row["values"])]


STYLES = {
    "number": lambda value: f"{value:.3f}",
    "percent": lambda value: f"{value:.1%}",
    "count": lambda value: f"{value:,.0f}",
    "time": duration,
}


def _row(
    title: str, values: Sequence[float | None], style: str = "number", better: str | None = "high"
) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    best = None
    if better and len(set(known)) > 1:
        best = max(known) if better == "high" else min(known)
    signed, first = {"number": "{:+.3f}", "percent": "{:+.1%}"}.get(style), values[0]
    changes = [
        "" if value is None or first is None or not signed else signed.format(value - first)
        for value in values[1:]
    ]
    return {
        "title": title,
        "values": [None if value is None else STYLES[style](value) for value in values],
        "changes": ["", *changes],
        "spans": [],
        "best": [best is not None and value == best for value in values],
    }


def _curves(named: Mapping[str, Run]) -> list[Chart]:
    at, charts = {label: run.best_epoch for label, run in named.items()}, []
    for title, (name, percent) in CURVES.items():
        series = {label: epochs_of(run.history, name) for label, run in named.items()}
        charts.append(line_chart(title, series, percent=percent, at=at))
    return [chart for chart in charts if chart is not None]


def _of_head(run: Run, key: str) -> Any:
    heads = run.predictions.heads if run.predictions is not None else ()
    return next((head for head in heads if head.key == key), None)


def _classes(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """For each head that all runs have: F1 of every class, and the change of it."""
    tables = []
    for head in runs[0].predictions.heads if runs[0].predictions is not None else ():
        others = [_of_head(run, head.key) for run in runs]
        alike = all(other is not None and other.names == head.names for other in others)
        if not alike or head.kind == "number":
            continue
        columns = [scores.class_scores(other) for other in others]
        rows: list[dict[str, Any]] = [
            {
                "name": name,
                "support": columns[0][code].support,
                "f1": [column[code].f1 for column in columns],
                "changes": [_change(columns[0][code].f1, col[code].f1) for col in columns[1:]],
            }
            for code, name in enumerate(head.names)
        ]
        title = head.title
        if len(rows) > SHOWN_CLASSES:
            # None: a class that one of them never saw or said has no F1.
            rows = sorted(rows, key=lambda row: -max(abs(change or 0) for change in row["changes"]))
            rows, title = rows[:SHOWN_CLASSES], f"{title}: the {SHOWN_CLASSES} that changed most"
        tables.append({"title": title, "rows": rows})
    return tables


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before
