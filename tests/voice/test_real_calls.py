"""Real test calls, on the emulated Twilio and a real web process: the whole way, waited for, counted nowhere."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.drills.twilio_faults import Rule, TwilioFaults
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.merchants.numbers import NewNumber, Number
from holdfast.runbooks.actions import Done, Failed, Run
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import TwilioApiError
from holdfast.voice import health_store, store, testing_store
from holdfast.voice.model import Plan, PlanTarget
from holdfast.voice.real_calls import RealCaller
from holdfast.voice.testing import Walker
from holdfast.voice.trial_actions import try_calls
from tests.levers.incidents import opened
from tests.processes import Running, running
from tests.voice import calls as kept

PHONE, TEST, OTHER, DESK = "+14155550100", "+14155550190", "+14155550191", "+14155550110"


@dataclass
class World:
    pool: Pool
    twilio: EmulatedTwilio
    web: Running
    settings: Settings

    async def numbers(self) -> tuple[Number, Number]:
        """A bakery's, which our door knows, and the one that calls."""
        door = f"{self.web.url}/hooks/twilio/voice"
        owner = await merchants.insert(self.pool, NewMerchant("bakery", "Bakery", None, None))
        for phone in (PHONE, TEST):
            self.twilio.add_number(phone, voice_url=door, status_callback=f"{door}/status")
        new = [NewNumber(PHONE, owner.id, "US"), NewNumber(TEST, 0, "US")]
        await number_store.put(self.pool, new)
        await store.put_plans(self.pool, {PHONE: Plan((PlanTarget(DESK),))}, changed_by="ann")
        found = await number_store.by_phones(self.pool, [PHONE, TEST])
        async with Walker(self.settings, {}) as walker, asyncio.timeout(20):
            while (await walker.call(found[PHONE])).rung != (DESK,):
                await asyncio.sleep(0.1)
        return found[PHONE], found[TEST]


@pytest.fixture
async def world(pool, database_url, tmp_path) -> AsyncIterator[World]:
    async with EmulatedTwilio(speed=30.0) as twilio:
        given: dict[str, Any] = {
            "twilio_account_sid": twilio.account_sid,
            "twilio_auth_token": twilio.auth_token,
            "twilio_api_url": twilio.url,
            "twilio_test_number": TEST,
        }
        async with running("web", database_url=database_url, data_dir=str(tmp_path), **given) as web:
            await web.answers()
            await web.says("recorder.store_answers")
            yield World(pool, twilio, web, Settings(_env_file=None, public_url=web.url, **given))


async def test_the_call_goes_the_whole_way_and_is_marked_as_a_test(pool, world):
    number, caller = await world.numbers()
    states: list[str] = []
    async with TwilioClient.of(world.settings) as twilio:
        call = await RealCaller(pool, twilio, states.append, every=0.1).call(number, caller)
    assert (call.problem, call.status, call.outcome) == ("", "completed", "person")
    assert states[-1] == "completed"
    assert await pool.fetchval("SELECT bool_and(is_test) FROM call")
    assert await pool.fetchval("SELECT bool_and(is_test) FROM leg")


async def test_from_any_number_of_ours_it_is_marked_before_its_leg_is_counted(pool, world):
    number, _ = await world.numbers()
    world.twilio.add_number(OTHER, voice_url="")
    await number_store.put(pool, [NewNumber(OTHER, 0, "US")])
    caller = await number_store.find(pool, OTHER)
    assert caller is not None
    async with TwilioClient.of(world.settings) as twilio:
        call = await RealCaller(pool, twilio, every=0.05).call(number, caller)
    assert (call.problem, call.outcome) == ("", "person")
    assert await pool.fetchval("SELECT bool_and(is_test) FROM leg")
    now = datetime.now(UTC)
    assert await health_store.tried(pool, now - timedelta(hours=1), now) == (0, 0)


async def test_only_the_call_that_was_placed_is_marked_as_a_test(pool):
    """The same caller may have called before, and may call again meanwhile."""
    at = datetime(2026, 5, 4, 12, tzinfo=UTC)
    known = await kept.call(pool, phone=PHONE, at=at + timedelta(seconds=1))
    earlier = await kept.call(pool, phone=PHONE, at=at - timedelta(hours=1))
    placed = await kept.call(pool, "missed", phone=PHONE, at=at + timedelta(seconds=2))
    later = await kept.call(pool, phone=PHONE, at=at + timedelta(seconds=3))
    await pool.execute(
        "INSERT INTO leg VALUES ($1, $2, 1, $3, 'US', NULL, 'failed', NULL, NULL, $4)", placed, DESK, PHONE, at
    )
    assert earlier in await testing_store.known(pool, PHONE, kept.CALLER, at), "it may still go on"
    for _ in range(2):
        assert await testing_store.mark(pool, PHONE, kept.CALLER, at, [known]) == ("", "missed")
    rows = await pool.fetch("SELECT sid FROM call WHERE is_test")
    assert [row["sid"] for row in rows] == [placed]
    assert later != placed
    assert await pool.fetchval("SELECT is_test FROM leg")


@pytest.mark.parametrize("outcome", ["missed", "failed"])
async def test_a_call_that_went_wrong_by_our_own_record_is_no_success_whatever_twilio_says(pool, world, outcome):
    number, caller = await world.numbers()
    await pool.execute(
        f"""
        CREATE FUNCTION spoiled() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.outcome := CASE WHEN NEW.outcome IS NULL THEN NULL ELSE '{outcome}' END; RETURN NEW; END $$
        """
    )
    await pool.execute("CREATE TRIGGER spoil BEFORE UPDATE ON call FOR EACH ROW EXECUTE FUNCTION spoiled()")
    try:
        async with TwilioClient.of(world.settings) as twilio:
            call = await RealCaller(pool, twilio, every=0.1).call(number, caller)
    finally:
        await pool.execute("DROP FUNCTION spoiled CASCADE")
    assert (call.status, call.outcome) == ("completed", outcome)
    assert call.problem.startswith(f"by our own record it {'was ' if outcome == 'missed' else ''}{outcome}")


async def test_where_it_never_reaches_our_door_that_is_said(pool, world):
    number, caller = await world.numbers()
    world.twilio.number(PHONE).voice_url = "http://127.0.0.1:9/gone"
    async with TwilioClient.of(world.settings) as twilio:
        call = await RealCaller(pool, twilio, every=0.5).call(number, caller)
    assert call.problem.startswith("it never reached our door")


async def test_a_call_that_cannot_be_placed_raises(pool, world):
    number, caller = await world.numbers()
    world.twilio.faults = TwilioFaults.of(Rule("api_error", status=400))
    async with TwilioClient.of(world.settings) as twilio:
        with pytest.raises(TwilioApiError):
            await RealCaller(pool, twilio, every=0.1).call(number, caller)


async def test_the_runbook_walks_the_flows_and_really_calls_one(pool, world):
    await world.numbers()
    now = datetime.now(UTC)
    run = Run(pool, world.settings, await opened(pool, now), "voice.test_calls", 1, now + timedelta(minutes=1))
    outcome = await try_calls.run(run)
    assert isinstance(outcome, Done), outcome.said
    assert f"1 call flows are right: {PHONE} rings {DESK}; a person answers" in outcome.said
    assert f"Really called: {PHONE}: person" in outcome.said
    world.twilio.faults = TwilioFaults.of(Rule("api_error", status=503))
    outcome = await try_calls.run(replace(run, settings=world.settings))
    assert isinstance(outcome, Failed)
    assert outcome.said.startswith("no real call could be placed")
