"""Options that several commands share, and how their values are read."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from holdfast import durations


def read_time(value: str, now: datetime | None = None) -> datetime:
    """`15m`, `2h`, `3d` ago; `now`; or an ISO date and time (local time unless it says otherwise)."""
    value = value.strip()
    now = now or datetime.now(UTC)
    if value == "now":
        return now
    found = durations.WRITTEN.fullmatch(value)
    if found:
        return now - timedelta(seconds=int(found[1]) * durations.UNITS[found[2]])
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except ValueError:
        raise typer.BadParameter(
            f"{value!r} is not a time: write 15m, 2h or 3d (ago), now, 2026-11-24 or 2026-11-24T15:30"
        ) from None


def read_duration(value: str) -> timedelta:
    """`90s`, `30m`, `2h`, `1d`."""
    try:
        return durations.read(value)
    except durations.DurationError as error:
        raise typer.BadParameter(str(error)) from None


def read_optional_time(value: str | None) -> datetime | None:
    return None if value is None else read_time(value)


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Since = Annotated[
    str | None, typer.Option(help="Not before this time: 15m, 2h, 3d (ago) or 2026-11-24T15:30.", metavar="TIME")
]
Until = Annotated[str | None, typer.Option(help="Before this time, written likewise.", metavar="TIME")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
