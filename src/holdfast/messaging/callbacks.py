"""What Twilio tells of the texts it has: each callback is kept, and moves its text's status forward. Never back.

They come late, twice and in any order; what is made of them is the same. Sources:
https://www.twilio.com/docs/messaging/guides/track-outbound-message-status and, of the statuses,
https://www.twilio.com/docs/messaging/api/message-resource#message-status-values
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final

import msgspec
import structlog

from holdfast.db.pool import Connection, Pool, again
from holdfast.inbox import store as inbox
from holdfast.messaging import callbacks_store as store
from holdfast.messaging import meanings
from holdfast.messaging import sending_store as sending
from holdfast.messaging.callbacks_store import Known, NewEvent, Told
from holdfast.messaging.signals import REPORTED
from holdfast.twilio.model import PROVIDER

log = structlog.get_logger()

RANKS: Final[Mapping[str, int]] = {
    "accepted": 1,
    "scheduled": 1,
    "queued": 2,
    "sending": 3,
    "sent": 4,
    "delivered": 5,
    "undelivered": 5,
    "failed": 5,
    "canceled": 5,
    "read": 6,
}
"""How far each status is. What is not here is kept as an event, and moves nothing."""
UNKNOWN: Final = "unknown"
_LOST: Final = frozenset(("undelivered", "failed"))
_LARGEST_CODE: Final = 999_999
_SID: Final = re.compile(r"(?:SM|MM)[0-9a-zA-Z]{1,62}")


@dataclass(frozen=True, slots=True)
class StatusCallback:
    """One verified request of Twilio's. `params`: its form; `query`: what we wrote into the address that it called.

    `account` is the one whose signature it has, `received` Unix time. Headers, form and body are kept, never logged.
    """

    params: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    account: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received: float


class StatusCallbacks:
    """Takes callbacks of texts, many in one commit."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def take(self, batch: Sequence[StatusCallback]) -> None:
        """Keep them all. Once this returns they are committed. Raises what `AWAY` lists, and then none is kept.

        One of a text that nobody knows, or that is another account's, is kept as an event and changes nothing.
        """
        if not batch:
            return
        read = [_read(one) for one in batch]
        once = {event.event_id: (event, told) for event, told in reversed(read)}
        first = {id(event) for event, _ in once.values()}
        repeats = [(PROVIDER, event.event_id, event.received) for event, _ in read if id(event) not in first]

        async def keep() -> list[Told]:
            async with self._pool.acquire() as db, db.transaction():
                new = await store.add_events(db, [event for event, _ in once.values()])
                if repeats:
                    await inbox.count_duplicates(db, repeats)
                told = [one for event, one in once.values() if one is not None and event.event_id in new]
                if told:
                    await _apply(db, told)
                return told

        for one in await again(keep):
            REPORTED.inc(1, one.status, code_label(one.code))


def code_label(code: int | None) -> str:
    """A code as a label: those that mean something here, and others."""
    if not code:
        return "none"
    return str(code) if code in meanings.MEANINGS else "other"


async def _apply(db: Connection, told: Sequence[Told]) -> None:
    """In this order every time: people, the ledger's end, texts, so that nobody waits in a circle."""
    now = datetime.fromtimestamp(max(one.received for one in told), UTC)
    by_sid = {one.sid: one for one in sorted(told, key=lambda one: one.message_id or 0)}
    known = await store.find(db, list(by_sid.values()))
    sids = {one.sid for one in known}
    lost = {one.sid: one for one in told if one.status in _LOST and meanings.matters(one.code)}
    facts = [_fact(one, lost[one.sid]) for one in known if one.sid in lost]
    await meanings.lock(db, facts)
    await sending.lock(db, [one.id for one in known])
    taken = await store.adopt(db, {one.id: one.sid for one in known}, now=now)
    if taken:
        log.debug("text.adopted", texts=len(taken))
    await store.advance(db, _furthest(one for one in told if one.rank and one.sid in sids))
    await meanings.apply(db, facts, now)


def _fact(known: Known, told: Told) -> meanings.Fact:
    at = known.tried_at or datetime.fromtimestamp(told.received, UTC)
    return meanings.Fact(known.id, known.merchant_id, known.customer_id, told.code, at, known.is_merchants)


def _furthest(told: Iterable[Told]) -> list[Told]:
    """Of each text the one that counts; of the same told twice the first."""
    found: dict[str, Told] = {}
    for one in told:
        before = found.get(one.sid)
        if before is None or _place(one) > _place(before):
            found[one.sid] = one
    return sorted(found.values(), key=lambda one: one.sid)


def _place(told: Told) -> tuple[int, str, int, float]:
    return told.rank, told.status, told.code, -told.received


def _read(callback: StatusCallback) -> tuple[NewEvent, Told | None]:
    """Its event; and what it says, if it says of which text."""
    params = {_clean(name): _clean(value) for name, value in callback.params.items()}
    query = {_clean(name): _clean(value) for name, value in callback.query.items()}
    given = params.get("MessageSid") or params.get("SmsSid") or ""
    sid = given if _SID.fullmatch(given) else None
    status = params.get("MessageStatus") or params.get("SmsStatus") or ""
    status = status if status in RANKS else UNKNOWN
    asked = query.get("m", "")
    message_id = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 19 else None
    digest = blake2b(msgspec.json.encode([sorted(params.items()), sorted(query.items())]), digest_size=12).hexdigest()
    event = NewEvent(
        f"message.status:{sid or 'none'}:{digest}",
        status,
        sid,
        callback.account,
        callback.received,
        msgspec.json.encode(dict(callback.headers)).decode().replace("\\u0000", "\N{REPLACEMENT CHARACTER}"),
        callback.body,
        message_id,
    )
    if sid is None:
        return event, None
    code = params.get("ErrorCode", "")
    number = min(int(code), _LARGEST_CODE) if code.isascii() and code.isdigit() and len(code) < 10 else 0
    return event, Told(sid, message_id, callback.account, status, RANKS.get(status, 0), number, callback.received)


def _clean(text: str) -> str:
    """What the store cannot hold is replaced; the body keeps what was sent."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
