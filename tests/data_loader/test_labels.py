import numpy as np
import pytest
import torch

from data_loader.labels import (
    AGE_BINS,
    AGE_FOLD,
    HEADS,
    NAMES,
    NUM_CLASSES,
    age_bin,
    age_group,
    class_name,
    decode_class,
    encode_class,
    fold_age,
)


def test_the_eighteen_classes_are_numbered_as_the_competition_numbers_them():
    assert NUM_CLASSES == 18
    assert encode_class(mask=0, gender=0, age_group=0) == 0
    assert encode_class(mask=0, gender=1, age_group=1) == 4
    assert encode_class(mask=1, gender=0, age_group=2) == 8
    assert encode_class(mask=2, gender=1, age_group=2) == 17


def test_decoding_a_class_gives_back_what_was_encoded():
    seen = {decode_class(cls) for cls in range(NUM_CLASSES)}

    assert len(seen) == NUM_CLASSES
    assert [encode_class(*decode_class(cls)) for cls in range(NUM_CLASSES)] == list(range(18))


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_arrays_and_tensors_are_encoded_like_single_numbers(make):
    classes = make(list(range(NUM_CLASSES)))
    mask, gender, group = decode_class(classes)

    assert type(mask) is type(classes)
    assert [tuple(map(int, answer)) for answer in zip(mask, gender, group, strict=True)] == [
        decode_class(cls) for cls in range(NUM_CLASSES)
    ]
    assert encode_class(mask, gender, group).tolist() == list(range(NUM_CLASSES))


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
    assert (age_bin(years), age_group(years)) == (bin_, group)


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_folding_the_bins_agrees_with_the_groups_at_every_age(make):
    years = make(list(range(121)))

    assert fold_age(age_bin(years)).tolist() == age_group(years).tolist()
    assert fold_age(make(list(range(6)))).tolist() == list(AGE_FOLD)


def test_every_head_has_a_name_for_each_of_its_codes_in_both_languages():
    for names in NAMES.values():
        assert {head: len(names[head]) for head in HEADS} == HEADS
        assert len(names["age_group"]) == 3
    assert len(AGE_BINS) == 6


def test_class_names_are_words_and_all_different():
    assert class_name(4) == "mask worn, female, 30-59"
    assert class_name(17, "ko") == "마스크 미착용, 여성, 60세 이상"
    for language in NAMES:
        assert len({class_name(cls, language) for cls in range(NUM_CLASSES)}) == NUM_CLASSES
