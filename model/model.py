"""The models that ``arch.type`` names; they differ only in where the backbone comes from."""

from collections.abc import Callable, Mapping

from torch import nn

from base.base_model import BaseModel
from base.heads import TagHead
from base.task import Task
from model.backbones import timm_backbone, torchvision_backbone
from model.decode import heads_of, single_head
from model.kernel import KernelHead
from model.ordinal import CornHead
from utils.errors import ConfigError, nearest

LAYERS = {"linear": nn.Linear, "corn": CornHead, "kernel": KernelHead}
"""What ``heads`` may say of a head → what makes its layer."""


class TimmModelMulti(BaseModel):
    """Any timm backbone with a layer for each head of the task.

    Args:
        task: what is asked of a photo.
        model_name: a name of ``timm.list_models()``, with or without a weights tag.
        pretrained: download the backbone's published weights, or take them from the cache.
        checkpoint_path: a local weights file of this backbone (.safetensors, .pth); it takes the
            place of a download.
        dropout: share of the features dropped in front of the heads while training.
        drop_path: stochastic depth, where the backbone has it.
        img_size: for backbones made for one input size: the height and width in pixels to build
            it for, if not its usual one.
        heads: head → ``"linear"``, as all are that it leaves out, ``"corn"``, which knows that
            classes have an order, or ``"kernel"``, which is solved for instead of trained.

    Raises:
        ConfigError: unknown backbone, an option it lacks, or no way to its published weights; a
            head that the task lacks, corn for one without an order, kernel for tags or for all.
        CheckpointError: a weights file that is missing, unreadable or of another network.
    """

    def __init__(
        self,
        task: Task,
        model_name: str,
        pretrained: bool = True,
        checkpoint_path: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        img_size: int | None = None,
        heads: Mapping[str, str] | None = None,
    ) -> None:
        backbone = timm_backbone(model_name, pretrained, checkpoint_path, drop_path, img_size)
        layers = _layers(task, heads or {})
        # The fields of a Backbone are arguments of BaseModel, by name.
        super().__init__(
            **backbone._asdict(), heads=heads_of(task), dropout=dropout, head_layers=layers
        )


class TimmModel(BaseModel):
    """Any timm backbone with a single head, for the classes of the whole or those of the one head
    that the task has; arguments of `TimmModelMulti`, but for ``heads``.

    Raises:
        ConfigError: also for a task of several heads without a product.
    """

    def __init__(
        self,
        task: Task,
        model_name: str,
        pretrained: bool = True,
        checkpoint_path: str | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        img_size: int | None = None,
    ) -> None:
        backbone = timm_backbone(model_name, pretrained, checkpoint_path, drop_path, img_size)
        super().__init__(**backbone._asdict(), heads=single_head(task), dropout=dropout)


class TorchVisionModel(BaseModel):
    """Any torchvision classification network that ends in a linear layer, with one for each head;
    arguments as of `TimmModelMulti`, with a ``model_name`` of
    ``torchvision.models.list_models(module=torchvision.models)``. Dropout that the network has
    itself stays.

    Raises:
        ConfigError: unknown network, one without a last linear layer, or no way to its weights.
        CheckpointError: a weights file that is missing, unreadable or of another network.
    """

    def __init__(
        self,
        task: Task,
        model_name: str,
        pretrained: bool = True,
        checkpoint_path: str | None = None,
        dropout: float = 0.0,
        heads: Mapping[str, str] | None = None,
    ) -> None:
        backbone = torchvision_backbone(model_name, pretrained, checkpoint_path)
        layers = _layers(task, heads or {})
        super().__init__(
            **backbone._asdict(), heads=heads_of(task), dropout=dropout, head_layers=layers
        )


def _layers(task: Task, chosen: Mapping[str, str]) -> Mapping[str, Callable[[int, int], nn.Module]]:
    where = "arch.args.heads"
    for head, layer in chosen.items():
        if head not in task.heads:
            raise ConfigError(f"{where}: no head is called {head!r}{nearest(head, task.heads)}")
        if layer == "corn" and not task.heads[head].is_ordered:
            raise ConfigError(
                f"{where}.{head}: corn is for classes in an order; say task.heads.{head}.ordered"
                " if they have one, or take 'linear'"
            )
        if layer == "kernel" and isinstance(task.heads[head], TagHead):
            raise ConfigError(f"{where}.{head}: kernel is for one class of several, not for tags")
    layers = {head: LAYERS[layer] for head, layer in chosen.items()}
    if all(layers.get(head) is KernelHead for head in task.heads):
        raise ConfigError(f"{where}: kernel heads are not trained, so one head has to be another")
    return layers
