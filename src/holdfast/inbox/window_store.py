"""SQL of the inbox over a window of time: what was received in it and what became of that, for `holdfast verify`."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.inbox.model import NO_MERCHANT, ROUTED

Executor = Connection | Pool

RECEIVED = "window_event"
"""What `gather` makes of a window: seq, provider, event_id, type, lane, object_id, account, created_at, merchant_id,
waits_since, note, state (one of `STATES`; or lost: neither queued nor done, which nothing may ever be). Rooms above
join it."""


_BEHIND = len(NO_MERCHANT) + 1
PATIENCE = 600.0
"""Seconds that a statement over a whole window may take; those of the data plane have far less."""


async def gather(db: Connection, since: datetime, until: datetime) -> int:
    """Note the events received in [since, until) and what became of each, until the transaction ends; how many.

    Of those that are routed: a team channel that is down has nothing to do with payments, nor has what Twilio tells.
    Their bodies are many times as large as what is asked of them, so the events are read only once.
    """
    await db.execute(f"SET LOCAL statement_timeout = '{PATIENCE:.0f}s'")
    columns = "seq, provider, event_id, type, lane, object_id, account, created_at"
    await db.execute(
        f"""
        CREATE TEMPORARY TABLE window_received ON COMMIT DROP AS SELECT {columns} FROM event LIMIT 0;
        CREATE TEMPORARY TABLE {RECEIVED} (
            LIKE window_received, merchant_id bigint, waits_since timestamptz, note text, state text COLLATE "C"
        ) ON COMMIT DROP
        """
    )
    await db.execute(
        f"""
        INSERT INTO window_received SELECT {columns} FROM event
        WHERE received_at >= $1 AND received_at < $2 AND provider = $3 ORDER BY seq
        """,
        since,
        until,
        ROUTED,
        timeout=PATIENCE,
    )
    await db.execute("ANALYZE window_received")
    bounds = await db.fetchrow("SELECT count(*), min(seq), max(seq) FROM window_received")
    assert bounds is not None
    received, low, high = bounds
    # That refs lie in a range lets queue and history be read side by side in the order of their indexes.
    await db.execute(
        f"""
        INSERT INTO {RECEIVED}
        SELECT e.*, coalesce(d.merchant_id, w.merchant_id, 0), w.received_at, d.note,
               CASE WHEN w.ref IS NOT NULL THEN 'live' ELSE coalesce(d.outcome, 'lost') END
        FROM window_received e
        LEFT JOIN work w ON w.stage = 1 AND w.ref = e.seq AND w.ref BETWEEN $1 AND $2
        LEFT JOIN (
            SELECT DISTINCT ON (ref) ref, outcome, note, merchant_id FROM done
            WHERE stage = 1 AND ref BETWEEN $1 AND $2 ORDER BY ref, done_at DESC
        ) d ON d.ref = e.seq
        """,
        low,
        high,
        timeout=PATIENCE,
    )
    await db.execute(f"ANALYZE {RECEIVED}")
    return int(received)


async def redelivered(db: Executor, since: datetime, until: datetime) -> int:
    """Redeliveries that came in the window, of whatever event that is routed."""
    statement = "SELECT count(*) FROM duplicate WHERE received_at >= $1 AND received_at < $2 AND provider = $3"
    return int(await db.fetchval(statement, since, until, ROUTED))


async def tally(db: Connection, late_since: Sequence[datetime]) -> list[asyncpg.Record]:
    """What was gathered, per lane, merchant_id and state: count, late, oldest (waiting since).

    `late_since`: by lane, what waits since before then is late.
    """
    return await db.fetch(
        f"""
        SELECT lane, merchant_id, state, count(*) AS count, min(waits_since) AS oldest,
               count(*) FILTER (WHERE waits_since < ($1::timestamptz[])[lane + 1]) AS late
        FROM {RECEIVED} GROUP BY lane, merchant_id, state
        """,
        late_since,
    )


async def trouble(db: Connection, limit: int) -> list[asyncpg.Record]:
    """Gathered events that a person must look at, the most urgent groups first.

    Per state, lane and account (where that is what is wrong) or note: count, and up to five event ids.
    """
    return await db.fetch(
        f"""
        SELECT state, lane,
               CASE WHEN state = 'unmatched' THEN coalesce(account, substr(note, {_BEHIND})) END AS account,
               CASE WHEN state <> 'unmatched' THEN left(note, 200) END AS note,
               count(*) AS count, (array_agg(event_id))[1:5] AS examples
        FROM {RECEIVED} WHERE state NOT IN ('live', 'applied', 'stored')
        GROUP BY 1, 2, 3, 4 ORDER BY lane, count DESC, state, 3, 4 LIMIT $1
        """,
        limit,
    )


async def routed_types(db: Connection) -> list[asyncpg.Record]:
    """Per merchant_id and type: count of the gathered events that were routed."""
    return await db.fetch(
        f"""
        SELECT merchant_id, type, count(*) AS count FROM {RECEIVED}
        WHERE state NOT IN ('live', 'lost') GROUP BY merchant_id, type
        """
    )


async def given_up(db: Executor, since: datetime, until: datetime) -> list[asyncpg.Record]:
    """Dead events that were received or given up in the window: event_id, and whether it was `received` in it."""
    return await db.fetch(
        """
        SELECT e.event_id, e.received_at >= $1 AND e.received_at < $2 AS received
        FROM (SELECT DISTINCT ref FROM done WHERE stage = 1 AND outcome = 'dead' AND done_at >= $1) AS dead
        JOIN event e ON e.seq = dead.ref
        CROSS JOIN LATERAL (
            SELECT outcome, done_at FROM done WHERE stage = 1 AND ref = e.seq ORDER BY done_at DESC LIMIT 1
        ) AS last
        WHERE last.outcome = 'dead' AND NOT EXISTS (SELECT FROM work w WHERE w.stage = 1 AND w.ref = e.seq)
          AND ((e.received_at >= $1 AND e.received_at < $2) OR (last.done_at >= $1 AND last.done_at < $2))
        ORDER BY e.seq
        """,
        since,
        until,
    )
