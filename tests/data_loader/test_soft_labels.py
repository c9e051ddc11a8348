"""Further tables: weights, soft labels, pseudo-labels, and the leaks that are refused."""

import csv
import shutil

import numpy as np
import pytest
import torch

from base.heads import MISSING
from base.task import load_task
from base.task_settings import TaskSettings
from data_loader.crops import extractor_from
from data_loader.data_loaders import labeled_photos, setup
from data_loader.dataset import read_index
from data_loader.settings import Mixing, Sampling, Tracer, Validation
from data_loader.soft_labels import of_answers, shares_of
from data_loader.split import split
from utils.errors import DataError

FACES = load_task("faces")
FOLDS = [Validation(type="stratified_group_kfold", folds=4, fold=n) for n in range(4)]


def with_further(*sources):
    values = FACES.settings.model_dump()
    values["data"]["further"] = list(sources)
    return TaskSettings.model_validate(values)


@pytest.fixture
def answered(people, tmp_path):
    """``answered(classes, sure)``: a file as test.py writes it, of the test photos of ``people``:
    each photo one of the ``classes`` with the probability ``sure``; and the source that names it.
    """

    def write(classes=18, sure=0.95, column="ImageID", **settings):
        names = sorted(file.name for file in (people / "eval/images").iterdir())
        path = tmp_path / "x.probabilities.csv"
        with open(path, "w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow([column, *(f"p{n}" for n in range(classes))])
            for number, name in enumerate(names):
                share = sure if number % 2 else 0.5
                row = np.full(classes, (1 - share) / (classes - 1))
                row[number % classes] = share
                lines.writerow([name, *(f"{p:.6f}" for p in row)])
        source = {"reader": "probabilities", "table": str(path), "dir": "eval", "root": "images"}
        return with_further(source | settings)

    return write


def train(people, task, tmp_path, **options):
    index = labeled_photos(people, task, None)
    return setup(
        "train", 32, 16, 0, index=index, cache_dir=tmp_path / "crops", seed=1,
        extractor=extractor_from(Tracer(num_workers=1), 32, torch.device("cpu")),
        validation=FOLDS[0], augmentation=None, device=torch.device("cpu"), progress=False,
        **options,
    )  # fmt: skip


def test_without_further_tables_nothing_is_weighted_or_soft(people):
    index = read_index(people, FACES.settings)
    assert (index.further, index.weight, index.soft) == (None, None, {})


def test_sure_answers_of_the_test_photos_become_soft_labels(people, answered):
    index = read_index(people, answered(above=0.9, weight=0.5))
    labeled = read_index(people, FACES.settings)
    further = np.flatnonzero(index.further)
    photos = len(list((people / "eval/images").iterdir()))

    assert 0 < len(further) == photos // 2  # every second one is sure
    assert (index.weight[further] == 0.5).all() and (index.weight[: len(labeled)] == 1).all()
    assert all(index.path(row).is_file() for row in further)
    assert (index.targets(further)["class"] == MISSING).all()
    assert np.isnan(index.soft["class"][: len(labeled)]).all()
    row = index.soft["class"][further[0]]
    assert row.argmax() == 1 and row.sum() == pytest.approx(1)
    assert index.plain_targets(further)["class"][0] == 1
    for name, head in index.task.heads.items():
        assert index.soft[name].shape == (len(index), head.num_classes)
        grouped = head.group(index.soft[name][further])
        assert np.allclose(grouped, index.task.marginals(index.soft["class"][further])[name])


def test_an_answer_is_spread_over_its_bins_as_they_occur():
    counts = {"mask": np.ones(3), "gender": np.ones(2), "age": np.array([3, 1, 1, 1, 2, 0])}
    joint = np.zeros((1, 18))
    joint[0, [0, 1, 2]] = 0.2, 0.5, 0.3  # of the mask worn, male: the three age groups
    found = of_answers(FACES, {"class": joint}, counts)
    assert found["age"][0] == pytest.approx([0.15, 0.05, 0.125, 0.125, 0.25, 0.3])
    assert found["mask"][0] == pytest.approx([1, 0, 0])


def test_columns_of_a_table_are_soft_labels_of_its_head(people, tmp_path):
    shutil.copytree(people, tmp_path / "data")
    names = sorted(file.name for file in (people / "eval/images").iterdir())[:3]
    lines = ["path,mask,gender:male,gender:female", f"{names[0]},normal,0.25,0.75"]
    lines += [f"{names[1]},normal,,", f"{names[2]},mask1,1,0"]
    (tmp_path / "data/eval/more.csv").write_text("\n".join(lines))
    source = {"reader": "csv", "table": "more.csv", "dir": "eval", "root": "images"}
    index = read_index(tmp_path / "data", with_further(source))

    rows = np.flatnonzero(index.further)
    learned = index.learned(rows)
    assert learned["mask"].tolist() == [2, 2, 0]
    assert learned["gender"].tolist() == [[0.25, 0.75], [0, 0], [1, 0]]
    assert learned["age"].tolist() == [MISSING] * 3  # the table has no such column
    everybody = index.learned(np.arange(len(index)))["gender"]
    assert (everybody[0] == shares_of(index.targets(np.array([0]))["gender"], 2)[0]).all()

    (tmp_path / "data/eval/more.csv").write_text("path,gender:male\n" + f"{names[0]},1\n")
    with pytest.raises(DataError, match="soft labels of gender: no column: gender:female"):
        read_index(tmp_path / "data", with_further(source))


@pytest.mark.parametrize("validation", [*FOLDS, Validation(fraction=0.25)])
def test_further_tables_change_no_split_and_validate_nowhere(people, answered, validation):
    plain = split(read_index(people, FACES.settings), validation, seed=3)
    index = read_index(people, answered())
    train_rows, val_rows = split(index, validation, seed=3)
    assert np.array_equal(val_rows, plain[1])
    assert np.array_equal(train_rows[: len(plain[0])], plain[0])
    assert index.further[train_rows[len(plain[0]) :]].all()


def test_a_person_who_validates_is_not_trained_on_by_a_further_table(people, tmp_path):
    shutil.copytree(people, tmp_path / "data")
    labeled = read_index(people, FACES.settings)
    _, val_rows = split(labeled, FOLDS[1], seed=3)
    known = labeled.groups[labeled.group[val_rows[0]]]
    photo = sorted((people / "eval/images").iterdir())
    lines = ["path,person,mask,gender,age", f"{photo[0].name},{known},normal,male,30"]
    lines += [f"{photo[1].name},stranger,normal,male,30"]
    (tmp_path / "data/eval/more.csv").write_text("\n".join(lines))
    source = {"reader": "csv", "table": "more.csv", "dir": "eval", "root": "images"}
    index = read_index(tmp_path / "data", with_further(source))

    train_rows, validated = split(index, FOLDS[1], seed=3)
    assert np.array_equal(validated, val_rows)
    assert index.groups[index.group[train_rows[index.further[train_rows]]]].tolist() == ["stranger"]


def test_batches_carry_weights_and_shares_and_validation_neither(people, answered, tmp_path):
    task = answered(weight=0.5)
    mixing, sampling = Mixing(mixup=0.5), Sampling(by="class", power=0.5)
    data = train(people, task, tmp_path, mixing=mixing, sampling=sampling)
    batch = next(iter(data.train))
    assert batch["photo-weight"].dtype == torch.float32 and "other_photo-weight" in batch
    assert batch["age"].shape == (16, 6) and batch["class"].shape == (16, 18)
    assert torch.allclose(batch["age"].sum(dim=1), torch.ones(16), atol=1e-4)
    assert "photo-weight" not in next(iter(data.val))
    assert not data.index.further[data.val_rows].any()


def test_a_pseudo_label_of_a_photo_that_validates_is_refused(people, answered, tmp_path):
    shutil.copytree(people, tmp_path / "data")
    labeled = read_index(people, FACES.settings)
    twin = sorted((tmp_path / "data/eval/images").iterdir())[3]
    shutil.copy(labeled.path(2), twin)
    with pytest.raises(DataError, match=f"{twin.name} .as {labeled.files[2]}.; leave") as error:
        train(tmp_path / "data", answered(), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"classes": 8}, "not of the task 'faces', whose probabilities are p0 to p17"),
        ({"classes": 19}, "not of the task 'faces'"),
        ({"column": "image"}, "no column 'ImageID'"),
        (
            {"above": 0.99},
            "none of .* photos is answered with a probability of 0.99 or more .*; lower above, or"
            " answer with the temperatures of tools.tune_decoding",
        ),
        ({"dir": "."}, "no such folder"),
    ],
)
def test_probabilities_that_do_not_fit_are_refused_in_a_line(people, answered, options, reason):
    with pytest.raises(DataError, match=reason) as error:
        read_index(people, answered(**options))
    assert "\n" not in str(error.value)


def test_rows_that_are_no_probabilities_are_refused(people, answered):
    task = answered()
    table = task.data.further[0].table
    with open(table) as file:
        text = file.read().replace("0.500000", "0.700000", 1)
    with open(table, "w") as file:
        file.write(text)
    with pytest.raises(DataError, match="no probabilities that add up to 1 of: "):
        read_index(people, task)
