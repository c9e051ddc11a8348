"""Backbones from timm and torchvision, with their classifier taken off and their weights put in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torchvision
from timm.models import load_state_dict as read_state_dict
from torch import Tensor, nn

import model.side_by_side  # noqa: F401  registers itself and its networks with timm
from utils.errors import CheckpointError, ConfigError, nearest, reason_of
from utils.files import refuse_other_content
from utils.hub import hub_weights_at_hand, url_weights_at_hand


class Backbone(NamedTuple):
    """A network that turns photos into features, and what it expects of them."""

    backbone: nn.Module
    """(B, 3, H, W) normalized → (B, ``num_features``)."""
    num_features: int
    mean: tuple[float, ...]
    """Per RGB channel, for values in [0, 1]; so is ``std``."""
    std: tuple[float, ...]
    input_size: int | None
    """The only height and width in pixels it takes; ``None``: any."""


def timm_backbone(
    model_name: str,
    pretrained: bool = True,
    checkpoint_path: str | None = None,
    drop_path: float = 0.0,
    img_size: int | None = None,
) -> Backbone:
    """A timm network without its classifier; for arguments and errors see `TimmModelMulti`."""
    _require_timm_name(model_name)
    # Networks without stochastic depth refuse even a 0; timm drops what is None.
    options = {"num_classes": 0, "img_size": img_size, "drop_path_rate": drop_path or None}
    if checkpoint_path:
        network = _timm_with_file(model_name, checkpoint_path, options)
    elif pretrained:
        network = _timm_with_download(model_name, options)
    else:
        network = _create_timm(model_name, options)
    config = network.pretrained_cfg
    fixed = config["input_size"][-1] if config.get("fixed_input_size") else None
    # MobileNetV3 and others have one more layer behind the pooling, whose width this is.
    width = getattr(network, "head_hidden_size", None) or network.num_features
    return Backbone(network, width, config["mean"], config["std"], img_size or fixed)


def torchvision_backbone(
    model_name: str, pretrained: bool = True, checkpoint_path: str | None = None
) -> Backbone:
    """A torchvision network without its last layer; see `TorchVisionModel`."""
    known = torchvision.models.list_models(module=torchvision.models)
    if model_name not in known:
        hint = nearest(model_name, known)
        raise ConfigError(f"arch.args.model_name: torchvision has no network {model_name!r}{hint}")
    weights = torchvision.models.get_model_weights(model_name).DEFAULT
    download = pretrained and not checkpoint_path
    # Asked for first: without network the download would hang for minutes.
    if download and not url_weights_at_hand(weights.url):
        raise _no_weights(model_name)
    try:
        network = torchvision.models.get_model(model_name, weights=weights if download else None)
    except OSError as error:
        raise _broken_download(model_name, error) from error
    last = _last_linear(network, model_name)
    width = network.get_submodule(last).in_features
    network.set_submodule(last, nn.Identity())
    if checkpoint_path:
        state = _read_weights(checkpoint_path, (last,))
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise _other_network(checkpoint_path, model_name, network, state) from error
    # Last, since weights files hold those heads, too, and every key has to find its place.
    _drop_auxiliary_heads(network)
    scale = weights.transforms()
    # Only transformers have it: their position embeddings are made for one size.
    size = getattr(network, "image_size", None)
    return Backbone(network, width, tuple(scale.mean), tuple(scale.std), size)


def _require_timm_name(model_name: str) -> None:
    architecture, _, tag = model_name.partition(".")
    if not timm.is_model(architecture):
        hint = nearest(architecture, timm.list_models())
        raise ConfigError(f"arch.args.model_name: timm has no backbone {architecture!r}{hint}")
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and model_name not in tagged:
        raise ConfigError(
            f"arch.args.model_name: timm has no weights tagged {tag!r} for {architecture!r}"
            f"{nearest(model_name, tagged)}"
        )


def _create_timm(model_name: str, options: Mapping, **source) -> Any:
    """A ``Module`` with attributes of timm's own, of which ``Module`` tells nothing."""
    try:
        return timm.create_model(model_name, **options, **source)
    except TypeError as error:
        raise ConfigError(f"arch.args: timm's {model_name!r} cannot be built: {error}") from error


