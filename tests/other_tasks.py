"""Tasks that are not the faces, on the shapes that ``tools.shapes`` draws."""

import shutil

from tools.shapes import COLORS, KINDS

TABLE = {"reader": "csv", "table": "train.csv", "path": "path"}
EVAL = {"reader": "csv", "table": "eval.csv", "path": "path"}

TASKS = {
    "table": {
        "name": "table",
        "data": {"train": TABLE, "test": EVAL, "group": "board"},
        "heads": {"kind": {}, "colour": {}},
    },
    "folders": {
        "name": "folders",
        "data": {"train": {"reader": "folders", "root": "train"}},
        "heads": {"kind": {"column": "folder"}},
    },
    "tags": {
        "name": "tags",
        "data": {"train": TABLE, "test": EVAL},
        "heads": {"tags": {"type": "multilabel", "separator": " ", "threshold": 0.5}},
    },
    "number": {
        "name": "number",
        "data": {"train": TABLE, "test": EVAL},
        "heads": {"size": {"type": "number", "bins": "7:21:1", "sigma": 1.0}},
    },
}
"""Two heads of a table without a product, a folder a class, tags, a number."""

PRODUCT = {
    **TASKS["table"],
    "answer": {"product": ["kind", "colour"], "csv": {"columns": {"class": "code"}}},
}
"""The first of them with nine classes."""


def class_of(row):
    """Its class there, of a row of the tables."""
    return list(KINDS).index(row["kind"]) * 3 + list(COLORS).index(row["colour"])


def copy_eval(shapes, folder):
    """Copy the photos to test on and their table."""
    shutil.copytree(shapes / "eval", folder / "eval")
    shutil.copy(shapes / "eval.csv", folder)
    return folder
