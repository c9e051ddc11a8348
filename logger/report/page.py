"""From a run to the page about it: what each section of report.html shows."""

import contextlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from logger.pictures import SHOWN_CLASSES, most_confused
from logger.report import charts, scores
from logger.report.charts import Chart
from logger.report.photos import explained, galleries
from logger.report.predictions import HeadPredictions, NumberPredictions, TaskPredictions
from logger.report.run import Run, read_json, section
from logger.report.scores import ClassScore, Intervals
from logger.report.verdict import verdict
from utils.config_files import leaves
from utils.pages import render
from utils.run_folder import DECODING, EXPLANATIONS

TEMPLATES = Path(__file__).with_name("templates")
PARTS_OF_TIME = {
    "data wait": "waiting for photos",
    "forward": "forward",
    "backward": "backward",
    "optimizer": "optimizer",
    "graph": "the step's CUDA graph",
}
CURVES = (
    ("Loss", "loss", False), ("Macro-F1", "f1", False),
    ("Accuracy, all right at once", "accuracy", True),
)  # fmt: skip
"""Title, the scalar's name, and whether to show percentages."""
CURVES_OF_HEADS = (
    ("Loss", "_loss", False), ("Accuracy", "_accuracy", True),
    ("Mean average precision", "_map", True), ("Mean error", "_mae", False),
)  # fmt: skip
"""The same, with the ending of the scalar's name."""


def report_html(run: Run) -> str:
    """The whole report of a run or a test, as one self-contained HTML page."""
    predictions = run.scored
    spans = intervals_of(predictions) if predictions else {}
    classes = classes_of(predictions)
    matrices = [q for q in classes if q.kind == "classes"]
    return render(
        TEMPLATES / "report.html",
        run=run,
        verdict=verdict(run),
        spans=spans,
        facts=_facts(run, spans),
        started=str(run.environment.get("started", ""))[:16].replace("T", " "),
        scores=_scores(predictions, spans) if predictions else [],
        right_of_100=_right_of_100(predictions) if predictions else None,
        curves=_learning_curves(run),
        matrices=[_matrix(q) for q in matrices],
        classes=[(*_classes(q), _f1_spans(q, spans)) for q in classes],
        reliability=_reliability(run, classes),
        numbers=_numbers(predictions) if predictions else [],
        borders=_borders(predictions) if predictions else [],
        galleries=galleries(predictions) if predictions else [],
        explained=explained(run.folder.log / EXPLANATIONS) if run.folder else [],
        time=_time(run.timings),
        commands=_commands(run),
        dirty=bool(section(run.environment, "git").get("dirty")),
        environment=flat(run.environment),
        config=flat(run.config),
    )


def classes_of(predictions: TaskPredictions | None) -> list[HeadPredictions]:
    """Those that answer with classes or tags."""
    return [q for q in predictions.heads if q.kind != "number"] if predictions else []


def flat(values: dict[str, Any]) -> dict[str, str]:
    """Nested JSON values as dotted path → text."""
    return {
        path: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for path, value in leaves(values).items()
    }


def epochs_of(history: Iterable[dict[str, float]], name: str) -> list[tuple[float, float]]:
    """(epoch, value) of a scalar, for the epochs that have it."""
    return [(log["epoch"], log[name]) for log in history if name in log]


