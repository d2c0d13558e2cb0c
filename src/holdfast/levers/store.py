"""All SQL of levers and ramps."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import structlog

from holdfast.db.locks import Lock
from holdfast.db.pool import Connection, Pool
from holdfast.levers.model import Change, LeverError, Target, Turned, Value, lever
from holdfast.levers.ramp import Decision, Guard, Plan, Ramp

log = structlog.get_logger()

Executor = Connection | Pool

_CURRENT = "name, target, value, actor, reason, set_at, expires_at, incident_id"
_RAMP = (
    "id, name, targets, origin, goal, clears, steps, hold, guards, actor, reason, incident_id, started_at, state, "
    "position, moved, since, looked_at, well_since, worse_since, note, ended_at"
)
_CHANGE = (
    "at, what, name, target, value, before, actor, reason, expires_at, incident_id, ramp_id, percent, evidence, id"
)
# A lever that somebody turns by hand is theirs: a ramp of it must not turn it on. Whatever turns one says so here.
_RAMPS_END = """
        ended AS (
            UPDATE ramp SET state = 'stopped', ended_at = coalesce({now}::timestamptz, now()),
                            note = {actor}::text || ' {what} it by hand'
            WHERE state = 'running' AND name = {name} AND {target} = ANY(targets) AND id IS DISTINCT FROM {ramp}::bigint
            RETURNING *
        ),
        told AS (
            INSERT INTO lever_history (at, what, name, target, actor, reason, incident_id, ramp_id)
            SELECT ended_at, 'ramp stopped', name, {target}, {actor}::text, note, incident_id, id FROM ended
        )"""


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
    """Set a lever, and write it into the history with what it was before; ends the ramps of it, but for `ramp_id`."""
    row = await db.fetchrow(
        f"""
        WITH {_RAMPS_END.format(ramp="$9", name="$1", target="$2", what="set", actor="$4", now="$8")},
        clock AS (SELECT coalesce($8, now()) AS at),
        before AS (SELECT value FROM lever WHERE name = $1 AND target = $2),
        turned AS (
            INSERT INTO lever (name, target, value, actor, reason, set_at, expires_at, incident_id)
            SELECT $1, $2, $3, $4, $5, at, at + $6::interval, $7 FROM clock
            ON CONFLICT (name, target) DO UPDATE SET value = excluded.value, actor = excluded.actor,
                reason = excluded.reason, set_at = excluded.set_at, expires_at = excluded.expires_at,
                incident_id = excluded.incident_id
            RETURNING {_CURRENT}
        ),
        logged AS (
            INSERT INTO lever_history
                (at, what, name, target, value, before, actor, reason, expires_at, incident_id, ramp_id)
            SELECT set_at, 'set', name, target, value, (SELECT value FROM before), actor, reason, expires_at,
                   incident_id, $9 FROM turned
        )
        SELECT * FROM turned
        """,
        name,
        str(target),
        json.dumps(value),
        actor,
        reason,
        lasts,
        incident_id,
        now,
        ramp_id,
    )
    assert row is not None
    return _turned(row)


async def clear(
    db: Executor,
    name: str,
    target: Target,
    *,
    actor: str,
    reason: str,
    ramp_id: int | None = None,
    now: datetime | None = None,
) -> bool:
    """Back to the default; False if it was there already. Ends the ramps of it, but for `ramp_id`."""
    row = await db.fetchrow(
        f"""
        WITH {_RAMPS_END.format(ramp="$6", name="$1", target="$2", what="cleared", actor="$3", now="$5")},
        cleared AS (DELETE FROM lever WHERE name = $1 AND target = $2 RETURNING *)
        INSERT INTO lever_history (at, what, name, target, before, actor, reason, incident_id, ramp_id)
        SELECT coalesce($5, now()), 'cleared', name, target, value, $3, $4, incident_id, $6 FROM cleared RETURNING 1
        """,
        name,
        str(target),
        actor,
        reason,
        now,
        ramp_id,
    )
    return row is not None


async def expire(db: Executor, now: datetime | None = None) -> list[Turned]:
    """Take back what has reached its end; returns it."""
    rows = await db.fetch(
        f"""
        WITH expired AS (DELETE FROM lever WHERE expires_at <= coalesce($1, now()) RETURNING *),
        logged AS (
            INSERT INTO lever_history (at, what, name, target, before, actor, reason, incident_id)
            SELECT coalesce($1, now()), 'expired', name, target, value, 'holdfast', reason, incident_id FROM expired
        )
        SELECT {_CURRENT} FROM expired
        """,
        now,
    )
    return [_turned(row) for row in rows]


async def current(db: Executor, now: datetime | None = None) -> list[Turned]:
    """What is off its default now."""
    rows = await db.fetch(
        f"""
        SELECT {_CURRENT} FROM lever WHERE expires_at IS NULL OR expires_at > coalesce($1, now())
        ORDER BY name, target
        """,
        now,
    )
    return [_turned(row) for row in rows]


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


async def lock(db: Connection) -> None:
    """Only one at a time decides by what levers and ramps are; until the transaction ends."""
    await db.execute("SELECT pg_advisory_xact_lock($1)", int(Lock.LEVERS))


async def try_lock(db: Connection) -> bool:
    """The same, if nobody has it."""
    return bool(await db.fetchval("SELECT pg_try_advisory_xact_lock($1)", int(Lock.LEVERS)))


async def keep(db: Connection, name: str, targets: Sequence[Target]) -> None:
    """Take their expiry from levers that a ramp brings back: they must not jump back by themselves."""
    names = [str(target) for target in targets]
    await db.execute("UPDATE lever SET expires_at = NULL WHERE name = $1 AND target = ANY($2)", name, names)


async def add_ramp(
    db: Connection, plan: Plan, *, actor: str, reason: str, incident_id: int | None, now: datetime
) -> int:
    row = await db.fetchval(
        """
        INSERT INTO ramp (name, targets, origin, goal, clears, steps, hold, guards, actor, reason, incident_id,
                          started_at, since)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12) RETURNING id
        """,
        plan.lever.name,
        [str(target) for target in plan.targets],
        json.dumps(plan.origin),
        json.dumps(plan.goal),
        plan.clears,
        list(plan.steps),
        plan.hold,
        [str(guard) for guard in plan.guards],
        actor,
        reason,
        incident_id,
        now,
    )
    return int(row)


async def running_of(db: Connection, name: str, targets: Sequence[Target]) -> int | None:
    """The running ramp of one of these, if there is any."""
    names = [str(target) for target in targets]
    found: int | None = await db.fetchval(
        "SELECT id FROM ramp WHERE state = 'running' AND name = $1 AND targets && $2 LIMIT 1", name, names
    )
    return found


async def any_running(db: Executor) -> bool:
    return bool(await db.fetchval("SELECT EXISTS (SELECT FROM ramp WHERE state = 'running')"))


async def running(db: Connection) -> list[Ramp]:
    """All running ramps, theirs until the transaction ends."""
    rows = await db.fetch(f"SELECT {_RAMP} FROM ramp WHERE state = 'running' ORDER BY id FOR UPDATE")
    return _ramps(rows)


async def ramp(db: Executor, ramp_id: int) -> Ramp | None:
    found = _ramps(await db.fetch(f"SELECT {_RAMP} FROM ramp WHERE id = $1", ramp_id))
    return found[0] if found else None


async def ramps(db: Executor, state: str | None, limit: int, *, before: int | None = None) -> list[Ramp]:
    """Newest first; those before the ramp with the id `before`."""
    rows = await db.fetch(
        f"""
        SELECT {_RAMP} FROM ramp
        WHERE ($1::text IS NULL OR state = $1) AND ($3::bigint IS NULL OR id < $3) ORDER BY id DESC LIMIT $2
        """,
        state,
        limit,
        before,
    )
    return _ramps(rows)


async def look(db: Connection, ramp_id: int, decision: Decision, now: datetime) -> None:
    """Remember what was seen and what is waited for."""
    await db.execute(
        "UPDATE ramp SET looked_at = $2, well_since = $3, worse_since = $4, note = $5 WHERE id = $1",
        ramp_id,
        now,
        decision.well_since,
        decision.worse_since,
        decision.why,
    )


async def move(db: Connection, ramp_id: int, position: int, moved: str, now: datetime) -> None:
    await db.execute(
        "UPDATE ramp SET position = $2, moved = $3, since = $4 WHERE id = $1", ramp_id, position, moved, now
    )


async def end(db: Executor, ramp_id: int, state: str, note: str, now: datetime | None = None) -> bool:
    """False if it was over already."""
    row = await db.fetchrow(
        """
        UPDATE ramp SET state = $2, note = $3, ended_at = coalesce($4, now())
        WHERE id = $1 AND state = 'running' RETURNING 1
        """,
        ramp_id,
        state,
        note,
        now,
    )
    return row is not None


async def tell(
    db: Connection, ramp: Ramp, what: str, reason: str, *, actor: str, evidence: Any = None, now: datetime
) -> None:
    """Write into the history what a ramp did or waits for."""
    await db.execute(
        """
        INSERT INTO lever_history (at, what, name, target, actor, reason, incident_id, ramp_id, percent, evidence)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        now,
        f"ramp {what}",
        ramp.plan.lever.name,
        ramp.targets,
        actor,
        reason,
        ramp.incident_id,
        ramp.id,
        ramp.percent,
        json.dumps(evidence) if evidence is not None else None,
    )


