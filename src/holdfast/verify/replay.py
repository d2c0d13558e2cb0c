"""Gives what was dead-lettered in a window another try."""

from collections.abc import AsyncIterator
from datetime import datetime

from holdfast.db.pool import Connection, Pool
from holdfast.delivery import replay as delivery_replay
from holdfast.delivery import store as deliveries
from holdfast.inbox import replay as inbox_replay
from holdfast.inbox import store as inbox
from holdfast.inbox import window_store
from holdfast.merchants import store as merchants
from holdfast.verify.model import DeadLetters

_CHUNK = 1000


async def dead_letters(db: Connection | Pool, since: datetime, until: datetime) -> DeadLetters:
    """What is dead of the events received in the window, and of what was given up in it."""
    enabled = {found.id for found in await merchants.destinations(db) if found.enabled}
    events = await window_store.given_up(db, since, until)
    sent = await deliveries.given_up(db, since, until)
    worth_it = tuple(row["id"] for row in sent if row["destination_id"] in enabled)
    return DeadLetters(
        tuple(row["event_id"] for row in events),
        worth_it,
        len(sent) - len(worth_it),
        sum(not row["received"] for row in events),
        sum(not row["received"] for row in sent),
    )


async def replay(pool: Pool, letters: DeadLetters) -> AsyncIterator[tuple[int, int, int]]:
    """Queue dead letters again: yields (looked at, events queued, deliveries queued) by chunk.

    What is no longer dead stays as it is. Workers must be told: `db.notifications.hint`.
    """
    for start in range(0, len(letters.events), _CHUNK):
        ids = letters.events[start : start + _CHUNK]
        added = 0
        async for _, queued in inbox_replay.replay(pool, inbox.Filter(ids=ids, state="dead")):
            added += queued
        yield len(ids), added, 0
    for start in range(0, len(letters.deliveries), _CHUNK):
        numbers = letters.deliveries[start : start + _CHUNK]
        added = 0
        async for _, queued in delivery_replay.replay(pool, deliveries.Filter(ids=numbers, state="dead")):
            added += queued
        yield len(numbers), 0, added
