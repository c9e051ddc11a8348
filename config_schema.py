"""The schema of config.json: every key, its type, default and meaning.

The line under a key is its documentation; ``python config_schema.py`` prints them all as the
table of docs/config.md.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from data_loader.labels import AGE_EDGES, OLDEST
from utils.schema_base import (
    Arguments,
    FileName,
    Natural,
    NonNegative,
    Positive,
    Section,
    Share,
    says,
)
from utils.schema_text import markdown_table

RELEASED_WEIGHTS = tuple(f"te{n}" for n in range(8))


def _known_weights(weights: str) -> str:
    if weights not in (*RELEASED_WEIGHTS, "sample") and not re.search(r"[./\\]", weights):
        raise ValueError("neither a known name nor a path")
    return weights


Weights = Annotated[str, AfterValidator(_known_weights), says("'te0' … 'te7', 'sample', a path")]
Sha256 = Annotated[str, says("64 hexadecimal digits", pattern="^[0-9a-fA-F]{64}$")]


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
    says("five rising ages in whole years from 0 to 120"),
]
AgeBand = Annotated[
    tuple[Age, Age], AfterValidator(_in_order), says("two ages in whole years, first and last")
]
MonitorRule = Annotated[
    str, says("'off', 'min METRIC' or 'max METRIC'", pattern=r"^(off|(min|max) \S+)$")
]
CountRule = Annotated[str, Field(pattern=r"^(balanced|effective(:0(\.\d+)?)?)$")]
ClassWeights = Annotated[
    list[NonNegative] | CountRule | None,
    says("null, 'balanced', 'effective', 'effective:BETA' or a list of numbers >= 0, one a class"),
]


class Loss(Section):
    """A loss with arguments, in place of its name."""

    type: str
    args: dict[str, Any] = {}


LossName = Annotated[
    Annotated[str, Tag("name")] | Annotated[Loss, Tag("object")],
    Discriminator(lambda value: "object" if isinstance(value, dict | Loss) else "name"),
    says("the name of a loss, or an object with type and args"),
]
LossTriple = tuple[LossName, ClassWeights, NonNegative]


class ArchArguments(Arguments):
    """``arch.args``."""

    model_name: str = "efficientnetv2_rw_s"
    """Name of the backbone, as timm (or torchvision) calls it."""
    pretrained: bool = True
    """Start from the backbone's published weights (downloaded on first use)."""
    checkpoint_path: str | None = None
    """A local file of backbone weights to start from."""
    dropout: Share = 0.0
    """Share of features dropped before the heads in training."""
    drop_path: Share = 0.0
    """Stochastic depth, for timm backbones that have it."""
    img_size: Positive | None = None
    """Side in pixels to build for, for timm backbones made for one size."""
    age_head: Literal["linear", "corn"] = "linear"
    """`corn` gives the age head an order of its classes: is the person beyond this bin, given \
not before it?"""


class Arch(Section):
    """``arch``."""

    type: str = "TimmModelMulti"
    """Class in model/model.py: `TimmModelMulti`, `TimmModel` or `TorchVisionModel`."""
    args: ArchArguments = ArchArguments()
    """Arguments of that class, these or others. Defaults below are those of the default class."""


class DataLoaderArguments(Section):
    """``data_loader.args``."""

    stage: Literal["train", "eval"] = "train"
    """Half of the data that is loaded; train.py needs `train`, test.py takes the other."""
    input_size: Annotated[int, Field(ge=32, le=1024)] = 240
    """Side of the square that the model sees, in pixels."""
    batch_size: Positive = 16
    """Photos a step."""
    num_workers: Natural = 4
    """Processes that load photos; never more than the cores allow."""


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
    """Share of the people, drawn within gender and age band; with `image_level`, of the photos."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Number of folds. `train.py --folds all` trains one model for each."""
    fold: Natural = 0
    """Fold to validate on, from 0."""


class Tta(Section):
    """``tta``."""

    flip: bool = True
    """Also every view mirrored: twice as many."""
    shifts: list[Annotated[float, Field(gt=0, lt=0.5)]] = Field([])
    """Moves, as share of the side; each gives four views: left, right, up, down."""
    scales: list[Annotated[float, Field(ge=0.5, le=2)]] = Field([])
    """Sizes relative to the photo's; each gives one view, such as 1.1 for a little nearer."""
    validation: bool = False
    """Also in validation, which then takes as many times as long as there are views."""


class LabelCorrections(Section):
    """``label_corrections``."""

    path: str | list[str] = "competition"
    """CSV of corrections, or `competition` for the list that comes with the project; or several."""
    tiers: list[Literal["sure", "likely", "disputed"]] = Field(["sure", "likely"])
    """Which corrections of the list are applied."""


