import os
import pickle
import shutil
from functools import partial

import numpy as np
import pytest
import torch

from base.base_data_loader import BaseDataLoader
from base.task import load_task
from base.task_settings import TaskSettings
from data_loader.crops import extractor_from
from data_loader.data_loaders import (
    batch_of_predictions,
    labeled_photos,
    prediction_loader,
    setup,
)
from data_loader.settings import (
    Augmentation,
    LabelCorrections,
    Mixing,
    Sampling,
    Tracer,
    Validation,
)
from data_loader.transform import eval_transform, start_worker
from tests.other_tasks import TASKS
from TRACER.network import Tracer as Network
from TRACER.weights import save_float16
from utils.errors import ConfigError, DataError
from utils.images import read_image

FACES = load_task("faces")
SHAPES = TaskSettings.model_validate({**TASKS["table"], "answer": {"product": ["kind", "colour"]}})
CPU = torch.device("cpu")
TRACER = Tracer(num_workers=1)
AUGMENTATION = Augmentation(flip=1.0, affine=1.0, tone=1.0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def training(shapes, cache):
    """``training(…)``: the loaders of a training on drawn shapes, without augmentation."""
    options = {
        "extractor": extractor_from(TRACER, 32, CPU),
        "cache_dir": cache,
        "validation": Validation(fraction=0.25),
        "augmentation": None,
        "seed": 1,
        "device": CPU,
        "progress": False,
    }

    def make(data_dir=shapes, task=SHAPES, label_corrections=None, **changes):
        index = labeled_photos(data_dir, task, label_corrections)
        return setup("train", 32, 16, 0, index=index, **{**options, **changes})

    return make


@pytest.fixture
def faces_training(training, people):
    """The same on the sample people."""
    return partial(training, data_dir=people, task=FACES.settings)


@pytest.fixture(scope="module")
def predicted(cache):
    """``predicted(photos, …)``: the loader of a prediction."""
    return partial(
        prediction_loader,
        extractor=extractor_from(TRACER, 32, CPU),
        cache_dir=cache,
        input_size=32,
        batch_size=16,
        num_workers=0,
        device=CPU,
        progress=False,
    )


def images_by_position(loader, epoch=0):
    loader.set_epoch(epoch)
    return {
        int(position): image
        for batch in loader
        for position, image in zip(batch["index"], batch["image"], strict=True)
    }


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A file of TE0 weights that nobody trained: it cuts something out of every photo."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "te0.safetensors"
    save_float16(Network(0, input_size=128), path)
    return str(path)


def in_the_app(photo, extractor):
    """The tensor that the app shows its model, from a photo that is already decoded."""
    extraction = next(iter(extractor([photo])))
    return torch.from_numpy(eval_transform(32)(extraction.crop).transpose(2, 0, 1).copy())


@pytest.mark.parametrize(
    "weights", [None, pytest.param("untrained", marks=pytest.mark.slow)], ids=["photos", "TRACER"]
)
def test_one_photo_is_the_same_tensor_in_training_validation_test_and_app(
    faces_training, predicted, request, tmp_path, weights
):
    weights = weights and request.getfixturevalue(weights)
    tracer = TRACER.model_copy(update={"weights": weights})
    extractor = extractor_from(tracer, 32, CPU)
    data = faces_training(extractor=extractor)
    for loader, rows in ((data.train, data.train_rows), (data.val, data.val_rows)):
        position, image = next(iter(images_by_position(loader).items()))
        path = data.index.path(rows[position])

        # A cache of its own, so that the photo is cropped again, and alone in its batch.
        own = {"extractor": extractor_from(tracer, 32, CPU), "cache_dir": tmp_path}
        tested, _ = predicted([path], **own)

        assert torch.equal(image, images_by_position(tested)[0])
        assert torch.equal(image, in_the_app(read_image(path), extractor))


def test_batches_are_uint8_rgb_with_a_code_for_each_head(training):
    batch = next(iter(training().train))
    assert batch["image"].shape == (16, 3, 32, 32) and batch["image"].dtype == torch.uint8
    assert set(batch) == {"image", "index", "kind", "colour", "class"}
    assert all(batch[head].shape == (16,) for head in ("kind", "colour", "class"))


def test_targets_are_those_of_the_photo(training):
    data = training()
    truth = data.index.targets(data.train_rows)
    for batch in data.train:
        for head in truth:
            assert (batch[head].numpy() == truth[head][batch["index"].numpy()]).all()


def test_training_and_validation_share_no_group(training):
    data = training()
    boards = [set(data.index.group[rows]) for rows in (data.train_rows, data.val_rows)]
    assert [len(part) for part in boards] == [22, 8] and not boards[0] & boards[1]


def test_only_training_is_augmented(training):
    plain, augmented = training(), training(augmentation=AUGMENTATION)
    for part, same in (("train", False), ("val", True)):
        before, after = (images_by_position(getattr(data, part)) for data in (plain, augmented))
        positions = before.keys() & after.keys()
        equal = [torch.equal(before[position], after[position]) for position in positions]
        assert all(equal) if same else not any(equal)


def test_augmentations_differ_between_epochs_and_repeat_with_the_seed(training):
    first, again = training(augmentation=AUGMENTATION), training(augmentation=AUGMENTATION)
    epochs = [images_by_position(first.train, epoch) for epoch in (0, 1)]
    both = epochs[0].keys() & epochs[1].keys()
    assert not any(torch.equal(epochs[0][position], epochs[1][position]) for position in both)
    repeated = images_by_position(again.train, 0)
    assert list(repeated) == list(epochs[0])
    assert all(torch.equal(repeated[position], epochs[0][position]) for position in repeated)


def test_validation_sees_every_photo_once_in_order(training):
    data = training()
    assert list(images_by_position(data.val)) == list(range(len(data.val_rows)))


def test_class_counts_are_those_of_the_training_people_alone(faces_training):
    counts = faces_training().class_counts
    assert counts["mask"].tolist() == [60, 12, 12]
    assert counts["gender"].sum() == counts["age"].sum() == 12


def test_corrected_labels_are_what_is_trained_on(faces_training, tmp_path):
    before = faces_training()
    row = before.train_rows[0]
    person = before.index.groups[before.index.group[row]]
    table = tmp_path / "corrections.csv"
    other = 1 - before.index.values["gender"][row]
    gender = ("male", "female")[other]
    table.write_text(f"key,field,value,tier\n{person},gender,{gender},sure\n")

    data = faces_training(label_corrections=LabelCorrections(path=str(table), tiers=["sure"]))

    assert (data.index.values["gender"][data.index.group == data.index.group[row]] == other).all()


def test_another_stage_than_training_is_refused(shapes, cache):
    with pytest.raises(ConfigError, match=r"data_loader.args.stage: a training needs 'train'"):
        setup(
            "eval", 32, 16, 0, index=labeled_photos(shapes, SHAPES, None),
            extractor=extractor_from(TRACER, 32, CPU), cache_dir=cache,
            validation=Validation(fraction=0.25), augmentation=None, seed=1, device=CPU,
        )  # fmt: skip


def test_a_crop_of_another_size_is_resized_to_what_the_model_sees(training, cache):
    data = training(extractor=extractor_from(TRACER.model_copy(update={"crop_size": 48}), 32, CPU))
    assert data.crops.images.shape[1:] == (48, 48, 3)
    assert next(iter(data.train))["image"].shape == (16, 3, 32, 32)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system can't take cores")
def test_workers_and_threads_together_are_never_more_than_the_cores(predicted, shapes):
    photos = sorted(shapes.glob("eval/*.png"))[:4]
    cores = os.sched_getaffinity(0)
    threads = torch.get_num_threads()
    try:
        for some in ({min(cores)}, cores):
            os.sched_setaffinity(0, some)
            loader, _ = predicted(photos, num_workers=64)
            assert loader.num_workers + torch.get_num_threads() <= len(some)
    finally:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)


