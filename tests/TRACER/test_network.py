"""The network equals the reference, in every size, and behaves as a module should."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from TRACER.network import INPUT_SIDES, Tracer
from TRACER.official_keys import UNUSED, translate
from utils.errors import ConfigError

FIXTURES = Path(__file__).parent / "fixtures"
SHARED = Path(__file__).parents[3] / "shared" / "tracer" / "golden"
MAPS = ("saliency", "edge", "ds0", "ds1", "ds2")
TOLERANCE = 1e-4
PARAMETERS = (
    7_453_090,
    9_958_726,
    11_085_364,
    14_015_462,
    20_705_138,
    31_303_954,
    43_470_822,
    66_266_806,
)


def golden_maps(scale: int) -> Path:
    folder = FIXTURES / "golden" if scale in (0, 1, 2) else SHARED
    path = folder / f"te{scale}.npz"
    if not path.exists():
        pytest.skip(f"golden maps of TE{scale} are only beside the project, in {SHARED}")
    return path


@pytest.mark.parametrize("scale", [0, 1, 2, 4, 6, 7])
def test_golden_weights_give_the_golden_maps(scale, golden_network, golden_input):
    golden = np.load(golden_maps(scale))
    stride = int(golden["stride"])
    with torch.inference_mode():
        output = golden_network(scale)(golden_input(scale))

    for index, name in enumerate(MAPS):
        map_ = getattr(output, name).numpy()
        np.testing.assert_allclose(map_[:, :, ::stride, ::stride], golden[name], atol=TOLERANCE)
        np.testing.assert_allclose(
            map_[:, 0, :16, :16], golden["corner"][index], atol=TOLERANCE, err_msg=name
        )
        np.testing.assert_allclose(map_.mean(axis=(1, 2, 3)), golden["full_mean"][index], atol=1e-5)


def test_timm_paddings_move_the_maps_of_te1(golden_network, golden_input):
    network = Tracer(1, static_padding=False).eval()
    network.load_state_dict(golden_network(1).state_dict())
    with torch.inference_mode():
        images = golden_input(1)[:1]
        difference = network.predict_saliency(images) - golden_network(1).predict_saliency(images)

    assert difference.abs().max() > 0.1


@pytest.mark.parametrize("scale", range(8))
def test_every_released_parameter_is_mapped_or_listed_as_unused(scale):
    released = json.loads((FIXTURES / "checkpoint_keys" / f"te{scale}.json").read_text())
    shapes = {
        key.removeprefix("module."): tuple(spec["shape"] if isinstance(spec, dict) else spec)
        for key, spec in released.items()
    }
    assert set(UNUSED) <= set(shapes)

    with torch.device("meta"):
        ours = {k: tuple(v.shape) for k, v in Tracer(scale).state_dict().items()}
    mapped = {translate(k, scale): v for k, v in shapes.items() if k not in UNUSED}

    assert len(mapped) == len(shapes) - len(UNUSED), "two keys were mapped to one"
    assert mapped == ours


@pytest.mark.parametrize("scale", range(8))
def test_parameter_count_is_the_published_one(scale):
    with torch.device("meta"):
        network = Tracer(scale)
    unused_norm = 2 * network.encoder.widths[0]
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[scale] - unused_norm
    assert network.input_size == INPUT_SIDES[scale]


def test_saliency_alone_equals_saliency_among_the_other_maps(golden_network):
    network, images = golden_network(0), torch.randn(2, 3, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(
            network.predict_saliency(images), network(images).saliency, atol=1e-6, rtol=0
        )


def test_saliency_is_the_mean_of_the_logits_and_edge_logits_reach_below_zero(golden_network):
    with torch.inference_mode():
        output = golden_network(0)(torch.randn(2, 3, 128, 128))

    mean = torch.stack(output.ds_logits).mean(dim=0)
    torch.testing.assert_close(output.saliency, mean.sigmoid())
    assert output.edge.min() >= 0.5
    assert output.edge_logits.min() < -0.1


def test_in_eval_mode_images_are_independent_and_buffers_stay(golden_network):
    network = golden_network(0)
    before = {k: v.clone() for k, v in network.named_buffers()}
    images = torch.randn(3, 3, 128, 128)
    with torch.inference_mode():
        together = network(images).saliency
        alone = network(images[1:2]).saliency

    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)
    assert all(torch.equal(before[k], v) for k, v in network.named_buffers())


def test_every_parameter_learns_even_after_inference_at_the_same_side():
    network = Tracer(0)
    images = torch.randn(2, 3, 128, 128)
    with torch.inference_mode():
        network.eval()(images)
    output = network.train()(images)
    loss = output.saliency_logits.square().mean() + output.edge_logits.square().mean()
    loss.backward()

    assert [n for n, p in network.named_parameters() if p.grad is None] == []


def test_bfloat16_autocast_keeps_the_frequency_branch_in_float32(golden_network):
    edge = golden_network(0).encoder.edge
    x = torch.randn(1, 24, 40, 40)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        high = edge.high_pass(x.bfloat16())
    assert high.dtype == torch.float32
    torch.testing.assert_close(high, edge.high_pass(x.bfloat16().float()))


@pytest.mark.parametrize("side", [32, 40, 80])
def test_high_pass_equals_the_shifted_complex_transform(side, golden_network):
    edge, x = golden_network(0).encoder.edge, torch.randn(1, 2, side, side)
    index = torch.arange(side) - side / 2
    keep = (index[:, None] ** 2 + index[None, :] ** 2).sqrt() >= 16
    assert int((~keep).sum()) == 793
    spectrum = torch.fft.fftshift(torch.fft.fft2(x), dim=(-2, -1)) * keep
    expected = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).abs()

    torch.testing.assert_close(edge.high_pass(x), expected, atol=1e-5, rtol=0)


def test_compiles_into_one_graph():
    network = Tracer(0).eval()
    compiled = torch.compile(network, backend="eager", fullgraph=True, dynamic=False)
    images = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(images).saliency, network(images).saliency)


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match=r"0 \.\.\. 7"):
        Tracer(8)
    with pytest.raises(ConfigError, match="multiple of 32"):
        Tracer(0, input_size=200)
    with pytest.raises(ConfigError, match="from 128 up"):
        Tracer(0, input_size=96)
    network = Tracer(0)
    for shape in ((1, 3, 200, 200), (1, 3, 128, 160), (1, 3, 96, 96)):
        with pytest.raises(ValueError, match="multiple of 32"):
            network(torch.zeros(shape))
