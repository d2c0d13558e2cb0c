"""Business hours."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.voice.hours import checked_hours, in_words, is_open, next_change, read_opening
from holdfast.voice.model import DAYS, Day, Opening, VoiceError

WEEKDAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri")
OFFICE = Opening(WEEKDAYS, "09:00", "17:00")
BERLIN = "Europe/Berlin"

minutes = st.integers(0, 24 * 60 - 1).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
openings = st.builds(
    Opening,
    st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True).map(tuple),
    minutes,
    st.one_of(minutes, st.just("24:00")),
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
instants = st.integers(0, 2 * 365 * 24 * 60).map(
    lambda minute: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
)
changes = st.integers(0, 48 * 60).map(lambda minute: datetime(2026, 10, 24, tzinfo=UTC) + timedelta(minutes=minute))
"""Around the end of summer time in Berlin."""


def minutes_of(opening: Opening) -> set[tuple[str, int]]:
    """Every minute of the week that an opening covers, walked through one after the other."""
    first, last = (int(text[:2]) * 60 + int(text[3:]) for text in (opening.opens, opening.closes))
    length = last - first if last > first else last + 24 * 60 - first
    covered: set[tuple[str, int]] = set()
    for day in opening.days:
        for minute in range(first, first + length):
            covered.add((DAYS[(DAYS.index(day) + minute // (24 * 60)) % 7], minute % (24 * 60)))
    return covered


@given(st.lists(openings, min_size=1, max_size=3), zones, instants)
def test_it_is_open_in_exactly_the_minutes_of_the_week_that_its_openings_cover(hours, zone, at):
    local = at.astimezone(ZoneInfo(zone))
    covered = set.union(*(minutes_of(one) for one in hours))
    assert is_open(hours, zone, at) == ((DAYS[local.weekday()], local.hour * 60 + local.minute) in covered)


@given(st.lists(openings, min_size=1, max_size=2), zones, st.one_of(instants, changes))
def test_it_stays_as_it_is_until_the_next_change_and_is_otherwise_then(hours, zone, at):
    now, then = is_open(hours, zone, at), next_change(hours, zone, at)
    if then is None:
        assert all(is_open(hours, zone, at + timedelta(minutes=37 * step)) == now for step in range(7 * 24))
        return
    assert then > at
    assert is_open(hours, zone, then) != now
    steps = int((then - at) / timedelta(minutes=1))
    for minute in {*range(0, steps, 61), *range(max(0, steps - 90), steps)}:
        assert is_open(hours, zone, at + timedelta(minutes=minute)) == now


@given(st.lists(openings, max_size=5))
def test_what_can_be_written_is_accepted(hours):
    checked_hours(hours)


def test_without_hours_it_is_always_open():
    assert is_open((), "UTC", datetime(2026, 5, 3, 3, tzinfo=UTC))
    assert next_change((), "UTC", datetime(2026, 5, 3, 3, tzinfo=UTC)) is None
    assert in_words(()) == "always"


@pytest.mark.parametrize(
    ("at", "open_"),
    [
        ("2026-05-04T08:59", False),
        ("2026-05-04T09:00", True),
        ("2026-05-04T16:59", True),
        ("2026-05-04T17:00", False),
        ("2026-05-03T12:00", False),  # a Sunday
    ],
)
def test_the_clock_of_the_zone_decides(at, open_):
    assert is_open([OFFICE], BERLIN, datetime.fromisoformat(at).replace(tzinfo=ZoneInfo(BERLIN))) is open_


def test_what_closes_before_it_opens_closes_on_the_next_day():
    bar = [Opening(("fri",), "22:00", "02:00")]
    friday = datetime(2026, 5, 8, 23, tzinfo=UTC)
    assert is_open(bar, "UTC", friday)
    assert is_open(bar, "UTC", friday + timedelta(hours=2))
    assert not is_open(bar, "UTC", friday + timedelta(hours=3))
    assert not is_open(bar, "UTC", friday - timedelta(hours=22))
    assert not is_open(bar, "UTC", friday + timedelta(days=1))


def test_a_day_may_last_until_midnight_and_what_closes_when_it_opens_lasts_a_whole_day():
    late = [Opening(("mon",), "12:00", "24:00")]
    assert is_open(late, "UTC", datetime(2026, 5, 4, 23, 59, 59, tzinfo=UTC))
    assert not is_open(late, "UTC", datetime(2026, 5, 5, 0, 0, tzinfo=UTC))
    whole = [Opening(("mon",), "09:00", "09:00")]
    assert is_open(whole, "UTC", datetime(2026, 5, 5, 8, 59, tzinfo=UTC))
    assert not is_open(whole, "UTC", datetime(2026, 5, 5, 9, 0, tzinfo=UTC))


def test_on_the_days_when_clocks_change_the_clock_on_the_wall_decides():
    night = [Opening(("sun",), "02:00", "03:00")]
    spring = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # 01:30 in Berlin; the next hour there is the fourth of the day
    assert not any(is_open(night, BERLIN, spring + timedelta(minutes=10 * step)) for step in range(12))
    autumn = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 in Berlin, and again an hour later
    assert is_open(night, BERLIN, autumn)
    assert is_open(night, BERLIN, autumn + timedelta(hours=1))
    assert not is_open(night, BERLIN, autumn + timedelta(hours=2))


def test_a_zone_that_this_machine_does_not_know_is_open():
    for name in ("Mars/Base", "", "../etc/passwd", "a\0b"):
        assert is_open([OFFICE], name, datetime(2026, 5, 3, 3, tzinfo=UTC))


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        ([Opening((), "09:00", "17:00")], "opening 1 names no day"),
        ([OFFICE, Opening(("mon", "mon"), "09:00", "17:00")], "opening 2 names a day twice"),
        ([Opening(("mon",), "9:00", "17:00")], "'9:00' is not when it opens: write 00:00 to 23:59"),
        ([Opening(("mon",), "24:00", "17:00")], "is not when it opens"),
        ([Opening(("mon",), "09:00", "24:01")], "'24:01' is not when it closes: write 00:00 to 24:00"),
        ([Opening(("mon",), "09:00", "17:60")], "is not when it closes"),
        ([Opening(("mon",), "09:00", "\u0661\u0667:00")], "is not when it closes"),
        ([OFFICE] * 51, "at most 50 openings"),
    ],
)
def test_hours_that_are_none_are_refused_with_what_to_write(hours, said):
    with pytest.raises(VoiceError, match=said):
        checked_hours(hours)


def test_hours_are_told_in_words():
    assert in_words([OFFICE, Opening(("sun", "sat"), "10:00", "24:00")]) == "mon-fri 09:00-17:00; sat sun 10:00-24:00"


@given(openings)
def test_an_opening_in_words_is_read_as_it_was(opening):
    read = read_opening(in_words([opening]))
    assert (set(read.days), read.opens, read.closes) == (set(opening.days), opening.opens, opening.closes)


def test_days_may_go_over_the_end_of_the_week():
    assert read_opening("Fri-Mon 22:00-02:00") == Opening(("fri", "sat", "sun", "mon"), "22:00", "02:00")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no opening: write mon-fri 09:00-17:00"),
        ("09:00-17:00", "is no opening"),
        ("mon 09:00", "is no opening"),
        ("monday 09:00-17:00", "'monday' is no day: write mon, tue"),
        ("mon- 09:00-17:00", "'mon-' is no day"),
        ("mon 9-17", "'9' is not when it opens"),
    ],
)
def test_words_that_are_no_opening_are_refused_with_what_to_write(text, said):
    with pytest.raises(VoiceError, match=said):
        read_opening(text)
