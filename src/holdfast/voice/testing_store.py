"""SQL of test calls: which there were, marked so that they count nowhere, and whom to call."""

from collections.abc import Sequence
from datetime import datetime

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool


async def known(db: Executor, phone: str, caller: str, since: datetime) -> list[str]:
    """The sids of this caller's calls to this number that there are already, and that may still go on then."""
    rows = await db.fetch(
        "SELECT sid FROM call WHERE phone = $1 AND caller = $2 AND began_at >= $3::timestamptz - interval '4 hours'",
        phone,
        caller,
        since,
    )
    return [row["sid"] for row in rows]


async def mark(
    db: Executor, phone: str, caller: str, since: datetime, besides: Sequence[str]
) -> tuple[str, str | None] | None:
    """Mark the caller's first call to this number since then that is none of `besides` as a test, and its legs.

    Returns what it was told and its outcome; None: none came.
    """
    row = await db.fetchrow(
        """
        WITH placed AS (
            SELECT sid FROM call
            WHERE phone = $1 AND caller = $2 AND greatest(began_at, told_at) >= $3 AND sid <> ALL($4::text[])
            ORDER BY began_at, sid LIMIT 1 FOR UPDATE
        ), tried AS (
            UPDATE leg SET is_test = true FROM placed WHERE call_sid = placed.sid AND NOT is_test
        )
        UPDATE call SET is_test = true FROM placed WHERE call.sid = placed.sid RETURNING answer, outcome
        """,
        phone,
        caller,
        since,
        list(besides),
    )
    return (row["answer"], row["outcome"]) if row is not None else None


async def hit_numbers(db: Executor, since: datetime, until: datetime, limit: int) -> list[str]:
    """Our numbers whose calls failed, were missed or could not be put through, those with the most of them first."""
    rows = await db.fetch(
        """
        SELECT c.phone FROM call c JOIN number n USING (phone)
        WHERE c.began_at >= $1 AND c.began_at < $2 AND NOT c.is_test AND (c.outcome IN ('missed', 'failed')
            OR EXISTS (SELECT FROM leg l WHERE l.call_sid = c.sid AND l.outcome = 'failed'))
        GROUP BY c.phone ORDER BY count(*) DESC, c.phone LIMIT $3
        """,
        since,
        until,
        limit,
    )
    return [row["phone"] for row in rows]


async def called_numbers(db: Executor, since: datetime, limit: int, besides: Sequence[str]) -> list[str]:
    """Numbers with plans, those called most since then first; without those in `besides`."""
    rows = await db.fetch(
        """
        SELECT p.phone FROM call_plan p LEFT JOIN call c ON c.phone = p.phone AND c.began_at >= $1
        WHERE p.phone <> ALL($3::text[]) GROUP BY p.phone ORDER BY count(c.sid) DESC, p.phone LIMIT $2
        """,
        since,
        limit,
        list(besides),
    )
    return [row["phone"] for row in rows]
