"""Which time zones a person may be in, by their number: quiet hours are kept in every one of them.

Source: https://github.com/google/libphonenumber (time zones by prefix)
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

_SPECIFIC = 6
"""A prefix of more zones than this says only the country's code, as toll-free and mobile ones do."""
_NORTH_AMERICA = ("America/New_York", "Pacific/Honolulu")
"""Where it is early first and last, of the states."""


@lru_cache(maxsize=100_000)
def zones_of(phone: str) -> tuple[str, ...]:
    """IANA names, at least one, for an E.164 number."""
    from phonenumbers.tzdata import (  # a map that costs memory, and only some need it
        TIMEZONE_DATA,
        TIMEZONE_LONGEST_PREFIX,
    )

    digits = phone.removeprefix("+")
    prefixes = (digits[:length] for length in range(TIMEZONE_LONGEST_PREFIX, 0, -1))
    found = next((TIMEZONE_DATA[prefix] for prefix in prefixes if prefix in TIMEZONE_DATA), ())
    return _chosen(found, digits.startswith("1"))


@lru_cache(maxsize=2_000)
def _chosen(found: tuple[str, ...], is_north_american: bool) -> tuple[str, ...]:
    known = tuple(zone for zone in found if zone in _known())
    if 0 < len(known) <= _SPECIFIC:
        return known
    if is_north_american:
        return _NORTH_AMERICA
    return _outermost(known) or ("UTC",)


@lru_cache(maxsize=1_000)
def _outermost(zones: tuple[str, ...]) -> tuple[str, ...]:
    """Where of these it is earliest and latest, in winter and in summer: hours that are right there are right in all.

    Offsets differ over the year, and not in all zones in the same way.
    """
    found: dict[str, None] = {}
    year = datetime.now(UTC).year
    for month in (1, 7):
        at = datetime(year, month, 1, tzinfo=UTC)
        ordered = sorted(zones, key=lambda zone: at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta(0))
        found |= dict.fromkeys(ordered[:1] + ordered[-1:])
    return tuple(found)


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    return frozenset(available_timezones())