def test_workers_give_the_batches_that_no_workers_give(predicted, shapes):
    photos = sorted(shapes.glob("eval/*.png"))[:20]
    alone, _ = predicted(photos)
    shared = BaseDataLoader(
        alone.dataset, alone.sampler, batch_size=16, num_workers=2, device=CPU,
        worker_init_fn=start_worker,
    )  # fmt: skip
    for one, other in zip(alone, shared, strict=True):
        assert np.array_equal(one["index"], other["index"])
        assert torch.equal(one["image"], other["image"])


def test_corrections_of_unknown_people_are_all_listed(faces_training, people, tmp_path, caplog):
    table = tmp_path / "mine.csv"
    unknown = [f"9999{n:02}" for n in range(14)]
    lines = [f"{person},gender,male,sure" for person in unknown]
    table.write_text("\n".join(["key,field,value,tier", *lines]) + "\n")

    faces_training(
        label_corrections=LabelCorrections(path=[str(table), "competition"], tiers=["sure"])
    )

    (warning,) = [
        each.getMessage()
        for each in caplog.records
        if each.levelname == "WARNING" and "label_corrections" in each.getMessage()
    ]
    assert str(table) in warning
    assert all(person in warning for person in unknown)


def test_nothing_is_said_of_corrections_that_are_about_other_people(faces_training, caplog):
    caplog.set_level("INFO")
    faces_training(label_corrections=LabelCorrections(tiers=["sure", "likely", "disputed"]))
    assert "training on" in caplog.text and "corrections" not in caplog.text


