"""Whose week it is."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from holdfast.incidents.model import WEEK, Person, Rota

HANDOVER = datetime(2026, 11, 30, 9, tzinfo=UTC)
MOMENTS = st.timedeltas(-5000 * WEEK, 5000 * WEEK).map(lambda length: HANDOVER + length)


def rota_of(count: int) -> Rota:
    people = tuple(Person(number, f"p{number}", f"P {number}", None, "responder", number) for number in range(count))
    return Rota(people, HANDOVER)


def on_call(rota: Rota, at: datetime) -> Person:
    found = rota.on_call(at)
    assert found is not None
    return found


@given(st.integers(1, 12), MOMENTS)
def test_everybody_has_every_nth_week_also_before_the_handover(count, at):
    rota = rota_of(count)
    in_turn = [on_call(rota, at + number * WEEK) for number in range(2 * count)]
    assert {one.key for one in in_turn[:count]} == {one.key for one in rota.people}
    assert in_turn[:count] == in_turn[count:]
    places = [rota.people.index(one) for one in in_turn]
    assert all((after - before) % count == 1 % count for before, after in pairwise(places))


@given(st.integers(1, 12), MOMENTS, st.integers(1, 30))
def test_weeks_follow_each_other_without_a_gap_and_the_first_is_now(count, at, weeks):
    rota = rota_of(count)
    found = rota.weeks(at, weeks)
    assert len(found) == weeks
    assert found[0].begins <= at < found[0].ends
    assert all(before.ends == after.begins for before, after in pairwise(found))
    assert all(rota.on_call(week.begins) == week.person for week in found)
    assert all(rota.on_call(week.ends - timedelta(microseconds=1)) == week.person for week in found)
    assert [one.key for one in rota.from_now(at)][: min(weeks, count)] == [week.person.key for week in found][:count]


def test_the_handover_is_the_first_moment_of_the_first_ones_week():
    rota = rota_of(3)
    assert on_call(rota, HANDOVER).key == "p0"
    assert on_call(rota, HANDOVER - timedelta(microseconds=1)).key == "p2"


def test_a_rota_without_people_has_nobody_on_call():
    assert rota_of(0).on_call(HANDOVER) is None
    assert rota_of(0).weeks(HANDOVER, 4) == ()
