"""SQL of deliveries over the time of an incident: how long after the events merchants were notified."""

import asyncpg

from holdfast.db.pool import Connection
from holdfast.inbox.impact_store import WAITED, Gathering

NOTIFIED = "impact_delivery"
"""What `gather` makes of the gathered events (`inbox.impact_store.gather`): their deliveries, with lane, merchant_id,
wait (seconds from the event's receipt until it was delivered, or so far), waits, dead, late."""


async def gather(db: Connection, chosen: Gathering) -> int:
    """Note the deliveries of the gathered events until the transaction ends; how many."""
    await db.execute(
        f"""
        CREATE TEMPORARY TABLE {NOTIFIED} (
            lane smallint, merchant_id bigint, wait float8, waits boolean, dead boolean, late boolean
        ) ON COMMIT DROP
        """
    )
    status = await db.execute(
        f"""
        WITH sent AS MATERIALIZED (
            SELECT d.id, d.lane, d.merchant_id, e.received_at FROM delivery d JOIN {WAITED} e ON e.seq = d.event_seq
            WHERE d.event_seq BETWEEN (SELECT min(seq) FROM {WAITED}) AND (SELECT max(seq) FROM {WAITED})
        ),
        ended AS (
            SELECT ref, min(done_at) FILTER (WHERE outcome = 'delivered') AS at FROM done
            WHERE stage = 2 AND ref BETWEEN (SELECT min(id) FROM sent) AND (SELECT max(id) FROM sent) GROUP BY ref
        ),
        waited AS (
            SELECT s.lane, s.merchant_id,
                   extract(epoch FROM coalesce(ended.at, $2::timestamptz) - s.received_at)::float8 AS wait,
                   ended.at IS NULL AND w.ref IS NOT NULL AS waits, ended.at IS NULL AND w.ref IS NULL AS dead
            FROM sent s LEFT JOIN ended ON ended.ref = s.id LEFT JOIN work w ON w.stage = 2 AND w.ref = s.id
        )
        INSERT INTO {NOTIFIED}
        SELECT *, NOT dead AND wait > extract(epoch FROM ($1::interval[])[lane + 1]) FROM waited
        """,
        list(chosen.promises),
        chosen.now,
        timeout=chosen.patience,
    )
    await db.execute(f"ANALYZE {NOTIFIED}")
    return int(status.rpartition(" ")[2])


async def lanes(db: Connection) -> list[asyncpg.Record]:
    """Per lane: planned, late, waiting, dead; median, p95 and worst wait (seconds) of the late ones."""
    return await db.fetch(
        f"""
        SELECT lane, count(*) AS planned, count(*) FILTER (WHERE late) AS late,
               count(*) FILTER (WHERE waits) AS waiting, count(*) FILTER (WHERE dead) AS dead,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY wait) FILTER (WHERE late) AS median,
               percentile_cont(0.95) WITHIN GROUP (ORDER BY wait) FILTER (WHERE late) AS p95,
               max(wait) FILTER (WHERE late) AS worst
        FROM {NOTIFIED} GROUP BY lane ORDER BY lane
        """
    )


async def merchants(db: Connection, limit: int) -> list[asyncpg.Record]:
    """Per merchant_id with late or dead ones: late, worst (seconds), dead; the most of them first."""
    return await db.fetch(
        f"""
        SELECT merchant_id, count(*) FILTER (WHERE late) AS late, max(wait) FILTER (WHERE late) AS worst,
               count(*) FILTER (WHERE dead) AS dead
        FROM {NOTIFIED} WHERE late OR dead GROUP BY merchant_id ORDER BY count(*) DESC, merchant_id LIMIT $1
        """,
        limit,
    )
