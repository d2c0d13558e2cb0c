"""A bakery and a garage that text people, for tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.consent import customers, ledger, suppressing
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import Block, Entry
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.merchants.numbers import NewNumber
from holdfast.messaging import gate, stopping
from holdfast.messaging.model import Ask, Decision

NOON = datetime(2026, 5, 4, 19, tzinfo=UTC)
"""A Monday; noon in San Francisco."""
ANN, BOB = "+14155550111", "+12125550122"
BAKERY, GARAGE = "+14155550100", "+14155550101"
FORM = "I agree to get marketing texts from The Bakery. Reply STOP to end."
KEY = PhoneKey()


@dataclass(frozen=True, slots=True)
class Town:
    """Ids of the merchants; each has one number."""

    bakery: int
    garage: int


async def town(pool: Any) -> Town:
    ids = []
    for key, name, phone in (("bakery", "The Bakery", BAKERY), ("garage", "Garage", GARAGE)):
        merchant = await merchants.insert(pool, NewMerchant(key, name, f"{key}@example.com"))
        await number_store.put(pool, [NewNumber(phone, merchant.id, "US")])
        ids.append(merchant.id)
    return Town(*ids)


async def grant(
    pool: Any, merchant_id: int, phone: str, at: datetime = NOON - timedelta(days=30), **fields: Any
) -> int:
    """A consent to marketing, in writing, unless said otherwise; the ledger's row."""
    async with pool.acquire() as db, db.transaction():
        person = (await customers.ensure(db, [phone], KEY, at))[phone]
        given: Mapping[str, Any] = {"purpose": "marketing", "source": "website", "disclosure": FORM} | fields
        entry = Entry(person.id, merchant_id, "grant", given_at=at, actor="form", **given)
        return (await ledger.append(db, [entry], at))[0]


async def stop(
    pool: Any, merchant_id: int, phone: str, at: datetime = NOON, *, reason: Any = "opt_out"
) -> stopping.Stopped:
    """What a STOP does; 0 as merchant: what a complaint does."""
    async with pool.acquire() as db, db.transaction():
        person = (await customers.ensure(db, [phone], KEY, at))[phone]
        wish = stopping.Wish(
            Entry(person.id, merchant_id, "revoke", "all", "opt-out-message", at, "person", channel="all"),
            Block(person.id, merchant_id, reason, "text", "person"),
        )
        found = await stopping.stop(db, [wish], at)
    assert await stopping.settled(pool, [person.id])
    return found[0]


async def come_back(pool: Any, merchant_id: int, phone: str, at: datetime, purpose: Any = "informational") -> int:
    """What a START does; the ledger's row."""
    async with pool.acquire() as db, db.transaction():
        person = (await customers.ensure(db, [phone], KEY, at))[phone]
        rows = await suppressing.resubscribe(
            db, person.id, merchant_id, "opt-in-message", at, actor="person", why="START", purposes=[(purpose, None)]
        )
    return rows[0]


async def ask(pool: Any, merchant_id: int, phone: str, now: datetime | None = NOON, **fields: Any) -> Decision:
    """Ask for a reminder to be sent."""
    given: Mapping[str, Any] = {"purpose": "informational", "body": "Your bread is ready."} | fields
    return (await gate.decide(pool, [Ask(merchant_id, phone, **given)], KEY, now=now))[0]
