"""A head that is not trained but solved for: kernel ridge regression on a backbone's features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LANDMARKS = 2048
"""Training photos that answers are made of. On real faces 2,048 of 8,960 did as well as all."""
PENALTY = 0.3
"""Of large coefficients; 0.3 to 3 showed no difference there."""
FARTHEST = 6.0
"""Standard deviations from the mean to which a feature is clipped."""
LEAST = 1e-3
"""The least that a class gets: a regression also says less than nothing."""


class KernelHead(nn.Module):
    """Answers by how near a photo is to photos of the training, its landmarks.

    The shares of the classes are the sum over the landmarks of a coefficient of each times
    exp(-‖z - z'‖²), with z the standardized features at length 1. The coefficients are those of
    kernel ridge regression on all training photos (Saunders et al. 1998), with the landmarks for
    its centers (Nyström; Rudi et al. 2015, arXiv:1507.04717). ``fit`` finds them at once: the head
    has nothing to train, and the backbone learns nothing from it. Before, all classes are alike.
    """

    center: Tensor
    spread: Tensor
    landmarks: Tensor
    coefficients: Tensor
    offset: Tensor
    broadcast = False
    """Not sent to all ranks in every step: 10 MB that only a fit changes, on all of them alike."""

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(num_features))
        self.register_buffer("spread", torch.ones(num_features))
        # Always as many, so that a checkpoint fits whatever it was fitted to.
        self.register_buffer("landmarks", torch.zeros(LANDMARKS, num_features))
        self.register_buffer("coefficients", torch.zeros(LANDMARKS, num_classes))
        self.register_buffer("offset", torch.full((num_classes,), 1 / num_classes))

    def forward(self, features: Tensor) -> Tensor:
        """(B, ``num_features``) → (B, n) logarithms of the shares, whose softmax are they."""
        shares = self._nearness(features) @ self.coefficients + self.offset
        return shares.clamp(min=LEAST).log()

    @torch.no_grad()
    def fit(self, features: Tensor, shares: Tensor, weights: Tensor) -> None:
        """Solve for the answers to N photos.

        Args:
            features: (N, ``num_features``) float32.
            shares: (N, n) of their classes.
            weights: (N,) what each counts.
        """
        # In place, where a CUDA graph may have recorded them.
        self.center.copy_(features.mean(dim=0))
        self.spread.copy_(features.std(dim=0, correction=0) + 1e-3)
        count = min(LANDMARKS, len(features))
        # Evenly from all photos, which come person by person.
        chosen = torch.linspace(0, len(features) - 1, count).round().long()
        self.landmarks.zero_()
        self.landmarks[:count] = self._standardized(features[chosen.to(features.device)])
        mean = (weights[:, None] * shares).sum(dim=0) / weights.sum()
        normal = features.new_zeros(LANDMARKS, LANDMARKS, dtype=torch.float64)
        aim = features.new_zeros(LANDMARKS, len(mean), dtype=torch.float64)
        for some, target, weight in zip(
            *(each.split(LANDMARKS) for each in (features, shares - mean, weights)), strict=True
        ):
            near = self._nearness(some).double()  # (some, LANDMARKS)
            normal += near.T @ (near * weight[:, None])
            aim += near.T @ (target * weight[:, None]).double()
        own = self._gaussian(self.landmarks).double()
        # What is left over of the landmarks is no photo, and is to count for nothing.
        normal[count:] = own[count:] = aim[count:] = 0
        normal += PENALTY * own
        # Alike landmarks would make it singular.
        normal.diagonal().add_(1e-4)
        self.coefficients.copy_(torch.linalg.solve(normal, aim))
        self.offset.copy_(mean)

    def _nearness(self, features: Tensor) -> Tensor:
        return self._gaussian(self._standardized(features))

    def _standardized(self, features: Tensor) -> Tensor:
        apart = (features - self.center) / self.spread
        return F.normalize(apart.clamp(-FARTHEST, FARTHEST), dim=1)

    def _gaussian(self, points: Tensor) -> Tensor:
        # ‖z - z'‖² = 2 - 2 z·z' of points at length 1.
        return (2 * (points @ self.landmarks.T) - 2).exp()
