import torch
from torch import nn

from base.base_model import BaseModel
from trainer.updates import peak_memory, reset_gpu_memory, training_flops


def test_the_gpus_peak_is_that_of_what_came_after_the_reset(monkeypatch):
    peak = {"cuda:1": 6 * 2**30}  # TRACER's
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda gpu: peak[str(gpu)])
    monkeypatch.setattr(
        "torch.cuda.reset_peak_memory_stats", lambda gpu: peak.update({str(gpu): 2**30})
    )
    gpu = torch.device("cuda", 1)
    assert peak_memory(gpu) == {"gpu_peak_gib": 6}
    reset_gpu_memory(gpu)
    assert peak_memory(gpu) == {"gpu_peak_gib": 1}


def test_on_a_cpu_it_is_the_peak_of_the_process():
    cpu = torch.device("cpu")
    reset_gpu_memory(cpu)
    # GiB, whatever the system counts in.
    assert 0.05 < peak_memory(cpu)["peak_gib"] < 64


def test_a_photos_operations_are_counted_without_touching_the_model():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    model = BaseModel(backbone, 144, {"mask": 3}, mean=(0.5,) * 3, std=(0.5,) * 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    products = 6 * 6 * 4 * (3 * 3 * 3)  # places × channels × values that each is made of
    assert training_flops(model, 8) == 3 * 2 * products
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
