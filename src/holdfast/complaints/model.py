"""What a complaint is, and the errors of handling it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

Source = Literal["api", "cli", "text", "audit"]
SOURCES: tuple[Source, ...] = get_args(Source)
How = Literal["email", "phone", "text", "letter"]
HOWS: tuple[How, ...] = get_args(How)
ANSWERED_WITHIN = timedelta(hours=1)
"""From when a complaint was received."""
RUNBOOK = "consent-complaint"
LONGEST = 4000
"""Characters of what somebody said, was answered, or found to be the cause."""


class ComplaintError(Exception):
    """It cannot be done as asked; the message says why and what to write instead."""


class UnknownError(ComplaintError):
    """There is no such complaint or text."""


class RefusedError(ComplaintError):
    """It was done before, or another way: the message says by whom."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """Somebody got texts that they did not want.

    `merchant_id` 0: they did not say whose. `answer_to`: a mailbox or number they gave. `suppression_id` blocks every
    merchant; `cancelled`: texts that waited for them then, of every merchant. `cause`: how it came about, once known.
    """

    id: int
    customer_id: int
    merchant_id: int
    source: Source
    key: str | None
    text: str | None
    answer_to: str | None
    received_at: datetime
    recorded_at: datetime
    due_at: datetime
    filed_by: str
    suppression_id: int | None
    consent_seq: int | None
    cancelled: int
    answered_at: datetime | None
    answered_by: str | None
    answer_how: How | None
    answer: str | None
    cause: str | None
    closed_at: datetime | None
    closed_by: str | None

    @property
    def is_settled(self) -> bool:
        """Nobody has to answer it any more: it was answered, or closed as the person was erased."""
        return self.answered_at is not None or self.closed_at is not None

    @property
    def owes(self) -> str:
        """How the obligation to answer it is called in its incident."""
        return owed(self.id)

    @property
    def mailbox(self) -> str | None:
        """Where an answer can be mailed to; None: it is read out, or written by hand."""
        return self.answer_to if self.answer_to and "@" in self.answer_to else None


@dataclass(frozen=True, slots=True)
class Filed:
    """`is_new`: not filed before under its key. `is_settled`: nothing that was on its way can go out any more."""

    complaint: Complaint
    is_new: bool
    is_settled: bool


def owed(complaint_id: int) -> str:
    return f"complaint-{complaint_id}"
