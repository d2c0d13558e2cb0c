"""The SQL of the list of doubtful texts: what people decided of them."""

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


async def others_wait(db: Connection, suppression_id: int) -> bool:
    """Whether texts still wait for a decision that are blocked by the same suppression."""
    found: bool = await db.fetchval(
        f"SELECT EXISTS (SELECT FROM inbound_text WHERE {_WAITING} AND suppression_id = $1)", suppression_id
    )
    return found


async def waiting(db: Connection | Pool) -> int:
    found: int = await db.fetchval(f"SELECT count(*) FROM inbound_text WHERE {_WAITING}")
    return found
