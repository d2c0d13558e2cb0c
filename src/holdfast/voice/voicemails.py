"""Tells merchants of messages that callers left: an event of our own, sent by the delivery machine, once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.db.notifications import hint
from holdfast.db.pool import Connection
from holdfast.delivery import store as deliveries
from holdfast.delivery.store import NewDelivery
from holdfast.delivery.voicemail import VoicemailNews, read_voicemail, write_voicemail
from holdfast.inbox import store as inbox
from holdfast.inbox.model import OWN
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY, Destination
from holdfast.patterns import matches
from holdfast.queue.channels import DELIVER
from holdfast.queue.model import Lane
from holdfast.voice.call_store import Message

RECEIVED = "voicemail.received"
TRANSCRIBED = "voicemail.transcribed"


@dataclass(frozen=True, slots=True)
class _Told:
    """News that are sent now: the event's seq, and what it is."""

    seq: int
    event_type: str
    message: Message


class Announcer:
    """`announce` is called for every voicemail that anything was heard of; what was told already is not told again."""

    def __init__(self, time_zone_of: Callable[[str], str | None]) -> None:
        """`time_zone_of`: number → the zone that its merchant's clocks show."""
        self._time_zone_of = time_zone_of

    async def announce(self, db: Connection, messages: Iterable[Message], now: datetime) -> int:
        """In the transaction that keeps them; to how many destinations they go now.

        What is written down later than the first news is told once more, with the words.
        """
        told = [one for message in messages if (one := await self._tell(db, message, now)) is not None]
        if not told:
            return 0
        added = await deliveries.plan(db, await _planned(db, told))
        if added:
            await hint(db, DELIVER)
        return added

    async def _tell(self, db: Connection, message: Message, now: datetime) -> _Told | None:
        """None: nothing of it is new."""
        told = await self._append(db, RECEIVED, message, now)
        if told is not None or message.transcription is None:
            return told
        first = await inbox.show(db, _event_id(RECEIVED, message))
        if first is None or first.provider != OWN or read_voicemail(first.body).transcription is not None:
            return None
        return await self._append(db, TRANSCRIBED, message, now)

    async def _append(self, db: Connection, event_type: str, message: Message, now: datetime) -> _Told | None:
        """None: it was told before."""
        event_id, body = _event_id(event_type, message), write_voicemail(event_type, self._news(message))
        seq = await inbox.append_own(
            db, event_id, event_type, message.merchant_id, lane=Lane.STANDARD, headers="{}", body=body, now=now
        )
        return _Told(seq, event_type, message) if seq is not None else None

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


async def _planned(db: Connection, told: Sequence[_Told]) -> list[NewDelivery]:
    """To who subscribes; and to the merchant's own mailbox, if none of its e-mail destinations does.

    A mailbox that is new changes the catalogue: of a storm of voicemails each would have all of it read again here,
    where calls wait, and that for every merchant.
    """
    subscribing: dict[int, list[Destination]] = {COMPANY: []}
    for found in await merchants.subscribing(db, {COMPANY, *(one.message.merchant_id for one in told)}):
        subscribing.setdefault(found.merchant_id, []).append(found)
    planned, mailboxes = [], []
    for one in told:
        theirs = subscribing.get(one.message.merchant_id, []) if one.message.merchant_id != COMPANY else []
        chosen = [it for it in (*subscribing[COMPANY], *theirs) if matches(it.events, one.event_type)]
        planned += [_delivery(one, it.id) for it in chosen]
        mailed = any(it.kind == "email" and it.merchant_id == one.message.merchant_id for it in chosen)
        if one.message.email and one.message.merchant_id != COMPANY and not mailed:
            mailboxes.append((one, (one.message.merchant_id, one.message.email)))
    if not mailboxes:
        return planned
    ids = await merchants.message_destinations(db, "contact", [mailbox for _, mailbox in mailboxes])
    return planned + [_delivery(one, ids[mailbox]) for one, mailbox in mailboxes]


def _delivery(told: _Told, destination_id: int) -> NewDelivery:
    return NewDelivery(told.seq, destination_id, told.message.merchant_id, Lane.STANDARD)


def _event_id(event_type: str, message: Message) -> str:
    return f"{event_type}:{message.sid}"
