"""Which processes of Holdfast are at work: each says so every few seconds."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool
BEAT = 5.0
SILENT = 20
"""Seconds after which a silent process counts as gone."""


@dataclass(frozen=True, slots=True)
class Process:
    kind: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime


async def beat(db: Executor, identity: uuid.UUID, kind: str, host: str, pid: int) -> None:
    """Be seen; and clear away those that have been gone for a day."""
    await db.execute(
        """
        WITH gone AS (DELETE FROM process WHERE seen_at < now() - interval '1 day')
        INSERT INTO process (id, kind, host, pid) VALUES ($1, $2, $3, $4)
        ON CONFLICT (id) DO UPDATE SET seen_at = now()
        """,
        identity,
        kind,
        host,
        pid,
    )


async def leave(db: Executor, identity: uuid.UUID) -> None:
    await db.execute("DELETE FROM process WHERE id = $1", identity)


async def alive(db: Executor) -> list[Process]:
    rows = await db.fetch(
        """
        SELECT kind, host, pid, started_at, seen_at FROM process
        WHERE seen_at > now() - make_interval(secs => $1) ORDER BY kind, host, pid
        """,
        float(SILENT),
    )
    return [Process(*row) for row in rows]
