"""Files of many rows: CSV with a header line, or JSON lines."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from holdfast.merchants.model import MerchantError

LONGEST_ROW = 64 * 1024


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be taken, and why."""

    line: int
    reason: str


Fields = Mapping[str, str]


def read_rows(path: Path, columns: Sequence[str], needed: Sequence[str]) -> Iterator[tuple[int, Fields | Rejected]]:
    """(line, fields) in order; fields are texts without spaces around them, empty where nothing is said.

    `columns` are those there may be, `needed` those that a header line must have. A row that cannot be read comes as
    Rejected. Raises MerchantError where the file as a whole is none, and OSError.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        is_json = path.suffix in (".jsonl", ".ndjson", ".json")
        rows = _json_lines(file, columns) if is_json else _csv_lines(file, columns, needed)
        try:
            yield from rows
        except UnicodeDecodeError as error:
            raise MerchantError(f"{path} is not UTF-8 text: {error.reason}") from None


def _csv_lines(file: IO[str], columns: Sequence[str], needed: Sequence[str]) -> Iterator[tuple[int, Fields | Rejected]]:
    reader = csv.DictReader(file, strict=True)
    try:
        header = reader.fieldnames or ()
        unknown = [name for name in header if name not in columns]
        missing = [name for name in needed if name not in header]
        if missing or unknown:
            raise MerchantError(
                f"the header line {'lacks ' + ', '.join(missing) if missing else 'has unknown ' + ', '.join(unknown)}; "
                f"the columns are {', '.join(columns)}, of which {' and '.join(needed)} are needed"
            )
        for fields in reader:
            line = reader.line_num
            if None in fields:
                yield line, Rejected(line, f"has more fields than the header's {len(header)}")
            else:
                yield line, {name: (value or "").strip() for name, value in fields.items()}
    except csv.Error as error:
        raise MerchantError(f"line {reader.line_num} is not CSV: {error}") from None


def _json_lines(file: IO[str], columns: Sequence[str]) -> Iterator[tuple[int, Fields | Rejected]]:
    line = 0
    while text := file.readline(LONGEST_ROW):
        line += 1
        if len(text) >= LONGEST_ROW:
            raise MerchantError(f"line {line} is longer than {LONGEST_ROW} characters: write one object a line")
        if text.isspace():
            continue
        try:
            fields = msgspec.json.decode(text, type=dict[str, str | None])
        except msgspec.MsgspecError as error:
            yield line, Rejected(line, f"is not an object of texts: {error}")
            continue
        unknown = [name for name in fields if name not in columns]
        if unknown:
            yield line, Rejected(line, f"has unknown {', '.join(unknown)}; known are {', '.join(columns)}")
        else:
            yield line, {name: (value or "").strip() for name, value in fields.items()}
