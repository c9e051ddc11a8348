"""Commands that moved to ``tools/`` answer under their old names, too, for one release."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "old",
    ["export.py", "sweep.py", *(f"{name.replace('.', '/')}.py" for name in (
        "data_loader.sample", "data_loader.explore", "data_loader.audit", "logger.report.__main__",
        "model.explain", "model.tune_decoding", "base.soup",
    ))],
)  # fmt: skip
def test_an_old_spelling_runs_the_command(call, old):
    result = call(ROOT / old, "--help")
    assert result.returncode == 0 and result.stdout.startswith("usage: "), result
