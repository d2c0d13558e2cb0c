"""Merchants and where their notifications go."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

Kind = Literal["webhook", "email", "application", "contact", "team"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""contact: a mailbox, and team: a team channel of the settings; both get messages of ours, and subscribe to nothing."""
FOR_MESSAGES: tuple[Kind, ...] = ("contact", "team")
BY_MAIL: tuple[Kind, ...] = ("email", "contact")
"""Mailboxes: whatever goes to them goes through one mail server, ours."""

COMPANY = 0
"""The merchant id that is never given: the company itself, or, where an event's merchant is meant, nobody we know."""


class MerchantError(Exception):
    """A merchant or destination is not as it must be; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class NewMerchant:
    """`key` is the merchant's name in commands and messages, `stripe_account` its `acct_…` under Connect.

    `time_zone`: IANA name, for its business hours; None for that of each of its numbers.
    """

    key: str
    name: str
    email: str | None = None
    stripe_account: str | None = None
    time_zone: str | None = None


@dataclass(frozen=True, slots=True)
class Merchant:
    id: int
    key: str
    name: str
    email: str | None
    stripe_account: str | None
    time_zone: str | None
    created_at: datetime
    stripe_disconnected_at: datetime | None = None
    """Since when Stripe refuses us the account, because it revoked our access."""


@dataclass(frozen=True, slots=True)
class NewDestination:
    """`merchant_id` COMPANY is the company itself; its destinations, of kind `application`, get everybody's events.

    `events` may be empty where many are added or changed at once: all, or what is there already.
    """

    merchant_id: int
    kind: Kind
    address: str
    secrets: tuple[str, ...]
    events: tuple[str, ...]
    ceiling: int | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """Where deliveries go.

    `address` is a URL, an e-mail address, or `team:2` for the second of the settings' team channels. `secrets` are
    `whsec_<base64>`: the first is current, the others are still valid while rotating, which began at `rotating_since`.
    `disabled_since` and `disabled_why` tell of one that is not enabled, as far as is known. `events` is the
    subscription, patterns for `patterns.matches`. `ceiling` is the most attempts at the same time, None where the
    settings decide; `timeout` is in seconds for a whole attempt.
    """

    id: int
    merchant_id: int
    kind: Kind
    address: str
    secrets: tuple[str, ...]
    events: tuple[str, ...]
    enabled: bool
    ceiling: int | None = None
    timeout: float = 15.0
    rotating_since: datetime | None = None
    disabled_since: datetime | None = None
    disabled_why: str | None = None
