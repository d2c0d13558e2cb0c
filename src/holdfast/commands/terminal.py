"""What commands print: tables for people, one JSON document for programs, progress on stderr."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """One JSON document on stdout, and nothing else there."""
    if is_dataclass(document) and not isinstance(document, type):
        document = asdict(document)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Columns named with a leading `>` are right-aligned. `empty` is said when there are no rows."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        name = column.removeprefix(">")
        table.add_column(name, justify="right" if name != column else "left", overflow="fold")
    count = 0
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(text(cell)) for cell in row))
        count += 1
    if count:
        Console(highlight=False, width=None if out.is_terminal else 240).print(table)
    else:
        say(empty)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Label and value, one a line."""
    shown = [(label, text(value)) for label, value in fields if value is not None]
    width = max((len(label) for label, _ in shown), default=0)
    for label, value in shown:
        out.print(Text(f"{label:<{width}}  ", style="bold"), Text(value), sep="", end="\n")


def print_markdown(source: str) -> None:
    """Markdown as it is meant to look."""
    from rich.markdown import Markdown  # of all commands, one needs it

    Console(highlight=False, width=None if out.is_terminal else 100).print(Markdown(source))


def say(message: str) -> None:
    out.print(Text(message))


def lines(shown: Iterable[Text]) -> None:
    """Lines as they are, each no wider than `width`."""
    for line in shown:
        out.print(line)


def width() -> int:
    """How wide what is printed may be; 80 where nobody looks."""
    return out.width if out.is_terminal else 80


def note(message: str) -> None:
    """For people only: on stderr, so that stdout holds the data alone."""
    err.print(Text(message))


def text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return moment(value)
        case float():
            return f"{value:,.1f}"
        case int():
            return str(value)
    return str(value)


def moment(at: datetime) -> str:
    """Local time, to the second."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """`850 ms`, `12 s`, `4 min`, `3 h 20 min`, `5 d`."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds > 0 else "0 s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 2 * 86_400:
        hours, rest = divmod(seconds, 3600)
        return f"{hours:.0f} h {rest / 60:.0f} min"
    return f"{timedelta(seconds=seconds).days} d"


def status(value: str) -> Text:
    """A state in the colour that it deserves."""
    colours = {
        "delivered": "green",
        "applied": "green",
        "stored": "green",
        "live": "yellow",
        "unmatched": "yellow",
        "unfetched": "yellow",
        "unreadable": "red",
        "dead": "red",
    }
    return Text(value, style=colours.get(value, ""))


def progress() -> Progress:
    """A bar on stderr, gone when done; nothing when nobody looks."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


def utc_now() -> datetime:
    return datetime.now(UTC)
