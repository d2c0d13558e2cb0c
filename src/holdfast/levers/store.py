"""All SQL of levers, but for their history and their ramps."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from holdfast.db.locks import Lock
from holdfast.db.pool import Connection, Pool
from holdfast.incidents.model import ENGINE
from holdfast.levers import ramp_store
from holdfast.levers.history_store import remember, worked_on
from holdfast.levers.model import Change, Cleared, Target, Turned, Value

Executor = Connection | Pool

_CURRENT = "name, target, value, actor, reason, set_at, expires_at, incident_id, before"
_CHANGE = (
    "at, what, name, target, value, before, actor, reason, expires_at, incident_id, ramp_id, percent, evidence, id"
)


async def turn(
    db: Executor,
    name: str,
    target: Target,
    value: Value,
    *,
    actor: str,
    reason: str,
    lasts: timedelta | None,
    incident_id: int | None = None,
    ramp_id: int | None = None,
    now: datetime | None = None,
) -> Turned:
    """Set a lever, and write it into the history with what it was before; ends the ramps of it, but for `ramp_id`.

    What is turned for an incident covers what was not turned for it, which comes back at the end. What belongs to an
    incident and is turned by hand stays the incident's, but covers nothing any more: the value is theirs who turned it.
    """
    async with _transaction(db) as connection:
        at = now or await clock(connection)
        by_hand = incident_id is None and ramp_id is None
        stopped_by = actor if by_hand else None
        await ramp_store.stop_of(connection, name, target, "set", ramp_id, actor=actor, stopped_by=stopped_by, now=at)
        there = await _take(connection, name, target, at)
        turned = Turned(
            name,
            str(target),
            value,
            actor,
            reason,
            at,
            at + lasts if lasts is not None else None,
            incident_id if incident_id is not None or there is None else there.incident_id,
            _covered(there, incident_id) if not by_hand else None,
        )
        await _put(connection, turned)
        await remember(connection, _change_of("set", turned, there.value if there else None, ramp_id))
        return turned


def _covered(there: Turned | None, incident_id: int | None) -> Turned | None:
    """What a turn for an incident, or a step of a ramp, leaves under it."""
    if there is None or incident_id is None or there.incident_id == incident_id:
        return there.before if there is not None else None
    return there.without(incident_id)


async def clear(
    db: Executor,
    name: str,
    target: Target,
    *,
    actor: str,
    reason: str,
    ramp_id: int | None = None,
    now: datetime | None = None,
) -> Cleared | None:
    """Back to what an incident's turn covers, else to the default; None if it was there already.

    Ends the ramps of it, but for `ramp_id`.
    """
    async with _transaction(db) as connection:
        at = now or await clock(connection)
        stopped_by = actor if ramp_id is None and actor != ENGINE else None
        await ramp_store.stop_of(
            connection, name, target, "cleared", ramp_id, actor=actor, stopped_by=stopped_by, now=at
        )
        there = await _take(connection, name, target, at)
        if there is None:
            return None
        return await _end(connection, there, "cleared", actor=actor, reason=reason, ramp_id=ramp_id, now=at)


async def uncover(db: Executor, name: str, target: Target, incident_id: int) -> None:
    """What another turn covers of the incident's will not come back."""
    async with _transaction(db) as connection:
        there = await _row(connection, name, target)
        if there is not None and there.incident_id != incident_id:
            await _put(connection, there.without(incident_id) or there)


async def expire(db: Executor, now: datetime | None = None) -> list[Turned]:
    """Take back what has reached its end; returns it."""
    if not await db.fetchval("SELECT EXISTS (SELECT FROM lever WHERE expires_at <= coalesce($1, now()))", now):
        return []
    async with _transaction(db) as connection:
        at = now or await clock(connection)
        rows = await connection.fetch(
            f"SELECT {_CURRENT} FROM lever WHERE expires_at <= $1 ORDER BY name, target FOR UPDATE SKIP LOCKED", at
        )
        over = [_turned(row) for row in rows]
        for one in over:
            await _end(connection, one, "expired", reason=one.reason, now=at)
    return over


