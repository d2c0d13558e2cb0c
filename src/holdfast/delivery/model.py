"""What is sent where, and what came of one try."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

RESPONSE_KEPT = 1024
"""Bytes of a destination's answer that an attempt keeps."""


class DeliveryError(Exception):
    """The base of this room's errors."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a sender needs of a delivery. `attempt` counts from 1; `webhook_id` is the same at every attempt.

    `body` and `headers` are the provider's own, unchanged. `created` is the provider's time, `received` ours.
    """

    delivery_id: int
    webhook_id: str
    attempt: int
    event_id: str
    event_type: str
    created: datetime
    received: datetime
    account: str | None
    merchant: str | None
    livemode: bool
    body: bytes
    headers: Mapping[str, str]


class OwnMessage(msgspec.Struct, frozen=True):
    """The body of an event of our own: what is told to people, in plain text and perhaps in HTML."""

    subject: str
    text: str
    html: str | None = None
    kind: str = ""


_decode_own = msgspec.json.Decoder(OwnMessage).decode


def read_own(body: bytes) -> OwnMessage:
    """Raises ValueError."""
    return _decode_own(body)


class Outcome(StrEnum):
    """What follows from an attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    REJECTED = "rejected"
    """The destination will never take it: dead letter at once. Status 410 also means: disable the destination."""
    REFUSED = "refused"
    """We may not send there: the address is not allowed, or is not an address. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. `status` is the HTTP or SMTP code, `latency` seconds, `retry_after` seconds as asked by the destination.

    `error` is short, readable and free of secrets; `response` is the first `RESPONSE_KEPT` bytes of the answer.
    """

    outcome: Outcome
    status: int | None
    latency: float
    error: str | None = None
    response: bytes = b""
    retry_after: float | None = None
    down: bool = False
    """The destination could not do its work (transport, time-out, 5xx, 408, 425, 429): a failure for the breaker."""
    congested: bool = False
    """It may be too much at once (transport, time-out, 408, 429, 503, 504): the limiter gives way."""

    @property
    def gone(self) -> bool:
        """The destination says that it is gone for good (410): disable it."""
        return self.outcome is Outcome.REJECTED and self.status == 410
