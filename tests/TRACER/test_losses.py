"""The training objective, against worked numbers and the stored values of the reference."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from TRACER.losses import api_loss, edges, pixel_weights, tracer_loss
from TRACER.network import TracerOutput

GOLDEN = np.load(Path(__file__).parent / "fixtures" / "loss_metrics.npz")
PROBABILITY = torch.from_numpy(GOLDEN["pred"]).double()
LOGITS = torch.logit(PROBABILITY)
MASK = torch.from_numpy(GOLDEN["mask"]).double()


def scalar_api_loss(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """What the authors' code computes: the errors averaged to one number before weighting."""
    weights = pixel_weights(target)
    entropy = torch.nn.functional.binary_cross_entropy(probability, target)
    error = (probability - target).abs().mean()

    def total(x):
        return x.sum(dim=(1, 2, 3))

    common = total(probability * target * weights)
    union = total((probability + target) * weights) - common
    cross_entropy = total(entropy * weights) / total(weights + 0.5)
    absolute = total(error * weights) / total(weights - 1)
    return (0.7 * (cross_entropy + 1 - (common + 1) / (union + 1) + absolute)).mean()


def two_by_two() -> tuple[torch.Tensor, torch.Tensor]:
    """A 2×2 image with one object pixel: p = [[.8, .4], [.2, .1]], y = [[1, 0], [0, 0]]."""
    probability = torch.tensor([[[[0.8, 0.4], [0.2, 0.1]]]], dtype=torch.float64)
    target = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]], dtype=torch.float64)
    return probability, target


# The averages around the object pixel are 1/9, 1/225 and 1/961, so its weight is
OBJECT_WEIGHT = 1 + 0.5 * (8 / 9 + 224 / 225 + 960 / 961)
# and every other pixel's is 1.
ENTROPIES = [-math.log(0.8), -math.log(0.6), -math.log(0.8), -math.log(0.9)]
ERRORS = [0.2, 0.4, 0.2, 0.1]
IOU_TERM = 1 - (0.8 * OBJECT_WEIGHT + 1) / (1.8 * OBJECT_WEIGHT + 0.7 - 0.8 * OBJECT_WEIGHT + 1)


def test_the_loss_of_a_two_by_two_image_is_the_one_worked_out_by_hand():
    probability, target = two_by_two()
    entropy = (OBJECT_WEIGHT * ENTROPIES[0] + sum(ENTROPIES[1:])) / (OBJECT_WEIGHT + 3 + 2)
    absolute = (OBJECT_WEIGHT * ERRORS[0] + sum(ERRORS[1:])) / (OBJECT_WEIGHT - 1)
    expected = 0.7 * (entropy + IOU_TERM + absolute)
    assert api_loss(torch.logit(probability), target).item() == pytest.approx(expected, rel=1e-9)


def test_the_authors_scalar_version_of_it_is_the_one_worked_out_by_hand():
    probability, target = two_by_two()
    total = OBJECT_WEIGHT + 3
    entropy = sum(ENTROPIES) / 4 * total / (total + 2)
    absolute = sum(ERRORS) / 4 * total / (OBJECT_WEIGHT - 1)
    expected = 0.7 * (entropy + IOU_TERM + absolute)
    assert scalar_api_loss(probability, target).item() == pytest.approx(expected, rel=1e-9)


def test_the_formula_gives_the_stored_value():
    assert api_loss(LOGITS, MASK).item() == pytest.approx(
        float(GOLDEN["api_loss_pixelwise"]), rel=1e-6
    )


def test_the_scalar_version_gives_the_stored_values_and_gradient_of_the_reference():
    probability = PROBABILITY.clone().requires_grad_()
    loss = scalar_api_loss(probability, MASK)
    loss.backward()
    assert loss.item() == pytest.approx(float(GOLDEN["api_loss"]), rel=1e-6)
    np.testing.assert_allclose(probability.grad.numpy(), GOLDEN["api_grad"], atol=1e-7)
    each = [scalar_api_loss(PROBABILITY[[i]], MASK[[i]]).item() for i in range(2)]
    np.testing.assert_allclose(each, GOLDEN["api_loss_each"], rtol=1e-6)
    edge = torch.from_numpy(GOLDEN["edge"]).double()
    loss = scalar_api_loss(PROBABILITY, edge).item()
    assert loss == pytest.approx(float(GOLDEN["api_loss_edge_target"]), rel=1e-6)


def test_the_gradient_of_the_loss_is_right():
    logits = torch.randn(2, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    target = (torch.rand(2, 1, 6, 6) > 0.5).double()
    assert torch.autograd.gradcheck(lambda x: api_loss(x, target), (logits,))


def test_images_of_a_batch_do_not_influence_each_other():
    alone = [api_loss(LOGITS[[i]], MASK[[i]]) for i in range(2)]
    assert api_loss(LOGITS, MASK).item() == pytest.approx(sum(alone).item() / 2)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_empty_or_full_mask_gives_a_finite_loss_and_gradient(value):
    logits = torch.randn(2, 1, 32, 32, requires_grad=True)
    mask = MASK[:, :, :32, :32].float().clone()
    mask[0] = value
    loss = api_loss(logits, mask)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0].abs().sum() > 0


def test_logits_of_any_size_give_a_finite_loss_and_gradient():
    logits = torch.tensor([-1e4, 1e4]).view(1, 1, 1, 2).repeat(1, 1, 2, 1).requires_grad_()
    loss = api_loss(logits, torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_averages_divide_by_the_whole_window_at_the_border():
    weights = pixel_weights(torch.ones(1, 1, 5, 5))
    corner = 1 + 0.5 * ((1 - 4 / 9) + (1 - 25 / 225) + (1 - 25 / 961))
    assert weights[0, 0, 0, 0].item() == pytest.approx(corner)


def test_edges_are_where_the_gradient_of_the_mask_is_not_zero():
    assert (edges(MASK).numpy() == GOLDEN["edge"]).all()
    at_border = torch.zeros(1, 1, 5, 7)
    at_border[..., 0, 3] = 1
    gradients = np.gradient(at_border[0, 0].numpy())
    assert (edges(at_border)[0, 0].numpy() == ((gradients[0] != 0) | (gradients[1] != 0))).all()


def test_all_five_maps_are_supervised_the_edge_before_its_relu():
    logits = [torch.randn(2, 1, 32, 32, requires_grad=True) for _ in range(5)]
    saliency, edge, *deep = logits
    maps = [x.sigmoid() for x in (saliency, edge.relu(), *deep)]
    loss = tracer_loss(TracerOutput(*maps, saliency, edge, tuple(deep)), MASK[..., :32, :32])
    loss.backward()
    assert all(x.grad.abs().min() > 0 for x in logits)
    without = sum(api_loss(x, MASK[..., :32, :32]) for x in (saliency, *deep))
    expected = without + api_loss(edge, edges(MASK[..., :32, :32]))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
