"""Photos to crops: in order, each on its own, whatever the photos are."""

import threading

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch._subclasses import FakeTensorMode

from faces.sample import generate
from TRACER import CropSettings, Extractor, Tracer, load_tracer
from TRACER.crops import resize, resize_map
from TRACER.inference import Predictor, choose_dtype
from TRACER.network import MEAN, STD
from TRACER.weights import SAMPLE
from utils.errors import ConfigError, DataError

SETTINGS = CropSettings(crop_size=32, threshold=0.4)
CPU = torch.device("cpu")


def with_(**hands):
    """The settings with another number of hands."""
    return SETTINGS.model_copy(update=hands)


@pytest.fixture(autouse=True)
def any_region_counts(monkeypatch):
    """What a network with arbitrary weights sees is small."""
    monkeypatch.setattr("TRACER.crops.MIN_AREA", 0.0)


@pytest.fixture(scope="module")
def network(golden_network):
    return golden_network(0, 128)


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    shapes = rng.integers(20, 200, (11, 2))
    return [rng.integers(0, 256, (h // 8, w // 8, 3), dtype=np.uint8) for h, w in shapes] + [
        cv2.resize(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8), (150, 180)) for _ in range(4)
    ]


def assert_same(a, b):
    assert a.box == b.box
    assert a.fallback == b.fallback
    np.testing.assert_array_equal(a.saliency, b.saliency)
    np.testing.assert_array_equal(a.crop, b.crop)


def test_results_come_in_the_order_of_the_photos(network, photos):
    extractor = Extractor(network, with_(batch_size=2))
    alone = Extractor(network, SETTINGS)
    for photo, extraction in zip(photos, extractor(photos), strict=True):
        assert_same(extraction, next(alone([photo])))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_photo_does_not_depend_on_its_batch_mates_to_the_bit(precision, network, photos):
    extractor = Extractor(network, with_(batch_size=4), precision=precision)
    together = list(extractor(photos))
    backwards = list(extractor(photos[::-1]))[::-1]
    shards = [None] * len(photos)
    for rank in range(3):
        shards[rank::3] = extractor(photos[rank::3])
    for one, other, sharded in zip(together, backwards, shards, strict=True):
        assert_same(one, other)
        assert_same(one, sharded)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_place_in_the_batch_does_not_show_in_any_bit(precision, network, photos):
    predictor = Predictor(network, CPU, 1, precision)
    images = torch.from_numpy(np.stack([cv2.resize(photo, (128, 128)) for photo in photos[:4]]))
    low = precision != "float32"

    def saliency(images):
        normalized = (images.permute(0, 3, 1, 2) - predictor._mean) / predictor._std
        with torch.inference_mode(), torch.autocast("cpu", predictor.dtype, enabled=low):
            forwards = normalized.split(predictor.batch_size)
            return torch.cat([predictor._network.predict_saliency(forward) for forward in forwards])

    first = saliency(images)
    for order in ([1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2], [3, 2, 1, 0]):
        assert torch.equal(saliency(images[order]), first[order])
    alone = torch.zeros_like(images)
    alone[3] = images[1]
    assert torch.equal(saliency(alone)[3], first[1])


@pytest.mark.parametrize("scale", range(8))
def test_maps_that_pass_an_activation_fill_whole_vectors_in_a_batch_of_four(scale):
    sizes = []
    with FakeTensorMode():
        network = Tracer(scale).eval()
        for name, module in network.named_modules():
            if isinstance(module, torch.nn.SiLU | torch.nn.SELU) and ".se." not in name:
                module.register_forward_hook(lambda _, __, output: sizes.append(output.numel()))
        network.predict_saliency(torch.zeros(4, 3, network.input_size, network.input_size))
    assert sizes
    assert all(size % 64 == 0 for size in sizes)


def test_number_of_workers_does_not_change_the_result(network, photos):
    one = list(Extractor(network, with_(num_workers=1))(photos))
    many = list(Extractor(network, with_(num_workers=8))(photos))
    for a, b in zip(one, many, strict=True):
        assert_same(a, b)


def test_saliency_is_that_of_the_network_on_the_resized_photo(network, photos):
    extraction = next(Extractor(network, SETTINGS, precision="float32")(photos[-1:]))

    resized = torch.from_numpy(cv2.resize(photos[-1], (128, 128))).permute(2, 0, 1) / 255
    image = (resized - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.inference_mode():
        expected = network(image[None]).saliency[0, 0] * 255

    assert np.abs(extraction.saliency - expected.numpy()).max() <= 0.51


def test_paths_and_arrays_give_the_same_crop(network, photos, tmp_path):
    Image.fromarray(photos[-1]).save(tmp_path / "photo.png")
    extractor = Extractor(network, SETTINGS)
    for from_path, from_array in zip(
        extractor([tmp_path / "photo.png", str(tmp_path / "photo.png")]),
        extractor([photos[-1]] * 2),
        strict=True,
    ):
        assert_same(from_path, from_array)


def test_unreadable_photo_is_named_after_the_ones_before_it(network, photos, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"not a photo")
    extractor = Extractor(network, with_(batch_size=2))
    results = extractor([photos[0], photos[1], photos[2], tmp_path / "broken.jpg", photos[3]])
    assert len([next(results) for _ in range(3)]) == 3
    with pytest.raises(DataError, match=r"broken\.jpg"):
        next(results)


@pytest.mark.parametrize("without_network", [True, False])
def test_unreadable_photos_are_reported_and_the_others_unharmed(
    without_network, network, photos, tmp_path
):
    (tmp_path / "broken.jpg").write_bytes(b"")
    bad = [tmp_path / "broken.jpg", tmp_path / "missing.png", np.zeros((3, 3), np.uint8)]
    mixed = [bad[0], photos[-1], bad[1], bad[2], photos[-2]]
    extractor = Extractor(None if without_network else network, SETTINGS)
    reported = []

    results = list(extractor(mixed, on_error=lambda photo, error: reported.append((photo, error))))

    assert [result is None for result in results] == [True, False, True, True, False]
    assert [photo for photo, _ in reported[:2]] == bad[:2]
    assert "(height, width, 3) uint8" in str(reported[2][1])
    for extraction, direct in zip(
        (results[1], results[4]), extractor([photos[-1], photos[-2]]), strict=True
    ):
        np.testing.assert_array_equal(extraction.crop, direct.crop)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (2000, 3)])
