"""The photos of a report: mistakes, doubts, failed crops, and heat maps of what was looked at."""

import json
import logging
from pathlib import Path
from typing import Any

from logger.report import predictions as shown
from logger.report.predictions import THUMBNAIL_SIDE, NumberPredictions, TaskPredictions
from utils.images import read_image
from utils.thumbnails import data_uri, jpeg

EXPLAINED = 24
"""Photos with heat maps that a report shows at most."""

logger = logging.getLogger("report")


def galleries(predictions: TaskPredictions) -> list[dict[str, Any]]:
    """Worst mistakes, least certain photos and, where photos were cropped, fallback crops."""
    number = predictions.whole.kind == "number"
    first = "numbers farthest off" if number else "confident wrong answers"
    mistakes, doubts, fallbacks = shown.galleries(predictions)
    text = f"The {first}. Look here for wrong labels and bad crops."
    found = [
        ("Worst mistakes", text, mistakes),
        ("Least certain", "What the model could not decide on.", doubts),
    ]
    if predictions.fallback is not None:
        count = int(predictions.fallback.sum())
        thing = predictions.subject
        text = f"On all {len(predictions):,} photos a {thing} was found."
        if count:
            wrong = f", {predictions.whole.wrong[predictions.fallback].mean():.0%} of them wrong"
            text = (
                f"No {thing} was found on {count:,} of {len(predictions):,} photos"
                f"{'' if number else wrong}; there the model saw the whole photo."
            )
        found.append(("Fallback crops", text, fallbacks))
    return [
        {"title": title, "text": text, "photos": [_photo(predictions, int(row)) for row in rows]}
        for title, text, rows in found
    ]


def _photo(predictions: TaskPredictions, row: int) -> dict[str, Any]:
    """A photo's thumbnail and its two labels, word for word marked as right or wrong."""
    whole = predictions.whole
    # Word for word: "male, 20s, mask worn" against the truth shows which head failed.
    said, true = (text.split(", ") for text in (whole.said(row), whole.true(row)))
    right: bool | None = not whole.wrong[row]
    # Tags differ in number, so that no word has a partner; then all of it is marked.
    differs = [not right] * max(len(said), len(true))
    if whole.kind == "number" or not whole.known[row]:
        right, differs = None, [False] * len(differs)
    elif len(said) == len(true):
        differs = [a != b for a, b in zip(said, true, strict=True)]
    kept = predictions.thumbnails.get(row)
    values = {q.number: float(q.values[row]) for q in predictions.heads if q.values is not None}
    off = f"off by {whole.errors[row]:.3g}" if isinstance(whole, NumberPredictions) else ""
    return {
        "picture": data_uri(kept) if kept else None,
        "file": predictions.files[row],
        "confidence": None if off else float(whole.confidence[row]),
        "right": right,
        "off": off,
        "said": list(zip(said, differs, strict=False)),
        "true": list(zip(true, differs, strict=False)),
        "values": [f"{name} {value:g}" for name, value in values.items() if value == value],
    }


def explained(folder: Path) -> list[dict[str, Any]]:
    """The heat maps that ``gradcam/index.json`` lists, a photo at a time; bad entries are left
    out."""
    try:
        entries = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        logger.warning("%s: left out of the report (%s)", folder / "index.json", error)
        return []
    photos: dict[str, dict[str, Any]] = {}
    for entry in entries if isinstance(entries, list) else []:
        try:
            file = (folder / entry["file"]).resolve()
            # The index is a file like any other: it must not put pictures from elsewhere into a
            # report.
            if not file.is_relative_to(folder.resolve()):
                raise ValueError("lies outside of the folder")
            known = photos.get(entry["photo"])
            if known is None and len(photos) == EXPLAINED:
                continue
            picture = data_uri(jpeg(read_image(file), THUMBNAIL_SIDE))
            found = {key: str(entry.get(key, "")) for key in ("head", "predicted", "true")}
            known = photos.setdefault(str(entry["photo"]), {"file": entry["photo"], "heads": []})
            known["heads"].append(found | {"picture": picture})
        except Exception as error:  # whatever is wrong with one picture, the others are shown
            logger.warning("%s: an entry is left out of the report (%s)", folder, error)
    return list(photos.values())
