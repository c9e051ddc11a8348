import ast
import json
import logging
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import data_loader.crops as crops_module
from data_loader.crops import (
    CROPPED,
    PENDING,
    UNREADABLE,
    WHOLE,
    Crops,
    build_crops,
    extractor_from,
)
from data_loader.settings import Tracer
from TRACER.extractor import Extractor
from TRACER.network import Tracer as Network
from TRACER.settings import CropSettings
from TRACER.weights import SAMPLE, save_float16
from utils.errors import CheckpointError, DataError, UserError
from utils.images import read_image


class Counting(Extractor):
    """An extractor that remembers what it was asked for."""

    asked: list
    seconds = 0

    def __call__(self, photos, on_error=None):
        time.sleep(self.seconds)
        self.asked = list(photos)
        return super().__call__(self.asked, on_error)


def counting(size=16, seconds=0, **settings):
    extractor = Counting(None, CropSettings(crop_size=size, num_workers=1, **settings))
    extractor.seconds = seconds
    return extractor


@pytest.fixture
def photos(tmp_path):
    """Twelve small photos, each of another color."""
    folder = tmp_path / "photos"
    folder.mkdir()
    return [write_photo(folder / f"{number:02}.png", number) for number in range(12)]


def write_photo(path, number):
    image = np.full((24, 18, 3), (10 * number, 200, 255 - 10 * number), np.uint8)
    image[4:20, 4:14] = 20 * number
    cv2.imwrite(str(path), image)
    return path


def build(photos, tmp_path, extractor=None, **options):
    extractor = extractor or counting()
    return build_crops(photos, extractor, tmp_path / "cache", progress=False, **options), extractor


class TestBuilding:
    def test_every_photo_gets_its_crop_in_the_order_of_the_photos(self, photos, tmp_path):
        crops, _ = build(photos, tmp_path)

        assert crops.images.shape == (12, 16, 16, 3)
        assert crops.images.dtype == np.uint8
        assert (crops.states == CROPPED).all()
        assert (crops.boxes == [0, 0, 18, 24]).all()
        for row, photo in enumerate(photos):
            assert (crops[row] == next(counting()([photo])).crop).all()

    @pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
    def test_a_name_that_is_no_text_is_cropped_and_known_again(self, photos, tmp_path):
        odd = os.fsdecode(os.fsencode(photos[0].parent) + b"/\xbb\xe7\xc1\xf8.png")
        photos[0] = photos[0].rename(odd)
        build(photos, tmp_path)
        _, extractor = build(photos, tmp_path, counting())
        assert not hasattr(extractor, "asked")

    def test_a_second_run_crops_nothing(self, photos, tmp_path):
        first, _ = build(photos, tmp_path)
        again, extractor = build(photos, tmp_path, Extractor(None, CropSettings(crop_size=16)))
        assert again.folder == first.folder
        assert not hasattr(extractor, "asked")

    def test_the_same_photos_under_other_names_are_not_cropped_again(self, photos, tmp_path):
        build(photos, tmp_path)
        moved = [photo.rename(photo.with_name(f"moved_{photo.name}")) for photo in photos]

        again, extractor = build(moved[::-1], tmp_path)

        assert extractor.asked == []
        assert (again[0] == next(counting()([moved[-1]])).crop).all()

    def test_only_a_changed_photo_is_cropped_anew(self, photos, tmp_path):
        before, _ = build(photos, tmp_path)
        write_photo(photos[5], 12)

        after, extractor = build(photos, tmp_path)

        assert extractor.asked == [photos[5]]
        assert (after[5] != before[5]).any()
        others = np.arange(12) != 5
        assert (after.images[others] == before.images[others]).all()

    def test_a_photo_changed_within_its_size_and_time_is_noticed(self, photos, tmp_path):
        build(photos, tmp_path)
        status = photos[3].stat()
        photos[3].write_bytes(photos[4].read_bytes()[: status.st_size].ljust(status.st_size, b"\0"))
        os.utime(photos[3], ns=(status.st_atime_ns, status.st_mtime_ns))

        after, _ = build(photos, tmp_path, skip_unreadable=True)

        assert (after[3] == after[4]).all() or after.states[3] == UNREADABLE

    def test_more_photos_cost_only_the_new_ones(self, photos, tmp_path):
        build(photos[:8], tmp_path)
        _, extractor = build(photos, tmp_path)
        assert extractor.asked == photos[8:]

    def test_only_a_cache_that_has_something_to_give_is_read(self, photos, tmp_path, monkeypatch):
        other, _ = build(photos[:6], tmp_path)
        read, really = [], crops_module.damaged_rows
        monkeypatch.setattr(
            crops_module,
            "damaged_rows",
            lambda arrays: (read.append(Path(arrays["images"].filename).parent), really(arrays))[1],
        )
        build(photos[6:], tmp_path)
        assert read and other.folder not in read
        build(photos, tmp_path)
        assert other.folder in read

    @pytest.mark.parametrize("settings", [{"size": 20}, {"margin": 0.2}])
    def test_another_setting_is_another_cache(self, photos, tmp_path, settings):
        first, _ = build(photos, tmp_path)
        second, extractor = build(photos, tmp_path, counting(**settings))
        assert extractor.asked == photos
        assert second.folder != first.folder
        assert Crops.open(first.folder).images.shape == (12, 16, 16, 3)

    def test_no_progress_bar_where_there_is_nothing_to_do(self, photos, tmp_path, capsys):
        build_crops(photos, counting(), tmp_path / "cache")
        assert "reading photos: 100%" in capsys.readouterr().err
        build_crops(photos, counting(), tmp_path / "cache")
        assert capsys.readouterr().err == ""


