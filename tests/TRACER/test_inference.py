"""The network as it runs, also on a GPU that is not the first."""

import numpy as np
import pytest
import torch

from TRACER.inference import Predictor, choose_dtype
from utils.devices import amp_dtype

SECOND_GPU = torch.device("cuda", 1)


def test_maps_of_any_gpu_are_read_after_they_have_arrived(two_gpus, golden_network):
    photos = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    network = golden_network(0, 128)
    expected = Predictor(network, torch.device("cpu"), 4, "float32")(photos)

    maps = Predictor(network, SECOND_GPU, 4, "float32")(photos)

    assert expected.max() > 0
    assert np.abs(maps.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((7, 0), torch.float16), ((7, 5), torch.float16), ((8, 0), torch.bfloat16)],
)
def test_training_and_tracer_take_bfloat16_only_from_gpus_that_multiply_in_it(
    monkeypatch, capability, dtype
):
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda gpu: capability)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *_: True)  # by emulation
    assert amp_dtype("auto", SECOND_GPU) is choose_dtype(SECOND_GPU, "auto") is dtype
    assert amp_dtype("bf16", SECOND_GPU) is torch.bfloat16
