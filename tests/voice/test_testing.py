"""A call flow is tested through the front door of a real web process, and such a call counts nowhere."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from holdfast.config import Settings
from holdfast.levers import store as levers
from holdfast.levers.model import EVERYTHING, VOICEMAIL_ONLY
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.merchants.numbers import NewNumber, Number
from holdfast.twilio.model import Account
from holdfast.voice import store
from holdfast.voice.model import Plan, PlanTarget
from holdfast.voice.testing import CannotTestError, Flow, Step, Walker
from holdfast.voice.twiml_reading import TwimlError, read
from tests.processes import Running, running
from tests.voice.twilio import ACCOUNT, BAKERY, TOKEN

DESK, CELLAR = "+14155550110", "sip:cellar@bakery.example"
SUB = "AC" + "7" * 32


@pytest.fixture(scope="module")
async def web(database_url, tmp_path_factory) -> AsyncIterator[Running]:
    place = str(tmp_path_factory.mktemp("flows"))
    given = {"twilio_account_sid": ACCOUNT, "twilio_auth_token": TOKEN}
    async with running("web", database_url=database_url, data_dir=place, **given) as found:  # type: ignore[arg-type]
        await found.answers()
        await found.says("recorder.store_answers")
        yield found


def settings(url: str, **given) -> Settings:
    known = {"twilio_account_sid": ACCOUNT, "twilio_auth_token": TOKEN, "public_url": url} | given
    return Settings(_env_file=None, **known)


async def bakery(pool, *targets: str, account: str | None = None) -> Number:
    """All at once: the web process may read in between, and would answer a call in mid-course without its plan."""
    async with pool.acquire() as connection, connection.transaction():
        owner = await merchants.insert(connection, NewMerchant("bakery", "Bakery", None, None))
        await number_store.put(connection, [NewNumber(BAKERY, owner.id, "US", account)])
        plan = Plan(tuple(PlanTarget(one) for one in targets))
        await store.put_plans(connection, {BAKERY: plan}, changed_by="ann")
    found = await number_store.find(pool, BAKERY)
    assert found is not None
    return found


async def outcome(web: Running, number: Number, *, rung: bool | None = None, **how) -> Flow:
    """As soon as the web process answers from what was just stored."""
    async with Walker(settings(web.url), {}) as walker, asyncio.timeout(20):
        while True:
            flow = await walker.call(number, **how)
            knows = not flow.problem.endswith("does not know the number")
            if knows and (rung is None or bool(flow.rung) is rung):
                return flow
            await asyncio.sleep(0.1)


async def test_every_step_is_shown_until_a_person_answers(pool, web):
    seen: list[Step] = []
    flow = await outcome(web, await bakery(pool, DESK, CELLAR), rung=True, seen=seen.append)
    assert (flow.problem, flow.ends, flow.rung) == ("", "person", (DESK,))
    assert flow.said == f"rings {DESK}; a person answers"
    assert [step.door for step in flow.steps] == [
        "/hooks/twilio/voice",
        "/hooks/twilio/voice/dial",
        "/hooks/twilio/voice/status",
    ]
    assert str(flow.steps[0].verbs[0]) == f"rings {DESK} for 20 s"
    assert flow.steps[1].told == f"{DESK}: answered"
    assert tuple(seen[-3:]) == flow.steps


@pytest.mark.parametrize("answering", ["no-answer", "busy", "failed"])
async def test_where_nobody_is_reached_the_next_is_rung_and_then_a_message_taken(pool, web, answering):
    flow = await outcome(web, await bakery(pool, DESK, CELLAR), rung=True, answering=answering)
    assert (flow.problem, flow.ends, flow.rung) == ("", "voicemail", (DESK, CELLAR))
    assert any("takes a message" in str(verb) for verb in flow.steps[2].verbs)
    assert flow.steps[3].told == "the caller leaves a message"


async def test_levers_are_seen(pool, web):
    number = await bakery(pool, DESK)
    await levers.turn(
        pool, VOICEMAIL_ONLY.name, EVERYTHING, 100, actor="ann", reason="", lasts=None, incident_id=None, now=None
    )
    await pool.execute("NOTIFY holdfast_levers")
    flow = await outcome(web, number, rung=False)
    assert (flow.ends, flow.rung) == ("voicemail", ())


async def test_it_counts_nowhere(pool, web):
    await outcome(web, await bakery(pool, DESK), rung=True, answering="failed")
    async with asyncio.timeout(20):
        while not await pool.fetchval("SELECT count(*) FROM call WHERE status = 'completed'"):
            await asyncio.sleep(0.05)
    assert await pool.fetchval("SELECT bool_and(is_test) FROM call")
    assert await pool.fetchval("SELECT count(*) FROM leg") == 0
    assert await pool.fetchval("SELECT count(*) FROM voicemail") == 0
    assert await pool.fetchval("SELECT count(*) FROM delivery") == 0


async def test_a_number_that_the_door_does_not_know_is_said(pool, web):
    stranger = Number(1, "+14155550999", 0, None, None, "US", False, None)  # type: ignore[arg-type]
    async with Walker(settings(web.url), {}) as walker:
        flow = await walker.call(stranger)
    assert flow.problem == "step 1, /hooks/twilio/voice: the door does not know the number"


async def test_a_wrong_token_is_said_with_what_the_door_says(pool, web):
    number = await bakery(pool, DESK)
    async with Walker(settings(web.url, twilio_auth_token="another"), {}) as walker:
        flow = await walker.call(number)
    assert flow.problem.startswith("step 1, /hooks/twilio/voice: it answered 403: the signature does not fit")
    assert len(flow.steps) == 1


async def test_behind_a_proxy_the_public_url_is_what_is_signed(pool, web):
    number = await bakery(pool, DESK)
    async with Walker(settings("https://calls.example"), {}, at=web.url) as walker:
        flow = await walker.call(number)
    assert "the signature does not fit" in flow.problem, "this door's public URL is another one"
    assert flow.base == web.url


async def test_a_door_that_is_away_is_said(pool):
    number = await bakery(pool, DESK)
    async with Walker(settings("http://127.0.0.1:9"), {}) as walker:
        flow = await walker.call(number)
    assert "http://127.0.0.1:9 cannot be reached" in flow.problem


async def test_a_subaccounts_number_needs_its_token(pool):
    number = await bakery(pool, DESK, account=SUB)
    async with Walker(settings("http://127.0.0.1:9"), {}) as walker:
        with pytest.raises(CannotTestError, match=f"in the Twilio account {SUB}, which is not known"):
            await walker.call(number)
    async with Walker(settings("http://127.0.0.1:9"), {SUB: Account(SUB, "Bakery", 1, "token")}) as walker:
        assert (await walker.call(number)).problem
    async with Walker(Settings(_env_file=None), {}) as walker:
        with pytest.raises(CannotTestError):
            await walker.call(number)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"Internal error", "it is no XML"),
        (b"<html/>", "it begins with <html>"),
        (b"<Response><Gather/></Response>", "a verb that nobody has tested: <Gather>"),
        (b'<!DOCTYPE x [<!ENTITY y "z">]><Response/>', "a document type"),
    ],
)
def test_what_is_no_twiml_is_said(body, why):
    with pytest.raises(TwimlError, match=why):
        read(body)
