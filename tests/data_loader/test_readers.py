import numpy as np
import pytest

from base.data_settings import CsvSource
from base.heads import number_in
from data_loader import readers
from data_loader.readers import read_source, read_table
from utils.errors import DataError


@pytest.fixture
def table(tmp_path):
    """``table(text)`` → the path of a table with it."""

    def _table(content):
        path = tmp_path / "t.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return _table


def rows_of(path, *columns):
    return [[row[name] for name in columns] for _, row in read_table(path, columns)]


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,가\n2,x\n",
        "a;b\r\n1;가\r\n2;x\r\n",
        'a\tb\r"1"\t"가"\r"2"\t"x"\r',
        "b,a\n가,1\nx,2\n",
        "a,b,\n1,가,\n2,x,\n",
        "a,b\n\n1,가\n\n2,x",
        "﻿a,b\n1,가\n2,x\n",
        "a,b\n1,가\n2,x\n".encode("utf-16"),
        "a,b\n1,가\n2,x\n".encode("cp949"),
    ],
)
def test_the_same_is_read_however_a_program_writes_it(table, content):
    assert rows_of(table(content), "a", "b") == [["1", "가"], ["2", "x"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,a\n1,2,3\n", r"columns of one name: a; rename or delete all but one"),
        ("a,b\n1,New York, NY\n", r"line 2 has 3 cells and the first line 2; put .* quotes"),
        (
            'a,b\n"1,2\n3,4\n5,6\n',
            r"line 4 cannot be read as CSV \(unexpected end of data\); .* quote",
        ),
        ('a,b\n1,"2"3\n', r"line 2 cannot be read as CSV"),
        ("a,b\n1," + "x" * 10**6 + "\n", r"line 2 cannot be read as CSV \(field larger"),
        ("a,b\n1,\0\n", r"not a text file"),
        ("a,b\n1,\0\n".encode("utf-16"), r"not a text file"),
        ("a,b\n".encode("utf-32"), r"not a text file"),
        (",".join(map(str, range(10**6))), r"1000000 columns; at most 10000 are read"),
        ("b\n1\n", r"no column 'a' in the first line; valid: b"),
        ("", r"no column 'a' in the first line; the file is empty"),
    ],
)
def test_what_is_no_table_is_refused_in_a_line(table, content, message):
    with pytest.raises(DataError, match=rf"t\.csv: {message}"):
        read_table(table(content), ("a",))


def test_empty_rows_are_none(table):
    rows = read_table(table("a;b\r\n1;2\r\n;\r\n\r\n;3\r\n;\r\n"), ())
    assert rows == [(2, {"a": "1", "b": "2"}), (5, {"a": "", "b": "3"})]


def test_too_many_cells_are_refused_before_they_fill_the_memory(table, monkeypatch):
    monkeypatch.setattr(readers, "MAX_CELLS", 2000)
    with pytest.raises(DataError, match=r"more than 2,000 cells; leave out columns"):
        read_table(table("a,b\n" + "1,2\n" * 1001), ("a",))


def test_a_table_that_claims_to_be_enormous_is_not_read(tmp_path):
    with open(tmp_path / "t.csv", "wb") as file:
        file.truncate(100 * 2**30)
    with pytest.raises(DataError, match=r"cannot be read as a CSV table \(larger than the 268 MB"):
        read_table(tmp_path / "t.csv", ("a",))


def test_a_long_cell_among_many_rows_is_refused_before_its_column_becomes_an_array(
    tmp_path, table, monkeypatch
):
    monkeypatch.setattr(readers, "MAX_ARRAY_BYTES", 10**6)
    table("path,note\n" + "".join(f"{n}.jpg,\n" for n in range(999)) + "x.jpg," + "x" * 9999)
    with pytest.raises(DataError, match=r"'note': a cell of 9999 characters is too long for"):
        read_source(tmp_path, CsvSource(reader="csv", table="t.csv"), "")


