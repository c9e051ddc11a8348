"""Losses of one head: (B, n) logits against (B,) labels or, of mixed photos, (B, n) label shares.

A loss that goes photo by photo has one value for every photo and label. What a photo counts is the
mean of these values over its labels, by their shares and class weights; so mixed labels, class
weights, soft labels and focusing go together, and a photo of one label is the plain case.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.heads import MISSING
from utils.class_codes import require_codes

Weights = Tensor | None
"""(B,) float, what each photo counts; ``None`` where all count the same."""


class CrossEntropy(nn.Module):
    """Cross entropy or focal loss against labels that may be softened, mixed and weighted.

    Of a photo whose label is c:  w_c · Σ_k q(k|c) · (1 - p_k)^gamma · -log p_k, over the sum of the
    weights. Focal loss is that of Lin et al. 2017 (arXiv:1708.02002), the weights its alpha.

    Args:
        class_weights: (n,), or ``None``.
        gamma: how strongly photos that are already right lose weight; 0 is cross entropy.
        smoothing: share of the label spread evenly over all classes, in [0, 1); label smoothing
            (Szegedy et al. 2016, arXiv:1512.00567).
        spread: for classes in an order: standard deviation, in classes, of the label over its
            neighbors; 0 for none. See ``soft_labels``.
        log_prior: (n,) log frequency of the classes times the strength of logit adjustment (Menon
            et al. 2021, arXiv:2007.07314), added to the logits here and not in prediction.

    Raises:
        ValueError: a value outside its range.
    """

    class_weights: Tensor
    labels: Tensor
    log_prior: Tensor | None

    def __init__(
        self,
        num_classes: int,
        class_weights: Tensor | None = None,
        *,
        gamma: float = 0.0,
        smoothing: float = 0.0,
        spread: float = 0.0,
        log_prior: Tensor | None = None,
    ) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"gamma {gamma} must be at least 0")
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing {smoothing} must be at least 0 and below 1")
        if not spread >= 0:
            raise ValueError(f"spread {spread} must be at least 0")
        self.gamma, self.sharp = gamma, not (smoothing or spread)
        self.register_buffer("class_weights", ones_unless(class_weights, num_classes))
        self.register_buffer("labels", soft_labels(num_classes, smoothing, spread))
        self.register_buffer("log_prior", log_prior)

    @property
    def is_mean(self) -> bool:
        """Whether a batch's loss is the plain mean of its photos'."""
        return bool((self.class_weights == self.class_weights[0]).all())

    def forward(self, logits: Tensor, targets: Tensor, photo_weights: Weights = None) -> Tensor:
        """(B, n) logits and (B,) labels or (B, n) label shares → scalar."""
        logits = logits.float() if self.log_prior is None else logits.float() + self.log_prior
        # Not log(softmax): where p rounds to 0 its logarithm would be -Inf.
        log_p = F.log_softmax(logits, dim=1)
        values = -log_p
        if self.gamma:
            # The floor keeps the gradient of the power finite where p is 1 and gamma is below 1.
            values = (-torch.expm1(log_p)).clamp_min(1e-12) ** self.gamma * values
        if targets.ndim == 1:
            targets, known = known_labels(targets, logits.shape[1])
            # A missing label has the weight 0, above and below the line of the mean.
            weights = by_photo(self.class_weights[targets] * known, photo_weights)
            return weighted_mean((self.labels[targets] * values).sum(dim=1), weights)
        weights = by_photo(targets * self.class_weights, photo_weights)
        return weighted_mean(self._values_of_labels(values), weights)

    def _values_of_labels(self, values: Tensor) -> Tensor:
        """(B, n) values of the classes → (B, n), of each label the mean over what it stands for."""
        if self.sharp:  # the same, without n² values a photo
            return values
        # By element and not by matrix product, which GPUs may compute in lower precision.
        return (self.labels * values[:, None, :]).sum(dim=2)  # (B, n, n) → (B, n)


def soft_labels(num_classes: int, smoothing: float = 0.0, spread: float = 0.0) -> Tensor:
    """The probabilities q(k|c) that stand for label c: (n, n) float32, a row for each c.

    Neighbors in the order of the classes get exp(-(k - c)² / (2 · spread²)), each row scaled to 1:
    soft ordinal labels (Díaz and Marathe 2019, "Soft Labels for Ordinal Regression", CVPR). Of
    that, ``smoothing`` is spread evenly over all classes.
    """
    sharp = torch.eye(num_classes)
    if spread:
        places = torch.arange(num_classes, dtype=torch.float64)
        distances = (places[:, None] - places) ** 2
        sharp = (-distances / (2 * spread**2)).softmax(dim=1).float()
    return (1 - smoothing) * sharp + smoothing / num_classes


class SoftF1(nn.Module):
    """One minus the macro-F1 of a batch, with probabilities in the place of decisions.

    F1 of class c is 2·Σ p·y / (Σ p + Σ y) over the batch. Classes that no photo of the batch has
    are left out: their F1 is 0 whatever the model says. Class weights weigh the mean over classes.
    """

    class_weights: Tensor

    def __init__(self, num_classes: int, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", ones_unless(class_weights, num_classes))

    def forward(self, logits: Tensor, targets: Tensor, photo_weights: Weights = None) -> Tensor:
        """(B, n) logits and (B,) labels or (B, n) label shares → scalar in [0, 1]."""
        probabilities = logits.float().softmax(dim=1)
        # Label shares of 0 in all classes are how a missing label is mixed.
        truth, known = targets, targets.sum(dim=-1) > 0
        if targets.ndim == 1:
            targets, known = known_labels(targets, probabilities.shape[1])
            truth = F.one_hot(targets, probabilities.shape[1]).to(probabilities) * known[:, None]
        probabilities = by_photo(probabilities * known[:, None], photo_weights)
        support = by_photo(truth, photo_weights).sum(dim=0)
        f1 = 2 * (probabilities * truth).sum(dim=0) / (probabilities.sum(dim=0) + support + 1e-7)
        return weighted_mean(1 - f1, self.class_weights * (support > 0))


class BinaryCrossEntropy(nn.Module):
    """Of each tag by itself: is it there? The mean over tags and photos, tags by their weights."""

    class_weights: Tensor
    is_mean = True

    def __init__(self, num_classes: int, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", ones_unless(class_weights, num_classes))

    def forward(self, logits: Tensor, targets: Tensor, photo_weights: Weights = None) -> Tensor:
        """(B, n) logits and (B, n) of 0, 1 or, of mixed photos, between → scalar; NaN where it is
        not known."""
        known = ~targets.isnan()
        # NaN times a weight of 0 would still be NaN, in the loss as in the gradient.
        there = targets.nan_to_num()
        values = F.binary_cross_entropy_with_logits(logits.float(), there, reduction="none")
        return weighted_mean(values, by_photo(self.class_weights * known, photo_weights))


class WithCrossEntropy(nn.Module):
    """Another loss of (logits, targets) plus cross entropy, which ties each class to its logit."""

    def __init__(self, other: nn.Module, cross_entropy: CrossEntropy) -> None:
        super().__init__()
        self.other = other
        self.cross_entropy = cross_entropy

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, n) logits and (B,) labels or (B, n) label shares → scalar."""
        return self.other(logits, targets) + self.cross_entropy(logits, targets)


