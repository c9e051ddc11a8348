"""The weights of HSE-FaceRes, out of the files that an npm package brings."""

import json
from pathlib import Path

import numpy as np
import torch
from timm.models.efficientnet import EfficientNet
from torch import Tensor, nn

from faces.measured_norms import measure_norms
from model.faceres import faceres_mobilenetv1
from utils.errors import CheckpointError

TYPES = {"float16": "<f2", "float32": "<f4", "int32": "<i4"}


def read_faceres(path: Path, photos: Tensor) -> EfficientNet:
    """The network of a ``faceres.json`` and the ``.bin`` beside it.

    Args:
        path: the ``.json``.
        photos: (B, 3, H, W) normalized, some 256, on which the norms are measured.

    Raises:
        CheckpointError: it cannot be read, or is not that network's.
    """
    network = faceres_mobilenetv1(num_classes=0).eval()
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    try:
        arrays = _arrays_in(path)
        with torch.no_grad():
            for name, convolution, norm in zip(_names(), convolutions, norms, strict=True):
                _fill(name, convolution, norm, arrays)
            # Of blue, green and red, in this order.
            convolutions[0].weight.copy_(convolutions[0].weight.flip(1))
    except OSError as error:
        raise CheckpointError(f"{error.filename}: cannot be read ({error.strerror})") from error
    except (ValueError, LookupError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{path}: not the weights of HSE-FaceRes") from error
    with torch.no_grad():
        measure_norms(network, photos)
    return network


def _names() -> list[str]:
    pairs = ((f"conv_dw_{block}", f"conv_pw_{block}") for block in range(1, 14))
    return ["conv1", *(name for pair in pairs for name in pair)]


def _fill(
    name: str, convolution: nn.Conv2d, norm: nn.BatchNorm2d, arrays: dict[str, Tensor]
) -> None:
    if name.startswith("conv_dw"):
        kernel = arrays[f"{name}/depthwise_kernel"].permute(2, 3, 0, 1)  # (H, W, C, 1) before
        scale = arrays[f"{name}_bn/batchnorm_1/mul"]
    else:  # the scale of its norm is part of the kernel
        kernel = arrays[f"{name}/convolution/merged_input"].permute(3, 2, 0, 1)
        scale = torch.ones(len(kernel))
    offset = arrays[f"{name}_bn/batchnorm_1/sub"]
    for own, value in (
        (convolution.weight, kernel), (norm.weight, scale), (norm.bias, offset)
    ):  # fmt: skip
        if own.shape != value.shape:
            raise ValueError(name)
        own.copy_(value)


def _arrays_in(path: Path) -> dict[str, Tensor]:
    """The weights of a TensorFlow.js model by name: one after the other in a file beside it."""
    (manifest,) = json.loads(path.read_text(encoding="utf-8"))["weightsManifest"]
    data = b"".join((path.parent / name).read_bytes() for name in manifest["paths"])
    arrays, place = {}, 0
    for weight in manifest["weights"]:
        kind = TYPES[weight.get("quantization", weight)["dtype"]]
        size = int(np.prod(weight["shape"]))
        array = np.frombuffer(data, kind, size, place)
        arrays[weight["name"]] = torch.tensor(array.reshape(weight["shape"]).astype(np.float32))
        place += array.nbytes
    return arrays
