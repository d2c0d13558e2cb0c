"""All SQL of moving numbers' addresses at Twilio: what was, what is to be, and how far it is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool
State = Literal["under way", "done", "undone"]


@dataclass(frozen=True, slots=True)
class Repoint:
    """`left` were given up, and stay where they are; `failed` of the others could not be moved at the last try."""

    id: int
    base: str
    actor: str
    began_at: datetime
    ended_at: datetime | None
    undone_at: datetime | None
    numbers: int
    done: int
    left: int
    undone: int
    failed: int

    @property
    def state(self) -> State:
        return "undone" if self.undone_at else "done" if self.ended_at else "under way"


@dataclass(frozen=True, slots=True)
class Row:
    """One number: `before` are all of its addresses at Twilio as they were, `after` those that change.

    `is_ours` no more once it is deleted here. `error` says why it is `left_at` that time, or failed.
    """

    phone: str
    sid: str
    account: str | None
    before: Mapping[str, str]
    after: Mapping[str, str]
    done_at: datetime | None = None
    left_at: datetime | None = None
    undone_at: datetime | None = None
    error: str | None = None
    is_ours: bool = True


_REPOINT = """
    SELECT r.id, r.base, r.actor, r.began_at, r.ended_at, r.undone_at, count(n.phone), count(n.done_at),
           count(n.left_at), count(n.undone_at),
           count(n.error) FILTER (WHERE n.left_at IS NULL AND n.undone_at IS NULL)
    FROM repoint r LEFT JOIN repointed n ON n.repoint_id = r.id
"""


async def insert(db: Connection, base: str, rows: Sequence[Row], actor: str, now: datetime) -> int:
    number: int = await db.fetchval(
        "INSERT INTO repoint (base, actor, began_at) VALUES ($1, $2, $3) RETURNING id", base, actor, now
    )
    await db.execute(
        """
        INSERT INTO repointed (repoint_id, phone, sid, account, before, after)
        SELECT $1, phone, sid, account, before::jsonb, after::jsonb
        FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) AS n(phone, sid, account, before, after)
        """,
        number,
        [row.phone for row in rows],
        [row.sid for row in rows],
        [row.account for row in rows],
        [json.dumps(dict(row.before)) for row in rows],
        [json.dumps(dict(row.after)) for row in rows],
    )
    return number


async def get(db: Executor, repoint_id: int) -> Repoint | None:
    row = await db.fetchrow(f"{_REPOINT} WHERE r.id = $1 GROUP BY r.id", repoint_id)
    return Repoint(*row) if row else None


async def latest(db: Executor, limit: int = 1) -> list[Repoint]:
    """The newest first."""
    rows = await db.fetch(f"{_REPOINT} GROUP BY r.id ORDER BY r.id DESC LIMIT $1", limit)
    return [Repoint(*row) for row in rows]


async def by_actor(db: Executor, actor: str) -> Repoint | None:
    """The newest of an actor's: an incident's step finds its own so."""
    row = await db.fetchrow(f"{_REPOINT} WHERE r.actor = $1 GROUP BY r.id ORDER BY r.id DESC LIMIT 1", actor)
    return Repoint(*row) if row else None


async def bases(db: Executor) -> list[str]:
    """Where numbers were ever moved to."""
    return [row[0] for row in await db.fetch("SELECT DISTINCT base FROM repoint")]


async def rows(db: Executor, repoint_id: int) -> list[Row]:
    """By phone."""
    found = await db.fetch(
        """
        SELECT r.phone, coalesce(r.sid, '') AS sid, r.account, r.before, r.after, r.done_at, r.left_at, r.undone_at,
               r.error, n.phone IS NOT NULL AS is_ours
        FROM repointed r LEFT JOIN number n USING (phone) WHERE r.repoint_id = $1 ORDER BY r.phone
        """,
        repoint_id,
    )
    return [_row(row) for row in found]


async def mark_done(db: Executor, repoint_id: int, phone: str, now: datetime) -> None:
    await db.execute(
        "UPDATE repointed SET done_at = $3, error = NULL WHERE repoint_id = $1 AND phone = $2", repoint_id, phone, now
    )


async def mark_left(db: Executor, repoint_id: int, phone: str, now: datetime, why: str) -> None:
    """It stays where it is: nobody tries to move it any more."""
    await db.execute(
        "UPDATE repointed SET left_at = $3, error = $4 WHERE repoint_id = $1 AND phone = $2",
        repoint_id,
        phone,
        now,
        why[:1000],
    )


async def leave_rest(db: Executor, repoint_id: int, now: datetime, why: str) -> int:
    """Leave all numbers that are not moved yet; how many. What the last try said of one is kept behind `why`."""
    status = await db.execute(
        """
        UPDATE repointed SET left_at = $2, error = left($3 || coalesce(' (' || error || ')', ''), 1000)
        WHERE repoint_id = $1 AND done_at IS NULL AND left_at IS NULL
        """,
        repoint_id,
        now,
        why,
    )
    return int(status.rpartition(" ")[2])


async def mark_undone(db: Executor, repoint_id: int, phone: str, now: datetime, why: str | None = None) -> None:
    """Moved back; or left as it is, and `why`."""
    await db.execute(
        "UPDATE repointed SET undone_at = $3, error = coalesce($4, CASE WHEN left_at IS NOT NULL THEN error END) "
        "WHERE repoint_id = $1 AND phone = $2",
        repoint_id,
        phone,
        now,
        why,
    )


async def mark_failed(db: Executor, repoint_id: int, phone: str, error: str) -> None:
    await db.execute(
        "UPDATE repointed SET error = $3 WHERE repoint_id = $1 AND phone = $2", repoint_id, phone, error[:1000]
    )


async def end(db: Executor, repoint_id: int, now: datetime) -> bool:
    """If no number is to be moved any more: each is, or was left; whether it has ended."""
    status = await db.execute(
        """
        UPDATE repoint SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL
          AND NOT EXISTS (SELECT FROM repointed WHERE repoint_id = $1 AND done_at IS NULL AND left_at IS NULL)
        """,
        repoint_id,
        now,
    )
    return status == "UPDATE 1"


async def end_undone(db: Executor, repoint_id: int, now: datetime) -> bool:
    """If no number is left to be moved back; whether it is undone."""
    status = await db.execute(
        """
        UPDATE repoint SET undone_at = $2, ended_at = coalesce(ended_at, $2) WHERE id = $1 AND undone_at IS NULL
          AND NOT EXISTS (SELECT FROM repointed WHERE repoint_id = $1 AND undone_at IS NULL)
        """,
        repoint_id,
        now,
    )
    return status == "UPDATE 1"


def _row(row: asyncpg.Record) -> Row:
    before, after = json.loads(row["before"] or "{}"), json.loads(row["after"] or "{}")
    times = row["done_at"], row["left_at"], row["undone_at"]
    return Row(row["phone"], row["sid"], row["account"], before, after, *times, row["error"], row["is_ours"])
