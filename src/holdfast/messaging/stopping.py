"""Stops texts to people: writes their wish into the ledger, blocks them, and cancels what waits for them. One commit.

A stop is acknowledged only once nothing that was on its way before can go out any more: `settled` waits for that.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from holdfast.consent import customers, ledger, suppressing
from holdfast.consent.model import Block, Entry
from holdfast.db.pool import Connection, Pool
from holdfast.messaging import gate
from holdfast.messaging import stopping_store as store

log = structlog.get_logger()

PATIENCE = gate.SENDING + timedelta(seconds=2)
_FIRST_LOOK, _LAST_LOOK = 0.01, 0.1
"""Seconds between two looks: more and more, as each takes a connection from those who still have to be heard."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants stopped: as the ledger keeps it, and as a block. `block.consent_seq` is filled in."""

    entry: Entry
    block: Block


@dataclass(frozen=True, slots=True)
class Stopped:
    """`cancelled`: texts that waited and will not be sent. `is_new`: the same was not in force before."""

    suppression_id: int
    customer_id: int
    is_new: bool
    consent_seq: int | None
    cancelled: tuple[int, ...]


async def stop(db: Connection, wishes: Sequence[Wish], now: datetime) -> list[Stopped]:
    """Wishes of people, in the caller's transaction, in the order given. After its commit, await `settled`.

    Raises ConsentError.
    """
    await customers.lock(db, [wish.block.customer_id for wish in wishes])
    seqs = await ledger.append(db, [wish.entry for wish in wishes], now)
    return await block(db, [replace(wish.block, consent_seq=seq) for wish, seq in zip(wishes, seqs, strict=True)], now)


async def block(db: Connection, blocks: Sequence[Block], now: datetime) -> list[Stopped]:
    """Blocks that are nobody's wish, such as of a number that is a landline: the ledger says nothing of them."""
    made = {(one.customer_id, one.merchant_id, one.reason): one for one in await suppressing.suppress(db, blocks, now)}
    found = [(one, made[one.customer_id, one.merchant_id, one.reason]) for one in blocks]
    cancelled = await store.cancel(db, [(one.customer_id, one.merchant_id, kept.id) for one, kept in found], now)
    return [
        Stopped(kept.id, one.customer_id, kept.is_new, one.consent_seq, tuple(cancelled.get(kept.id, ())))
        for one, kept in found
    ]


async def settled(pool: Pool, customer_ids: Collection[int], patience: timedelta = PATIENCE) -> bool:
    """Wait until no text to these is on its way to Twilio any more: taken before the stop, it may still go out.

    False when that took longer than `patience`, which it cannot unless clocks differ.
    """
    deadline = asyncio.get_running_loop().time() + patience.total_seconds()
    pause = _FIRST_LOOK
    while await store.being_sent(pool, list(customer_ids)):
        if asyncio.get_running_loop().time() > deadline:
            log.error("stop.still_sending", customers=len(customer_ids))
            return False
        await asyncio.sleep(pause)
        pause = min(1.5 * pause, _LAST_LOOK)
    return True
