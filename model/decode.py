"""From logits to answers: the only place where heads combine into the classes of the whole."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from base.heads import Head, NumberHead, TagHead
from base.task import Task
from model.answers import SINGLE_HEAD
from utils.errors import ConfigError


def heads_of(task: Task) -> dict[str, int]:
    """Head → how many logits it has."""
    return {name: head.num_classes for name, head in task.heads.items()}


def single_head(task: Task) -> dict[str, int]:
    """The one head that answers the whole task → how many logits it has.

    Raises:
        ConfigError: several heads, and no product of them all.
    """
    if set(task.product) == set(task.heads) and len(task.heads) > 1:
        return {SINGLE_HEAD: task.num_classes}
    if len(task.heads) == 1:
        return heads_of(task)
    raise ConfigError(
        f"arch.type: TimmModel has a single head, and task {task.name!r} asks for"
        f" {', '.join(task.heads)}; name them all in task.answer.product, or use TimmModelMulti"
    )


def class_names(task: Task, heads: Iterable[str]) -> dict[str, Any]:
    """What the answers of a model mean, as exported files carry it: ``heads``, head → names of its
    classes (none of a head that the task lacks); ``answer``: names of the classes of the whole.
    """
    answer = [task.class_name(code) for code in range(task.num_classes)]
    known = {name: list(head.classes) for name, head in task.heads.items()} | {SINGLE_HEAD: answer}
    return {"heads": {head: known.get(head, []) for head in heads}, "answer": answer}


def head_probabilities(task: Task, logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Logits of a model → head → (B, its classes) float32 probabilities, of tags each by itself."""
    return {
        name: values.float().sigmoid() if name in tag_heads(task) else values.float().softmax(dim=1)
        for name, values in logits.items()
    }


def probabilities(task: Task, logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a model predicts, in the answers that people get.

    The heads of a product answer independently, so a class of the whole has the product of their
    probabilities, and the likeliest class is the likeliest answer of each.

    Args:
        logits: head → (B, its classes), for the heads of the task or for the one head ``"class"``.

    Returns:
        With a product ``"class"`` → (B, C); heads outside of it → (B, answers); float32. Those in
        it follow from ``"class"``, see ``with_marginals``.
    """
    of_heads = head_probabilities(task, logits)
    found = {
        name: head.group(of_heads[name])
        for name, head in task.heads.items()
        if name not in task.product
    }
    # Heads in the product are left out above: they follow from the classes of the whole.
    if not task.product:
        return found
    # A model with a single head answers the whole at once, the others head by head.
    joint = of_heads[SINGLE_HEAD] if SINGLE_HEAD in of_heads else task.joint(of_heads)
    return found | {SINGLE_HEAD: joint}


def answers(task: Task, found: Mapping[str, Tensor], k: int = 3) -> dict[str, Tensor]:
    """What is answered with these probabilities, in memory that does not grow with the classes.

    Returns:
        Name → (B, up to ``k``) int64 codes, the likeliest first and of equals the lower; of a
        number (B,) float, the expectation; of tags (B, n) bool.
    """
    predicted = {}
    for name, values in found.items():
        head = task.heads.get(name)
        if isinstance(head, NumberHead):
            # Not waited for: this is asked after every training step.
            middles = torch.tensor(head.middles).to(values, non_blocking=True)
            predicted[name] = (values * middles).sum(dim=1)
        elif isinstance(head, TagHead):
            predicted[name] = values >= head.settings.threshold
        else:
            predicted[name] = _likeliest(values, k)
    return predicted


def head_logits(task: Task, logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Logits of ``probabilities`` → head → (B, its answers) float32: their softmax, of tags their
    sigmoid, is what ``with_marginals`` gives before any decoding.

    An answer that several classes of a head share, such as an age group its bins, has the
    log-sum-exp of their logits. In logits, unlike in probabilities, a sure answer still has a
    gradient.
    """
    if SINGLE_HEAD in logits:
        # (B, C) → (B, answers of the first head, …)
        table = logits[SINGLE_HEAD].float().unflatten(1, task.sizes)
        places = range(1, table.ndim)
        return {
            head: table.logsumexp(dim=[other for other in places if other != place])
            for place, head in enumerate(task.product, 1)
        }
    return {name: _grouped(head, logits[name].float()) for name, head in task.heads.items()}


def tag_heads(task: Task) -> list[str]:
    """The heads that answer with any of several tags."""
    return [name for name, head in task.heads.items() if isinstance(head, TagHead)]


def _likeliest(values: Tensor, k: int) -> Tensor:
    """(B, n) → (B, k or n) codes. Not ``topk``, which orders equals as it likes."""
    left, found = values.clone(), []
    for _ in range(min(k, values.shape[1])):
        found.append(left.argmax(dim=1))
        # Probabilities are never below 0, so it can't be found again.
        left.scatter_(1, found[-1][:, None], -1.0)
    return torch.stack(found, dim=1)


def _grouped(head: Head, logits: Tensor) -> Tensor:
    """(B, classes) → (B, answers), each the log-sum-exp of its classes."""
    if not head.settings.groups:
        return logits
    groups = torch.tensor(head.group_of)
    members = [logits[:, groups == answer] for answer in range(len(head.answers))]
    return torch.stack([each.logsumexp(dim=1) for each in members], dim=1)
