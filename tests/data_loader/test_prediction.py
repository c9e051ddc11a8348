"""The photos that are to be predicted, and their true answers."""

from unicodedata import normalize

import numpy as np
import pytest

from base.task import Task, load_task
from base.task_settings import TaskSettings
from data_loader.prediction import eval_photos, read_answers, scan_folder
from data_loader.readers import read_table
from utils.errors import DataError

FACES = load_task("faces")


def add_eval(info_dir, table, photos=("a.jpg", "b.jpg")):
    (info_dir / "images").mkdir()
    for photo in photos:
        (info_dir / "images" / photo).touch()
    (info_dir / "info.csv").write_text(table, encoding="utf-8")
    return info_dir


def scan_eval(info_dir, must_exist=True):
    return eval_photos("nowhere", FACES.settings, info_dir, must_exist)


class TestEvaluation:
    def test_ids_keep_the_order_and_the_text_of_the_table(self, tmp_path):
        photos = ("NA", "001", "b c.jpg", "ü.png")
        add_eval(tmp_path, "\ufeffImageID,ans\n001,0\nNA,0\nü.png,0\n\nb c.jpg,0\n", photos)

        listed = scan_eval(tmp_path)

        assert listed.files.tolist() == ["001", "NA", "ü.png", "b c.jpg"]
        assert all(path.is_file() for path in listed.paths())

    def test_the_answer_column_is_not_needed(self, tmp_path):
        assert len(scan_eval(add_eval(tmp_path, "ImageID\na.jpg\nb.jpg\n"))) == 2

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("ImageId,ans\na.jpg,0\n", "no column 'ImageID'.*'ImageId'"),
            ("", "empty"),
            ("ImageID,ans\n", "no rows"),
            ("ImageID,ans\na.jpg,0\nb.jpg,0\na.jpg,0\n", r"lines 2 and 4 both list a\.jpg"),
            (
                "ImageID,ans\na.jpg,0\nc.jpg,0\n",
                r"listed in info\.csv, but not there: c\.jpg",
            ),
            ("ans,ImageID\n0\n", "line 2 has no ImageID"),
        ],
    )
    def test_a_wrong_table_is_refused(self, tmp_path, table, message):
        with pytest.raises(DataError, match=message):
            scan_eval(add_eval(tmp_path, table))

    def test_a_missing_table_is_named(self, tmp_path):
        with pytest.raises(DataError, match=r"info\.csv: no such file; .*info_dir"):
            scan_eval(tmp_path)

    def test_a_table_that_is_not_text_is_refused(self, tmp_path):
        (tmp_path / "info.csv").write_bytes(b"\xff\xd8\xff\xe0\x00")

        with pytest.raises(DataError, match="not a text file"):
            read_table(tmp_path / "info.csv", ("ImageID",))

    def test_a_photo_is_found_by_its_name_in_another_unicode_form(self, tmp_path):
        table, disk = normalize("NFC", "가é.jpg"), normalize("NFD", "가é.jpg")
        add_eval(tmp_path, f"ImageID\n{table}\nb.jpg\n", (disk, "b.jpg"))

        for listed in (scan_eval(tmp_path), scan_eval(tmp_path, must_exist=False)):
            assert listed.files.tolist() == [table, "b.jpg"]
            assert listed.paths() == [tmp_path / "images" / disk, tmp_path / "images" / "b.jpg"]

    def test_several_unicode_forms_of_a_listed_name_are_refused_with_the_reason(self, tmp_path):
        name = "é가.jpg"
        mixed = normalize("NFC", "é") + normalize("NFD", "가") + ".jpg"
        add_eval(tmp_path, f"ImageID\n{normalize('NFC', name)}\n", (normalize("NFD", name), mixed))

        with pytest.raises(DataError, match=r"info\.csv: .* 2 names that differ in .*Unicode form"):
            scan_eval(tmp_path)

    def test_any_folder_of_photos_can_be_listed(self, tmp_path):
        for name in ("b.JPG", "a/c.png", "a/._c.png", ".hidden/d.jpg", "notes.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()

        assert scan_folder(tmp_path).files.tolist() == ["a/c.png", "b.JPG"]

    def test_what_of_a_folder_is_left_out_is_counted_and_named(self, tmp_path, caplog):
        for name in ("a.jpg", "b.HEIC", "c.webp", ".hidden"):
            (tmp_path / name).touch()
        assert len(scan_folder(tmp_path)) == 3 and not caplog.records
        for name in ("film.mov", "notes.txt", "x.svg", "z.raw"):
            (tmp_path / name).touch()

        assert len(scan_folder(tmp_path)) == 3

        (said,) = caplog.messages
        assert "4 files left out" in said and "film.mov, notes.txt, x.svg, …" in said

    def test_a_folder_without_photos_or_no_folder_is_refused(self, tmp_path):
        with pytest.raises(DataError, match="no images"):
            scan_folder(tmp_path)
        with pytest.raises(DataError, match="no such folder"):
            scan_folder(tmp_path / "nowhere")


class TestAnswers:
    IDS = np.array(["a.jpg", "b.jpg"])

    def test_they_are_found_by_name_in_another_unicode_form(self, tmp_path):
        table = tmp_path / "answers.csv"
        table.write_text(f"ImageID,ans\n{normalize('NFC', 'é.jpg')},3\nb.jpg,1\n", encoding="utf-8")
        ids = np.array(["b.jpg", normalize("NFD", "é.jpg")])
        assert read_answers(table, ids, FACES)["class"].tolist() == [1, 3]

    def test_answers_come_in_the_order_of_the_ids(self, tmp_path):
        table = tmp_path / "answers.csv"
        table.write_text("ImageID,ans\nb.jpg,17\na.jpg,0\n")

        answers = read_answers(table, self.IDS, FACES)
        assert answers["class"].tolist() == [0, 17]
        assert {head: codes.tolist() for head, codes in answers.items() if head != "class"} == {
            "mask": [0, 2], "gender": [0, 1], "age": [0, 2],
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("ImageID,ans\na.jpg,0\n", r"no answer for: b\.jpg"),
            ("ImageID,ans\na.jpg,0\nb.jpg,1\nc.jpg,2\n", r"not predicted: c\.jpg"),
            ("ImageID,ans\na.jpg,0\nb.jpg,18\n", "line 3: ans '18' .*0 to 17"),
            ("ImageID,ans\na.jpg,0\nb.jpg,\n", "line 3: ans ''"),
            ("ImageID\na.jpg\nb.jpg\n", "no column 'ans'"),
            ("ImageID,ans\n", "no rows; list one photo a row"),
        ],
    )
    def test_wrong_answers_are_refused(self, tmp_path, table, message):
        (tmp_path / "answers.csv").write_text(table)

        with pytest.raises(DataError, match=message):
            read_answers(tmp_path / "answers.csv", self.IDS, FACES)


