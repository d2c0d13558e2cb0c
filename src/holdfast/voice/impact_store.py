"""SQL of what an outage did to calls: by merchant and in all, over a time. Test calls never count.

Calls of a time are those that were under way in it, also where they had begun before: so long they last, four hours.
"""

from datetime import datetime

import asyncpg

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool

PATIENCE = 45.0
"""Seconds that one of these statements may take: it looks at all calls of an incident's time."""
MOST = 10_000
"""Merchants that are told of, those hit most first."""
_COUNTED = """
    SELECT c.merchant_id, c.began_at, c.outcome,
           c.outcome IN ('voicemail', 'abandoned', 'announcement') AND (
               c.answer LIKE 'voicemail: voicemail only%'
               OR EXISTS (SELECT FROM leg l WHERE l.call_sid = c.sid AND l.outcome = 'failed')) AS diverted
    FROM call c
    WHERE c.began_at >= $1::timestamptz - interval '4 hours' AND c.began_at < $2 AND NOT c.is_test
      AND coalesce(c.ended_at, c.began_at) >= $1
"""
"""`diverted`: it went to voicemail because of a lever, or because a target could not be reached at all; not because
it was closed, or nobody picked up."""
_FIGURES = """
    count(*) AS calls,
    count(*) FILTER (WHERE outcome = 'person') AS answered,
    count(*) FILTER (WHERE diverted) AS to_voicemail,
    count(*) FILTER (WHERE outcome = 'missed') AS missed,
    count(*) FILTER (WHERE outcome = 'failed') AS failed,
    count(*) FILTER (WHERE diverted AND outcome = 'voicemail') AS messages
"""


async def merchants(db: Executor, since: datetime, until: datetime) -> list[asyncpg.Record]:
    """Per merchant_id with a call hit (failed, missed or diverted) under way in [since, until): calls, answered,
    to_voicemail, missed, failed, messages (of the diverted callers: those who left one); last (when the last call that
    was hit began). The most hit first.
    """
    return await db.fetch(
        f"""
        SELECT merchant_id, {_FIGURES}, max(began_at) FILTER (WHERE diverted OR outcome IN ('missed', 'failed')) AS last
        FROM ({_COUNTED}) AS counted WHERE merchant_id <> 0
        GROUP BY merchant_id HAVING count(*) FILTER (WHERE diverted OR outcome IN ('missed', 'failed')) > 0
        ORDER BY count(*) FILTER (WHERE diverted OR outcome IN ('missed', 'failed')) DESC, merchant_id LIMIT $3
        """,
        since,
        until,
        MOST,
        timeout=PATIENCE,
    )


async def be_patient(db: Connection) -> None:
    """Until the transaction ends: the pools' own limit is for calls that wait for an answer."""
    await db.execute(f"SET LOCAL statement_timeout = '{PATIENCE:.0f}s'")


async def unheard(db: Executor, since: datetime, until: datetime) -> tuple[int, int]:
    """(calls, how many of them failed or were missed) under way in [since, until)."""
    row = await db.fetchrow(
        """
        SELECT count(*), count(*) FILTER (WHERE outcome IN ('missed', 'failed')) FROM call
        WHERE began_at >= $1::timestamptz - interval '4 hours' AND began_at < $2 AND NOT is_test
          AND coalesce(ended_at, began_at) >= $1
        """,
        since,
        until,
    )
    assert row is not None
    return row[0], row[1]


async def unheard_by_day(db: Executor, since: datetime, until: datetime) -> list[tuple[int, int]]:
    """The same of calls that began in [since, until), for each day before `until` that had any."""
    rows = await db.fetch(
        """
        SELECT count(*), count(*) FILTER (WHERE outcome IN ('missed', 'failed')) FROM call
        WHERE began_at >= $1 AND began_at < $2 AND NOT is_test
        GROUP BY floor(extract(epoch FROM $2::timestamptz - began_at) / 86400)
        """,
        since,
        until,
        timeout=PATIENCE,
    )
    return [(row[0], row[1]) for row in rows]


async def all_calls(db: Executor, since: datetime, until: datetime) -> asyncpg.Record:
    """The same of all calls together, the company's own included."""
    row = await db.fetchrow(f"SELECT {_FIGURES} FROM ({_COUNTED}) AS counted", since, until, timeout=PATIENCE)
    assert row is not None
    return row
