"""Convolution and batch norm as one convolution, for a network that learns no more."""

import copy
import itertools

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from TRACER.network import Tracer


def fold_norms(network: Tracer) -> Tracer:
    """A copy of a network, in eval mode, with each BatchNorm behind a convolution folded into its
    weights; its maps are equal up to float32 rounding.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    for parent in list(folded.modules()):
        names = list(parent._modules)
        for name, next_name in itertools.pairwise(names):
            convolution, norm = parent._modules[name], parent._modules[next_name]
            # Neighbors by name: in all blocks a norm follows its convolution directly.
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                parent._modules[name] = fuse_conv_bn_eval(convolution, norm)
                # timm's norms carry the activation behind them.
                parent._modules[next_name] = getattr(norm, "act", nn.Identity())
    return folded