async def renew(db: Executor, one: Turned, until: datetime, *, actor: str, reason: str, now: datetime) -> bool:
    """Let it stay so until then; False if it is no longer as it was."""
    async with _transaction(db) as connection:
        there = await _row(connection, one.name, Target.read(one.target))
        if there != one or one.is_over(now):
            return False
        await _put(connection, replace(one, expires_at=until))
        renewed = Change(
            now, "renewed", one.name, one.target, one.value, one.value, actor, reason, until, one.incident_id
        )
        await remember(connection, renewed)
    return True


async def underneath(db: Connection, turned: Turned, now: datetime) -> Turned | None:
    """What comes back when it ends; None: the default. What is over by then stays away, and so does its incident's."""
    found = turned.before
    while found is not None:
        incident = await worked_on(db, found.incident_id) if found.incident_id is not None else None
        if not found.is_over(now) and (found.incident_id is None or (incident is not None and incident.is_open)):
            return found
        found = found.before
    return None


async def _end(
    db: Connection,
    there: Turned,
    what: str,
    *,
    actor: str = ENGINE,
    reason: str,
    ramp_id: int | None = None,
    now: datetime,
) -> Cleared:
    back = await underneath(db, there, now)
    if back is None:
        await db.execute("DELETE FROM lever WHERE name = $1 AND target = $2", there.name, there.target)
    else:
        await _put(db, back)
    change = Change(
        now,
        what,
        there.name,
        there.target,
        back.value if back else None,
        there.value,
        actor,
        reason,
        back.expires_at if back else None,
        there.incident_id,
        ramp_id,
    )
    await remember(db, change)
    return Cleared(there, back)


async def _take(db: Connection, name: str, target: Target, now: datetime) -> Turned | None:
    """The lever, which nobody else turns until the transaction ends; what is over is taken back first."""
    there = await _row(db, name, target)
    while there is not None and there.is_over(now):
        there = (await _end(db, there, "expired", reason=there.reason, now=now)).now
    return there


async def _row(db: Connection, name: str, target: Target) -> Turned | None:
    row = await db.fetchrow(
        f"SELECT {_CURRENT} FROM lever WHERE name = $1 AND target = $2 FOR UPDATE", name, str(target)
    )
    return _turned(row) if row is not None else None


async def _put(db: Connection, turned: Turned) -> None:
    await db.execute(
        """
        INSERT INTO lever (name, target, value, actor, reason, set_at, expires_at, incident_id, before)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (name, target) DO UPDATE SET value = excluded.value, actor = excluded.actor,
            reason = excluded.reason, set_at = excluded.set_at, expires_at = excluded.expires_at,
            incident_id = excluded.incident_id, before = excluded.before
        """,
        turned.name,
        turned.target,
        json.dumps(turned.value),
        turned.actor,
        turned.reason,
        turned.set_at,
        turned.expires_at,
        turned.incident_id,
        json.dumps(_kept(turned.before)) if turned.before is not None else None,
    )


async def current(db: Executor, now: datetime | None = None) -> list[Turned]:
    """What is off its default now. What has just expired is what it covered, until it is taken back."""
    rows = await db.fetch(
        f"""
        SELECT {_CURRENT}, expires_at <= coalesce($1, now()) AS is_over, coalesce($1, now()) AS at FROM lever
        WHERE expires_at IS NULL OR expires_at > coalesce($1, now()) OR before IS NOT NULL
        ORDER BY name, target
        """,
        now,
    )
    found = []
    for row in rows:
        one: Turned | None = _turned(row)
        while row["is_over"] and one is not None and one.is_over(row["at"]):
            one = one.before
        if one is not None:
            found.append(one)
    return found


async def history(
    db: Executor, name: str | None, limit: int, *, before: int | None = None, ramp_id: int | None = None
) -> Sequence[Change]:
    """Newest first; those before the change with the id `before`, and those of one ramp."""
    rows = await db.fetch(
        f"""
        SELECT {_CHANGE} FROM lever_history
        WHERE ($1::text IS NULL OR name = $1) AND ($3::bigint IS NULL OR id < $3)
          AND ($4::bigint IS NULL OR ramp_id = $4)
        ORDER BY id DESC LIMIT $2
        """,
        name,
        limit,
        before,
        ramp_id,
    )
    return [_change(row) for row in rows]


