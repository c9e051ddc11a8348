"""Grad-CAM: which part of a photo speaks for each of a model's answers.

After Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization" (ICCV 2017).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.base_model import BaseModel
from base.task import Task
from model.decode import head_logits
from utils.errors import ConfigError

MIN_CELLS = 6
"""Cells a side that a feature map should have: one of 3x3 says little about where."""


class HeadCam:
    """Grad-CAM for each head of a task, of any model that ``arch.type`` names, for photos of
    ``input_size`` px.

    The parameters of ``model`` are frozen: its gradients are wanted for feature maps only. Not safe
    to share between threads.

    Raises:
        ConfigError: the backbone has no feature map to look at.
    """

    def __init__(self, model: BaseModel, task: Task, input_size: int) -> None:
        self.model = model.eval().requires_grad_(False)
        self.task = task
        self.layer = target_layer(model, input_size)

    def __call__(self, images: Tensor, answers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What speaks for ``answers`` in images (B, 3, S, S), RGB in 0..255.

        Args:
            answers: head → (B,) code of the answer to explain, see ``codes_to_explain``.

        Returns:
            head → (B, S, S) float32 in [0, 1]; all 0 where nothing speaks for the answer.
        """
        kept: list[Tensor] = []

        def keep(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            kept.append(output)
            return output.clone()  # what follows may write into its input

        device = next(self.model.parameters()).device
        # Gradients flow from the photos, since no parameter asks for them.
        photos = images.to(device).float().requires_grad_()
        handle = self.layer.register_forward_hook(keep)
        try:
            with torch.enable_grad():
                logits = head_logits(self.task, self.model(photos))
        finally:
            handle.remove()
        heat = {}
        for head, codes in answers.items():
            # Photos don't touch one another: the gradient of a sum is that of each.
            explained = logits[head][torch.arange(len(codes)), torch.as_tensor(codes)].sum()
            # One forward pass serves all heads, so its graph is kept.
            (gradient,) = torch.autograd.grad(explained, kept[0], retain_graph=True)
            side = images.shape[-1]
            heat[head] = _heat(as_map(kept[0].detach()), as_map(gradient), side).cpu().numpy()
        return heat


def _heat(maps: Tensor, gradients: Tensor, side: int) -> Tensor:
    """(B, C, h, w) each → (B, side, side) in [0, 1]: the maps, each by its mean gradient, summed
    up; what speaks against the answer is left out."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    # (B, C, h, w) → (B, 1, h, w)
    total = _stretched((weights * maps).sum(dim=1, keepdim=True).relu())
    return _stretched(F.interpolate(total, size=(side, side), mode="bilinear")).squeeze(1)


def _stretched(heat: Tensor) -> Tensor:
    """(B, 1, h, w), each photo's stretched to [0, 1]; all 0 where it is flat."""
    heat = heat - heat.amin(dim=(2, 3), keepdim=True)
    return heat / (heat.amax(dim=(2, 3), keepdim=True) + 1e-7)


def codes_to_explain(task: Task, probabilities: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Head → (N,) which of its answers is the one to explain: what is predicted of a class, of tags
    the likeliest, of a number the likeliest bin. ``probabilities``: head → (N, its answers), and
    with a product ``"class"`` → (N, C).
    """
    codes = {name: probabilities[name].argmax(axis=1) for name in task.heads}
    if task.product:
        codes |= task.decode(probabilities["class"].argmax(axis=1))
    return codes


def target_layer(model: BaseModel, input_size: int) -> nn.Module:
    """The module of the backbone whose output Grad-CAM looks at, for photos of ``input_size`` px.

    In a convolutional network it is the deepest stage or block whose map has ``MIN_CELLS`` cells a
    side. In a transformer it is the last block but one: behind the last, a network that reads its
    class token alone has no gradient in the others.

    Raises:
        ConfigError: no module gives a feature map.
    """
    outputs = _outputs(model, input_size)
    modules = [module for module in outputs if module in set(_stages(model.backbone))]
    # One cell, as behind the pooling, cannot say where.
    modules = [module for module in modules if _cells(outputs[module]) > 1]
    if modules and outputs[modules[-1]].ndim == 3:
        return _last_block_but_one(model.backbone, outputs)
    maps = [module for module in modules if outputs[module].ndim == 4]
    fine = [module for module in maps if _cells(outputs[module]) >= MIN_CELLS]
    if not maps:
        raise ConfigError("Grad-CAM: this backbone has no feature map to look at; choose another")
    return (fine or maps)[-1]


@torch.no_grad()
def _outputs(model: BaseModel, input_size: int) -> dict[nn.Module, Tensor]:
    """What each module of the backbone gives for a black photo, in the order they finish."""
    outputs: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, _, output) -> None:
        if isinstance(output, Tensor) and output.ndim in (3, 4):
            outputs[module] = output

    handles = [module.register_forward_hook(note) for module in model.backbone.modules()]
    try:
        device = next(model.parameters()).device
        model(torch.zeros(1, 3, input_size, input_size, device=device))
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _stages(module: nn.Module) -> Iterator[nn.Module]:
    """The submodules in a row that a network is made of, but not what is inside a block."""
    for child in module.children():
        yield child
        # Or a network within a network, as timm made it.
        if isinstance(child, nn.Sequential | nn.ModuleList) or hasattr(child, "pretrained_cfg"):
            yield from _stages(child)


def _last_block_but_one(backbone: nn.Module, outputs: Mapping[nn.Module, Tensor]) -> nn.Module:
    rows = [
        module for module in backbone.modules() if isinstance(module, nn.Sequential | nn.ModuleList)
    ]
    blocks = [[block for block in row if block in outputs] for row in rows]
    # The blocks are the longest row: stems, patches and heads are short ones.
    longest = max(blocks, key=len, default=[])
    if len(longest) < 2:
        raise ConfigError("Grad-CAM: this backbone has no row of blocks; choose another")
    return longest[-2]


def _cells(output: Tensor) -> int:
    """Cells a side, of (B, C, H, W), (B, H, W, C) or (B, tokens, C)."""
    return as_map(output).shape[-1]


def as_map(output: Tensor) -> Tensor:
    """What a module of a backbone gives for square photos → (B, C, H, W): that already, or (B, H,
    W, C), or (B, tokens, C) whose last tokens are the cells.
    """
    if output.ndim == 3:
        side = math.isqrt(output.shape[1])
        # Class and register tokens stand in front of the cells. (B, tokens, C) → (B, side, side, C)
        output = output[:, -side * side :].unflatten(1, (side, side))
    # Of square photos H and W are equal, and C is seldom: Swin gives (B, H, W, C).
    elif output.shape[2] == output.shape[3]:
        return output
    return output.permute(0, 3, 1, 2)
