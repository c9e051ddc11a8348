"""Two ranks, of which one runs out of memory, train on as if it had not."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RANKS = """
import json, os, socket, sys
import torch
from torch import nn
from base.base_model import BaseModel
from base.settings import StepSettings
from base.train_step import TrainStep
from utils import distributed
from utils.errors import UserError

class Criterion(nn.Module):
    def forward(self, logits, targets):
        loss = nn.functional.cross_entropy(logits["mask"], targets["mask"])
        return loss, {"mask": loss}

class Backbone(nn.Sequential):
    limit, fails = 4, None

    def forward(self, images):
        features = self[1](self[0](images))
        if len(images) > self.limit:
            full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0")
            if self.fails == "forward":
                raise full
            features.register_hook(lambda _: raising(full))
        return self[3](self[2](features))

def raising(error):
    raise error

def train(rank, fails, accumulate, limit):
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(192, 5), nn.Tanh(), nn.Linear(5, 4)
    backbone = Backbone(*layers)
    backbone.fails = fails
    model = BaseModel(backbone, 4, {"mask": 3}, mean=(0.5,) * 3, std=(0.5,) * 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = TrainStep(model, Criterion(), optimizer, StepSettings(amp="off", accumulate=accumulate))
    photos = torch.randint(0, 256, (4, 8, 3, 8, 8), dtype=torch.uint8)  # of each step, of all
    targets = torch.randint(0, 3, (4, 8))
    losses = []
    step.start_epoch()
    for number in range(4):
        if number == 1 and rank == 1:
            backbone.limit = limit
        share = slice(rank, None, 2)
        batch = {"mask": targets[number, share]}
        losses.append(step.step(photos[number, share], batch, number, 4)[1].item())
    weights = [each.flatten().tolist() for each in model.parameters()]
    return {"losses": losses, "weights": sum(weights, []), "at_once": step.gradients.at_once}

def work(rank):
    torch.set_num_threads(1)
    os.environ["RANK"] = str(rank)
    results = []
    with distributed.process_group(n_gpu=0):
        for case in json.loads(sys.argv[1]):
            try:
                results.append(distributed.gather(train(rank, *case)))
            except UserError as error:
                results.append(distributed.gather(str(error)))
    if rank == 0:
        print(json.dumps(results))

with socket.socket() as free:
    free.bind(("localhost", 0))
    port = str(free.getsockname()[1])
os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
children = []
for rank in range(2):
    child = os.fork()
    if not child:
        work(rank)
        sys.stdout.flush()
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
"""


CASES = {
    "whole": ("forward", 1, 4),
    "whole sums": ("forward", 2, 4),
    "forward": ("forward", 1, 2),
    "backward": ("backward", 1, 1),
    "backward of a sum": ("backward", 2, 2),
    "forward of a sum": ("forward", 2, 1),
    "nothing fits": ("backward", 1, 0),
}
"""Where memory runs out on the second rank from the second batch on, how many batches are summed,
and how many of its four photos fit."""


@pytest.fixture(scope="module")
def ranks(run, tmp_path_factory):
    """Case → what each rank gave, and what they warned of."""
    script = tmp_path_factory.mktemp("ranks") / "ranks.py"
    script.write_text(RANKS)
    done = run(script, json.dumps(list(CASES.values())), cwd=ROOT, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(CASES, json.loads(done.stdout), strict=True)), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("case", ["forward", "backward", "forward of a sum", "backward of a sum"])
def test_memory_that_runs_out_on_one_rank_halves_the_batches_of_all(ranks, case):
    given, warnings = ranks
    (whole, _), (first, second) = given["whole" + " sums" * case.endswith("sum")], given[case]
    assert first == second
    assert whole["at_once"] is None and first["at_once"] == CASES[case][-1]
    assert first["losses"] == pytest.approx(whole["losses"], abs=1e-5)
    assert first["weights"] == pytest.approx(whole["weights"], abs=1e-5)
    assert "4 photos at once does not fit into memory (CUDA out of memory. Tried" in warnings


@pytest.mark.slow
def test_where_not_even_one_photo_fits_all_ranks_end_with_a_line(ranks):
    first, second = ranks[0]["nothing fits"]
    assert first == second and "lower data_loader.args.batch_size" in first
