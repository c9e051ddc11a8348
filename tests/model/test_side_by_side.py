import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.optim import param_groups_layer_decay

from base.base_model import backbone_modules
from base.task import load_task
from model.gradcam import target_layer
from model.model import TimmModelMulti
from model.side_by_side import NAME, NETWORKS

PHOTOS = torch.randint(256, (2, 3, 150, 150), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def apart():
    """Name → a model of that backbone alone."""
    torch.manual_seed(0)
    return {
        name: TimmModelMulti(load_task("faces"), name, pretrained=False).eval() for name in NETWORKS
    }


@pytest.fixture(scope="module")
def together(apart, tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "both.safetensors"
    tensors = {
        f"{name}.{key}": value
        for name, model in apart.items()
        for key, value in model.backbone.state_dict().items()
    }
    save_file(tensors, file)
    return TimmModelMulti(load_task("faces"), NAME, checkpoint_path=str(file)).eval()


@torch.no_grad()
def test_the_features_are_those_of_each_network_alone(apart, together):
    expected = torch.cat([model.features(PHOTOS) for model in apart.values()], dim=1)
    torch.testing.assert_close(together.features(PHOTOS), expected, rtol=1e-4, atol=1e-5)
    assert together.classifiers["age"].in_features == expected.shape[1]
    # dlib's sees larger photos at the size that it was made for, the other as they are.
    larger = F.interpolate(PHOTOS.float(), size=(170, 170), mode="bilinear")
    smaller = F.interpolate(larger, size=(150, 150), mode="bilinear")
    dlib, faceres = apart.values()
    expected = torch.cat([dlib.features(smaller), faceres.features(larger)], dim=1)
    torch.testing.assert_close(together.features(larger), expected, rtol=1e-4, atol=1e-4)


def test_each_network_can_be_frozen_by_its_blocks(together):
    frozen = ["dlib_resnet29.blocks.0", "faceres_mobilenetv1.conv_stem"]
    first, second = backbone_modules(together, frozen)
    assert first is together.backbone.dlib_resnet29.blocks[0]
    assert second is together.backbone.faceres_mobilenetv1.conv_stem


def test_grad_cam_looks_at_a_map_of_the_last_network(together):
    assert target_layer(together, 160) is together.backbone.faceres_mobilenetv1.blocks[3]


def test_the_last_layers_of_both_learn_at_the_same_rate():
    network = timm.create_model(NAME, num_classes=3)
    groups = param_groups_layer_decay(network, layer_decay=0.5)
    rates = {id(weight): group["lr_scale"] for group in groups for weight in group["params"]}
    dlib, faceres = (getattr(network, name) for name in NETWORKS)
    last = (dlib.blocks[-1].conv2, faceres.blocks[-1][-1].conv_pw, network.fc)
    assert [rates[id(layer.weight)] for layer in last] == [1.0] * 3
    assert rates[id(dlib.blocks[-3].conv2.weight)] == 0.25
    assert rates[id(faceres.blocks[-1][-2].conv_pw.weight)] == 0.5
    assert np.argmin(list(rates.values())) == 0  # dlib's stem
