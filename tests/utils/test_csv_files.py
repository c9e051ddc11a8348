import csv

import pytest

from data_loader.readers import read_table
from utils.csv_files import plain_cell, safe_cell, write_csv, write_rows


@pytest.mark.parametrize("cell", ["=1+1", "+x", "-x.jpg", "@SUM(A1)", "\tx", "'=1", "''-1"])
def test_what_a_spreadsheet_would_run_is_text_and_is_read_back_as_it_was(cell):
    assert safe_cell(cell) == "'" + cell and plain_cell(safe_cell(cell)) == cell


@pytest.mark.parametrize("cell", ["-0.5", "+1e3", "-inf", "a=b", "'quoted'", "", 7, -1.5, None])
def test_numbers_and_other_texts_stay_as_they_are(cell):
    assert safe_cell(cell) == cell
    assert not isinstance(cell, str) or plain_cell(cell) == cell


def test_names_that_somebody_else_chose_come_back_from_a_table(tmp_path):
    names = ["=cmd|' /C calc'!A0.jpg", "'=1.jpg", "-1.jpg", "plain, with a comma.jpg", "안녕.jpg"]
    write_csv(tmp_path / "t.csv", ("ImageID", "ans"), [(name, -1) for name in names])
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not any(cell.startswith(("=", "-1.")) for cell in cells)
    rows = read_table(tmp_path / "t.csv", ("ImageID", "ans"))
    assert [row["ImageID"] for _, row in rows] == names and rows[0][1]["ans"] == "-1"
    write_csv(tmp_path / "t.csv", ("@id", "-"), [("a", "b")])
    assert read_table(tmp_path / "t.csv", ("@id", "-"))[0][1] == {"@id": "a", "-": "b"}


def test_a_carriage_return_in_a_cell_breaks_no_row(tmp_path):
    write_rows(tmp_path / "table.csv", [["id", "answer"], ["a\rb", 1]])
    assert (tmp_path / "table.csv").read_bytes() == b'id,answer\n"a\rb",1\n'
