"""How a person came to be on a merchant's list, and who else came the same way."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from holdfast.consent import lineage_store as store
from holdfast.consent.model import OWN_DEEDS
from holdfast.db.pool import Connection, Pool

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Origin:
    """One way by which a person came in: a row of an imported file, or a form or campaign; or their own START or link.

    `consent_seq`: the grant that came with it; None where a file brought the contact alone. `given_at`: when the person
    consented, or when the contact was imported. Neither batch nor origin: it came one by one, such as from an operator.
    """

    merchant_id: int
    batch_id: int | None
    origin: str | None
    label: str
    given_at: datetime
    consent_seq: int | None
    batch_row: int | None
    source: str = ""

    @property
    def has_cohort(self) -> bool:
        """Whether others came this way: by a person's own deed nobody else did."""
        return self.batch_id is not None or (self.origin is not None and self.source not in OWN_DEEDS)


@dataclass(frozen=True, slots=True)
class Cohort:
    """How many came the same way, and of them how many are blocked, complained, and were texted by the merchant."""

    people: int
    suppressed: int
    complained: int
    texted: int


async def sources(db: Connection | Pool, customer_id: int, merchant_id: int | None = None) -> list[Origin]:
    """The ways by which a customer came to this merchant, or to any; oldest first."""
    rows = await store.sources(db, customer_id, merchant_id)
    return [
        Origin(
            merchant_id=row["merchant_id"],
            batch_id=row["batch_id"],
            origin=row["origin"],
            label=_label(row),
            given_at=row["given_at"],
            consent_seq=row["seq"],
            batch_row=row["batch_row"],
            source=row["source"],
        )
        for row in rows
    ]


async def cohort_size(db: Connection | Pool, origin: Origin) -> Cohort:
    """Everybody who came this way, the person included; of a batch that was undone, too."""
    if not origin.has_cohort:
        return Cohort(0, 0, 0, 0)
    return Cohort(*await store.cohort_size(db, origin.batch_id, origin.merchant_id, origin.origin))


async def cohort(db: Connection | Pool, origin: Origin, after: int = 0, limit: int = PAGE) -> list[int]:
    """Customer ids behind `after`, in order: a page of those who came this way."""
    if not origin.has_cohort:
        return []
    return await store.cohort(db, origin.batch_id, origin.merchant_id, origin.origin, after=after, limit=limit)


async def among(db: Connection | Pool, origin: Origin, customer_ids: Sequence[int]) -> set[int]:
    """Those of these customers who came this way."""
    if not origin.has_cohort:
        return set()
    return await store.among(db, origin.batch_id, origin.merchant_id, origin.origin, customer_ids)


async def everybody(db: Connection | Pool, origin: Origin) -> AsyncIterator[list[int]]:
    """The whole cohort in pages."""
    after = 0
    while page := await cohort(db, origin, after):
        yield page
        after = page[-1]


def _label(row: asyncpg.Record) -> str:
    if row["batch_id"] is None:
        return row["origin"] or row["source"]  # type: ignore[no-any-return]
    said = f"line {row['batch_row']} of {row['file']}, import {row['batch_id']} by {row['actor']}"
    return f"{said} ({row['origin']})" if row["origin"] else said
