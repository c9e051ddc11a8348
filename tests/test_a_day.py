"""docs/a_day.md does what it says: its commands are run, from the first line to the last."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "a_day.md").read_text(encoding="utf-8")
# The page begins in this project, and goes on in the one that it makes. `exec`: what the page
# kills is the server itself.
PYTHON = f"""#!/bin/bash
case $1 in *.py) [ -e "$1" ] || set -- "{ROOT}/$1" "${{@:2}}";; esac
exec "{sys.executable}" "$@"
"""
NOTHING_STAYS = "trap 'kill $(jobs -p) 2> /dev/null || :' EXIT\n"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="bash and curl")
def test_the_day_goes_from_photos_to_a_server(tmp_path):
    place = tmp_path / "here"
    place.mkdir()
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(PYTHON)
    python.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    blocks = "".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL))
    done = subprocess.run(
        ["bash", "-ec", NOTHING_STAYS + blocks.replace("8000", str(port))],
        cwd=place, capture_output=True, text=True,
        env={
            **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    project = tmp_path / "Shapes"
    # What the page promises lies where it says.
    for path in re.findall(r"`((?:saved|submit)/[^`]+\.\w+)`", PAGE):
        assert (project / path).is_file(), path
    assert len((project / "submit/final.csv").read_text().splitlines()) == 31
    assert '"answer":"' in done.stdout.splitlines()[-1]  # the server's, in JSON
    assert (project / "model.onnx").is_file()
    assert "3 seeds" in done.stdout and "trial 3" in done.stdout
