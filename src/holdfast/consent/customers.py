"""Customers by their numbers, erased ones too; and the lock under which what is decided of one cannot change."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import asyncpg

from holdfast.consent import chain, store
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import Customer, KeyMissingError
from holdfast.consent.zones import zones_of
from holdfast.db.pool import Connection, Pool


async def find(db: Connection | Pool, phones: Sequence[str], key: PhoneKey) -> dict[str, Customer]:
    """Those that are known, by number in E.164. Raises KeyMissingError."""
    rows = await store.customers(db, phones, _hashes(phones, key))
    by_hash = {key.of(phone): phone for phone in phones} if key.is_there else {}
    found: dict[str, Customer] = {}
    for row in rows:
        phone = row["phone"] if row["phone"] is not None else by_hash[bytes(row["phone_key"])]
        found[phone] = customer(row)
    if len(found) < len(set(phones)):  # whoever is not known may be somebody who was erased
        await check_key(db, key)
    return found


async def ensure(db: Connection | Pool, phones: Sequence[str], key: PhoneKey, now: datetime) -> dict[str, Customer]:
    """All of them, new ones made. Raises KeyMissingError."""
    found = await find(db, phones, key)
    missing = sorted({phone for phone in phones if phone not in found})
    if missing:
        salts = [chain.new_salt() for _ in missing]
        await store.add_customers(db, missing, salts, [zones_of(phone) for phone in missing], now)
        found |= await find(db, missing, key)
    return found


async def check_key(db: Connection | Pool, key: PhoneKey) -> None:
    """Raises KeyMissingError where erased people would not be known again."""
    wanted = await store.key_fingerprint(db)
    if wanted is not None and (key.fingerprint is None or not chain.same(wanted, key.fingerprint)):
        raise KeyMissingError(
            "people were erased with a key that this process does not have: set HOLDFAST_ERASURE_KEY to the one that "
            "was used, or put erasure.key back into the data directory. Until then nobody new is texted, since an "
            "erased person would not be known again"
        )


async def lock(db: Connection, customer_ids: Iterable[int]) -> None:
    """Until the transaction ends, nobody else decides about these: to send to them, or to suppress them.

    Whoever sends takes it before it looks whether it may, in a statement of its own: what it looks at is then younger
    than every suppression that was committed before.
    """
    await store.lock(db, sorted(set(customer_ids)))


async def revive(
    db: Connection, erased: Customer, phone: str, merchant_id: int, *, now: datetime, actor: str, why: str
) -> Customer:
    """An erased person comes back to a merchant by their own deed: their number is known again, and the block that the
    erasure left keeps out all merchants but this one. They are locked. Their older rows stay without their details.
    """
    await store.revive(db, erased.id, phone, chain.new_salt(), zones_of(phone))
    blocks = await store.suppressions_of(db, erased.id, live_only=True)
    left = [one for one in blocks if one.reason == "erasure"]
    await store.lift(db, [one.id for one in left if one.merchant_id == merchant_id], actor=actor, why=why, now=now)
    await store.except_merchant(db, [one.id for one in left], merchant_id)
    row = await store.customer(db, erased.id)
    assert row is not None
    return customer(row)


def customer(row: asyncpg.Record) -> Customer:
    return Customer(row["id"], row["phone"], tuple(row["zones"]), row["created_at"], row["erased_at"])


def _hashes(phones: Iterable[str], key: PhoneKey) -> list[bytes]:
    return [hashed for phone in phones if (hashed := key.of(phone)) is not None]
