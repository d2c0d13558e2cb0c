"""The SQL of the list of doubtful texts: what people decided of them."""

from collections.abc import Sequence
from datetime import datetime

from holdfast.db.pool import Connection, Pool

_WAITING = "verdict = 'doubtful' AND reviewed_at IS NULL"


async def settle(db: Connection, sid: str, decision: str, *, actor: str, note: str, now: datetime) -> bool:
    """False: it does not wait for a decision."""
    status = await db.execute(
        f"""
        UPDATE inbound_text SET decision = $2, reviewed_by = $3, review_note = $4, reviewed_at = $5
        WHERE sid = $1 AND {_WAITING}
        """,
        sid,
        decision,
        actor,
        note,
        now,
    )
    return status == "UPDATE 1"


async def settle_all(
    db: Connection, suppression_ids: Sequence[int], decision: str, *, actor: str, note: str, now: datetime
) -> list[str]:
    """All that wait and are blocked by these; their sids."""
    rows = await db.fetch(
        f"""
        UPDATE inbound_text SET decision = $2, reviewed_by = $3, review_note = $4, reviewed_at = $5
        WHERE suppression_id = ANY($1::bigint[]) AND {_WAITING} RETURNING sid
        """,
        suppression_ids,
        decision,
        actor,
        note,
        now,
    )
    return sorted(row[0] for row in rows)


async def wait_since(db: Connection, customer_id: int, since: datetime) -> bool:
    """Whether a text of theirs waits that came later than that."""
    found: bool = await db.fetchval(
        f"SELECT EXISTS (SELECT FROM inbound_text WHERE {_WAITING} AND customer_id = $1 AND received_at > $2)",
        customer_id,
        since,
    )
    return found


async def others_wait(db: Connection, suppression_id: int) -> bool:
    """Whether texts still wait for a decision that are blocked by the same suppression."""
    found: bool = await db.fetchval(
        f"SELECT EXISTS (SELECT FROM inbound_text WHERE {_WAITING} AND suppression_id = $1)", suppression_id
    )
    return found


async def waiting(db: Connection | Pool) -> int:
    found: int = await db.fetchval(f"SELECT count(*) FROM inbound_text WHERE {_WAITING}")
    return found
