"""The network as it runs when nothing is to be learned: folded, in the fastest safe precision."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn

from TRACER.attention import ChannelAttention
from TRACER.folding import fold_norms
from TRACER.network import MEAN, STD, Tracer
from TRACER.onnx_engine import OnnxPredictor
from utils.devices import half_dtype
from utils.errors import ConfigError, UserError

logger = logging.getLogger(__name__)

Precision = Literal["auto", "float32", "bfloat16", "float16"]


def make_predictor(
    network: Tracer, device: torch.device, batch_size: int, precision: Precision = "auto"
) -> "Predictor | OnnxPredictor":
    """The quickest way to run the network on a device; the arguments are those of ``Predictor``.

    In float32 on a CPU that is ONNX Runtime. Where a CPU multiplies in bfloat16, torch does.
    """
    if choose_engine(device, precision) == OnnxPredictor.engine:
        return OnnxPredictor(network)
    return Predictor(network, device, batch_size, precision)


def choose_engine(device: torch.device, precision: Precision) -> str:
    """The ``engine`` of what ``make_predictor`` makes."""
    on_onnx = device.type == "cpu" and choose_dtype(device, precision) is torch.float32
    return (OnnxPredictor if on_onnx else Predictor).engine


class Predictor:
    """Turns photos into saliency maps, each independently of the others; threads may share it.

    All forwards have the same shape, whatever the number of photos, so that neither kernels nor
    roundings change with it. A GPU belongs to one thread of this object's own, which launches all
    of them: cuDNN plans a network anew for each thread that runs it, which takes three seconds.

    Args:
        network: weights and input side; it is copied and stays as it is.
        device: where to run.
        batch_size: photos of a forward on a GPU; halved where its memory does not hold them. The
            CPU has its own, see ``cpu_batch_size``.
        precision: of the convolutions; ``"auto"`` takes the fastest that the device has
            instructions for.

    Raises:
        ConfigError: an unknown precision.
    """

    engine = "torch"

    def __init__(
        self, network: Tracer, device: torch.device, batch_size: int, precision: Precision = "auto"
    ) -> None:
        self.side = network.input_size
        self.device = device
        self.dtype = choose_dtype(device, precision)
        on_cpu = device.type == "cpu"
        self.batch_size = cpu_batch_size(self.side) if on_cpu else batch_size
        # Tensor cores and oneDNN compute in NHWC, and would else convert at each layer.
        self._network = fold_norms(network).to(device).to(memory_format=torch.channels_last)
        cast_convolutions(self._network, self.dtype)
        if on_cpu and self.batch_size > 1:
            separate_small_vectors(self._network)
        self._mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(STD, device=device).view(1, 3, 1, 1) * 255
        self._owner = ThreadPoolExecutor(1, "tracer-gpu")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(n, S, S, 3) uint8, RGB, contiguous -> (n, S, S) uint8 saliency, rounded; 255 is 1.0."""
        if self.device.type != "cpu":
            return np.concatenate(
                # Waiting is done here, in the worker's thread, where no core is needed for it.
                [wait() for wait in self._owner.submit(self._launch, images).result()]
            )
        starts = range(0, len(images), self.batch_size)
        return np.concatenate([self._on_cpu(images[i : i + self.batch_size]) for i in starts])

    def _on_cpu(self, images: np.ndarray) -> np.ndarray:
        # Filled up with black to the one shape that all forwards have.
        batch = torch.zeros((self.batch_size, self.side, self.side, 3), dtype=torch.uint8)
        batch[: len(images)] = torch.from_numpy(images)
        return self._maps(batch)[: len(images)].numpy()

    def _launch(self, images: np.ndarray) -> list[Callable[[], np.ndarray]]:
        """Queue the forwards of (n, S, S, 3) uint8 on the GPU, in the thread that owns it.

        Returns:
            What waits for each and gives its maps, called in another thread: this one queues the
            next batch meanwhile.

        Raises:
            UserError: not even one photo fits its memory.
        """
        asked, queued, start = self.batch_size, [], 0
        while start < len(images):
            try:
                queued.append(self._on_gpu(images[start : start + self.batch_size]))
                start += self.batch_size
                continue
            except torch.OutOfMemoryError as error:
                if self.batch_size == 1:
                    raise UserError(
                        f"{self.device}: not enough memory for TRACER, not even for one photo at a"
                        " time; end what else runs on it, or take another device"
                    ) from error
            self.batch_size //= 2  # here, where the error no longer holds the tensors
            torch.cuda.empty_cache()
        if self.batch_size < asked:
            logger.warning(
                "%s: not enough memory for %d photos per forward; going on with %d",
                self.device, asked, self.batch_size,
            )  # fmt: skip
        return queued

    def _on_gpu(self, images: np.ndarray) -> Callable[[], np.ndarray]:
        # A thread starts on the first GPU, where pinned memory and events would be made.
        with torch.cuda.device(self.device):
            shape = (self.batch_size, self.side, self.side)
            # Pinned, or non_blocking copies would block after all.
            batch = torch.zeros((*shape, 3), dtype=torch.uint8, pin_memory=True)
            batch[: len(images)] = torch.from_numpy(images)
            result = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
            maps = self._maps(batch.to(self.device, non_blocking=True))
            result.copy_(maps, non_blocking=True)
            done = torch.cuda.current_stream(self.device).record_event()

        def wait() -> np.ndarray:
            done.synchronize()
            return result[: len(images)].numpy()

        return wait

    @torch.inference_mode()
    def _maps(self, images: Tensor) -> Tensor:
        normalized = (images.permute(0, 3, 1, 2) - self._mean) / self._std  # stays channels-last
        low = self.dtype != torch.float32
        with torch.autocast(self.device.type, self.dtype if low else None, enabled=low):
            # (B, 1, S, S) float32
            saliency = self._network.predict_saliency(normalized)
        return (saliency[:, 0] * 255).round().to(torch.uint8)


