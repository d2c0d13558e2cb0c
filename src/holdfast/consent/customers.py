"""Customers by their numbers, erased ones too; and the lock under which what is decided of one cannot change."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import asyncpg
import structlog

from holdfast.consent import chain, store
from holdfast.consent import erasing_store as erasing
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import Customer, KeyMissingError, UnknownError
from holdfast.consent.zones import zones_of
from holdfast.db.pool import Connection, Pool

log = structlog.get_logger()

_known_zones: set[str] = set()
"""The server's, asked for once in a process."""


async def find(db: Connection | Pool, phones: Sequence[str], key: PhoneKey) -> dict[str, Customer]:
    """Those that are known, by number in E.164. Raises KeyMissingError."""
    by_hash = {hashed: phone for phone in phones if (hashed := key.of(phone)) is not None}
    rows = await store.customers(db, phones, list(by_hash))
    found: dict[str, Customer] = {}
    for row in rows:
        phone = row["phone"] if row["phone"] is not None else by_hash[bytes(row["phone_key"])]
        found[phone] = customer(row)
    if len(found) < len(set(phones)):  # whoever is not known may be somebody who was erased
        was_there = key.is_there
        await check_key(db, key)
        if key.is_there and not was_there:  # another process made it: they can be known again now
            return await find(db, phones, key)
    return found


async def ensure(db: Connection | Pool, phones: Sequence[str], key: PhoneKey, now: datetime) -> dict[str, Customer]:
    """All of them, new ones made. Raises KeyMissingError."""
    found = await find(db, phones, key)
    missing = sorted({phone for phone in phones if phone not in found})
    if missing:
        salts = [chain.new_salt() for _ in missing]
        await store.add_customers(db, missing, salts, [await _zones(db, phone) for phone in missing], now)
        found |= await find(db, missing, key)
    return found


async def check_key(db: Connection | Pool, key: PhoneKey) -> None:
    """Raises KeyMissingError where erased people would not be known again."""
    wanted = await store.key_fingerprint(db)
    if wanted is None:
        return
    if not key.is_there:
        key.look_again()
    if key.fingerprint is None or not chain.same(wanted, key.fingerprint):
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


async def revive(db: Connection, customer_id: int, phone: str, now: datetime) -> Customer:
    """Somebody who was erased comes back by their own deed, such as START: the number is theirs again.

    What the ledger says of before stays without number and details. They stay blocked, but for the merchant that
    `suppressing.resubscribe`, which is called next, is for. Raises UnknownError for a customer who is not there.
    """
    await lock(db, [customer_id])
    await erasing.revive(db, customer_id, phone, chain.new_salt(), await _zones(db, phone))
    row = await store.customer(db, customer_id)
    if row is None:
        raise UnknownError(f"there is no customer {customer_id}")
    log.info("customer.revived", customer=customer_id, at=now.isoformat())
    return customer(row)


def customer(row: asyncpg.Record) -> Customer:
    return Customer(row["id"], row["phone"], tuple(row["zones"]), row["created_at"], row["erased_at"])


async def _zones(db: Connection | Pool, phone: str) -> list[str]:
    """Those of a number that the server knows, too: it computes with them."""
    if not _known_zones:
        _known_zones.update(await store.zone_names(db))
    return [zone for zone in zones_of(phone) if zone in _known_zones]
