"""Several runs on one page: what differs in what they were told, and what came of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from logger.report_answers import Answers
from logger.report_charts import Chart, line_chart
from logger.report_page import duration, epochs_of, flat, render
from logger.report_run import Run
from logger.report_scores import accuracy, calibration, class_scores, macro_f1

CURVES = {
    "Macro-F1, validation": ("val/f1", False),
    "Accuracy, validation": ("val/accuracy", True),
    "Loss, validation": ("val/loss", False),
    "Loss, training": ("train/loss", False),
    "Macro-F1, training": ("train/f1", False),
    "Learning rate": ("lr", False),
}
CHANCE = 0.05
"""Below this probability a difference is not put down to chance."""


def comparison_html(runs: Sequence[Run]) -> str:
    """Runs beside each other, the first as what the others are compared with."""
    labels = _labels(runs)
    return render(
        "compare.html",
        labels=labels,
        runs=runs,
        headline=_headline(runs, labels),
        remarks=_remarks(runs, labels),
        scores=_scores(runs),
        curves=_curves(runs, labels),
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


def _headline(runs: Sequence[Run], labels: Sequence[str]) -> str:
    scores = [_macro_f1(run) for run in runs]
    known = [number for number, score in enumerate(scores) if score is not None]
    if len(known) < 2:
        return "There is too little validation to say which run is better."
    best, second = sorted(known, key=lambda number: -scores[number])[:2]
    winner, loser = f"“{labels[best]}”", f"“{labels[second]}”"
    gap = scores[best] - scores[second]
    tested = _mcnemar(runs[second].answers, runs[best].answers)
    if gap < 0.0005 or (tested is not None and tested[2] >= CHANCE):
        return (
            f"No clear winner: macro-F1 {scores[best]:.3f} for {winner}, {scores[second]:.3f} for"
            f" {loser}."
        )
    against = f"macro-F1 {scores[best]:.3f} against {scores[second]:.3f}."
    if len(runs) > 2:
        return f"{winner} is the best, {loser} comes second: {against}"
    word = "a little better" if gap < 0.01 else "better" if gap < 0.05 else "much better"
    return f"{winner} is {word} than {loser}: {against}"


def _remarks(runs: Sequence[Run], labels: Sequence[str]) -> list[str]:
    """Whether the same photos were judged, and whether the difference may be chance."""
    said = []
    for run, label in zip(runs[1:], labels[1:], strict=True):
        if runs[0].answers is None or run.answers is None:
            continue
        tested = _mcnemar(runs[0].answers, run.answers)
        if tested is None:
            said.append(
                f"“{label}” was judged on other photos than “{labels[0]}”: part of the difference"
                " is theirs."
            )
            continue
        only_first, only_other, chance = tested
        outcome = "more than chance would give" if chance < CHANCE else "which may be chance"
        said.append(
            f"Of {len(run.answers):,} photos, {only_other:,} are right with “{label}” only and"
            f" {only_first:,} with “{labels[0]}” only, {outcome} (McNemar test, p = {chance:.2g};"
            " it takes the photos of one person for independent, which makes p too small)."
        )
    return said


def _mcnemar(first: Answers | None, other: Answers | None) -> tuple[int, int, float] | None:
    """Photos right with the first only, with the other only, and how likely so uneven a split is
    by chance (exact McNemar test); ``None`` where they did not judge the same photos."""
    if first is None or other is None or not _same_photos(first, other):
        return None
    only_first = int((~first.whole.wrong & other.whole.wrong).sum())
    only_other = int((first.whole.wrong & ~other.whole.wrong).sum())
    if not only_first + only_other:
        return 0, 0, 1.0
    return only_first, only_other, binomtest(only_other, only_first + only_other).pvalue


def _same_photos(first: Answers, second: Answers) -> bool:
    return (
        first.files == second.files
        and first.whole.names == second.whole.names
        and bool((first.whole.truth == second.whole.truth).all())
    )


def _macro_f1(run: Run) -> float | None:
    if run.answers is not None and len(run.answers):
        return macro_f1(run.answers.whole)
    return run.best.get("val/f1")


def _scores(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row a measure: its values, as text, how they compare with the first, the best of them."""
    rows = [_row("macro-F1", [_macro_f1(run) for run in runs])]
    answered = [run.answers for run in runs if run.answers is not None]
    keys = {q.key: q.title for answers in answered for q in answers.questions}
    for key, title in keys.items():
        questions = [_question(run, key) for run in runs]
        of = "accuracy, all right at once" if key == answered[0].whole.key else f"{title}, accuracy"
        values = [None if q is None else accuracy(q) for q in questions]
        rows.append(_row(of, values, style="percent"))
    errors = [run.answers and calibration(run.answers.whole).error for run in runs]
    rows.append(_row("calibration error (ECE)", errors, style="percent", better="low"))
    rows.append(_row("validation loss", [run.best.get("val/loss") for run in runs], better="low"))
    epochs = [run.best.get("epoch") for run in runs]
    rows.append(_row("best epoch", epochs, style="count", better=None))
    rows.append(_row("epochs", [len(run.history) or None for run in runs], "count", None))
    seconds = [sum(t.get("time/train_seconds", 0) for t in run.timings) or None for run in runs]
    rows.append(_row("training time", seconds, style="time", better=None))
    speeds = [[s for _, s in epochs_of(run.timings, "time/images_per_second")] for run in runs]
    medians = [float(np.median(speed)) if speed else None for speed in speeds]
    rows.append(_row("images a second", medians, style="count", better=None))
    return [row for row in rows if any(value is not None for value in row["values"])]


STYLES = {
    "number": lambda value: f"{value:.3f}",
    "percent": lambda value: f"{value:.1%}",
    "count": lambda value: f"{value:,.0f}",
    "time": duration,
}


def _row(
    title: str, values: list[float | None], style: str = "number", better: str | None = "high"
) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    best = None
    if better and len(set(known)) > 1:
        best = max(known) if better == "high" else min(known)
    signed = {"number": "{:+.3f}", "percent": "{:+.1%}"}.get(style)
    changes = [""] + [
        signed.format(value - values[0]) if signed and None not in (value, values[0]) else ""
        for value in values[1:]
    ]
    texts = [None if value is None else STYLES[style](value) for value in values]
    return {"title": title, "values": texts, "changes": changes,
            "best": [best is not None and value == best for value in values]}  # fmt: skip


def _curves(runs: Sequence[Run], labels: Sequence[str]) -> list[Chart]:
    charts = [
        line_chart(
            title,
            {label: epochs_of(run.history, name) for label, run in zip(labels, runs, strict=True)},
            percent=percent,
        )
        for title, (name, percent) in CURVES.items()
    ]
    return [chart for chart in charts if chart is not None]


def _question(run: Run, key: str) -> Any:
    questions = run.answers.questions if run.answers is not None else ()
    return next((question for question in questions if question.key == key), None)


def _classes(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """For each question that all runs answer alike: F1 of every class, and the change of it."""
    tables = []
    for question in runs[0].answers.questions if runs[0].answers is not None else ():
        others = [_question(run, question.key) for run in runs]
        if any(other is None or other.names != question.names for other in others):
            continue
        columns = [class_scores(other) for other in others]
        rows = [
            {
                "name": name,
                "support": columns[0][code].support,
                "f1": [column[code].f1 for column in columns],
                "changes": [_change(columns[0][code].f1, col[code].f1) for col in columns[1:]],
            }
            for code, name in enumerate(question.names)
        ]
        tables.append({"title": question.title, "rows": rows})
    return tables


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before
