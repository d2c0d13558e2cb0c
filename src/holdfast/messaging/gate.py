"""The gate: every text that is to be sent passes it twice, when it is asked for and when it is taken to be sent.

The first time it is recorded with what decided, and refused where it may not be sent; nothing is locked for that. The
second time is what holds: a suppression that was committed before always wins, since leave is given, and people are
blocked, under the customer's lock. So it is with the caps: there may be more in the queue than they allow, not sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import asyncpg

from holdfast.consent import customers
from holdfast.consent.keys import PhoneKey
from holdfast.db.pool import Connection, Pool
from holdfast.messaging import gate_store as store
from holdfast.messaging.model import Ask, Decision, Rule

SENDING = timedelta(seconds=8)
"""How long whoever took a text may go on trying to hand it to Twilio: a stop is acknowledged only after that."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Whether a text may go out now. `later`: not before `at`; None: when the lever allows it.

    `from_`, `account`: what it goes out from. That may be another number than when it was asked for.
    """

    id: int
    verdict: Literal["send", "later", "cancelled", "expired"]
    rule: Rule
    at: datetime | None
    from_: str | None
    account: str | None


async def decide(
    db: Connection | Pool, asks: Sequence[Ask], key: PhoneKey, *, now: datetime | None = None
) -> list[Decision]:
    """Decide and record all of them, in one statement. No two may have the same merchant and key.

    `now` None: the store's clock. Raises KeyMissingError and what `AWAY` lists; then nothing is recorded.
    """
    people = await customers.ensure(db, [one.to for one in asks], key, now or datetime.now().astimezone())
    ids = [people[one.to].id for one in asks]
    decided: dict[int, Decision] = {}
    places = list(range(len(asks)))
    while places:  # whoever is missing lost to somebody else with the same key, who has committed by now
        rows = await store.decide(db, [asks[place] for place in places], [ids[place] for place in places], now=now)
        decided |= {places[row["n"]]: _decision(row) for row in rows}
        places = [place for place in places if place not in decided]
    return [decided[place] for place in range(len(asks))]


async def decided(db: Connection | Pool, ask: Ask) -> Decision | None:
    """What is recorded under the key of this one; None: nothing is, so far."""
    row = await store.decided(db, ask)
    return _decision(row) if row is not None else None


async def begin_sending(
    pool: Pool, ids: Sequence[int], *, lasts: timedelta = SENDING, now: datetime | None = None
) -> dict[int, Leave]:
    """Ask for leave to send these texts now, of which none can have reached Twilio. What is missing is settled already.

    Whoever gets it must have handed the text to Twilio, or given it up, before `lasts` is over.
    """
    owners = await store.owners(pool, ids)
    async with pool.acquire() as db, db.transaction():
        await customers.lock(db, owners.values())
        rows = await store.begin_sending(db, sorted(owners), lasts, now=now)
    return {row["id"]: Leave(*row) for row in rows}


def _decision(row: asyncpg.Record) -> Decision:
    return Decision(**{name: value for name, value in row.items() if name != "n"})