class Augmentation(Section):
    """``augmentation``."""

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
    dropout_size: Annotated[float, Field(gt=0, le=1)] = 0.15
    """Largest side of a hole, as share of the photo's."""
    erase: Share = 0.0
    """Probability of random erasing: one box of noise."""
    erase_area: Annotated[float, Field(gt=0, le=1)] = 0.33
    """Largest area of that box, as share of the photo's."""


class Labels(Section):
    """``labels``."""

    age_edges: AgeEdges = AGE_EDGES
    """Age in years at which each age bin but the first begins. The second edge parts the first \
two of the three age groups in training, the fifth the last two; scores keep 30 and 60."""
    drop_ages: AgeBand | None = None
    """First and last age in years of people who are left out of training (never of validation)."""
    age_spread: NonNegative = 0.0
    """Soft labels for age: standard deviation in years of the age that a training photo is taken \
to show; 0 takes labels at their word."""


class Sampling(Section):
    """``sampling``."""

    by: Literal["class", "mask", "gender", "age"] = "class"
    """What is evened out in training: the 18 classes, or the classes of one head."""
    power: Share = 1.0
    """A photo is visited by 1 / (photos of its class)^power: 1 shows all classes equally often, \
0.5 goes half the way."""


class Mixing(Section):
    """``mixing``."""

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
    same_mask: bool = False
    """Only mix photos whose masks are worn alike."""

    @model_validator(mode="after")
    def _one_way_at_a_time(self) -> "Mixing":
        if self.mixup + self.cutmix + self.half_face > 1:
            raise ValueError("mixup, cutmix and half_face add up to more than 1")
        return self


class Tracer(Section):
    """``tracer``."""

    weights: Weights | None = None
    """Network that finds the person: a released one, the small shipped one, a file of weights, \
or `null` for whole photos."""
    sha256: Sha256 | None = None
    """What the weights file must hash to."""
    crop_size: Annotated[int, Field(ge=32, le=2048)] | None = None
    """Side of the stored crop in pixels; `null` takes `data_loader.args.input_size`."""
    threshold: Share = 0.5
    """Saliency from which a pixel belongs to the person."""
    margin: Share = 0.05
    """Room around the person's box, as share of its side."""
    background: Literal["black", "keep"] = "black"
    """What becomes of the pixels around the person."""
    region: Literal["person", "head"] = "person"
    """Crop to the whole person, or to the head: more pixels for the face."""
    min_area: Share = 0.02
    """Share of the photo below which the whole photo is used instead."""
    keep_aspect: bool = False
    """Widen the crop to a square instead of squeezing it into one."""
    batch_size: Positive | None = None
    """Photos that go through TRACER at once; `null` suits the device."""
    num_workers: Natural | None = None
    """Threads that decode photos; `null` takes what the cores allow."""
    cache_dir: str = "saved/crops"
    """Where crops are kept for later runs."""


class OptimizerArguments(Arguments):
    """``optimizer.args``."""

    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Learning rate."""


class Optimizer(Section):
    """``optimizer``."""

    type: str = "Adam"
    """Class in torch.optim."""
    args: OptimizerArguments = OptimizerArguments()
    """Arguments of that class. Adam, AdamW and SGD run in one kernel unless `fused` is `false`."""
    decay_norm_and_bias: bool = False
    """Give norms and biases the weight decay, too."""
    backbone_lr_ratio: Annotated[float, Field(gt=0)] = 1.0
    """Learning rate of the backbone over that of the heads."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of each layer of the backbone over that of the layer above it."""
    scale_lr: Literal["off", "linear", "sqrt"] = "off"
    """How the learning rate grows with the number of GPUs and of accumulated batches."""


class Scheduler(Section):
    """``lr_scheduler``."""

    type: str
    """Class in torch.optim.lr_scheduler or timm.scheduler."""
    args: dict[str, Any] = Field({})
    """Arguments of that class; `"all"` stands for the length of the training after warm-up."""
    every: Literal["epoch", "step"] = "epoch"
    """When the schedule moves, and the unit of its arguments."""
    warmup_epochs: Natural = 0
    """Epochs in which the learning rate rises from near zero."""


class GrowingPhotos(Section):
    """``trainer.progressive_resizing``."""

    first_scale: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Side of the first epoch's photos, as share of `data_loader.args.input_size`."""
    full_from: Share = 0.6
    """Share of the epochs after which photos have their full side."""
    multiple: Positive = 32
    """Sides in between are multiples of so many pixels."""


