import math

import numpy as np
import pytest
import torch

from base.task import Task, load_task
from base.task_settings import TaskSettings
from model.model import TimmModelMulti
from trainer.predict import adjusted, gather, joint_logits, predict
from trainer.tta import views_from

FACES = load_task("faces")

HEADS = {"mask": 3, "gender": 2, "age": 6}


def model(images):
    """Logits that say which photo they belong to."""
    mark = images.float().mean(dim=(1, 2, 3))
    return {head: mark[:, None] * torch.arange(n) for head, n in HEADS.items()}


def batches(positions, size, labeled=True):
    for start in range(0, len(positions), size):
        index = torch.tensor(positions[start : start + size])
        images = index[:, None, None, None].expand(-1, 3, 4, 4).to(torch.uint8)
        yield {"image": images, "index": index} | ({"mask": index % 3} if labeled else {})


def test_answers_come_in_the_order_of_the_photos():
    order = np.random.default_rng(0).permutation(11).tolist()
    predictions = predict(model, batches(order, 4), FACES)
    assert predictions.index.tolist() == list(range(11))
    assert predictions.logits["age"][:, 1].tolist() == list(range(11))
    assert predictions.targets["mask"].tolist() == [n % 3 for n in range(11)]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_the_batch_size_changes_nothing(size):
    whole = predict(model, batches(list(range(10)), 10), FACES)
    parts = predict(model, batches(list(range(10)), size), FACES)
    assert (parts.probabilities["class"] == whole.probabilities["class"]).all()


def test_class_probabilities_are_a_row_of_18_a_photo_that_sums_to_1():
    predictions = predict(model, batches(list(range(5)), 2), FACES)
    assert predictions.probabilities["class"].shape == (5, 18)
    assert predictions.probabilities["class"].dtype == np.float32
    assert np.allclose(predictions.probabilities["class"].sum(axis=1), 1)


def test_photos_without_labels_have_no_targets():
    assert predict(model, batches([0, 1], 2, labeled=False), FACES).targets == {}


def test_half_precision_logits_come_out_as_float32():
    half = {head: torch.zeros(2, n, dtype=torch.bfloat16) for head, n in HEADS.items()}
    _, gathered = gather([{"index": torch.arange(2), "logits": half, "targets": {}}])
    assert gathered["logits"]["mask"].dtype == torch.float32


def test_no_gradients_are_kept():
    weight = torch.ones((), requires_grad=True)
    scaled = lambda images: {head: logits * weight for head, logits in model(images).items()}  # noqa: E731
    assert not predict(scaled, batches([0, 1], 2), FACES).logits["mask"].requires_grad


def test_fewer_photos_than_ranks_leave_a_rank_with_none_and_count_once(in_two_ranks):
    lines = in_two_ranks(
        "import torch\nfrom base.task import load_task\nfrom trainer.predict import predict\n"
        "batch = {'image': torch.ones(1, 2), 'index': torch.tensor([0])}\n"
        "model = lambda image: {'mask': torch.ones(1, 3), 'gender': torch.ones(1, 2),"
        " 'age': torch.ones(1, 6)}",
        "predict(model, [batch] if rank == 0 else [], load_task()).index.tolist()",
    )
    assert lines == ["[0]", "[0]"]


def test_several_views_give_the_mean_of_a_pass_with_each():
    network = TimmModelMulti(FACES, "test_resnet", pretrained=False).eval()
    photos = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    views = views_from({"flip": True})
    batch = [{"image": photos, "index": torch.arange(5), "mask": torch.zeros(5)}]

    together = predict(network, batch, FACES, views)

    alone = [predict(network, [{**batch[0], "image": view(photos)}], FACES) for view in views]
    assert len(alone) == 2
    expected = np.mean([each.probabilities["class"] for each in alone], axis=0)
    assert np.allclose(together.probabilities["class"], expected, atol=1e-6)
    for head in HEADS:
        expected = np.mean([each.head_probabilities[head] for each in alone], axis=0)
        assert np.allclose(together.head_probabilities[head], expected, atol=1e-6)
        assert np.allclose(together.logits[head].softmax(dim=1), expected, atol=1e-6)


def test_sure_views_that_contradict_each_other_cost_what_their_mean_answer_costs():
    views = [{"mask": torch.tensor([[200.0, 0.0]])}, {"mask": torch.tensor([[0.0, 100.0]])}]
    loss = torch.nn.functional.cross_entropy(joint_logits(views)["mask"], torch.tensor([1]))
    assert loss.item() == pytest.approx(math.log(2))
    assert joint_logits(views[:1])["mask"] is views[0]["mask"]


def test_tags_have_the_mean_probability_of_the_views_each_by_itself():
    views = [{"tags": torch.tensor([[2.0, -30.0]])}, {"tags": torch.tensor([[-1.0, -40.0]])}]
    joint = joint_logits(views, ["tags"])["tags"]
    expected = torch.stack([view["tags"].sigmoid() for view in views]).mean(dim=0)
    assert torch.allclose(joint.sigmoid(), expected, rtol=1e-5)


def test_heads_outside_a_product_answer_by_themselves():
    heads = {
        "shape": {"classes": ["circle", "square"]},
        "tags": {"type": "multilabel", "classes": ["red", "big", "old"]},
    }
    task = Task(TaskSettings(heads=heads))
    logits = {"shape": torch.tensor([[0.0, 1.0]]), "tags": torch.tensor([[-1.0, 0.0, 1.0]])}
    batch = {"image": torch.zeros(1, 3, 4, 4), "index": torch.arange(1)}
    found = predict(lambda images: logits, [batch], task)
    assert set(found.probabilities) == {"shape", "tags"}
    assert np.allclose(found.probabilities["tags"], logits["tags"].sigmoid())
    assert found.probabilities["shape"].sum() == pytest.approx(1)
    decoded = adjusted(found, {"shape": np.array([100.0, 1.0])}).probabilities
    assert decoded["shape"].argmax() == 0
    assert (decoded["tags"] == found.probabilities["tags"]).all()
