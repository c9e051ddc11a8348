"""Losses against hand-computed values, for every head size, precision and kind of weights."""

import logging
import math

import numpy as np
import pytest
import torch

from base.task import Task, load_task
from base.task_settings import TaskSettings
from model.class_weights import balanced_weights
from model.loss import LOSSES, all_loss, build_criterion, check_losses, single_loss
from utils.errors import ConfigError, DataError

FACES = load_task("faces")
HEADS = {"mask": 3, "gender": 2, "age": 6}
SIZES = [2, 3, 6, 18]
COMPETITION = {
    "mask": np.array([13500, 2700, 2700]),
    "gender": np.array([1042, 1658]),
    "age": np.array([599, 682, 95, 192, 940, 192]),
}
PROTOTYPE_LOSSES = ["ArcFaceLoss", "CosFaceLoss", "SubCenterArcFaceLoss", "SoftTripleLoss"]
PROTOTYPE_LOSSES += ["NormalizedSoftmaxLoss", "ProxyAnchorLoss", "ProxyNCALoss", "P2SGradLoss"]


def batch_of(num_classes, photos=24):
    generator = torch.Generator().manual_seed(num_classes)
    logits = 3 * torch.randn(photos, num_classes, generator=generator)
    return logits, torch.arange(photos) % num_classes


def logits_for(*probabilities):
    return torch.tensor(probabilities).log()


# One photo of class 0 at p = 0.8, one of class 1 at p = 0.4, with weights 1 and 3.
LOGITS = logits_for([0.8, 0.2], [0.6, 0.4])
TARGETS = torch.tensor([0, 1])
WEIGHTS = torch.tensor([1.0, 3.0])


def test_an_absent_class_weighs_nothing_and_is_named_in_the_log(caplog):
    assert balanced_weights([4, 0, 6]).tolist() == [2.5, 0, pytest.approx(10 / 6)]
    counts = COMPETITION | {"age": np.array([5, 5, 0, 5, 5, 5])}
    with caplog.at_level(logging.WARNING):
        all_loss(FACES, [("f1", "balanced", 1.0)] * 3, HEADS, counts)
    assert "no photo in training shows 30s" in caplog.text


def test_logit_adjustment_trains_on_logits_plus_the_log_frequencies():
    counts = {"gender": np.array([3, 1])}
    adjusted = {"type": "ce_loss", "args": {"logit_adjustment": 1.0}}
    criterion = build_criterion(FACES, "all_loss", [[adjusted, None, 1.0]], {"gender": 2}, counts)
    total, _ = criterion({"gender": LOGITS}, {"gender": TARGETS})
    # 0.8 · 3/4 against 0.2 · 1/4, and 0.4 · 1/4 against 0.6 · 3/4.
    expected = (-math.log(0.6 / 0.65) - math.log(0.1 / 0.55)) / 2
    assert total == pytest.approx(expected, rel=1e-5)


def test_logit_adjustment_survives_a_class_nobody_has():
    adjusted = {"type": "label_smoothing", "args": {"logit_adjustment": 1.0}}
    loss = single_loss(adjusted, 2, counts=np.array([5, 0]))
    assert loss(LOGITS, torch.tensor([0, 0])).isfinite()
    with pytest.raises(ConfigError, match="logit_adjustment needs the class counts"):
        single_loss(adjusted, 2)


def test_cross_entropy_is_the_weighted_mean():
    expected = (1 * -math.log(0.8) + 3 * -math.log(0.4)) / 4
    assert single_loss("ce_loss", 2, WEIGHTS)(LOGITS, TARGETS) == pytest.approx(expected)


def test_focal_is_the_weighted_mean_of_its_formula():
    expected = (1 * 0.2**2 * -math.log(0.8) + 3 * 0.6**2 * -math.log(0.4)) / 4
    assert single_loss("focal", 2, WEIGHTS)(LOGITS, TARGETS) == pytest.approx(expected)
    without = (0.2 * -math.log(0.8) + 0.6 * -math.log(0.4)) / 2
    gamma_one = single_loss({"type": "focal", "args": {"gamma": 1.0}}, 2)
    assert gamma_one(LOGITS, TARGETS) == pytest.approx(without)


def test_focal_with_gamma_zero_is_cross_entropy():
    logits, targets = batch_of(6)
    weights = torch.arange(1.0, 7.0)
    focal = single_loss({"type": "focal", "args": {"gamma": 0}}, 6, weights)
    assert torch.allclose(
        focal(logits, targets), single_loss("ce_loss", 6, weights)(logits, targets)
    )


