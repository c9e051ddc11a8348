import os
import sys
from dataclasses import replace
from unicodedata import normalize

import numpy as np
import pytest

from base.task import load_task
from base.task_settings import TaskSettings
from data_loader.dataset import class_counts, read_index
from utils.errors import DataError

FACES = load_task("faces")

PHOTOS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")


def add_person(data_dir, folder, photos=PHOTOS, ending=".jpg"):
    place = data_dir / "train" / "images" / folder
    place.mkdir(parents=True)
    for photo in photos:
        (place / f"{photo}{ending}").touch()
    return place


def scan(data_dir):
    return read_index(data_dir, FACES.settings)


def all_rows(index):
    return np.arange(len(index))


class TestTraining:
    @pytest.mark.parametrize("column", ["mask", "gender", "age"])
    def test_a_label_that_is_none_is_refused_and_a_missing_one_is_not_counted(
        self, tmp_path, column
    ):
        add_person(tmp_path, "000001_female_Asian_45")
        index = scan(tmp_path)

        def third(value):
            values = {column: np.where(np.arange(7) == 2, value, index.values[column])}
            return replace(index, values={**index.values, **values})

        with pytest.raises(DataError, match=f"{column}: label -2 at position 2"):
            class_counts(third(-2), all_rows(index))
        lacking = third(np.nan if column == "age" else -1)
        assert lacking.truth(all_rows(index))["class"].tolist().count(-1) == 1
        assert class_counts(lacking, all_rows(index))["class"].sum() == 6

    def test_labels_come_from_folder_and_file_names(self, tmp_path):
        add_person(tmp_path, "000001_female_Asian_45")
        add_person(tmp_path, "000002_male_Asian_60")

        index = scan(tmp_path)

        assert len(index) == 14
        assert index.files[0] == "000001_female_Asian_45/incorrect_mask.jpg"
        assert index.path(0).is_file()
        targets = index.targets(np.array([0, 1, 6, 13]))
        assert targets["mask"].tolist() == [1, 0, 2, 2]
        assert targets["gender"].tolist() == [1, 1, 1, 0]
        assert targets["age"].tolist() == [3, 3, 3, 5]
        assert targets["class"].tolist() == [10, 4, 16, 14]
        assert all(codes.dtype == np.int64 for codes in targets.values())

    def test_moved_bins_change_the_age_head_and_not_the_classes(self, tmp_path):
        add_person(tmp_path, "000001_female_Asian_58")
        settings = FACES.settings.changed("age", bins=[20, 30, 40, 50, 58])
        index = read_index(tmp_path, settings)

        moved = index.targets(all_rows(index))

        assert set(moved["age"]) == {5}
        assert set(moved["class"]) == {4, 10, 16}

    def test_ids_are_text_and_a_suffix_is_another_person(self, tmp_path):
        add_person(tmp_path, "001498_female_Asian_23")
        add_person(tmp_path, "001498-1_male_Asian_50")

        index = scan(tmp_path)

        assert index.groups.tolist() == ["001498", "001498-1"]
        assert len(set(index.group)) == 2

    def test_one_id_in_two_folders_is_one_person_with_two_ages(self, tmp_path):
        add_person(tmp_path, "003397_female_Asian_19")
        add_person(tmp_path, "003397_female_Asian_20")

        index = scan(tmp_path)

        assert index.groups.tolist() == ["003397"]
        assert set(index.group) == {0}
        assert len(set(index.columns["folder"])) == 2
        assert set(index.values["age"]) == {19, 20}

    def test_hidden_files_and_folders_are_passed_over(self, tmp_path):
        place = add_person(tmp_path, "000001_female_Asian_45")
        add_person(tmp_path, "._000002_male_Asian_20")
        for name in ("._mask1.jpg", ".DS_Store", "Thumbs.db"):
            (place / name).touch()
        (place.parent / ".DS_Store").touch()

        assert len(scan(tmp_path)) == 7

    @pytest.mark.parametrize("ending", [".jpeg", ".PNG", ".JPG", ".Jpg", ".webp", ".HEIC", ".tif"])
    def test_endings_are_accepted_in_any_case(self, tmp_path, ending):
        add_person(tmp_path, "000001_female_Asian_45", ending=ending)

        assert scan(tmp_path).values["mask"].tolist() == [1, 0, 0, 0, 0, 0, 2]

    def test_underscores_and_dots_in_parent_folders_do_not_confuse(self, tmp_path):
        data_dir = tmp_path / "my_data.v1_male_{x}_20" / "a.b_c"
        add_person(data_dir, "000001_female_Asian_45")

        index = scan(data_dir)

        assert set(index.values["age"]) == {45}
        assert index.path(6).name == "normal.jpg"

    def test_links_are_followed(self, tmp_path):
        place = add_person(tmp_path / "real", "000001_female_Asian_45")
        images = tmp_path / "linked" / "train" / "images"
        images.mkdir(parents=True)
        os.symlink(place, images / "000009_male_Asian_30", target_is_directory=True)

        assert set(scan(tmp_path / "linked").values["age"]) == {30}

    def test_the_order_does_not_depend_on_when_files_were_made(self, tmp_path):
        folders = ["000003_male_Asian_20", "000001_female_Asian_45", "000002_male_Asian_60"]
        for folder in folders:
            add_person(tmp_path / "a", folder)
        for folder in reversed(folders):
            add_person(tmp_path / "b", folder, photos=PHOTOS[::-1])

        first, second = scan(tmp_path / "a"), scan(tmp_path / "b")

        assert first.files.tolist() == second.files.tolist() == sorted(first.files.tolist())

    def test_a_folder_with_photos_missing_is_used_and_named(self, tmp_path):
        add_person(tmp_path, "000001_female_Asian_45", photos=("mask1", "normal"))
        add_person(tmp_path, "000002_female_Asian_45")

        index = scan(tmp_path)

        assert len(index) == 9
        assert index.incomplete() == {"folder": ["000001_female_Asian_45"]}

    def test_a_subset_keeps_labels_and_files_together(self, tmp_path):
        add_person(tmp_path, "000001_female_Asian_45")
        add_person(tmp_path, "000002_male_Asian_19")

        part = scan(tmp_path).subset(np.array([13, 0]))

        assert part.files.tolist() == [
            "000002_male_Asian_19/normal.jpg",
            "000001_female_Asian_45/incorrect_mask.jpg",
        ]
        assert part.values["age"].tolist() == [19, 45]
        assert part.groups[part.group].tolist() == ["000002", "000001"]
        assert part.paths() == [part.path(0), part.path(1)]