class Killed(Extractor):
    """Its process is killed when seven photos are done."""

    def __call__(self, photos, on_error=None):
        for number, extraction in enumerate(super().__call__(photos, on_error)):
            if number == 7:
                os.kill(os.getpid(), signal.SIGKILL)
            yield extraction


class Slow(Counting):
    """Takes so long over a photo that two builds are sure to meet."""

    def __call__(self, photos, on_error=None):
        for extraction in super().__call__(photos, on_error):
            time.sleep(0.03)
            yield extraction


def build_and_exit(photos, tmp_path, extractor):
    crops_module.FLUSH_SECONDS = 0
    build(photos, tmp_path, extractor)
    os._exit(len(getattr(extractor, "asked", [])))


def in_processes(photos, tmp_path, *extractors):
    """Build in one process for each extractor, at once; returns their exit codes."""
    fork = multiprocessing.get_context("fork")
    processes = [
        fork.Process(target=build_and_exit, args=(photos, tmp_path, e)) for e in extractors
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=30)
    return [process.exitcode for process in processes]


class TestInterruptions:
    def test_a_killed_build_goes_on_where_it_stopped(self, photos, tmp_path):
        killed = Killed(None, CropSettings(crop_size=16, num_workers=1))
        assert in_processes(photos, tmp_path, killed) == [-signal.SIGKILL]

        crops, extractor = build(photos, tmp_path)

        assert extractor.asked == photos[7:]
        for row, photo in enumerate(photos):
            assert (crops[row] == next(counting()([photo])).crop).all()

    def test_of_two_builds_at_once_one_works_and_the_other_waits(self, photos, tmp_path):
        extractors = [Slow(None, CropSettings(crop_size=16, num_workers=1)) for _ in range(2)]

        asked = in_processes(photos, tmp_path, *extractors)

        assert sorted(asked) == [0, 12]
        crops, extractor = build(photos, tmp_path)
        assert not hasattr(extractor, "asked") and (crops.states == CROPPED).all()

    def test_a_full_disk_is_one_clear_line(self, photos, tmp_path):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with pytest.raises(UserError, match="cache: the crop cache cannot be written"):
                build(photos, tmp_path, counting(size=200))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

        crops, _ = build(photos, tmp_path, counting(size=200))
        assert (crops.states == CROPPED).all()

    def test_a_disk_that_takes_but_a_part_of_the_last_crop_is_full(self, photos, tmp_path):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)

        class Filling(Counting):
            """Its crops come when there is room for all but the half of one."""

            def __call__(self, photos, on_error=None):
                room = 128 + 16 * 16 * 3 * 11 + 400
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
                return super().__call__(photos, on_error)

        extractor = Filling(None, CropSettings(crop_size=16, num_workers=1))
        try:
            with pytest.raises(UserError, match=r"cache: the crop cache cannot be written.*space"):
                build(photos, tmp_path, extractor)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_a_cache_that_cannot_be_made_is_one_clear_line(self, photos, tmp_path):
        (tmp_path / "cache").write_text("in the way")
        with pytest.raises(UserError, match="cache"):
            build(photos, tmp_path)

    def test_a_damaged_cache_is_named(self, photos, tmp_path):
        crops, _ = build(photos, tmp_path)
        file = crops.folder / "images.npy"
        file.write_bytes(file.read_bytes()[:200])
        with pytest.raises(DataError, match=f"{crops.folder.name}: damaged crop cache.*delete"):
            build(photos, tmp_path)


