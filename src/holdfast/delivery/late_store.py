"""SQL of what is late, and for whom: by merchant, over the time of an incident."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool

PATIENCE = 45.0
"""Seconds that one of these statements may take: it looks at all that was done in the time of an incident."""
MOST = 10_000
"""Merchants that are told of, those with the longest waits first."""
SILENT = timedelta(minutes=5)
"""A destination that took nothing for so long, and was tried in vain, is down."""


async def be_patient(db: Connection) -> None:
    """Until the transaction ends: the pools' own limit is for the data plane."""
    await db.execute(f"SET LOCAL statement_timeout = '{PATIENCE:.0f}s'")


async def late(
    db: Executor, received: datetime, since: datetime, now: datetime, promises: Sequence[timedelta]
) -> list[asyncpg.Record]:
    """Per merchant_id: delayed (events late now or delivered late), waiting (of these: now), oldest (received at, of
    those waiting), longest (seconds from receipt until routed and delivered, or until now), down (ids of destinations).

    Of events received from `received` on, by what happened in [since, now]. `promises`: by lane. A replay of what was
    done before makes nothing late. Work that took half a promise in one stage, or was given up and sent after all, may
    be late as a whole: these are the candidates, and the others need not be joined.
    """
    return await db.fetch(
        """
        WITH promise AS MATERIALIZED (
            SELECT lane - 1 AS lane, length FROM unnest($4::interval[]) WITH ORDINALITY AS p(length, lane)
        ),
        slow AS MATERIALIZED (
            SELECT x.stage, x.ref, x.merchant_id, x.received_at, x.done_at, x.lane, length, x.outcome
            FROM done x JOIN promise USING (lane)
            WHERE x.done_at >= $2 AND x.done_at <= $3 AND x.received_at >= $1 AND x.merchant_id <> 0
              AND x.done_at - x.received_at > length / 2
        ),
        unsent AS MATERIALIZED (
            SELECT e.seq, d.merchant_id, e.received_at, d.destination_id,
                   w.attempts > 1 OR (w.attempts = 1 AND w.lease IS NULL) AS tried
            FROM work w
            JOIN promise USING (lane)
            JOIN delivery d ON d.id = w.ref
            JOIN event e ON e.seq = d.event_seq
            WHERE w.stage = 2 AND d.merchant_id <> 0 AND e.provider <> 'holdfast'
              AND e.received_at >= $1 AND $3 - e.received_at > length
        ),
        sent AS (
            SELECT e.seq, d.merchant_id, e.received_at, x.done_at - e.received_at AS took, length
            FROM (
                SELECT ref AS id, length FROM slow WHERE stage = 2
                UNION
                SELECT d.id, length FROM slow JOIN delivery d ON d.event_seq = slow.ref WHERE stage = 1
                UNION
                SELECT ref, length FROM done JOIN promise USING (lane)
                WHERE stage = 2 AND outcome = 'dead' AND done_at >= $1 AND done_at <= $3
            ) AS candidate
            JOIN delivery d USING (id)
            JOIN event e ON e.seq = d.event_seq
            JOIN done x ON x.stage = 2 AND x.ref = d.id
            WHERE x.outcome = 'delivered' AND x.done_at >= $2 AND x.done_at <= $3
              AND d.merchant_id <> 0 AND e.provider <> 'holdfast' AND e.received_at >= $1
        ),
        delayed AS (
            SELECT seq, merchant_id, received_at, $3 - received_at AS took, true AS waits FROM unsent
            UNION ALL
            SELECT ref, merchant_id, received_at, $3 - received_at, true FROM work JOIN promise USING (lane)
            WHERE stage = 1 AND merchant_id <> 0 AND received_at >= $1 AND $3 - received_at > length
            UNION ALL
            SELECT ref, merchant_id, received_at, done_at - received_at, false FROM slow
            WHERE stage = 1 AND done_at - received_at > length AND NOT EXISTS (
                SELECT FROM done b WHERE b.stage = 1 AND b.ref = slow.ref AND b.done_at < slow.done_at
                  AND b.outcome IN ('applied', 'stored'))
            UNION ALL
            SELECT seq, merchant_id, received_at, took, false FROM sent WHERE took > length
        ),
        silent AS (
            SELECT merchant_id, array_agg(DISTINCT destination_id) AS down FROM unsent
            WHERE tried AND destination_id NOT IN (
                SELECT destination_id FROM done
                WHERE stage = 2 AND outcome = 'delivered' AND done_at > $3 - $5::interval)
            GROUP BY merchant_id
        )
        SELECT merchant_id, count(DISTINCT seq) AS delayed, count(DISTINCT seq) FILTER (WHERE waits) AS waiting,
               min(received_at) FILTER (WHERE waits) AS oldest,
               extract(epoch FROM max(took))::float8 AS longest, coalesce(silent.down, '{}') AS down
        FROM delayed LEFT JOIN silent USING (merchant_id)
        GROUP BY merchant_id, silent.down ORDER BY max(took) DESC, merchant_id LIMIT $6
        """,
        received,
        since,
        now,
        list(promises),
        SILENT,
        MOST,
        timeout=PATIENCE,
    )


async def given_up(db: Executor, since: datetime, now: datetime) -> list[asyncpg.Record]:
    """Per merchant_id: count of the notifications that were given up in [since, now] and are still."""
    return await db.fetch(
        """
        SELECT d.merchant_id, count(*) AS count
        FROM (
            SELECT DISTINCT ref FROM done
            WHERE stage = 2 AND outcome = 'dead' AND done_at >= $1 AND done_at <= $2
        ) AS dead
        JOIN delivery d ON d.id = dead.ref
        JOIN event e ON e.seq = d.event_seq
        CROSS JOIN LATERAL (
            SELECT outcome FROM done WHERE stage = 2 AND ref = d.id ORDER BY done_at DESC LIMIT 1
        ) AS last
        WHERE last.outcome = 'dead' AND e.provider <> 'holdfast' AND d.merchant_id <> 0
          AND NOT EXISTS (SELECT FROM work w WHERE w.stage = 2 AND w.ref = d.id)
        GROUP BY d.merchant_id ORDER BY count(*) DESC, d.merchant_id LIMIT $3
        """,
        since,
        now,
        MOST,
        timeout=PATIENCE,
    )