def test_photos_of_odd_shapes_give_crops(shape, network):
    photo = np.full((*shape, 3), 128, np.uint8)
    extraction = next(Extractor(network, SETTINGS)([photo]))
    assert extraction.crop.shape == (32, 32, 3)
    assert extraction.saliency.shape == (128, 128)


def test_without_a_network_the_whole_photo_is_resized(photos):
    extractor = Extractor(None, CropSettings(crop_size=24))
    for photo, extraction in zip(photos, extractor(photos), strict=True):
        np.testing.assert_array_equal(extraction.crop, resize(photo, 24, 24))
        assert not extraction.fallback


def test_no_photos_give_no_results(network):
    assert list(Extractor(network, SETTINGS)([])) == []


def test_work_on_each_photo_is_done_beside_the_network_in_order(network, photos):
    def height_of_map(photo, extraction):
        assert threading.current_thread() is not threading.main_thread()
        return resize_map(extraction.saliency, photo.shape[:2]).shape[0]

    heights = list(Extractor(network, SETTINGS).map(height_of_map, photos))
    assert heights == [photo.shape[0] for photo in photos]


class Dying:
    """In the place of a network: it fails at the third batch."""

    side, device = 128, CPU

    def __init__(self):
        self.batches = 0

    def __call__(self, images):
        self.batches += 1
        if self.batches == 3:
            raise RuntimeError("illegal memory access")
        return np.full((len(images), 128, 128), 255, np.uint8)


@pytest.mark.timeout(60)
def test_what_ends_a_worker_ends_the_extraction_with_its_reason(network, photos):
    # One thread, or the threads would decide which photo is the third to be seen.
    extractor = Extractor(network, with_(batch_size=1, num_workers=1))
    extractor._predict = Dying()
    results = extractor(photos)
    assert [next(results).fallback for _ in range(2)] == [False, False]
    with pytest.raises(RuntimeError, match="illegal memory access"):
        list(results)


def test_photos_are_drawn_from_a_stream_as_they_are_needed(network, photos):
    drawn = 0

    def stream():
        nonlocal drawn
        for _ in range(100):
            drawn += 1
            yield photos[-1]

    extractor = Extractor(network, with_(batch_size=2, num_workers=2))
    results = extractor(stream())
    next(results)
    results.close()
    assert drawn <= 2 * (extractor.num_workers + 2)