def test_label_smoothing_spreads_its_share_over_all_classes():
    share = 0.1 / 2
    first = -(1 - share) * math.log(0.8) - share * math.log(0.2)
    second = -(1 - share) * math.log(0.4) - share * math.log(0.6)
    loss = single_loss("label_smoothing", 2, WEIGHTS)
    assert loss(LOGITS, TARGETS) == pytest.approx((1 * first + 3 * second) / 4)


def test_class_weights_act_as_in_torch():
    logits, targets = batch_of(6)
    weights = torch.arange(1.0, 7.0)
    theirs = torch.nn.CrossEntropyLoss(weights)(logits, targets)
    assert torch.allclose(single_loss("ce_loss", 6, weights)(logits, targets), theirs)


def test_soft_f1_is_one_minus_the_weighted_mean_over_classes():
    first, second = 2 * 0.8 / (1.4 + 1), 2 * 0.4 / (0.6 + 1)
    expected = 1 - (1 * first + 3 * second) / 4
    assert single_loss("f1", 2, WEIGHTS)(LOGITS, TARGETS) == pytest.approx(expected)


def test_soft_f1_leaves_out_classes_the_batch_does_not_have():
    certain = 20 * torch.eye(6)[:2]
    assert single_loss("f1", 6)(certain, torch.tensor([0, 1])) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("num_classes", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_gradients_stay_finite_at_the_ends_of_every_precision(name, num_classes, dtype):
    logits, targets = batch_of(num_classes)
    logits = (logits.sign() * 6e4).to(dtype).requires_grad_()
    loss = single_loss(name, num_classes, torch.linspace(0.5, 30, num_classes))(logits, targets)
    loss.backward()
    assert loss.isfinite() and loss.dtype == torch.float32
    assert logits.grad.isfinite().all()


def test_focal_gradient_is_finite_where_gamma_is_below_one_and_the_answer_certain():
    logits = torch.tensor([[100.0, -100.0]], requires_grad=True)
    single_loss({"type": "focal", "args": {"gamma": 0.5}}, 2)(logits, torch.tensor([0])).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_class_weights_change_the_loss_and_zero_weights_do_not_break_it(name):
    logits, targets = batch_of(3)
    weighted = single_loss(name, 3, torch.tensor([1.0, 5.0, 0.0]))
    assert not torch.allclose(weighted(logits, targets), single_loss(name, 3)(logits, targets))
    assert weighted(logits, torch.full_like(targets, 2)) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_better_answer_has_a_lower_loss(name):
    _, targets = batch_of(6)
    truth = torch.nn.functional.one_hot(targets, 6).float()
    loss = single_loss(name, 6)
    assert loss(3 * truth, targets) < loss(truth, targets) < loss(-truth, targets)


def test_the_total_is_the_sum_by_head_weights():
    triples = [("ce_loss", None, 0.5), ("focal", [1, 2], 0.25), ("f1", None, 2)]
    criterion = all_loss(FACES, triples, HEADS, {})
    batches = {head: batch_of(n) for head, n in HEADS.items()}
    logits = {head: pair[0] for head, pair in batches.items()}
    targets = {head: pair[1] for head, pair in batches.items()}
    total, parts = criterion(logits, targets)
    assert list(parts) == ["mask", "gender", "age"]
    assert torch.allclose(total, 0.5 * parts["mask"] + 0.25 * parts["gender"] + 2 * parts["age"])
    alone = single_loss("focal", 2, torch.tensor([1.0, 2.0]))
    assert torch.allclose(parts["gender"], alone(*batches["gender"]))


def test_class_weights_travel_with_the_criterion():
    criterion = all_loss(FACES, [("focal", [1, 2, 3], 1.0)], {"mask": 3}, {})
    assert criterion.state_dict()["losses.mask.class_weights"].tolist() == [1, 2, 3]
    assert not list(criterion.parameters())


def test_one_name_serves_every_head_alike():
    criterion = build_criterion(FACES, "label_smoothing", None, HEADS, {})
    logits = {head: torch.zeros(2, n) for head, n in HEADS.items()}
    targets = {head: torch.zeros(2, dtype=torch.long) for head in HEADS}
    total, _ = criterion(logits, targets)
    assert total == pytest.approx(sum(math.log(n) for n in HEADS.values()), rel=1e-5)


def test_all_loss_takes_balanced_weights_from_the_counts_of_a_single_head():
    counts = {"class": np.arange(1, 19)}
    criterion = build_criterion(
        FACES, "all_loss", [["ce_loss", "balanced", 1.0]], {"class": 18}, counts
    )
    assert torch.allclose(
        criterion.losses["class"].class_weights,
        torch.tensor(balanced_weights(counts["class"])).float(),
    )


@pytest.mark.parametrize(
    "triples, message",
    [
        ([("focal", None, 1.0)] * 2, r"2 entries.*3 head\(s\) \(mask, gender, age\).*such as \["),
        ([("focal", [1, 2], 1.0)] * 3, r"loss_name\[0\].*'mask' must be a list of 3"),
        ([("focal", "balanced", 1.0)] * 3, r"loss_name\[0\]: no class counts for 'balanced'"),
        ([({"type": "focal", "args": {"spread": -1}}, None, 1.0)] * 3, "spread -1"),
        ([("focal", [0, 0, 0], 1.0)] * 3, "not all 0"),
        ([("focal", [1, -1, 1], 1.0)] * 3, "at least 0"),
        ([("foccal", None, 1.0)] * 3, r"loss_name\[0\].*'foccal'; did you mean 'focal'"),
        ([("ArcFace", None, 1.0)] * 3, "did you mean 'ArcFaceLoss'"),
        ([({"type": "focal", "args": {"gama": 2}}, None, 1.0)] * 3, "gama"),
        ([({"type": "focal", "args": {"gamma": -1}}, None, 1.0)] * 3, "gamma -1"),
        ([({"type": "ce_loss", "args": {"gamma": 2}}, None, 1.0)] * 3, "no gamma; focal does"),
        ([({"type": "label_smoothing", "args": {"smoothing": 1}}, None, 1.0)] * 3, "below 1"),
        ([("VICRegLoss", None, 1.0)] * 3, "cannot be trained from the labels"),
    ],
)
def test_a_wrong_entry_is_one_clear_line(triples, message):
    with pytest.raises(ConfigError, match=message) as caught:
        all_loss(FACES, triples, HEADS, {})
    assert "\n" not in str(caught.value)


def test_an_unknown_combination_is_refused():
    with pytest.raises(ConfigError, match="'al_loss'"):
        build_criterion(FACES, "al_loss", None, HEADS, {})


@pytest.mark.parametrize("label", [-2, -100, 3])
@pytest.mark.parametrize("name", [*LOSSES, "ArcFaceLoss", "ProxyAnchorLoss", "TripletMarginLoss"])
def test_a_label_that_is_no_class_is_refused_and_not_taken_for_another(name, label):
    logits, targets = batch_of(3)
    targets[5] = label
    with pytest.raises(DataError, match=rf"label {label} at position 5 is none of 0 to 2"):
        single_loss(name, 3)(logits, targets)


@pytest.mark.parametrize("weights", [None, [2.0, 2.0, 2.0], [1.0, 2.0, 3.0]])
@pytest.mark.parametrize("name", [*LOSSES, "TripletMarginLoss"])
def test_it_is_known_which_losses_of_a_batch_are_the_mean_over_its_halves(name, weights):
    criterion = all_loss(FACES, [[name, weights, 1.0]], {"age": 3}, {})
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(24, 3, generator=draw)
    targets = torch.randint(3, (24,), generator=draw)
    whole, *halves = (
        criterion({"age": logits[part]}, {"age": targets[part]})[0].item()
        for part in (slice(24), slice(12), slice(12, 24))
    )
    beyond = whole != pytest.approx(sum(halves) / 2, rel=1e-5)
    assert criterion.heads_beyond_means() == (["age"] if beyond else [])


def test_an_unknown_loss_is_answered_with_our_own_first():
    with pytest.raises(ConfigError, match="'zzz'; valid: ce_loss, focal, label_smoothing, soft_"):
        single_loss("zzz", 3)


def test_losses_are_checked_before_there_are_counts_without_a_word_or_a_random_number(caplog):
    state = torch.get_rng_state()
    adjusted = {"type": "focal", "args": {"logit_adjustment": 1.0}}
    check_losses(
        FACES,
        "all_loss",
        [["ArcFaceLoss", None, 1.0], [adjusted, "balanced", 1.0]],
        {"mask": 3, "gender": 2},
    )
    assert torch.equal(torch.get_rng_state(), state) and not caplog.records
    with pytest.raises(ConfigError, match=r"loss_name\[1\]: no loss is called 'focl'"):
        check_losses(
            FACES, "all_loss", [["f1", None, 1.0], ["focl", None, 1.0]], {"mask": 3, "gender": 2}
        )


@pytest.mark.parametrize("name", [*LOSSES, "ArcFaceLoss", "TripletMarginLoss"])
def test_a_photo_without_a_label_counts_for_nothing(name):
    logits, targets = batch_of(3)
    some, loss = targets.clone(), single_loss(name, 3)
    some[[1, 5]] = -1
    known = some >= 0
    expected = loss(logits[known], targets[known])
    assert torch.allclose(loss(logits, some), expected)
    shares = torch.nn.functional.one_hot(targets, 3) * known[:, None].float()
    assert torch.allclose(loss(logits, shares), expected)
    nothing = loss(logits.requires_grad_(), torch.full_like(targets, -1))
    nothing.backward()
    assert nothing == 0 and not logits.grad.any()


MIXED = Task(
    TaskSettings(
        heads={
            "type": {"classes": ["a", "b"], "loss": ("focal", None, 0.5)},
            "tags": {"type": "multilabel", "classes": ["red", "big", "old"]},
            "years": {"type": "number", "bins": "0:100:1", "sigma": 2.0},
        }
    )
)
SIZES_OF_MIXED = {"type": 2, "tags": 3, "years": 100}


def test_without_loss_name_each_head_has_the_loss_of_its_task_or_kind():
    criterion = build_criterion(MIXED, "all_loss", None, SIZES_OF_MIXED, {})
    kinds = [type(loss).__name__ for loss in criterion.losses.values()]
    assert kinds == ["CrossEntropy", "BinaryCrossEntropy", "CrossEntropy"]
    first, _, last = criterion.losses.values()
    assert (first.gamma, last.gamma) == (2.0, 0.0)
    assert criterion.head_weights == {"type": 0.5, "tags": 1.0, "years": 1.0}
    single = build_criterion(FACES, "all_loss", None, {"class": 18}, {})
    assert type(single.losses["class"]).__name__ == "CrossEntropy"


def test_losses_by_the_names_of_heads_leave_the_others_as_they_are():
    criterion = build_criterion(
        MIXED, "all_loss", {"years": ["focal", None, 2]}, SIZES_OF_MIXED, {}
    )
    assert criterion.losses["years"].gamma == 2.0
    assert criterion.head_weights == {"type": 0.5, "tags": 1.0, "years": 2.0}
    with pytest.raises(ConfigError, match=r"loss_name: no head is called 'year'; did you mean"):
        build_criterion(MIXED, "all_loss", {"year": ["focal", None, 2]}, SIZES_OF_MIXED, {})
    with pytest.raises(ConfigError, match=r"loss_name\.years: no loss is called 'focl'"):
        build_criterion(MIXED, "all_loss", {"years": ["focl", None, 2]}, SIZES_OF_MIXED, {})


def test_tags_are_learned_each_by_itself_and_unknown_ones_not_at_all():
    loss = single_loss("bce", 2)
    logits = torch.tensor([[2.0, -1.0], [0.0, 3.0]])
    tags = torch.tensor([[1.0, 0.0], [float("nan")] * 2])
    known = [-math.log(1 / (1 + math.exp(-2))), -math.log(1 - 1 / (1 + math.exp(1)))]
    assert loss(logits, tags) == pytest.approx(np.mean(known))
    weighted = single_loss("bce", 2, torch.tensor([3.0, 1.0]))
    assert weighted(logits, tags) == pytest.approx((3 * known[0] + known[1]) / 4)


@pytest.mark.parametrize(
    "head, loss, words",
    [
        ("tags", "focal", "'focal' does not fit tags, which takes 'bce'"),
        ("type", "bce", "'bce' does not fit type, which is not of tags"),
        (
            "type",
            "soft_ordinal",
            r"'soft_ordinal' is for classes in an order; say task\.heads\.type\.ordered",
        ),
    ],
)
def test_a_loss_that_does_not_fit_its_head_is_refused(head, loss, words):
    with pytest.raises(ConfigError, match=rf"loss_name\.{head}: {words}"):
        build_criterion(MIXED, "all_loss", {head: [loss, None, 1]}, SIZES_OF_MIXED, {})


def test_a_thousand_classes_have_class_weights_of_which_the_log_shows_a_few(caplog):
    many = Task(TaskSettings(heads={"kind": {"classes": [f"kind {n}" for n in range(1000)]}}))
    counts = {"kind": np.arange(1000)}
    with caplog.at_level(logging.INFO):
        triples = {"kind": ["ce_loss", "balanced", 1]}
        criterion = build_criterion(many, "all_loss", triples, {"kind": 1000}, counts)
    assert criterion.losses["kind"].class_weights.shape == (1000,)
    assert "kind 29" in caplog.text and "kind 30" not in caplog.text