OUTSIDE = ("/etc/passwd", "../x.jpg", "a/../../x.jpg", "C:\\x.jpg", "\\\\server\\share\\x.jpg")


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_photo_outside_the_folder_is_not_read(tmp_path, table, name):
    table(f"path\nin.jpg\n{name}\n")
    with pytest.raises(DataError, match=r"line 3: .* leads out of the folder of the photos"):
        read_source(tmp_path, CsvSource(reader="csv", table="t.csv"), "")


def test_a_name_that_no_file_can_have_is_one_that_is_not_there(tmp_path, table):
    table("path\n" + "x/" * 3000 + "a.jpg\n" + "x" * 300 + "\n")
    assert (
        len(read_source(tmp_path, CsvSource(reader="csv", table="t.csv"), "").columns["path"]) == 2
    )


@pytest.mark.parametrize(
    ("cell", "number"),
    [("3.7", 3.7), ("3,7", 3.7), ("-12,25", -12.25), ("0,12345", 0.12345), ("1e3", 1000.0),
     ("1,234", np.nan), ("1.234,5", np.nan), ("inf", np.nan), ("1e999", np.nan),
     ("9" * 5000, np.nan), ("3,7 cm", np.nan), ("", np.nan)],
)  # fmt: skip
def test_a_number_may_have_a_decimal_comma_where_it_can_be_nothing_else(cell, number):
    assert np.array_equal(number_in(cell), number, equal_nan=True)


def test_photos_are_found_in_another_case_without_their_ending_and_by_their_whole_path(
    tmp_path, table
):
    for name in ("a.jpg", "b.JPG", "sub/c.jpeg", "d.jpg", "d.txt", "e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    table(f"path,kind\nA.JPG,1\nb,2\n sub\\c ,3\nd,4\n{tmp_path / 'e.jpg'},5\nf,6\n")
    read = read_source(tmp_path, CsvSource(reader="csv", table="t.csv"), "")
    there = {name: read.on_disk.get(name, name) for name in read.columns["path"].tolist()}
    assert there == {
        "A.JPG": "a.jpg", "b": "b.JPG", "sub/c": "sub/c.jpeg", "d": "d.jpg", "e.jpg": "e.jpg",
        "f": "f",
    }  # fmt: skip
    assert dict(zip(read.columns["path"], read.columns["kind"], strict=True))["sub/c"] == "3"


def test_of_two_names_for_one_photo_one_is_not_there(tmp_path, table):
    (tmp_path / "a.jpg").touch()
    table("path\na\nA.JPG\n")
    read = read_source(tmp_path, CsvSource(reader="csv", table="t.csv"), "")
    assert read.on_disk == {"a": "a.jpg"}


@pytest.mark.parametrize("name", ["./a.jpg", "sub/../a.jpg", ".//a.jpg", "A/../a.jpg", ".\\a.jpg"])
def test_a_photo_listed_twice_by_different_ways_is_refused(tmp_path, table, name):
    table(f"path\na.jpg\n{name}\n")
    with pytest.raises(DataError, match=r"both list a\.jpg|leads out of the folder"):
        read_source(tmp_path, CsvSource(reader="csv", table="t.csv"), "")


def test_a_name_that_may_be_two_photos_is_refused(tmp_path, table):
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).touch()
    table("path\na\n")
    with pytest.raises(DataError, match=r"a may be any of 2 names .*: a\.jpg, a\.png; rename"):
        read_source(tmp_path, CsvSource(reader="csv", table="t.csv"), "")


def test_the_column_path_of_a_table_whose_photos_stand_elsewhere_is_not_theirs(tmp_path, table):
    (tmp_path / "a.jpg").touch()
    table("path,image\nold/place.jpg,a.jpg\n")
    read = read_source(tmp_path, CsvSource(reader="csv", table="t.csv", path="image"), "")
    assert read.columns["path"].tolist() == ["a.jpg"]
