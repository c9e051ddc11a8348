"""A command as jobs of Slurm, handed over through submitit, which only this needs."""

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.errors import UserError, reason_of

SIGNAL = "SUBMITIT_PREEMPT_SIGNAL", "USR1"
"""What submitit has Slurm send ahead of a time limit. Slurm sends it to every process of a job;
its own choice, USR2, would kill a training, which answers USR1 by saving."""
SHARED = (
    "cpus_per_task", "gpus_per_node", "mem_gb", "name", "nodes", "stderr_to_stdout",
    "tasks_per_node", "timeout_min",
)  # fmt: skip
"""Options that submitit calls alike for all clusters; those of Slurm alone begin with slurm_."""


class Job:
    """A command that submitit calls, and that it queues again where its time or machine is taken;
    given again, it goes on where it was."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self._process: subprocess.Popen | None = None

    def __call__(self) -> None:
        """Run the command; a CalledProcessError where it failed."""
        self._process = subprocess.Popen(self.command)
        if code := self._process.wait():
            raise subprocess.CalledProcessError(code, self.command)

    def checkpoint(self) -> Any:
        """Let the command save; what it is to be queued again with."""
        from submitit.helpers import DelayedSubmission

        self.stop()
        return DelayedSubmission(Job(self.command))

    def stop(self) -> None:
        """Let the command save and end, also out of a signal's handler during the call."""
        if self._process is None:
            return
        # SIGTERM, upon which a training saves and leaves.
        self._process.terminate()
        # The call below the handler waits, too, and holds the lock that wait() would ask for.
        with contextlib.suppress(ChildProcessError):  # it has ended
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)


def submit(
    command: Sequence[str], jobs: int, cluster: str, options: Mapping[str, Any], folder: Path
) -> list[str]:
    """Hand a command over to so many jobs; returns their numbers.

    Args:
        command: of each job.
        jobs: how many.
        cluster: ``"slurm"``, or ``"local"`` for processes of this machine.
        options: of submitit, such as ``timeout_min``; those of Slurm by their own names, such as
            ``partition``.
        folder: of what the jobs print.

    Raises:
        UserError: submitit is not installed or does not know an option, or Slurm is not here.
    """
    os.environ.setdefault(*SIGNAL)
    try:
        import submitit
    except ImportError as error:
        raise UserError("--jobs: needs submitit; install it with: pip install submitit") from error
    named = {
        key if key in SHARED or key.startswith("slurm_") else f"slurm_{key}": value
        for key, value in options.items()
    }
    try:
        # Each time it goes on where it was; submitit's own choice is to give up after three.
        endless = {"slurm_max_num_timeout": 1000}
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster, **endless)
        executor.update_parameters(**named)
        # One array of jobs, which schedulers with a limit on jobs count as one.
        with executor.batch():
            submitted = [executor.submit(Job(command)) for _ in range(jobs)]
    except Exception as error:  # of submitit, of sbatch, of the file system
        raise UserError(
            f"--jobs: could not be handed over to {cluster}: {reason_of(error)[:300]}"
        ) from error
    return [job.job_id for job in submitted]
