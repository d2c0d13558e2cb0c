"""All SQL of levers."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.levers.model import Change, Target, Turned, Value

Executor = Connection | Pool

_CURRENT = "name, target, value, actor, reason, set_at, expires_at, incident_id"


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
    now: datetime | None = None,
) -> Turned:
    """Set a lever, and write it into the history with what it was before."""
    row = await db.fetchrow(
        f"""
        WITH clock AS (SELECT coalesce($8, now()) AS at),
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
            INSERT INTO lever_history (at, what, name, target, value, before, actor, reason, expires_at, incident_id)
            SELECT set_at, 'set', name, target, value, (SELECT value FROM before), actor, reason, expires_at,
                   incident_id FROM turned
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
    )
    assert row is not None
    return _turned(row)


async def clear(
    db: Executor, name: str, target: Target, *, actor: str, reason: str, now: datetime | None = None
) -> bool:
    """Back to the default; False if it was there already."""
    row = await db.fetchrow(
        """
        WITH cleared AS (DELETE FROM lever WHERE name = $1 AND target = $2 RETURNING *)
        INSERT INTO lever_history (at, what, name, target, before, actor, reason, incident_id)
        SELECT coalesce($5, now()), 'cleared', name, target, value, $3, $4, incident_id FROM cleared RETURNING 1
        """,
        name,
        str(target),
        actor,
        reason,
        now,
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


async def history(db: Executor, name: str | None, limit: int) -> Sequence[Change]:
    """Newest first."""
    rows = await db.fetch(
        """
        SELECT at, what, name, target, value, before, actor, reason, expires_at, incident_id FROM lever_history
        WHERE $1::text IS NULL OR name = $1 ORDER BY id DESC LIMIT $2
        """,
        name,
        limit,
    )
    return [_change(row) for row in rows]


def _change(row: asyncpg.Record) -> Change:
    at, what, name, target, value, before, actor, reason, expires_at, incident_id = row
    return Change(at, what, name, target, _value(value), _value(before), actor, reason, expires_at, incident_id)


def _turned(row: asyncpg.Record) -> Turned:
    return Turned(row["name"], row["target"], json.loads(row["value"]), *tuple(row)[3:])


def _value(text: str | None) -> Value | None:
    found: Value | None = json.loads(text) if text is not None else None
    return found
