"""The network as it runs, also on a GPU that is not the first."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from TRACER.inference import Predictor, choose_dtype
from utils.devices import amp_dtype
from utils.errors import UserError

SECOND_GPU = torch.device("cuda", 1)


def test_maps_of_any_gpu_are_read_after_they_have_arrived(two_gpus, golden_network):
    photos = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    network = golden_network(0, 128)
    expected = Predictor(network, torch.device("cpu"), 4, "float32")(photos)

    maps = Predictor(network, SECOND_GPU, 4, "float32")(photos)

    assert expected.max() > 0
    assert np.abs(maps.astype(int) - expected).max() <= 1


class Small(torch.nn.Module):
    """A network for a GPU whose memory holds ``most`` photos; says which threads launched it."""

    input_size, most = 32, 99

    def __init__(self):
        super().__init__()
        self.launched_by, self.sizes = set(), []

    def predict_saliency(self, images):
        self.launched_by.add(threading.current_thread())
        if len(images) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        self.sizes.append(len(images))
        return images.mean(dim=1, keepdim=True).sigmoid()


@pytest.fixture
def small(two_gpus, monkeypatch):
    """A predictor on the second GPU, and the network that it runs."""
    network = Small()
    monkeypatch.setattr("TRACER.inference.fold_norms", lambda given: given)
    return Predictor(network, SECOND_GPU, 8, "float32"), network


def gray(*levels):
    return np.stack([np.full((32, 32, 3), level, np.uint8) for level in levels])


def test_one_thread_launches_whoever_asks(small):
    predictor, network = small
    with ThreadPoolExecutor(6) as pool:
        maps = list(pool.map(predictor, [gray(level, level + 1) for level in range(0, 200, 10)]))
    assert len(network.launched_by) == 1
    assert threading.main_thread() not in network.launched_by
    for of_pair, again in zip(maps, map(predictor, [gray(0, 1), gray(10, 11)]), strict=False):
        np.testing.assert_array_equal(of_pair, again)


def test_photos_that_do_not_fit_a_gpu_go_through_it_in_smaller_batches(small, caplog):
    predictor, network = small
    expected = predictor(gray(*range(20)))
    network.most, network.sizes = 3, []
    for _ in range(2):
        np.testing.assert_array_equal(predictor(gray(*range(20))), expected)
    assert set(network.sizes) == {2}
    (said,) = caplog.messages
    assert "not enough memory for 8 photos per forward; going on with 2" in said


def test_a_gpu_without_room_for_one_photo_is_one_line(small):
    predictor, network = small
    network.most = 0
    with pytest.raises(UserError, match=r"cuda:1: not enough memory.*take another device"):
        predictor(gray(1, 2))


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
