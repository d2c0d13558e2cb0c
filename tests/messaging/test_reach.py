"""How far a text reaches: whose word it is, what it ends and what not, and what goes out after it."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from holdfast import web
from holdfast.consent import customers
from holdfast.consent.keys import PhoneKey
from holdfast.db.pool import again
from holdfast.levers.model import POOLS
from holdfast.merchants import number_store
from holdfast.merchants.numbers import NewNumber
from holdfast.messaging import inbound, meanings, optout, stopping, stopping_store
from holdfast.messaging.answering import Answering
from holdfast.messaging.inbound import Taken
from holdfast.twilio.model import Account
from tests.messaging.sending import office
from tests.messaging.texts import ANN, BAKERY, GARAGE, KEY, NOON, ask, grant, stop, town
from tests.voice.twilio import ACCOUNT, sid

MAIN = Account(ACCOUNT, "main", 0, "token")
SUB = "AC" + "7" * 32
LATER = NOON + timedelta(hours=1)
MINUTE = timedelta(minutes=1)


async def take(
    pool: Any,
    body: str,
    at: Any = NOON,
    *,
    to: str = BAKERY,
    account: Account = MAIN,
    scope: Any = "merchant",
    **more: str,
) -> Taken:
    about = {"MessageSid": sid("SM"), "From": ANN, "To": to, "Body": body} | more
    own = account is MAIN
    text = inbound.read(about, account, own_account=own, received=at.timestamp(), headers={}, raw=b"")
    box = inbound.Inbox(pool, PhoneKey, Answering(scope, optout.provider_word), optout.judge, clock=lambda: at)
    return (await box.take([text]))[0]


async def person(pool: Any) -> int:
    return (await customers.find(pool, [ANN], KEY))[ANN].id


async def test_an_answer_to_help_that_waits_is_not_sent_after_a_stop(pool):
    async with office(pool) as at:
        await grant(pool, (await town(pool)).bakery, ANN)
        await pool.execute("UPDATE messaging_policy SET provider_answers = false")
        await take(pool, "HELP")
        await take(pool, "STOP", NOON + 3 * MINUTE)
        await take(pool, "HELP", NOON + 4 * MINUTE)
        at.now = NOON + 4 * MINUTE
        await at.work()
        assert [(row["kind"], row["state"]) for row in await at.rows()] == [
            ("help", "cancelled"),
            ("confirmation", "sent"),
            ("help", "sent"),
        ]


async def test_a_stop_waits_for_an_answer_to_help_that_is_on_its_way(pool):
    await grant(pool, (await town(pool)).bakery, ANN)
    await pool.execute("UPDATE messaging_policy SET provider_answers = false")
    await take(pool, "HELP")
    await take(pool, "STOP", NOON + MINUTE)
    ann = await person(pool)
    for kind, waited in (("help", 1), ("confirmation", 0)):
        await pool.execute(
            "UPDATE message SET state = CASE WHEN kind = $1 THEN 'sending' ELSE 'sent' END, "
            "sending_until = now() + interval '1 minute'",
            kind,
        )
        assert await stopping_store.being_sent(pool, [ann]) == waited


async def test_whoever_waits_for_a_stop_asks_less_and_less_often(pool, monkeypatch):
    """Each look takes a connection from those who have not been heard yet."""
    await grant(pool, (await town(pool)).bakery, ANN)
    await ask(pool, 1, ANN)
    await pool.execute("UPDATE message SET state = 'sending', sending_until = now() + interval '1 minute'")
    looks = []
    look = stopping_store.being_sent

    async def counted(*given: Any) -> int:
        looks.append(1)
        return await look(*given)

    monkeypatch.setattr(stopping_store, "being_sent", counted)
    assert not await stopping.settled(pool, [await person(pool)], timedelta(seconds=0.6))
    assert 3 <= len(looks) <= 14


def test_each_pool_of_the_web_process_can_be_resized():
    assert {f"web/{name}" for name, _ in web.POOLS_OF_WEB} == {name for name in POOLS if name.startswith("web/")}


async def test_a_bare_yes_ends_no_complaint_and_start_does_for_this_merchant(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    await stop(pool, 0, ANN, reason="complaint")
    assert (await take(pool, "Yes", NOON + MINUTE)).verdict == "other"
    assert (await ask(pool, found.bakery, ANN, LATER)).reason == "complaint"
    assert (await take(pool, "START", NOON + 2 * MINUTE)).verdict == "start"
    assert (await ask(pool, found.bakery, ANN, LATER)).rule == "consent"
    assert (await ask(pool, found.garage, ANN, LATER)).rule == "suppressed"


async def test_a_yes_that_twilio_took_for_start_is_one(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    await stop(pool, 0, ANN, reason="complaint")
    assert (await take(pool, "Yes", NOON + MINUTE, OptOutType="START")).verdict == "start"
    assert (await ask(pool, found.bakery, ANN, LATER)).rule == "consent"


async def test_a_yes_after_a_stop_and_a_complaint_is_an_answer(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    await stop(pool, found.bakery, ANN)
    await stop(pool, 0, ANN, reason="complaint")
    assert (await take(pool, "sí", NOON + MINUTE)).verdict == "other"


async def test_a_number_that_moved_is_heard_by_the_account_it_still_has(pool):
    found = await town(pool)
    await number_store.put(pool, [NewNumber(BAKERY, found.bakery, "US", account=SUB)])
    await number_store.put(pool, [NewNumber(BAKERY, found.garage, "US")])
    await grant(pool, found.garage, ANN)
    taken = await take(pool, "STOP", account=Account(SUB, "bakery", found.bakery, "token"))
    assert (taken.verdict, taken.refused) == ("stop", None)
    assert (await ask(pool, found.garage, ANN, LATER)).rule == "suppressed"


async def test_a_stop_at_another_merchants_number_is_kept_and_heard_for_the_accounts_own_alone(pool):
    found = await town(pool)
    for merchant in (found.bakery, found.garage):
        await grant(pool, merchant, ANN)
    taken = await take(pool, "STOP", to=GARAGE, scope="company", account=Account(SUB, "bakery", found.bakery, "token"))
    assert taken.refused is not None
    assert "another merchant" in taken.refused
    assert taken.customer_id == await person(pool)
    assert (await ask(pool, found.bakery, ANN, LATER)).rule == "suppressed"
    assert (await ask(pool, found.garage, ANN, LATER)).rule == "consent"
    row = await pool.fetchrow(
        "SELECT outcome, note FROM done JOIN event ON event.seq = done.ref WHERE event.type LIKE 'twilio%'"
    )
    assert row["outcome"] == "stored"
    assert "another merchant" in row["note"]


@pytest.mark.parametrize("body", ["STOP", "Too many texts"])
async def test_where_stops_are_the_companys_a_merchants_own_account_speaks_for_it_alone(pool, body):
    found = await town(pool)
    for merchant in (found.bakery, found.garage):
        await grant(pool, merchant, ANN)
    await take(pool, body, scope="company", account=Account(SUB, "bakery", found.bakery, "token"))
    assert (await ask(pool, found.bakery, ANN, LATER)).rule == "suppressed"
    assert (await ask(pool, found.garage, ANN, LATER)).rule == "consent"


async def gone(pool: Any, merchant_id: int) -> None:
    """Twilio says that the handset is unknown."""
    async with pool.acquire() as db, db.transaction():
        ann = (await customers.ensure(db, [ANN], KEY, NOON))[ANN].id
        await meanings.apply(db, [meanings.Fact(1, merchant_id, ann, 30005, NOON)], NOON)


async def test_a_number_that_texts_us_is_no_unknown_handset(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    await gone(pool, found.bakery)
    await take(pool, "hello", LATER, From=f"whatsapp:{ANN}", To=f"whatsapp:{BAKERY}")
    assert (await ask(pool, found.bakery, ANN, LATER)).reason == "unknown_handset"
    await take(pool, "hello", LATER)
    assert (await ask(pool, found.bakery, ANN, LATER)).rule == "consent"
    row = await pool.fetchrow("SELECT lifted_by, lifted_why FROM suppression")
    assert tuple(row) == ("person", "texted from it")


async def test_a_merchants_own_account_says_so_for_that_merchant_alone(pool):
    found = await town(pool)
    for merchant in (found.bakery, found.garage):
        await grant(pool, merchant, ANN)
    await gone(pool, found.garage)
    await take(pool, "hello", LATER, account=Account(SUB, "bakery", found.bakery, "token"))
    assert (await ask(pool, found.bakery, ANN, LATER)).rule == "consent"
    assert (await ask(pool, found.garage, ANN, LATER)).reason == "unknown_handset"


async def test_a_stop_from_a_number_thought_dead_still_stops(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    await gone(pool, found.bakery)
    await take(pool, "STOP", LATER)
    assert (await ask(pool, found.bakery, ANN, LATER)).reason == "opt_out"


async def test_what_the_server_broke_off_for_another_is_done_anew_and_not_for_ever(pool):
    tries = []

    async def deadlocked() -> int:
        tries.append(1)
        if len(tries) < 3:
            await pool.execute("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$")
        return 7

    assert await again(deadlocked) == 7
    tries.clear()
    with pytest.raises(asyncpg.DeadlockDetectedError):
        await again(deadlocked, tries=2)
