"""What an event is, from the bytes a provider sent to the row we keep."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from holdfast.queue.model import Lane

OWN = "holdfast"
"""The provider of events that we made ourselves: the messages that we send."""
ROUTED = "stripe"
"""The provider whose events are routed. Those of others, such as callbacks about calls, are done once they are kept."""

NO_MERCHANT = "no merchant has the account "
"""The note of unmatched events, before the account: the event's, or that which a payment of the platform's is for."""


class EventError(Exception):
    """The body is not an event; the message names what is missing or wrong."""


class _Envelope(msgspec.Struct):
    """The few fields of a provider's event that the inbox needs; the rest is checked to be JSON and kept as sent."""

    id: Any = None
    type: Any = None
    created: Any = None
    account: Any = None
    context: Any = None
    livemode: Any = True


class _Subject(msgspec.Struct):
    id: Any = None


class _Data(msgspec.Struct):
    object: _Subject | None = None


class _Whole(_Envelope):
    """The envelope with the id of what the event is about, in a snapshot and in a thin event."""

    data: _Data | None = None
    related_object: _Subject | None = None


_LATEST = 32_503_680_000
"""The year 3000: what is later is no time."""

_decode = msgspec.json.Decoder(_Whole).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class NewEvent(msgspec.Struct, frozen=True):
    """An event on its way in. `headers` is a JSON object of the provider's headers, `body` the exact bytes.

    `object_id` is what the event is about (`pi_…`), None where it cannot be told. `created` (the provider's clock) and
    `received` (ours) are Unix time in seconds. A msgspec struct, since frozen dataclasses are slow to make.
    """

    provider: str
    event_id: str
    type: str
    object_id: str | None
    account: str | None
    livemode: bool
    created: float
    received: float
    headers: str
    body: bytes


class Event(msgspec.Struct, frozen=True):
    """An event that we hold."""

    seq: int
    provider: str
    event_id: str
    type: str
    lane: Lane
    object_id: str | None
    account: str | None
    livemode: bool
    created_at: datetime
    received_at: datetime
    headers: str
    body: bytes


def parse_stripe(body: bytes, headers: str, received: float) -> NewEvent:
    """Read a Stripe event, snapshot (`object: event`) or thin (`object: v2.core.event`).

    Raises EventError. Source: https://docs.stripe.com/api/events/object and /api/v2/core/events/object
    """
    if not body:
        raise EventError("the body is empty; send the event as JSON")
    envelope = _envelope(body)
    event_id, event_type = envelope.id, envelope.type
    if not (isinstance(event_id, str) and 0 < len(event_id) <= 255):
        raise EventError("`id` is missing: a text of 1 to 255 characters such as evt_…")
    if not (isinstance(event_type, str) and 0 < len(event_type) <= 255):
        raise EventError("`type` is missing: a text of 1 to 255 characters such as charge.succeeded")
    account = envelope.account or envelope.context  # thin events name the connected account in `context`
    if account is not None:
        if not (isinstance(account, str) and len(account) <= 255):
            raise EventError("`account` is not a text")
        account = account.rpartition("/")[2]  # a context may be a path: org_…/acct_…
    if "\0" in event_id or "\0" in event_type or "\0" in (account or ""):
        raise EventError("`id`, `type` and `account` may not contain a NUL character")
    return NewEvent(
        "stripe",
        event_id,
        event_type,
        _object_id(envelope),
        account,
        envelope.livemode is not False,
        _time(envelope.created, received),
        received,
        headers,
        body,
    )


def _envelope(body: bytes) -> _Envelope:
    try:
        try:
            return _decode(body)
        except msgspec.ValidationError:
            return _decode_envelope(body)  # what it is about has an unknown form
    except msgspec.ValidationError:
        raise EventError("the body is JSON but not an object with an event's fields") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EventError(f"the body is not JSON: {error}") from None


def _object_id(envelope: _Envelope) -> str | None:
    if not isinstance(envelope, _Whole):
        return None
    subject = envelope.data.object if envelope.data is not None else None
    found = (subject or envelope.related_object or _Subject()).id
    return found if isinstance(found, str) and 0 < len(found) <= 255 and "\0" not in found else None


def _time(created: object, received: float) -> float:
    """Snapshot events carry Unix seconds, thin ones RFC 3339; an event without a usable time counts as made now."""
    if isinstance(created, int | float) and 0 <= created < _LATEST:
        return float(created)
    if isinstance(created, str):
        try:
            at = datetime.fromisoformat(created)
            seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return received
        return seconds if 0 <= seconds < _LATEST else received
    return received
