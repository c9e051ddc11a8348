"""Processes that find each other, also after others have died."""

from pathlib import Path

import pytest

from utils import distributed
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
# As after torchrun's restart: one store, a second generation of workers, rank 1 late. Whoever
# trusted what the first generation left there would call on rank 1's old address.
GENERATIONS = """
import os, sys, time
import torch.distributed as dist
from utils import distributed

store = dist.TCPStore("localhost", 0, None, True, wait_for_workers=False)
os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port)}
os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"

def work(rank, generation):
    os.environ["RANK"] = str(rank)
    time.sleep(rank * generation * 0.5)
    with distributed.process_group(n_gpu=0):
        assert distributed.gather((rank, generation)) == [(0, generation), (1, generation)]

for generation in range(2):
    children = []
    for rank in range(2):
        child = os.fork()
        if not child:
            work(rank, generation)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
print("met")
"""


# Without a launcher rank 0 keeps the store. Rank 1 asks it so seldom that it is the last to learn
# that rank 0 is done.
WITHOUT_LAUNCHER = """
import os, socket, time
from utils import distributed

with socket.socket() as free:
    free.bind(("localhost", 0))
    port = str(free.getsockname()[1])
os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}

def work(rank):
    os.environ["RANK"] = str(rank)
    sleep = time.sleep
    with distributed.process_group(n_gpu=0):
        if rank:
            time.sleep = lambda seconds: sleep(1)
        else:
            sleep(0.5)

children = []
for rank in range(2):
    child = os.fork()
    if not child:
        work(rank)
        os._exit(0)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
"""


@pytest.fixture
def program(run, tmp_path):
    """``program(code)``: what such a program printed."""

    def _program(code):
        script = tmp_path / "program.py"
        script.write_text(code)
        return run(script, cwd=ROOT, PYTHONPATH=str(ROOT))

    return _program


def test_the_rank_that_keeps_the_store_leaves_last(program):
    done = program(WITHOUT_LAUNCHER)
    assert done.stdout == "[0, 0]\n", done.stderr[-2000:]


def test_workers_of_a_restart_meet_each_other_and_not_the_dead(program):
    done = program(GENERATIONS)
    assert done.stdout == "met\n", done.stderr[-2000:]


def test_ranks_wait_for_the_first_one_longer_than_a_collective_would(in_two_ranks):
    preparation = """
import time
from datetime import timedelta
distributed.TIMEOUT = timedelta(seconds=2)
def meet():
    time.sleep(0 if distributed.rank() else 3)  # a report, say
    distributed.wait_for_main()
    return distributed.gather(distributed.rank())
"""
    assert in_two_ranks(preparation, "meet()") == ["[0, 1]"] * 2


@pytest.mark.parametrize(
    "left_over, why",
    [
        ({"RANK": "0", "WORLD_SIZE": "1"}, "MASTER_ADDR expected"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "'x'"),
        ({"RANK": "5", "WORLD_SIZE": "2"}, "no such rank"),
        ({"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "a"}, "'a'"),
    ],
)
def test_half_a_launcher_is_one_line_that_says_what_to_do(left_over, why, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in left_over.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=why) as caught, distributed.process_group(0):
        pass
    assert "torchrun" in str(caught.value) and "env -u RANK" in str(caught.value)
