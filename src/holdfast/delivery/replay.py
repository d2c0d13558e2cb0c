"""Sends chosen deliveries again."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from holdfast.db.pool import Pool
from holdfast.delivery import store
from holdfast.delivery.store import Filter
from holdfast.queue import store as queue
from holdfast.queue.model import NewWork, Stage

CHUNK = 1000


async def replay(pool: Pool, chosen: Filter, now: datetime | None = None) -> AsyncIterator[tuple[int, int]]:
    """Queue the chosen deliveries once more, oldest first; yields (looked at, queued) by chunk.

    Those that are in the queue already stay as they are. The receiver sees the same webhook-id as before.
    """
    after = 0
    moment = now or datetime.now(UTC)
    while rows := await store.matching(pool, chosen, after=after, limit=CHUNK):
        after = rows[-1]["id"]
        works = [NewWork(row["id"], row["lane"], row["merchant_id"], row["destination_id"], moment) for row in rows]
        yield len(rows), await queue.enqueue(pool, Stage.DELIVER, works, now=now)