@pytest.mark.parametrize("column", ["folder", "kind"])
def test_answers_of_folders_may_be_called_as_the_training_has_them_or_as_test_py_writes_them(
    tmp_path, column
):
    settings = {"heads": {"kind": {"column": "folder", "classes": ["cat", "dog"]}}}
    task = Task(TaskSettings.model_validate({"name": "pets", **settings}))
    (tmp_path / "answers.csv").write_text(f"image,{column}\na.jpg,dog\nb.jpg,cat\n")
    answers = read_answers(tmp_path / "answers.csv", np.array(["a.jpg", "b.jpg"]), task)
    assert answers["kind"].tolist() == [1, 0]


def test_the_table_of_the_photos_has_their_answers_however_it_spells_their_paths(tmp_path):
    table, paths = tmp_path / "t.csv", (".\\a b\\x.jpg", f"{tmp_path}/y.jpg", " z.jpg ")
    table.write_text("path,kind\n" + "".join(f"{each},{n}\n" for n, each in enumerate(paths)))
    source = {"reader": "csv", "table": "t.csv"}
    heads = {"kind": {"classes": ["0", "1", "2"]}}
    settings = TaskSettings(heads=heads, data={"train": source, "test": source})
    photos = eval_photos(tmp_path, settings, None, must_exist=False)
    answers = read_answers(table, photos.files, Task(settings), photos.root)
    assert answers["kind"].tolist() == [0, 1, 2]


def test_answers_are_those_of_the_column_that_the_task_names(tmp_path):
    head = {"column": "age_checked", "classes": ["young", "old"]}
    task = Task(TaskSettings.model_validate({"name": "ages", "heads": {"age": head}}))
    (tmp_path / "answers.csv").write_text("image,age,age_checked\na.jpg,young,old\n")
    answers = read_answers(tmp_path / "answers.csv", np.array(["a.jpg"]), task)
    assert answers["age"].tolist() == [1]
