"""All SQL of signals."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from holdfast.db.locks import Lock
from holdfast.db.pool import Connection, Pool
from holdfast.signals.buckets import FINEST, Bucket, decode, encode, joined, parted
from holdfast.signals.pacing import paced
from holdfast.signals.registry import Labels

Executor = Connection | Pool
TOGETHER = uuid.UUID(int=0)
"""The source of buckets that are made of those of all processes."""


class Part(NamedTuple):
    """One number of a series: a counter's value (part 0); a distribution's bucket counts (from 0) and sum (-1)."""

    name: str
    labels: Labels
    part: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A bucket and the process it is from."""

    source: uuid.UUID
    bucket: Bucket


async def add(
    db: Executor, amounts: Sequence[tuple[Part, float]], source: uuid.UUID, buckets: Sequence[Bucket]
) -> None:
    """Add to the totals over all processes, and store a process's buckets; both or neither."""
    # Sorted, so that two processes adding at once wait for each other instead of deadlocking.
    await db.execute(
        """
        WITH stored AS (
            INSERT INTO signal_bucket (seconds, at, name, source, data)
            SELECT b.seconds, b.at, b.name, $9, b.data
            FROM unnest($5::smallint[], $6::timestamptz[], $7::text[], $8::bytea[]) AS b(seconds, at, name, data)
            ON CONFLICT DO NOTHING
        )
        INSERT INTO signal_total AS t (name, labels, part, value)
        SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::float8[]) ORDER BY 1, 2, 3
        ON CONFLICT (name, labels, part) DO UPDATE SET value = t.value + excluded.value
        """,
        [part.name for part, _ in amounts],
        [joined(part.labels) for part, _ in amounts],
        [part.part for part, _ in amounts],
        [amount for _, amount in amounts],
        [bucket.seconds for bucket in buckets],
        [bucket.at for bucket in buckets],
        [bucket.name for bucket in buckets],
        [encode(bucket.data) for bucket in buckets],
        source,
    )


async def totals(db: Executor) -> dict[Part, float]:
    rows = await db.fetch("SELECT name, labels, part, value FROM signal_total")
    return {Part(row[0], parted(row[1]), row[2]): row[3] async for row in paced(rows)}


async def read(
    db: Executor, seconds: int, since: datetime, until: datetime, names: Sequence[str] | None = None
) -> list[Stored]:
    """Buckets of one resolution that end after `since`, at `until` at the latest; of these signals, or of all."""
    rows = await db.fetch(
        """
        SELECT source, name, at, data FROM signal_bucket
        WHERE seconds = $1 AND at > $2 AND at <= $3 AND ($4::text[] IS NULL OR name = ANY($4)) ORDER BY at, name
        """,
        seconds,
        since,
        until,
        names,
    )
    return [Stored(row[0], Bucket(row[1], row[2], seconds, decode(row[3]))) for row in rows]


async def newest(db: Executor, since: datetime, until: datetime, names: Sequence[str]) -> list[Stored]:
    """Each process's last buckets of these signals, if it stored any, of whatever signal, between these times.

    What a process did not say again with its last ones, such as a gauge without series, is not so any more.
    """
    rows = await db.fetch(
        """
        WITH last AS (
            SELECT source, max(at) AS at FROM signal_bucket WHERE seconds = $1 AND at > $2 AND at <= $3 GROUP BY source
        )
        SELECT b.source, b.name, b.at, b.data
        FROM last JOIN signal_bucket b ON b.seconds = $1 AND b.at = last.at AND b.source = last.source
        WHERE b.name = ANY($4)
        """,
        FINEST,
        since,
        until,
        names,
    )
    return [Stored(row[0], Bucket(row[1], row[2], FINEST, decode(row[3]))) for row in rows]


async def replace(db: Executor, seconds: int, buckets: Sequence[Bucket]) -> None:
    """Store buckets that are made of those of all processes."""
    await db.execute(
        """
        INSERT INTO signal_bucket (seconds, at, name, source, data)
        SELECT $1, at, name, $5, data FROM unnest($2::timestamptz[], $3::text[], $4::bytea[]) AS b(at, name, data)
        ON CONFLICT (seconds, at, name, source) DO UPDATE SET data = excluded.data
        WHERE signal_bucket.data <> excluded.data
        """,
        seconds,
        [bucket.at for bucket in buckets],
        [bucket.name for bucket in buckets],
        [encode(bucket.data) for bucket in buckets],
        TOGETHER,
    )


async def prune(db: Executor, seconds: int, before: datetime) -> None:
    await db.execute("DELETE FROM signal_bucket WHERE seconds = $1 AND at < $2", seconds, before)


async def try_lock(db: Executor, lock: Lock) -> bool:
    """Take the lock until the transaction ends, if nobody has it."""
    return bool(await db.fetchval("SELECT pg_try_advisory_xact_lock($1)", int(lock)))
