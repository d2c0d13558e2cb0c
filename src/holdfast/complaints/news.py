"""Tells merchants that somebody complained of texts: an event of our own, sent by the delivery machine, once."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from holdfast.complaints.model import Complaint
from holdfast.db.pool import Connection
from holdfast.delivery import telling
from holdfast.delivery.telling import News
from holdfast.inbox import store as inbox
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY
from holdfast.queue.model import Lane

FILED = "complaint.filed"


class _News(msgspec.Struct, frozen=True):
    """What `complaint.filed` is about. What the person said is not in it: it may be about somebody else.

    `merchant`: whose event it is; `named`: whether the person named them. `cancelled`: texts of every merchant.
    """

    id: str
    object: str
    phone: str
    merchant: str | None
    named: bool
    source: str
    status: str
    received_at: datetime
    due_at: datetime
    cancelled: int


class _Data(msgspec.Struct, frozen=True):
    object: _News


class _Event(msgspec.Struct, frozen=True):
    type: str
    data: _Data


async def tell(db: Connection, complaint: Complaint, phone: str, merchant_ids: Sequence[int], now: datetime) -> int:
    """In the transaction that files it: an event each merchant, or the company's where it is nobody's.

    To how many destinations it goes.
    """
    owners = list(merchant_ids) or [COMPANY]
    keys = await merchants.keys(db, owners)
    news = []
    for owner in owners:
        body = msgspec.json.encode(_Event(FILED, _Data(_news(complaint, phone, owner, keys.get(owner)))))
        event_id = f"{FILED}:{complaint.id}:{owner}"
        seq = await inbox.append_own(db, event_id, FILED, owner, lane=Lane.STANDARD, headers="{}", body=body, now=now)
        if seq is not None:  # else it was told before
            news.append(News(seq, FILED, owner, None))
    return await telling.tell(db, news)


def _news(complaint: Complaint, phone: str, owner: int, key: str | None) -> _News:
    return _News(
        id=str(complaint.id),
        object="complaint",
        phone=phone,
        merchant=key,
        named=owner == complaint.merchant_id and owner != COMPANY,
        source=complaint.source,
        status="suppressed",
        received_at=complaint.received_at,
        due_at=complaint.due_at,
        cancelled=complaint.cancelled,
    )
