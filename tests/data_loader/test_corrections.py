from unicodedata import normalize

import numpy as np
import pytest

from base.task import load_task
from data_loader.corrections import NOTHING_TO_SAY, apply_corrections, read_corrections
from data_loader.data_loaders import PROJECT
from data_loader.dataset import read_index
from utils.errors import DataError

FACES = load_task("faces")

PHOTOS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")
HEADER = "key,field,value,tier,sources,note\n"

COMPETITION = PROJECT / FACES.settings.data.corrections["competition"]


@pytest.fixture
def index(tmp_path):
    """Four folders of three people, named as in the competition."""
    for folder in (
        "000020_female_Asian_50",
        "001498-1_male_Asian_23",
        "003397_female_Asian_19",
        "003397_female_Asian_20",
    ):
        place = tmp_path / "data" / "train" / "images" / folder
        place.mkdir(parents=True)
        for photo in PHOTOS:
            (place / f"{photo}.JPG").touch()
    return read_index(tmp_path / "data", FACES.settings)


@pytest.fixture
def table(tmp_path):
    def write(lines, header=HEADER):
        path = tmp_path / "corrections.csv"
        path.write_text(header + lines, encoding="utf-8")
        return path

    return write


def label(index, field, key):
    """The codes that ``field`` has on the photos whose path starts with ``key``."""
    return set(index.values[field][np.char.startswith(index.files, key)].tolist())


def test_a_person_id_corrects_all_photos_of_that_person_and_no_others(index, table):
    corrected, report = apply_corrections(index, table("001498-1,gender,female,sure,9,\n"))

    assert label(corrected, "gender", "001498-1") == {1}
    assert (corrected.values["gender"] != index.values["gender"]).sum() == 7
    assert (report.applied, report.relabeled) == (1, 7)


def test_two_photos_that_were_swapped_are_mended_by_two_lines(index, table):
    lines = "000020/incorrect_mask,mask,not wear,sure,12,\n000020/normal,mask,incorrect,sure,12,\n"

    corrected, report = apply_corrections(index, table(lines))

    assert label(corrected, "mask", "000020_female_Asian_50/incorrect_mask") == {2}
    assert label(corrected, "mask", "000020_female_Asian_50/normal") == {1}
    assert (report.applied, report.relabeled) == (2, 2)


def test_a_path_corrects_one_photo_of_an_id_with_two_folders(index, table):
    lines = "003397_female_Asian_20/mask1.JPG,age,30,sure,1,\n"

    corrected, _ = apply_corrections(index, table(lines))

    assert label(corrected, "age", "003397_female_Asian_20/mask1") == {30}
    assert label(corrected, "age", "003397_female_Asian_19") == {19}


def test_a_key_fits_in_any_unicode_form(tmp_path, table):
    place = tmp_path / "data" / "train" / "images" / normalize("NFD", "가é_female_Asian_50")
    place.mkdir(parents=True)
    (place / "normal.jpg").touch()
    index = read_index(tmp_path / "data", FACES.settings)

    for key in ("가é", "가é/normal", "가é_female_Asian_50/normal.jpg"):
        for form in ("NFC", "NFD"):
            _, report = apply_corrections(index, table(f"{normalize(form, key)},age,60,sure,1,\n"))
            assert report.applied == 1


def test_a_drop_takes_the_photos_out(index, table):
    lines = "003397,drop,,disputed,1,\n000020/normal,drop,,disputed,1,\n"

    corrected, report = apply_corrections(index, table(lines), tiers=["disputed"])

    assert len(corrected) == len(index) - 15
    assert not label(corrected, "mask", "003397")
    assert report.dropped == 15


def test_only_the_chosen_tiers_are_applied(index, table):
    lines = "000020,age,60,disputed,1,\n001498-1,age,60,sure,1,\n"

    corrected, _ = apply_corrections(index, table(lines), tiers=["sure", "likely"])

    assert label(corrected, "age", "000020") == {50}
    assert label(corrected, "age", "001498-1") == {60}


def test_the_report_counts_what_was_right_and_lists_who_is_unknown(index, table):
    lines = "000020,gender,female,sure,1,\n999999,gender,male,sure,1,\n000020/mask9,age,3,sure,1,\n"

    corrected, report = apply_corrections(index, table(lines))

    assert (corrected.values["gender"] == index.values["gender"]).all()
    assert (report.applied, report.already_right) == (0, 1)
    assert report.unknown == ("000020/mask9", "999999")


def test_the_index_that_was_given_stays_as_it_is(index, table):
    before = index.values["gender"].copy()

    apply_corrections(index, table("000020,gender,male,sure,1,\n"))

    assert (index.values["gender"] == before).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("000020,sex,male,sure,1,\n", "line 3: no field 'sex'"),
        ("000020,gendr,male,sure,1,\n", "line 3: no field 'gendr'.*'gender'"),
        ("000020,gender,man,sure,1,\n", "line 3: gender 'man'.*'male'"),
        ("000020,mask,worn,sure,1,\n", "line 3: mask 'worn'"),
        ("000020,age,<30,sure,1,\n", "line 3: age '<30'; write a number from 0 to 120"),
        ("000020,age,121,sure,1,\n", "line 3: age '121'"),
        ("000020,drop,yes,sure,1,\n", "line 3: drop 'yes'.* empty"),
        ("000020,gender,male,shure,1,\n", "line 3: no tier 'shure'.*'sure'"),
        (",gender,male,sure,1,\n", "line 3 has no key"),
        ("001498-1,gender,male,sure,1,\n", "lines 2 and 3 contradict each other"),
    ],
)
def test_a_wrong_line_is_named(index, table, line, message):
    good = "001498-1,gender,female,sure,1,\n"

    with pytest.raises(DataError, match=message):
        apply_corrections(index, table(good + line))