class Trainer(Section):
    """``trainer``."""

    epochs: Positive = 50
    """Training epochs, those before a resume counted in."""
    save_dir: str = "saved/"
    """Runs go to `<save_dir>/models/<name>/<run_id>` and `<save_dir>/log/<name>/<run_id>`."""
    save_period: Positive = 1
    """Also keep a checkpoint every so many epochs; 1 keeps only the best and the last."""
    verbosity: Annotated[int, Field(ge=0, le=2)] = 2
    """0 quiet, 1 a line an epoch, 2 progress bars too."""
    monitor: MonitorRule = "max val/f1"
    """What makes an epoch the best one, such as `max val/f1` or `min val/loss`."""
    early_stop: Natural | None = None
    """Epochs without improvement after which training ends; 0 or `null` never."""
    report: bool = True
    """Write report.html at the end: how good, where wrong, why."""
    tensorboard: bool = False
    """Write TensorBoard event files."""
    log_every_steps: Positive = 10
    """Updates of the weights between two points of the curves over steps, in TensorBoard and \
wandb."""
    save_every_steps: Positive | None = None
    """Also save within the epoch, every so many batches; `null` never."""
    keep_last: Positive = 2
    """Newest checkpoints to keep; the one before steps in for a damaged one."""
    keep_best: Positive = 1
    """Best epochs to keep."""
    amp: Literal["auto", "bf16", "fp16", "off"] = "auto"
    """Precision: `auto` takes bfloat16 on a GPU that has it, else float16; float32 on the CPU."""
    channels_last: bool | None = None
    """Memory format of photos and weights; `null` switches it on."""
    compile: bool = False
    """Run the model through torch.compile: slow to start, faster then."""
    tf32: bool = True
    """Let GPUs multiply float32 matrices in TensorFloat-32."""
    deterministic: bool = False
    """The same bits on every run of a GPU, at some cost of speed; the CPU always gives them."""
    accumulate: Positive = 1
    """Batches whose gradients make one step."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; `null` for any."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Keep and validate a moving average of the weights with this decay; `null` for none."""
    swa_start: Positive | None = None
    """From this epoch on, keep and validate the mean of the weights at the ends of the epochs \
(SWA); `null` for none."""
    freeze_backbone_epochs: Natural = 0
    """First epochs in which only the heads learn."""
    freeze: list[str] = []
    """Parts of the backbone that never learn, such as `["conv_stem", "bn1", "blocks.0"]`: \
quicker, and less is learned by heart."""
    progressive_resizing: GrowingPhotos | None = None
    """Train on small photos first; the size grows with the epochs. `null` for full size always."""
    sync_batchnorm: bool = False
    """With several GPUs: batch norm over all of them."""
    limit_train_batches: Positive | None = None
    """Train on so many batches an epoch; `null` on all."""
    limit_val_batches: Positive | None = None
    """Validate on so many batches; `null` on all."""
    overfit_batch: bool = False
    """Train and validate on the first training batch alone, unaugmented: a model that works \
learns it by heart."""
    profile_steps: Natural = 0
    """Profile so many steps of the first epoch: a trace, and where the time goes."""


class Wandb(Section):
    """``wandb``."""

    project: str | None = None
    """Project on wandb; `null` takes wandb's own default."""
    entity: str | None = None
    """User or team."""
    group: str | None = None
    """Group of runs."""
    tags: list[str] = Field([])
    """Tags of the run."""
    notes: str | None = None
    """Free text."""
    mode: Literal["online", "offline", "disabled"] = "online"
    """`online` falls back to `offline` without a login or network."""
    artifact: bool = False
    """Keep the best checkpoint as an artifact of the run."""


Bias = Annotated[float, Field(ge=-20, le=20)]


class Decoding(Section):
    """``decoding``."""

    prior_strength: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Divide the probability of each class by its frequency in training to this power: 1 answers \
