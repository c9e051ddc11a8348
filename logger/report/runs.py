"""All runs in one table: how far each came, how good it is, and what it was told otherwise."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from urllib.parse import quote

from logger.report.compare import config_differences, gain_of, main_score_of
from logger.report.page import TEMPLATES, duration
from logger.report.predictions import NumberPredictions
from logger.report.run import Run, read_run, section
from logger.report.scores import intervals
from utils.errors import UserError
from utils.pages import render
from utils.run_folder import FOLD_RUN, REPORT, is_run

MEMBER = re.compile(r"(?P<whole>.+)-(?P<kind>fold|seed|trial)\d+")
"""Run ids of what belongs together."""
IDLE = re.compile(
    r"validation\.fold|n_gpu|data_loader\.args\.num_workers|explain|visualize"
    r"|wandb.*|submit_dir|trainer\.(verbosity|report|tensorboard|save_.*|keep_.*|log_.*)"
)
"""Keys that tell folds apart, or don't change what is learned."""
SEEDS = ("seed", "validation.seed")
SHORTEST = 60
"""Characters that even a narrow terminal shows of what differs."""


@dataclass(frozen=True)
class Row:
    """A run in the table.

    Attributes:
        run: with its predictions.
        state: ``running``, ``stopped``, ``failed`` or ``finished``.
        score: the main one, of the best epoch; ``None`` before there is one.
        interval: 95 % of it, over other groups of the kind of those validated.
        against_best: whether chance may explain the distance to the best run, in words.
        differs: config keys that are not the same in all runs, as ``key=value``.
    """

    run: Run
    state: str
    score: float | None
    interval: tuple[float, float] | None
    against_best: str
    differs: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name and run id."""
        return f"{self.run.name}/{self.run.run_id}"

    @property
    def group(self) -> str:
        """The run that this is a fold, seed or trial of; itself otherwise."""
        found = MEMBER.fullmatch(self.run.run_id)
        return f"{self.run.name}/{found['whole'] if found else self.run.run_id}"

    @property
    def epochs(self) -> int:
        """How many there will be."""
        return int(section(self.run.config, "trainer").get("epochs", 0))

    @property
    def left(self) -> float | None:
        """Seconds until it ends, by its epochs so far; ``None`` where it is not running."""
        done = len(self.run.history)
        if self.state != "running" or not done or not self.run.seconds:
            return None
        left = self.run.timings[-1].get("time/epochs_left", self.epochs - done)
        return self.run.seconds / done * left

    @property
    def checkpoint(self) -> Path | None:
        """Of the best epoch."""
        folder = self.run.folder
        return folder.best if folder and folder.best.exists() else None

    @property
    def report(self) -> str | None:
        """Where its report lies, from ``trainer.save_dir``; ``None`` without one."""
        there = self.run.folder and (self.run.folder.log / REPORT).exists()
        return quote(f"log/{self.label}/{REPORT}") if there else None

    def cells(self) -> dict[str, str]:
        """Column → what it shows."""
        score = "–" if self.score is None else f"{self.score:.3f}"
        if self.interval:
            score += " [{:.3f}, {:.3f}]".format(*self.interval)
        done = f"{len(self.run.history)}/{self.epochs}"
        if folds := self.run.of_folds:
            done = f"{len(self.run.folds)}/{folds} folds"
        return {
            "run": self.label,
            "state": f"{self.state}, {duration(self.left)} left" if self.left else self.state,
            "score": score,
            "against the best": self.against_best,
            "epochs": done,
            "time": duration(self.run.seconds) if self.run.seconds else "–",
            "images/s": f"{fmean(self.run.speeds):,.0f}" if self.run.speeds else "–",
            "differs in": ", ".join(self.differs),
        }


@dataclass(frozen=True)
class Group:
    """Runs that belong together: seeds, trials or folds, first the whole where it has a run of its
    own; or one run alone."""

    label: str
    rows: list[Row] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """Mean ± sd of the members' scores, where there are several, or the best, where they differ
        in more than seeds; folds are joined anyway."""
        scored = [row for row in self.rows if row.score is not None]
        if len(scored) < 2 or self.rows[0].run.of_folds:
            return ""
        scores = [row.score or 0.0 for row in scored]
        if len({row.differs for row in scored}) > 1:
            best = max(scores, key=lambda score: sign_of(scored[0].run) * score)
            return f"{best:.3f}, the best of {len(scores)}"
        return f"{fmean(scores):.3f} ± {stdev(scores):.3f} of {len(scores)}"


def all_runs(root: Path, name: str | None = None) -> list[Group]:
    """Every run below a ``trainer.save_dir``, or those of one experiment, the newest group last.

    Raises:
        UserError: there is none.
    """
    folders = [path for path in root.glob(f"models/{name or '*'}/*") if is_run(path)]
    if not folders:
        raise UserError(f"{root}: holds no runs{f' of {name}' if name else ''}; train one first")
    runs = [read_run(path) for path in folders]
    runs.sort(key=lambda run: str(run.environment.get("started", "")))
    told = told_apart(runs)
    groups: dict[str, Group] = {}
    for place, run in enumerate(runs):
        found = run.scored and intervals(run.scored.whole, run.scored.groups)
        # Members of a group differ in their seeds, by which they are named already.
        known = SEEDS if MEMBER.fullmatch(run.run_id) else ()
        row = Row(
            run=run,
            state=_state(run),
            score=main_score_of(run),
            interval=found.score if found else None,
            against_best=_against(_best(runs, run), run),
            differs=tuple(
                f"{key}={each[place]}"
                for key, each in told
                if each[place] is not None and key not in known
            ),
        )
        groups.setdefault(row.group, Group(row.group)).rows.append(row)
    for group in groups.values():
        group.rows.sort(key=lambda row: row.label != group.label)  # the whole comes first
    return list(groups.values())


def told_apart(runs: Sequence[Run]) -> list[tuple[str, list[str | None]]]:
    """The config keys that tell runs apart, with the value of each run. Of a section that is null
    in some, what differs among the others; ``{…}`` where nothing does."""
    # Of folds the classes stand where they were found, in the config of each.
    trained = [run.folds[0] if run.folds else run for run in runs]
    found = [(key, each) for key, each in config_differences(trained) if not IDLE.fullmatch(key)]
    if names := dict(found).get("task.name"):
        # Of another task nearly all is another; what differs within one is told.
        once = [row for row in found if len({*zip(names, row[1], strict=True)}) == len({*names})]
        of_task = re.compile(r"task\.(?!name$).*")
        found = [row for row in found if row not in once or not of_task.fullmatch(row[0])]
    for key, each in found:
        if "null" not in each or None not in each:
            continue
        inside = [row for row in found if row[0].startswith(f"{key}.")]
        idle = [row for row in inside if len({*row[1]} - {None}) == 1]
        found = [row for row in found if row not in idle]
        if inside == idle:
            have = [any(row[1][place] for row in inside) for place in range(len(runs))]
            each[:] = ["{…}" if has else was for has, was in zip(have, each, strict=True)]
    return found


def _state(run: Run) -> str:
    if run.of_folds and run.finished:  # nothing ends the whole but its last fold
        return "finished"
    return run.folder.state if run.folder else "stopped"


def _kind(run: Run) -> tuple[str, tuple[str, ...], str] | None:
    """What only runs have in common whose scores say something of each other."""
    # Their scores differ by who was set aside, and not by how good they are.
    if run.scored is None or FOLD_RUN.search(run.run_id):
        return None  # each fold is validated on other photos
    return (run.name, run.scored.whole.names, run.scored.whole.measure)


def _best(runs: Sequence[Run], run: Run) -> Run | None:
    """The best of the runs that ``run`` can be compared with."""
    if (kind := _kind(run)) is None:
        return None
    rivals = [each for each in runs if _kind(each) == kind]
    return max(rivals, key=lambda each: sign_of(run) * (main_score_of(each) or 0.0), default=None)


def sign_of(run: Run) -> int:
    """1 where a higher main score is better, -1 where a lower one is."""
    of_number = run.scored is not None and run.scored.whole.measure == NumberPredictions.measure
    return -1 if of_number else 1


def _against(best: Run | None, run: Run) -> str:
    if best is None or run.scored is None:
        return ""
    if run is best:
        return "best"
    gain = gain_of(best.predictions, run.predictions)
    if gain is None or gain.interval is None:
        return ""
    # On the photos that both predicted the order may be another than on all that each did.
    return {-1: "worse", 0: "may be chance", 1: "better where both predicted"}[gain.sign]


def text_table(groups: Sequence[Group], width: int | None = None) -> str:
    """The groups as a table; for a terminal of so many characters, what differs is cut there."""
    rows = []
    for group in groups:
        several = len(group.rows) > 1
        if several and group.rows[0].label != group.label:
            rows.append({"run": group.label, "score": group.summary})
        for row in group.rows:
            cells = row.cells()
            if several and row.label != group.label:
                cells["run"] = "  " + row.run.run_id
            rows.append(cells)
    header = list(groups[0].rows[0].cells())
    lines = [header, *([row.get(column, "") for column in header] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if width is not None:
        room = max(width - sum(widths[:-1]) - 2 * len(widths[:-1]), SHORTEST)
        for line in lines:
            line[-1] = line[-1] if len(line[-1]) <= room else line[-1][: room - 1] + "…"
        widths[-1] = 0
    padded = "  ".join(f"{{:{each}}}" for each in widths).format
    return "\n".join(padded(*line).rstrip() for line in lines)


def runs_html(groups: Sequence[Group]) -> str:
    """The groups as one page, whose columns sort and whose rows filter."""
    columns = list(groups[0].rows[0].cells())
    return render(TEMPLATES / "runs.html", groups=groups, columns=columns)
