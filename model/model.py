"""The models that ``arch.type`` names; they differ only in where the backbone comes from."""

from base.base_model import BaseModel
from data_loader.labels import HEADS, NUM_CLASSES
from model.backbones import timm_backbone, torchvision_backbone
from model.decode import SINGLE_HEAD
from model.ordinal import CornHead
from utils.errors import ConfigError

AGE_HEADS = {"linear": {}, "corn": {"age": CornHead}}
"""What ``age_head`` may be → the layers that differ from a linear one."""


class TimmModelMulti(BaseModel):
    """Any timm backbone with one head each for mask, gender and age.

    Args:
        model_name: a name of ``timm.list_models()``, with or without a weights tag.
        pretrained: download the backbone's published weights, or take them from the cache.
        checkpoint_path: a local weights file of this backbone (.safetensors, .pth); it takes the
            place of a download.
        dropout: share of the features dropped in front of the heads while training.
        drop_path: stochastic depth, where the backbone has it.
        img_size: for backbones made for one input size: the height and width in pixels to build
            it for, if not its usual one.
        age_head: ``"linear"``, or ``"corn"``, which knows that age bins have an order.

    Raises:
        ConfigError: unknown backbone, an option it lacks, or no way to its published weights.
        CheckpointError: a weights file that is missing, unreadable or of another network.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool = True,
        checkpoint_path: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        img_size: int | None = None,
        age_head: str = "linear",
    ) -> None:
        backbone = timm_backbone(model_name, pretrained, checkpoint_path, drop_path, img_size)
        super().__init__(
            **backbone._asdict(), heads=HEADS, dropout=dropout, head_layers=_age_layers(age_head)
        )


class TimmModel(BaseModel):
    """Any timm backbone with a single head for the 18 classes; arguments of `TimmModelMulti`,
    but for ``age_head``.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool = True,
        checkpoint_path: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        img_size: int | None = None,
    ) -> None:
        backbone = timm_backbone(model_name, pretrained, checkpoint_path, drop_path, img_size)
        super().__init__(**backbone._asdict(), heads={SINGLE_HEAD: NUM_CLASSES}, dropout=dropout)


class TorchVisionModel(BaseModel):
    """Any torchvision classification network that ends in a linear layer, with the three heads.

    Args:
        model_name: a name of ``torchvision.models.list_models(module=torchvision.models)``.
        pretrained: download the network's default weights, or take them from the cache.
        checkpoint_path: a local weights file of this network; it takes the place of a download.
        dropout: share of the features dropped in front of the heads while training; dropout
            that the network has itself stays.
        age_head: as for `TimmModelMulti`.

    Raises:
        ConfigError: unknown network, one without a last linear layer, or no way to its weights.
        CheckpointError: a weights file that is missing, unreadable or of another network.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool = True,
        checkpoint_path: str | None = None,
        dropout: float = 0.0,
        age_head: str = "linear",
    ) -> None:
        backbone = torchvision_backbone(model_name, pretrained, checkpoint_path)
        super().__init__(
            **backbone._asdict(), heads=HEADS, dropout=dropout, head_layers=_age_layers(age_head)
        )


def _age_layers(age_head: str) -> dict[str, type[CornHead]]:
    if age_head not in AGE_HEADS:
        raise ConfigError(f"arch.args.age_head is {age_head!r}; it must be 'linear' or 'corn'")
    return AGE_HEADS[age_head]
