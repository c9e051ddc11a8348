"""Batch norms of a file that has only their scales and offsets."""

from torch import Tensor, nn


def measure_norms(network: nn.Module, photos: Tensor) -> None:
    """Give the norms of a network the statistics of ``photos``, and such weights that what they
    compute stays the same.

    Published for inference, a norm is a scale and an offset for each channel, and what it divided
    by is lost. Without it, training would begin by changing every layer.

    Args:
        network: in evaluation mode; its norms scale by ``weight`` and add ``bias``, whatever
            their statistics.
        photos: (B, 3, H, W) normalized, some 256.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        # What a norm adds to the variance before it divides makes a division by 1 of it.
        norm.running_var = norm.weight.new_full(norm.weight.shape, 1 - norm.eps)
    inputs: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def look(norm: nn.Module, given: tuple[Tensor]) -> None:
        inputs[norm] = given[0].mean((0, 2, 3)), given[0].var((0, 2, 3))

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    network(photos)
    for norm, hook in zip(norms, hooks, strict=True):
        hook.remove()
        mean, variance = inputs[norm]
        norm.running_mean, norm.running_var = mean, variance
        norm.bias.add_(norm.weight * mean)
        norm.weight.mul_((variance + norm.eps).sqrt())