def by_photo(weights: Tensor, photo_weights: Weights) -> Tensor:
    """Weights (B,) or (B, n) times those of the photos, where these have any."""
    if photo_weights is None:
        return weights
    return weights * (photo_weights if weights.ndim == 1 else photo_weights[:, None])


def known_labels(targets: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """(B,) labels, missing ones as 0, and (B,) bool, which are known; errors as below."""
    require_labels(targets, num_classes)
    return targets.clamp_min(0), targets != MISSING


def require_labels(targets: Tensor, num_classes: int) -> None:
    """Refuse labels, (B,), that are neither a class nor missing.

    Raises:
        DataError: there is one. On a GPU it is an assertion of the device, so that no training
            step waits for the answer.
    """
    if targets.is_cpu:
        require_codes(targets, range(num_classes), "targets of a loss", missing=MISSING)
        return
    right = (targets >= 0) & (targets < num_classes) | (targets == MISSING)
    torch._assert_async(right.all(), f"targets of a loss: a label outside 0 to {num_classes - 1}")


def ones_unless(class_weights: Tensor | None, num_classes: int) -> Tensor:
    """(n,) float32 weights: those given, or equal ones."""
    return torch.ones(num_classes) if class_weights is None else class_weights.float()


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of values by weights of the same shape; 0 where all weights are 0."""
    # A batch of nothing but zero-weight classes has the loss 0, not 0/0.
    return (weights * values).sum() / weights.sum().clamp_min(1e-12)
