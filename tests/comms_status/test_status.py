"""What the page says follows from published updates alone."""

from datetime import UTC, date, datetime, timedelta

import pytest

from holdfast.comms.status import COMPONENTS, DAYS, Update, by_day, compose

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def update(number, at, state="investigating", *, incident=1, impact="minor", **components):
    return Update(number, incident, at, state, impact, components, f"Title {incident}", f"Body {number}")


def component(status, key):
    return next(one for one in status.components if one.component.key == key)


def test_without_incidents_everything_is_operational():
    status = compose([], NOON)
    assert (status.indicator, status.incidents, status.changed_at) == ("none", (), None)
    assert [one.component for one in status.components] == list(COMPONENTS)
    for one in status.components:
        assert (one.state, one.uptime, len(one.days)) == ("operational", 100.0, DAYS)
        assert one.days[-1].day == date(2026, 5, 4)


@pytest.mark.parametrize(
    ("state", "impact", "indicator"),
    [
        ("degraded_performance", "none", "minor"),
        ("partial_outage", "minor", "major"),
        ("major_outage", "minor", "critical"),
        ("operational", "major", "major"),
        ("under_maintenance", "none", "none"),
    ],
)
def test_the_indicator_is_the_worst_of_components_and_open_incidents(state, impact, indicator):
    assert compose([update(1, NOON, impact=impact, payments=state)], NOON).indicator == indicator


def test_a_component_is_as_the_last_update_of_open_incidents_has_it():
    said = [
        update(1, NOON - 3 * HOUR, payments="major_outage"),
        update(2, NOON - 2 * HOUR, "identified", payments="degraded_performance"),
        update(3, NOON - 2 * HOUR, incident=2, payments="partial_outage", api="degraded_performance"),
    ]
    status = compose(said, NOON)
    assert component(status, "payments").state == "partial_outage"
    assert component(status, "api").state == "degraded_performance"
    assert component(status, "notifications").state == "operational"
    status = compose([*said, update(4, NOON - HOUR, "resolved", incident=2, payments="operational")], NOON)
    assert component(status, "payments").state == "degraded_performance"
    assert [one.id for one in status.open] == [1]
    assert status.indicator == "minor"


def test_a_day_has_the_colour_of_the_worst_on_it_in_utc():
    said = [
        update(1, datetime(2026, 5, 1, 23, tzinfo=UTC), payments="degraded_performance"),
        update(2, datetime(2026, 5, 2, 1, tzinfo=UTC), payments="major_outage"),
        update(3, datetime(2026, 5, 3, 0, tzinfo=UTC), "resolved", payments="operational"),
    ]
    days = {one.day.day: one.worst for one in component(compose(said, NOON), "payments").days if one.day.month == 5}
    assert days == {1: "degraded_performance", 2: "major_outage", 3: "operational", 4: "operational"}


def test_an_incident_that_lasts_colours_every_day_until_now():
    status = compose([update(1, NOON - timedelta(days=200), payments="partial_outage")], NOON)
    assert {day.worst for day in component(status, "payments").days} == {"partial_outage"}
    assert component(status, "payments").uptime == pytest.approx(70.0)


def test_uptime_counts_outages_once_and_slowness_not():
    total = (NOON - datetime(2026, 2, 4, tzinfo=UTC)) / HOUR
    said = [
        update(1, NOON - 20 * HOUR, payments="major_outage", api="degraded_performance"),
        update(2, NOON - 18 * HOUR, incident=2, payments="major_outage"),
        update(3, NOON - 16 * HOUR, "resolved", payments="operational", api="operational"),
        update(4, NOON - 10 * HOUR, "resolved", incident=2, payments="operational"),
    ]
    status = compose(said, NOON)
    assert component(status, "payments").uptime == pytest.approx(100 * (1 - 10 / total))
    assert component(status, "api").uptime == 100.0


def test_what_was_published_this_instant_counts_at_once():
    status = compose([update(1, NOON, payments="major_outage")], NOON)
    assert component(status, "payments").state == component(status, "payments").days[-1].worst == "major_outage"


def test_a_resolved_incident_keeps_the_worst_impact_that_it_had():
    said = [
        update(1, NOON - 3 * HOUR, impact="minor"),
        update(2, NOON - 2 * HOUR, impact="major"),
        update(3, NOON - HOUR, "resolved", impact="none"),
    ]
    (incident,) = compose(said, NOON).incidents
    assert (incident.impact, incident.resolved_at, incident.is_open) == ("major", NOON - HOUR, False)


def test_past_incidents_are_listed_by_the_day_that_they_began_on_today_first():
    said = [
        update(1, NOON - 26 * HOUR, "resolved"),
        update(2, NOON - 25 * HOUR, "resolved", incident=2),
        update(3, NOON, incident=3),
    ]
    days = by_day(compose(said, NOON).incidents, NOON, 3)
    assert [(day.day, [one.id for one in incidents]) for day, incidents in days] == [(4, [3]), (3, [2, 1]), (2, [])]


def test_a_component_that_there_is_no_longer_does_no_harm():
    status = compose([update(1, NOON, fax="major_outage")], NOON)
    assert (status.indicator, status.incidents[0].touched) == ("minor", ())
