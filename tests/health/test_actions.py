"""The end of a backlog: when it is over, and what is added so that it ends."""

import uuid
from datetime import UTC, datetime, timedelta

from holdfast.db import processes
from holdfast.health.actions import add_workers, drained
from holdfast.levers import store as levers
from holdfast.levers.actions import levers_off
from holdfast.queue import store as queue
from holdfast.queue.model import ClaimPolicy, Lane, NewWork, Postponed, Stage
from holdfast.queue.service import Claimer
from holdfast.runbooks.actions import Done, Waiting
from tests.levers.incidents import opened, run


async def waiting(pool, now, count, *, stage=Stage.DELIVER, minutes=10, first=0):
    """So many have waited for ten minutes."""
    received = now - timedelta(minutes=minutes)
    works = [NewWork(first + ref, Lane.CRITICAL, 0, 7, received) for ref in range(count)]
    await queue.enqueue(pool, stage, works, now=received)


async def test_a_backlog_is_not_gone_while_notifications_wait(pool):
    now = datetime.now(UTC)
    incident = await opened(pool, now)
    assert isinstance(await drained.run(run(pool, incident, now)), Done)
    await waiting(pool, now, 200)
    assert isinstance(await drained.run(run(pool, incident, now)), Waiting)
    outcome = await drained.run(run(pool, incident, now))
    assert (type(outcome), "deliver critical: 200" in outcome.said) == (Waiting, True)


async def test_what_waits_for_its_next_try_at_a_destination_that_is_down_is_no_backlog(pool):
    now = datetime.now(UTC)
    incident = await opened(pool, now)
    await waiting(pool, now, 20)
    works = await Claimer(pool, Stage.DELIVER, ClaimPolicy()).claim(20)
    later = [Postponed(work.ref, 3600.0, True) for work in works]
    await queue.postpone(pool, Stage.DELIVER, works, later, now=now)
    assert isinstance(await drained.run(run(pool, incident, now + timedelta(seconds=1))), Done)
    await waiting(pool, now, 200, first=100, minutes=0)
    assert isinstance(await drained.run(run(pool, incident, now + timedelta(seconds=1))), Waiting)


async def test_workers_are_added_once_as_the_step_before_would_and_are_in_the_ledger(pool, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    now = datetime.now(UTC)
    incident = await opened(pool, now)
    await processes.beat(pool, uuid.uuid4(), "worker", "a", 1)
    await waiting(pool, now, 300, stage=Stage.ROUTE)
    outcome = await drained.run(run(pool, incident, now))
    assert (type(outcome), outcome.said.startswith("worker processes 1 → ")) == (Waiting, True)
    (turned,) = await levers.current(pool)
    assert (turned.name, turned.incident_id) == ("processes.workers", incident.id)
    assert len(await levers_off(pool, incident.id)) == 1
    outcome = await drained.run(run(pool, incident, now))
    assert "route critical: 300" in outcome.said
    assert await levers.current(pool) == [turned]


async def test_waiting_for_the_end_is_never_taken_for_done_because_workers_were_added(pool):
    assert (drained.changes, drained.verifies, drained.undoes) == (False, None, None)
    assert (add_workers.changes, add_workers.is_listed) == (True, True)
