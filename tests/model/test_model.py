"""Models from the outside: what goes in, what comes out, and where the weights come from."""

import numpy as np
import pytest
import torch

from base.task import Task, load_task
from base.task_settings import TaskSettings
from model.answers import with_marginals
from model.decode import probabilities
from model.model import TimmModel, TimmModelMulti, TorchVisionModel
from utils.errors import ConfigError

FACES = load_task("faces")

TINY = "test_resnet"
FAMILIES = ["test_resnet", "test_efficientnet", "test_vit", "test_convnext", "test_mambaout"]
FAMILIES += ["mobilenetv3_small_050", "densenet121"]
FAMILIES += [pytest.param("swin_tiny_patch4_window7_224", marks=pytest.mark.slow)]


HEADS = {"mask": 3, "gender": 2, "age": 6}
AGE_FOLD = FACES.heads["age"].group_of


def encode_class(mask, gender, age):
    return FACES.encode({"mask": mask, "gender": gender, "age": age})


def class_probabilities(logits):
    return probabilities(FACES, logits)["class"]


def head_probabilities(joint):
    return with_marginals(FACES, {"class": joint})


def photos(size=64, count=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def shapes(logits):
    return {head: tuple(values.shape) for head, values in logits.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_any_timm_backbone_gets_the_three_heads(name):
    model = TimmModelMulti(FACES, name, pretrained=False)
    logits = model(photos(model.input_size or 64))
    assert shapes(logits) == {head: (2, n) for head, n in HEADS.items()}
    assert model.features(photos(model.input_size or 64)).shape == (2, model.num_features)


@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "vit_b_32", "googlenet", "swin_t"])
def test_any_torchvision_network_gets_the_three_heads(name):
    model = TorchVisionModel(FACES, name, pretrained=False)
    assert shapes(model(photos(model.input_size or 64))) == {
        "mask": (2, 3),
        "gender": (2, 2),
        "age": (2, 6),
    }


def test_the_single_head_has_the_eighteen_classes():
    model = TimmModel(FACES, TINY, pretrained=False)
    assert shapes(model(photos())) == {"class": (2, 18)}
    assert model.heads == {"class": 18}


ANIMALS = Task(
    TaskSettings(
        heads={"type": {"classes": ["cat", "dog", "cow"]}, "half": {"classes": ["left", "right"]}}
    )
)
MANY = Task(TaskSettings(heads={"kind": {"classes": [f"kind {n}" for n in range(1000)]}}))


def test_heads_are_those_of_the_task_also_where_torch_owns_their_names():
    model = TimmModelMulti(ANIMALS, TINY, pretrained=False)
    assert shapes(model(photos())) == {"type": (2, 3), "half": (2, 2)}
    assert {"classifiers.head_type.weight", "classifiers.head_half.bias"} <= set(model.state_dict())


def test_a_task_of_one_head_has_it_in_every_model_also_with_a_thousand_classes():
    for build in (TimmModelMulti, TimmModel):
        assert shapes(build(MANY, TINY, pretrained=False)(photos())) == {"kind": (2, 1000)}


def test_a_single_head_for_several_without_a_product_is_refused():
    with pytest.raises(ConfigError, match=r"asks for type, half; .*answer\.product"):
        TimmModel(ANIMALS, TINY, pretrained=False)


def test_a_layer_for_another_head_or_of_classes_without_an_order_is_refused():
    with pytest.raises(ConfigError, match=r"heads: no head is called 'typ'; did you mean 'type'"):
        TimmModelMulti(ANIMALS, TINY, False, heads={"typ": "corn"})
    with pytest.raises(ConfigError, match=r"heads\.type: corn is for classes in an order"):
        TimmModelMulti(ANIMALS, TINY, False, heads={"type": "corn"})


def test_bytes_and_floats_of_one_photo_give_the_same_logits():
    model = TimmModelMulti(FACES, TINY, pretrained=False).eval()
    as_bytes, as_floats = model(photos()), model(photos().float())
    assert all(torch.equal(as_bytes[head], as_floats[head]) for head in HEADS)


def test_photos_are_normalized_as_the_backbone_was_trained():
    model = TimmModelMulti(FACES, "tf_efficientnet_lite0", pretrained=False)
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert model.normalize(black_and_white).flatten().tolist() == [-1, -1, -1, 1, 1, 1]
    torchvision_model = TorchVisionModel(FACES, "resnet18", pretrained=False)
    assert torchvision_model.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_the_normalization_travels_in_the_weights():
    model = TimmModelMulti(FACES, TINY, pretrained=False)
    assert {"mean", "std"} <= set(model.state_dict())


