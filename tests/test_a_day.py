"""docs/a_day.md does what it says: its commands are run, from the first line to the last."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.processes import forked

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "a_day.md").read_text(encoding="utf-8")
# The page begins in this project, and goes on in the one that it makes. `exec`: what the page
# kills is the server itself. Other commands are asked of this process, which forks them.
PYTHON = f"""#!/bin/bash
case $1 in *.py) [ -e "$1" ] || set -- "{ROOT}/$1" "${{@:2}}";; esac
case $2 in tools.serve) exec "{sys.executable}" "$@";; esac
exec "{sys.executable}" -I -S CLIENT PORT "$@"
"""
CLIENT = """import json, os, socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as asked:
    asked.sendall(json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode() + b"\\n")
    code, out, err = json.loads(asked.makefile().readline())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""
NOTHING_STAYS = "trap 'kill $(jobs -p) 2> /dev/null || :' EXIT\n"


def answer(answering):
    """Run what is asked, one command after the other."""
    while True:
        asking, _ = answering.accept()
        with asking:
            done = forked(*json.loads(asking.makefile().readline()))
            asking.sendall(json.dumps(done).encode() + b"\n")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="bash and curl")
def test_the_day_goes_from_photos_to_a_server(tmp_path):
    place = tmp_path / "here"
    place.mkdir()
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    client = tmp_path / "client.py"
    client.write_text(CLIENT)
    answering = socket.create_server(("127.0.0.1", 0))
    own_port = str(answering.getsockname()[1])
    python.write_text(PYTHON.replace("CLIENT", str(client)).replace("PORT", own_port))
    python.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    blocks = "".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL))
    threading.Thread(target=answer, args=[answering], daemon=True).start()
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
