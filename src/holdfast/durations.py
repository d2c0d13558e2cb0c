"""Lengths of time as people write them."""

import re
from datetime import timedelta

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
WRITTEN = re.compile(r"(\d{1,6})\s*(s|m|min|h|d|w)", re.ASCII)


class DurationError(ValueError):
    """This is no length of time; the message says how to write one."""


def read(text: str) -> timedelta:
    """`90s`, `30m`, `2h`, `1d`; more than nothing. Raises DurationError."""
    found = WRITTEN.fullmatch(text.strip())
    if not found or not int(found[1]):
        raise DurationError(f"{text!r} is not a length of time: write 90s, 30m, 2h or 1d")
    return timedelta(seconds=int(found[1]) * UNITS[found[2]])


def write(length: timedelta) -> str:
    """As `read` takes it, in the largest unit that divides it: `90s`, `30m`, `2h`."""
    seconds = round(length.total_seconds())
    unit = next((one for one in ("w", "d", "h", "m") if seconds and seconds % UNITS[one] == 0), "s")
    return f"{seconds // UNITS[unit]}{unit}"


def lasted(length: timedelta) -> str:
    """`40 s`, `12 min`, `3 h`, `2 d`."""
    seconds = max(0, round(length.total_seconds()))
    for unit, size in (("d", 172_800), ("h", 7_200), ("min", 60)):
        if seconds >= size:
            return f"{round(seconds / {'d': 86_400, 'h': 3_600, 'min': 60}[unit])} {unit}"
    return f"{seconds} s"