as if all classes were equally frequent, 0.5 goes half the way."""
    age: tuple[Bias, Bias, Bias] = (0.0, 0.0, 0.0)
    """Logarithm of the factor on <30, 30-59 and >=60; raise the last to answer >=60 more often."""
    gender: tuple[Bias, Bias] = (0.0, 0.0)
    """The same for male and female."""
    mask: tuple[Bias, Bias, Bias] = (0.0, 0.0, 0.0)
    """The same for worn, worn incorrectly and not worn."""


BALANCED: list[LossTriple] = [
    ("focal", "balanced", 0.375),
    ("focal", "balanced", 0.25),
    ("focal", "balanced", 0.375),
]


class Config(Section):
    """The whole of config.json."""

    name: FileName
    """Name of the experiment; runs are filed under it."""
    n_gpu: Natural = 1
    """GPUs to train on; with 0, or where there is none, the CPU."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42
    """Seed of everything that is drawn: split, weights, augmentation, order."""
    data_dir: str = "data"
    """Folder with train/images and eval/images."""
    arch: Arch = Arch(args=ArchArguments(model_name="efficientnetv2_rw_s", pretrained=True))
    data_loader: DataLoader = DataLoader()
    validation: Validation = Validation()
    label_corrections: LabelCorrections | None = None
    """Known label errors to repair; `null` takes the labels as they are."""
    labels: Labels = Labels()
    sampling: Sampling | None = None
    """Show rare classes more often; `null` shows every photo once an epoch."""
    mixing: Mixing | None = None
    """Training photos made of two, their targets by share; `null` mixes nothing."""
    augmentation: Augmentation | None = Augmentation()
    """What is done to training photos at random; `null` does nothing."""
    tta: Tta | None = None
    """Test-time augmentation: the mean answer over several views of a photo; `null` for none."""
    tracer: Tracer = Tracer()
    optimizer: Optimizer = Optimizer(args=OptimizerArguments(lr=1e-4))
    lr_scheduler: Scheduler | None = None
    """How the learning rate changes; `null` keeps it."""
    loss: str = "all_loss"
    """`all_loss` adds up what `loss_name` says; the name of a loss gives it to every head, \
unweighted."""
    loss_name: Annotated[list[LossTriple], Field(min_length=1, max_length=3)] = BALANCED
    """For mask, gender and age: the loss (a name, or an object with type and args), its class \
weights (`balanced` and `effective` count them from the training people), and the head's share \
of the sum. \
`TimmModel` has one head, so one entry."""
    decoding: Annotated[
        Annotated[str | None, Tag("file")] | Annotated[Decoding, Tag("values")],
        Discriminator(lambda value: "values" if isinstance(value, dict | Decoding) else "file"),
    ] = None
    """How probabilities become answers in validation and test: `null` takes the likeliest class; \
an object favours rare ones; a file of `python -m model.tune_decoding` does what it found best."""
    metrics: list[str] = Field(["accuracy", "f1"])
    """Functions in model/metric.py that judge an epoch."""
    trainer: Trainer = Trainer()
    wandb: Annotated[
        Annotated[bool, Tag("switch")] | Annotated[Wandb, Tag("options")],
        Discriminator(lambda value: "options" if isinstance(value, dict | Wandb) else "switch"),
    ] = False
    """Log to wandb; an object says where."""
    visualize: bool = False
    """Also log confusion matrices, sample predictions and other pictures to wandb and \
TensorBoard."""
    explain: bool = True
    """After training, draw what the model looks at (Grad-CAM) in a few validation photos."""
    submit_dir: str = "submit"
    """Where test.py writes submissions."""
    info_dir: str | None = None
    """Folder of the eval half's info.csv and images; `null` takes `<data_dir>/eval`."""


AUGMENTATION_STRENGTHS = {
    "affine": ("shift", "scale", "rotate"),
    "tone": ("brightness", "contrast"),
    "dropout": ("dropout_holes", "dropout_size"),
    "erase": ("erase_area",),
}


def idle_options(config: Config) -> list[tuple[set[str], str]]:
    """Options that other options of the same config leave without effect, and why."""
    idle: list[tuple[set[str], str]] = []
    if config.trainer.monitor == "off" and config.trainer.early_stop:
        idle.append(({"trainer.early_stop"}, "trainer.monitor is off"))
    if config.visualize and config.wandb is False and not config.trainer.tensorboard:
        idle.append(({"visualize"}, "wandb and trainer.tensorboard are off"))
    if config.wandb is False and not config.trainer.tensorboard:
        idle.append(({"trainer.log_every_steps"}, "wandb and trainer.tensorboard are off"))
    if config.loss != "all_loss":
        idle.append(({"loss_name"}, "loss is not all_loss"))
    if config.arch.args.pretrained and config.arch.args.checkpoint_path:
        idle.append(({"arch.args.pretrained"}, "arch.args.checkpoint_path is given"))
    if config.validation.type == "stratified_group_kfold":
        idle.append(({"validation.fraction"}, "validation.type is stratified_group_kfold"))
    else:
        reason = f"validation.type is {config.validation.type}"
        idle.append(({"validation.folds", "validation.fold"}, reason))
    if config.tracer.weights is None:
        names = ("sha256", "threshold", "margin", "background", "region", "min_area", "batch_size")
        idle.append(({f"tracer.{name}" for name in names}, "tracer.weights is null"))
    for way in ("mixup", "cutmix"):
        if config.mixing is not None and getattr(config.mixing, way) == 0:
            idle.append(({f"mixing.{way}_alpha"}, f"mixing.{way} is 0"))
    for switch, names in AUGMENTATION_STRENGTHS.items():
        if config.augmentation is not None and getattr(config.augmentation, switch) == 0:
            reason = f"augmentation.{switch} is 0"
            idle.append(({f"augmentation.{name}" for name in names}, reason))
    return idle


if __name__ == "__main__":
    print(markdown_table(Config.model_json_schema()))