def test_photos_too_large_to_keep_are_read_again(network, photos, tmp_path, monkeypatch):
    Image.fromarray(photos[-1]).save(tmp_path / "photo.png")
    paths = [tmp_path / "photo.png"] * 3
    kept = list(Extractor(network, SETTINGS)(paths))
    monkeypatch.setattr("TRACER.extractor.PHOTO_MEMORY_BYTES", 1000)
    read_again = list(Extractor(network, SETTINGS)(paths))
    for a, b in zip(kept, read_again, strict=True):
        assert_same(a, b)


def test_thread_settings_of_the_process_come_back(network, photos):
    before = torch.get_num_threads(), cv2.getNumThreads()
    list(Extractor(network, SETTINGS)(photos))
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before


def test_key_follows_whatever_decides_over_the_pixels(network):
    key = Extractor(network, SETTINGS, precision="float32").key
    other_weights = Tracer(0, input_size=128)
    assert Extractor(network, with_(batch_size=3), precision="float32").key == key
    changed = [
        Extractor(network, CropSettings(crop_size=33), precision="float32").key,
        Extractor(network, SETTINGS, precision="bfloat16").key,
        Extractor(other_weights, SETTINGS, precision="float32").key,
        Extractor(None, SETTINGS).key,
    ]
    assert len({key, *changed}) == 5


@pytest.mark.parametrize(
    ("settings", "options", "key"),
    [
        ({}, None, "772d1c9dff828d750a9569138962a5347ff60d778d660ba271293e1aaa83c8fd"),
        (
            {"crop_size": 16, "margin": 0.2, "batch_size": 7, "num_workers": 1}, None,
            "21f02bd5d267da0c48e7f5059c79916867338a41ced61a70bdd91dabba7d4977",
        ),
        (
            {"crop_size": 128, "region": "face", "background": "keep"}, {"precision": "float32"},
            "a1c7695c0acf7826e5ac99f1a791d6a0ae1fdfc7fba8148cc2326633482b4045",
        ),
        (
            {"crop_size": 240, "threshold": 0.4, "margin": 0.0},
            {"precision": "bfloat16", "device": "cuda"},
            "95d740dff26ef48d2512ae3b265c3563af26854ac5675afab4fc8406f6e91cfb",
        ),
    ],
)  # fmt: skip
def test_keys_are_those_that_earlier_versions_gave(settings, options, key, monkeypatch):
    monkeypatch.undo()
    network = {} if options is None else {"network": lambda: None, "digest": "0" * 64, **options}
    extractor = Extractor(settings=CropSettings(**settings), **{"network": None, **network})
    assert extractor.key == key


def test_precision_is_chosen_by_the_device_or_the_caller():
    assert choose_dtype(CPU, "auto") in (torch.bfloat16, torch.float32)
    assert choose_dtype(CPU, "float16") == torch.float16
    with pytest.raises(ConfigError, match="precision 'half'"):
        choose_dtype(CPU, "half")


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample weights are not in this copy")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_moves_the_saliency_of_sample_people_by_less_than_a_hundredth(
    precision, tmp_path
):
    generate(tmp_path / "people", persons=1, eval_persons=1, seed=5)
    photos = sorted((tmp_path / "people" / "train").rglob("*.jpg"))[:3]
    network = load_tracer("sample")
    full, half = (Extractor(network, precision=p)(photos) for p in ("float32", precision))
    for one, other in zip(full, half, strict=True):
        difference = one.saliency.astype(float) - other.saliency
        assert np.abs(difference).mean() / 255 <= 0.01
        assert one.saliency.max() > 200, "the person is seen"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_gpu_gives_the_maps_of_the_cpu_whatever_the_batch(network, photos):
    on_cpu = list(Extractor(network, SETTINGS, precision="float32")(photos))
    gpu = Extractor(network, with_(batch_size=4), device="cuda", precision="float32")
    forwards, backwards = list(gpu(photos)), list(gpu(photos[::-1]))[::-1]
    for cpu, one, other in zip(on_cpu, forwards, backwards, strict=True):
        assert np.abs(cpu.saliency.astype(int) - one.saliency).max() <= 2
        assert_same(one, other)
