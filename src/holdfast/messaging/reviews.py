"""Doubtful texts: whoever sent one is left in peace until a person has read it and decided what it meant."""

from datetime import datetime
from typing import Literal

from holdfast.consent import customers, ledger, suppressing
from holdfast.consent import store as consents
from holdfast.consent.model import EVERY_MERCHANT, Customer, Suppression
from holdfast.db.pool import Connection, Pool, again
from holdfast.messaging import inbound_store as store
from holdfast.messaging import news, reviews_store, stopping
from holdfast.messaging.answering import revocation, stop
from holdfast.messaging.inbound_store import Filter, Received
from holdfast.messaging.model import MessagingError, UnknownError
from holdfast.messaging.news import EventType, Told
from holdfast.messaging.returning import returned_to
from holdfast.messaging.signals import TO_REVIEW

Decision = Literal["revoked", "ordinary"]
LONGEST_NOTE = 2000


class NotWaitingError(MessagingError):
    """The text does not wait for a decision; the message says why."""


async def listing(
    pool: Pool, *, limit: int, before: str | None = None, merchant_id: int | None = None
) -> list[Received]:
    """Those that wait, oldest first. `before`: the sid to go on behind."""
    return await store.received(pool, Filter(merchant_id, to_review=True), limit=limit, before=before)


async def show(db: Connection | Pool, sid: str) -> Received:
    """Raises UnknownError."""
    found = await store.one(db, sid)
    if found is None:
        raise UnknownError(f"there is no text {sid[:80]!r} from a person")
    return found


async def decide(pool: Pool, sid: str, decision: Decision, *, actor: str, note: str = "", now: datetime) -> Received:
    """*revoked*: the person wanted no more, from the moment the text came. *ordinary*: the merchant gets it after all.

    Raises UnknownError, NotWaitingError, MessagingError.
    """
    if len(note) > LONGEST_NOTE or "\0" in note:
        raise MessagingError(f"a note has at most {LONGEST_NOTE} characters, without NUL")
    after = await again(lambda: _decide(pool, sid, decision, actor, note, now))
    if decision == "revoked":
        await stopping.settled(pool, [after.customer_id])
    return after


async def _decide(  # noqa: PLR0917 - as `decide`
    pool: Pool, sid: str, decision: Decision, actor: str, note: str, now: datetime
) -> Received:
    async with pool.acquire() as db, db.transaction():
        text = await show(db, sid)
        await customers.lock(db, [text.customer_id])
        if not await reviews_store.settle(db, sid, decision, actor=actor, note=note, now=now):
            raise _not_waiting(await show(db, sid))
        row = await consents.customer(db, text.customer_id)
        assert row is not None
        person = customers.customer(row)
        block = await consents.suppression(db, text.suppression_id) if text.suppression_id is not None else None
        if decision == "revoked":
            await _revoke(db, await show(db, sid), person, block, now)
        else:
            await _pass_on(db, text, person, "text.received", now)
        if block is not None and block.lifted_at is None and not await reviews_store.others_wait(db, block.id):
            await suppressing.lift(db, block.id, actor=actor, why=f"text {sid} was judged: {decision}", now=now)
        return await show(db, sid)


async def measure(pool: Pool) -> int:
    """Say how many wait; a loop's tick."""
    TO_REVIEW.set(await reviews_store.waiting(pool))
    return 0


async def _revoke(db: Connection, text: Received, person: Customer, block: Suppression | None, now: datetime) -> None:
    """Whoever came back to a merchant since then by their own deed stays with it: the ledger alone says that they had
    wanted no more.
    """
    scope = block.merchant_id if block is not None else text.merchant_id
    returned = returned_to(await ledger.history(db, person.id), text.received_at)
    words, actor = text.body or "", text.reviewed_by or "unknown"
    if scope in returned:
        if person.erased_at is None:
            entry = revocation(person, scope, text.received_at, words=words, sid=text.sid, actor=actor)
            await ledger.append(db, [entry], now)
        return
    stopped = await stop(db, person, scope, text.received_at, now, words=words, sid=text.sid, actor=actor)
    if scope == EVERY_MERCHANT:
        for merchant_id in sorted(returned):
            await consents.except_merchant(db, [stopped.suppression_id], merchant_id)
    await _pass_on(db, text, person, "consent.revoked", now, every=scope == EVERY_MERCHANT)


async def _pass_on(
    db: Connection, text: Received, person: Customer, event_type: EventType, now: datetime, *, every: bool = False
) -> None:
    """To the merchant; of an erased person, nothing."""
    if person.phone is None:
        return
    face = (await store.faces(db, [text.merchant_id]))[text.merchant_id]
    told = Told(
        event_type,
        text.sid,
        face,
        person.phone,
        text.to,
        text.body or "",
        text.media,
        text.received_at,
        scope=None if event_type == "text.received" else "company" if every else "merchant",
    )
    await news.announce(db, [told], now)


def _not_waiting(text: Received) -> NotWaitingError:
    if text.decision is None:
        return NotWaitingError(f"text {text.sid} was clear ({text.verdict}): there is nothing to decide")
    return NotWaitingError(f"text {text.sid} was judged already: {text.decision}, by {text.reviewed_by}")
