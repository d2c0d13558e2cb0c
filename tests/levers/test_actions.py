"""What runbooks do with levers: slower, and back again in steps that nobody's word is passed over for."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.incidents import store as incidents
from holdfast.levers import actions, driver, ramp_store, store, turning
from holdfast.levers.actions import bring_back, slow_router
from holdfast.levers.model import EVERYTHING, PROCESSES, RefusedError, Target
from holdfast.levers.turning import Turner
from holdfast.merchants.names import Names
from holdfast.runbooks.actions import Done, Waiting
from tests.levers.incidents import SETTINGS, opened, run
from tests.signals.measured import level, measured

WORKERS = "processes.workers"
TRIP = "postgres_round_trip_seconds"


@pytest.fixture
def now():
    """Actions turn levers in the store's time."""
    return datetime.now(UTC)


@pytest.fixture
def turner(pool):
    return Turner(pool, SETTINGS, Names(pool))


async def turned(pool, value, incident, now, *, name=WORKERS, target=EVERYTHING, actor="holdfast", ago=60):
    return await store.turn(
        pool,
        name,
        target,
        value,
        actor=actor,
        reason="backlog",
        lasts=timedelta(hours=2),
        incident_id=incident.id if incident else None,
        now=now - timedelta(seconds=ago),
    )


async def back(pool, incident, now, **parameters):
    return await bring_back.run(run(pool, incident, now), **parameters)


async def said(function, here):
    assert function is not None
    return await function(here)


async def values(pool):
    return [one.value for one in await store.current(pool)]


async def ramps(pool):
    return [(one.state, one.actor) for one in await ramp_store.ramps(pool, None, 10)]


async def test_what_was_turned_for_the_incident_comes_back_by_a_ramp(pool, now):
    incident = await opened(pool, now)
    await turned(pool, 9, incident, now)
    outcome = await back(pool, incident, now)
    assert (type(outcome), "brings processes.workers back from 9" in outcome.said) == (Waiting, True)
    assert (await values(pool), await ramps(pool)) == ([9], [("running", "holdfast")])
    outcome = await back(pool, incident, now)
    assert outcome.said == "processes.workers is 0 % of the way back (it has just begun)"
    assert len(await ramps(pool)) == 1


async def test_a_ramp_that_somebody_else_started_is_the_one_that_is_waited_for(pool, turner, now):
    incident = await opened(pool, now)
    await turned(pool, 9, incident, now)
    await turner.start_ramp(WORKERS, [], actor="ben", reason="")
    outcome = await back(pool, incident, now)
    assert (type(outcome), "0 % of the way back" in outcome.said) == (Waiting, True)
    assert (await values(pool), await ramps(pool)) == ([9], [("running", "ben")])


async def test_what_is_refused_is_waited_for_and_never_cleared_in_one_jump(pool, now, monkeypatch):
    incident = await opened(pool, now)
    await turned(pool, 9, incident, now)

    async def too_many(*_):
        raise RefusedError("too many connections")

    monkeypatch.setattr(turning, "refuse_too_many", too_many)
    outcome = await back(pool, incident, now)
    assert (type(outcome), outcome.said) == (Waiting, "processes.workers stays 9 for now: too many connections")
    assert await values(pool) == [9]


async def test_a_ramp_that_a_person_stopped_is_not_started_anew(pool, turner, now):
    incident = await opened(pool, now)
    await turned(pool, 9, incident, now)
    await back(pool, incident, now)
    (ramp,) = await ramp_store.ramps(pool, None, 10)
    await turner.stop_ramp(ramp.id, actor="eve", reason="too early")
    outcome = await back(pool, incident, now)
    said = f"processes.workers: ramp {ramp.id} was stopped by eve: start one, or clear the lever"
    assert (type(outcome), outcome.said) == (Waiting, said)
    assert (await values(pool), len(await ramps(pool))) == ([9], 1)
    await turner.turn(WORKERS, "", "10", actor="eve", reason="rather ten")
    assert (await back(pool, incident, now)).said == said
    await actions.turn(run(pool, incident, now), PROCESSES, EVERYTHING, 12, timedelta(hours=1))
    assert "brings processes.workers back from 12" in (await back(pool, incident, now)).said


