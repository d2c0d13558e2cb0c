"""Deletes what is older than the retention, a little at a time, and never anything that is still to be done."""

from datetime import UTC, datetime, timedelta

import structlog

from holdfast.db.locks import Lock
from holdfast.db.pool import Pool
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


async def prune(pool: Pool, days: int, now: datetime | None = None) -> int:
    """One bite: up to `BATCH` rows of each kind that are older than `days`; of texts only the words go.

    Returns how many went; 0 when all is done.

    One process at a time does it; for the others there is nothing to do.
    """
    before = (now or datetime.now(UTC)) - timedelta(days=days)
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", int(Lock.MAINTENANCE)):
            return 0
        gone = {
            "events": await inbox.prune(connection, before, BATCH),
            "deliveries": await deliveries.prune(connection, before, BATCH),
            "done": await queue.prune(connection, before, BATCH),
            "duplicates": await inbox.prune_duplicates(connection, before, BATCH),
            "mailboxes": await merchants.prune_mailboxes(connection, BATCH),
            "calls": await calls.prune(connection, before, BATCH),
            "words_of_texts": await texts.blank_bodies(connection, before, BATCH),
            "words_of_people": await texts.blank_received(connection, before, BATCH),
            "alerts": await watch.prune(connection, before, BATCH),
        }
    if any(gone.values()):
        log.info("retention.pruned", days=days, **gone)
    return sum(gone.values())
