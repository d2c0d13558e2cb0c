"""Dates as people and programs write them. What can be read in two ways is not guessed."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

Order = Literal["dmy", "mdy"]
AMBIGUOUS = "the date can be read in two ways: say --dates dmy or --dates mdy"
NO_DATE = "is no date"
_MONTHS = {
    word: place
    for place, words in enumerate(
        (
            "january jan enero ene", "february feb febrero", "march mar marzo", "april apr abril abr", "may mayo",
            "june jun junio", "july jul julio", "august aug agosto ago", "september sep sept septiembre setiembre",
            "october oct octubre", "november nov noviembre", "december dec diciembre dic",
        ),
        1,
    )
    for word in words.split()
}  # fmt: skip
_TIME = r"(?:[ T,]+(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d+)?)?\s*(?P<half>[ap]\.?m\.?)?)?"
_NUMBERS = re.compile(rf"(?P<a>\d{{1,2}})(?P<sep>[/.-])(?P<b>\d{{1,2}})(?P=sep)(?P<year>\d{{4}}|\d\d){_TIME}", re.I)
_YEAR_FIRST = re.compile(rf"(?P<year>\d{{4}})[/.](?P<a>\d{{1,2}})[/.](?P<b>\d{{1,2}}){_TIME}", re.I)
_WORDS = re.compile(rf"(?P<day>\d{{1,2}})\.?(?: de)? (?P<month>[a-zé]+)\.?,?(?: de)? (?P<year>\d{{4}}){_TIME}", re.I)
_WORDS_US = re.compile(rf"(?P<month>[a-zé]+)\.? (?P<day>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<year>\d{{4}}){_TIME}", re.I)
_UNIX = re.compile(r"\d{10}(\d{3})?")


class DateError(Exception):
    """Why it is no date, in one of few sentences."""


def read_date(text: str, zone: str, order: Order | None) -> datetime:
    """A time in UTC. What says no zone is of `zone` (IANA), a date alone the beginning of its day. Raises DateError."""
    text = text.strip()
    if len(text) > 40:
        raise DateError(NO_DATE)
    try:
        if _UNIX.fullmatch(text):
            return datetime.fromtimestamp(int(text) / (1000 if len(text) > 10 else 1), UTC)
        found = _iso(text) or _written(text, order)
        if found is None:
            raise DateError(NO_DATE)
        return (found if found.tzinfo is not None else found.replace(tzinfo=_zone(zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise DateError(NO_DATE) from None


def _iso(text: str) -> datetime | None:
    if len(text) < 10 or text[4] != "-":
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(text.removesuffix(" UTC") + "+00:00") if text.endswith(" UTC") else None


def _written(text: str, order: Order | None) -> datetime | None:
    if found := _YEAR_FIRST.fullmatch(text):
        return _made(found, int(found["a"]), int(found["b"]))
    if found := _WORDS.fullmatch(text) or _WORDS_US.fullmatch(text):
        month = _MONTHS.get(found["month"].lower())
        return _made(found, month, int(found["day"])) if month is not None else None
    found = _NUMBERS.fullmatch(text)
    if found is None:
        return None
    first, second = int(found["a"]), int(found["b"])
    if found["sep"] == "." or first > 12:  # with dots, only the day comes first
        order = "dmy"
    elif second > 12:
        order = "mdy"
    elif order is None and first != second:
        raise DateError(AMBIGUOUS)
    return _made(found, second, first) if order == "dmy" else _made(found, first, second)


def _made(found: re.Match[str], month: int, day: int) -> datetime:
    year = int(found["year"])
    hour = int(found["hour"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + (12 if found["half"][0] in "pP" else 0)
    return datetime(  # noqa: DTZ001 - the zone is put to it by who called
        year if year > 99 else 2000 + year, month, day, hour, int(found["minute"] or 0), int(found["second"] or 0)
    )


@lru_cache(maxsize=600)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
