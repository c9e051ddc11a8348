"""All answers of a page as a table to look at and as CSV."""

from collections.abc import Sequence

import pandas as pd

from app_parts.words import TEXT, answer_names, sentence
from trainer.photo_model import PhotoAnswer


def answers_table(named: Sequence[tuple[str, PhotoAnswer]], language: str) -> pd.DataFrame:
    """A row a photo, in their order.

    Args:
        named: (file name, answer) of each photo.
        language: of the words.

    Returns:
        ``ImageID`` and ``ans`` as in a submission of test.py; ``answer``, ``mask``, ``gender``
        and ``age`` in words; ``sureness``; ``note``, empty where the answer is one to trust; and
        the probabilities ``p0`` … ``p17``.
    """
    rows = []
    for name, said in named:
        words = {
            head: answer_names(head, language)[answer] for head, answer in said.head_answers.items()
        }
        rows.append(
            {"ImageID": name, "ans": said.answer, "answer": sentence(said.answer, language)}
            | words
            | {"sureness": round(said.sureness, 6)}
            | {"note": "" if said.person else TEXT[language]["no_person"]}
            | {f"p{cls}": round(float(p), 6) for cls, p in enumerate(said.class_probabilities)}
        )
    return pd.DataFrame(rows)


def csv_bytes(table: pd.DataFrame, language: str) -> bytes:
    """The table as CSV; in Korean with the mark by which Excel knows UTF-8."""
    encoding = "utf-8-sig" if language == "ko" else "utf-8"
    return table.to_csv(index=False, lineterminator="\n").encode(encoding)
