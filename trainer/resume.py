"""What a training goes on from, and what of a config that has changed since does not go with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from base.checkpoint import CheckpointFolder
from base.checkpoint_schema import require_training
from base.schedulers import refuse_longer
from parse_config import ConfigParser
from utils.errors import CheckpointError

Saved = tuple[dict[str, Any], Path]
"""The state that a run resumes, and the file it was read from."""


def checkpoint_to_resume(config: ConfigParser) -> Saved | None:
    """The state that the run resumes, if any; one that can't be resumed is refused."""
    if not config.resume:
        return None
    state, path = CheckpointFolder(config.resume.parent).load(config.resume)
    require_training(state, path)
    # Through the parser, so that keys of an older version are today's.
    state["config"] = ConfigParser.stored(state["config"], path).config
    settings = config.settings.trainer
    refuse_longer(state["config"], settings.epochs, settings.hours)
    return state, path


def require_same_optimizer(state: Mapping[str, Any], path: Path, optimizer: Optimizer) -> None:
    """Refuse, by a CheckpointError, an optimizer of another class than the checkpoint's."""
    saved, ours = state["kinds"].partition(" and ")[0], type(optimizer).__name__
    if saved != ours:
        raise CheckpointError(
            f"{path}: its optimizer is not the configured one ({saved} saved, {ours} configured);"
            " resume with the config it was trained with"
        )


def look_for_best_anew(state: dict[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Let the best epoch so far, in ``state``, not be compared with those to come where another
    score, or a loss of another kind or weight, is monitored now; gives a line that says so."""
    saved, rule = state["config"], asked["trainer"]["monitor"]
    changed = ["trainer.monitor"] if saved["trainer"]["monitor"] != rule else []
    if rule.endswith("loss"):
        changed += [key for key in ("loss", "loss_name") if saved[key] != asked[key]]
    if not changed:
        return []
    # Until there is a better one, that epoch is still the one in best_epoch.pth.
    state["monitor"] |= {"best": None, "waited": 0}
    schedule = state["lr_scheduler"] or {}
    if "num_bad_epochs" in schedule:  # of ReduceLROnPlateau, which compares for itself
        for key in ("best", "mode", "mode_worse", "num_bad_epochs"):
            schedule.pop(key, None)
    why = f"{', '.join(changed)}: no longer what the epochs so far were compared by"
    return [f"{why}; the best one is looked for among those to come"]


def ignored_overrides(saved: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What a resumed run was asked to do otherwise, and does as it did: a line for each."""
    lines = []
    for section in ("optimizer", "lr_scheduler"):
        before, now = [(config.get(section) or {}).get("args") or {} for config in (saved, asked)]
        if before != now:
            lines.append(f"{section}.args: no effect, since the run goes on as saved")
        elif saved["trainer"]["epochs"] != asked["trainer"]["epochs"] and "all" in now.values():
            lines.append(f"{section}: stays made for {saved['trainer']['epochs']} epochs, as saved")
    return lines
