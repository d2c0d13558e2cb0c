"""Forgets a person: what is personal goes, the block stays, and the number is kept as a keyed hash to be known again.

`messaging.erasing` does the whole of it: the block, what waits to be sent, and this.

Sources: GDPR articles 17 and 21(3); 47 CFR 64.1200(d)(6), by which a do-not-call request is to be kept
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from holdfast.consent import customers
from holdfast.consent import erasing_store as store
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import ConsentError, KeyMissingError, RefusedError
from holdfast.consent.number_patterns import written
from holdfast.db.pool import Connection, Pool
from holdfast.merchants import store as merchants

PAGE = 2000
"""Events that are looked through at once."""
OUT_OF_REACH = (
    "the logs of incidents, and origin and collector of the ledger's rows, which are append-only",
    "files that were exported, and files that were imported",
    "what merchants and Twilio were sent, or keep themselves",
    "backups of the database",
)
"""Where the number may still be, for whoever answers the person."""


@dataclass(frozen=True, slots=True)
class Erased:
    """`counts`: rows that were blanked or deleted, by what they are. `id` None: it was done before."""

    id: int | None
    customer_id: int
    suppression_id: int | None
    cancelled: int
    counts: Mapping[str, int]
    out_of_reach: tuple[str, ...] = OUT_OF_REACH
    is_complete: bool = True
    """False: not all raw events were looked through in the time that there was. It is to be done again."""


async def hold(db: Connection, key: PhoneKey) -> None:
    """This is the key that numbers are hashed with from now on. Raises KeyMissingError where it is another already."""
    if key.fingerprint is None:
        raise KeyMissingError("a key is needed before anybody is erased")
    await store.hold_key(db, key.fingerprint)
    await customers.check_key(db, key)


async def begin(db: Connection, customer_id: int) -> None:
    """Nobody else writes of them until the transaction ends. Raises RefusedError where they are erased already."""
    await customers.lock(db, [customer_id])
    if not await store.lock(db, customer_id):
        raise RefusedError(f"customer {customer_id} was erased already")


async def forget(db: Connection, customer_id: int, phone: str, key: PhoneKey, now: datetime) -> dict[str, int]:
    """All but raw events, in the caller's transaction, after `begin` and after the ledger's last row of them."""
    digest = key.of(phone)
    if digest is None:
        raise KeyMissingError("a key is needed before anybody is erased")
    _, mailboxes = await store.complaints(db, customer_id)
    counts = await store.forget(db, customer_id, phone, digest, now)
    if mailboxes:  # that nobody else has, and that no mail is on its way to
        counts["mailboxes"] = await merchants.prune_mailboxes(db, len(mailboxes), mailboxes)
    return counts


async def forget_number(pool: Pool, phone: str) -> dict[str, int]:
    """What holds the number of somebody who is no customer, such as a caller, or was erased before."""
    async with pool.acquire() as db, db.transaction():
        return await store.forget_number(db, phone)


async def remove_exports(pool: Pool, customer_id: int, folder: Path) -> tuple[int, str | None]:
    """Delete the files of their complaints, `complaint-ID.zip`, in this machine's folder: how many were there, and
    where else there may be some.
    """
    ids, _ = await store.complaints(pool, customer_id)
    names = [f"complaint-{number}.zip" for number in ids]
    removed = sum([await asyncio.to_thread(_remove, folder / name) for name in names])
    if not names:
        return removed, None
    return removed, f"files of their complaints elsewhere than in {folder} of this machine: {', '.join(names)}"


def _remove(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConsentError(f"{file} is about them, and cannot be deleted: {error.strerror}") from None
    return True


async def record(
    db: Connection, customer_id: int, counts: Mapping[str, int], *, actor: str, why: str, now: datetime, phone: str
) -> int:
    """That they were erased; `why` without the number."""
    reason = re.sub(written(phone), store.ERASED, why)
    return await store.note(db, customer_id, at=now, actor=actor, reason=reason, counts=json.dumps(counts))


async def sweep(
    pool: Pool, phone: str, progress: Callable[[int], None] = lambda _seq: None, patience: float | None = None
) -> tuple[int, bool]:
    """Blank raw callbacks and our own news that hold the number, answers of the API, and the number where it stands in
    texts to others: (how many, whether all).

    Body and headers become `{}`; id, type and times stay, so that what was counted stays counted. Stripe's events are
    not looked at: they are the merchants' accounts. In pages, each on its own: after a crash it is done again. With
    `patience`, in seconds, it may end before it is through.
    """
    after, blanked, began = 0, await store.blank_answers(pool, phone), time.monotonic()
    blanked += await store.blank_words(pool, phone)
    while True:
        last, found = await store.blank_events(pool, phone, after, PAGE)
        blanked += found
        if last is None:
            return blanked, True
        after = last
        progress(after)
        if patience is not None and time.monotonic() - began > patience:
            return blanked, False


def checked_why(why: str) -> str:
    """Raises ConsentError."""
    if not why.strip() or len(why) > 1000:
        raise ConsentError("say in 1 to 1000 characters why the person is erased, such as the request and its date")
    return why.strip()
