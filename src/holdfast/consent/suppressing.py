"""Blocks people, and lifts blocks: always beside a row of the ledger where it is the person's wish.

Who may still be sending to them is not asked here: see `messaging.stopping`, which callers use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.consent import customers, ledger, store
from holdfast.consent.model import (
    EVERY_MERCHANT,
    WISHES,
    Block,
    Entry,
    Purpose,
    RefusedError,
    Source,
    Suppression,
    UnknownError,
)
from holdfast.db.pool import Connection

LEAST, LEAST_OF_COMPLAINT = 3, 20
"""Characters of a reason to lift a block."""
THEIR_DEED = (
    "It ends by their own deed: they text START to the merchant's number, or use the link of `holdfast consent link`."
)


@dataclass(frozen=True, slots=True)
class Made:
    """A suppression in force; `is_new`: it was not before."""

    id: int
    customer_id: int
    merchant_id: int
    reason: str
    is_new: bool


async def suppress(db: Connection, blocks: Sequence[Block], now: datetime) -> list[Made]:
    """In the caller's transaction, customers locked. One that is in force already stays, and is returned."""
    await customers.lock(db, [block.customer_id for block in blocks])
    return [Made(*row) for row in await store.suppress(db, blocks, now)]


async def lift(db: Connection, suppression_id: int, *, actor: str, why: str, now: datetime) -> Suppression:
    """By hand. Raises UnknownError, and RefusedError for what is not lifted by hand, or not without a reason."""
    found = await store.suppression(db, suppression_id)
    if found is None or found.lifted_at is not None:
        raise UnknownError(f"there is no suppression {suppression_id} in force")
    if found.reason == "erasure":
        raise RefusedError(
            "the person had their data erased: this block stays for ever, but for merchants that they text START to"
        )
    if len(why.strip()) < (LEAST_OF_COMPLAINT if found.reason == "complaint" else LEAST):
        raise RefusedError(
            f"the person complained. {THEIR_DEED} If it has to be lifted by hand all the same, say in at least "
            f"{LEAST_OF_COMPLAINT} characters why"
            if found.reason == "complaint"
            else "say why the block is lifted"
        )
    await customers.lock(db, [found.customer_id])
    await store.lift(db, [suppression_id], actor=actor, why=why, now=now)
    after = await store.suppression(db, suppression_id)
    assert after is not None
    return after


async def resubscribe(
    db: Connection,
    customer_id: int,
    merchant_id: int,
    source: Source,
    now: datetime,
    *,
    actor: str,
    why: str,
    purposes: Sequence[tuple[Purpose, str | None]],
    origin: str | None = None,
    detail: dict[str, str] | None = None,
    given_at: datetime | None = None,
) -> list[int]:
    """The person comes back to one merchant by their own deed: grants for these (purpose, disclosure), and what their
    own wish blocked of this merchant is open again. Blocks that are nobody's wish stay. Of an erasure, which blocks
    every merchant for ever, this one is left out; see `customers.revive`. Returns the grants' rows.

    `given_at`: when they did it, such as when their text came in; now unless given. What they revoked after that stays
    revoked and blocked, though it was written down before.
    """
    await customers.lock(db, [customer_id])
    rows = await ledger.history(db, customer_id)
    revoked = [row for row in rows if row.action == "revoke" and row.merchant_id in (merchant_id, EVERY_MERCHANT)]
    at = given_at or now
    if any(row.given_at == at for row in revoked):
        at += timedelta(microseconds=1)  # of two at the same time the revocation holds, but this one answers it
    later = {row.seq for row in revoked if row.given_at > at}
    grants = [
        Entry(
            customer_id,
            merchant_id,
            "grant",
            purpose,
            source,
            at,
            actor,
            disclosure=disclosure,
            origin=origin,
            detail=detail or {},
        )
        for purpose, disclosure in purposes
    ]
    seqs = await ledger.append(db, grants, max(now, at))
    blocks = await store.suppressions_of(db, customer_id, live_only=True)
    live = [one for one in blocks if (one.reason in WISHES and one.consent_seq not in later) or one.reason == "erasure"]
    await store.lift(db, [one.id for one in live if one.merchant_id == merchant_id], actor=actor, why=why, now=now)
    await store.except_merchant(db, [one.id for one in live if one.merchant_id == EVERY_MERCHANT], merchant_id)
    return seqs
