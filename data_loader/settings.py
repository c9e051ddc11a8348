"""The sections of the config that say what is loaded, cropped, labeled and augmented."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from TRACER.settings import CropSettings
from utils.older_names import MASK
from utils.schema_base import (
    Natural,
    NonNegative,
    PathText,
    Positive,
    Section,
    Share,
    described,
    usable_path,
)

OLDEST = 120
ON_CPU = 32
"""Photos of a batch on the CPU that is ``"auto"``: more are no faster there."""
FOLDS = "stratified_group_kfold"
"""The ``validation.type`` that gives one model per fold."""
RELEASED_WEIGHTS = tuple(f"te{n}" for n in range(8))


def _known_weights(weights: str) -> str:
    # A word without dot or slash is a mistyped name, and not a file that isn't there.
    if weights not in (*RELEASED_WEIGHTS, "sample") and not re.search(r"[./\\]", weights):
        raise ValueError("neither a known name nor a path")
    return usable_path(weights)


Weights = Annotated[
    str, AfterValidator(_known_weights), described("'te0' … 'te7', 'sample', a path")
]
Sha256 = Annotated[str, described("64 hexadecimal digits", pattern="^[0-9a-fA-F]{64}$")]


def _rising(edges: tuple[int, ...]) -> tuple[int, ...]:
    if list(edges) != sorted(set(edges)):
        raise ValueError("must rise")
    return edges


def _in_order(band: tuple[int, int]) -> tuple[int, int]:
    if band[0] > band[1]:
        raise ValueError("the first is above the last")
    return band


Age = Annotated[int, Field(ge=0, le=OLDEST)]
AgeEdges = Annotated[
    tuple[Age, Age, Age, Age, Age],
    AfterValidator(_rising),
    described("five rising ages in whole years from 0 to 120"),
]
AgeBand = Annotated[
    tuple[Age, Age], AfterValidator(_in_order), described("two ages in whole years, first and last")
]


class DataLoaderArguments(Section):
    """``data_loader.args``."""

    stage: Literal["train", "eval"] = "train"
    """Half of the data that is loaded; train.py needs `train`, test.py takes the other."""
    input_size: Annotated[int, Field(ge=32, le=1024)] = 240
    """Side of the square that the model sees, in pixels."""
    batch_size: Positive | Literal["auto"] = 16
    """Photos per step, on each GPU. `auto` takes, at the start of a training, the most that the \
GPU's memory holds, less a tenth, up to 1,024 or a sixteenth of the photos; on the CPU 32. What \
was taken stands in the run's config, and a resume keeps it."""
    num_workers: Natural | Literal["auto"] = "auto"
    """Processes that load photos; `auto` takes what cores and shared memory allow, up to 16; more \
than the cores allow are never begun. They change no result."""


class DataLoader(Section):
    """``data_loader``."""

    type: Literal["setup"] = "setup"
    """Function in data_loader/data_loaders.py."""
    args: DataLoaderArguments = DataLoaderArguments()


class Validation(Section):
    """``validation``."""

    type: Literal["holdout", "stratified_group_kfold", "image_level"] = "holdout"
    """Who is validated on: `holdout` sets a share of the people aside; `stratified_group_kfold` \
