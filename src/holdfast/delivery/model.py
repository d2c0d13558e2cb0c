"""What is sent where, and what came of one try."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Literal

RESPONSE_KEPT = 1024
"""Bytes of a destination's answer that an attempt keeps."""

Kind = Literal["webhook", "email", "application"]


class DeliveryError(Exception):
    """The base of this room's errors."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where deliveries go. `merchant_id` 0 is the company itself; its destinations are of kind `application`.

    `address` is a URL or an e-mail address. `secrets` are `whsec_<base64>`: the first is current, the others are
    still valid while rotating. `events` are patterns for `matches`. `timeout` is in seconds for a whole attempt,
    `ceiling` is the most attempts at the same time.
    """

    id: int
    merchant_id: int
    kind: Kind
    address: str
    secrets: tuple[str, ...]
    events: tuple[str, ...]
    enabled: bool
    timeout: float = 15.0
    ceiling: int = 64


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


def matches(patterns: Sequence[str], event_type: str) -> bool:
    """Whether a subscription asks for an event type. `*` stands for any run of characters, all else is literal.

    Thin events have types of their own (`v1.charge.failed`) and match only patterns that say so: who subscribes to
    `charge.failed` would otherwise get every event twice.
    """
    return _matcher(tuple(patterns))(event_type) is not None


@lru_cache(maxsize=16_384)
def _matcher(patterns: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    if not patterns:
        return re.compile("(?!)").fullmatch
    return re.compile("|".join(_regex(pattern) for pattern in patterns), re.DOTALL).fullmatch


def _regex(pattern: str) -> str:
    """Atomic groups: each part is looked for once, so that no pattern can make matching slow."""
    first, *rest = (re.escape(part) for part in re.split(r"\*+", pattern))
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{part})" for part in middle) + ".*" + last
