"""Business hours: whether somebody is there at an instant, by the clock on the merchant's wall.

On the days when clocks change that clock decides too: an hour that happens twice is open twice, one that is skipped
is not there to be open in.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from holdfast.naming import time_zone as zone_of
from holdfast.voice.model import DAYS, Day, Opening, VoiceError

TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
MIDNIGHT = "24:00"
MOST_OPENINGS = 50
_DAY = 24 * 60


def is_open(hours: Iterable[Opening], time_zone: str, at: datetime) -> bool:
    """Whether one of these openings holds at `at`; without any, always.

    Where the zone is none that this machine knows, it is open: to ring is better than to turn a caller away.
    """
    openings = tuple(hours)
    known = zone_of(time_zone) if openings else None
    if known is None:
        return True
    local = at.astimezone(known)
    today, yesterday = DAYS[local.weekday()], DAYS[local.weekday() - 1]
    minute = local.hour * 60 + local.minute
    return any(_holds(one, today, yesterday, minute) for one in openings)


def _holds(opening: Opening, today: Day, yesterday: Day, minute: int) -> bool:
    opens, closes = _minutes(opening.opens), _minutes(opening.closes)
    if closes > opens:
        return today in opening.days and opens <= minute < closes
    return (today in opening.days and minute >= opens) or (yesterday in opening.days and minute < closes)


def next_change(hours: Sequence[Opening], time_zone: str, at: datetime) -> datetime | None:
    """When it opens or closes next, in its own time; None where it never does."""
    known = zone_of(time_zone) if hours else None
    if known is None:
        return None
    now, began = is_open(hours, time_zone, at), at.astimezone(UTC)
    then = next((one for one in _moments(hours, known, began) if is_open(hours, time_zone, one) != now), None)
    return then.astimezone(known) if then is not None else None


def _moments(hours: Sequence[Opening], known: ZoneInfo, after: datetime) -> list[datetime]:
    """When it may open or close in the next days: as it says, and whenever clocks may change."""
    edges = {_minutes(text) % _DAY for one in hours for text in (one.opens, one.closes)}
    first = after.replace(minute=0, second=0, microsecond=0)
    moments = {first + timedelta(minutes=30 * half) for half in range(9 * 48)}
    for days in range(9):
        day = (after.astimezone(known) + timedelta(days=days)).replace(second=0, microsecond=0)
        for edge in edges:
            for fold in (0, 1):  # an hour that happens twice has both
                moments.add(day.replace(hour=edge // 60, minute=edge % 60, fold=fold).astimezone(UTC))
    return sorted(one for one in moments if one > after)


def checked_hours(hours: Sequence[Opening]) -> None:
    """Raises VoiceError."""
    if len(hours) > MOST_OPENINGS:
        raise VoiceError(f"at most {MOST_OPENINGS} openings, not {len(hours)}: name several days in one")
    for number, one in enumerate(hours, 1):
        if not one.days:
            raise VoiceError(f"opening {number} names no day: write days such as [mon, tue, wed, thu, fri]")
        if len(set(one.days)) < len(one.days):
            raise VoiceError(f"opening {number} names a day twice")
        if not TIME.fullmatch(one.opens):
            raise VoiceError(f"opening {number}: {one.opens[:40]!r} is not when it opens: write 00:00 to 23:59")
        if one.closes != MIDNIGHT and not TIME.fullmatch(one.closes):
            raise VoiceError(f"opening {number}: {one.closes[:40]!r} is not when it closes: write 00:00 to 24:00")


def read_opening(text: str) -> Opening:
    """`mon-fri 09:00-17:00`, `sat sun 10:00-24:00`: as `in_words` writes it. Raises VoiceError."""
    *days, times = text.replace(",", " ").lower().split() or [""]
    opens, dash, closes = times.partition("-")
    if not days or not dash:
        raise VoiceError(f"{text[:60]!r} is no opening: write mon-fri 09:00-17:00")
    opening = Opening(tuple(dict.fromkeys(day for one in days for day in _span(one))), opens, closes)
    checked_hours([opening])
    return opening


def _span(text: str) -> tuple[Day, ...]:
    """`mon`, `mon-fri`, `fri-mon`."""
    first, dash, last = text.partition("-")
    names: list[str] = [*DAYS]
    if first not in names or (dash and last not in names):
        raise VoiceError(f"{text[:40]!r} is no day: write {', '.join(DAYS)}, or mon-fri for several")
    start = names.index(first)
    count = (names.index(last) - start) % 7 if dash else 0
    return tuple(DAYS[(start + place) % 7] for place in range(count + 1))


def in_words(hours: Iterable[Opening]) -> str:
    """`mon-fri 09:00-17:00; sat 10:00-14:00`."""
    return "; ".join(f"{_days(one.days)} {one.opens}-{one.closes}" for one in hours) or "always"


def _days(days: Sequence[Day]) -> str:
    places = sorted(DAYS.index(day) for day in days)
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return " ".join(
        f"{DAYS[run[0]]}-{DAYS[run[-1]]}" if len(run) > 2 else " ".join(DAYS[place] for place in run) for run in runs
    )


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
