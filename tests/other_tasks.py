"""Tasks that are not the faces, on the shapes that ``tools.shapes`` draws."""

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
