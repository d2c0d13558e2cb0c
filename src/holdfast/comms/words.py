"""Numbers and times as people read them."""

from datetime import UTC, datetime, timedelta


def length(time: timedelta | float) -> str:
    """`40 s`, `12 min`, `3 h 5 min`, `2 d`."""
    seconds = round(time.total_seconds() if isinstance(time, timedelta) else time)
    if seconds < 120:
        return f"{max(0, seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 2 * 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{round(minutes / 60 / 24)} d"


def many(count: int, what: str) -> str:
    """`1 event`, `2,000 events`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def people(count: int) -> str:
    """`1 person`, `2,000 people`."""
    return "1 person" if count == 1 else f"{count:,} people"


def clock(at: datetime) -> str:
    """`14:05 UTC`; for people of whatever place."""
    return f"{at.astimezone(UTC):%H:%M} UTC"


def day_and_clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def listed(items: list[str], most: int = 5) -> str:
    """`a, b and 3 more`."""
    if len(items) <= most:
        return ", ".join(items)
    return f"{', '.join(items[:most])} and {len(items) - most} more"
