"""What the ledger and the suppressions hold.

Sources: 47 CFR 64.1200(a)(2), (a)(10), (f)(9); https://www.twilio.com/docs/messaging/features/consent-api (`Source`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

EVERY_MERCHANT = 0
"""As `merchant_id` of a revocation or a suppression."""

Action = Literal["grant", "revoke"]
Purpose = Literal["marketing", "informational"]
"""Marketing needs prior express written consent: a grant with a disclosure. It covers informational texts as well."""
Scope = Literal["marketing", "informational", "all"]
"""Of a revocation: *all* is the default everywhere."""
Channel = Literal["text", "call"]
Source = Literal[
    "website", "offline", "opt-in-message", "opt-out-message", "import", "api", "operator", "complaint", "provider",
    "link", "erasure", "import-undone"
]  # fmt: skip
"""How we heard of it: the first four are Twilio's words."""
OWN_DEEDS: tuple[Source, ...] = ("opt-in-message", "link")
"""Sources of the grants by which a person comes back: nobody else came that way."""
Reason = Literal[
    "opt_out", "doubtful", "complaint", "cohort", "erasure", "operator", "import", "provider_block", "carrier_block",
    "unknown_handset", "landline"
]  # fmt: skip
WISHES: frozenset[Reason] = frozenset(("opt_out", "doubtful", "complaint", "provider_block", "import"))
"""Reasons that a person's own START, or signed link, ends."""


class ConsentError(Exception):
    """It cannot be recorded, or done, as asked; the message says why."""


class UnknownError(ConsentError):
    """There is no such customer, suppression, batch or link."""


class RefusedError(ConsentError):
    """Not now, or not any more: the message says what is in the way."""


class KeyMissingError(ConsentError):
    """The key that the numbers of erased people are hashed with is missing, or is another one."""


@dataclass(frozen=True, slots=True)
class Customer:
    """The person at the other end. `phone` is None once they are erased."""

    id: int
    phone: str | None
    zones: tuple[str, ...]
    created_at: datetime
    erased_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A row to append to the ledger. `merchant_id` `EVERY_MERCHANT`: a revocation towards every one.

    `given_at`: when the person did it. `disclosure`: the text they were shown. `origin`: the form, keyword or campaign.
    `collector`: who collected it. `detail`: what of it is personal, such as {"method": …, "ip": …, "recording": …,
    "words": …}; texts and numbers only.
    """

    customer_id: int
    merchant_id: int
    action: Action
    purpose: Scope
    source: Source
    given_at: datetime
    actor: str
    channel: Literal["text", "call", "all"] = "text"
    disclosure: str | None = None
    origin: str | None = None
    collector: str | None = None
    batch_id: int | None = None
    batch_row: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the ledger as people read it. `disclosure` is the text; `detail` is empty once the person is erased."""

    seq: int
    customer_id: int
    merchant_id: int
    action: Action
    purpose: Scope
    channel: str
    source: Source
    given_at: datetime
    recorded_at: datetime
    disclosure: str | None
    origin: str | None
    collector: str | None
    batch_id: int | None
    batch_row: int | None
    actor: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Suppression:
    id: int
    customer_id: int
    merchant_id: int
    """0: every merchant's texts, but of those in `excepted`."""
    reason: Reason
    source: str
    actor: str
    note: str
    made_at: datetime
    consent_seq: int | None
    complaint_id: int | None
    incident_id: int | None
    batch_id: int | None
    excepted: tuple[int, ...]
    lifted_at: datetime | None
    lifted_by: str | None
    lifted_why: str | None


@dataclass(frozen=True, slots=True)
class Block:
    """A suppression to make. `consent_seq`: the ledger's row that says the same."""

    customer_id: int
    merchant_id: int
    reason: Reason
    source: str
    actor: str
    note: str = ""
    consent_seq: int | None = None
    complaint_id: int | None = None
    incident_id: int | None = None
    batch_id: int | None = None
