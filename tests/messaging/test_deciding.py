"""Texts that many ask for at once are decided together, and each caller is told what is known of its own."""

import asyncio
from typing import Any

import pytest

from holdfast.messaging import gate
from holdfast.messaging.deciding import Gate
from holdfast.messaging.model import Ask, AwayError, Decision, UnsureError
from tests.messaging.texts import ANN, KEY, grant, town


@pytest.fixture
async def merchant(pool: Any) -> int:
    found = (await town(pool)).bakery
    await grant(pool, found, ANN)
    return found


def asked(merchant: int, phone: str = ANN, **fields: Any) -> Ask:
    return Ask(merchant, phone, "informational", "Your bread is ready.", **fields)


@pytest.mark.parametrize("key", [None, "order-7"])
async def test_a_decision_that_was_committed_is_told_though_the_answer_was_late(pool, merchant, monkeypatch, key):
    real = gate.decide

    async def late(*args: Any, **options: Any) -> list[Decision]:
        decisions = await real(*args, **options)
        await asyncio.sleep(1.0)
        return decisions

    monkeypatch.setattr(gate, "decide", late)
    said = await Gate(pool, KEY, patience=0.3).decide(asked(merchant, key=key))
    assert (said.state, said.rule, said.is_repeat) == ("queued", "consent", key is not None)
    assert await pool.fetchval("SELECT id FROM message") == said.id


async def test_what_nobody_can_say_is_not_called_undecided(pool, merchant):
    async with pool.acquire() as db, db.transaction():
        await db.execute("LOCK TABLE message IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(UnsureError, match="did not say in time"):
            await Gate(pool, KEY, patience=0.2).decide(asked(merchant))


async def test_who_is_known_is_decided_about_while_the_key_of_erased_people_is_missing(pool, merchant):
    await pool.execute("INSERT INTO erasure_key (fingerprint) VALUES ('\\x00')")
    made = Gate(pool, KEY)
    known, new = await asyncio.gather(
        made.decide(asked(merchant)), made.decide(asked(merchant, "+14155559999")), return_exceptions=True
    )
    assert isinstance(known, Decision)
    assert isinstance(new, AwayError)
    assert "HOLDFAST_ERASURE_KEY" in str(new)


async def test_the_same_key_asked_for_at_once_is_one_text(pool, merchant):
    made = Gate(pool, KEY)
    found = await asyncio.gather(*(made.decide(asked(merchant, key="a", fingerprint=b"1")) for _ in range(30)))
    assert len({one.id for one in found}) == 1
    assert sum(not one.is_repeat for one in found) == 1
