"""Deletes what is older than the retention, a little at a time, and never anything that is still to be done."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from holdfast.db.locks import Lock
from holdfast.db.pool import Connection, Pool
from holdfast.delivery import store as deliveries
from holdfast.inbox import store as inbox
from holdfast.merchants import store as merchants
from holdfast.messaging import texts_store as texts
from holdfast.queue import store as queue
from holdfast.voice import call_store as calls
from holdfast.watch import store as watch

log = structlog.get_logger()

EVERY = 600.0
BATCH = 2000


Delete = Callable[[Connection, datetime, int], Awaitable[int]]


async def _mailboxes(connection: Connection, _before: datetime, limit: int) -> int:
    return await merchants.prune_mailboxes(connection, limit)


KINDS: Mapping[str, Delete] = {
    "events": inbox.prune,
    "deliveries": deliveries.prune,
    "done": queue.prune,
    "duplicates": inbox.prune_duplicates,
    "mailboxes": _mailboxes,
    "calls": calls.prune,
    "words_of_texts": texts.blank_bodies,
    "words_of_people": texts.blank_received,
    "alerts": watch.prune,
}


async def prune(pool: Pool, days: int, now: datetime | None = None) -> int:
    """One bite: up to `BATCH` rows of each kind that are older than `days`; of texts only the words go.

    Returns how many went; 0 when all is done. Each kind is a transaction of its own: one that takes too long is said
    and tried again at the next bite, and the others go on.

    One process at a time does it; for the others there is nothing to do.
    """
    before = (now or datetime.now(UTC)) - timedelta(days=days)
    gone: dict[str, int] = {}
    for kind, delete in KINDS.items():
        async with pool.acquire() as connection:
            try:
                gone[kind] = await _bite(connection, delete, before)
            except (asyncpg.QueryCanceledError, TimeoutError):
                log.error("retention.timed_out", kind=kind, effect="nothing of it was deleted; tried again later")
    if any(gone.values()):
        log.info("retention.pruned", days=days, **gone)
    return sum(gone.values())


async def _bite(connection: Connection, delete: Delete, before: datetime) -> int:
    async with connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", int(Lock.MAINTENANCE)):
            return 0
        return await delete(connection, before, BATCH)
