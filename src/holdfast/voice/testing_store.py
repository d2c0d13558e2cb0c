"""SQL of test calls: which there were, marked so that they count nowhere, and whom to call."""

from collections.abc import Sequence
from datetime import datetime

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool


async def known(db: Executor, phone: str, caller: str) -> list[str]:
    """The sids of this caller's calls to this number that there are already."""
    rows = await db.fetch("SELECT sid FROM call WHERE phone = $1 AND caller = $2", phone, caller)
    return [row["sid"] for row in rows]


async def mark(db: Executor, phone: str, caller: str, besides: Sequence[str]) -> tuple[str, str | None] | None:
    """Mark this caller's call to this number that is none of `besides` as a test; (what it was told, its outcome).

    None: none came.
    """
    row = await db.fetchrow(
        """
        UPDATE call SET is_test = true WHERE phone = $1 AND caller = $2 AND sid <> ALL($3::text[])
        RETURNING answer, outcome
        """,
        phone,
        caller,
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
