"""Tells merchants of messages that callers left: an event of our own, sent by the delivery machine, once."""

from collections.abc import Callable
from datetime import UTC, datetime

from holdfast.db.notifications import hint
from holdfast.db.pool import Connection
from holdfast.delivery import store as deliveries
from holdfast.delivery.store import NewDelivery
from holdfast.delivery.voicemail import VoicemailNews, read_voicemail, write_voicemail
from holdfast.inbox import store as inbox
from holdfast.inbox.model import OWN
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import COMPANY
from holdfast.queue.channels import DELIVER
from holdfast.queue.model import Lane
from holdfast.voice.call_store import Message

RECEIVED = "voicemail.received"
TRANSCRIBED = "voicemail.transcribed"


class Announcer:
    """`announce` is called for every voicemail that anything was heard of; what was told already is not told again."""

    def __init__(self, catalogue: Catalogue, time_zone_of: Callable[[str], str | None]) -> None:
        """`time_zone_of`: number → the zone that its merchant's clocks show."""
        self._catalogue = catalogue
        self._time_zone_of = time_zone_of

    async def announce(self, db: Connection, message: Message, now: datetime) -> int:
        """In the transaction that keeps it; to how many destinations it goes now.

        What is written down later than the first news is told once more, with the words.
        """
        sent = await self._send(db, RECEIVED, message, now)
        if sent is not None or message.transcription is None:
            return sent or 0
        first = await inbox.show(db, _event_id(RECEIVED, message))
        if first is None or first.provider != OWN or read_voicemail(first.body).transcription is not None:
            return 0
        return await self._send(db, TRANSCRIBED, message, now) or 0

    def _news(self, message: Message) -> VoicemailNews:
        return VoicemailNews(
            id=message.sid,
            call=message.call_sid,
            from_=message.caller,
            to=message.phone,
            merchant=message.key,
            merchant_name=message.name,
            duration=message.seconds,
            recording_url=message.url,
            transcription=message.transcription,
            received_at=message.at.astimezone(UTC),
            time_zone=self._time_zone_of(message.phone) or message.time_zone or "UTC",
        )

    async def _send(self, db: Connection, event_type: str, message: Message, now: datetime) -> int | None:
        """None: it was sent before."""
        event_id, body = _event_id(event_type, message), write_voicemail(event_type, self._news(message))
        seq = await inbox.append_own(
            db, event_id, event_type, message.merchant_id, lane=Lane.STANDARD, headers="{}", body=body, now=now
        )
        if seq is None:
            return None
        chosen = await self._destinations(db, event_type, message)
        planned = [NewDelivery(seq, one, message.merchant_id, Lane.STANDARD) for one in chosen]
        added = await deliveries.plan(db, planned)
        if added:
            await hint(db, DELIVER)
        return added

    async def _destinations(self, db: Connection, event_type: str, message: Message) -> list[int]:
        """Who subscribes to it; and the merchant's own mailbox, if none of its e-mail destinations does."""
        await self._catalogue.refresh(db)
        chosen = list(self._catalogue.subscribers(message.merchant_id, event_type))
        found = [self._catalogue.destination(one) for one in chosen]
        mailed = any(
            one is not None and one.kind == "email" and one.merchant_id == message.merchant_id for one in found
        )
        if message.email and message.merchant_id != COMPANY and not mailed:
            mailbox = (message.merchant_id, message.email)
            added = await merchants.message_destinations(db, "contact", [mailbox])
            chosen.append(added[mailbox])
        return chosen


def _event_id(event_type: str, message: Message) -> str:
    return f"{event_type}:{message.sid}"
