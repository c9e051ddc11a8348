"""examples/first_steps.ipynb runs from its first cell to its last, and keeps no outputs."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = json.loads((ROOT / "examples" / "first_steps.ipynb").read_text(encoding="utf-8"))
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_is_a_notebook_without_outputs():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) >= (4, 5)
    for cell in NOTEBOOK["cells"]:
        assert cell["id"] and not cell.get("outputs") and not cell.get("execution_count")


@pytest.mark.slow
def test_its_cells_run_in_order(run, tmp_path):
    # As a kernel does it: one namespace, one cell after the other.
    code = f"space = {{}}\nfor cell in {CELLS!r}: exec(cell, space)\n"
    code += "assert space['best']['val/kind_accuracy'] >= 0 and space['answer'].predicted\n"
    code += "assert space['changed'].save_dir.is_dir() and space['config'].save_dir.is_dir()"
    script = tmp_path / "kernel.py"
    script.write_text(code)
    done = run(script, cwd=ROOT / "examples", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "optimizer" in done.stdout  # what 'optimiser' was told
    (place,) = tmp_path.glob("first_steps_*")
    assert (place / "saved/log/first_steps/baseline/report.html").is_file()
