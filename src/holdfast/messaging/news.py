"""Tells merchants of texts that came and of what people decided: events of ours, sent by the delivery machine, once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from holdfast.db.pool import Connection
from holdfast.delivery.telling import News, tell
from holdfast.delivery.text_news import TextNews, write_text
from holdfast.inbox import store as inbox
from holdfast.messaging.inbound_store import Face
from holdfast.queue.model import Lane

EventType = Literal["text.received", "consent.revoked", "consent.granted"]


@dataclass(frozen=True, slots=True)
class Told:
    """What happened: in a text (`id` its sid, `from_` the person, `to` the number of ours), or by a link."""

    event_type: EventType
    id: str
    face: Face
    from_: str
    to: str
    body: str
    media: tuple[str, ...]
    at: datetime
    scope: Literal["merchant", "company"] | None = None
    purposes: tuple[str, ...] = ()


async def announce(db: Connection, told: Sequence[Told], now: datetime) -> int:
    """In the transaction that does what they tell of; to how many destinations they go now.

    Texts go to the merchant's mailbox if no e-mail destination of it subscribes; the rest to subscribers alone.
    """
    news = []
    for one in told:
        body = write_text(one.event_type, _news(one))
        seq = await inbox.append_own(
            db,
            f"{one.event_type}:{one.id}",
            one.event_type,
            one.face.merchant_id,
            lane=Lane.STANDARD,
            headers="{}",
            body=body,
            now=now,
        )
        if seq is not None:
            mailbox = one.face.email if one.event_type == "text.received" else None
            news.append(News(seq, one.event_type, one.face.merchant_id, mailbox))
    return await tell(db, news)


def _news(told: Told) -> TextNews:
    return TextNews(
        id=told.id,
        from_=told.from_,
        to=told.to,
        merchant=told.face.key,
        merchant_name=told.face.name,
        body=told.body,
        media=told.media,
        received_at=told.at.astimezone(UTC),
        time_zone=told.face.time_zone,
        scope=told.scope,
        purposes=told.purposes,
    )
