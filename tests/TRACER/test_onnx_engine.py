"""The network under ONNX Runtime gives the maps that torch gives."""

import cv2
import numpy as np
import pytest
import torch

from TRACER import onnx_engine
from TRACER.inference import Predictor, make_predictor
from TRACER.onnx_engine import OnnxPredictor, high_pass_by_products

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (5, 7, 6, 3), dtype=np.uint8)
    return np.stack([cv2.resize(photo, (128, 128)) for photo in small])


@pytest.mark.parametrize("scale", [0, 1])
def test_maps_are_those_of_torch_up_to_one_level(scale, golden_network, photos):
    network = golden_network(scale, 128)
    under_torch = Predictor(network, CPU, 1, "float32")(photos).astype(int)
    under_onnx = OnnxPredictor(network)(photos).astype(int)
    assert np.ptp(under_torch) > 20
    assert np.abs(under_onnx - under_torch).max() <= 1
    assert (under_onnx != under_torch).mean() < 0.001


@pytest.mark.parametrize("side", [32, 80, 88])
def test_high_pass_by_products_is_that_of_the_fast_fourier_transform(side, golden_network):
    x = torch.randn(2, 3, side, side)
    expected = golden_network(0, 128).encoder.edge.high_pass(x)
    torch.testing.assert_close(high_pass_by_products(side)(x), expected, atol=1e-5, rtol=0)


def test_predictors_of_the_same_weights_share_a_translation_and_others_do_not(
    golden_network, photos, monkeypatch
):
    translated = []
    monkeypatch.setattr(onnx_engine, "_sessions", {})
    monkeypatch.setattr(onnx_engine, "to_onnx", lambda network: translated.append(network) or b"")
    monkeypatch.setattr(onnx_engine, "start", lambda model: object())
    one, other = golden_network(0, 128), golden_network(0, 160)
    for network in (one, one, other, one):
        OnnxPredictor(network)._session()
    assert translated == [one, other]


def test_the_engine_is_chosen_by_device_and_precision(golden_network):
    network = golden_network(0, 128)
    assert make_predictor(network, CPU, 4, "float32").engine == "onnxruntime"
    assert make_predictor(network, CPU, 4, "bfloat16").engine == "torch"
