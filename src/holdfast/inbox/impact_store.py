"""SQL of the inbox over the time of an incident: which events came, and how long they waited to be routed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from holdfast.db.pool import Connection
from holdfast.inbox.model import ROUTED

WAITED = "impact_event"
"""What `gather` makes of a time: seq, lane, merchant_id, object_id, received_at, wait (seconds until it was routed, or
so far), waits (whether it still does), lost_way (whether it left the queue without having been routed), late. Rooms
above join it."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """What is gathered: the first `most` events received in [since, until), and how they stand `now`.

    `promises` are by lane: what waited longer is late. `patience`: seconds that a statement may take.
    """

    since: datetime
    until: datetime
    promises: Sequence[timedelta]
    now: datetime
    most: int
    patience: float


async def gather(db: Connection, chosen: Gathering) -> tuple[int, datetime | None]:
    """Note the events that are routed, until the transaction ends.

    Returns how many there are, and when the last of them was received.
    """
    await db.execute(
        f"""
        CREATE TEMPORARY TABLE {WAITED} (
            seq bigint, lane smallint, merchant_id bigint, object_id text COLLATE "C", received_at timestamptz,
            wait float8, waits boolean, lost_way boolean, late boolean
        ) ON COMMIT DROP
        """
    )
    # An event that was given another try, or routed again by somebody, was routed when it first was.
    await db.execute(
        f"""
        WITH received AS MATERIALIZED (
            SELECT seq, lane, object_id, received_at FROM event
            WHERE received_at >= $1 AND received_at < $2 AND provider = $6 ORDER BY seq LIMIT $5
        ),
        routed AS (
            SELECT ref, min(done_at) FILTER (WHERE outcome IN ('applied', 'stored')) AS at, max(merchant_id) AS merchant
            FROM done WHERE stage = 1
             AND ref BETWEEN (SELECT min(seq) FROM received) AND (SELECT max(seq) FROM received) GROUP BY ref
        ),
        waited AS (
            SELECT e.*, coalesce(nullif(d.merchant, 0), w.merchant_id, 0) AS merchant_id,
                   extract(epoch FROM coalesce(d.at, $4::timestamptz) - e.received_at)::float8 AS wait,
                   d.at IS NULL AND w.ref IS NOT NULL AS waits, d.at IS NULL AND w.ref IS NULL AS lost_way
            FROM received e LEFT JOIN routed d ON d.ref = e.seq LEFT JOIN work w ON w.stage = 1 AND w.ref = e.seq
        )
        INSERT INTO {WAITED}
        SELECT seq, lane, merchant_id, object_id, received_at, wait, waits, lost_way,
               NOT lost_way AND wait > extract(epoch FROM ($3::interval[])[lane + 1])
        FROM waited
        """,
        chosen.since,
        chosen.until,
        list(chosen.promises),
        chosen.now,
        chosen.most,
        ROUTED,
        timeout=chosen.patience,
    )
    await db.execute(f"ANALYZE {WAITED}")
    row = await db.fetchrow(f"SELECT count(*), max(received_at) FROM {WAITED}")
    assert row is not None
    return int(row[0]), row[1]


async def lanes(db: Connection) -> list[asyncpg.Record]:
    """Per lane of what was gathered: received, late, waiting, lost_way; median, p95 and worst wait of the late ones."""
    return await db.fetch(
        f"""
        SELECT lane, count(*) AS received, count(*) FILTER (WHERE late) AS late,
               count(*) FILTER (WHERE waits) AS waiting, count(*) FILTER (WHERE lost_way) AS lost_way,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY wait) FILTER (WHERE late) AS median,
               percentile_cont(0.95) WITHIN GROUP (ORDER BY wait) FILTER (WHERE late) AS p95,
               max(wait) FILTER (WHERE late) AS worst
        FROM {WAITED} GROUP BY lane ORDER BY lane
        """
    )


async def merchants(db: Connection, limit: int) -> list[asyncpg.Record]:
    """Per merchant_id with late events: late, worst (seconds); the most of them first."""
    return await db.fetch(
        f"""
        SELECT merchant_id, count(*) AS late, max(wait) AS worst FROM {WAITED} WHERE late
        GROUP BY merchant_id ORDER BY late DESC, merchant_id LIMIT $1
        """,
        limit,
    )
