"""The kernel head against scikit-learn's kernel ridge regression."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.kernel_ridge import KernelRidge

from base.task import load_task
from model import kernel
from model.kernel import KernelHead
from model.model import TimmModelMulti
from utils.errors import ConfigError

FACES = load_task("faces")


@pytest.fixture
def some():
    """Features of 60 photos that tell their class, one of three, and these as shares."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (60,), generator=draw)
    features = torch.randn(60, 8, generator=draw) + 2 * F.one_hot(labels, 8)
    return features, F.one_hot(labels, 3).float()


def fitted(features, shares, weights=None):
    head = KernelHead(features.shape[1], shares.shape[1])
    head.fit(features, shares, torch.ones(len(features)) if weights is None else weights)
    return head


def test_before_it_is_solved_for_all_classes_are_alike():
    assert torch.allclose(KernelHead(8, 4)(torch.randn(2, 8)).exp(), torch.tensor(0.25))


def test_with_every_photo_a_landmark_it_is_kernel_ridge_regression(some):
    features, shares = some
    center, spread = features.mean(dim=0), features.std(dim=0, correction=0)
    points = F.normalize((features - center) / spread, dim=1)
    reference = KernelRidge(alpha=kernel.PENALTY, kernel="rbf", gamma=1.0)
    reference.fit(points, shares - shares.mean(dim=0))
    new = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    expected = reference.predict(F.normalize((new - center) / spread, dim=1))
    expected = (torch.from_numpy(expected) + shares.mean(dim=0)).clamp(min=kernel.LEAST).log()
    assert torch.allclose(fitted(features, shares)(new), expected.float(), atol=0.02)


def test_with_few_landmarks_it_still_tells_the_classes_apart(some, monkeypatch):
    monkeypatch.setattr(kernel, "LANDMARKS", 12)
    features, shares = some
    head = fitted(features, shares)
    assert head.landmarks.shape == (12, 8)
    assert (head(features).argmax(dim=1) == shares.argmax(dim=1)).float().mean() > 0.7


def test_a_photo_without_weight_teaches_nothing(some):
    features, shares = some
    wrong = shares.clone()
    wrong[::4] = wrong[::4].roll(1, dims=1)
    weights = torch.ones(60)
    weights[::4] = 0
    right, careful = fitted(features, shares), fitted(features, wrong, weights)
    counted = fitted(features, wrong)
    apart = [
        (head(features).exp() - right(features).exp()).abs().mean() for head in (careful, counted)
    ]
    assert apart[0] < apart[1] / 2


def test_answers_survive_a_checkpoint_whatever_they_were_fitted_to(some):
    head = fitted(*some)
    other = KernelHead(8, 3)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(some[0]), head(some[0]))


def test_features_far_from_all_that_was_seen_and_alike_photos_give_finite_answers(some):
    features, shares = some
    head = fitted(torch.cat([features, features]), torch.cat([shares, shares]))
    assert head(torch.full((2, 8), 1e9)).isfinite().all()


def test_a_model_needs_a_head_that_is_trained_and_tags_cannot_have_one():
    model = TimmModelMulti(FACES, "test_resnet", pretrained=False, heads={"age": "kernel"})
    assert isinstance(model.classifiers["age"], KernelHead)
    assert not [name for name, _ in model.named_parameters() if name.startswith("classifiers.age")]
    with pytest.raises(ConfigError, match="one head has to be another"):
        TimmModelMulti(FACES, "test_resnet", False, heads=dict.fromkeys(FACES.heads, "kernel"))