def test_heads_compute_in_float32_under_autocast_in_training_too():
    model = TimmModelMulti(FACES, "test_resnet", pretrained=False)
    photos = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        features = model.train().features(photos)
        logits = model.classify(features)
    assert features.dtype == torch.bfloat16
    for head, layer in model.classifiers.items():
        assert torch.equal(logits[head], layer(features.float()))


def test_logits_are_float32_under_reduced_precision():
    model = TimmModelMulti(FACES, TINY, pretrained=False).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(photos())
    halved = model.bfloat16()(photos())
    assert {v.dtype for v in [*logits.values(), *halved.values()]} == {torch.float32}


def test_photos_of_a_size_the_backbone_cannot_take_are_refused():
    model = TimmModelMulti(FACES, "vit_tiny_patch16_224", pretrained=False)
    with pytest.raises(ConfigError, match=r"224×224 pixels.*64×64.*input_size=224.*img_size=64"):
        model(photos(64))
    resized = TimmModelMulti(FACES, "vit_tiny_patch16_224", pretrained=False, img_size=64)
    assert resized(photos(64))["age"].shape == (2, 6)


def test_dropout_and_drop_path_act_in_training_only():
    model = TimmModelMulti(FACES, "test_convnext", pretrained=False, dropout=0.5, drop_path=0.5)
    first, second = model(photos()), model(photos())
    assert not torch.equal(first["age"], second["age"])
    model.eval()
    assert torch.equal(model(photos())["age"], model(photos())["age"])


def test_the_summary_counts_the_trainable_parameters():
    model = TimmModelMulti(FACES, TINY, pretrained=False)
    model.backbone.requires_grad_(False)
    trainable = (model.num_features + 1) * sum(HEADS.values())
    assert f"Trainable parameters: {trainable:,}" in str(model)
    assert [len(group["params"]) for group in model.parameter_groups()] == [0, 6]


def test_parameter_groups_hold_every_parameter_once():
    model = TimmModelMulti(FACES, TINY, pretrained=False)
    grouped = [p for group in model.parameter_groups() for p in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in model.parameters()}
    assert len(grouped) == len(list(model.parameters()))


def random_logits(count=50):
    generator = torch.Generator().manual_seed(1)
    return {head: 2 * torch.randn(count, n, generator=generator) for head, n in HEADS.items()}


def test_class_probabilities_are_products_in_the_order_of_the_label_scheme():
    logits = random_logits()
    joint = class_probabilities(logits)
    mask, gender, age = (logits[head].softmax(dim=1) for head in HEADS)
    for m in range(3):
        for g in range(2):
            for b in range(3):
                group = sum(age[:, i] for i, fold in enumerate(AGE_FOLD) if fold == b)
                expected = mask[:, m] * gender[:, g] * group
                assert torch.allclose(joint[:, encode_class(m, g, b)], expected)


def test_the_likeliest_class_is_the_likeliest_answer_of_each_head():
    joint = class_probabilities(random_logits())
    heads = {head: head_probabilities(joint)[head].argmax(dim=1) for head in HEADS}
    together = encode_class(heads["mask"], heads["gender"], heads["age"])
    assert torch.equal(joint.argmax(dim=1), together)


def test_head_probabilities_are_the_heads_own_answers():
    logits = random_logits()
    heads = head_probabilities(class_probabilities(logits))
    assert torch.allclose(heads["mask"], logits["mask"].softmax(dim=1), atol=1e-6)
    assert torch.allclose(heads["gender"], logits["gender"].softmax(dim=1), atol=1e-6)
    age = logits["age"].softmax(dim=1)
    folded = torch.stack([age[:, :2].sum(1), age[:, 2:5].sum(1), age[:, 5]], dim=1)
    assert torch.allclose(heads["age"], folded, atol=1e-6)


def test_single_head_probabilities_are_its_softmax_and_marginals():
    logits = {"class": torch.randn(4, 18, generator=torch.Generator().manual_seed(2))}
    joint = class_probabilities(logits)
    assert torch.allclose(joint, logits["class"].softmax(dim=1))
    assert torch.allclose(head_probabilities(joint)["gender"].sum(dim=1), torch.ones(4))


def test_decoding_takes_numpy_and_half_precision():
    halves = {head: values.half() for head, values in random_logits().items()}
    joint = class_probabilities(halves)
    assert joint.dtype == torch.float32
    assert torch.allclose(joint.sum(dim=1), torch.ones(50), atol=1e-6)
    assert head_probabilities(joint.numpy())["age"].shape == (50, 3)
    assert isinstance(head_probabilities(joint.numpy())["age"], np.ndarray)


def test_a_dropout_that_leaves_nothing_is_refused_by_hand_too():
    with pytest.raises(ConfigError, match=r"arch\.args\.dropout is 1\.0"):
        TimmModelMulti(FACES, "test_convnext", pretrained=False, dropout=1.0)
