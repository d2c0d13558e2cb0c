"""What is off its default because of an incident: what it was before comes back, and the incident's log tells it."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.incidents import store as incidents
from holdfast.levers import driver, ramp_store, store
from holdfast.levers.actions import levers_off
from holdfast.levers.model import EVERYTHING, Target
from holdfast.levers.service import expire
from holdfast.levers.turning import Turner
from holdfast.merchants.names import Names
from tests.levers.incidents import SETTINGS, opened, told
from tests.signals.measured import level, measured

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
WORKERS = "processes.workers"
HOUR = timedelta(hours=1)


def at(minutes):
    return NOON + timedelta(minutes=minutes)


@pytest.fixture
def turner(pool):
    return Turner(pool, SETTINGS, Names(pool))


async def turned(pool, value, *, incident=None, minute=0, lasts=None, actor=None, name=WORKERS, target=EVERYTHING):
    return await store.turn(
        pool,
        name,
        target,
        value,
        actor=actor or ("holdfast" if incident else "ana"),
        reason="backlog" if incident else "we always need six",
        lasts=lasts,
        incident_id=incident.id if incident else None,
        now=at(minute),
    )


async def cleared(pool, minute, actor="ben"):
    return await store.clear(pool, WORKERS, EVERYTHING, actor=actor, reason="calm", now=at(minute))


async def now(pool, minute):
    """What is in force: value, who turned it, for which incident."""
    return [(one.value, one.actor, one.incident_id) for one in await store.current(pool, at(minute))]


async def test_what_was_turned_for_an_incident_goes_back_to_what_a_person_had_set(pool):
    incident = await opened(pool, NOON)
    await turned(pool, 6)
    await turned(pool, 8, incident=incident, minute=1, lasts=HOUR)
    await turned(pool, 10, incident=incident, minute=2, lasts=HOUR)
    assert await now(pool, 3) == [(10, "holdfast", incident.id)]
    back = await cleared(pool, 4)
    assert (back.was.value, back.now.value) == (10, 6)
    assert await now(pool, 5) == [(6, "ana", None)]
    newest, *_ = await store.history(pool, WORKERS, 1)
    assert (newest.what, newest.before, newest.value, newest.actor) == ("cleared", 10, 6, "ben")
    assert (await cleared(pool, 6)).now is None
    assert await cleared(pool, 7) is None


async def test_at_its_end_it_goes_back_at_once_and_not_by_way_of_the_default(pool):
    incident = await opened(pool, NOON)
    await turned(pool, 6)
    await turned(pool, 8, incident=incident, minute=1, lasts=HOUR)
    assert await now(pool, 61) == [(6, "ana", None)]
    await expire(pool, at(61))
    assert await now(pool, 61) == [(6, "ana", None)]
    newest, *_ = await store.history(pool, WORKERS, 1)
    assert (newest.what, newest.before, newest.value) == ("expired", 8, 6)


async def test_what_has_expired_meanwhile_does_not_come_back(pool):
    incident = await opened(pool, NOON)
    await turned(pool, 6, lasts=timedelta(minutes=30))
    await turned(pool, 8, incident=incident, minute=1, lasts=HOUR)
    await cleared(pool, 40)
    assert await now(pool, 40) == []


async def test_of_two_incidents_each_keeps_its_own_and_the_person_s_value_is_under_both(pool):
    first, second = await opened(pool, NOON), await opened(pool, NOON, "other")
    await turned(pool, 6)
    await turned(pool, 8, incident=first, minute=1)
    await turned(pool, 12, incident=second, minute=2)
    await turned(pool, 9, incident=first, minute=3)
    await cleared(pool, 4)
    assert await now(pool, 4) == [(12, "holdfast", second.id)]
    await cleared(pool, 5)
    assert await now(pool, 5) == [(6, "ana", None)]


async def test_what_was_turned_for_an_incident_that_is_over_does_not_come_back(pool):
    first, second = await opened(pool, NOON), await opened(pool, NOON, "other")
    await turned(pool, 6)
    await turned(pool, 8, incident=first, minute=1)
    await turned(pool, 12, incident=second, minute=2)
    await incidents.set_state(pool, first.id, "resolved", at(3))
    await cleared(pool, 4)
    assert await now(pool, 4) == [(6, "ana", None)]


async def test_a_ramp_of_the_incident_s_turn_comes_to_what_was_before(pool, turner):
    incident = await opened(pool, NOON)
    await turned(pool, 6)
    await turned(pool, 10, incident=incident, lasts=HOUR)
    ramp = await turner.start_ramp(
        WORKERS, [], steps=(50, 100), guards=["database.round_trip<0.1"], actor="ben", reason="calm", now=NOON
    )
    assert (ramp.plan.goal, ramp.plan.clears, ramp.incident_id) == (6, True, incident.id)
    seen = []
    for second in range(0, 130, 5):
        when = NOON + timedelta(seconds=second)
        await measured(pool, when, "postgres_round_trip_seconds", level(0.01), ago=1)
        await driver.drive(pool, SETTINGS, when)
        seen += await now(pool, 3)
    assert list(dict.fromkeys(seen)) == [(8, "ben", incident.id), (6, "ana", None)]
    ended = await ramp_store.ramp(pool, ramp.id)
    assert ended is not None
    assert ended.state == "done"


async def test_what_a_person_turns_by_hand_has_nothing_under_it(pool):
    incident = await opened(pool, NOON)
    await turned(pool, 6)
    await turned(pool, 8, incident=incident, minute=1)
    await turned(pool, 7, minute=2, actor="ben")
    await cleared(pool, 3)
    assert await now(pool, 3) == []


async def test_a_lever_of_an_incident_that_is_turned_by_hand_stays_in_its_ledger(pool, turner):
    incident = await opened(pool, NOON)
    await turned(pool, 8, incident=incident)
    await turner.turn(WORKERS, "", "7", actor="ben", reason="eight are too many", now=at(1))
    assert await now(pool, 2) == [(7, "ben", incident.id)]
    (one,) = await levers_off(pool, incident.id)
    assert (one.what, one.actor) == ("processes.workers is 7", "ben")
    await turner.clear(WORKERS, "", actor="ben", reason="calm", now=at(3))
    await turner.turn(WORKERS, "", "4", actor="ben", reason="as I like it", now=at(4))
    assert await now(pool, 5) == [(4, "ben", None)]


async def test_the_ledger_says_what_the_value_was_before_and_who_had_set_it(pool):
    incident = await opened(pool, NOON)
    await turned(pool, 6)
    await turned(pool, 8, incident=incident)
    (one,) = await levers_off(pool, incident.id)
    assert one.what == "processes.workers is 8 (6 before, by ana)"


async def test_a_lever_that_expires_in_mid_incident_is_seen_in_its_log(pool):
    incident = await opened(pool, NOON)
    await turned(pool, 6)
    await turned(pool, 8, incident=incident, lasts=HOUR)
    await turned(pool, 7, minute=1, actor="ben", lasts=HOUR)
    await turned(pool, 3, minute=1, name="router.concurrency")
    await expire(pool, at(70))
    assert await told(pool, incident) == [
        ("holdfast", "processes.workers 6 → 8 until 2026-05-04 13:00:00 UTC: backlog"),
        ("ben", "processes.workers 8 → 7 until 2026-05-04 13:01:00 UTC: we always need six"),
        ("holdfast", "processes.workers expired 7 → its default: we always need six"),
    ]
    *_, last = await incidents.entries(pool, incident.id)
    assert (last.at, last.evidence) == (at(70), {"lever": WORKERS, "before": 7})


async def test_every_turn_of_a_ramp_is_in_the_log_with_what_its_guards_saw(pool, turner):
    incident = await opened(pool, NOON)
    await turned(pool, 3, incident=incident)
    guard = "database.round_trip<0.1"
    ramp = await turner.start_ramp(WORKERS, [], steps=(100,), guards=[guard], actor="ben", reason="", now=NOON)
    await measured(pool, NOON, "postgres_round_trip_seconds", level(0.01), ago=1)
    await driver.drive(pool, SETTINGS, NOON)
    await turner.stop_ramp(ramp.id, actor="eve", reason="enough", now=at(1))
    _, *said = await told(pool, incident)
    assert said == [
        ("ben", f"processes.workers: ramp {ramp.id} started at 0 %: from 3 back to 1 by 100 %"),
        ("ben", f"processes.workers cleared 3 → its default: ramp {ramp.id}: all is well"),
        ("ben", f"processes.workers: ramp {ramp.id} went on at 100 %: all is well"),
        ("eve", f"processes.workers: ramp {ramp.id} was stopped at 100 %: enough"),
    ]
    stepped = (await incidents.entries(pool, incident.id))[-2]
    assert stepped.evidence["guards"][0]["guard"] == guard


async def test_of_a_merged_incident_the_log_that_people_read_tells_it(pool):
    first, second = await opened(pool, NOON), await opened(pool, NOON, "other")
    await incidents.merge(pool, first.id, second.id)
    await turned(pool, 8, incident=first)
    assert (len(await told(pool, first)), len(await told(pool, second))) == (0, 1)


async def test_the_log_and_the_turn_are_one(pool):
    incident = await opened(pool, NOON)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await store.turn(
            connection, WORKERS, EVERYTHING, 8, actor="holdfast", reason="", lasts=None, incident_id=incident.id
        )
        await transaction.rollback()
    assert (await store.current(pool), await told(pool, incident)) == ([], [])


async def test_a_stopped_ramp_gives_the_lever_its_expiry_back_or_an_hour(pool, turner):
    incident = await opened(pool, NOON)
    bulk, critical = Target("lane", "bulk"), Target("lane", "critical")
    for target, lasts in ((bulk, timedelta(minutes=10)), (critical, timedelta(hours=5))):
        await turned(pool, 50, incident=incident, lasts=lasts, name="queue.weight", target=target)
        ramp = await turner.start_ramp("queue.weight", [str(target)], actor="ben", reason="", now=at(1))
        await turner.stop_ramp(ramp.id, actor="ben", reason="", now=at(2))
    ends = {one.target: one.expires_at for one in await store.current(pool, at(3))}
    assert ends == {"lane:bulk": at(62), "lane:critical": at(300)}


async def test_a_stopped_ramp_gives_no_expiry_to_what_had_none(pool, turner):
    await turned(pool, 6)
    ramp = await turner.start_ramp(WORKERS, [], actor="ben", reason="", now=at(1))
    await turner.stop_ramp(ramp.id, actor="ben", reason="", now=at(2))
    assert [one.expires_at for one in await store.current(pool, at(3))] == [None]
