import struct

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from base.task import load_task
from faces.dlib_weights import read_dlib
from model.dlib_resnet import DlibResNet
from model.model import TimmModelMulti
from tools.convert_backbone import main
from utils.errors import CheckpointError


def number(value):
    content = value.to_bytes((value.bit_length() + 7) // 8, "little")
    return bytes([len(content)]) + content


def tensor(values):
    floats = values.flatten().tolist()
    sizes = b"".join(map(number, (2, len(floats), 1, 1, 1)))
    return sizes + struct.pack(f"<{len(floats)}f", *floats)


def as_dlib_writes(network):
    """The bytes of a file: each layer's name, then its weights and offsets as one tensor."""
    found = [b"loss_metric_2"]
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d)):
            name = b"con_4" if isinstance(layer, nn.Conv2d) else b"affine_"
            both = torch.cat([layer.weight.flatten(), layer.bias])
            found.append(name + tensor(both) + b"what else is said of it")
    fc = b"fc_2" + number(128) + number(256) + tensor(torch.zeros(256, 128))
    return b"".join([*found, fc])


@pytest.fixture(scope="module")
def affine():
    """A network whose norms only scale and shift, as those of the file do."""
    torch.manual_seed(0)
    network = DlibResNet().eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.normal_(norm.bias, std=0.1)
            norm.running_var.fill_(1 - norm.eps)
    return network


@pytest.fixture(scope="module")
def file(affine, tmp_path_factory):
    path = tmp_path_factory.mktemp("dlib") / "network.dat"
    path.write_bytes(as_dlib_writes(affine))
    return path


@torch.no_grad()
def test_the_file_gives_the_network_that_wrote_it_with_measured_norms(affine, file):
    photos = torch.randn(4, 3, 150, 150, generator=torch.Generator().manual_seed(1))
    network = read_dlib(file, photos).eval()
    torch.testing.assert_close(network(photos), affine(photos), rtol=1e-3, atol=1e-4)
    # Training goes by the statistics of the batch, which now are those of the norms.
    torch.testing.assert_close(network.train()(photos), affine(photos), rtol=0.1, atol=0.02)
    with pytest.raises(CheckpointError, match="not the weights of dlib's"):
        (file.parent / "other.dat").write_bytes(file.read_bytes()[:100_000])
        read_dlib(file.parent / "other.dat", photos)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_dlib(file.parent / "none.dat", photos)


@torch.no_grad()
def test_its_weights_are_as_large_as_fresh_ones_so_that_training_does_not_wipe_them_out(file):
    photos = torch.randn(4, 3, 150, 150, generator=torch.Generator().manual_seed(1))
    for layer in read_dlib(file, photos).modules():
        if isinstance(layer, nn.Conv2d):
            fresh = (2 / layer.weight[0].numel()) ** 0.5
            assert layer.weight.square().mean().sqrt().item() == pytest.approx(fresh, rel=1e-4)


@torch.no_grad()
def test_the_command_writes_a_file_for_the_backbone(affine, file, tmp_path):
    out = tmp_path / "dlib_resnet29.safetensors"
    for name in "ab":
        pixels = np.random.default_rng(ord(name)).integers(256, size=(40, 40, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    main([str(file), "--photos", str(tmp_path), "--out", str(out), "--number", "2"])
    model = TimmModelMulti(load_task("faces"), "dlib_resnet29", checkpoint_path=str(out))
    size = model.backbone.stem.weight.norm() / affine.stem.weight.norm()
    torch.testing.assert_close(model.backbone.stem.weight, size * affine.stem.weight)
    logits = model.eval()(torch.zeros(1, 3, 128, 128, dtype=torch.uint8))
    assert {head: tuple(values.shape) for head, values in logits.items()} == {
        "mask": (1, 3), "gender": (1, 2), "age": (1, 6)
    }  # fmt: skip
