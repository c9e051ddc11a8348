import csv
import os

import numpy as np
import pytest

from base.task import Task, load_task
from base.task_settings import TaskSettings
from model.answers import with_marginals
from trainer.submission import (
    check_writable,
    write_probabilities,
    write_submission,
)
from utils.errors import UserError

FACES = load_task("faces")


def certain(*classes):
    """Probabilities that are sure of these classes."""
    return with_marginals(FACES, {"class": np.eye(18)[list(classes)]})


def test_a_submission_is_a_row_a_photo_in_the_order_given(tmp_path):
    write_submission(
        tmp_path / "new" / "s.csv", ["b.jpg", "a,b.jpg", "001"], FACES, certain(17, 0, 3)
    )
    with open(tmp_path / "new" / "s.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["ImageID", "ans"], ["b.jpg", "17"], ["a,b.jpg", "0"], ["001", "3"]]


def test_ids_stay_as_the_table_has_them_and_for_people_run_no_formula(tmp_path):
    for in_words, said in ((False, "-1.jpg"), (True, "'-1.jpg")):
        write_submission(tmp_path / "s.csv", ["-1.jpg"], FACES, certain(0), in_words)
        assert (tmp_path / "s.csv").read_text().splitlines()[1].split(",")[0] == said


def test_lines_end_the_same_on_every_system(tmp_path):
    write_submission(tmp_path / "s.csv", ["가.jpg"], FACES, certain(1))
    assert (tmp_path / "s.csv").read_bytes() == "ImageID,ans\n가.jpg,1\n".encode()


def test_probabilities_have_a_column_a_class(tmp_path):
    probabilities = np.eye(18)[:2] * 0.75 + 0.25 / 18
    write_probabilities(tmp_path / "p.csv", ["a", "b"], FACES, {"class": probabilities})
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == "ImageID," + ",".join(f"p{cls}" for cls in range(18))
    read = np.loadtxt(lines[1:], delimiter=",", usecols=range(1, 19))
    assert np.allclose(read, probabilities, atol=1e-6)


def test_a_failed_write_leaves_the_earlier_submission(tmp_path):
    write_submission(tmp_path / "s.csv", ["a"], FACES, certain(1))
    with pytest.raises(ValueError, match="shorter"):
        write_submission(tmp_path / "s.csv", ["a", "b"], FACES, certain(2))
    assert (tmp_path / "s.csv").read_text() == "ImageID,ans\na,1\n"
    assert os.listdir(tmp_path) == ["s.csv"]


class TestCheckWritable:
    def test_a_new_file_in_new_folders_is_fine_and_nothing_is_made(self, tmp_path):
        check_writable(tmp_path / "new" / "folder" / "s.csv")
        assert os.listdir(tmp_path) == []

    def test_a_folder_in_its_place_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="cannot be written; name another file with --out"):
            check_writable(tmp_path)

    def test_a_file_where_a_folder_should_be_is_refused(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match=r"file/s\.csv: cannot be written"):
            check_writable(tmp_path / "file" / "s.csv")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
    def test_a_folder_without_permission_is_refused(self, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(UserError, match="cannot be written"):
            check_writable(tmp_path / "s.csv")


def test_answers_for_people_have_words_beside_the_number(tmp_path):
    write_submission(tmp_path / "s.csv", ["a.jpg", "b.jpg"], FACES, certain(0, 16), in_words=True)
    assert (tmp_path / "s.csv").read_text().splitlines() == [
        "ImageID,ans,mask,gender,age",
        "a.jpg,0,mask worn,male,<30",
        "b.jpg,16,no mask,female,30-59",
    ]


def test_without_a_product_each_head_has_its_answers_in_words(tmp_path):
    heads = {
        "shape": {"classes": ["circle", "square"]},
        "tags": {"type": "multilabel", "classes": ["red", "big"], "threshold": 0.4},
        "years": {"type": "number", "bins": "0:30:10"},
    }
    task = Task(TaskSettings(heads=heads))
    found = {
        "shape": np.array([[0.2, 0.8], [0.9, 0.1]]),
        "tags": np.array([[0.5, 0.45], [0.1, 0.2]]),
        "years": np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]),
    }
    write_submission(tmp_path / "s.csv", ["a", "b"], task, found)
    assert (tmp_path / "s.csv").read_text().splitlines() == [
        "image,shape,tags,years",
        "a,square,red big,10",
        "b,circle,,25",
    ]
    write_probabilities(tmp_path / "p.csv", ["a", "b"], task, found)
    assert (tmp_path / "p.csv").read_text().startswith("image,shape_p0,shape_p1,tags_p0,tags_p1,y")