def duration(seconds: float) -> str:
    """Seconds in words, such as ``"3 min 20 s"``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, left = whole // 60, whole % 60
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def _facts(run: Run, spans: Mapping[str, Intervals]) -> list[tuple[str, str, str]]:
    """Label, value and a remark, for the strip under the verdict."""
    facts = []
    if (predictions := run.scored) is not None:
        whole = predictions.whole
        guess = "always the median" if whole.kind == "number" else "the commonest answer alone"
        remark = f"{guess}: {scores.guessing(whole).score:.3f}"
        if span := spans.get(whole.key):
            remark = f"95% interval {span_text(span.score)}"
        facts.append((whole.measure, f"{scores.main_score(whole):.3f}", remark))
        groups = predictions.groups
        of = "" if groups is None else f"of {predictions.count(groups)}"
        facts.append(("evaluated on", f"{whole.known.sum():,} photos", of))
    if run.history:
        planned = section(run.config, "trainer").get("epochs")
        epoch = run.best_epoch or run.history[-1]["epoch"]
        remark, label = "", "best epoch" if run.best_epoch else "last epoch"
        if planned and len(run.history) < planned:
            # Early stop, or a run that was killed; the first is a result, the second isn't.
            remark = f"{'stopped early' if run.finished else 'not finished'}; {planned} planned"
        facts.append((label, f"{epoch} of {len(run.history)}", remark))
    if run.timings:
        speed = f"{np.median(run.speeds):,.0f} images/s" if run.speeds else ""
        facts.append(("training took", duration(run.seconds), speed))
    if backbone := section(run.config, "arch", "args").get("model_name"):
        size = section(run.config, "data_loader", "args").get("input_size")
        facts.append(("backbone", str(backbone), f"at {size} px" if size else ""))
    return facts


def intervals_of(predictions: TaskPredictions) -> dict[str, Intervals]:
    """Key of a head, and of the whole, → the intervals of its scores, where they can be said."""
    asked = (*predictions.heads, predictions.whole)
    found = {q.key: scores.intervals(q, predictions.groups) for q in asked}
    return {key: each for key, each in found.items() if each is not None}


def span_text(span: tuple[float, float], style: str = ".2f") -> str:
    """An interval, such as "0.71–0.83"; of percentages with one sign."""
    low, high = (format(end, style) for end in span)
    return f"{low.removesuffix('%')}–{high}"


def _scores(predictions: TaskPredictions, spans: Mapping[str, Intervals]) -> list[dict[str, Any]]:
    """The whole answer and its parts against always guessing the commonest."""
    whole, asked = predictions.whole, list(predictions.details)
    # With one head alone the whole is that head, and would be shown twice.
    if not any(head is whole for head in asked):
        asked.append(whole)
    tiles = []
    for head in asked:
        guess, score, span = scores.guessing(head), scores.main_score(head), spans.get(head.key)
        together = len(asked) > 1 and head is whole
        title = "all right at once" if together else head.title
        if head.kind == "number":
            # The tile's bar is a share of right answers; for a number it is the error saved over
            # guessing.
            share, guessed = max(0.0, 1 - score / guess.score) if guess.score else 0.0, 0.0
            value, spanned = f"±{score:.3g}", span_text(span.score, ".3g") if span else ""
            remark = f"mean error; always {guess.commonest}: ±{guess.score:.3g}"
        else:
            share, guessed = scores.accuracy(head), guess.accuracy
            value, spanned = f"{share:.1%}", span_text(span.accuracy, ".0%") if span else ""
            f1 = f"macro-F1 {score:.3f}" + (f" ({span_text(span.score)})" if span else "")
            remark = f"guessing: {guessed:.0%} · {f1}"
        tiles.append({"title": title, "value": value, "share": share, "guess": guessed,
                      "span": spanned, "remark": remark})  # fmt: skip
    return tiles


def _right_of_100(predictions: TaskPredictions) -> int | None:
    """Dots to fill of a hundred: all or none only where all or none is right; no dots for a
    number."""
    if predictions.whole.kind == "number":
        return None
    # 99.7 must not look like all, nor 0.2 like none.
    share = scores.accuracy(predictions.whole)
    return min(max(round(100 * share), int(share > 0)), 99 if share < 1 else 100)


def _reliability(run: Run, classes: Sequence[HeadPredictions]) -> list[Chart]:
    """A chart per head; beside its error the one with the temperature that was tuned, or of a test
    that had one the error without it."""
    decoding = read_json(run.folder.log / DECODING) if run.folder else {}
    before = {q.key: scores.calibration(q).error for q in classes_of(run.uncalibrated)}
    drawn = []
    for head in classes:
        chart = charts.reliability_chart(head.title, scores.calibration(head))
        tuned = section(decoding, "measured", "calibration", head.key).get("ece_after")
        said = [f"{tuned:.1%} with a temperature"] if isinstance(tuned, int | float) else []
        said += [f"{before[head.key]:.1%} without its temperature"] if head.key in before else []
        drawn.append(replace(chart, note=", ".join([chart.note, *said])))
    return drawn


def _learning_curves(run: Run) -> list[Chart]:
    if run.of_folds:
        return _curves_of_folds(run)
    mark = (run.best_epoch, "best") if run.best_epoch and len(run.history) > 1 else None
    drawn = []
    for title, name, percent in CURVES:
        both = {"training": f"train/{name}", "validation": f"val/{name}"}
        series = {label: epochs_of(run.history, each) for label, each in both.items()}
        drawn.append(charts.line_chart(title, series, mark, percent))
    names = list(dict.fromkeys(name for log in run.history for name in log))
    for title, ending, percent in CURVES_OF_HEADS:
        series = {
            name.removeprefix("val/").removesuffix(ending): epochs_of(run.history, name)
            for name in names
            if name.startswith("val/") and name.endswith(ending)
        }
        if len(series) > 1 or (series and ending in ("_map", "_mae")):
            title = f"{title} of each head, validation"
            drawn.append(charts.line_chart(title, series, mark, percent))
    drawn.append(charts.line_chart("Learning rate", {"": epochs_of(run.history, "lr")}, mark))
    return [chart for chart in drawn if chart is not None]


def _curves_of_folds(run: Run) -> list[Chart]:
    """Loss and macro-F1 of the validation, a line per fold."""
    at = {fold.run_id: fold.best_epoch for fold in run.folds}
    drawn = []
    for title, name in (("Loss, validation", "val/loss"), ("Macro-F1, validation", "val/f1")):
        series = {fold.run_id: epochs_of(fold.history, name) for fold in run.folds}
        drawn.append(charts.line_chart(title, series, at=at))
    return [chart for chart in drawn if chart is not None]


def _matrix(head: HeadPredictions) -> dict[str, Any]:
    """Of more than ``SHOWN_CLASSES`` classes the most confused ones: a page grows with C²."""
    table = scores.confusion(head)
    # (C, C), each row sums to 1; rows of classes that never occur stay 0.
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    codes = most_confused(table)
    cut = f": the {len(codes)} most confused" if len(codes) < len(table) else ""
    return {
        "title": head.title + cut,
        "codes": codes,
        "names": [head.names[code] for code in codes],
        "table": table[np.ix_(codes, codes)],
        "share": share[np.ix_(codes, codes)],
    }


def _classes(head: HeadPredictions) -> tuple[str, list[ClassScore]]:
    """A title and the scores of the classes; of more than ``SHOWN_CLASSES`` the weakest."""
    found = scores.class_scores(head)
    if len(found) <= SHOWN_CLASSES:
        return head.title, found
    scored = [score for score in found if score.f1 is not None]
    # Of equally weak ones the commonest first: more photos say more.
    weakest = sorted(scored, key=lambda score: (score.f1, -score.support))[:SHOWN_CLASSES]
    return f"{head.title}: the {len(weakest)} weakest", weakest


def _f1_spans(head: HeadPredictions, spans: Mapping[str, Intervals]) -> dict[int, str]:
    """Class → the interval of its F1, of those that have one."""
    f1 = spans[head.key].f1 if head.key in spans else []
    # NaN differs from itself: (NaN, NaN) is a class without an interval.
    return {code: span_text(span) for code, span in enumerate(f1) if span[0] == span[0]}


def _numbers(predictions: TaskPredictions) -> list[Chart]:
    numbers = [head for head in predictions.heads if isinstance(head, NumberPredictions)]
    return [charts.scatter_chart(head.title, head) for head in numbers]


def _borders(predictions: TaskPredictions) -> list[dict[str, Any]]:
    """For each head on bins of a known number, the errors by it and at each border."""
    return [
        {
            "chart": charts.number_chart(f"Wrong {head.title} by true {head.number}",
                                  scores.errors_by_number(head), head.edges, head.number),
            "number": head.number,
            "near": f"{head.near:g}",
            "borders": scores.borders(head),
            "error": 1 - scores.accuracy(head),
        }
        for head in predictions.heads
        if head.edges and head.values is not None
    ]  # fmt: skip


def _time(timings: Sequence[dict[str, float]]) -> dict[str, Any] | None:
    """Where the seconds of all epochs went."""

    def total_of(name: str) -> float:
        return sum(row.get(f"time/{name}_seconds", 0) for row in timings)

    if not (training := total_of("train")):
        return None
    spent = {part: total_of(part) for part in PARTS_OF_TIME}
    waits = (
        row.get("time/data_wait_share", 0) * row.get("time/train_seconds", 0) for row in timings
    )
    # A GPU computes on while the host waits: only the wait that the GPU does not fill costs time.
    spent["data wait"] = max(0.0, min(sum(waits), training - sum(spent.values())))
    parts = [(PARTS_OF_TIME[part], seconds) for part, seconds in spent.items() if seconds]
    # Callbacks, checkpoints, the first batch: what no clock of the loop covers.
    parts.append(("other", max(0.0, training - sum(spent.values()))))
    parts.append(("validation", total_of("validation")))
    total = sum(seconds for _, seconds in parts)
    speed = epochs_of(timings, "time/images_per_second")
    chart = charts.line_chart("Images a second, training", {"": speed} if len(speed) > 1 else {})
    return {
        "total": duration(total),
        "parts": [
            {"name": name, "seconds": duration(seconds), "share": seconds / total, "tone": tone}
            for tone, (name, seconds) in enumerate(parts, 1)
            if seconds
        ],
        "epoch": duration(total / len(timings)),
        "wait": spent["data wait"] / training,
        "mfu": timings[-1].get("time/mfu"),
        "chart": chart,
    }


def _commands(run: Run) -> list[str]:
    """What to type to get the same again."""
    typed = str(run.environment.get("command", ""))
    commit = section(run.environment, "git").get("commit")
    commands = [f"git checkout {commit}"] if commit else []
    if run.tested:
        return [*commands, typed] if typed else []
    if not run.config:
        return []
    root = str(section(run.config, "trainer").get("save_dir", "saved/"))
    config = Path(root) / "models" / run.name / run.run_id / "config.json"
    # The stored config and not the typed command, whose file may have changed since.
    command = ["python", "train.py", "--config", config.as_posix()]
    command += ["--folds", "all"] * bool(run.of_folds)
    with contextlib.suppress(ValueError):  # a quote that nothing closes
        words = shlex.split(typed)
        # Weights to start from stand in no config.
        if "--init-from" in words[:-1]:
            command += ["--init-from", words[words.index("--init-from") + 1]]
    return [*commands, shlex.join(command)]
