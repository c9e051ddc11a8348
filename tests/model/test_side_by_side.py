import cv2
import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.optim import param_groups_layer_decay

from base.base_model import backbone_modules
from base.task import load_task
from model.dlib_resnet import DlibResNet
from model.gradcam import target_layer
from model.model import TimmModelMulti
from model.side_by_side import NAME, NETWORKS
from tests.model.test_dlib_resnet import as_dlib_writes
from tests.model.test_faceres import made_up_weights, write_weights
from tools.convert_backbone import main

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


def test_one_command_writes_the_weights_of_both(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(40, 40, 3), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), pixels)
    network, arrays = DlibResNet(), made_up_weights()
    (tmp_path / "network.dat").write_bytes(as_dlib_writes(network))
    files = [str(tmp_path / "network.dat"), str(write_weights(arrays, tmp_path / "faceres.json"))]
    out = str(tmp_path / "both.safetensors")
    main([*files, "--photos", str(tmp_path), "--out", out, "--number", "2"])
    model = TimmModelMulti(load_task("faces"), NAME, checkpoint_path=out)
    assert torch.equal(model.backbone.dlib_resnet29.stem.weight, network.stem.weight)
    kernel = torch.tensor(arrays["conv1/convolution/merged_input"]).float()  # (H, W, C, width)
    stem = model.backbone.faceres_mobilenetv1.conv_stem.weight
    assert torch.equal(stem, kernel.permute(3, 2, 0, 1).flip(1))
