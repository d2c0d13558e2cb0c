"""Rows of the ledger, suppressions and imports as they are printed for programs, by the commands and the API alike."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from holdfast.consent import history, lineage, store
from holdfast.consent.history import Sense, Standing
from holdfast.consent.import_store import Batch
from holdfast.consent.lineage import Origin
from holdfast.consent.model import EVERY_MERCHANT, Customer, Row, Suppression
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants

Keys = Mapping[int, str]
EVERY = "every"
"""How the merchant of what is said to all is written."""


def merchant(merchant_id: int, keys: Keys) -> str:
    """Its key; of one that is gone, its id."""
    return EVERY if merchant_id == EVERY_MERCHANT else keys.get(merchant_id, str(merchant_id))


def row(found: Row, keys: Keys) -> dict[str, Any]:
    values = asdict(found)
    return values | {"merchant": merchant(values.pop("merchant_id"), keys)}


def suppression(found: Suppression, keys: Keys, phone: str | None) -> dict[str, Any]:
    values = asdict(found)
    values["excepted"] = [merchant(one, keys) for one in found.excepted]
    return {"phone": phone} | values | {"merchant": merchant(values.pop("merchant_id"), keys)}


def standing(found: Standing, keys: Keys) -> dict[str, Any]:
    return {
        "merchant": merchant(found.merchant_id, keys),
        "purpose": found.purpose,
        "consent": found.consent,
        "consent_seq": found.row.seq if found.row is not None else None,
        "given_at": found.row.given_at if found.row is not None else None,
        "blocks": [{"id": one.id, "reason": one.reason} for one in found.blocks],
        "may_text": found.may_text,
    }


def batch(found: Batch, keys: Keys) -> dict[str, Any]:
    values = asdict(found) | {"sha256": found.sha256.hex()}
    return values | {"merchant": merchant(values.pop("merchant_id"), keys)}


def origin(found: Origin, keys: Keys) -> dict[str, Any]:
    values = asdict(found)
    return values | {"merchant": merchant(values.pop("merchant_id"), keys)}


async def person(
    pool: Pool,
    found: Customer,
    *,
    merchant_id: int | None = None,
    as_of: datetime | None = None,
    sense: Sense = "happened",
) -> dict[str, Any]:
    """All of a person: what holds, the rows behind it, the blocks, and how they came in."""
    rows, blocks, standings = await history.standings(pool, found.id, merchant_id=merchant_id, as_of=as_of, sense=sense)
    seen = {one.seq for one in rows}
    origins = [
        one
        for one in await lineage.sources(pool, found.id, merchant_id)
        if (as_of is None or one.given_at <= as_of if one.consent_seq is None else one.consent_seq in seen)
    ]
    # Whoever is in a row or a block has a standing, but every merchant.
    ids = [*(one.merchant_id for one in standings), *(one.merchant_id for one in origins)]
    keys = await keys_of(pool, ids, blocks)
    return {
        "customer": {
            "id": found.id,
            "phone": found.phone,
            "zones": list(found.zones),
            "created_at": found.created_at,
            "erased_at": found.erased_at,
        },
        "as_of": as_of,
        "sense": sense,
        "standings": [standing(one, keys) for one in standings],
        "rows": [row(one, keys) for one in rows],
        "suppressions": [suppression(one, keys, found.phone) for one in blocks],
        "origins": [origin(one, keys) for one in origins],
    }


async def keys_of(pool: Pool, ids: Sequence[int], blocks: Sequence[Suppression] = ()) -> Keys:
    """Keys of these merchants, and of those that blocks except."""
    every = {*ids, *(one for block in blocks for one in block.excepted)} - {EVERY_MERCHANT}
    return await merchants.keys(pool, list(every))


async def listed(pool: Pool, found: Sequence[tuple[Suppression, str | None]]) -> list[dict[str, Any]]:
    """A page of `store.suppressions`."""
    blocks = [one for one, _ in found]
    keys = await keys_of(pool, [one.merchant_id for one in blocks], blocks)
    return [suppression(one, keys, phone) for one, phone in found]


async def one_suppression(pool: Pool, suppression_id: int) -> dict[str, Any] | None:
    found = await store.suppression(pool, suppression_id)
    if found is None:
        return None
    known = await store.customer(pool, found.customer_id)
    return (await listed(pool, [(found, known["phone"] if known is not None else None)]))[0]
