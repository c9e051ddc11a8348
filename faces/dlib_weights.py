"""The weights of dlib's ResNet, out of the file that its package brings."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faces.measured_norms import measure_norms
from model.dlib_resnet import DlibResNet
from utils.errors import CheckpointError


def read_dlib(path: Path, photos: Tensor) -> DlibResNet:
    """The network of dlib's ``dlib_face_recognition_resnet_model_v1.dat``.

    Its batch norms have become a scale and an offset for each channel, so that what they divided
    by is lost. It is measured anew on ``photos``, and what a norm does then differs from dlib's
    only in training, which without it would begin by changing every layer.

    Args:
        path: the file.
        photos: (B, 3, 150, 150) normalized, some 256.

    Raises:
        CheckpointError: it cannot be read, or is not that network's.
    """
    network = DlibResNet().eval()
    try:
        arrays = _arrays_in(_content(path))
    except (ValueError, IndexError):  # it ends within a tensor
        arrays = []
    # As they come in the network, so they come in the file; there, one more follows, which
    # makes 128 numbers of the features.
    layers: list[Any] = [
        layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)
    ]
    sizes = [sum(weight.numel() for weight in layer.parameters()) for layer in layers]
    if [len(array) for array in arrays[:-1]] != sizes:
        raise CheckpointError(f"{path}: not the weights of dlib's face recognition network")
    with torch.no_grad():
        for layer, array in zip(layers, arrays, strict=False):
            weight, bias = layer.parameters()
            values = torch.from_numpy(array)
            weight.copy_(values[: weight.numel()].view_as(weight))
            bias.copy_(values[weight.numel() :])
        measure_norms(network, photos)
        for convolution, norm in zip(layers[::2], layers[1::2], strict=True):
            _enlarge(convolution, norm)
    return network


def _enlarge(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give a convolution weights as large as fresh ones are (He et al. 2015, arXiv:1502.01852), and
    let the norm behind it divide by as much more: what both compute stays the same.

    Some of dlib's have a standard deviation of 0.0006, a fiftieth of that. AdamW moves every weight
    by about the learning rate, however small it is: at 1e-3 little is left of them after some
    hundred steps.
    """
    scale = (2 / convolution.weight[0].numel()) ** 0.5 / convolution.weight.square().mean().sqrt()
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    for values in (*convolution.parameters(), mean):
        values.mul_(scale)
    variance.add_(norm.eps).mul_(scale**2).sub_(norm.eps)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _arrays_in(data: bytes) -> list[np.ndarray]:
    """The float32 arrays of the layers in a file of ``dlib::serialize``, in their order.

    A layer begins with its name; numbers are a byte, with their length and sign, and then their
    bytes; a tensor is a version, four sizes and its values (dlib/serialize.h, tensor_tools.h).
    """
    arrays, place = [], 0
    for layer in re.finditer(rb"con_\d|affine_|fc_\d", data):
        # Weights may look like a name.
        if layer.start() < place:
            continue
        place = layer.end()
        skipped = 3 if layer[0].startswith(b"fc") else 1  # its outputs, inputs; the version
        numbers = []
        for _ in range(skipped + 4):
            length = data[place] & 0x0F
            numbers.append(int.from_bytes(data[place + 1 : place + 1 + length], "little"))
            place += 1 + length
        size = int(np.prod(numbers[skipped:]))
        arrays.append(np.frombuffer(data, "<f4", size, place).copy())
        place += 4 * size
    return arrays