async def turns(db: Executor, incident_id: int, since: datetime, until: datetime, limit: int = 500) -> Sequence[Change]:
    """What was turned for an incident, and what was turned in its time for none; the oldest first."""
    rows = await db.fetch(
        f"""
        SELECT {_CHANGE} FROM lever_history
        WHERE incident_id = $1 OR (incident_id IS NULL AND at >= $2 AND at <= $3) ORDER BY id LIMIT $4
        """,
        incident_id,
        since,
        until,
        limit,
    )
    return [_change(row) for row in rows]


async def last_turns(
    db: Executor, incident_ids: Sequence[int], since: datetime, until: datetime, names: Sequence[str]
) -> Sequence[Change]:
    """The last turn of each of these levers and targets, for the incidents, or in the time for none."""
    rows = await db.fetch(
        f"""
        SELECT DISTINCT ON (name, target) {_CHANGE} FROM lever_history
        WHERE (incident_id = ANY($1::bigint[]) OR (incident_id IS NULL AND at >= $2 AND at <= $3))
          AND name = ANY($4::text[]) AND what IN ('set', 'cleared', 'expired')
        ORDER BY name, target, at DESC, id DESC
        """,
        list(incident_ids),
        since,
        until,
        list(names),
    )
    return [_change(row) for row in rows]


async def lock(db: Connection) -> None:
    """Only one at a time decides by what levers and ramps are; until the transaction ends."""
    await db.execute("SELECT pg_advisory_xact_lock($1)", int(Lock.LEVERS))


async def try_lock(db: Connection) -> bool:
    """The same, if nobody has it."""
    return bool(await db.fetchval("SELECT pg_try_advisory_xact_lock($1)", int(Lock.LEVERS)))


@asynccontextmanager
async def _transaction(db: Executor) -> AsyncIterator[Connection]:
    """The transaction that the connection is in, or one of its own."""
    if isinstance(db, asyncpg.Pool):
        async with db.acquire() as connection, connection.transaction():
            yield connection
    else:
        async with db.transaction():
            yield db


async def clock(db: Executor) -> datetime:
    """The store's: the same for all who drive ramps."""
    at: datetime = await db.fetchval("SELECT clock_timestamp()")
    return at


def _change(row: asyncpg.Record) -> Change:
    values = dict(row)
    for column in ("value", "before", "evidence"):
        values[column] = _value(values[column])
    return Change(**values)


def _change_of(what: str, turned: Turned, before: Value | None, ramp_id: int | None) -> Change:
    return Change(
        turned.set_at,
        what,
        turned.name,
        turned.target,
        turned.value,
        before,
        turned.actor,
        turned.reason,
        turned.expires_at,
        turned.incident_id,
        ramp_id,
    )


def _turned(row: asyncpg.Record) -> Turned:
    covered = json.loads(row["before"]) if row["before"] is not None else None
    return Turned(
        row["name"],
        row["target"],
        json.loads(row["value"]),
        row["actor"],
        row["reason"],
        row["set_at"],
        row["expires_at"],
        row["incident_id"],
        _read(row["name"], row["target"], covered),
    )


def _kept(turned: Turned | None) -> dict[str, Any] | None:
    """As it is written down in the row that covers it."""
    if turned is None:
        return None
    return {
        "value": turned.value,
        "actor": turned.actor,
        "reason": turned.reason,
        "set_at": turned.set_at.isoformat(),
        "expires_at": turned.expires_at.isoformat() if turned.expires_at is not None else None,
        "incident_id": turned.incident_id,
        "before": _kept(turned.before),
    }


def _read(name: str, target: str, kept: dict[str, Any] | None) -> Turned | None:
    if kept is None:
        return None
    return Turned(
        name,
        target,
        kept["value"],
        kept["actor"],
        kept["reason"],
        datetime.fromisoformat(kept["set_at"]),
        datetime.fromisoformat(kept["expires_at"]) if kept["expires_at"] is not None else None,
        kept["incident_id"],
        _read(name, target, kept["before"]),
    )


def _value(text: str | None) -> Any:
    return json.loads(text) if text is not None else None
