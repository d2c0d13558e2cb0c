"""The SQL of links by which people consent again: the digest of each, never the link."""

from dataclasses import dataclass
from datetime import datetime

from holdfast.consent.model import Purpose
from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool


@dataclass(frozen=True, slots=True)
class NewLink:
    digest: bytes
    customer_id: int
    merchant_id: int
    purpose: Purpose
    disclosure_id: int
    actor: str
    made_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Offer:
    """What a link offers: `merchant`'s texts for a purpose. `phone` None: the person was erased since."""

    digest: bytes
    customer_id: int
    merchant_id: int
    merchant: str
    purpose: Purpose
    disclosure: str
    phone: str | None
    expires_at: datetime
    used_at: datetime | None


async def add(db: Connection, link: NewLink) -> None:
    await db.execute(
        """
        INSERT INTO reconsent_link (digest, customer_id, merchant_id, purpose, disclosure_id, actor, made_at,
                                    expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        link.digest,
        link.customer_id,
        link.merchant_id,
        link.purpose,
        link.disclosure_id,
        link.actor,
        link.made_at,
        link.expires_at,
    )


async def find(db: Executor, digest: bytes) -> Offer | None:
    row = await db.fetchrow(
        """
        SELECT link.digest, link.customer_id, link.merchant_id, merchant.name AS merchant, link.purpose,
               disclosure.text AS disclosure, customer.phone, link.expires_at, link.used_at
        FROM reconsent_link AS link
        JOIN merchant ON merchant.id = link.merchant_id
        JOIN disclosure ON disclosure.id = link.disclosure_id
        JOIN customer ON customer.id = link.customer_id
        WHERE link.digest = $1
        """,
        digest,
    )
    return Offer(**row) if row is not None else None


async def use(db: Connection, digest: bytes, now: datetime) -> bool:
    """Whether it was good until now: it is used up then."""
    status = await db.execute(
        "UPDATE reconsent_link SET used_at = $2 WHERE digest = $1 AND used_at IS NULL AND expires_at > $2", digest, now
    )
    return status == "UPDATE 1"


async def note_consent(db: Connection, digest: bytes, seq: int) -> None:
    await db.execute("UPDATE reconsent_link SET consent_seq = $2 WHERE digest = $1", digest, seq)
