"""Whether what was turned for an incident is brought back again, after ways back that failed or that a person stopped.

A line that stays dead cannot be told from one that is well while nobody rings it: only a way back shows it, and costs
calls. So levers of calls wait longer after each way back that failed, and after the third a person decides.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from holdfast.db.pool import Pool
from holdfast.incidents.model import ENGINE
from holdfast.levers import history_store, ramp_store
from holdfast.levers.model import VOICE, Turned, written
from holdfast.levers.ramp import Ramp

BY_STEP = "incident "
"""Begins the reason of what a step turned."""
FIRST_WAIT = timedelta(minutes=10)
"""After the first way back that failed; twice as long after each further one."""
MOST = 3
"""So many may fail."""
_CALLS = frozenset(lever.name for lever in VOICE)


def came_to_nothing(ramp: Ramp) -> bool:
    """Whether a running ramp of calls has stepped back to where it began: it has failed, and does not try for ever."""
    return ramp.plan.lever.name in _CALLS and ramp.state == "running" and ramp.moved == "back" and not ramp.position


async def held_back(pool: Pool, one: Turned, incident_ids: Sequence[int], now: datetime) -> str | None:
    """Why the lever, which no ramp brings back now, stays as it is for the present; None: a ramp may begin."""
    latest = await ramp_store.latest_of(pool, one.name, one.target)
    if latest is not None and await _was_stopped(pool, latest, one):
        return f"ramp {latest.id} was stopped by {latest.stopped_by}: start one, or clear the lever"
    if one.name not in _CALLS:
        return None
    ways = failed(
        [
            ramp
            for ramp in await ramp_store.of_incidents(pool, incident_ids)
            if ramp.plan.lever.name == one.name and one.target in map(str, ramp.plan.targets)
        ]
    )
    if len(ways) >= MOST:
        return f"stays {written(one.value)}, {len(ways)} ways back have failed: keep, clear or start a ramp by hand"
    if not ways or ways[-1].ended_at is None:
        return None
    until = ways[-1].ended_at + FIRST_WAIT * 2 ** (len(ways) - 1)
    if now >= until:
        return None
    begins = f"the next begins at {until.astimezone(UTC):%H:%M:%S} UTC"
    return f"stays {written(one.value)}, {len(ways)} of {MOST} ways back failed: {begins}"


def failed(ramps: Sequence[Ramp]) -> list[Ramp]:
    """Of the ramps of a lever that is off its default, the oldest first: those that did not bring it back for good.

    One that came to its end failed too, since the lever was turned again. A person who starts one begins anew.
    """
    found: list[Ramp] = []
    for ramp in ramps:
        if ramp.actor != ENGINE:
            found = []
        if ramp.state != "running" and ramp.stopped_by is None:
            found.append(ramp)
    return found


async def _was_stopped(pool: Pool, ramp: Ramp, one: Turned) -> bool:
    """Whether a person stopped it, and that holds.

    A step that has turned the lever since begins anew. Not one that goes round what fails by itself, every minute:
    that would pass over the person's word. There it holds until a person acts, or the lever was at its default.
    """
    if ramp.stopped_by is None or ramp.ended_at is None:
        return False
    if ramp.ended_at >= one.set_at or not one.reason.startswith(BY_STEP):
        return True
    by_itself = one.name in _CALLS and one.actor == ENGINE
    return by_itself and not await history_store.was_back(pool, one.name, one.target, ramp.ended_at)