async def clock(db: Executor) -> datetime:
    """The store's: the same for all who drive ramps."""
    at: datetime = await db.fetchval("SELECT clock_timestamp()")
    return at


def _ramps(rows: Sequence[asyncpg.Record]) -> list[Ramp]:
    found = []
    for row in rows:
        try:
            found.append(_ramp(row))
        except LeverError as error:  # a newer version's: it drives its own
            log.warning("ramp.not_understood", ramp=row["id"], error=str(error))
    return found


def _ramp(row: asyncpg.Record) -> Ramp:
    plan = Plan(
        lever(row["name"]),
        tuple(Target.read(text) for text in row["targets"]),
        json.loads(row["origin"]),
        json.loads(row["goal"]),
        row["clears"],
        tuple(row["steps"]),
        row["hold"],
        tuple(Guard.read(text) for text in row["guards"]),
    )
    return Ramp(row["id"], plan, *tuple(row)[9:])


def _change(row: asyncpg.Record) -> Change:
    values = dict(row)
    for column in ("value", "before", "evidence"):
        values[column] = _value(values[column])
    return Change(**values)


def _turned(row: asyncpg.Record) -> Turned:
    return Turned(row["name"], row["target"], json.loads(row["value"]), *tuple(row)[3:])


def _value(text: str | None) -> Any:
    return json.loads(text) if text is not None else None
