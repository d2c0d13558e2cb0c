"""What Twilio's answer to a text says: it has it, it will never take it, try again, or nobody knows.

Sources: https://www.twilio.com/docs/usage/twilios-response, /api/errors/20429, /api/errors/30001.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from holdfast.delivery.model import Attempt, Outcome
from holdfast.messaging.meanings import Fact, matters
from holdfast.messaging.sending_store import Sent, Text
from holdfast.queue.model import Work
from holdfast.twilio.model import TwilioApiError, TwilioText

TOO_MANY: Final = frozenset((20429, 30001, 14107, 63038))
"""We ask too often, Twilio's queue of this sender is full, or its limit of the day is reached."""
OURS_TO_MEND: Final = frozenset((20003, 20005, 30002))
"""The token is not accepted, or the account is not active: the text is fine, and goes once somebody mended it."""
LONGEST_NOTE: Final = 300
_TRIAL: Final = "Sent from your Twilio trial account - "
"""What Twilio writes before the texts of trial accounts."""

Kind = Literal["sent", "failed", "again", "uncertain", "later", "over"]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a work. *again*: it did not reach Twilio; *uncertain*: it may have; *later*: it was not tried;
    *over*: it was settled already, and `note` is its state. `delay`: seconds until it is looked at again.
    """

    work: Work
    kind: Kind
    text: Text | None = None
    note: str = ""
    code: int | None = None
    delay: float | None = None
    sent: Sent | None = None
    opening: datetime | None = None

    @property
    def outcome(self) -> str:
        """Of the work, in one word."""
        return self.note if self.kind == "over" else self.kind

    @property
    def is_try(self) -> bool:
        return self.kind != "later"

    def fact(self, now: datetime | None) -> Fact | None:
        """What a refusal says of the person, if anything."""
        if self.kind != "failed" or self.text is None or self.code is None or not matters(self.code):
            return None
        at = now or datetime.now().astimezone()
        return Fact(self.text.id, self.text.merchant_id, self.text.customer_id, self.code, at)


def verdict(error: TwilioApiError) -> Literal["failed", "again", "uncertain"]:
    """What to do after an error: a refusal is surely none of the texts that Twilio has; of 5xx nobody knows."""
    if error.never_sent or error.status == 429 or error.code in TOO_MANY:
        return "again"
    if error.status is None or not 400 <= error.status < 500 or error.status == 408:
        return "uncertain"
    if error.status == 401 or error.code in OURS_TO_MEND:
        return "again"
    return "failed"


def attempt(error: TwilioApiError, latency: float) -> Attempt:
    """The same for how much is sent at once, and whether anything is."""
    if error.never_sent or error.status is None:
        return lost(latency)
    is_too_much = error.status in (429, 503) or error.code in TOO_MANY
    is_down = error.status >= 500 or error.status in (401, 429)
    outcome = Outcome.RETRY if is_too_much or is_down else Outcome.DELIVERED
    return Attempt(outcome, error.status, latency, retry_after=error.pause, down=is_down, congested=is_too_much)


def lost(latency: float) -> Attempt:
    """There was no answer."""
    return Attempt(Outcome.RETRY, None, latency, down=True, congested=True)


def why(error: TwilioApiError, text: Text) -> str:
    """For people, without the number: that is the person's."""
    said = str(error)
    return (said.replace(text.to, "the number") if text.to else said)[:LONGEST_NOTE]


def is_like(found: TwilioText, text: Text) -> bool:
    """Whether a text that Twilio has can be this one: sent by us, from the same sender, in the same words."""
    if not found.direction.startswith("outbound") or text.from_ not in (found.from_, found.service):
        return False
    return _words(found.body.removeprefix(_TRIAL)) == _words(text.body or "")


def _words(body: str) -> str:
    """White space at the ends is not always kept."""
    return " ".join(body.split())
