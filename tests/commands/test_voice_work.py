"""`holdfast voice test` and `holdfast voice repoint`, on the emulated Twilio."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL

import pytest

from holdfast.drills.twilio import EmulatedTwilio
from holdfast.drills.twilio_faults import Rule, TwilioFaults
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.merchants.numbers import NewNumber
from tests.processes import REPO, command_here, environment

OLD, NEW, DOOR = "https://old.example", "https://new.example", "/hooks/twilio/voice"
PHONE, OTHER = "+14155550100", "+14155550101"


@pytest.fixture
async def twilio():
    async with EmulatedTwilio() as opened:
        yield opened


@pytest.fixture
async def run(database_url, pool, twilio):
    for key, phone in (("bakery", PHONE), ("florist", OTHER)):
        owner = await merchants.insert(pool, NewMerchant(key, key.title(), None, None))
        await number_store.put(pool, [NewNumber(phone, owner.id, "US")])
        twilio.add_number(phone, voice_url=OLD + DOOR, status_callback=f"{OLD}{DOOR}/status")
    given = {
        "twilio_account_sid": twilio.account_sid,
        "twilio_auth_token": twilio.auth_token,
        "twilio_api_url": twilio.url,
        "public_url": NEW,
        "former_public_urls": OLD,
    }

    async def runner(*arguments: str, **changed: str) -> tuple[int, str, str]:
        return await command_here("voice", *arguments, database_url=database_url, **(given | changed))

    return runner


async def test_a_dry_run_shows_every_address_and_changes_nothing(run, twilio):
    status, out, _ = await run("repoint", "--dry-run")
    assert status == 0
    assert f"voice_url: {OLD}{DOOR} → {NEW}{DOOR}" in out
    assert twilio.number(PHONE).voice_url == OLD + DOOR
    assert "No number was ever moved." in (await run("repoint", "status"))[1]


async def test_all_are_moved_shown_and_moved_back(run, twilio):
    status, out, _ = await run("repoint", "--yes", "--as", "ann")
    assert (status, "is done: 2 of 2 moved." in out) == (0, True)
    assert twilio.number(OTHER).voice_url == NEW + DOOR
    told = json.loads((await run("repoint", "status", "--json"))[1])
    (move,) = told["moves"]
    assert (move["base"], move["actor"], move["done"]) == (NEW, "ann", 2)
    assert (await run("repoint", "resume"))[0] == 1
    status, out, _ = await run("repoint", "undo", "--yes")
    assert (status, "is undone" in out) == (0, True)
    assert twilio.number(OTHER).voice_url == OLD + DOOR
    assert (await run("repoint", "undo", "--yes"))[0] == 1


async def test_a_move_that_cannot_go_on_is_finished_with_a_reason_and_the_next_one_begins(run, pool, twilio):
    sub = "AC" + "5" * 32
    twilio.add_subaccount(sub, "their-token")
    theirs = "+14155550102"
    twilio.add_number(theirs, account=sub, voice_url=OLD + DOOR)
    await number_store.put(pool, [NewNumber(theirs, 0, "US", sub)])
    await pool.execute("INSERT INTO twilio_account VALUES ($1, 'sub', 0, 'their-token')", sub)
    await pool.execute("INSERT INTO repoint (base, actor, began_at) VALUES ($1, 'ann', now())", NEW)
    await pool.execute(
        "INSERT INTO repointed (repoint_id, phone, account, before, after) SELECT id, $1, $2, '{}', $3 FROM repoint",
        theirs,
        sub,
        json.dumps({"voice_url": NEW + DOOR}),
    )
    await pool.execute("UPDATE twilio_account SET auth_token = 'not-theirs-any-more'")
    status, _, err = await run("repoint", "resume")
    assert (status, "cannot be asked" in err) == (1, True), err
    assert (await run("repoint", "--yes"))[0] == 1, "one is under way"
    status, out, _ = await run("repoint", "finish", "--reason", "it is closed", "--yes", "--as", "ann")
    assert (status, "is done: 0 of 1 moved, 1 left." in out) == (0, True)
    assert f"{theirs} stays: left by ann: it is closed (" in (await run("repoint", "status"))[1]
    assert "it is closed" in json.loads((await run("repoint", "status", "--json"))[1])["left"][theirs]
    assert (await run("repoint", "finish", "--reason", "again", "--yes"))[0] == 1
    assert (await run("repoint", "--yes"))[0] == 0
    assert twilio.number(PHONE).voice_url == NEW + DOOR


async def test_a_move_that_is_killed_goes_on_with_resume(run, pool, twilio, database_url):
    phones = [f"+1415555{place:04}" for place in range(2000, 2040)]
    for phone in phones:
        twilio.add_number(phone, voice_url=OLD + DOOR)
    await number_store.put(pool, [NewNumber(phone, 0, "US") for phone in phones])
    twilio.faults = TwilioFaults.of(Rule("api_slow", seconds=0.1))
    given = {
        "database_url": database_url,
        "twilio_account_sid": twilio.account_sid,
        "twilio_auth_token": twilio.auth_token,
        "twilio_api_url": twilio.url,
        "public_url": NEW,
        "former_public_urls": OLD,
    }

    def moved() -> int:
        return sum(twilio.number(phone).voice_url == NEW + DOOR for phone in phones)

    command = (sys.executable, "-m", "holdfast", "voice", "repoint", "--yes", "--batch", "4")
    process = await asyncio.create_subprocess_exec(*command, env=environment(**given), cwd=REPO, stdout=DEVNULL)
    async with asyncio.timeout(60):
        while moved() < 6:
            await asyncio.sleep(0.02)
    process.kill()
    await process.wait()
    twilio.faults = TwilioFaults()
    assert moved() < len(phones)
    assert json.loads((await run("repoint", "status", "--json"))[1])["moves"][0]["state"] == "under way"
    status, out, _ = await run("repoint", "resume")
    assert (status, moved(), "42 of 42 moved" in out) == (0, len(phones), True)


async def test_only_some_are_moved(run, twilio):
    assert (await run("repoint", "--only", "bakery", "--yes"))[0] == 0
    assert (twilio.number(PHONE).voice_url, twilio.number(OTHER).voice_url) == (NEW + DOOR, OLD + DOOR)
    assert (await run("repoint", "--only", OTHER, "--yes", "--json"))[0] == 0
    assert twilio.number(OTHER).voice_url == NEW + DOOR


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("repoint", "--to", "new.example", "--yes"), "no public URL"),
        (("repoint", "--only", "baker", "--yes"), "there is no merchant 'baker'"),
        (("repoint", "resume"), "no number was ever moved"),
        (("test", "+14155550999"), "none of your numbers"),
        (("test", "555"), "is not a phone number"),
        (("test", PHONE, "--real"), "HOLDFAST_TWILIO_TEST_NUMBER"),
    ],
)
async def test_what_cannot_be_done_is_said_in_a_line(run, arguments, why):
    status, _, err = await run(*arguments)
    assert (status, why in err) == (1, True), err


async def test_without_an_account_twilio_is_not_asked(run, database_url, pool):
    status, _, err = await command_here("voice", "repoint", "--yes", database_url=database_url)
    assert (status, "HOLDFAST_TWILIO_ACCOUNT_SID" in err) == (1, True)


async def test_a_flow_that_goes_wrong_is_shown_with_its_step(run):
    status, out, _ = await run("test", PHONE, "--at", "http://127.0.0.1:9")
    assert status == 1
    assert "Wrong: step 1, /hooks/twilio/voice: http://127.0.0.1:9 cannot be reached" in out
    status, out, _ = await run("test", PHONE, "--at", "http://127.0.0.1:9", "--json")
    assert json.loads(out)["problem"].startswith("step 1")


async def test_only_one_end_of_a_test_can_be_chosen(run):
    assert (await run("test", PHONE, "--busy", "--nobody-answers"))[0] == 2
    assert (await run("test", PHONE, "--real", "--busy"))[0] == 2
