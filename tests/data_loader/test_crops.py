import ast
import json
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

import numpy as np
import pytest

import data_loader.crops as crops_module
from data_loader.crops import (
    CROPPED,
    UNREADABLE,
    Crops,
    build_crops,
)
from tests.cropping import Counting, build, counting, write_photo
from TRACER.extractor import Extractor
from TRACER.settings import CropSettings
from utils.errors import DataError, UserError


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
from data_loader.crops import build_crops
from tests.cropping import counting
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


def test_the_cache_says_what_it_was_made_with(photos, tmp_path):
    crops, extractor = build(photos, tmp_path)
    described = json.loads((crops.folder / "complete.json").read_text())
    assert described["photos"] == 12
    assert described["key"] == extractor.key
    assert described["settings"]["size"] == 16
