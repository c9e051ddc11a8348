"""An exported classifier in whole numbers of 8 bits: a quarter of the size, quicker on most CPUs.

Static quantization (Jacob et al. 2018, arXiv:1712.05877): weights per channel, activations by the
range that they have on calibration photos. Nodes stay as they are, with QuantizeLinear and
DequantizeLinear around them (QDQ).
"""

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from model.onnx_file import CROPS

HEAVY = ["Conv", "MatMul", "Gemm"]
"""What is worth it: nearly all operations are theirs. The answers, from the softmax on, stay in
float32: the rounding of 8 bits would make a probability of 0.002 none."""


def to_int8(exported: bytes, crops: Iterable[np.ndarray], described: dict[str, str]) -> bytes:
    """The float32 file of ``to_onnx`` with convolutions and products in int8; ``crops`` are batches
    (B, 3, side, side) uint8 of photos that the model was trained on, ``described`` the metadata.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it recommends fusing that the exporter has already done
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "int8.onnx")
            quantize_static(
                onnx.load_from_string(exported),
                path,
                _Crops(crops),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=HEAVY,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8,
                # Without 8-bit dot products (AVX2) sums of two products overflow 16 bits otherwise.
                reduce_range=True,
            )
            quantized = onnx.load(path)
    finally:
        logging.disable(before)
    onnx.helper.set_model_props(quantized, described)
    onnx.checker.check_model(quantized)
    return quantized.SerializeToString()


class _Crops(CalibrationDataReader):
    def __init__(self, crops: Iterable[np.ndarray]) -> None:
        self._crops = iter(crops)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._crops, None)
        return None if batch is None else {CROPS: batch}
