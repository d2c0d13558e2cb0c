"""Gives chosen events to the router again."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime

from holdfast.db.pool import Pool
from holdfast.inbox import store
from holdfast.inbox.store import Filter

CHUNK = 1000


async def replay(pool: Pool, chosen: Filter, now: datetime | None = None) -> AsyncIterator[tuple[list[int], int]]:
    """Queue the chosen events once more, oldest first; yields (seqs looked at, how many were queued) by chunk.

    Those that are in the queue already stay as they are. Applying an event twice changes nothing in the ledger, and
    a destination that was notified of it is not notified again. Messages of ours and callbacks about calls are no
    events to route: whoever subscribes to everything would get them.
    """
    chosen = replace(chosen, routed=True)
    after = 0
    while rows := await store.matching(pool, chosen, after=after, limit=CHUNK):
        after = rows[-1]["seq"]
        seqs = [row["seq"] for row in rows]
        added = await store.queue_again(pool, seqs, [row["merchant_id"] for row in rows], now=now)
        yield seqs, added