class TestUnreadablePhotos:
    def test_an_unreadable_photo_is_named_with_the_reason(self, photos, tmp_path):
        photos[2].write_bytes(b"")
        with pytest.raises(DataError, match=r"02\.png: the file is empty"):
            build(photos, tmp_path)

    def test_several_are_counted(self, photos, tmp_path):
        for photo in photos[2:5]:
            photo.write_text("no photo")
        with pytest.raises(DataError, match=r"02\.png: not an image.*\(and 2 more unreadable"):
            build(photos, tmp_path)

    def test_they_are_skipped_where_that_is_asked_for(self, photos, tmp_path):
        photos[2].write_text("no photo")
        photos[3].unlink()

        crops, _ = build(photos, tmp_path, skip_unreadable=True)

        assert np.flatnonzero(crops.states == UNREADABLE).tolist() == [2, 3]
        assert (crops.states[4:] == CROPPED).all()
        assert not crops[2].any()

    def test_a_repaired_photo_is_cropped_and_the_others_are_not_cropped_again(
        self, photos, tmp_path
    ):
        good = photos[2].read_bytes()
        photos[2].write_text("no photo")
        with pytest.raises(DataError):
            build(photos, tmp_path)
        photos[2].write_bytes(good)

        crops, extractor = build(photos, tmp_path)

        assert extractor.asked == [photos[2]]
        assert (crops.states == CROPPED).all()


IN_RANKS = """
from datetime import timedelta
from pathlib import Path
from tests.data_loader.test_crops import counting, build_crops
from utils.errors import DataError
photos = sorted(Path({photos!r}).iterdir())
distributed.TIMEOUT = timedelta(seconds=6)
def build(cache, ranks_of_a_machine, seconds=0):
    os.environ["LOCAL_WORLD_SIZE"] = ranks_of_a_machine
    extractor = counting(seconds=seconds)
    try:
        crops = build_crops(photos, extractor, Path({folder!r}, cache), progress=False)
    except DataError as error:
        return str(error)
    return len(getattr(extractor, "asked", [])), int((crops.states == 1).sum())
"""


def test_of_several_machines_the_first_builds_and_all_wait_for_it_and_must_see_it(
    photos, tmp_path, in_two_ranks
):
    """Longer than a collective would, which ends whoever waits."""
    said = in_two_ranks(
        IN_RANKS.format(photos=str(photos[0].parent), folder=str(tmp_path)),
        "[build('one', '2'), build('two', '1', 8), build('rank' + os.environ['RANK'], '1')]",
    )
    one_machine, two_machines, not_shared = zip(*map(ast.literal_eval, said), strict=True)
    assert sorted(one_machine) == [(6, 12), (6, 12)]
    assert sorted(two_machines) == [(0, 12), (12, 12)]
    for error in not_shared:
        assert "rank1" in error and "rank 1 does not find the crops" in error
        assert "tracer.cache_dir" in error
    assert not list((tmp_path / "rank1").rglob("images.npy"))


class Losing(Counting):
    """What was written to the file of states never reaches it: another took its place."""

    def __call__(self, photos, on_error=None):
        yield from super().__call__(photos, on_error)
        (file,) = self.cache.glob("*/*/states.npy")
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)


class TestLostRows:
    def test_they_are_an_error_and_never_complete(self, photos, tmp_path):
        losing = Losing(None, CropSettings(crop_size=16, num_workers=1))
        losing.cache = tmp_path / "cache"
        with pytest.raises(DataError, match=r"12 of 12 crops were lost.*run the same again"):
            build(photos, tmp_path, losing)
        assert not list(tmp_path.rglob("complete.json"))

        crops, extractor = build(photos, tmp_path)
        assert extractor.asked == photos
        assert (crops.states == CROPPED).all()

    def test_a_cache_that_an_earlier_version_called_complete_is_mended(self, photos, tmp_path):
        crops, _ = build(photos, tmp_path)
        images, states = (np.load(crops.folder / f"{n}.npy", mmap_mode="r+") for n in (
            "images", "states"))  # fmt: skip
        images[3], states[3] = 0, PENDING
        images.flush(), states.flush()

        crops, extractor = build(photos, tmp_path)

        assert extractor.asked == [photos[3]]
        assert (crops[3] == next(counting()([photos[3]])).crop).all()