async def test_a_lever_that_a_person_turned_in_mid_ramp_is_left_to_them(pool, turner, now):
    incident = await opened(pool, now)
    await turned(pool, 9, incident, now)
    await back(pool, incident, now)
    await turner.turn(WORKERS, "", "7", actor="eve", reason="enough")
    outcome = await back(pool, incident, now)
    assert (type(outcome), "was stopped by eve" in outcome.said) == (Waiting, True)
    assert await values(pool) == [7]
    await turner.clear(WORKERS, "", actor="eve", reason="over")
    assert not isinstance(await back(pool, incident, now), Waiting)


async def test_where_nothing_lies_between_the_lever_is_cleared_to_what_was_there(pool, now):
    incident = await opened(pool, now)
    bulk = Target("lane", "bulk")
    await turned(pool, True, None, now, name="queue.paused", target=bulk, actor="ana")
    await turned(pool, True, incident, now, name="queue.paused", target=bulk)
    outcome = await back(pool, incident, now)
    assert outcome.said == "queue.paused lane:bulk is back at on"
    (one,) = await store.current(pool)
    assert (one.value, one.actor, one.incident_id) == (True, "ana", None)


async def test_levers_of_incidents_that_were_merged_into_it_come_back_too(pool, now):
    first, second = await opened(pool, now), await opened(pool, now, "other")
    await turned(pool, 9, first, now)
    await incidents.merge(pool, first.id, second.id)
    assert isinstance(await back(pool, second, now), Waiting)
    (ramp,) = await ramp_store.ramps(pool, None, 10)
    assert (ramp.incident_id, ramp.plan.lever.name) == (first.id, WORKERS)
    await pool.execute("UPDATE ramp SET guards = '{database.round_trip<0.1}'")
    for seconds in range(0, 400, 5):
        when = now + timedelta(seconds=seconds)
        await measured(pool, when, TRIP, level(0.01), ago=1)
        await driver.drive(pool, SETTINGS, when)
    outcome = await back(pool, second, now)
    assert (type(outcome), outcome.said) == (Done, "back to normal: processes.workers")


async def test_undoing_a_step_brings_back_what_a_person_had_set(pool, now):
    incident = await opened(pool, now)
    await turned(pool, 4, None, now, name="router.concurrency", actor="ana")
    here = run(pool, incident, now)
    assert isinstance(await slow_router.run(here), Done)
    assert await values(pool) == [2]
    assert await said(slow_router.undoes, here) == "router.concurrency is 4 again"
    assert await values(pool) == [4]


async def test_what_is_undone_while_another_incident_s_turn_covers_it_does_not_come_back(pool, now):
    first, second = await opened(pool, now), await opened(pool, now, "other")
    await turned(pool, 6, first, now)
    await turned(pool, 9, second, now)
    assert not await actions.clear(run(pool, first, now), PROCESSES, EVERYTHING)
    await store.clear(pool, WORKERS, EVERYTHING, actor="ben", reason="over")
    assert await values(pool) == []


async def test_slowing_the_router_says_beforehand_what_it_would_do_and_by_which_figures(pool, now):
    incident = await opened(pool, now)
    await measured(pool, now, TRIP, level(0.25), ago=1)
    text = await said(slow_router.drafts, run(pool, incident, now))
    assert text.startswith("router.concurrency: 2 → 1 for 60 min, then 2 again.")
    assert "database.round_trip<0.1: 0.25 now" in text
    assert "router.error_ratio<1%: not known" in text
    await turned(pool, 1, incident, now, name="router.concurrency")
    assert await said(slow_router.drafts, run(pool, incident, now)) == "router.concurrency is 1 already."
