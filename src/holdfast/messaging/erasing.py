"""Erases a person on request: no text goes out to them any more, and what is personal is gone. Can be done twice."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from holdfast.consent import customers, erasing
from holdfast.consent.erasing import OUT_OF_REACH, Erased
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import EVERY_MERCHANT, Block, Entry, UnknownError
from holdfast.db.pool import Pool
from holdfast.messaging import stopping

log = structlog.get_logger()

EXPORTS = "complaints"
"""Where in the data directory a step of the runbook writes files of complaints (`complaints.actions`)."""


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
    exports: Path | None = None,
) -> Erased:
    """One transaction blocks and forgets them; then raw events are looked through, which is done again if asked again.

    `patience`: seconds that may be spent on raw events; see `Erased.is_complete`. `key` is there
    (`PhoneKey.load_or_make`). `exports`: where files of complaints are written. Who only called, or is only named
    somewhere, is blocked too. Raises UnknownError, KeyMissingError, ConsentError.
    """
    why = erasing.checked_why(why)
    async with pool.acquire() as db, db.transaction():
        await erasing.hold(db, key)
    known, counts = (await customers.find(pool, [phone], key)).get(phone), {}
    if known is None or known.erased_at is not None:
        counts = await erasing.forget_number(pool, phone)
    if known is None:
        events, is_complete = await erasing.sweep(pool, phone, progress, patience)
        if is_complete and not events and not any(counts.values()):
            raise UnknownError("nothing is known of this number")
        counts["events"] = events
        known = (await customers.ensure(pool, [phone], key, now))[phone]
    made = await _forget(pool, known.id, phone, key, actor=actor, why=why, now=now) if not known.erased_at else None
    await stopping.settled(pool, [known.id])
    removed, elsewhere = await erasing.remove_exports(pool, known.id, exports) if exports is not None else (0, None)
    events, is_complete = await erasing.sweep(pool, phone, progress, patience)
    log.info("customer.erased", customer=known.id, again=made is None, events=events)
    counts = _added(made.counts if made is not None else {}, counts, {"events": events, "exports": removed})
    found = made or Erased(None, known.id, None, 0, {})
    reach = (*OUT_OF_REACH, elsewhere) if elsewhere is not None else OUT_OF_REACH
    return replace(found, counts=counts, is_complete=is_complete, out_of_reach=reach)


def _added(*counted: Mapping[str, int]) -> dict[str, int]:
    """What was found, and nothing that was not."""
    total: Counter[str] = Counter()
    for one in counted:
        total.update(one)
    return {name: count for name, count in total.items() if count}


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
