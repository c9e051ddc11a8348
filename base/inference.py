"""The forward pass of every answer: validation, test, app and export ask a model by this one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from utils.devices import explain_out_of_memory


@torch.inference_mode()
def infer(
    model: Callable[[Tensor], Any],
    images: Tensor,
    amp: torch.dtype | None,
    memory_format: torch.memory_format,
) -> Any:
    """What a model in evaluation mode gives: of a ``BaseModel`` head → (B, n) float32 logits.

    Args:
        model: a ``BaseModel``, or a method of one that takes photos; on the device of
            ``images``, its weights in ``memory_format``.
        images: (B, 3, S, S) RGB in 0..255, uint8 or float.
        amp: autocast to this type; ``None`` computes in float32.
        memory_format: of the photos; channels last takes a third less time on the CPU.
    """
    # Weights and photos in different layouts would be converted in front of each convolution.
    images = images.contiguous(memory_format=memory_format)
    with (
        explain_out_of_memory("a prediction", images),
        torch.autocast(images.device.type, amp, enabled=amp is not None),
    ):
        return model(images)
