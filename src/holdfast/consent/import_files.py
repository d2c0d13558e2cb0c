"""Reads files of many people row by row: CSV, XLSX, JSON lines or an array. Texts as they are written, with their line.

XLSX is read with calamine: a million rows take 10 s and 0.9 GB here, with openpyxl 4 minutes (and 0.1 GB).
"""

import codecs
import csv
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec

from holdfast.consent.model import ConsentError

LONGEST_ROW = 64 * 1024
"""Characters of a row."""
MOST_COLUMNS = 200
DELIMITERS = ",;\t|"
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_BLOCK = 1 << 20
_LOOKED_AT = 200
"""Objects of a JSON lines file by which its columns are told."""
_TOO_LONG = "\0too long\0"
_BLANK = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Unread:
    """A row that cannot be read. `reason` is one of few; `said` is what of the row it is about."""

    line: int
    reason: str
    said: str = ""


Row = tuple[int, list[str]]


@dataclass(frozen=True, slots=True)
class Source:
    """A file: what it is, and of what columns. `encoding` is None where the kind of file says it."""

    path: Path
    kind: str
    sha256: bytes
    encoding: str | None
    delimiter: str | None
    sheet: str | None
    columns: tuple[str, ...]


def examine(path: Path, sheet: str | None = None) -> Source:
    """What a file is, by a look at all of its bytes. Raises ConsentError, OSError."""
    digest, encoding = _bytes_of(path)
    suffix = path.suffix.lower()
    if suffix in (".xlsx", ".xlsm", ".xls", ".ods"):
        name, rows = _sheet(path, sheet)
        _, header = next(rows, (0, []))
        return Source(path, "xlsx", digest, None, None, name, _columns(path, header))
    if sheet is not None:
        raise ConsentError(f"--sheet is for XLSX files, and {path} is none")
    with path.open(newline="", encoding=encoding) as file:
        if suffix in JSON_SUFFIXES:
            kind = "JSON array" if _is_array(file) else "json"
            keys = _keys(found for _, found in (_elements(file) if kind == "JSON array" else _objects(file)))
            return Source(path, kind, digest, encoding, None, None, _columns(path, keys))
        first = next((line for line in _lines(file) if line.strip()), "")
        delimiter = max(DELIMITERS, key=lambda one: len(next(csv.reader([first], delimiter=one))))
        header = next(csv.reader([first], delimiter=delimiter), [])
        return Source(path, "csv", digest, encoding, delimiter, None, _columns(path, header))


def read(source: Source) -> Iterator[Row | Unread]:
    """(line, the fields in the order of the columns) of every row behind the header, or why it cannot be read.

    Empty rows are left out. Raises ConsentError where the file as a whole breaks off, and OSError.
    """
    if source.kind == "xlsx":
        _, rows = _sheet(source.path, source.sheet)
        next(rows, None)
        yield from _even(rows, len(source.columns))
        return
    with source.path.open(newline="", encoding=source.encoding) as file:
        if source.kind == "json":
            yield from _json_rows(_objects(file), source.columns)
        elif source.kind == "JSON array":
            yield from _json_rows(_elements(file), source.columns)
        else:
            yield from _csv_rows(file, source)


