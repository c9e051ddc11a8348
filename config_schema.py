"""The schema of config.json: every key, its type, default and meaning.

The sections stand with what they are about, in the settings.py of each room. The line under a key
is its documentation; ``python config_schema.py`` prints them all as the table of docs/config.md,
and writes them to configs/schema.json, by which an editor completes and checks a config.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, ValidationError

from base.settings import OptimizerArguments, OptimizerSettings, SchedulerSettings, TrainerSettings
from base.task_settings import TASKS, TaskSettings, default_loss, read_task, task_file
from data_loader.settings import (
    FOLDS,
    Augmentation,
    DataLoader,
    LabelCorrections,
    Labels,
    Mixing,
    Sampling,
    Tracer,
    Validation,
)
from logger.settings import Wandb
from model.settings import Arch, ArchArguments, Decoding, LossTriple
from trainer.settings import Tta
from utils.cli import run_command
from utils.config_files import BASE_KEY, Draft, leaves, merge, read_json5
from utils.errors import ConfigError
from utils.older_names import AGE, BIASED
from utils.schema_base import FileName, Natural, PathText, Section
from utils.schema_text import MOST_ERRORS, explain, markdown_table


class Config(Section):
    """The whole of config.json."""

    name: FileName
    """Name of the experiment; runs are filed under it."""
    n_gpu: Natural = 1
    """GPUs to train on; with 0, or where there is none, the CPU."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 42
    """Seed of everything that is drawn: split, weights, augmentation, order."""
    data_dir: PathText = "data"
    """Folder that the places of `task.data` start from; of the faces with train/images and \
eval/images."""
    task: TaskSettings = Field(
        # Read when it is needed and not on import: a scaffolded project may have no such file.
        default_factory=lambda: read_task(TASKS / "faces.json"),
        json_schema_extra={"default": "faces"},
    )
    """What is asked of a photo and where the data lie: the name of a file in configs/tasks, the \
path of one, or the object itself."""
    arch: Arch = Arch(args=ArchArguments(model_name="efficientnetv2_rw_s", pretrained=True))
    data_loader: DataLoader = DataLoader()
    validation: Validation = Validation()
    label_corrections: LabelCorrections | None = None
    """Known label errors to repair; `null` takes the labels as they are."""
    labels: Labels | None = None
    """Further names for settings of the head `age`."""
    sampling: Sampling | None = None
    """Show rare classes more often; `null` shows every photo once per epoch."""
    mixing: Mixing | None = None
    """Training photos made of two, their targets by `lam`; `null` mixes nothing."""
    augmentation: Augmentation | None = Augmentation()
    """What is done to training photos at random; `null` does nothing."""
    tta: Tta | None = None
    """Test-time augmentation: the mean answer over two views of a photo; `null` for none."""
    tracer: Tracer = Tracer()
    optimizer: OptimizerSettings = OptimizerSettings(args=OptimizerArguments(lr=1e-4))
    lr_scheduler: SchedulerSettings | None = None
    """How the learning rate changes; `null` keeps it."""
    loss: str = "all_loss"
    """`all_loss` adds up what `loss_name` says; the name of a loss gives it to every head, \
unweighted."""
    loss_name: Annotated[
        Annotated[list[LossTriple] | None, Field(min_length=1), Tag("list")]
        | Annotated[dict[str, LossTriple], Tag("object")],
        Discriminator(lambda value: "object" if isinstance(value, dict) else "list"),
    ] = None
    """For each head in the order of the task, or by its name: the loss (a name, or an object with \
type and args), its class weights (`balanced` and `effective` count them in the training data), \
and the head's weight in the sum. `null`, and heads that an object leaves out, take \
`task.heads.<head>.loss`. `TimmModel` has one head, so one entry."""
    # A discriminator, here as above: a plain union would report the errors of all alternatives.
    decoding: Annotated[
        Annotated[str | None, Tag("file")] | Annotated[Decoding, Tag("values")],
        Discriminator(lambda value: "values" if isinstance(value, dict | Decoding) else "file"),
    ] = None
    """How probabilities become answers in validation and test: `null` takes the likeliest class; \
an object answers rare ones more often; a file of `python -m tools.tune_decoding` does what it \
found best."""
    metrics: list[str] = Field(default=["accuracy", "f1"])
    """Functions in model/metric.py that an epoch is evaluated by."""
    trainer: TrainerSettings = TrainerSettings()
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
    submit_dir: PathText = "submit"
    """Where test.py writes submissions."""
    info_dir: PathText | None = None
    """Folder of the eval half's info.csv and images; `null` takes `<data_dir>/eval`."""


