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
