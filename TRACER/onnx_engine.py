"""The network under ONNX Runtime, which on a CPU is quicker than torch in float32."""

import io
import math
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from TRACER.attention import FREQUENCY_RADIUS
from TRACER.folding import fold_norms
from TRACER.network import MEAN, STD, Tracer
from TRACER.weights import weights_digest

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

OPSET = 17
MOST_SESSIONS = 2
_sessions: "dict[str, InferenceSession]" = {}  # by digest of the weights, the oldest first
_building = threading.Lock()


class OnnxPredictor:
    """Turns photos into saliency maps, one photo a forward, on the calling thread's core.

    The network is translated at the first photo, which takes two seconds; objects of the same
    weights share what came of it. Threads may share an object.
    """

    engine = "onnxruntime"
    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, network: Tracer) -> None:
        self.side = network.input_size
        self._network = network
        self._digest = weights_digest(network)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(n, S, S, 3) uint8, RGB -> (n, S, S) uint8 saliency, rounded; 255 is 1.0."""
        session = self._session()
        name = session.get_inputs()[0].name
        # One photo per forward, so that no result depends on its neighbors.
        return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])

    def _session(self) -> "InferenceSession":
        # One builds, the others wait: each build takes two seconds and a copy of the network.
        with _building:
            if self._digest not in _sessions:
                _sessions[self._digest] = start(to_onnx(self._network))
                if len(_sessions) > MOST_SESSIONS:
                    del _sessions[next(iter(_sessions))]
            return _sessions[self._digest]


def start(model: bytes) -> "InferenceSession":
    """Load an ONNX model; each thread that calls it computes on its own core alone."""
    import onnxruntime  # takes a while to load, and only CPUs need it

    options = onnxruntime.SessionOptions()
    # Photos are spread over the cores already; threads of its own would compete for them.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def to_onnx(network: Tracer) -> bytes:
    """The network as ONNX: (1, S, S, 3) uint8 -> (1, S, S) uint8, S its input side."""
    folded: Any = fold_norms(network).cpu()
    folded.encoder.edge.high_pass = high_pass_by_products(network.input_size // 4)
    side = network.input_size
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what tracing leaves out: checks of the photo's shape
        torch.onnx.export(
            _Bytes(folded),
            (torch.zeros(1, side, side, 3, dtype=torch.uint8),),
            buffer,  # type: ignore[arg-type]  # documented for the exporter chosen below
            opset_version=OPSET,
            dynamo=False,  # the newer exporter needs onnxscript, a dependency for this alone
        )
    return buffer.getvalue()


class _Bytes(nn.Module):
    """A network that takes and gives whole numbers of 0 ... 255."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Tracer) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255)

    def forward(self, images: Tensor) -> Tensor:
        normalized = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
        saliency = self.network.predict_saliency(normalized)
        return (saliency[:, 0] * 255).round().to(torch.uint8)


def high_pass_by_products(side: int) -> Callable[[Tensor], Tensor]:
    """``EdgeModule.high_pass`` of a map of (B, C, side, side) float32 as matrix products, which are
    quick in ONNX as its DFT is not.

    The few low frequencies are computed (a discrete Fourier transform of those rows and columns
    alone), brought back, and subtracted.
    """
    frequency = torch.arange(1 - FREQUENCY_RADIUS, FREQUENCY_RADIUS, dtype=torch.float64)
    angle = 2 * math.pi / side * torch.outer(frequency, torch.arange(side, dtype=torch.float64))
    cosine, sine = angle.cos().float(), angle.sin().float()  # (31, side)
    low = frequency[:, None] ** 2 + frequency**2 < FREQUENCY_RADIUS**2
    # 1/side², the inverse transform's factor, for both directions at once.
    remove = low.float() / side**2

    back_cosine, back_sine = cosine.T.contiguous(), sine.T.contiguous()

    def high_pass(x: Tensor) -> Tensor:
        # Columns: (B, C, S, S) → (B, C, S, 31)
        real, imaginary = x @ back_cosine, -(x @ back_sine)
        # Rows: (B, C, S, 31) → (B, C, 31, 31)
        real, imaginary = cosine @ real + sine @ imaginary, cosine @ imaginary - sine @ real
        real, imaginary = real * remove, imaginary * remove
        # And back: (B, C, 31, 31) → (B, C, S, 31) → (B, C, S, S)
        real, imaginary = (
            back_cosine @ real - back_sine @ imaginary,
            back_cosine @ imaginary + back_sine @ real,
        )
        # The real part alone: that of a real picture's low frequencies is real.
        return (x - (real @ cosine - imaginary @ sine)).abs()

    return high_pass
