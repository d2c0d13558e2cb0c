"""All SQL of ramps."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import structlog

from holdfast.db.pool import Connection, Pool
from holdfast.levers.history_store import remember
from holdfast.levers.model import Change, LeverError, Target, lever
from holdfast.levers.ramp import Decision, Guard, Plan, Ramp, State

log = structlog.get_logger()

Executor = Connection | Pool

LEAST = timedelta(hours=1)
"""For so long a lever that had an expiry keeps its value at least when its ramp is stopped."""
_RAMP = (
    "id, name, targets, origin, goal, clears, steps, hold, guards, actor, reason, incident_id, started_at, state, "
    "position, moved, since, looked_at, well_since, worse_since, note, ended_at, stopped_by, expires_at"
)


async def keep(
    db: Connection, name: str, targets: Sequence[Target], *, adopted_by: int | None = None
) -> datetime | None:
    """Take their expiry from levers that a ramp brings back: they must not jump back by themselves.

    Returns the first of the expiries. Those of no incident are `adopted_by` the one that brings them back.
    """
    first: datetime | None = await db.fetchval(
        """
        WITH had AS (
            SELECT name, target, expires_at FROM lever WHERE name = $1 AND target = ANY($2) FOR UPDATE
        ),
        kept AS (
            UPDATE lever SET expires_at = NULL, incident_id = coalesce(lever.incident_id, $3) FROM had
            WHERE lever.name = had.name AND lever.target = had.target
        )
        SELECT min(expires_at) FROM had
        """,
        name,
        [str(target) for target in targets],
        adopted_by,
    )
    return first


async def _give_back(db: Connection, ramp: Ramp, now: datetime) -> None:
    """Let the levers that are still on their way expire again, if they would have; not before the hour is over."""
    if ramp.expires_at is None:
        return
    on_their_way = [str(target) for target, value in ramp.plan.at(ramp.position).items() if value is not None]
    await db.execute(
        """
        UPDATE lever SET expires_at = greatest($3::timestamptz, $4::timestamptz)
        WHERE name = $1 AND target = ANY($2) AND expires_at IS NULL
        """,
        ramp.plan.lever.name,
        on_their_way,
        ramp.expires_at,
        now + LEAST,
    )


async def add_ramp(
    db: Connection,
    plan: Plan,
    *,
    actor: str,
    reason: str,
    incident_id: int | None,
    expires_at: datetime | None,
    now: datetime,
) -> int:
    row = await db.fetchval(
        """
        INSERT INTO ramp (name, targets, origin, goal, clears, steps, hold, guards, actor, reason, incident_id,
                          started_at, since, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $13) RETURNING id
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
        expires_at,
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


async def latest_of(db: Executor, name: str, target: str) -> Ramp | None:
    """The last ramp of it that was started, by whomever."""
    found = _ramps(
        await db.fetch(
            f"SELECT {_RAMP} FROM ramp WHERE name = $1 AND $2 = ANY(targets) ORDER BY id DESC LIMIT 1", name, target
        )
    )
    return found[0] if found else None


async def of_incidents(db: Executor, incident_ids: Sequence[int]) -> list[Ramp]:
    """All that were started for these, the oldest first."""
    return _ramps(
        await db.fetch(
            f"SELECT {_RAMP} FROM ramp WHERE incident_id = ANY($1::bigint[]) ORDER BY id", list(incident_ids)
        )
    )


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


async def finish(db: Connection, ramp: Ramp, note: str, now: datetime) -> None:
    """It is where it was to come to."""
    await _end(db, ramp, "done", note, now)


async def stop(db: Connection, ramp: Ramp, note: str, *, stopped_by: str | None, now: datetime) -> bool:
    """False if it was over already. `stopped_by`: a person."""
    return await _end(db, ramp, "stopped", note, now, stopped_by=stopped_by)


async def stop_of(
    db: Connection,
    name: str,
    target: Target,
    what: str,
    but: int | None,
    *,
    actor: str,
    stopped_by: str | None,
    now: datetime,
) -> None:
    """End the ramps of a lever that is turned (`what`: set, cleared): it is whose who turns it."""
    rows = await db.fetch(
        f"""
        SELECT {_RAMP} FROM ramp
        WHERE state = 'running' AND name = $1 AND $2 = ANY(targets) AND id IS DISTINCT FROM $3 ORDER BY id FOR UPDATE
        """,
        name,
        str(target),
        but,
    )
    ramps = _ramps(rows)
    note = f"{actor} {what} it" + (" by hand" if stopped_by is not None else "")
    for ramp in ramps:
        if await stop(db, ramp, note, stopped_by=stopped_by, now=now):
            await tell(db, ramp, "stopped", note, actor=actor, now=now)
    if len(rows) > len(ramps):  # a newer version's
        await db.execute(
            """
            UPDATE ramp SET state = 'stopped', note = $4, ended_at = $5, stopped_by = $6
            WHERE state = 'running' AND name = $1 AND $2 = ANY(targets) AND id IS DISTINCT FROM $3
            """,
            name,
            str(target),
            but,
            note,
            now,
            stopped_by,
        )


async def _end(
    db: Connection, ramp: Ramp, state: State, note: str, now: datetime, *, stopped_by: str | None = None
) -> bool:
    row = await db.fetchrow(
        """
        UPDATE ramp SET state = $2, note = $3, ended_at = $4, stopped_by = $5
        WHERE id = $1 AND state = 'running' RETURNING 1
        """,
        ramp.id,
        state,
        note,
        now,
        stopped_by,
    )
    if row is not None:
        await _give_back(db, ramp, now)
    return row is not None


async def tell(
    db: Connection, ramp: Ramp, what: str, reason: str, *, actor: str, evidence: Any = None, now: datetime
) -> None:
    """Write into the history what a ramp did or waits for."""
    await remember(
        db,
        Change(
            now,
            f"ramp {what}",
            ramp.plan.lever.name,
            ramp.targets,
            None,
            None,
            actor,
            reason,
            None,
            ramp.incident_id,
            ramp.id,
            ramp.percent,
            evidence,
        ),
    )


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
