import pytest

from base.task_settings import TaskSettings
from data_loader.dataset import read_index
from tools.guess_task import guess_task
from utils.errors import DataError


def table(folder, name, header, rows, photos=True):
    folder.mkdir(exist_ok=True)
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")
    for row in rows if photos else ():
        (folder / row[0]).parent.mkdir(parents=True, exist_ok=True)
        (folder / row[0]).touch()


@pytest.mark.parametrize("below", [".", "train"])
def test_what_is_proposed_for_shapes_can_be_read(shapes, below):
    task = guess_task(shapes / below)
    index = read_index(shapes / below, TaskSettings.model_validate(task))
    assert len(index) == 90


def test_classes_with_spaces_are_no_tags(tmp_path):
    towns = ["New York", "Los Angeles", "Paris"]
    table(tmp_path, "t.csv", "file,town", [(f"{n}.jpg", towns[n % 3]) for n in range(12)])
    assert guess_task(tmp_path)["heads"] == {"town": {"type": "classes"}}


def test_the_tags_are_parted_by_what_parts_them(tmp_path):
    tags = ["a|b", "a", "b|c", "c", "a|b|c", "b"]
    table(tmp_path, "t.csv", "file,tags", [(f"{n}.jpg", tags[n % 6]) for n in range(12)])
    assert guess_task(tmp_path)["heads"]["tags"] == {"type": "multilabel", "separator": "|"}


def test_few_numbers_are_classes_and_many_a_number_that_its_bins_cover(tmp_path):
    rows = [(f"{n}.jpg", n % 4, n * 3.7 - 20) for n in range(40)]
    table(tmp_path, "t.csv", "file,Stars,Weight (kg)", rows)
    heads = guess_task(tmp_path)["heads"]
    assert heads["stars"] == {"column": "Stars", "type": "classes"}
    assert (heads["weight_kg"]["type"], heads["weight_kg"]["column"]) == ("number", "Weight (kg)")
    index = read_index(tmp_path, TaskSettings.model_validate(guess_task(tmp_path)))
    assert index.values["weight_kg"].tolist() == [row[2] for row in rows]


def test_a_column_that_says_something_else_of_each_photo_is_not_asked(tmp_path):
    rows = [(f"{n}.jpg", "ab"[n % 2], f"note {n}", f"p{n // 2}") for n in range(10)]
    table(tmp_path, "t.csv", "file,kind,note,patient_id", rows)
    task = guess_task(tmp_path)
    assert list(task["heads"]) == ["kind"] and task["data"]["group"] == "patient_id"
    assert task["data"]["stratify"] == ["kind"]


@pytest.mark.parametrize(
    "column", ["PatientID", "patient id", "환자번호", "환자 ID", "대상자", "Subject-ID", "video"]
)
def test_the_column_that_groups_is_known_by_its_name(tmp_path, column):
    rows = [(f"{n}.jpg", "ab"[n % 2], 1000 + n // 3) for n in range(60)]
    table(tmp_path, "t.csv", f"file,kind,{column}", rows)
    task = guess_task(tmp_path)
    assert list(task["heads"]) == ["kind"] and task["data"]["group"] == column


def test_a_column_that_asks_nothing_and_yet_repeats_groups(tmp_path):
    rows = [(f"{n}.jpg", "ab"[n % 2], f"x{max(n, 3)}") for n in range(12)]
    table(tmp_path, "t.csv", "file,kind,von", rows)
    assert guess_task(tmp_path)["data"]["group"] == "von"


def test_decimal_commas_are_numbers(tmp_path):
    rows = [(f"{n}.jpg", f'"{n},5"') for n in range(20)]
    table(tmp_path, "t.csv", "file,size", rows)
    assert guess_task(tmp_path)["heads"]["size"]["type"] == "number"


@pytest.mark.parametrize("place", ["photos", "archive/img", "some folder"])
def test_photos_of_a_table_are_found_in_any_folder_near_it(tmp_path, place):
    table(
        tmp_path, "t.csv", "file,kind", [(f"{n}.jpg", "ab"[n % 2]) for n in range(8)], photos=False
    )
    (tmp_path / place).mkdir(parents=True)
    for n in range(8):
        (tmp_path / place / f"{n}.jpg").touch()
    task = guess_task(tmp_path)
    assert task["data"]["train"]["root"] == place
    read_index(tmp_path, TaskSettings.model_validate(task))


def test_paths_of_a_table_may_begin_with_a_dot(tmp_path):
    rows = [(f"./a b/{n}.jpg", n % 2) for n in range(8)]
    table(tmp_path, "t.csv", "file,kind", rows)
    assert guess_task(tmp_path)["data"]["train"]["path"] == "file"


def test_a_table_may_lie_a_folder_deeper(tmp_path):
    table(tmp_path / "archive", "t.csv", "file,kind", [(f"{n}.jpg", "ab"[n % 2]) for n in range(8)])
    task = guess_task(tmp_path)
    assert task["data"]["train"]["table"] == "archive/t.csv"
    assert len(read_index(tmp_path, TaskSettings.model_validate(task))) == 8


@pytest.mark.parametrize("root", ["Pets", "Pets/train", "train"])
def test_folders_of_classes_may_lie_deeper_and_so_may_their_photos(tmp_path, root):
    for name in ("cat", "dog"):
        (tmp_path / root / name / "2024").mkdir(parents=True)
        (tmp_path / root / name / "2024" / "1.jpg").touch()
    task = guess_task(tmp_path)
    assert task["data"]["train"]["root"] == root and task["data"]["stratify"] == ["kind"]
    index = read_index(tmp_path, TaskSettings.model_validate(task))
    assert index.task.heads["kind"].classes == ("cat", "dog")


def test_photos_that_nothing_tells_of_are_named(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "1.jpg").touch()
    with pytest.raises(DataError, match=r"holds photos in .*a/b, but neither a table"):
        guess_task(tmp_path)


def test_photos_of_a_table_are_found_in_its_usual_places(tmp_path):
    rows = [(f"{n}.jpg", "ab"[n % 2]) for n in range(8)]
    table(tmp_path, "train.csv", "image,kind", rows, photos=False)
    (tmp_path / "train" / "images").mkdir(parents=True)
    for name, _ in rows:
        (tmp_path / "train" / "images" / name).touch()
    assert guess_task(tmp_path)["data"]["train"]["root"] == "train/images"


def test_folders_of_the_photos_to_predict_are_no_classes(tmp_path):
    for folder in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.jpg").touch()
    data = guess_task(tmp_path)["data"]
    assert data["train"]["root"] == "train" and data["test"]["root"] == "test"


def test_a_folder_without_photos_is_refused(tmp_path):
    with pytest.raises(DataError, match="two folders"):
        guess_task(tmp_path)


def test_columns_in_another_script_are_all_asked(tmp_path):
    rows = [(f"{n}.jpg", "가나"[n % 2], "다라마"[n % 3]) for n in range(12)]
    table(tmp_path, "t.csv", "file,모양,색", rows)
    heads = guess_task(tmp_path)["heads"]
    assert [head["column"] for head in heads.values()] == ["모양", "색"]
    assert [head["title"] for head in heads.values()] == [{"en": "모양"}, {"en": "색"}]
    TaskSettings.model_validate(guess_task(tmp_path))