def test_an_id_with_two_labels_is_warned_of_counted_twice_and_never_split(
    faces_training, people, tmp_path, caplog
):
    shutil.copytree(people / "train", tmp_path / "data" / "train")
    first = sorted((tmp_path / "data" / "train" / "images").iterdir())[0]
    id_, gender, _, age = first.name.split("_")
    other = "male" if gender == "female" else "female"
    shutil.copytree(first, first.with_name(f"{id_}_{other}_Twin_33"))

    data = faces_training(data_dir=tmp_path / "data")

    assert "labels of one person contradict each other: " + id_ in caplog.text
    assert f"{gender}, {age}" in caplog.text and f"{other}, 33" in caplog.text
    sides = [set(data.index.group[rows].tolist()) for rows in (data.train_rows, data.val_rows)]
    assert not sides[0] & sides[1]
    assert data.class_counts["gender"].sum() == len(
        np.unique(data.index.columns["folder"][data.train_rows])
    )


def test_a_drop_band_leaves_people_out_of_training_and_not_out_of_validation(faces_training):
    usual = faces_training()
    ages = usual.index.values["age"][usual.train_rows]
    band = [int(ages.min()), int(np.median(ages))]
    dropped = faces_training(task=FACES.settings.changed("age", drop=band))
    kept = dropped.index.values["age"][dropped.train_rows]
    assert len(kept) < len(ages) and not ((kept >= band[0]) & (kept <= band[1])).any()
    assert (dropped.val_rows == usual.val_rows).all()
    with pytest.raises(DataError, match=r"heads\.age\.drop: everybody in training is 0 to 120"):
        faces_training(task=FACES.settings.changed("age", drop=[0, 120]))


def test_age_edges_move_the_bins_of_both_sides_and_the_counts_but_not_the_classes(faces_training):
    usual = faces_training()
    moved = faces_training(task=FACES.settings.changed("age", bins=[1, 2, 3, 4, 5]))
    for batch in (next(iter(moved.train)), next(iter(moved.val))):
        assert (batch["age"] == 5).all()
    assert moved.class_counts["age"][:5].sum() == 0
    assert (moved.class_counts["class"] == usual.class_counts["class"]).all()
    assert torch.equal(next(iter(moved.val))["class"], next(iter(usual.val))["class"])


