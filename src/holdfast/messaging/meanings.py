"""What Twilio's error codes of texts mean for the person they were for, and what is done about it.

Source: https://www.twilio.com/docs/api/errors, where each code has a page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from holdfast.consent import customers
from holdfast.consent import store as consent
from holdfast.consent.model import EVERY_MERCHANT, Block, Entry, Reason
from holdfast.db.pool import Connection
from holdfast.messaging import callbacks_store as store
from holdfast.messaging import stopping
from holdfast.messaging.signals import STOPPED

log = structlog.get_logger()

ACTOR = "twilio"


@dataclass(frozen=True, slots=True)
class Meaning:
    """`reason`: the block that follows, of this merchant or of every one; None: it is only recorded.

    `is_wish`: the person did it, so the ledger says it as well.
    """

    said: str
    reason: Reason | None = None
    is_of_every_merchant: bool = False
    is_wish: bool = False


MEANINGS: Final[Mapping[int, Meaning]] = {
    21211: Meaning("the number does not exist", "unknown_handset", is_of_every_merchant=True),
    21610: Meaning("the person opted out of this sender at Twilio", "provider_block", is_wish=True),
    21614: Meaning("the number is no mobile number", "landline", is_of_every_merchant=True),
    30003: Meaning("the handset could not be reached: switched off, or out of coverage"),
    30004: Meaning("the person, or their carrier, blocks texts from this sender", "carrier_block"),
    30005: Meaning("the handset is unknown, or out of service", "unknown_handset", is_of_every_merchant=True),
    30006: Meaning("the number is a landline, or its carrier takes no texts", "landline", is_of_every_merchant=True),
    30007: Meaning("a carrier filtered the text out, as unwanted or against its rules"),
    30008: Meaning("the text was lost, for a reason that nobody told Twilio"),
    30034: Meaning("the sending number is not registered for A2P 10DLC, so US carriers take nothing from it"),
}


def page_of(code: int) -> str:
    """Where Twilio explains a code."""
    return f"https://www.twilio.com/docs/api/errors/{code}"


def said_of(code: int) -> str:
    """A code in words, for people."""
    found = MEANINGS.get(code)
    return found.said if found is not None else f"Twilio's error {code}: see {page_of(code)}"


@dataclass(frozen=True, slots=True)
class Fact:
    """A text that Twilio refused, or did not deliver, and why. `at`: when it was handed over.

    `is_merchants`: a merchant's own account says so. With its token the merchant could say it itself, so it is believed
    of this merchant's texts alone.
    """

    message_id: int
    merchant_id: int
    customer_id: int
    code: int
    at: datetime
    is_merchants: bool = False


def matters(code: int | None) -> bool:
    """Whether a block follows from it."""
    return code is not None and code in MEANINGS and MEANINGS[code].reason is not None


async def lock(db: Connection, facts: Sequence[Fact]) -> None:
    """For who applies them later in the transaction, and locks texts before that.

    People, the ledger's end, texts: in this order everybody locks them, so that nobody waits in a circle.
    """
    await customers.lock(db, [fact.customer_id for fact in facts])
    if any(fact.code in MEANINGS and MEANINGS[fact.code].is_wish for fact in facts):
        await consent.lock_head(db)


async def apply(db: Connection, facts: Sequence[Fact], now: datetime) -> list[stopping.Stopped]:
    """Block whom these say to block, in the caller's transaction, where it is not so already.

    Nobody is told that it was stopped, so that nobody has to wait for `stopping.settled`. Who came back by their own
    deed after the text was handed over is not blocked again for it.
    """
    facts = [fact for fact in facts if matters(fact.code)]
    if not facts:
        return []
    await customers.lock(db, [fact.customer_id for fact in facts])
    returned = await store.came_back(db, [(one.message_id, one.customer_id, one.merchant_id, one.at) for one in facts])
    made: list[stopping.Stopped] = []
    for fact in facts:
        meaning = MEANINGS[fact.code]
        if fact.message_id in returned and not _is_of_all(fact):
            continue
        made += await _block(db, fact, meaning, now)
    return made


def _is_of_all(fact: Fact) -> bool:
    return MEANINGS[fact.code].is_of_every_merchant and not fact.is_merchants


async def _block(db: Connection, fact: Fact, meaning: Meaning, now: datetime) -> list[stopping.Stopped]:
    assert meaning.reason is not None
    merchant_id = EVERY_MERCHANT if _is_of_all(fact) else fact.merchant_id
    live = await consent.suppressions_of(db, fact.customer_id, live_only=True)
    if any((one.merchant_id, one.reason) == (merchant_id, meaning.reason) for one in live):
        return []
    note = f"{fact.code}: {meaning.said}; {page_of(fact.code)}"
    block = Block(fact.customer_id, merchant_id, meaning.reason, "provider", ACTOR, note)
    if meaning.is_wish:
        detail = {"method": "provider", "code": fact.code, "message": fact.message_id}
        entry = Entry(
            fact.customer_id, merchant_id, "revoke", "all", "provider", fact.at, ACTOR, channel="text", detail=detail
        )
        found = await stopping.stop(db, [stopping.Wish(entry, block)], now)
    else:
        found = await stopping.block(db, [block], now)
    scope = "company" if merchant_id == EVERY_MERCHANT else "merchant"
    STOPPED.inc(1, meaning.reason, scope)
    log.info("text.blocked", message_id=fact.message_id, code=fact.code, reason=meaning.reason, scope=scope)
    return found
