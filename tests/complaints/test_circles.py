"""Whom the database breaks off for another one's sake does it anew: a complaint or a block is never lost to that."""

import asyncio
from typing import Any

import pytest

from holdfast.consent import customers
from holdfast.consent import store as consents
from holdfast.messaging import blocking, reviews
from holdfast.messaging.blocking import Said
from tests.complaints.people import complain
from tests.messaging.test_reviews import DOUBTFUL, receive
from tests.messaging.texts import ANN, KEY, NOON, ask, grant, town

LATER = NOON.replace(hour=20)


async def by_complaint(pool: Any, merchant_id: int, sid: str) -> None:
    await complain(pool, now=LATER)


async def by_hand(pool: Any, merchant_id: int, sid: str) -> None:
    await blocking.add(pool, ANN, merchant_id, "opt_out", KEY, actor="sue", note="by phone", now=LATER)


async def by_record(pool: Any, merchant_id: int, sid: str) -> None:
    said = Said(ANN, merchant_id, "revoke", "all", "operator", LATER, "all")
    await blocking.record(pool, [said], KEY, actor="sue", now=LATER)


async def by_review(pool: Any, merchant_id: int, sid: str) -> None:
    await reviews.decide(pool, sid, "revoked", actor="sue", now=LATER)


@pytest.mark.parametrize("stop", [by_complaint, by_hand, by_record, by_review])
async def test_a_stop_that_met_somebody_in_a_circle_is_made_all_the_same_and_once(pool, stop):
    """The other one has the ledger's end and wants the person; it waits longer before it looks for a circle."""
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    sid = await receive(pool, DOUBTFUL)
    ann = (await customers.find(pool, [ANN], KEY))[ANN].id
    has_the_head = asyncio.Event()

    async def other() -> None:
        async with pool.acquire() as db, db.transaction():
            await db.execute("SET LOCAL deadlock_timeout = '1min'")
            await consents.lock_head(db)
            has_the_head.set()
            while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
            await customers.lock(db, [ann])

    async def victim() -> None:
        await has_the_head.wait()
        await stop(pool, merchant, sid)

    await asyncio.gather(other(), victim())
    assert (await ask(pool, merchant, ANN, LATER)).rule == "suppressed"
    assert await pool.fetchval("SELECT count(*) FROM consent WHERE action = 'revoke'") == 1
    assert await pool.fetchval("SELECT count(*) FROM suppression WHERE reason IN ('opt_out', 'complaint')") == 1