def cpu_batch_size(side: int) -> int:
    """Photos of a forward on the CPU: four, over which the cost of starting each operator is
    spread; one for a large input, whose feature maps would no longer fit the processor's cache.
    """
    return 4 if side <= 352 else 1


def choose_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    """The type that convolutions run in.

    Raises:
        ConfigError: an unknown precision.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if precision in known:
        return known[precision]
    if precision != "auto":
        raise ConfigError(f"precision {precision!r}: use 'auto', {', '.join(map(repr, known))}")
    if device.type == "cuda":
        return half_dtype(device)
    return torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


def cast_convolutions(network: Tracer, dtype: torch.dtype) -> None:
    """Store the convolutions' weights in ``dtype``, so that autocast need not at each forward.

    Those of the channel attention stay float32, which it computes in.
    """
    spared = {
        layer
        for attention in network.modules()
        if isinstance(attention, ChannelAttention)
        for layer in attention.modules()
    }
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer not in spared:
            # Convolutions alone: autocast keeps norms and softmax in float32 by itself.
            layer.to(dtype)


class ImageByImage(nn.Module):
    """Runs a module on one image of a batch after the other.

    A vectorized function of few values computes the last ones, which do not fill a vector, by other
    instructions, so that their last bit depends on the image's place in the batch. Feature maps
    fill whole vectors in a batch of four; pooled vectors do not.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        # (B, …) → B · (1, …) → (B, …)
        return torch.cat([self.module(image) for image in x.split(1)])


def separate_small_vectors(network: Tracer) -> None:
    """Make what the network computes from pooled vectors independent of an image's place."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ChannelAttention):
                # The whole module: it is made of pooled vectors throughout.
                setattr(parent, name, ImageByImage(child))
            elif isinstance(child, SqueezeExcite):
                # Activations only: convolutions of a pooled vector are the same anywhere.
                child.act1, child.gate = ImageByImage(child.act1), ImageByImage(child.gate)