def without_aliases(config: Config) -> Config:
    """The config with what the older names say where it belongs, ``labels`` in the task's head
    ``age`` (a ConfigError where it has none), ``arch.args.age_head`` in ``heads``; and with the
    monitor that the task suggests."""
    args = config.arch.args.model_dump()
    if layer := args.pop("age_head", None):
        # What `heads` itself says goes first.
        args["heads"] = {AGE: layer} | args.get("heads", {})
    arch = config.arch.model_copy(update={"args": ArchArguments(**args)})
    # Written out, so that the run's config tells by what its best epoch was chosen.
    # Of a task with a number its error is what makes an epoch the best one.
    numbers = [name for name, head in config.task.heads.items() if head.kind == "number"]
    suggested = f"min val/{numbers[0]}_mae" if numbers else "max val/f1"
    monitor = config.trainer.monitor or suggested
    trainer = config.trainer.model_copy(update={"monitor": monitor})
    config = config.model_copy(update={"arch": arch, "trainer": trainer})
    if config.labels is None:
        return config
    fields = {"age_edges": "bins", "drop_ages": "drop", "age_spread": "sigma"}
    # Left at null, an alias says nothing, and the task's own setting holds.
    changes = {fields[key]: value for key, value in config.labels if value is not None}
    task = config.task
    if changes and (AGE not in task.heads or task.heads[AGE].bins is None):
        raise ConfigError(
            f"labels: names settings of the head {AGE!r} of the task 'faces', but this task is"
            f" {task.name!r} ({', '.join(task.heads)}); set bins, drop and sigma in task.heads; if"
            " the task is a checkpoint's, use its own config without -c"
        )
    if changes:
        task = task.changed(AGE, **changes)
    return config.model_copy(update={"task": task, "labels": None})


REMOVED: dict[str, tuple[Any, str]] = {
    "augmentation.erase": (0.0, "augmentation.dropout"),
    "augmentation.erase_area": (0.33, "augmentation.dropout_size"),
    "optimizer.backbone_lr_ratio": (1.0, "optimizer.layer_decay"),
    "optimizer.decay_norm_and_bias": (False, "optimizer.args.weight_decay"),
    "optimizer.scale_lr": ("off", "optimizer.args.lr"),
    "tracer.keep_aspect": (False, "tracer.region"),
    "tracer.min_area": (0.02, "tracer.threshold"),
    "trainer.freeze_backbone_epochs": (0, "trainer.freeze or optimizer.layer_decay"),
    "trainer.progressive_resizing": (None, "data_loader.args.input_size"),
    "tta.scales": ([], "tta.flip"),
    "tta.shifts": ([], "tta.flip"),
    "trainer.swa_start": (None, "trainer.ema_decay or python -m tools.soup"),
}
"""Keys of older versions: dotted path → its default, and what to use instead."""


def migrate(values: dict[str, Any]) -> list[str]:
    """Take the removed keys out of the config of an older version, in place; returns a line for
    every one of them that was not at its default."""
    lines = []
    for path, (default, instead) in REMOVED.items():
        section, key = path.split(".")
        if not isinstance(values.get(section), dict) or key not in values[section]:
            continue
        # At its default a removed option did nothing, so nobody has to hear of it.
        if (value := values[section].pop(key)) != default:
            lines.append(
                f"{path}={json.dumps(value)}: dropped, since it was removed; use {instead}"
            )
    return lines


def validated(draft: Draft) -> Config:
    """The config that several sources make together; a ConfigError that lists all errors."""
    values = draft.merged(prepare=_read_task)
    values.pop("$schema", None)  # is for editors
    try:
        # As JSON: there `strict` refuses "5" for 5, and still takes a list for a tuple.
        config = Config.model_validate_json(json.dumps(values, default=str), strict=True)
        return without_aliases(config)
    except ValidationError as error:
        problems = explain(error, Config.model_json_schema(), values)
        more = ", among others" if error.error_count() > MOST_ERRORS else ""
    problems = _not_utf8(values) or problems
    for path in problems.keys() & REMOVED.keys():
        problems[path] = f"was removed; use {REMOVED[path][1]}"
    lines = [f"{draft.source_of(path)}: {path}: {text}" for path, text in problems.items()]
    heading = [f"{draft.main_source}: {len(lines)} errors{more}"] if len(lines) > 1 else []
    raise ConfigError("\n  ".join(heading + lines))


def _not_utf8(values: dict[str, Any]) -> dict[str, str]:
    """Dotted path → what is wrong, of texts that JSON cannot hold: mostly a name of a folder."""
    texts = {
        path: json.dumps(value, ensure_ascii=False, default=str)
        for path, value in leaves(values).items()
    }
    odd = re.compile("[\ud800-\udfff]")
    return {
        path: f"{text} is not UTF-8; rename it"
        for path, text in texts.items()
        if odd.search(path + text)
    }


def _read_task(values: dict[str, Any]) -> None:
    """Put the task itself in the place of its name or path, without either the faces; under what
    changes the one that its ``"_base_"`` names; and what it says of the losses in that of
    ``loss_name``."""
    task, over = values.setdefault("task", "faces"), {}
    if isinstance(task, dict) and isinstance(task.get(BASE_KEY), str):
        over = {key: value for key, value in task.items() if key != BASE_KEY}
        task = task[BASE_KEY]
    if isinstance(task, str):
        task = read_json5(task_file(task), asked_by="task: ")
    # Of the task that is changed: folds stay comparable when `over` or a --set moves the bins.
    for head in _heads_in(task):
        if "bins" in head:
            head.setdefault("split_bins", head["bins"])
    if over:
        task = merge(task, over)
    values["task"] = task
    arch = values.get("arch")
    single = isinstance(arch, dict) and arch.get("type") == "TimmModel"
    if values.get("loss_name") is None and not single:
        # Written out, so that --set loss_name.2.0=… finds its place.
        values["loss_name"] = [default_loss(head) for head in _heads_in(task)] or None


