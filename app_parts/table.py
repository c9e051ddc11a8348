"""All answers of a page as a table to look at and as CSV."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from app_parts.words import TEXT, thing
from trainer.photo_model import PhotoAnswer
from utils.csv_files import safe_cell


def answers_table(named: Sequence[tuple[str, PhotoAnswer]], language: str) -> pd.DataFrame:
    """A row per photo, in their order.

    Returns:
        The photo and the answer as in a submission of test.py, of the faces ``ImageID`` and
        ``ans``; ``answer``, a sentence; a column for each head, in words; ``confidence``, where
        there is one; ``note``, empty where the answer is one to trust; and the probabilities: of a
        product ``p0``, ``p1``, …, without one ``<head>_p0``, ….
    """
    return pd.DataFrame([_row(name, said, language) for name, said in named])


def _row(name: str, said: PhotoAnswer, language: str) -> dict[str, Any]:
    task, csv = said.task, said.task.settings.answer.csv
    # The same columns as test.py writes, so that either file can be submitted.
    row: dict[str, Any] = {task.settings.id_column: name}
    for column, kind in csv.columns.items() if task.product else ():
        code = int(said.predicted["class"])
        row[column] = code if kind == "code" else task.class_name(code, language)
    row |= {"answer": said.sentence(language)} | said.in_words(language)
    if said.confidence is not None:
        row["confidence"] = round(said.confidence, 6)
    strange = TEXT[language]["no_person"].format(thing=thing(task, language))
    row["note"] = "" if said.trusted else strange
    for head, values in said.probabilities.items():
        if head not in task.product:
            prefix = "p" if head == "class" else f"{head}_p"
            row |= {f"{prefix}{place}": round(float(p), 6) for place, p in enumerate(values)}
    return row


def csv_bytes(table: pd.DataFrame, language: str) -> bytes:
    """The table as CSV, of which a spreadsheet runs nothing; in Korean with the mark by which Excel
    knows UTF-8."""
    encoding = "utf-8-sig" if language == "ko" else "utf-8"
    # A file called "=cmd|…" must not run in Excel.
    table = table.map(safe_cell)
    return table.to_csv(index=False, lineterminator="\n").encode(encoding)
