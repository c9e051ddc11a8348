"""Jobs of a cluster: the command as it is, on one study; what is missing is one line."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.sweep import __file__ as SWEEP
from trainer.launch import Job, submit
from utils.errors import UserError

ROOT = Path(SWEEP).parents[1]
HAS_SUBMITIT = importlib.util.find_spec("submitit") is not None


@pytest.mark.skipif(HAS_SUBMITIT, reason="submitit is installed")
def test_without_submitit_one_line_says_what_to_install(tmp_path):
    with pytest.raises(UserError, match="pip install submitit"):
        submit(["true"], 1, "slurm", {}, tmp_path)


def test_a_command_that_fails_is_a_job_that_fails():
    Job([sys.executable, "-c", ""])()
    with pytest.raises(Exception, match="exit status 3"):
        Job([sys.executable, "-c", "raise SystemExit(3)"])()


@pytest.mark.skipif(not HAS_SUBMITIT, reason="needs submitit")
class TestWithSubmitit:
    def test_what_the_cluster_refuses_is_one_line(self, tmp_path):
        with pytest.raises(UserError, match="could not be handed over to slurm"):
            submit(["true"], 1, "slurm", {"partition": "no-such-one"}, tmp_path)
        with pytest.raises(UserError, match=r"could not be handed over to local.*tea"):
            submit(["true"], 1, "local", {"slurm_tea": 1}, tmp_path)

    def test_two_jobs_share_a_grid(self, shapes_config, tmp_path):
        command = (
            SWEEP, "-c", shapes_config, "--study", "s", "--seeds", "2", "--jobs", "2",
            "--cluster", "local", "--slurm", "timeout_min=5",
        )  # fmt: skip
        paths = os.pathsep.join([str(ROOT), *sys.path])
        with open(tmp_path / "said", "w") as said:  # not a pipe, which the jobs would keep open
            subprocess.run(
                [sys.executable, *command], cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths},
                stdout=said, stderr=said, check=True,
            )  # fmt: skip
        assert "what they print: saved/sweeps/s/jobs" in (tmp_path / "said").read_text()
        runs = [tmp_path / f"saved/log/shapes/s-trial0000-seed{seed}" for seed in (42, 43)]
        deadline = time.monotonic() + 200
        while not all((run / "finished.json").exists() for run in runs):
            assert time.monotonic() < deadline
            time.sleep(0.5)


def test_a_job_whose_time_is_over_lets_its_command_save(tmp_path):
    """As submitit does it: out of the handler of a signal that comes while the job waits."""
    saves = f"""if True:
        import pathlib, signal, sys, time
        def save(*_):
            time.sleep(0.3)
            pathlib.Path({str(tmp_path / "saved")!r}).touch()
            sys.exit(75)
        signal.signal(signal.SIGTERM, save)
        pathlib.Path({str(tmp_path / "ready")!r}).touch()
        time.sleep(60)
    """
    job = f"""if True:
        import os, pathlib, signal, sys, threading, time
        from trainer.launch import Job
        job = Job([sys.executable, "-c", {saves!r}])
        def over(*_):
            job.stop()
            print("queued again")
            sys.exit()
        signal.signal(signal.SIGALRM, over)
        def tell():
            while not pathlib.Path({str(tmp_path / "ready")!r}).exists():
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGALRM)
        threading.Thread(target=tell).start()
        job()
    """
    said = subprocess.run(
        [sys.executable, "-c", job], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (said.stdout, said.returncode) == ("queued again\n", 0), said.stderr
    assert (tmp_path / "saved").exists()