divides the people into folds and sets one aside; `image_level` sets photos aside, so that people \
are on both sides: its scores flatter, it is there to measure by how much."""
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the people, alike in `task.data.stratify`; with `image_level`, of the photos."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Number of folds. `train.py --folds all` trains one model for each."""
    fold: Natural = 0
    """Fold to validate on, from 0."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = None
    """Of the division; `null` takes `seed`. `train.py --seeds` keeps it alike over its runs."""


class LabelCorrections(Section):
    """``label_corrections``."""

    path: PathText | list[PathText] = "competition"
    """CSV of corrections, or a name in `task.data.corrections`, as `competition`; or several."""
    tiers: list[Literal["sure", "likely", "disputed"]] = Field(["sure", "likely"])
    """Which corrections of the list are applied."""


class Augmentation(Section):
    """``augmentation``: the original's steps and strengths."""

    flip: Share = 0.5
    """Probability of a mirrored photo."""
    shift: Share = 0.1
    """Largest shift, as share of the side."""
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Largest change of size, as share of it."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 5.0
    """Largest rotation, in degrees."""
    affine: Share = 0.5
    """Probability of shift, scale and rotation together."""
    brightness: Share = 0.2
    """Largest change of brightness."""
    contrast: Share = 0.2
    """Largest change of contrast."""
    tone: Share = 0.5
    """Probability of the change of brightness and contrast."""
    blur: Share = 0.1
    """Probability of a mild blur."""
    noise: Share = 0.1
    """Probability of mild noise."""
    dropout: Share = 0.3
    """Probability of holes cut into the photo."""
    dropout_holes: Positive = 4
    """Largest number of holes."""
    dropout_size: Share = 0.15
    """Largest side of a hole, as share of the photo's."""


class Labels(Section):
    """``labels``: the head ``age``, by the names it had before there were tasks."""

    age_edges: AgeEdges | None = None
    """Alias of `task.heads.age.bins`: age in years at which each age bin but the first begins. \
The second edge parts the first two of the three age groups in training, the fifth the last two; \
scores keep 30 and 60."""
    drop_ages: AgeBand | None = None
    """Alias of `task.heads.age.drop`: first and last age in years of people who are left out of \
training (never of validation)."""
    age_spread: NonNegative | None = None
    """Alias of `task.heads.age.sigma`: soft labels, the standard deviation in years of the age \
that a training photo is taken to show; 0 takes hard labels."""


class Sampling(Section):
    """``sampling``."""

    by: str = "class"
    """What is evened out in training: `class`, those of the whole, or the classes of one head."""
    power: Share = 1.0
    """A photo is visited by 1 / (photos of its class)^power: 1 shows all classes equally often, \
0.5 goes half the way."""


class Mixing(Section):
    """``mixing``: each photo with one other, at most one way at a time.

    Mixup is that of Zhang et al. 2018 (arXiv:1710.09412), cutmix that of Yun et al. 2019
    (arXiv:1905.04899); what the first photo keeps is drawn from Beta(alpha, alpha).
    """

    mixup: Share = 0.0
    """Probability of a training photo blended with another one."""
    mixup_alpha: Annotated[float, Field(gt=0)] = 0.2
    """How evenly the two are blended: small values mostly keep one of them."""
    cutmix: Share = 0.0
    """Probability of a box taken out of another photo."""
    cutmix_alpha: Annotated[float, Field(gt=0)] = 1.0
    """How the size of the box is drawn; 1 is uniform."""
    half_face: Share = 0.0
    """Probability of the left or right half taken out of another photo."""
    same: list[str] = []
    """Only mix photos that agree in these heads; `same_mask: true` is an alias for the mask."""

    @model_validator(mode="before")
    @classmethod
    def _without_alias(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("same_mask"), bool):
            return values
        others = {key: value for key, value in values.items() if key != "same_mask"}
        return others | ({"same": [MASK]} if values["same_mask"] else {})

    @model_validator(mode="after")
    def _one_way_at_a_time(self) -> "Mixing":
        if self.mixup + self.cutmix + self.half_face > 1:
            raise ValueError("mixup, cutmix and half_face add up to more than 1")
        return self


class Tracer(CropSettings):
    """``tracer``: ``TRACER.Extractor`` takes the whole and reads its part."""

    crop_size: Annotated[int, Field(ge=32, le=2048)] | None = None
    """Side of the stored crop in pixels; `null` takes `data_loader.args.input_size`."""
    weights: Weights | None = None
    """Network that finds the person: a released one, the small shipped one, a file of weights, \
or `null` for whole photos."""
    sha256: Sha256 | None = None
    """What the weights file must hash to."""
    cache_dir: PathText = "saved/crops"
    """Where crops are kept for later runs."""
