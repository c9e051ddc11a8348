"""What holds for any input, tried on hypothesis' own worst ones; the same ones each time."""

import csv
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from base.task import build
from base.task_settings import TaskSettings
from model.answers import macro_f1
from tests.other_tasks import TASKS
from utils.config_files import merge, read_json5
from utils.csv_files import FORMULA, plain_cell, safe_cell, write_csv
from utils.errors import reason_of

always = settings(max_examples=60, derandomize=True, deadline=None, database=None)
texts = st.text(st.characters(exclude_categories=["Cs"]))
starts = st.sampled_from(["", "'", "''", *FORMULA, "'=", "-1", "+.5", "@'"])
# What JSON escapes is refused on purpose: a Windows path would be read as something else.
plain = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=6,
)


@always
@given(starts, texts)
def test_a_cell_is_read_back_as_it_was_and_runs_in_no_spreadsheet(start, text):
    cell = start + text
    safe = safe_cell(cell)
    assert plain_cell(safe) == cell
    if safe.startswith(FORMULA):
        float(safe)  # a number, which is no formula


@always
@given(st.lists(texts, min_size=1, max_size=5))
def test_a_table_for_people_is_csv_whatever_its_cells_say(tmp_path_factory, cells):
    path = tmp_path_factory.getbasetemp() / "cells.csv"
    write_csv(path, ["a"] * len(cells), [cells])
    with path.open(encoding="utf-8", newline="") as file:
        _, row = csv.reader(file)
    assert [plain_cell(cell) for cell in row] == cells


@always
@given(st.lists(st.integers(2, 6), min_size=1, max_size=4), st.data())
def test_classes_of_a_product_and_answers_of_its_heads_say_the_same(sizes, data):
    heads = {f"h{n}": {"classes": [f"c{c}" for c in range(k)]} for n, k in enumerate(sizes)}
    described = {**TASKS["table"], "heads": heads, "answer": {"product": list(heads)}}
    columns = {name: head["classes"] for name, head in heads.items()}
    task = build(TaskSettings.model_validate(described), columns)
    classes = np.arange(task.num_classes)
    answers = task.decode(classes)
    assert (task.encode(answers) == classes).all() and task.num_classes == math.prod(sizes)
    seed = data.draw(st.integers(0, 2**32 - 1))
    drawn = np.random.default_rng(seed)
    own = {name: drawn.dirichlet(np.ones(k), 3) for name, k in zip(heads, sizes, strict=True)}
    joint = task.joint(own)
    assert joint.sum(axis=1) == pytest.approx(np.ones(3))
    for name, marginal in task.marginals(joint).items():
        assert marginal == pytest.approx(own[name])


@always
@given(st.lists(st.tuples(st.integers(0, 17), st.integers(0, 17)), min_size=1, max_size=60))
def test_macro_f1_is_that_of_scikit_learn(pairs):
    truth, given_codes = np.array(pairs).T
    expected = f1_score(truth, given_codes, average="macro", zero_division=0)
    assert macro_f1(truth, given_codes) == pytest.approx(expected)


@always
@given(st.dictionaries(plain, json_values, max_size=4))
def test_a_config_in_json_is_read_as_json_reads_it(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "values.json"
    path.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    assert read_json5(path) == json.loads(path.read_text(encoding="utf-8"))


@always
@given(
    st.dictionaries(plain, json_values, max_size=4), st.dictionaries(plain, json_values, max_size=4)
)
def test_merging_gives_way_to_what_is_said_later(base, over):
    merged = merge(base, over)
    assert merged.keys() == base.keys() | over.keys()
    assert all(merged[key] == base[key] for key in base.keys() - over.keys())
    assert merge(base, {}) == base and merge({}, over) == over


@always
@given(texts)
def test_a_message_is_one_line(text):
    assert len(reason_of(ValueError(text)).splitlines()) <= 1