def guess_rows(source: Source) -> int | None:
    """How many there may be, by the length of the first lines; None of spreadsheets."""
    if source.kind == "xlsx":
        return None
    with source.path.open("rb") as file:
        begin = file.read(_BLOCK)
    return max(1, source.path.stat().st_size * begin.count(b"\n") // max(1, len(begin)))


def _bytes_of(path: Path) -> tuple[bytes, str]:
    """SHA-256 and encoding: by its mark; else UTF-8; else, where it is not that, Latin-1."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        block = file.read(_BLOCK)
        encoding = _marked(block)
        decoder = codecs.getincrementaldecoder("utf-8")()
        while block:
            digest.update(block)
            if encoding is None:
                try:
                    decoder.decode(block)
                except UnicodeDecodeError:
                    encoding = "latin-1"
            block = file.read(_BLOCK)
    if encoding is None:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            encoding = "latin-1"
    return digest.digest(), encoding or "utf-8"


def _marked(begin: bytes) -> str | None:
    if begin.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    return "utf-16" if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else None


def _columns(path: Path, header: Sequence[str]) -> tuple[str, ...]:
    names = tuple(name.strip()[:200] for name in header)
    if not any(names):
        raise ConsentError(f"{path} is empty: it needs a first line that names the columns, and a row")
    if len(names) > MOST_COLUMNS:
        raise ConsentError(f"{path} has {len(names)} columns; at most {MOST_COLUMNS}")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise ConsentError(f"{path} has more than one column called {', '.join(twice)}")
    return names


def _lines(file: IO[str]) -> Iterator[str]:
    """No line longer than `LONGEST_ROW` comes into memory; instead of one comes `_TOO_LONG`."""
    try:
        while text := file.readline(LONGEST_ROW):
            if len(text) == LONGEST_ROW and text[-1] not in "\r\n":
                while (rest := file.readline(LONGEST_ROW)) and rest[-1] not in "\r\n":
                    pass
                yield _TOO_LONG
            else:
                yield text
    except UnicodeError as error:
        raise ConsentError(f"{file.name} breaks off: {error}") from None


def _csv_rows(file: IO[str], source: Source) -> Iterator[Row | Unread]:
    csv.field_size_limit(LONGEST_ROW)
    reader = csv.reader(_lines(file), delimiter=source.delimiter or ",", strict=True)
    width, is_header = len(source.columns), True
    while True:
        first = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines = f"line {first}" if reader.line_num <= first else f"lines {first} to {reader.line_num}"
            yield Unread(first, "is not CSV", f"{lines}: {error}; is a quote not closed?")
            continue
        if not row or not any(map(str.strip, row)):
            continue
        if is_header:
            is_header = False
        elif row[0] == _TOO_LONG or sum(map(len, row)) > LONGEST_ROW:
            yield Unread(first, f"is longer than {LONGEST_ROW} characters")
        elif len(row) != width:
            yield Unread(first, "has not as many fields as there are columns", f"{len(row)}, not {width}")
        else:
            yield first, row


def _even(rows: Iterator[Row], width: int) -> Iterator[Row | Unread]:
    for line, row in rows:
        if not any(row):
            continue
        if any(row[width:]):
            yield Unread(line, "has not as many fields as there are columns", f"{len(row)}, not {width}")
        else:
            yield line, (row + [""] * (width - len(row)))[:width]


def _sheet(path: Path, sheet: str | None) -> tuple[str, Iterator[Row]]:
    from python_calamine import CalamineError, CalamineWorkbook  # what reads spreadsheets is only needed for them

    try:
        book = CalamineWorkbook.from_path(path)
        names = book.sheet_names
        if sheet is not None and sheet not in names:
            raise ConsentError(f"{path} has no sheet {sheet!r}; it has {', '.join(names)}")
        if not names:
            raise ConsentError(f"{path} has no sheets")
        found = book.get_sheet_by_name(sheet or names[0])
    except (CalamineError, ValueError) as error:
        raise ConsentError(f"{path} is no spreadsheet that can be read: {error}") from None
    first = (found.start or (0, 0))[0] + 1
    return sheet or names[0], ((line, [_cell(one) for one in row]) for line, row in enumerate(found.iter_rows(), first))


def _cell(value: Any) -> str:
    """As it would be written in a CSV file; whole numbers, such as phone numbers, without a fraction."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)


def _keys(objects: Iterator[dict[str, Any] | str]) -> list[str]:
    found: dict[str, None] = {}
    for read in islice(objects, _LOOKED_AT):
        if isinstance(read, dict):
            found.update(dict.fromkeys(read))
    return list(found)


def _json_rows(objects: Iterator[tuple[int, dict[str, Any] | str]], columns: Sequence[str]) -> Iterator[Row | Unread]:
    for line, found in objects:
        if found == _TOO_LONG:
            yield Unread(line, f"is longer than {LONGEST_ROW} characters")
        elif isinstance(found, str):
            yield Unread(line, "is not a JSON object", found)
        else:
            yield line, [_value(found.get(name)) for name in columns]


def _objects(file: IO[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """One of each line, or what is wrong with it."""
    for line, text in enumerate(_lines(file), 1):
        if not text.isspace():
            yield line, _object(text) if text != _TOO_LONG else _TOO_LONG


def _object(text: str) -> dict[str, Any] | str:
    """The object, or what is wrong with it."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError) as error:
        return str(error)[:200]


def _is_array(file: IO[str]) -> bool:
    """Whether the file begins with [; it is read from its beginning afterwards."""
    begin = _piece(file).lstrip()[:1]
    file.seek(0)
    return begin == "["


def _elements(file: IO[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Those of an array by their place, from 1, read piece by piece. Raises ConsentError where it is no JSON."""
    end_of = json.JSONDecoder().raw_decode
    text, at, place, more = "", 0, 0, True

    def skip(at: int) -> int:
        found = _BLANK.match(text, at)
        return found.end() if found is not None else at

    while True:
        while more and len(text) - at < LONGEST_ROW:  # always more than the longest element
            piece = _piece(file)
            text, at, more = text[at:] + piece, 0, bool(piece)
        at = skip(at)
        if text.startswith("]", at) and place:
            return
        if not text.startswith("," if place else "[", at):
            raise ConsentError(f"{file.name} is an array that breaks off behind its element {place}")
        at = skip(at + 1)
        if text.startswith("]", at) and not place:
            return
        try:
            _, end = end_of(text, at)
        except (ValueError, RecursionError) as error:
            raise ConsentError(
                f"{file.name}: element {place + 1} of the array is no JSON, or longer than {LONGEST_ROW} characters: "
                f"{str(error)[:200]}"
            ) from None
        place += 1
        yield place, _object(text[at:end])
        at = end


def _piece(file: IO[str]) -> str:
    try:
        return file.read(_BLOCK)
    except UnicodeError as error:
        raise ConsentError(f"{file.name} breaks off: {error}") from None


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    return _cell(value)
