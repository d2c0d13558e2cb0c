"""Tells merchants of what happened: an event of our own, to who subscribes to it, and perhaps to their own mailbox."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.db.notifications import hint
from holdfast.db.pool import Connection
from holdfast.delivery import store
from holdfast.delivery.store import NewDelivery
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY, Destination
from holdfast.patterns import matches
from holdfast.queue.channels import DELIVER
from holdfast.queue.model import Lane


@dataclass(frozen=True, slots=True)
class News:
    """An event of ours, stored already under `seq`. `mailbox`: where it goes if no e-mail destination of the merchant's
    subscribes; None: then to none.
    """

    seq: int
    event_type: str
    merchant_id: int
    mailbox: str | None


async def tell(db: Connection, news: Sequence[News]) -> int:
    """In the transaction that keeps them; to how many destinations they go now."""
    if not news:
        return 0
    added = await store.plan(db, await _planned(db, news))
    if added:
        await hint(db, DELIVER)
    return added


async def _planned(db: Connection, news: Sequence[News]) -> list[NewDelivery]:
    """A mailbox that is new changes the catalogue: of a storm of voicemails each would have all of it read again here,
    where calls wait, and that for every merchant.
    """
    subscribing: dict[int, list[Destination]] = {COMPANY: []}
    for found in await merchants.subscribing(db, {COMPANY, *(one.merchant_id for one in news)}):
        subscribing.setdefault(found.merchant_id, []).append(found)
    planned, mailboxes = [], []
    for one in news:
        theirs = subscribing.get(one.merchant_id, []) if one.merchant_id != COMPANY else []
        chosen = [it for it in (*subscribing[COMPANY], *theirs) if matches(it.events, one.event_type)]
        planned += [_delivery(one, it.id) for it in chosen]
        mailed = any(it.kind == "email" and it.merchant_id == one.merchant_id for it in chosen)
        if one.mailbox and one.merchant_id != COMPANY and not mailed:
            mailboxes.append((one, (one.merchant_id, one.mailbox)))
    if not mailboxes:
        return planned
    ids = await merchants.message_destinations(db, "contact", [mailbox for _, mailbox in mailboxes])
    return planned + [_delivery(one, ids[mailbox]) for one, mailbox in mailboxes]


def _delivery(news: News, destination_id: int) -> NewDelivery:
    return NewDelivery(news.seq, destination_id, news.merchant_id, Lane.STANDARD)
