"""What an audit leaves: a table of proposals, and contact sheets of the worst."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from base.heads import Head, NumberHead
from config_schema import Config
from data_loader.dataset import PhotoIndex, read_index
from logger.pictures import GREEN, INK, RED, contact_sheet, save_picture
from logger.predictions import SavedPredictions
from parse_config import ConfigParser
from tools.audit.suspects import Suspects, find_suspects, read_answers
from utils.config_files import read_json5
from utils.csv_files import write_csv
from utils.errors import DataError
from utils.images import read_image
from utils.run_folder import PREDICTIONS, RunFolder

COLUMNS = (
    "apply", "key", "field", "value", "tier", "sources", "note", "rank", "score", "photo",
)  # fmt: skip
LEAST, ON_SHEET = 20, 30
"""Suspects of a head that are listed at least, and that its contact sheet shows at most."""


def audit(run: Path, out: Path | None, top: int | None, data_dir: Path | None) -> None:
    """Rank, write, and say how many; ``top`` suspects of each head, if not those that are taken for
    errors.

    Raises:
        DataError: no such run, or its answers or photos can't be read.
    """
    path, config = find_run(run)
    settings = ConfigParser.stored(read_json5(config), config).settings
    index = read_index(data_dir or settings.data_dir, settings.task)
    answers = read_answers(path, index.task)
    out = out or path.with_name("audit.csv")
    # People, not photos, are what the reader knows the data by.
    number = len(np.unique(answers.photos["group"]))
    of_groups = f" of {index.counted(number)}" if index.noun != "photo" else ""
    print(f"{len(answers.photos['photo'])} photos{of_groups}: {path}")
    if "fold" not in answers.photos:
        print("only the validation photos are audited; train.py --folds all covers all of them")
    lines, sheets = [], []
    for name, head in index.task.heads.items():
        suspects = find_suspects(answers, head)
        # Twenty at least: looking at them costs a minute.
        number = max(suspects.flagged, LEAST) if top is None else top
        lines += propose(answers, suspects, number)
        what = index.plural if head.settings.per else "photos"
        print(f"{name}: {suspects.flagged} of {len(suspects.labels)} {what} are taken for errors")
        if number and suspects.rows:
            sheets.append(out.with_suffix(f".{name}.png"))
            save_picture(sheets[-1], sheet_of(answers, suspects, min(number, ON_SHEET), index))
    write_table(out, lines)
    print(f"proposals: {out}", *(f"pictures: {sheet}" for sheet in sheets), sep="\n")
    print("write `yes` under `apply` where one is right, then train with")
    print("  --set " + shlex.quote(f"label_corrections.path={_with(out, settings)}"))


def _with(out: Path, settings: Config) -> str:
    """The tables that the run applied, and the new one, as ``--set`` takes them."""
    before = settings.label_corrections.path if settings.label_corrections else []
    # The run's own corrections first, else they would be undone by naming the new table alone.
    tables = [*([before] if isinstance(before, str) else before), str(out)]
    return json.dumps(list(dict.fromkeys(tables)), ensure_ascii=False) if before else str(out)


def find_run(run: Path) -> tuple[Path, Path]:
    """The answers of a run and its config, by its folder under ``models`` or ``log``.

    Raises:
        DataError: it is no run, or has left no answers.
    """
    folder = RunFolder.of(run.resolve())
    if folder is None:
        raise DataError(f"{run}: not a run; name its folder, such as saved/models/<name>/<run_id>")
    answers = folder.log / PREDICTIONS
    if not answers.is_file():
        raise DataError(
            f"{run}: no {PREDICTIONS} in {folder.log}; train it, best with train.py --folds all"
        )
    return answers, folder.config


def propose(answers: SavedPredictions, suspects: Suspects, number: int) -> list[dict[str, str]]:
    """The first ``number`` suspects as lines of a table of corrections, none of them applied."""
    head, lines = suspects.head, []
    for place in range(min(number, len(suspects.rows))):
        rows = suspects.rows[place]
        labeled = words(head, suspects.labels[place])
        if head.settings.bins and not isinstance(head, NumberHead):
            # The number itself, as whoever corrects it sees 29 and not only "20s".
            labeled = f"{answers.values[head.name][rows[0]]:g}, {labeled}"
        line = {
            "apply": "",
            "field": head.name,
            "value": _value(answers, suspects, place),
            "tier": "likely",
            "sources": "audit",
            "note": f"labeled {labeled}, {_looks(suspects, place)}",
            "rank": str(place + 1),
            "score": f"{suspects.scores[place]:.4f}",
            "photo": str(answers.photos["photo"][_shown(answers, suspects, place)]),
        }
        # A line for each photo where only some of a group's are meant.
        keys = keys_of(answers, rows, of_group=bool(head.settings.per))
        lines += [line | {"key": key} for key in keys]
    return lines


def sheet_of(
    answers: SavedPredictions, suspects: Suspects, number: int, index: PhotoIndex
) -> np.ndarray:
    """Photos of the first ``number`` suspects with label and suggestion, (H, W, 3) uint8 RGB."""
    pictures, captions = [], []
    for place in range(min(number, len(suspects.rows))):
        photo = str(answers.photos["photo"][_shown(answers, suspects, place)])
        pictures.append(read_image(index.root / index.on_disk.get(photo, photo)))
        key = keys_of(answers, suspects.rows[place], bool(suspects.head.settings.per))[0]
        labeled = f"is {words(suspects.head, suspects.labels[place])}"
        suggested = _looks(suspects, place)
        captions.append([(f"{place + 1}. {key}"[:24], INK), (labeled, RED), (suggested, GREEN)])
    return contact_sheet(pictures, captions)


def words(head: Head, label: np.ndarray) -> str:
    """A label of ``Suspects`` in words."""
    if label.ndim:
        return head.settings.separator.join(np.array(head.classes)[label == 1]) or "none"
    return f"{label:.3g}" if isinstance(head, NumberHead) else head.class_names()[int(label)]


def keys_of(answers: SavedPredictions, rows: np.ndarray, of_group: bool) -> list[str]:
    """What a table of corrections calls these photos: their group, where they are all of it."""
    group = answers.photos["group"][rows[0]]
    # One line for a whole person, if all their photos are in this sample.
    if of_group and (answers.photos["group"] == group).sum() == len(rows):
        return [str(group)]
    return [str(photo) for photo in answers.photos["photo"][rows]]


def write_table(path: Path, lines: Sequence[dict[str, str]]) -> None:
    """Write proposals as a table of corrections."""
    write_csv(path, COLUMNS, ([line[name] for name in COLUMNS] for line in lines))


def _value(answers: SavedPredictions, suspects: Suspects, place: int) -> str:
    """What a table of corrections calls the suggestion; of a bin the number in it that is nearest
    to the labeled one."""
    head, suggested = suspects.head, suspects.suggested[place]
    if suggested.ndim:
        return head.settings.separator.join(np.array(head.classes)[suggested == 1])
    if isinstance(head, NumberHead):
        return f"{round(float(suggested)) if head.settings.whole else float(suggested):g}"
    if not head.settings.bins:
        return head.classes[int(suggested)]
    code, edges, whole = int(suggested), head.settings.bins, head.settings.whole
    labeled = answers.values[head.name][suspects.rows[place][0]]
    before = suspects.labels[place]
    # The nearest number that lies in the suggested bin: an error of a year is likelier than of ten.
    if code == before:
        return f"{labeled:g}"
    if code > before:
        return f"{edges[code - 1]:g}"
    first = head.settings.range[0] if head.settings.range else edges[0] - 1
    return f"{edges[code] - 1 if whole else ((first, *edges)[code] + edges[code]) / 2:g}"


def _looks(suspects: Suspects, place: int) -> str:
    looks = f"looks {words(suspects.head, suspects.suggested[place])}"
    sure = suspects.sure[place]
    return looks if np.isnan(sure) else f"{looks} ({sure:.0%})"


def _shown(answers: SavedPredictions, suspects: Suspects, place: int) -> int:
    """The photo whose answer speaks most for the suggestion."""
    rows, suggested = suspects.rows[place], suspects.suggested[place]
    if len(rows) == 1 or suggested.ndim or isinstance(suspects.head, NumberHead):
        return int(rows[0])
    said = answers.probabilities[suspects.head.name][rows, int(suggested)]
    return int(rows[said.argmax()])