def _timm_with_file(model_name: str, checkpoint_path: str, options: Mapping) -> Any:
    config = timm.get_pretrained_cfg(model_name)
    named = (config and config.classifier) or ()
    classifiers = (named,) if isinstance(named, str) else tuple(named)
    state = _read_weights(checkpoint_path, classifiers)
    # As if published without a classifier: timm then converts old keys and input sizes.
    overlay = {"state_dict": state, "num_classes": 0, "label_offset": 0}
    try:
        network = _create_timm(model_name, options, pretrained=True, pretrained_cfg_overlay=overlay)
    # A file of another network fails anywhere in timm's conversion of older key names.
    except (RuntimeError, LookupError, ValueError, AttributeError) as error:
        # Built once more, so that the message can tell which keys differ.
        network = _create_timm(model_name, options)
        raise _other_network(checkpoint_path, model_name, network, state) from error
    # Kept there, the weights would stay in memory twice.
    network.pretrained_cfg.pop("state_dict", None)
    return network


def _timm_with_download(model_name: str, options: Mapping) -> Any:
    config = timm.get_pretrained_cfg(model_name)
    if config is None or not config.has_weights:
        raise ConfigError(
            f"arch.args.pretrained: timm has no published weights for {model_name!r}; set"
            " arch.args.pretrained=false, or arch.args.checkpoint_path=FILE, or choose another"
            " backbone"
        )
    if config.hf_hub_id:
        at_hand = hub_weights_at_hand(config.hf_hub_id, config.hf_hub_filename)
    else:
        at_hand = url_weights_at_hand(str(config.url))
    if not at_hand:
        raise _no_weights(model_name)
    try:
        return _create_timm(model_name, options, pretrained=True)
    except OSError as error:
        raise _broken_download(model_name, error) from error


def _broken_download(model_name: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"arch.args.pretrained: the download of the weights of {model_name!r} failed"
        f" ({reason_of(error)[:200]}); try again, or set arch.args.pretrained=false or"
        " arch.args.checkpoint_path=FILE"
    )


def _read_weights(path: str, classifiers: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of a weights file, less those of the classifier, which our heads replace."""
    if not Path(path).is_file():
        raise CheckpointError(
            f"{path}: no such weights file; set arch.args.checkpoint_path to one that exists"
        )
    refuse_other_content(path)
    try:
        state = dict(read_state_dict(path))
    except Exception as error:  # safetensors, zip and pickle each have errors of their own
        raise CheckpointError(
            f"{path}: not a weights file that can be read; it must be .safetensors, or a .pth that"
            " holds nothing but tensors by name"
        ) from error
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no tensors by name, as a weights file does")
    prefixes = tuple(f"{name}." for name in classifiers)
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def _other_network(
    path: str, model_name: str, network: nn.Module, state: Mapping[str, Tensor]
) -> CheckpointError:
    theirs = {key: value.shape for key, value in state.items()}
    ours = {key: value.shape for key, value in network.state_dict().items()}
    differing = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    return CheckpointError(
        f"{path}: not the weights of {model_name}: {len(differing)} keys are missing, unknown or of"
        f" another shape, such as {', '.join(differing[:3])}; set arch.args.model_name to what the"
        " file was made for"
    )


def _no_weights(model_name: str) -> ConfigError:
    return ConfigError(
        f"arch.args.pretrained: the weights of {model_name!r} are not in the cache, and their"
        " server cannot be reached; set arch.args.pretrained=false to start from scratch, or"
        " arch.args.checkpoint_path=FILE to take them from a file, or run once with network"
        " (afterwards the cache serves)"
    )


def _last_linear(network: nn.Module, model_name: str) -> str:
    names = [name for name, each in network.named_modules() if isinstance(each, nn.Linear)]
    if not names:
        raise ConfigError(
            f"arch.args.model_name: torchvision's {model_name!r} ends in no linear layer that our"
            " heads could replace; choose another, such as resnet18 or efficientnet_b0"
        )
    # Modules come in the order of their making, and the classifier is made last.
    return names[-1]


def _drop_auxiliary_heads(network: Any) -> None:
    """GoogLeNet's and Inception's side classifiers would make the output a tuple in training."""
    network.aux_logits = False
    for name in ("aux1", "aux2", "AuxLogits"):
        if hasattr(network, name):
            setattr(network, name, None)
