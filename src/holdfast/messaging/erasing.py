"""Erases a person on request: no text goes out to them any more, and what is personal is gone. Can be done twice."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from holdfast.consent import customers, erasing
from holdfast.consent.erasing import Erased
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import EVERY_MERCHANT, Block, Entry, UnknownError
from holdfast.db.pool import Pool
from holdfast.messaging import stopping

log = structlog.get_logger()


async def erase(
    pool: Pool,
    phone: str,
    key: PhoneKey,
    *,
    actor: str,
    why: str,
    now: datetime,
    progress: Callable[[int], None] = lambda _seq: None,
    patience: float | None = None,
) -> Erased:
    """One transaction blocks and forgets them; then raw events are looked through, which is done again if asked again.

    `patience`: seconds that may be spent on raw events; see `Erased.is_complete`. `key` is there
    (`PhoneKey.load_or_make`). Raises UnknownError, KeyMissingError, ConsentError.
    """
    why = erasing.checked_why(why)
    async with pool.acquire() as db, db.transaction():
        await erasing.hold(db, key)
    known = (await customers.find(pool, [phone], key)).get(phone)
    if known is None:
        raise UnknownError("nothing is known of this number")
    made = await _forget(pool, known.id, phone, key, actor=actor, why=why, now=now) if not known.erased_at else None
    await stopping.settled(pool, [known.id])
    events, is_complete = await erasing.sweep(pool, phone, progress, patience)
    log.info("customer.erased", customer=known.id, again=made is None, events=events)
    if made is None:
        return Erased(None, known.id, None, 0, {"events": events}, is_complete)
    return replace(made, counts={**made.counts, "events": events}, is_complete=is_complete)


async def _forget(
    pool: Pool, customer_id: int, phone: str, key: PhoneKey, *, actor: str, why: str, now: datetime
) -> Erased:
    async with pool.acquire() as db, db.transaction():
        await erasing.begin(db, customer_id)
        entry = Entry(customer_id, EVERY_MERCHANT, "revoke", "all", "erasure", now, actor, channel="all")
        block = Block(customer_id, EVERY_MERCHANT, "erasure", "erasure", actor)
        stopped = (await stopping.stop(db, [stopping.Wish(entry, block)], now))[0]
        counts = await erasing.forget(db, customer_id, phone, key, now)
        number = await erasing.record(db, customer_id, counts, actor=actor, why=why, now=now, phone=phone)
    return Erased(number, customer_id, stopped.suppression_id, len(stopped.cancelled), counts)
