"""SQL of how calls of a line go."""

from datetime import datetime

from holdfast.db.pool import Connection


async def legs_of(db: Connection, kind: str, key: str, since: datetime, until: datetime) -> tuple[int, int]:
    """(tried, failed) of the calls put through to a region or target, or from one of our numbers."""
    row = await db.fetchrow(
        """
        SELECT count(*), count(*) FILTER (WHERE outcome = 'failed') FROM leg
        WHERE at > $3 AND at <= $4 AND CASE $1 WHEN 'region' THEN region WHEN 'target' THEN target ELSE phone END = $2
        """,
        kind,
        key,
        since,
        until,
    )
    assert row is not None
    return row[0], row[1]
