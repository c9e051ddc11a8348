"""Grad-CAM: heat where the answer comes from, for every kind of backbone."""

import numpy as np
import pytest
import torch
from torch import nn

from base.base_model import BaseModel
from base.task import load_task
from model.answers import with_marginals
from model.decode import head_logits, probabilities
from model.gradcam import HeadCam, as_map, target_layer
from model.model import TimmModel, TimmModelMulti, TorchVisionModel

FACES = load_task("faces")
HEADS = {"mask": 3, "gender": 2, "age": 6}

ANSWERS = {"mask": np.array([0]), "gender": np.array([1]), "age": np.array([2])}


def photos(number, size):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (number, 3, size, size), dtype=torch.uint8, generator=generator)


class Brightest(nn.Module):
    """A backbone that sees nothing but how bright the photo is: its map is the photo, pooled."""

    def __init__(self):
        super().__init__()
        self.map = nn.AvgPool2d(8)

    def forward(self, x):
        return self.map(x).mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (lambda: TimmModelMulti(FACES, "test_resnet", pretrained=False), 64),
        (lambda: TimmModelMulti(FACES, "test_efficientnet", pretrained=False), 96),
        (lambda: TimmModelMulti(FACES, "test_vit", pretrained=False), 160),
        (lambda: TimmModel(FACES, "test_convnext", pretrained=False), 64),
        (lambda: TimmModelMulti(FACES, "swin_tiny_patch4_window7_224", False, img_size=64), 64),
        (lambda: TorchVisionModel(FACES, "mobilenet_v3_small", pretrained=False), 64),
        (lambda: TorchVisionModel(FACES, "shufflenet_v2_x0_5", pretrained=False), 64),
    ],
    ids=[
        "resnet",
        "efficientnet",
        "vit",
        "convnext, one head",
        "swin",
        "torchvision",
        "squeezenet",
    ],
)
def test_every_arch_gets_a_map_a_head_of_the_photos_size(model, size):
    torch.manual_seed(0)
    answers = {head: np.repeat(answer, 2) for head, answer in ANSWERS.items()}
    heat = HeadCam(model(), FACES, size)(photos(2, size), answers)
    assert list(heat) == list(HEADS)
    for values in heat.values():
        assert values.shape == (2, size, size)
        assert values.min() >= 0 and values.max() <= 1
    assert any(values.max() > 0.5 for values in heat.values())


def test_heat_lies_where_the_answer_comes_from():
    model = BaseModel(Brightest(), 3, HEADS, mean=(0.0,) * 3, std=(1.0,) * 3)
    with torch.no_grad():
        model.classifiers["mask"].weight[:] = torch.tensor([1.0, 0.0, -1.0])[:, None]
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[:, :, 8:24, 40:56] = 255  # a bright square, upper right
    heat = HeadCam(model, FACES, 64)(image, ANSWERS)["mask"][0]
    assert heat[12:20, 44:52].min() > 0.9
    assert heat[36:, :28].max() == 0
    against = HeadCam(model, FACES, 64)(image, {**ANSWERS, "mask": np.array([2])})["mask"]
    assert against.max() == 0  # brightness speaks against the third answer


def test_a_small_photo_is_explained_by_a_stage_whose_map_still_says_where():
    model = TimmModelMulti(FACES, "resnet10t", pretrained=False)
    layer = target_layer(model, 96)
    shapes = []
    layer.register_forward_hook(lambda _, __, output: shapes.append(output.shape[-2:]))
    model(photos(1, 96))
    assert shapes == [(6, 6)]


def test_a_transformer_is_explained_by_its_last_block_but_one():
    model = TimmModelMulti(FACES, "test_vit", pretrained=False)
    assert target_layer(model, 160) is model.backbone.blocks[-2]


def test_tokens_before_the_cells_are_left_out():
    tokens = torch.arange(5 + 9).float().view(1, 14, 1)
    assert as_map(tokens).flatten().tolist() == list(range(5, 14))


def test_the_models_answers_and_gradients_stay_the_same():
    model = TimmModelMulti(FACES, "test_resnet", pretrained=False).eval()
    before = model(photos(1, 64))["age"]
    HeadCam(model, FACES, 64)(photos(1, 64), ANSWERS)
    assert torch.equal(model(photos(1, 64))["age"], before)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("heads", [HEADS, {"class": 18}], ids=["three heads", "one head"])
def test_head_logits_are_those_of_the_decoded_probabilities(heads):
    generator = torch.Generator().manual_seed(0)
    logits = {head: torch.randn(4, n, generator=generator) * 3 for head, n in heads.items()}
    decoded = with_marginals(FACES, probabilities(FACES, logits))
    for head, values in head_logits(FACES, logits).items():
        assert torch.allclose(values.softmax(dim=1), decoded[head], atol=1e-6)
