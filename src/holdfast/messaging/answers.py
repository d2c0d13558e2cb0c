"""What Twilio's answer to a text says: it has it, it will never take it, try again, or nobody knows.

Sources: https://www.twilio.com/docs/usage/twilios-response, /api/errors/20429, /api/errors/30001.
"""

import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
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
EARLIEST: Final = timedelta(seconds=10)
LATEST: Final = timedelta(minutes=2)
"""Around the try of a text whose answer was lost, what Twilio made for the same person may be it."""
_PLAIN: Final = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u2035\u00b4\u02bc\u0060", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", None)
)

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


def is_from_same(found: TwilioText, text: Text) -> bool:
    """Whether a text that Twilio has was sent by us, from the sender that this one goes out from."""
    return found.direction.startswith("outbound") and text.from_ in (found.from_, found.service)


def is_like(found: TwilioText, text: Text) -> bool:
    """Whether a text that Twilio has can be this one: from the same sender, in the same words."""
    return is_from_same(found, text) and _words(found.body.removeprefix(_TRIAL)) == _words(text.body or "")


def may_be(found: TwilioText, text: Text) -> bool:
    """Whether it was made when this one was tried, so that it can be this one though the words differ."""
    if text.tried_at is None or not is_from_same(found, text):
        return False
    return text.tried_at - EARLIEST <= found.created_at <= text.tried_at + LATEST


def _words(body: str) -> str:
    """Without what Twilio writes otherwise, so that it fits into fewer segments: white space, quotes, dashes.

    Source: https://www.twilio.com/docs/messaging/services#smart-encoding
    """
    return " ".join(unicodedata.normalize("NFKC", body).translate(_PLAIN).split())
