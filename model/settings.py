"""The sections of the config about the model, its losses and how its answers are decoded."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from utils.older_names import BIASED
from utils.schema_base import Arguments, NonNegative, PathText, Positive, Section, Share, described

CountRule = Annotated[str, Field(pattern=r"^(balanced|effective(:0(\.\d+)?)?)$")]
ClassWeights = Annotated[
    list[NonNegative] | CountRule | None,
    described(
        "null, 'balanced', 'effective', 'effective:BETA' or a list of numbers >= 0, one per class"
    ),
]


class Loss(Section):
    """A loss with arguments, in place of its name."""

    type: str
    args: dict[str, Any] = {}


LossName = Annotated[
    Annotated[str, Tag("name")] | Annotated[Loss, Tag("object")],
    Discriminator(lambda value: "object" if isinstance(value, dict | Loss) else "name"),
    described("the name of a loss, or an object with type and args"),
]
LossTriple = tuple[LossName, ClassWeights, NonNegative]


class ArchArguments(Arguments):
    """``arch.args``."""

    model_name: str = "efficientnetv2_rw_s"
    """Name of the backbone, as timm (or torchvision) calls it."""
    pretrained: bool = True
    """Start from the backbone's published weights (downloaded on first use)."""
    checkpoint_path: PathText | None = None
    """A local file of backbone weights to start from."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of features dropped before the heads in training."""
    drop_path: Share = 0.0
    """Stochastic depth, for timm backbones that have it."""
    img_size: Positive | None = None
    """Side in pixels to build for, for timm backbones made for one size."""
    heads: dict[str, Literal["linear", "corn", "kernel"]] = {}
    """Head → its layer; `corn` knows the order of classes: is the photo beyond this one, given \
not before it? `kernel` answers by how near a photo is to those of the training, and is solved for \
after each epoch."""
    age_head: Literal["linear", "corn", "kernel"] | None = None
    """Alias of `heads` for the head `age`."""


class Arch(Section):
    """``arch``."""

    type: str = "TimmModelMulti"
    """Class in model/model.py: `TimmModelMulti`, `TimmModel` or `TorchVisionModel`."""
    args: ArchArguments = ArchArguments()
    """Arguments of that class, these or others. Defaults below are those of the default class."""


Bias = Annotated[float, Field(ge=-20, le=20)]


class Decoding(Section):
    """``decoding``."""

    prior_strength: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Divide the probability of each class by its frequency in training to this power: 1 answers \
as if all classes were equally frequent, 0.5 goes half the way."""
    bias: dict[str, tuple[Bias, ...]] = {}
    """Head → what is added to the logarithm of each answer's probability; of the faces' age <30, \
30-59 and >=60: raise the last to answer >=60 more often. Those of the faces may stand in \
`decoding` itself, as `decoding.age`."""
    temperature: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Head → what its logits are divided by, so that its probabilities are calibrated; above 1 \
they come nearer to each other. `python -m tools.tune_decoding` finds them."""

    @model_validator(mode="before")
    @classmethod
    def _without_aliases(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        others = {key: value for key, value in values.items() if key not in BIASED}
        named = {key: values[key] for key in BIASED if key in values}
        # Whatever else is wrong in it is left to pydantic, whose errors name the place.
        bias = others.get("bias") or {}
        if not isinstance(bias, dict):
            return values
        # Behind a validator of one's own a list of JSON is no tuple to pydantic any more.
        tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in (bias | named).items()}
        return others | ({"bias": tuples} if tuples else {})
