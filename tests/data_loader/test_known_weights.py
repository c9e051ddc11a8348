"""Crops by a network with weights, which are asked for only where a photo has to be cropped."""

import logging

import cv2
import pytest
import torch

from data_loader.crops import (
    CROPPED,
    WHOLE,
    extractor_from,
)
from data_loader.settings import Tracer
from tests.cropping import build
from TRACER.network import Tracer as Network
from TRACER.weights import SAMPLE, save_float16
from utils.errors import CheckpointError
from utils.images import read_image


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Two files of untrained TE0 weights: one is never sure, the other takes all for a person."""
    files = []
    for name, bias in (("unsure", 0.0), ("sees_all", 20.0)):
        torch.manual_seed(0)
        network = Network(0, input_size=128).eval()
        shift_saliency(network, bias)
        files.append(tmp_path_factory.mktemp("weights") / f"{name}.safetensors")
        save_float16(network, files[-1])
    return files


def shift_saliency(network, bias):
    """Make the saliency map the same everywhere: 0.5 with no ``bias``, 1 with a high one."""
    with torch.no_grad():
        network.aggregation.attention.value.weight.zero_()
        for attention in (network.object1, network.object2):
            attention.logit.conv.weight.zero_()
            attention.logit.bn.bias.fill_(bias)


class TestWithTheNetwork:
    def tracer(self, path, **settings):
        chosen = Tracer(weights=str(path), threshold=0.9, num_workers=1, **settings)
        return extractor_from(chosen, 32, torch.device("cpu"))

    def test_photos_without_a_person_are_taken_whole_counted_and_reported(
        self, photos, tmp_path, weights, caplog
    ):
        with caplog.at_level(logging.WARNING):
            crops, _ = build(photos[:3], tmp_path, self.tracer(weights[0]))

        assert (crops.states == WHOLE).all()
        assert "3 of 3 photos are used whole" in caplog.text and "00.png" in caplog.text
        assert (crops[1] == cv2.resize(read_image(photos[1]), (32, 32))).mean() > 0.5

    def test_a_person_is_no_whole_photo(self, photos, tmp_path, weights, caplog):
        crops, _ = build(photos[:3], tmp_path, self.tracer(weights[1]))
        assert (crops.states == CROPPED).all()
        assert "whole" not in caplog.text

    def test_other_weights_are_another_cache(self, photos, tmp_path, weights):
        first, _ = build(photos[:3], tmp_path, self.tracer(weights[0]))
        second, _ = build(photos[:3], tmp_path, self.tracer(weights[1]))
        copied = tmp_path / "copy.safetensors"
        copied.write_bytes(weights[0].read_bytes())
        third, _ = build(photos[:3], tmp_path, self.tracer(copied))
        assert first.folder != second.folder
        assert first.folder == third.folder

    def test_the_crop_has_the_models_size_unless_told_otherwise(self, weights):
        assert self.tracer(weights[0]).settings.size == 32
        assert self.tracer(weights[0], crop_size=48).settings.size == 48

    @pytest.fixture
    def own(self, tmp_path, weights):
        """A file of weights of one's own, to be deleted, and what crops with it."""
        file = tmp_path / "own.safetensors"
        file.write_bytes(weights[1].read_bytes())
        return file, lambda **more: self.tracer(file, cache_dir=str(tmp_path / "cache"), **more)

    def test_weights_are_asked_for_only_where_a_photo_has_to_be_cropped(
        self, photos, tmp_path, own
    ):
        file, tracer = own
        before, _ = build(photos[:3], tmp_path, tracer())
        file.unlink()

        again, _ = build(photos[:3], tmp_path, tracer())
        assert again.folder == before.folder and (again.images == before.images).all()
        with pytest.raises(CheckpointError, match=r"own\.safetensors"):
            build(photos[:4], tmp_path, tracer())

    def test_weights_that_no_cache_knows_are_asked_for_at_once(self, photos, tmp_path, own):
        file, tracer = own
        build(photos[:3], tmp_path, tracer())
        file.unlink()
        with pytest.raises(CheckpointError, match=r"own\.safetensors"):
            tracer(sha256="0" * 64)
        (tmp_path / "cache" / "weights.json").write_text("damaged")
        with pytest.raises(CheckpointError, match=r"own\.safetensors"):
            tracer()

    def test_other_weights_that_come_in_the_place_of_known_ones_are_noticed(
        self, photos, tmp_path, own, weights
    ):
        file, tracer = own
        build(photos[:3], tmp_path, tracer())
        file.unlink()
        extractor = tracer()
        file.write_bytes(weights[0].read_bytes())
        with pytest.raises(CheckpointError, match=r"weights\.json.*other TRACER weights.*delete"):
            build(photos[:4], tmp_path, extractor)

    @pytest.mark.skipif(not SAMPLE.is_file(), reason="a project without the sample weights")
    def test_sample_weights_before_photographs_are_warned_of_also_where_all_is_cropped(
        self, photos, tmp_path, caplog
    ):
        for _ in range(2):
            caplog.clear()
            build(photos[:1], tmp_path, self.tracer("sample"))
            assert "sample weights" in caplog.text and str(photos[0].parent) in caplog.text

    def test_other_weights_than_the_hash_says_are_refused(self, weights):
        with pytest.raises(CheckpointError, match="SHA-256"):
            self.tracer(weights[0], sha256="0" * 64)
