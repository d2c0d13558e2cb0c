"""Drives ramps: whoever gets the lock looks at all of them, and does what each is to do, in one transaction.

Any process may, as often as it likes: a ramp is a row, and a step is taken with the row in hand. A crash undoes it all.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from holdfast.config import Settings
from holdfast.db.notifications import hint
from holdfast.db.pool import Connection, Pool
from holdfast.levers import ramp_store, store
from holdfast.levers.connections import refuse_too_many
from holdfast.levers.model import RefusedError, Target, Value
from holdfast.levers.ramp import LINE, SETTLES, Decision, Ramp, decide
from holdfast.levers.service import CHANNEL
from holdfast.signals import readings

log = structlog.get_logger()

EVERY = 5.0


OfLine = Callable[[Connection, Target, datetime, datetime], Awaitable[float]]
"""Of the calls of a line in (since, until], the share that failed, at the least, if it is ill; else 0."""


async def drive(pool: Pool, settings: Settings, now: datetime | None = None, *, of_line: OfLine | None = None) -> int:
    """One look at all running ramps; returns 0, there is nothing more to do now.

    `of_line` tells how the very line of a ramp goes since its last step; without, it is read from signals.
    """
    if not await ramp_store.any_running(pool):
        return 0
    moved = False
    async with pool.acquire() as connection, connection.transaction():
        if not await store.try_lock(connection):
            return 0  # somebody else looks, or turns something by hand
        at = now or await store.clock(connection)
        ramps = await ramp_store.running(connection)
        wanted = {guard.reading.name: guard.reading for ramp in ramps for guard in ramp.plan.guards}
        found = await readings.take(connection, wanted.values(), at)
        for ramp in ramps:
            own = await _own_line(connection, ramp, of_line, at) if of_line is not None else {}
            moved |= await _look(connection, settings, ramp, decide(ramp, {**found, **own}, at), at)
    if moved:
        await hint(pool, CHANNEL)
    return 0


async def _own_line(db: Connection, ramp: Ramp, of_line: OfLine, now: datetime) -> dict[str, float]:
    """What the guard of its own line reads. Before the first step only what still rings it tells of it."""
    since = ramp.since if ramp.moved is not None else now - SETTLES
    names = {guard.reading.name for guard in ramp.plan.guards}
    lines = {f"{LINE}{target}": target for target in ramp.plan.targets if f"{LINE}{target}" in names}
    return {name: await of_line(db, target, since, now) for name, target in lines.items()}


async def _look(db: Connection, settings: Settings, ramp: Ramp, decision: Decision, now: datetime) -> bool:
    """Do what was decided; whether a lever was turned."""
    try:
        async with db.transaction():
            return await _do(db, settings, ramp, decision, now)
    except RefusedError as error:
        # Nothing is wrong with the guards, but this step cannot be honoured now: it is tried again at the next look.
        held = Decision("stay", f"cannot go on: {error}", decision.well_since, None, decision.evidence)
        await _stay(db, ramp, held, now, is_news=not ramp.note.startswith("cannot go on"))
        return False


async def _do(db: Connection, settings: Settings, ramp: Ramp, decision: Decision, now: datetime) -> bool:
    match decision.move:
        case "stay":
            await _stay(db, ramp, decision, now, is_news=decision.is_held and _was_well(ramp))
            return False
        case "done":
            await ramp_store.look(db, ramp.id, decision, now)
            await ramp_store.finish(db, ramp, decision.why, now)
            await ramp_store.tell(db, ramp, "done", decision.why, actor=ramp.actor, evidence=decision.evidence, now=now)
            log.info("ramp.done", ramp=ramp.id, lever=ramp.plan.lever.name)
            return False
    position = ramp.position + (1 if decision.move == "step" else -1)
    turned = _changes(ramp, position)
    if decision.move == "step":
        comes_to = ramp.plan.values(position)
        await refuse_too_many(db, settings, ramp.plan.lever, {target: comes_to[target] for target in turned})
    await _apply(db, ramp, turned, f"ramp {ramp.id}: {decision.why}", now)
    await ramp_store.look(db, ramp.id, decision, now)
    await ramp_store.move(db, ramp.id, position, decision.move, now)
    after = await ramp_store.ramp(db, ramp.id)
    assert after is not None
    await ramp_store.tell(db, after, decision.move, decision.why, actor=ramp.actor, evidence=decision.evidence, now=now)
    log.info("ramp.moved", ramp=ramp.id, lever=ramp.plan.lever.name, to=f"{after.percent} %", why=decision.why)
    return True


def _was_well(ramp: Ramp) -> bool:
    """Whether that a guard holds it is news."""
    return ramp.looked_at is None or ramp.well_since is not None or ramp.note.startswith("cannot go on")


async def _stay(db: Connection, ramp: Ramp, decision: Decision, now: datetime, *, is_news: bool) -> None:
    await ramp_store.look(db, ramp.id, decision, now)
    if is_news:
        await ramp_store.tell(db, ramp, "held", decision.why, actor=ramp.actor, evidence=decision.evidence, now=now)
        log.info("ramp.held", ramp=ramp.id, lever=ramp.plan.lever.name, why=decision.why)


def _changes(ramp: Ramp, position: int) -> dict[Target, Value | None]:
    """What is turned on the way from where the ramp is to this position."""
    before = ramp.plan.at(ramp.position)
    return {target: value for target, value in ramp.plan.at(position).items() if value != before[target]}


async def _apply(db: Connection, ramp: Ramp, turned: dict[Target, Value | None], reason: str, now: datetime) -> None:
    name = ramp.plan.lever.name
    for target, value in turned.items():
        if value is None:
            await store.clear(db, name, target, actor=ramp.actor, reason=reason, ramp_id=ramp.id, now=now)
        else:
            await store.turn(
                db,
                name,
                target,
                value,
                actor=ramp.actor,
                reason=reason,
                lasts=None,
                incident_id=ramp.incident_id,
                ramp_id=ramp.id,
                now=now,
            )
