"""What holds of a person's consent: now, and as of any past time, in two senses.

*What had happened by then* (`given_at`): whether a text of that time was covered, with all that we know today. *What we
knew by then* (`recorded_at`): whether whoever sent it could know better.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from holdfast.consent import ledger, store
from holdfast.consent.model import EVERY_MERCHANT, OWN_DEEDS, Purpose, Row, Suppression
from holdfast.db.pool import Connection, Pool

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
Sense = Literal["happened", "known"]
SENSES: tuple[Sense, ...] = get_args(Sense)


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds towards one merchant for one purpose. `consent`: granted, revoked, or none: nothing was ever said.

    `row` is the ledger's row that decides, `blocks` the suppressions in force. `may_text`: both allow it; marketing
    needs a disclosure as well. Quiet hours, caps and levers are not asked.
    """

    merchant_id: int
    purpose: Purpose
    consent: Literal["granted", "revoked", "none"]
    row: Row | None
    blocks: tuple[Suppression, ...]

    @property
    def may_text(self) -> bool:
        is_written = self.purpose != "marketing" or (self.row is not None and self.row.disclosure is not None)
        return self.consent == "granted" and is_written and not self.blocks


async def standings(
    db: Connection | Pool,
    customer_id: int,
    *,
    merchant_id: int | None = None,
    as_of: datetime | None = None,
    sense: Sense = "happened",
) -> tuple[list[Row], list[Suppression], list[Standing]]:
    """All rows and suppressions of a customer as of a time, and what they come to, for every merchant that occurs."""
    rows = visible(await ledger.history(db, customer_id), as_of, sense)
    blocks = [one for one in await store.suppressions_of(db, customer_id) if as_of is None or one.made_at <= as_of]
    if merchant_id is not None:
        rows = [row for row in rows if row.merchant_id in (merchant_id, EVERY_MERCHANT)]
        blocks = [one for one in blocks if one.merchant_id in (merchant_id, EVERY_MERCHANT)]
    merchants = {row.merchant_id for row in rows} | {one.merchant_id for one in blocks}
    merchants.discard(EVERY_MERCHANT)
    if merchant_id is not None:
        merchants.add(merchant_id)
    found = [standing(rows, blocks, one, purpose, as_of) for one in sorted(merchants) for purpose in PURPOSES]
    return rows, blocks, found


def visible(rows: Iterable[Row], as_of: datetime | None, sense: Sense = "happened") -> list[Row]:
    """The rows that had happened, or that we knew, by a time."""
    if as_of is None:
        return list(rows)
    if sense == "happened":
        return [row for row in rows if row.given_at <= as_of]
    return [row for row in rows if row.recorded_at <= as_of]


def standing(
    rows: Sequence[Row], blocks: Sequence[Suppression], merchant_id: int, purpose: Purpose, as_of: datetime | None
) -> Standing:
    """What `rows`, of those that are to count, and suppressions say of one merchant and purpose at a time."""
    row = ledger.holding(rows, merchant_id, purpose, at=as_of)
    said: Literal["granted", "revoked", "none"] = (
        "none" if row is None else "granted" if row.action == "grant" else "revoked"
    )
    deeds = [one.recorded_at for one in rows if one.source in OWN_DEEDS and one.merchant_id == merchant_id]
    held = tuple(one for one in blocks if is_in_force(one, merchant_id, deeds, as_of))
    return Standing(merchant_id, purpose, said, row, held)


def is_in_force(block: Suppression, merchant_id: int, deeds: Sequence[datetime], as_of: datetime | None) -> bool:
    """Whether it kept a merchant's texts away then; `deeds`: when the person came back to it."""
    if block.merchant_id == EVERY_MERCHANT and merchant_id in block.excepted:
        # When it was excepted is told by the grant that it came with.
        if as_of is None or any(block.made_at <= at <= as_of for at in deeds):
            return False
    elif block.merchant_id not in (merchant_id, EVERY_MERCHANT):
        return False
    return block.lifted_at is None or (as_of is not None and block.lifted_at > as_of)
