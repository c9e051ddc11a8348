"""configs/tasks/faces.json says what the competition says."""

import numpy as np
import pytest
import torch

from base.task import load_task

FACES = load_task("faces")
AGE = FACES.heads["age"]


def encode(mask, gender, age):
    return FACES.encode({"mask": mask, "gender": gender, "age": age})


def test_the_eighteen_classes_are_numbered_as_the_competition_numbers_them():
    assert FACES.num_classes == 18
    assert encode(mask=0, gender=0, age=0) == 0
    assert encode(mask=0, gender=1, age=1) == 4
    assert encode(mask=1, gender=0, age=2) == 8
    assert encode(mask=2, gender=1, age=2) == 17


def test_decoding_a_class_gives_back_what_was_encoded():
    seen = {tuple(FACES.decode(cls).values()) for cls in range(18)}
    assert len(seen) == 18
    assert [encode(**FACES.decode(cls)) for cls in range(18)] == list(range(18))


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_arrays_and_tensors_are_encoded_like_single_numbers(make):
    classes = make(list(range(18)))
    decoded = FACES.decode(classes)
    assert type(decoded["mask"]) is type(classes)
    for row in range(18):
        assert {head: int(codes[row]) for head, codes in decoded.items()} == FACES.decode(row)
    assert FACES.encode(decoded).tolist() == list(range(18))


@pytest.mark.parametrize(
    ("years", "bin_", "group"),
    [
        (0, 0, 0),
        (19, 0, 0),
        (20, 1, 0),
        (29, 1, 0),
        (30, 2, 1),
        (39, 2, 1),
        (40, 3, 1),
        (50, 4, 1),
        (59, 4, 1),
        (60, 5, 2),
        (120, 5, 2),
    ],
)
def test_ages_fall_into_the_right_bin_and_group(years, bin_, group):
    values = np.array([float(years)])
    assert (AGE.class_of(values)[0], AGE.answer_of(values)[0]) == (bin_, group)


def test_the_groups_of_the_bins_agree_with_the_groups_at_every_age():
    years = np.arange(121.0)
    assert np.array(AGE.group_of)[AGE.class_of(years)].tolist() == AGE.answer_of(years).tolist()


def test_every_head_has_a_name_for_each_of_its_codes_in_both_languages():
    for language in ("en", "ko"):
        sizes = {name: len(head.class_names(language)) for name, head in FACES.heads.items()}
        assert sizes == {"mask": 3, "gender": 2, "age": 6}
        assert len(AGE.answer_names(language)) == 3
    assert AGE.class_names("ko") != AGE.class_names("en")


def test_class_names_are_words_and_all_different():
    assert FACES.class_name(4) == "mask worn, female, 30-59"
    assert FACES.class_name(17, "ko") == "마스크 미착용, 여성, 60세 이상"
    for language in ("en", "ko"):
        assert len({FACES.class_name(cls, language) for cls in range(18)}) == 18
