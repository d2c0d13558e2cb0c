"""What a text is: asked for, decided, sent, and what became of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from holdfast.consent.model import Purpose

Kind = Literal["text", "confirmation", "help"]
"""`confirmation`: of an opt-out; `help`: the answer to HELP. Both go to people who are suppressed, too."""
Verdict = Literal["stop", "doubtful", "start", "help", "other"]
"""What a text from a person is taken for."""
State = Literal["refused", "queued", "sending", "sent", "failed", "cancelled", "expired"]
"""Ours. `queued` includes what is to go later; `sent`: Twilio has it; what then became of it is its `status`."""
Rule = Literal[
    "consent",
    "suppressed",
    "no_consent",
    "revoked",
    "not_written",
    "frequency_cap",
    "messaging_off",
    "no_sender",
    "no_hours",
]
"""What decided. `consent`: it may be sent. The others refuse; see `WHY`."""
WHY: dict[str, str] = {
    "suppressed": "the person is blocked",
    "no_consent": "no consent of this person is on record for this merchant, purpose and channel",
    "revoked": "the person took their consent back",
    "not_written": "marketing needs consent in writing: the one on record has no disclosure that the person was shown",
    "frequency_cap": "the person got as many marketing texts of this merchant as they may",
    "messaging_off": "texts of this merchant are turned off",
    "no_sender": "the merchant has no number to send from",
    "no_hours": "there is no time within a week at which marketing may be sent in every time zone the person may be in",
}


class MessagingError(Exception):
    """It cannot be sent, or done, as asked; the message says why and what to do."""


class UnknownError(MessagingError):
    """There is no such message, template or merchant."""


class ConflictError(MessagingError):
    """The idempotency key was used for another text."""


class AwayError(MessagingError):
    """Not now: the message says what is missing."""


class UnsureError(AwayError):
    """It may be decided, and then sent: nobody can say now."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A text that somebody wants sent. `to` in E.164; `from_` a number of the merchant, or None for its own choice.

    `key` makes it one however often it is asked for; `fingerprint` tells whether it is the same.
    """

    merchant_id: int
    to: str
    purpose: Purpose
    body: str
    key: str | None = None
    fingerprint: bytes | None = None
    template: str | None = None
    from_: str | None = None
    send_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate said. `consent_seq`, `suppression_id`: the row that decided. `held_by`: why it goes out later."""

    id: int
    state: State
    rule: Rule
    consent_seq: int | None
    suppression_id: int | None
    reason: str | None
    """The suppression's."""
    send_at: datetime
    held_by: Literal["quiet_hours", "messaging_on_hold"] | None = None
    is_repeat: bool = False
    """It was asked for before under this key: this is what was decided then, and its state now."""
    is_conflict: bool = False

    @property
    def is_refused(self) -> bool:
        return self.state == "refused"
