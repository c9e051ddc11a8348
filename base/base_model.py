"""The contract of every model: photos in, one set of logits per head out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from utils.errors import ConfigError, nearest


class BaseModel(nn.Module):
    """A backbone with one layer per head on its pooled features, a linear one if not said.

    Normalization is part of the model, so that training, test and app cannot disagree about it,
    and its constants travel in the checkpoint.

    Args:
        backbone: (B, 3, H, W) normalized photos → (B, ``num_features``).
        num_features: width of the pooled features.
        heads: head name → number of its classes.
        mean: per RGB channel, for values in [0, 1].
        std: per RGB channel, for values in [0, 1].
        dropout: share of the features dropped in front of the heads while training.
        head_layers: head name → what makes its layer from (``num_features``, number of its
            classes), for heads that are not linear.
        input_size: the only height and width in pixels the backbone takes; ``None``: any.

    Raises:
        ConfigError: a dropout outside [0, 1).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        num_features: int,
        heads: Mapping[str, int],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        dropout: float = 0.0,
        head_layers: Mapping[str, Callable[[int, int], nn.Module]] | None = None,
        input_size: int | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ConfigError(f"arch.args.dropout is {dropout}; it must be at least 0 and below 1")
        self.heads: dict[str, int] = dict(heads)
        self.num_features = num_features
        self.input_size = input_size
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        layers, linear = head_layers or {}, nn.Linear
        # A ModuleDict has attributes of its own, such as `type`, which no head may be stored under.
        self.classifiers = nn.ModuleDict(
            {module_name(k): layers.get(k, linear)(num_features, n) for k, n in heads.items()}
        )
        # (3,) → (1, 3, 1, 1), to go with (B, 3, H, W); buffers travel with the weights.
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) RGB photos in 0..255, uint8 or float → head → (B, its classes) float32."""
        return self.classify(self.features(images))

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """(B, ``num_features``) → logits, in the heads' own precision, also under autocast.

        bfloat16 keeps three digits: heads in it gave another answer to 3 photos of 1,000, and
        float32 costs next to nothing beside the backbone.
        """
        features = self.dropout(features.to(next(self.classifiers.parameters()).dtype))
        # Autocast would cast features that are cast alone back in each linear layer.
        with torch.autocast(features.device.type, enabled=False):
            # By place: a key of the ModuleDict need not be the name of the head.
            layers = zip(self.heads, self.classifiers.values(), strict=True)
            return {head: layer(features).float() for head, layer in layers}

    def features(self, images: Tensor) -> Tensor:
        """Photos, as for ``forward`` → (B, ``num_features``), what the heads see; a ConfigError
        for photos of a size that the backbone cannot take."""
        # A transformer made for one size fails deep inside, in words that name no config key.
        height, width = images.shape[-2:]
        if self.input_size is not None and (height, width) != (self.input_size, self.input_size):
            raise ConfigError(
                f"the backbone takes {self.input_size}×{self.input_size} pixels, the photos have"
                f" {height}×{width}: set data_loader.args.input_size={self.input_size}, or, for"
                f" a timm backbone, arch.args.img_size={height}"
            )
        return self.backbone(self.normalize(images))

    def normalize(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..255 → the zero-mean, unit-variance scale the backbone was made for."""
        # The type of the buffers decides, so that an export in float16 computes in it from here on.
        return (images.to(self.mean.dtype) / 255 - self.mean) / self.std

    def parameter_groups(self) -> list[dict]:
        """The trainable parameters as two optimizer groups, named ``backbone`` and ``heads``."""
        # Fixed parameters, such as sine position embeddings, are nothing for an optimizer.
        submodules = {"backbone": self.backbone, "heads": self.classifiers}
        return [
            {"name": name, "params": [p for p in module.parameters() if p.requires_grad]}
            for name, module in submodules.items()
        ]

    def __str__(self) -> str:
        trainable = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return f"{super().__str__()}\nTrainable parameters: {trainable:,}"


def backbone_modules(model: BaseModel, names: Iterable[str]) -> list[nn.Module]:
    """The submodules of a model's backbone that have these names; a ConfigError for others."""
    modules = dict(model.backbone.named_modules())
    for name in names:
        if name not in modules or not name:
            shallow = [module for module in modules if module and module.count(".") < 2]
            hint = nearest(name, shallow)
            raise ConfigError(f"trainer.freeze: the backbone has no submodule {name!r}{hint}")
    return [modules[name] for name in names]


def checkpoint_activations(model: BaseModel) -> None:
    """Let the backbone compute most activations again in the backward pass (Chen et al. 2016,
    arXiv:1604.06174); a ConfigError where it can't."""
    backbone: Any = model.backbone
    try:
        backbone.set_grad_checkpointing(True)
    except (AttributeError, AssertionError) as error:  # timm asserts where it has none
        raise ConfigError(
            f"trainer.activation_checkpointing: the backbone ({type(backbone).__name__}) has none;"
            " set it to false and lower data_loader.args.batch_size, or take another backbone of"
            " timm, as most there have it"
        ) from error


def module_name(head: str) -> str:
    """What a head's module is called in a ``ModuleDict``, which owns names such as ``type``."""
    return f"head_{head}" if hasattr(nn.ModuleDict(), head) else head
