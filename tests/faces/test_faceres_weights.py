import json

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from base.task import load_task
from faces.faceres_weights import read_faceres
from model.dlib_resnet import DlibResNet
from model.model import TimmModelMulti
from model.side_by_side import NAME
from tests.faces.test_dlib_weights import as_dlib_writes
from tools.convert_backbone import main
from utils.errors import CheckpointError

WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
HALVING = (2, 4, 6, 12)
"""Numbers of the blocks."""


def made_up_weights():
    """Name → array, as the package's files have them."""
    draw = np.random.default_rng(0)

    def kernel(*shape, inputs=None):
        return draw.normal(0, (2 / (inputs or np.prod(shape[:3]))) ** 0.5, shape)

    def numbers(size):
        return draw.uniform(0.5, 1.5, size)

    arrays = {
        "age_pred/bias": numbers(100),
        "conv1/convolution/merged_input": kernel(3, 3, 3, 32),
        "conv1_bn/batchnorm_1/sub": numbers(32),
    }
    channels = 32
    for block, width in enumerate(WIDTHS, 1):
        arrays |= {
            f"conv_dw_{block}/depthwise_kernel": kernel(3, 3, channels, 1, inputs=9),
            f"conv_dw_{block}_bn/batchnorm_1/mul": numbers(channels),
            f"conv_dw_{block}_bn/batchnorm_1/sub": numbers(channels),
            f"conv_pw_{block}/convolution/merged_input": kernel(1, 1, channels, width),
            f"conv_pw_{block}_bn/batchnorm_1/sub": numbers(width),
        }
        channels = width
    return {name: values.astype(np.float16) for name, values in arrays.items()}


def as_tensorflow_computes(arrays, photos):
    """The features of (B, 3, H, W) photos in blue, green and red, straight from the arrays."""

    def layer(x, name, stride=1):
        kernel = arrays.get(f"{name}/convolution/merged_input")
        groups = 1 if kernel is not None else x.shape[1]
        order = (3, 2, 0, 1) if groups == 1 else (2, 3, 0, 1)
        if kernel is None:
            kernel = arrays[f"{name}/depthwise_kernel"]
        lacking = [max((-(-n // stride) - 1) * stride + len(kernel) - n, 0) for n in x.shape[2:]]
        (top, left) = (n // 2 for n in lacking)
        x = F.pad(x, (left, lacking[1] - left, top, lacking[0] - top))
        weight = torch.tensor(kernel.astype(np.float32)).permute(order)
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        norm = f"{name}_bn/batchnorm_1"
        scale = torch.tensor(arrays.get(f"{norm}/mul", np.ones(1)).astype(np.float32))
        offset = torch.tensor(arrays[f"{norm}/sub"].astype(np.float32))
        return (x * scale[:, None, None] + offset[:, None, None]).clamp(0, 6)

    x = layer(photos, "conv1", 2)
    for block in range(1, 14):
        x = layer(x, f"conv_dw_{block}", 2 if block in HALVING else 1)
        x = layer(x, f"conv_pw_{block}")
    return x.mean((2, 3))


@pytest.fixture(scope="module")
def arrays():
    return made_up_weights()


@pytest.fixture(scope="module")
def file(arrays, tmp_path_factory):
    return write_weights(arrays, tmp_path_factory.mktemp("faceres") / "faceres.json")


def write_weights(arrays, path):
    """Write the ``.json`` and the ``.bin`` beside it."""
    weights = [
        {
            "name": name,
            "shape": list(values.shape),
            "dtype": "float32",
            "quantization": {"dtype": "float16", "original_dtype": "float32"},
        }
        for name, values in arrays.items()
    ]
    manifest = [{"paths": ["faceres.bin"], "weights": weights}]
    path.write_text(json.dumps({"weightsManifest": manifest}))
    path.with_suffix(".bin").write_bytes(b"".join(v.tobytes() for v in arrays.values()))
    return path


@torch.no_grad()
def test_the_file_gives_the_network_that_tensorflow_computes(arrays, file):
    photos = torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    network = read_faceres(file, photos).eval()
    for size in (96, 75):  # padded differently
        x = photos[:, :, :size, :size]
        expected = as_tensorflow_computes(arrays, x.flip(1))
        assert expected.std(dim=0).mean() > 0.01  # it tells photos apart
        torch.testing.assert_close(network(x), expected, rtol=1e-3, atol=1e-3)
    # Training goes by the statistics of the batch, which now are those of the norms.
    expected = as_tensorflow_computes(arrays, photos.flip(1))
    torch.testing.assert_close(network.train()(photos), expected, rtol=0.1, atol=0.1)


def test_a_file_of_another_network_is_refused(file, tmp_path):
    photos = torch.zeros(2, 3, 96, 96)
    model = json.loads(file.read_text())
    copy = tmp_path / "faceres.json"
    copy.write_text(json.dumps(model))
    with pytest.raises(CheckpointError, match=r"faceres\.bin: cannot be read"):
        read_faceres(copy, photos)
    (tmp_path / "faceres.bin").write_bytes(file.with_suffix(".bin").read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="not the weights of HSE-FaceRes"):
        read_faceres(copy, photos)
    for other in ("{}", "no JSON", json.dumps({"weightsManifest": [{"paths": [], "weights": []}]})):
        copy.write_text(other)
        with pytest.raises(CheckpointError, match="not the weights of HSE-FaceRes"):
            read_faceres(copy, photos)


@torch.no_grad()
def test_the_command_writes_a_file_for_the_backbone(arrays, file, tmp_path):
    out = tmp_path / "faceres_mobilenetv1.safetensors"
    for name in "ab":
        pixels = np.random.default_rng(ord(name)).integers(256, size=(40, 40, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    main([str(file), "--photos", str(tmp_path), "--out", str(out), "--number", "2"])
    model = TimmModelMulti(load_task("faces"), "faceres_mobilenetv1", checkpoint_path=str(out))
    photos = torch.randint(256, (2, 3, 96, 96), dtype=torch.uint8)
    # It learned on values less VGG's mean, in blue, green and red.
    mean = torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    expected = as_tensorflow_computes(arrays, photos.flip(1) - mean)
    x = (photos / 255 - model.mean.view(3, 1, 1)) / model.std.view(3, 1, 1)
    torch.testing.assert_close(model.eval().backbone(x), expected, rtol=1e-3, atol=1e-3)


def test_one_command_writes_the_weights_of_both(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(40, 40, 3), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), pixels)
    network, arrays = DlibResNet(), made_up_weights()
    (tmp_path / "network.dat").write_bytes(as_dlib_writes(network))
    files = [str(tmp_path / "network.dat"), str(write_weights(arrays, tmp_path / "faceres.json"))]
    out = str(tmp_path / "both.safetensors")
    main([*files, "--photos", str(tmp_path), "--out", out, "--number", "2"])
    model = TimmModelMulti(load_task("faces"), NAME, checkpoint_path=out)
    stem = model.backbone.dlib_resnet29.stem.weight
    size = stem.norm() / network.stem.weight.norm()
    torch.testing.assert_close(stem, size * network.stem.weight)
    kernel = torch.tensor(arrays["conv1/convolution/merged_input"]).float()  # (H, W, C, width)
    stem = model.backbone.faceres_mobilenetv1.conv_stem.weight
    assert torch.equal(stem, kernel.permute(3, 2, 0, 1).flip(1))
