"""From logits to answers: the only place where heads combine into the 18 classes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from data_loader.labels import AGE_FOLD, AGE_GROUPS, GENDERS, HEADS, MASKS

SINGLE_HEAD = "class"
"""Name of the head of a model that has one for all 18 classes."""


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
    mask, gender, age = (logits[head].float().softmax(dim=1) for head in HEADS)
    groups = [
        age[:, [bin_ for bin_, fold in enumerate(AGE_FOLD) if fold == group]].sum(dim=1)
        for group in range(len(AGE_GROUPS))
    ]
    folded = torch.stack(groups, dim=1)
    joint = mask[:, :, None, None] * gender[:, None, :, None] * folded[:, None, None, :]
    return joint.flatten(start_dim=1)


def head_probabilities(class_probabilities):
    """The probability of each head's answer, whichever way the class probabilities came about.

    Args:
        class_probabilities: (B, 18) numpy array or tensor.

    Returns:
        ``{"mask": (B, 3), "gender": (B, 2), "age": (B, 3)}``: marginals, of the same kind; age is
        in the three groups. For a model with three heads they are the heads' own answers.
    """
    joint = class_probabilities.reshape(-1, len(MASKS), len(GENDERS), len(AGE_GROUPS))
    return {
        "mask": joint.sum(axis=(2, 3)),
        "gender": joint.sum(axis=(1, 3)),
        "age": joint.sum(axis=(1, 2)),
    }


def head_logits(logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Logits whose softmax is ``head_probabilities(class_probabilities(logits))``.

    An answer that several classes of a head share, such as an age group its bins, has the
    log-sum-exp of their logits. In logits, unlike in probabilities, a sure answer still has a
    gradient.

    Args:
        logits: as for ``class_probabilities``.

    Returns:
        ``{"mask": (B, 3), "gender": (B, 2), "age": (B, 3)}`` float32; age is in the three groups.
    """
    if SINGLE_HEAD in logits:
        joint = logits[SINGLE_HEAD].float().unflatten(1, (len(MASKS), len(GENDERS), -1))
        return {
            "mask": joint.logsumexp(dim=(2, 3)),
            "gender": joint.logsumexp(dim=(1, 3)),
            "age": joint.logsumexp(dim=(1, 2)),
        }
    mask, gender, age = (logits[head].float() for head in HEADS)
    groups = [
        age[:, [bin_ for bin_, fold in enumerate(AGE_FOLD) if fold == group]].logsumexp(dim=1)
        for group in range(len(AGE_GROUPS))
    ]
    return {"mask": mask, "gender": gender, "age": torch.stack(groups, dim=1)}