def test_a_missing_column_or_table_is_named(index, table, tmp_path):
    with pytest.raises(DataError, match="no column 'tier'"):
        apply_corrections(index, table("000020,gender,male\n", header="key,field,value\n"))
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        apply_corrections(index, tmp_path / "nowhere.csv")


def test_the_shipped_table_can_be_read_and_mends_the_widely_known_errors(index):
    corrections = read_corrections(COMPETITION, FACES)
    corrected, report = apply_corrections(index, COMPETITION)

    assert {correction.tier for correction in corrections} == {"sure", "likely", "disputed"}
    assert label(corrected, "gender", "001498-1") == {1}
    assert label(corrected, "mask", "000020_female_Asian_50/normal") == {1}
    assert report.applied == 3
    assert report.unknown == ()


@pytest.fixture
def strangers(tmp_path):
    """Other people's photos, with ids that the competition's table has, too."""
    for folder in ("000020_male_Asian_50", "006359_female_Asian_31", "000010_male_Asian_58"):
        place = tmp_path / "strangers" / "train" / "images" / folder
        place.mkdir(parents=True)
        for photo in PHOTOS:
            (place / f"{photo}.jpg").touch()
    return read_index(tmp_path / "strangers", FACES.settings)


def test_the_shipped_table_leaves_strangers_with_the_same_ids_alone(strangers):
    corrected, report = apply_corrections(strangers, COMPETITION, ["sure", "likely", "disputed"])

    assert len(corrected) == len(strangers)
    for field in ("mask", "gender", "age"):
        assert (corrected.values[field] == strangers.values[field]).all()
    assert report == NOTHING_TO_SAY


def test_every_line_of_the_shipped_table_says_what_the_label_was():
    corrections = read_corrections(COMPETITION, FACES)
    was = {correction.key.split("/")[0]: correction.was for correction in corrections}

    assert len(corrections) == 48 and len(was) == 45
    said = {"000020": (1, 50), "001498-1": (0, 23), "003399": (1, 19)}
    assert all(was[key] == {"gender": g, "age": age} for key, (g, age) in said.items())
    assert all(c.value != c.was[c.field] for c in corrections if c.field in ("gender", "age"))


def test_a_line_with_was_goes_by_the_folder_even_when_an_earlier_table_has_changed_it(index, table):
    header = "key,was,field,value,tier\n"
    mine, _ = apply_corrections(index, table("001498-1,,gender,female,sure\n", header))

    corrected, report = apply_corrections(mine, table("001498-1,m23,age,30,sure\n", header))

    assert label(corrected, "age", "001498-1") == {30}
    assert report.applied == 1


def test_was_tells_two_folders_of_one_person_apart(index, table):
    lines = "003397,F19,age,29,sure\n003397,F20,age,60,sure\n003397,F21,drop,,sure\n"

    corrected, _ = apply_corrections(index, table(lines, "key,was,field,value,tier\n"))

    assert label(corrected, "age", "003397_female_Asian_19") == {29}
    assert label(corrected, "age", "003397_female_Asian_20") == {60}


def test_a_wrong_was_is_named(index, table):
    for was in ("woman 50", "50", "F"):
        with pytest.raises(DataError, match=f"line 2: was '{was}'; write what the data said"):
            apply_corrections(
                index, table(f"000020,{was},age,60,sure\n", "key,was,field,value,tier\n")
            )
    lines = "000020,,age,60,sure\n000020,F50,age,61,sure\n"
    with pytest.raises(DataError, match="lines 2 and 3 contradict"):
        apply_corrections(index, table(lines, "key,was,field,value,tier\n"))


def test_where_a_table_has_the_column_apply_only_lines_with_yes_count(index, table):
    header = "apply,key,field,value,tier\n"
    lines = "yes,000020,gender,male,sure\n,001498-1,gender,female,sure\nno,003397,drop,,sure\n"

    corrected, report = apply_corrections(index, table(lines, header))

    assert label(corrected, "gender", "000020") == {0}
    assert (report.applied, len(corrected)) == (1, len(index))
    with pytest.raises(DataError, match="line 2: apply 'perhaps'; write yes"):
        apply_corrections(index, table("perhaps,000020,drop,,sure\n", header))


def test_a_table_may_say_the_same_many_thousand_times(index, table):
    line = "000020,gender,male,sure,1,\n"
    path = table(line * 20_000 + line.replace("male", "female"))
    with pytest.raises(DataError, match=r"lines 2 and 20002 contradict"):
        apply_corrections(index, path)
