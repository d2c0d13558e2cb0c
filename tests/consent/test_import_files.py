"""Files as people have them: encodings, delimiters, spreadsheets, and rows that are broken."""

from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from holdfast.consent import import_files
from holdfast.consent.import_files import Unread
from holdfast.consent.model import ConsentError


def file_of(place: Path, content: bytes | str, name: str = "people.csv") -> Path:
    path = place / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(path: Path, sheet: str | None = None) -> list[Any]:
    return list(import_files.read(import_files.examine(path, sheet)))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("encoding", "found"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16"), ("latin-1", "latin-1")],
)
def test_delimiter_and_encoding_are_told_from_the_file(tmp_path, delimiter, encoding, found):
    text = f"phone{delimiter}name\r\n+14155550111{delimiter}José\r\n"
    source = import_files.examine(file_of(tmp_path, text.encode(encoding)))
    assert (source.encoding, source.delimiter, source.columns) == (found, delimiter, ("phone", "name"))
    assert list(import_files.read(source)) == [(2, ["+14155550111", "José"])]


def test_lines_are_those_of_the_file_though_fields_have_line_ends_and_rows_are_empty(tmp_path):
    path = file_of(tmp_path, '\nphone,name\n"1","a\nb"\n\n,\n2,c\n')
    assert rows_of(path) == [(3, ["1", "a\nb"]), (7, ["2", "c"])]


def test_broken_rows_come_with_their_line_and_the_rest_is_read(tmp_path):
    long = "x" * (import_files.LONGEST_ROW + 10)
    path = file_of(tmp_path, f'phone,name\n1\n2,b,c\n3,{long}\n4,"a"b\n5,e\n')
    found = rows_of(path)
    assert [(one.line, one.reason) for one in found if isinstance(one, Unread)] == [
        (2, "has not as many fields as there are columns"),
        (3, "has not as many fields as there are columns"),
        (4, f"is longer than {import_files.LONGEST_ROW} characters"),
        (5, "is not CSV"),
    ]
    assert found[-1] == (6, ["5", "e"])


def test_a_quote_that_is_never_closed_loses_no_row_in_silence(tmp_path):
    rows = "".join(f"{n},x\n" for n in range(30_000))
    found = rows_of(file_of(tmp_path, f'phone,name\n1,"a\n{rows}'))
    assert isinstance(found[0], Unread)
    assert found[0].line == 2
    assert "quote not closed" in found[0].said
    assert len(found) > 1


def test_a_spreadsheet_has_its_numbers_and_dates_as_texts(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["phone", "when"])
    book.active.append(
        [14155550111, datetime(2025, 3, 4, 10, 30)]  # noqa: DTZ001 - spreadsheets know no zones
    )
    book.active.append([])
    book.active.append(["+14155550112", "x"])
    other = book.create_sheet("Other")
    other.append(["phone"])
    other.append([1])
    path = tmp_path / "people.xlsx"
    book.save(path)
    assert rows_of(path) == [(2, ["14155550111", "2025-03-04T10:30:00"]), (4, ["+14155550112", "x"])]
    assert rows_of(path, "Other") == [(2, ["1"])]
    with pytest.raises(ConsentError, match="no sheet 'Third'; it has Sheet, Other"):
        rows_of(path, "Third")


def test_json_lines_have_the_columns_of_their_objects(tmp_path):
    path = file_of(tmp_path, '{"phone": 14155550111}\n\nnot\n{"phone": "1", "name": null, "x": [1]}\n', "p.jsonl")
    source = import_files.examine(path)
    assert source.columns == ("phone", "name", "x")
    first, broken, last = import_files.read(source)
    assert (first, last) == ((1, ["14155550111", "", ""]), (4, ["1", "", "[1]"]))
    assert isinstance(broken, Unread)
    assert (broken.line, broken.reason) == (3, "is not a JSON object")


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ("", "people.csv", "is empty"),
        ("a,a\n", "people.csv", "more than one column called a"),
        ("x", "people.xlsx", "no spreadsheet that can be read"),
        (",".join("abc" + str(n) for n in range(300)), "people.csv", "at most 200"),
    ],
)
def test_a_file_that_is_none_is_said(tmp_path, content, name, said):
    with pytest.raises(ConsentError, match=said):
        import_files.examine(file_of(tmp_path, content, name))


@pytest.mark.parametrize("space", ["", "\n", "  \r\n\t"])
def test_an_array_of_objects_is_read_piece_by_piece(tmp_path, monkeypatch, space):
    monkeypatch.setattr(import_files, "_BLOCK", 7)
    monkeypatch.setattr(import_files, "LONGEST_ROW", 64)
    elements = [f'{{"phone": "+1415555{n:04}", "name": "a]}},[\\"{n}"}}' for n in range(50)] + [
        "7",
        '{"phone": "\\ud800"}',
    ]
    path = file_of(tmp_path, space + f"[{space}" + f"{space},{space}".join(elements) + f"{space}]{space}", "p.json")
    source = import_files.examine(path)
    rows: list[Any] = list(import_files.read(source))
    assert (source.kind, source.columns) == ("JSON array", ("phone", "name"))
    assert rows[:50] == [(n + 1, [f"+1415555{n:04}", f'a]}},["{n}']) for n in range(50)]
    assert [(row.line, row.reason) for row in rows[50:]] == [
        (51, "is not a JSON object"),
        (52, "is not a JSON object"),
    ]


@pytest.mark.parametrize(
    "text", ['[{"phone": "1"}', '[{"phone": "1"} {"phone": "2"}]', '[{"phone": "1"},]', '[{"phone": 1']
)
def test_an_array_that_breaks_off_is_said(tmp_path, text):
    with pytest.raises(ConsentError, match=r"array"):
        list(import_files.read(import_files.examine(file_of(tmp_path, text, "p.json"))))


def test_an_empty_array_has_no_columns(tmp_path):
    with pytest.raises(ConsentError, match="is empty"):
        import_files.examine(file_of(tmp_path, " [ ] ", "p.json"))