def damage(path, how):
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "text": b"x" * 300}[how])


@pytest.mark.parametrize("how", ["empty", "cut", "text", "of other photos"])
class TestDamagedSideFiles:
    def test_digests_are_read_anew(self, photos, tmp_path, how):
        build(photos, tmp_path)
        (file,) = (tmp_path / "cache" / "digests").iterdir()
        if how == "of other photos":
            np.savez(file, stamps=np.zeros((5, 3), np.int64), digests=np.zeros(5, "V16"))
        else:
            damage(file, how)
        before = file.read_bytes()

        crops, extractor = build(photos, tmp_path)

        assert not hasattr(extractor, "asked") and (crops.states == CROPPED).all()
        assert file.read_bytes() != before

    @pytest.mark.parametrize("name", ["digests", "images", "boxes", "states"])
    def test_another_cache_is_not_copied_from(self, photos, tmp_path, how, name):
        other, _ = build(photos[:8], tmp_path)
        file = other.folder / f"{name}.npy"
        if how == "of other photos":
            np.save(file, np.load(file)[:3])
        else:
            damage(file, how)

        crops, _ = build(photos, tmp_path)

        assert (crops.states == CROPPED).all()
        for row, photo in enumerate(photos):
            assert (crops[row] == next(counting()([photo])).crop).all()


@pytest.mark.parametrize("name", ["digests", "images", "boxes", "states"])
def test_a_pipe_in_another_cache_is_not_waited_for(photos, tmp_path, name):
    other, _ = build(photos[:8], tmp_path)
    (other.folder / f"{name}.npy").unlink()
    os.mkfifo(other.folder / f"{name}.npy")
    _, extractor = build(photos, tmp_path)
    assert extractor.asked == photos


class TestDamagedPixels:
    def change(self, crops, name, row, value):
        array = np.load(crops.folder / f"{name}.npy", mmap_mode="r+")
        array[row] = value
        array.flush()

    @pytest.mark.parametrize(("name", "value"), [("images", 0), ("boxes", 7), ("states", WHOLE)])
    @pytest.mark.parametrize("finished", [True, False])
    def test_they_are_noticed_and_made_anew(self, photos, tmp_path, caplog, name, value, finished):
        crops, _ = build(photos, tmp_path)
        expected = crops.images.copy(), crops.boxes.copy(), crops.states.copy()
        if not finished:
            (crops.folder / "complete.json").unlink()
        self.change(crops, name, 3, value)

        again, extractor = build(photos, tmp_path)

        assert extractor.asked == [photos[3]]
        assert f"{crops.folder}: 1 damaged crops are made anew" in caplog.text
        for was, now in zip(expected, (again.images, again.boxes, again.states), strict=True):
            np.testing.assert_array_equal(was, now)

    def test_they_are_not_copied_to_another_cache(self, photos, tmp_path):
        crops, _ = build(photos[:8], tmp_path)
        self.change(crops, "images", 3, 0)
        _, extractor = build(photos, tmp_path)
        assert extractor.asked == [photos[3], *photos[8:]]

    def test_a_cache_of_a_version_without_checks_is_believed_and_gets_some(self, photos, tmp_path):
        crops, _ = build(photos[:8], tmp_path)
        (crops.folder / "checks.npy").unlink()
        _, extractor = build(photos[:8], tmp_path)
        assert not hasattr(extractor, "asked")

        (crops.folder / "complete.json").unlink()
        _, extractor = build(photos[:8], tmp_path)
        assert extractor.asked == []
        assert np.load(crops.folder / "checks.npy").all()

    @pytest.mark.parametrize("missing", [["images"], ["states"], ["images", "checks"]])
    def test_crops_of_which_a_file_is_gone_are_made_anew(self, photos, tmp_path, missing):
        crops, _ = build(photos, tmp_path)
        (crops.folder / "complete.json").unlink()
        for name in missing:
            (crops.folder / f"{name}.npy").unlink()
        again, extractor = build(photos, tmp_path)
        assert extractor.asked == photos
        assert (again[5] == next(counting()([photos[5]])).crop).all()


