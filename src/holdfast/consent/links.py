"""Links by which a person may consent again: for one merchant and purpose, once, for some weeks.

A link is 32 random bytes that its holder alone knows: kept is the SHA-256 of them, which is what is looked for, so that
nothing of a link can be found out by trying, nor from the database.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.consent import chain, customers, links_store, suppressing
from holdfast.consent import store as consents
from holdfast.consent.ledger import LONGEST
from holdfast.consent.links_store import NewLink, Offer
from holdfast.consent.model import ConsentError, Customer, Purpose, RefusedError, UnknownError
from holdfast.db.pool import Connection, Pool

VALID = timedelta(days=30)
LONGEST_VALID = timedelta(days=90)
PATH = "/consent/"


@dataclass(frozen=True, slots=True)
class Link:
    """`url` holds the secret: it is nowhere else."""

    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """Who pressed the button, as far as that is known. `forwarded`: what proxies say of the address."""

    ip: str
    agent: str
    forwarded: str = ""


async def make(
    db: Connection,
    public: str,
    person: Customer,
    merchant_id: int,
    purpose: Purpose,
    *,
    disclosure: str,
    actor: str,
    now: datetime,
    lasts: timedelta = VALID,
) -> Link:
    """In the caller's transaction. `public`: our public URL; `disclosure`: what the person is shown and agrees to.

    Raises ConsentError for what cannot be offered, RefusedError for a person who was erased: nobody knows whom to send
    it to; they come back by START.
    """
    text = disclosure.strip()
    if not text or len(text) > LONGEST or "\0" in text:
        raise ConsentError(f"the disclosure is what the person agrees to: write 1 to {LONGEST} characters, without NUL")
    if not timedelta() < lasts <= LONGEST_VALID:
        raise ConsentError(f"a link is valid for at most {LONGEST_VALID.days} days, not for {lasts}")
    if person.phone is None:
        raise RefusedError(f"customer {person.id} was erased: they come back by texting START")
    if merchant_id <= 0:
        raise ConsentError("a link is for the texts of one merchant: say which")
    token = secrets.token_bytes(32)
    digest = chain.disclosure_digest(text)
    await consents.lock_head(db)
    kept = await consents.disclosures(db, [text], [digest])
    link = NewLink(
        _digest(_written(token)),
        person.id,
        merchant_id,
        purpose,
        kept[digest],
        actor,
        made_at=now,
        expires_at=now + lasts,
    )
    await links_store.add(db, link)
    return Link(f"{public}{PATH}{_written(token)}", link.expires_at)


async def find(db: Connection | Pool, token: str) -> Offer | None:
    """What a link offers, whether it is still good or not; None: it is none of ours. Any text takes the same work."""
    return await links_store.find(db, _digest(token))


def is_good(offer: Offer, now: datetime) -> bool:
    return offer.used_at is None and now < offer.expires_at and offer.phone is not None


async def use(db: Connection, token: str, evidence: Evidence, now: datetime) -> Offer:
    """The person consents: in the caller's transaction, once. What their own wish blocked of this merchant is open.

    Raises UnknownError if it is no link, RefusedError if it is not good any more.
    """
    offer = await find(db, token)
    if offer is None:
        raise UnknownError("this is not a link of ours")
    await customers.lock(db, [offer.customer_id])
    offer = await find(db, token)  # as it is now that nobody else can use it
    assert offer is not None
    if not is_good(offer, now) or not await links_store.use(db, offer.digest, now):
        raise RefusedError("the link was used already, or is too old")
    detail = {"method": "link", "ip": evidence.ip[:64], "agent": _said(evidence.agent, 300)}
    if evidence.forwarded:
        detail["forwarded"] = _said(evidence.forwarded, 200)
    seqs = await suppressing.resubscribe(
        db,
        offer.customer_id,
        offer.merchant_id,
        "link",
        now,
        actor="person",
        why="consented again by a link",
        purposes=[(offer.purpose, offer.disclosure)],
        origin="re-consent link",
        detail=detail,
    )
    await links_store.note_consent(db, offer.digest, seqs[0])
    return offer


def _written(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _said(text: str, most: int) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:most]
