"""Tasks of ``srun`` as processes of one training, in the words that torchrun's would be told in."""

import os
import re
import sys
from collections.abc import Mapping


def join_tasks() -> None:
    """Where ``srun`` started several tasks of this command, take this process for one of them.

    Each would train for itself otherwise, into one folder. A terminal is a shell within a step, in
    which somebody tries something alone; a launcher that has spoken already, torchrun or
    ``srun torchrun``, is believed.
    """
    terminal = sys.stdin is not None and sys.stdin.isatty()  # none: started without one
    if "RANK" not in os.environ and not terminal:
        os.environ |= ranks_of(os.environ)


def ranks_of(step: Mapping[str, str]) -> dict[str, str]:
    """torchrun's variables for the task of the step with Slurm's; none where it is alone.

    https://slurm.schedmd.com/srun.html, "Output environment variables"
    """
    if int(step.get("SLURM_STEP_NUM_TASKS", 1)) == 1:
        return {}
    # Such as node[04-07,09]-ib,login2: rank 0 is on the first.
    first = re.findall(r"([^,\[]*)(?:\[(\d+)[^]]*\]([^,]*))?", step["SLURM_STEP_NODELIST"])[0]
    # Where Slurm gives each task a GPU of its own, that is the only one it sees.
    alone = "," not in step.get("CUDA_VISIBLE_DEVICES", ",")
    job, number = int(step["SLURM_JOB_ID"]), int(step["SLURM_STEP_ID"])
    return {
        "RANK": step["SLURM_PROCID"],
        "WORLD_SIZE": step["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": "0" if alone else step["SLURM_LOCALID"],
        # Such as 8(x4),2: on the first four machines, on the last.
        "LOCAL_WORLD_SIZE": re.findall(r"\d+", step["SLURM_STEP_TASKS_PER_NODE"])[0],
        "MASTER_ADDR": "".join(first),
        # All tasks come to the same one, and two steps on a machine rarely do.
        "MASTER_PORT": str(20000 + (job * 16 + number) % 10000),
    }
