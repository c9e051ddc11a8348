"""From logits to answers: the only place where heads combine into the 18 classes."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from base.task import Head, Task
from data_loader.labels import FACES
from utils.errors import ConfigError

SINGLE_HEAD = "class"
"""The classes of the whole, and the head of a model that has one for all of them."""


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
    """What the answers of a model mean, as checkpoints and exported files carry it.

    Args:
        task: that the model was taught.
        heads: of the model; one that the task lacks has no classes.

    Returns:
        ``heads``: head → names of its classes; ``answer``: names of the classes of the whole.
    """
    answer = [task.class_name(code) for code in range(task.num_classes)]
    known = {name: list(head.classes) for name, head in task.heads.items()} | {SINGLE_HEAD: answer}
    return {"heads": {head: known.get(head, []) for head in heads}, "answer": answer}


def class_probabilities(logits: Mapping[str, Tensor]) -> Tensor:
    """Probabilities of the 18 classes.

    Three heads answer independently, so a class has the product of its mask, gender and age group
    probability; an age group has the sum of its bins. The likeliest class is therefore the
    likeliest mask, gender and age group together.

    Args:
        logits: head → (B, number of its classes), for the heads of the label scheme or for the
            one head ``"class"``.

    Returns:
        (B, 18) float32, each row summing to 1.
    """
    if SINGLE_HEAD in logits:
        return logits[SINGLE_HEAD].float().softmax(dim=1)
    return FACES.joint({head: logits[head].float().softmax(dim=1) for head in FACES.product})


def head_probabilities(class_probabilities):
    """The probability of each head's answer, whichever way the class probabilities came about.

    Args:
        class_probabilities: (B, 18) numpy array or tensor.

    Returns:
        ``{"mask": (B, 3), "gender": (B, 2), "age": (B, 3)}``: marginals, of the same kind; age is
        in the three groups. For a model with three heads they are the heads' own answers.
    """
    return FACES.marginals(class_probabilities)


def head_logits(task: Task, logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Logits of the answers of every head, whichever way the model is built.

    An answer that several classes share, such as an age group its bins, has the log-sum-exp of
    their logits: its softmax is then the answer's probability. In logits, unlike in
    probabilities, a sure answer still has a gradient.

    Args:
        task: that the model was taught.
        logits: head → (B, number of its classes), for the heads of the task or for the one head
            ``"class"``.

    Returns:
        Head → (B, its answers) float32.
    """
    if SINGLE_HEAD in logits:
        table = logits[SINGLE_HEAD].float().unflatten(1, task.sizes)
        places = range(1, table.ndim)
        return {
            head: table.logsumexp(dim=[other for other in places if other != place])
            for place, head in enumerate(task.product, 1)
        }
    return {name: _grouped(head, logits[name].float()) for name, head in task.heads.items()}


def _grouped(head: Head, logits: Tensor) -> Tensor:
    """(B, classes) → (B, answers), each the log-sum-exp of its classes."""
    if not head.settings.groups:
        return logits
    groups = torch.tensor(head.group_of)
    parts = [logits[:, groups == answer] for answer in range(len(head.answers))]
    return torch.stack([part.logsumexp(dim=1) for part in parts], dim=1)
