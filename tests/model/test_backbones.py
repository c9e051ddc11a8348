"""Where a backbone's weights come from."""

import time
from functools import partial

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from base.task import load_task
from model.model import TimmModel, TimmModelMulti, TorchVisionModel
from utils.errors import CheckpointError, ConfigError

FACES = load_task("faces")
TINY = "test_resnet"


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """No way out but a proxy that refuses, and empty caches."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A weights file as timm publishes them: with the ImageNet classifier."""
    network = timm.create_model(TINY, num_classes=1000)
    folder = tmp_path_factory.mktemp("weights")
    save_file(network.state_dict(), folder / "model.safetensors")
    torch.save(network.state_dict(), folder / "model.pth")
    return folder, network


@pytest.mark.parametrize("file_name", ["model.safetensors", "model.pth"])
def test_a_local_weights_file_fills_the_whole_backbone(published, file_name, no_network):
    folder, network = published
    for pretrained in (True, False):
        model = TimmModelMulti(FACES, TINY, pretrained, checkpoint_path=str(folder / file_name))
        for key, value in model.backbone.state_dict().items():
            assert torch.equal(value, network.state_dict()[key])


def test_a_local_weights_file_fills_a_torchvision_backbone(tmp_path):
    network = torchvision.models.resnet18()
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    model = TorchVisionModel(FACES, "resnet18", checkpoint_path=str(tmp_path / "resnet18.pth"))
    assert torch.equal(model.backbone.conv1.weight, network.conv1.weight)
    with pytest.raises(CheckpointError, match="not the weights of mobilenet_v2"):
        TorchVisionModel(FACES, "mobilenet_v2", checkpoint_path=str(tmp_path / "resnet18.pth"))


def test_weights_of_another_network_are_refused_with_a_few_keys(published):
    folder, _ = published
    with pytest.raises(
        CheckpointError, match=r"not the weights of test_convnext: \d\d+ keys.*stem"
    ):
        TimmModelMulti(FACES, "test_convnext", checkpoint_path=str(folder / "model.pth"))


def test_weights_that_lack_one_layer_are_refused(published, tmp_path):
    state = published[1].state_dict()
    del state["layer1.0.conv1.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match=r"1 keys.*layer1\.0\.conv1\.weight"):
        TimmModelMulti(FACES, TINY, checkpoint_path=str(tmp_path / "part.pth"))


def test_a_weights_file_that_cannot_be_read_is_one_clear_line(tmp_path, published):
    whole = (published[0] / "model.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.safetensors").write_text("not tensors")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    torch.save({"run": ConfigError("code")}, tmp_path / "pickle.pth")
    for name in ("cut.pth", "text.safetensors", "numbers.pth", "pickle.pth", "missing.pth"):
        with pytest.raises(CheckpointError, match=name) as caught:
            TimmModelMulti(FACES, TINY, checkpoint_path=str(tmp_path / name))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "build", [partial(TimmModelMulti, FACES, TINY), partial(TorchVisionModel, FACES, "resnet18")]
)
def test_a_web_page_in_place_of_weights_is_called_that(tmp_path, build):
    (tmp_path / "model.pth").write_text("<!doctype html><title>Sign in</title>")
    with pytest.raises(CheckpointError, match=r"model\.pth: a web page"):
        build(checkpoint_path=str(tmp_path / "model.pth"))


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: TimmModelMulti(FACES, "efficientnetv2_rw"), "did you mean 'efficientnetv2_rw_"),
        (lambda: TimmModelMulti(FACES, "resnet18.a9_in1k"), r"tagged 'a9_in1k'.*resnet18\.a"),
        (lambda: TimmModelMulti(FACES, TINY, False, img_size=64), "img_size"),
        (lambda: TorchVisionModel(FACES, "resnet19", False), "did you mean 'resnet1"),
        (lambda: TorchVisionModel(FACES, "squeezenet1_0", False), "no linear layer"),
    ],
)
def test_a_wrong_backbone_or_option_is_one_clear_line(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


@pytest.mark.parametrize("build", [TimmModelMulti, TimmModel, TorchVisionModel])
def test_without_network_the_ways_out_are_named_quickly(build, no_network):
    start = time.monotonic()
    with pytest.raises(ConfigError, match=r"pretrained=false.*checkpoint_path=FILE.*network"):
        build(FACES, "resnet18")
    assert time.monotonic() - start < 15


def test_weights_in_the_cache_are_enough_without_network(no_network, published, monkeypatch):
    repository = no_network / "hub" / f"models--timm--{TINY}.r160_in1k"
    snapshot = repository / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    save_file(published[1].state_dict(), snapshot / "model.safetensors")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    model = TimmModelMulti(FACES, TINY, pretrained=True)
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, published[1].state_dict()[key])
