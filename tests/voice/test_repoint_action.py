"""The runbook's step that moves numbers to our present public URL, on the emulated Twilio."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.actions import registry
from holdfast.config import Settings
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.drills.twilio_faults import Rule, TwilioFaults
from holdfast.incidents import store as incidents
from holdfast.merchants import number_store
from holdfast.merchants.numbers import NewNumber
from holdfast.runbooks.actions import Done, Failed, Mitigation, NotApplicable, Run, Waiting
from holdfast.runbooks.ledger import in_force
from holdfast.twilio.client import TwilioClient
from holdfast.voice.repoint_store import Row
from holdfast.voice.repointing import Repointer, Survey
from holdfast.voice.trial_actions import repoint
from tests.levers.incidents import opened

OLD, NEW, DOOR = "https://old.example", "https://new.example", "/hooks/twilio/voice"
PHONE, FOREIGN = "+14155550100", "+14155550101"


@pytest.fixture
async def twilio():
    async with EmulatedTwilio() as opened_:
        yield opened_


@pytest.fixture
async def run(pool, twilio) -> Run:
    now = datetime.now(UTC)
    settings = Settings(
        _env_file=None,
        twilio_account_sid=twilio.account_sid,
        twilio_auth_token=twilio.auth_token,
        twilio_api_url=twilio.url,
        public_url=NEW,
        former_public_urls=OLD,
    )
    for phone, base in ((PHONE, OLD), (FOREIGN, "https://pbx.example")):
        twilio.add_number(phone, voice_url=base + DOOR, status_callback=f"{base}{DOOR}/status")
        await number_store.put(pool, [NewNumber(phone, 0, "US")])
    return Run(pool, settings, await opened(pool, now), "voice.repoint", 1, now, actor="ann")


async def said(function, run):
    assert function is not None
    return await function(run)


async def test_numbers_that_call_a_former_address_of_ours_are_moved_and_others_left(run, twilio):
    assert await said(repoint.offers, run) is None
    assert f"- {PHONE}: {OLD}{DOOR} → {NEW}{DOOR}" in await said(repoint.drafts, run)
    assert await said(repoint.verifies, run) is False
    outcome = await repoint.run(run)
    assert (type(outcome), outcome.said) == (Done, f"1 numbers call {NEW}")
    assert (twilio.number(PHONE).voice_url, twilio.number(FOREIGN).voice_url) == (
        NEW + DOOR,
        "https://pbx.example" + DOOR,
    )
    assert await said(repoint.verifies, run) is True
    assert isinstance(await said(repoint.offers, run), NotApplicable)


async def test_undoing_brings_the_former_addresses_back(run, twilio):
    await repoint.run(run)
    assert (await said(repoint.undoes, run)).startswith("1 of 1 numbers have their former addresses")
    assert twilio.number(PHONE).voice_url == OLD + DOOR
    assert await said(repoint.undoes, run) == "nothing was moved"


async def test_a_move_is_in_the_incidents_ledger_while_it_is_under_way(pool, run, twilio):
    assert await ledger(pool, run) == []
    survey = Survey(NEW, (Row(PHONE, twilio.number(PHONE).sid, None, {}, {"voice_url": NEW + DOOR}),), (), {}, {})
    twilio.faults = TwilioFaults.of(Rule("api_error", status=400))
    async with TwilioClient(twilio.account_sid, twilio.auth_token, twilio.url, tries=1) as client:
        await Repointer(pool, client, [OLD]).begin(survey, actor=f"incident {run.incident.id}", now=run.now)
    assert isinstance(await repoint.run(run), Failed)
    (found,) = await ledger(pool, run)
    assert (found.what, found.since) == (f"0 of 1 numbers are moved to {NEW}, the others are not", run.now)
    assert found.undo == "holdfast voice repoint undo"
    assert await ledger(pool, replace(run, incident=replace(run.incident, id=run.incident.id + 1))) == []
    twilio.faults = TwilioFaults()
    twilio.number(PHONE).voice_url = ""
    assert isinstance(await repoint.run(run), Done)
    assert await ledger(pool, run) == []


async def ledger(pool, run) -> list[Mitigation]:
    return await in_force(pool, registry(), run.incident, [])


async def test_while_twilio_does_not_answer_nobody_is_asked(pool, run, twilio):
    twilio.faults = TwilioFaults.of(Rule("api_error", status=400))
    assert isinstance(await said(repoint.offers, run), Waiting)
    assert isinstance(await repoint.run(run), Failed)
    later = run.now + timedelta(minutes=1)
    assert (await incidents.get(pool, run.incident.id)) is not None
    assert isinstance(
        await said(repoint.offers, replace(run, incident=replace(run.incident, calm_at=later))), NotApplicable
    )


async def test_without_an_account_there_is_nothing_to_move(run):
    alone = replace(run, settings=Settings(_env_file=None))
    assert isinstance(await said(repoint.offers, alone), NotApplicable)