def test_soft_ages_are_for_training_alone(faces_training):
    data = faces_training(task=FACES.settings.changed("age", sigma=4.0))
    soft, sharp = next(iter(data.train))["age"], next(iter(data.val))["age"]
    assert soft.shape == (16, 6) and soft.dtype == torch.float32
    assert torch.allclose(soft.sum(dim=1), torch.ones(16))
    assert sharp.dtype == torch.int64


def test_sampling_shows_each_class_of_a_head_equally_often(faces_training):
    data = faces_training(sampling=Sampling(by="mask"))
    masks = torch.cat([batch["mask"] for batch in data.train])
    assert torch.bincount(masks) == pytest.approx(np.full(3, len(masks) / 3), abs=5)


def test_mixing_brings_the_targets_of_the_other_photo_in_training_alone(training):
    data = training(mixing=Mixing(half_face=1.0))
    batch = next(iter(data.train))
    assert {"lam", "other_kind", "other_colour", "other_class"} <= set(batch)
    assert set(next(iter(data.val))) == {"image", "index", "kind", "colour", "class"}


@pytest.mark.parametrize(
    ("batch", "device", "at_once"),
    [(32, "cuda", 256), (4, "cuda", 32), (512, "cuda", 512), (32, "cpu", 32)],
)
def test_a_gpu_predicts_more_photos_at_once_than_it_trains_on(batch, device, at_once):
    assert batch_of_predictions(batch, torch.device(device)) == at_once


RANKS = """
from pathlib import Path
from tests.data_loader.test_data_loaders import CPU, SHAPES, TRACER, Validation
from data_loader.crops import extractor_from
from data_loader.data_loaders import labeled_photos, setup
from utils.errors import DataError

def said(data_dir, cache, differs):
    index = labeled_photos(Path(data_dir), SHAPES, None)
    if differs and distributed.rank() == 1:
        index.values["kind"][0] = 1 - index.values["kind"][0]
    try:
        setup(
            "train", 32, 16, 0, index=index, extractor=extractor_from(TRACER, 32, CPU),
            cache_dir=Path(cache), validation=Validation(fraction=0.25), augmentation=None, seed=1,
            device=CPU, progress=False,
        )
    except DataError as error:
        return str(error)
"""


def test_a_rank_that_reads_other_labels_than_the_first_is_named_by_all(shapes, cache, in_two_ranks):
    call = f"said({str(shapes)!r}, {str(cache)!r}, "
    assert in_two_ranks(RANKS, f"{call}False)") == ["None", "None"]
    one, other = in_two_ranks(RANKS, f"{call}True)")
    assert one == other and "than rank 0 has are read by: rank 1;" in one


def test_a_loader_process_that_is_no_fork_gives_the_same_photos(training):
    """Nor is any on Windows and macOS, or with the Linux default of Python 3.14."""
    mixing = Mixing(mixup=0.4, cutmix=0.3, half_face=0.3)
    dataset = training(augmentation=AUGMENTATION, mixing=mixing).train.dataset
    sent = pickle.loads(pickle.dumps(dataset))
    for position in range(10):
        assert torch.equal(sent[position]["image"], dataset[position]["image"])


def test_photos_without_a_group_stay_together_and_are_counted(tmp_path, caplog):
    (tmp_path / "t.csv").write_text("path,kind,who\na,1,p\nb,2,\nc,1, \nd,2,q\n")
    source = {"reader": "csv", "table": "t.csv"}
    task = TaskSettings(heads={"kind": {}}, data={"train": source, "group": "who"})
    assert labeled_photos(tmp_path, task, None).group.tolist() == [1, 0, 0, 2]
    assert "2 photos have no who, and so are all on one side" in caplog.text
    caplog.clear()
    labeled_photos(tmp_path, TaskSettings(heads={"kind": {}}, data={"train": source}), None)
    assert not caplog.text
