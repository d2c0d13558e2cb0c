"""Where people may be is told by their numbers; quiet hours are kept in the outermost of the zones."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from holdfast.consent.zones import zones_of


def offsets(zones: Iterable[str], at: datetime) -> set[timedelta]:
    return {at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta(0) for zone in zones}


@pytest.mark.parametrize(
    ("phone", "zones"),
    [
        ("+14155550100", ("America/Los_Angeles",)),
        ("+18005550100", ("America/New_York", "Pacific/Honolulu")),
        ("+442079460000", ("Europe/London",)),
        ("+0", ("UTC",)),
    ],
)
def test_a_number_says_where_somebody_may_be(phone, zones):
    assert zones_of(phone) == zones


@pytest.mark.parametrize("month", [1, 7])
def test_of_many_zones_those_are_kept_where_it_is_earliest_and_latest_all_year(month):
    from phonenumbers.tzdata import TIMEZONE_DATA

    at = datetime(datetime.now(UTC).year, month, 1, tzinfo=UTC)
    for prefix, names in TIMEZONE_DATA.items():
        if len(names) <= 6 or prefix.startswith("1"):
            continue
        every = offsets((zone for zone in names if not zone.startswith("Etc/Unknown")), at)
        found = offsets(zones_of(f"+{prefix}"), at)
        assert {min(found), max(found)} == {min(every), max(every)}, prefix
        assert len(zones_of(f"+{prefix}")) <= 4