def _heads_in(task: Any) -> list[dict[str, Any]]:
    heads = task.get("heads") if isinstance(task, dict) else None
    heads = list(heads.values()) if isinstance(heads, dict) else []
    return [head for head in heads if isinstance(head, dict)]


def defaults() -> dict[str, Any]:
    """The values of a config that says nothing."""
    # The task is put in by `_read_task`, which may find it in a file of its own.
    return Config(name="unnamed").model_dump(mode="json", exclude={"name", "task"})


SWITCHES = {
    "mixing": {"mixup": "mixup_alpha", "cutmix": "cutmix_alpha"},
    "augmentation": {
        "affine": "shift scale rotate",
        "tone": "brightness contrast",
        "dropout": "dropout_holes dropout_size",
    },
}
"""Section → what switches something in it off at 0 → what then has no effect."""


def idle_options(config: Config) -> list[tuple[set[str], str]]:
    """Options that other options of the same config leave without effect, and why."""
    unseen = config.wandb is False and not config.trainer.tensorboard
    folds, trainer, args = config.validation.type, config.trainer, config.arch.args
    crops = "sha256 threshold margin background region batch_size"
    rules: list[tuple[Any, str, str, str]] = [
        (trainer.monitor == "off" and trainer.early_stop,
         "trainer", "early_stop", "trainer.monitor is off"),
        (unseen and config.visualize, "", "visualize", "wandb and trainer.tensorboard are off"),
        (unseen, "trainer", "log_every_steps", "wandb and trainer.tensorboard are off"),
        (trainer.effective_batch, "trainer", "accumulate", "trainer.effective_batch is given"),
        (config.loss != "all_loss", "", "loss_name", "loss is not all_loss"),
        (args.pretrained and args.checkpoint_path,
         "arch.args", "pretrained", "arch.args.checkpoint_path is given"),
        (True, "validation", "fraction" if folds == FOLDS else "folds fold",
         f"validation.type is {folds}"),
        (config.tracer.weights is None, "tracer", crops, "tracer.weights is null"),
    ]  # fmt: skip
    for section, switches in SWITCHES.items():
        for switch, strengths in switches.items():
            off = getattr(getattr(config, section), switch, None) == 0
            rules.append((off, section, strengths, f"{section}.{switch} is 0"))
    return [
        ({f"{section}.{name}".removeprefix(".") for name in names.split()}, reason)
        for holds, section, names, reason in rules
        if holds
    ]


# Generated and committed: editors fetch it from the working tree, tests compare it.
EDITOR_SCHEMA = Path(__file__).parent / "configs/schema.json"


def editor_schema() -> str:
    """The text of configs/schema.json: what one config file may hold, as JSON Schema."""
    schema = _with_shorthands(Config.model_json_schema())
    properties = schema["properties"]
    task = properties["task"]
    # The parser puts the task in the place of its name
    # before it validates; an editor sees the name.
    changed = {
        "type": "object",
        "required": [BASE_KEY],
        "properties": {BASE_KEY: {"type": "string"}},
    }
    kinds = [{"type": "string"}, {"$ref": task["$ref"]}, changed]
    properties["task"] = task | {"anyOf": kinds}
    del properties["task"]["$ref"]
    text = {"type": "string"}
    bases: dict[str, Any] = {"anyOf": [text, {"type": "array", "items": text}]}
    bases["description"] = "Config files, beside this one, that it changes."
    schema["properties"] = {"$schema": text, BASE_KEY: bases} | properties
    del schema["required"]  # by one file: another that it is based on may say it
    # Aliases, too, are taken out before the schema comes to see them.
    schema["$defs"]["Mixing"]["properties"]["same_mask"] = {"type": "boolean"}
    biases = schema["$defs"]["Decoding"]["properties"]
    schema["$defs"]["Decoding"]["properties"] = biases | dict.fromkeys(
        BIASED, biases["bias"]["additionalProperties"]
    )
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _with_shorthands(node: Any) -> Any:
    """``node``, where one item, or a text for all of them, may stand for a list that says so."""
    if isinstance(node, list):
        return [_with_shorthands(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {key: _with_shorthands(value) for key, value in node.items()}
    if node.get("type") != "array" or "allowed" not in node or "items" not in node:
        return node
    return {"anyOf": [node, node["items"], {"type": "string"}]} | {
        key: node[key] for key in ("description", "default") if key in node
    }


def main() -> None:
    """Print the table, write the file."""
    print(markdown_table(Config.model_json_schema()))
    EDITOR_SCHEMA.write_text(editor_schema(), encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
