"""Tells merchants of messages that callers left: an event of our own, sent by the delivery machine, once."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from holdfast.db.pool import Connection
from holdfast.delivery.telling import News, tell
from holdfast.delivery.voicemail import VoicemailNews, read_voicemail, write_voicemail
from holdfast.inbox import store as inbox
from holdfast.inbox.model import OWN
from holdfast.queue.model import Lane
from holdfast.voice.call_store import Message

RECEIVED = "voicemail.received"
TRANSCRIBED = "voicemail.transcribed"


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
        return await tell(db, told)

    async def _tell(self, db: Connection, message: Message, now: datetime) -> News | None:
        """None: nothing of it is new."""
        told = await self._append(db, RECEIVED, message, now)
        if told is not None or message.transcription is None:
            return told
        first = await inbox.show(db, _event_id(RECEIVED, message))
        if first is None or first.provider != OWN or read_voicemail(first.body).transcription is not None:
            return None
        return await self._append(db, TRANSCRIBED, message, now)

    async def _append(self, db: Connection, event_type: str, message: Message, now: datetime) -> News | None:
        """None: it was told before."""
        event_id, body = _event_id(event_type, message), write_voicemail(event_type, self._news(message))
        seq = await inbox.append_own(
            db, event_id, event_type, message.merchant_id, lane=Lane.STANDARD, headers="{}", body=body, now=now
        )
        return News(seq, event_type, message.merchant_id, message.email) if seq is not None else None

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


def _event_id(event_type: str, message: Message) -> str:
    return f"{event_type}:{message.sid}"
