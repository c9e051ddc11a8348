"""Jobs of a cluster: the command as it is, on one study; what is missing is one line."""

import importlib.util
import os
import subprocess
import sys
import threading
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
            submit(["true"], 1, "slurm", {"partition": "gpu"}, tmp_path)
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

    def test_a_job_whose_time_is_over_lets_its_command_save(self, tmp_path):
        mark = tmp_path / "saved"
        code = f"""if True:
            import signal, sys, time
            def save(*_):
                open({str(mark)!r}, "w").close()
                sys.exit(75)
            signal.signal(signal.SIGTERM, save)
            print("ready", flush=True)
            time.sleep(60)
        """
        job = Job([sys.executable, "-c", code])
        waiting = threading.Thread(target=pytest.raises, args=(Exception, job))
        waiting.start()
        while job._process is None:
            time.sleep(0.05)
        time.sleep(1)
        again = job.checkpoint()
        waiting.join()
        assert mark.exists() and again.function.command == job.command
