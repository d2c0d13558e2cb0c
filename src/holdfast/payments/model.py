"""The payments ledger: what one event says of one payment object, and how such facts add up in any order."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

KINDS = (
    "payment_intent",
    "charge",
    "refund",
    "dispute",
    "checkout.session",
    "invoice",
    "payout",
    "transfer",
)


_OLDEST = datetime.min.replace(tzinfo=UTC)


NEVER_NAME_AN_OWNER = ("refund", "dispute", "checkout.session")
"""Kinds that say nothing of the connected account that a destination charge is for; what they belong to does.

Source: https://docs.stripe.com/connect/destination-charges and the objects' pages in https://docs.stripe.com/api
"""


class StripeApiError(Exception):
    """Stripe did not give what was asked for; the message says why. `passing` tells whether a later try may succeed."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


@dataclass(frozen=True, slots=True)
class State:
    """An object's money facts. Amounts are in minor units of `currency`; None where the kind has no such amount.

    `settled` is what was received, captured, paid or sent; `reversed` what of it went back.
    """

    status: str
    currency: str | None
    amount: int | None
    settled: int | None
    reversed: int | None
    belongs_to: str | None
    """The object it is part of: a charge's payment intent, a refund's or dispute's charge, a session's or invoice's
    payment intent, a payment intent's or session's invoice.
    """


@dataclass(frozen=True, slots=True)
class Fact:
    """What the event `event_id`, made at `at`, says of the object `id`. `rank` is how far its state had come.

    `owner` is the connected account that the object itself names (a destination charge, a transfer), None if none.
    `parents` are the objects that may name it for kinds that never do: a refund's charge and payment intent.
    """

    id: str
    kind: str
    created_at: datetime
    state: State
    rank: int
    at: datetime
    event_id: str
    owner: str | None = None
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the ledger, or what a batch of events adds to one."""

    id: str
    kind: str
    account: str | None
    merchant_id: int
    livemode: bool
    state: State
    created_at: datetime
    first_event: str
    first_event_at: datetime
    last_event: str
    last_event_at: datetime
    last_rank: int
    owner_at: datetime | None = None
    owner_rank: int | None = None
    owner_event: str | None = None
    """The event that named account and merchant; None where none did, or in rows from before this was kept."""


def entry(fact: Fact, *, account: str | None, merchant_id: int, livemode: bool) -> Entry:
    """The ledger after this one event."""
    names = merchant_id != 0 or account is not None
    return Entry(
        fact.id,
        fact.kind,
        account,
        merchant_id,
        livemode,
        fact.state,
        fact.created_at,
        fact.event_id,
        fact.at,
        fact.event_id,
        fact.at,
        fact.rank,
        fact.at if names else None,
        fact.rank if names else None,
        fact.event_id if names else None,
    )


def merged(one: Entry, other: Entry) -> Entry:
    """Both together. Whichever comes first, how often, and however they are grouped: the result is the same.

    The newest event's state counts: by time, which Stripe gives in whole seconds; then by how far the state had come;
    then, so that there is always one answer, by event id. So it is with whose it is, among the events that say so.
    """
    newer = max(one, other, key=_age)
    first = min(one, other, key=lambda e: (e.first_event_at, e.first_event))
    owned = max(one, other, key=_owner)
    return Entry(
        newer.id,
        newer.kind,
        owned.account,
        owned.merchant_id,
        newer.livemode,
        newer.state,
        min(one.created_at, other.created_at),
        first.first_event,
        first.first_event_at,
        newer.last_event,
        newer.last_event_at,
        newer.last_rank,
        owned.owner_at,
        owned.owner_rank,
        owned.owner_event,
    )


def folded(entries: Iterable[Entry]) -> list[Entry]:
    """One entry an object, ordered by id, so that two routers never lock the same rows crosswise."""
    by_id: dict[str, Entry] = {}
    for item in entries:
        known = by_id.get(item.id)
        by_id[item.id] = item if known is None else merged(known, item)
    return [by_id[key] for key in sorted(by_id)]


def _age(item: Entry) -> tuple[datetime, int, str]:
    return item.last_event_at, item.last_rank, item.last_event


def _owner(item: Entry) -> tuple[object, ...]:
    """What names more counts for more, then the newest; the rest is so that there is always one answer."""
    return (
        item.merchant_id != 0,
        item.account is not None,
        item.owner_at or _OLDEST,
        item.owner_rank or 0,
        item.owner_event or "",
        item.merchant_id,
        item.account or "",
    )
