import torch

from trainer.updates import gpu_memory, reset_gpu_memory


def test_the_gpus_peak_is_that_of_what_came_after_the_reset(monkeypatch):
    peak = {"cuda:1": 6 * 2**30}  # TRACER's
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda gpu: peak[str(gpu)])
    monkeypatch.setattr(
        "torch.cuda.reset_peak_memory_stats", lambda gpu: peak.update({str(gpu): 2**30})
    )
    gpu = torch.device("cuda", 1)
    assert gpu_memory(gpu) == {"gpu_peak_gib": 6}
    reset_gpu_memory(gpu)
    assert gpu_memory(gpu) == {"gpu_peak_gib": 1}


def test_a_cpu_has_no_such_peak():
    reset_gpu_memory(torch.device("cpu"))
    assert gpu_memory(torch.device("cpu")) == {}
