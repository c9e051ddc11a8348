"""Losses that compare photos."""

import logging

import pytest
import torch

from base.task import load_task
from model.loss import check_losses, single_loss
from utils.errors import ConfigError

FACES = load_task("faces")
HEADS = {"mask": 3, "gender": 2, "age": 6}
SIZES = [2, 3, 6, 18]
PROTOTYPE_LOSSES = ["ArcFaceLoss", "CosFaceLoss", "SubCenterArcFaceLoss", "SoftTripleLoss"]


def batch_of(num_classes, photos=24):
    generator = torch.Generator().manual_seed(num_classes)
    logits = 3 * torch.randn(photos, num_classes, generator=generator)
    return logits, torch.arange(photos) % num_classes


@pytest.mark.parametrize("name", [*PROTOTYPE_LOSSES, "TripletMarginLoss", "ContrastiveLoss"])
@pytest.mark.parametrize("num_classes", SIZES)
def test_metric_learning_losses_work_for_every_head_size(name, num_classes):
    logits, targets = batch_of(num_classes)
    logits.requires_grad_()
    single_loss(name, num_classes)(logits, targets).backward()
    assert logits.grad.isfinite().all() and logits.grad.any()


@pytest.mark.parametrize("name", [*PROTOTYPE_LOSSES, "TripletMarginLoss", "ContrastiveLoss"])
def test_metric_learning_losses_make_the_true_class_the_largest_logit(name):
    logits, targets = batch_of(6)
    logits.requires_grad_()
    loss, optimizer = single_loss(name, 6), torch.optim.Adam([logits], lr=0.2)
    for _ in range(100):
        optimizer.zero_grad()
        loss(logits, targets).backward()
        optimizer.step()
    assert (logits.argmax(dim=1) == targets).all()


def test_metric_learning_losses_say_what_they_cannot_do(caplog):
    with caplog.at_level(logging.WARNING):
        single_loss("ArcFaceLoss", 3, torch.ones(3))
        single_loss("TripletMarginLoss", 3)
    assert "ArcFaceLoss knows no class weights" in caplog.text
    assert "TripletMarginLoss only compares photos" in caplog.text


def test_metric_learning_losses_take_a_whole_epoch_at_once():
    logits, targets = batch_of(3, photos=1000)
    assert single_loss("TripletMarginLoss", 3)(logits, targets).isfinite()


def test_a_loss_that_compares_photos_takes_mixed_ones_for_their_larger_share():
    logits, targets = batch_of(3)
    shares = 0.6 * torch.nn.functional.one_hot(targets, 3) + 0.4 / 3
    loss = single_loss("TripletMarginLoss", 3)
    assert torch.allclose(loss.other(logits, shares), loss.other(logits, targets))


def test_a_loss_that_compares_photos_takes_no_soft_labels():
    metric_learning = {"age": ["ArcFaceLoss", None, 1.0]}
    check_losses(FACES, "all_loss", metric_learning, HEADS)
    with pytest.raises(ConfigError, match=r"the loss of age compares photos .* takes neither"):
        check_losses(FACES, "all_loss", metric_learning, HEADS, soft=True)
    check_losses(FACES, "all_loss", None, HEADS, soft=True)