class TestWrongTraining:
    @pytest.mark.parametrize(
        ("folder", "message"),
        [
            ("000001_female_45", "<person>_<gender>_*_<age>"),
            ("000001_female_Asian_old", "<person>_<gender>_*_<age>"),
            ("000001_female_Asian_45_copy", "<person>_<gender>_*_<age>"),
            ("000001_woman_Asian_45", "male or female"),
            ("000001_female_Asian_121", "120"),
        ],
    )
    def test_a_folder_name_off_the_pattern_is_named(self, tmp_path, folder, message):
        add_person(tmp_path, "000002_male_Asian_20")
        add_person(tmp_path, folder)

        with pytest.raises(DataError, match=folder) as caught:
            scan(tmp_path)

        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("name", ["mask6.jpg", "mask1.svg", "notes.txt", "selfie.jpg"])
    def test_an_unexpected_file_is_named(self, tmp_path, name):
        place = add_person(tmp_path, "000001_female_Asian_45")
        (place / name).touch()

        with pytest.raises(DataError, match=f"000001_female_Asian_45/{name}"):
            scan(tmp_path)

    @pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
    def test_a_name_that_is_no_text_is_refused_before_it_spoils_tables(self, tmp_path):
        place = add_person(tmp_path, "000001_female_Asian_45")
        os.rename(place, os.fsencode(place.parent) + b"/000001_female_\xc7\xd1_45")

        with pytest.raises(DataError, match=r"not UTF-8: 000001_female_.*convmv"):
            scan(tmp_path)

    def test_an_id_in_two_unicode_forms_is_one_person(self, tmp_path):
        for form in ("NFC", "NFD"):
            add_person(tmp_path, f"{normalize(form, '가é')}_female_{form}_45")

        assert scan(tmp_path).groups.tolist() == [normalize("NFC", "가é")]

    def test_a_group_with_blanks_around_it_is_the_same_one(self, tmp_path):
        (tmp_path / "t.csv").write_text("path,kind,who\na,1,p\nb,2,p \nc,1,q\n")
        data = {"train": {"reader": "csv", "table": "t.csv"}, "group": "who"}
        task = TaskSettings(heads={"kind": {}}, data=data)
        assert read_index(tmp_path, task).group.tolist() == [0, 0, 1]

    def test_ids_with_several_genders_or_ages_are_named(self, tmp_path):
        for folder in ("1_male_A_20", "1_female_A_57", "2_male_A_20", "2_male_B_20", "3_male_A_9"):
            add_person(tmp_path, folder)

        assert scan(tmp_path).conflicting_groups() == ["1 (female, 57; male, 20)"]

    def test_of_many_wrong_names_three_are_shown_and_all_are_counted(self, tmp_path):
        for number in range(5):
            add_person(tmp_path, f"person{number}")

        with pytest.raises(DataError, match=r"person0, person1, person2, … \(5 in all\)"):
            scan(tmp_path)

    def test_the_same_photo_with_two_endings_is_refused(self, tmp_path):
        place = add_person(tmp_path, "000001_female_Asian_45")
        (place / "mask1.png").touch()

        with pytest.raises(DataError, match=r"000001_female_Asian_45/mask1"):
            scan(tmp_path)

    def test_a_missing_folder_says_where_it_looked_and_what_to_do(self, tmp_path):
        with pytest.raises(DataError, match=r"train.images: no such folder; .*data_dir"):
            scan(tmp_path)

    def test_a_folder_without_photos_is_refused(self, tmp_path):
        (tmp_path / "train" / "images" / "000001_female_Asian_45").mkdir(parents=True)

        with pytest.raises(DataError, match="no images"):
            scan(tmp_path)

    def test_a_file_among_the_folders_is_refused(self, tmp_path):
        place = add_person(tmp_path, "000001_female_Asian_45")
        (place.parent / "000002_female_Asian_45").touch()

        with pytest.raises(DataError, match="000002_female_Asian_45"):
            scan(tmp_path)


class TestCounts:
    def test_people_are_counted_once_however_many_photos_they_have(self, tmp_path):
        add_person(tmp_path, "000001_female_Asian_45")
        add_person(tmp_path, "000002_male_Asian_60", photos=("normal",))
        index = scan(tmp_path)

        counts = class_counts(index, all_rows(index))

        assert counts["mask"].tolist() == [5, 1, 2]
        assert counts["gender"].tolist() == [1, 1]
        assert counts["age"].tolist() == [0, 0, 0, 1, 0, 1]
        assert counts["class"].sum() == 8

    def test_two_folders_of_one_id_count_as_two_so_that_the_competitions_counts_come_out(
        self, tmp_path
    ):
        add_person(tmp_path, "003397_female_Asian_19")
        add_person(tmp_path, "003397_female_Asian_20")
        index = scan(tmp_path)

        assert class_counts(index, all_rows(index))["age"].tolist() == [1, 1, 0, 0, 0, 0]