class TestShapes:
    def assert_refused(self, photos, tmp_path, file):
        size = file.stat().st_size
        for again in range(2):
            with pytest.raises(
                DataError, match=r"damaged crop cache.*delete this folder"
            ) as refused:
                build(photos, tmp_path)
            assert "\n" not in str(refused.value)
            if not again:
                (file.parent / "complete.json").unlink(missing_ok=True)  # as if it were to go on
        assert file.stat().st_size == size, "nothing was filled up"

    @pytest.mark.parametrize("name", ["images", "boxes", "states", "checks"])
    @pytest.mark.parametrize("by", [-1, 1])
    def test_a_file_too_short_or_too_long_is_refused(self, photos, tmp_path, name, by):
        crops, _ = build(photos, tmp_path)
        file = crops.folder / f"{name}.npy"
        os.truncate(file, file.stat().st_size + by)
        self.assert_refused(photos, tmp_path, file)

    @pytest.mark.parametrize(
        "other",
        [
            np.zeros((11, 16, 16, 3), np.uint8),
            np.zeros((12, 16, 48), np.uint8),
            np.zeros((12, 16, 16, 3), np.int8),
            np.asfortranarray(np.zeros((12, 16, 16, 3), np.uint8)),
            np.zeros(12 * 16 * 16 * 3, np.uint8),
        ],
    )
    def test_another_shape_or_type_is_refused(self, photos, tmp_path, other):
        crops, _ = build(photos, tmp_path)
        np.save(crops.folder / "images.npy", other)
        self.assert_refused(photos, tmp_path, crops.folder / "images.npy")


def build_as_nobody(home):
    """Build in a process that may not write there; exits with 0 if all crops were used as found."""
    if os.getuid() == 0:
        os.setuid(65534)  # root may write anywhere
    assert not os.access(home / "cache", os.W_OK)
    crops, extractor = build(sorted((home / "photos").iterdir()), home, skip_unreadable=True)
    os._exit(not (len(crops) == 12 and not hasattr(extractor, "asked")))


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="no users here")
@pytest.mark.parametrize("unreadable", [False, True])
def test_a_finished_cache_that_nobody_may_write_to_is_used(photos, tmp_path, unreadable):
    if unreadable:
        photos[3].write_text("no photo")
    with tempfile.TemporaryDirectory() as folder:  # nobody else may read those of pytest
        home = shutil.copytree(tmp_path, Path(folder, "home"))
        build(sorted((home / "photos").iterdir()), home, skip_unreadable=True)
        os.chmod(folder, 0o755)
        places = [Path(place, name) for place, _, names in os.walk(home) for name in (*names, ".")]
        for place in places:
            place.chmod(0o555 if place.is_dir() else 0o444)
        process = multiprocessing.get_context("fork").Process(target=build_as_nobody, args=(home,))
        process.start()
        process.join(timeout=30)
        for place in places:
            place.chmod(0o755)
    assert process.exitcode == 0


def test_an_unfinished_cache_that_is_damaged_is_named(photos, tmp_path):
    crops, _ = build(photos, tmp_path)
    (crops.folder / "complete.json").unlink()
    damage(crops.folder / "states.npy", "empty")
    with pytest.raises(DataError, match=f"{crops.folder.name}: damaged crop cache.*delete"):
        build(photos, tmp_path)


def test_a_worker_opens_the_files_itself_instead_of_copying_pixels(photos, tmp_path):
    crops, _ = build(photos, tmp_path, counting(size=128))
    pickled = pickle.dumps(crops)
    assert len(pickled) < 1000 < crops.images.nbytes
    opened = pickle.loads(pickled)
    assert (opened.images == crops.images).all() and isinstance(opened.images, np.memmap)


def test_crops_cannot_be_changed_by_accident(photos, tmp_path):
    crops, _ = build(photos, tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        crops[0][:] = 0


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


def test_the_cache_says_what_it_was_made_with(photos, tmp_path):
    crops, extractor = build(photos, tmp_path)
    described = json.loads((crops.folder / "complete.json").read_text())
    assert described["photos"] == 12
    assert described["key"] == extractor.key
    assert described["settings"]["size"] == 16
