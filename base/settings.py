"""The sections of the config about training: optimizer, schedule, trainer."""

from typing import Annotated, Any, Literal

from pydantic import Field

from utils.schema_base import Arguments, Natural, PathText, Positive, Section, described

MonitorRule = Annotated[
    str, described("'off', 'min METRIC' or 'max METRIC'", pattern=r"^(off|(min|max) \S+)$")
]


CompileMode = Literal["default", "reduce-overhead", "max-autotune"]


class OptimizerArguments(Arguments):
    """``optimizer.args``."""

    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Learning rate."""


class OptimizerSettings(Section):
    """``optimizer``."""

    type: str = "Adam"
    """Class in torch.optim."""
    args: OptimizerArguments = OptimizerArguments()
    """Arguments of that class. Adam, AdamW and SGD run in one kernel unless `fused` is `false`."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of each layer of the backbone over that of the layer above it (Clark et al. \
2020, arXiv:2003.10555)."""


class SchedulerSettings(Section):
    """``lr_scheduler``."""

    type: str
    """Class in torch.optim.lr_scheduler or timm.scheduler."""
    args: dict[str, Any] = Field({})
    """Arguments of that class; `"all"` stands for the length of the training after warm-up."""
    every: Literal["epoch", "step"] = "epoch"
    """When the schedule moves, and the unit of its arguments."""
    warmup_epochs: Natural = 0
    """Epochs in which the learning rate rises from near zero."""


class StepSettings(Section):
    """How ``base.train_step`` does a step."""

    amp: Literal["auto", "bf16", "fp16", "off"] = "auto"
    """Precision: `auto` takes bfloat16 on a GPU that has it, else float16; float32 on the CPU."""
    channels_last: bool | None = None
    """Memory format of photos and weights; `null` switches it on."""
    compile: bool | CompileMode = False
    """Run the model through torch.compile: slow to start, faster then. `true` is torch's mode \
`default`; the other two take longer still, and launch their kernels as CUDA graphs."""
    cuda_graph: bool = False
    """On one GPU, replay the whole step (forward, losses, backward, clipping, optimizer, average) \
as one CUDA graph: where the GPU waits for Python to launch its kernels, as with small batches. \
No float16, no `accumulate`, no `activation_checkpointing`. Other optimizers than Adam, AdamW and \
SGD, and all where the schedule moves the momentum, too (`OneCycleLR`, unless `cycle_momentum` is \
false), update beside the graph. Validation and test.py answer by a graph, too."""
    activation_checkpointing: bool = False
    """Keep only a few activations for the backward pass and compute the others again: the same \
gradients in less memory, at the cost of a second forward pass. For timm backbones that have it."""
    accumulate: Positive = 1
    """Batches whose gradients make one step: as one large batch, but for batch norm and for \
losses that are no plain mean over photos (unequal class weights, `f1`, those that compare \
photos)."""
    effective_batch: Positive | None = None
    """Photos of a step over all batches and GPUs: `accumulate` becomes what comes nearest to it; \
`null` leaves that as it is."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; `null` for any."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Keep and validate a moving average of the weights with this decay; `null` for none."""
    freeze: list[str] = []
    """Submodules of the backbone that are frozen, their batch norms' statistics too, such as \
`["conv_stem", "bn1", "blocks.0"]`: quicker, and less is memorized."""
    sync_batchnorm: bool = False
    """With several GPUs: batch norm over all of them."""


class CheckpointSettings(Section):
    """Which checkpoints ``base.base_trainer`` writes and ``base.checkpoint`` keeps."""

    save_period: Positive = 1
    """Also keep a checkpoint every so many epochs; 1 keeps only the best and the last."""
    save_every_steps: Positive | None = None
    """Also save within the epoch, every so many batches; `null` never."""
    keep_last: Positive = 2
    """Newest checkpoints to keep; the one before steps in for a damaged one."""
    keep_best: Positive = 1
    """Best epochs to keep."""


class LoopSettings(CheckpointSettings):
    """How the trainer goes through the epochs."""

    epochs: Positive = 50
    """Training epochs, those before a resume counted in; with `hours` at most so many."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Hours after which the training is to be over, report and crops not counted: it stops in \
good order before an epoch that would not end in time, and the schedule, made for `epochs`, goes \
the faster, so that it is through by then. `null` for any."""
    verbosity: Annotated[int, Field(ge=0, le=2)] = 2
    """0 quiet, 1 a line per epoch, 2 progress bars too."""
    profile_steps: Natural = 0
    """Profile so many steps of the first epoch: a trace, and where the time goes."""


class LimitSettings(Section):
    """How little ``data_loader.data_loaders`` gives, for a look."""

    limit_train_batches: Positive | None = None
    """Train on so many batches per epoch; `null` on all."""
    limit_val_batches: Positive | None = None
    """Validate on so many batches; `null` on all."""
    overfit_batch: bool = False
    """Train and validate on the first training batch alone, unaugmented: a model that works \
memorizes it."""


class TrainerSettings(LoopSettings, StepSettings, LimitSettings):
    """``trainer``: each owner takes the whole and reads its part."""

    save_dir: PathText = "saved/"
    """Runs go to `<save_dir>/models/<name>/<run_id>` and `<save_dir>/log/<name>/<run_id>`."""
    monitor: MonitorRule | None = None
    """What makes an epoch the best one, such as `min val/loss`; `null` takes `max val/f1`, or \
where a head is a number `min val/<head>_mae`."""
    early_stop: Natural | None = None
    """Epochs without improvement after which training ends; 0 or `null` never."""
    report: bool = True
    """Write report.html at the end: how good, where wrong, why."""
    notify: Literal["bell", "webhook"] | None = None
    """How to tell that a training has finished, failed or was stopped: the terminal's bell, or a \
message to the address in the environment variable `NOTIFY_URL` (Slack, Mattermost, Discord)."""
    tensorboard: bool = False
    """Write TensorBoard event files."""
    log_every_steps: Positive = 10
    """Updates of the weights between two points of the curves over steps, in TensorBoard and \
wandb."""
    tf32: bool = True
    """Let GPUs multiply float32 matrices in TensorFloat-32."""
    deterministic: bool = False
    """The same bits on every run of a GPU, at some cost of speed; the CPU always gives them."""
    cudnn_benchmark: bool = False
    """Let cuDNN try out its ways of every convolution first: many seconds for each new size of a \
batch, and seldom faster."""
