"""`/hooks/twilio/…` on a real web process, called as Twilio calls, signed by its SDK."""

import asyncio
import json
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import aiohttp
import pytest

from holdfast.gateway.twilio import LARGEST_ALERT
from holdfast.gateway.twilio_requests import LARGEST_FORM
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.merchants.numbers import NewNumber
from holdfast.twilio import store as accounts
from holdfast.twilio.model import Account
from holdfast.voice import store as voice_store
from holdfast.voice.answering import LAST_RESORT
from tests.processes import Running, running
from tests.voice.lines import MOBILE, plan
from tests.voice.twilio import ACCOUNT, BAKERY, DESK, TOKEN, Twilio, call, ended, recording, sid

NOWHERE = "postgresql:///x?host=/nowhere"


def door(database_url: str, place: str, **more: str) -> AbstractAsyncContextManager[Running]:
    given = {"twilio_account_sid": ACCOUNT, "twilio_auth_token": TOKEN, **more}
    return running("web", on_port=None, database_url=database_url, data_dir=place, **given)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    made: Path = tmp_path_factory.mktemp("door")
    return made


@pytest.fixture(autouse=True)
async def nothing_is_left_for_the_next(pool, place) -> AsyncIterator[None]:
    """On a busy machine some callbacks go to disk, and are stored a moment later."""
    yield
    await until_empty(place)


@pytest.fixture(scope="module")
async def web(database_url, place) -> AsyncIterator[Running]:
    async with door(database_url, str(place)) as found:
        await found.answers()
        await found.says("recorder.store_answers")
        yield found


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def twilio(web, session) -> Twilio:
    return Twilio(session, web.url)


async def kept(pool) -> list[str]:
    return [row[0] for row in await pool.fetch("SELECT type FROM event ORDER BY seq")]


async def until_kept(pool, count: int) -> None:
    async with asyncio.timeout(20):
        while len(await kept(pool)) < count:
            await asyncio.sleep(0.05)


async def until_empty(place: Path) -> None:
    async with asyncio.timeout(20):
        while files(place):
            await asyncio.sleep(0.05)


def files(place: Path) -> list[Path]:
    return list((place / "spool").glob("*.spool"))


def verbs(twiml: bytes) -> list[str]:
    return [verb.tag for verb in ElementTree.fromstring(twiml)]


async def test_a_call_to_a_number_nobody_has_is_answered_politely(twilio, pool):
    status, body, headers = await twilio.post("voice", call())
    assert (status, headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert verbs(body) == ["Say", "Hangup"]
    await until_kept(pool, 1)
    row = await pool.fetchrow("SELECT * FROM call")
    assert (row["phone"], row["merchant_id"], row["answer"].split(":")[0]) == (BAKERY, 0, "announcement")


async def test_what_was_called_and_answered_is_kept_with_the_event(twilio, pool):
    about = call()
    await twilio.post("voice?x=%C3%A4&tried=", about)
    await until_kept(pool, 1)
    row = await pool.fetchrow("SELECT * FROM event")
    headers = json.loads(row["headers"])
    assert headers["holdfast-path"] == "POST /hooks/twilio/voice?x=%C3%A4&tried="
    assert headers["holdfast-answer"].startswith("announcement")
    assert headers["x-twilio-signature"]
    assert (row["provider"], row["type"], row["object_id"], row["account"]) == (
        "twilio",
        "twilio.call.incoming",
        about["CallSid"],
        ACCOUNT,
    )
    done = await pool.fetchrow("SELECT stage, outcome FROM done WHERE ref = $1", row["seq"])
    assert tuple(done) == (1, "stored")


async def test_a_call_by_get_is_answered_too(twilio, pool):
    status, body, _ = await twilio.get(f"/hooks/twilio/voice?CallSid={sid('CA')}&AccountSid={ACCOUNT}&To=%2B1&From=x")
    assert (status, verbs(body)) == (200, ["Say", "Hangup"])
    await until_kept(pool, 1)


async def test_news_of_a_call_are_acknowledged_once_they_are_kept(twilio, pool):
    about = call()
    status, body, _ = await twilio.post("voice/status", ended(about))
    assert (status, body) == (204, b"")
    await until_kept(pool, 1)
    assert (await twilio.post("voice/status", ended(about)))[0] == 204
    await until_kept(pool, 1)
    assert await pool.fetchval("SELECT count(*) FROM duplicate WHERE provider = 'twilio'") == 1


async def test_a_voicemail_is_kept(twilio, pool):
    about = call()
    await twilio.post("voice", about)
    status, body, _ = await twilio.post("voice/recorded", about | {"Digits": "hangup"})
    assert (status, verbs(body)) == (200, ["Say", "Hangup"])
    recorded = recording(about)
    assert (await twilio.post("recording", recorded))[0] == 204
    await until_kept(pool, 3)
    row = await pool.fetchrow("SELECT * FROM voicemail")
    assert (row["sid"], row["phone"], row["seconds"]) == (recorded["RecordingSid"], BAKERY, 42)


async def test_a_storm_of_callbacks_repeated_and_in_any_order_comes_to_the_right_state(twilio, pool):
    calls = [call() for _ in range(40)]
    sent = []
    for about in calls:
        rung = about | {"CallStatus": "in-progress", "DialCallStatus": "busy", "DialCallSid": sid("CA")}
        sent += [
            ("voice", about),
            (f"voice/dial?tried=%2B1&target={DESK.replace('+', '%2B')}&region=US&place=1", rung),
            ("recording", recording(about)),
            ("voice/status", ended(about)),
        ]
    storm = sent * 5
    random.Random(7).shuffle(storm)
    at_once = asyncio.Semaphore(50)

    async def post(path: str, params: dict[str, str]) -> int:
        async with at_once:
            status: int = (await twilio.post(path, params))[0]
            return status

    statuses = await asyncio.gather(*(post(path, params) for path, params in storm))
    assert set(statuses) == {200, 204}
    await until_kept(pool, len(sent) + len(calls))  # and a message of ours about each voicemail
    kinds = ("call.incoming", "call.dialed", "call.recording", "call.status")
    expected = [*(f"twilio.{kind}" for kind in kinds), "voicemail.received"]
    assert Counter(await kept(pool)) == dict.fromkeys(expected, len(calls))
    rows = await pool.fetch("SELECT sid, status, outcome FROM call")
    assert {tuple(row) for row in rows} == {(about["CallSid"], "completed", "voicemail") for about in calls}
    legs = await pool.fetch("SELECT call_sid, target, outcome FROM leg")
    assert {tuple(row) for row in legs} == {(about["CallSid"], DESK, "busy") for about in calls}
    assert len(legs) == await pool.fetchval("SELECT count(*) FROM voicemail") == len(calls)


async def test_who_hangs_up_at_the_tone_has_abandoned_the_call(twilio, pool):
    about = call()
    empty = recording(about, RecordingDuration="0")
    await twilio.post("voice", about)
    assert verbs((await twilio.post("voice/recorded", about | empty))[1]) == ["Say", "Hangup"]
    for path, params in (("recording", empty), ("voice/status", ended(about))):
        assert (await twilio.post(path, params))[0] == 204
    await until_kept(pool, 4)
    assert tuple(await pool.fetchrow("SELECT outcome, answer FROM call")) == ("abandoned", "over: the caller hung up")
    assert await pool.fetchval("SELECT count(*) FROM voicemail") == 0


def alert_about(about: dict[str, str], **more: str) -> dict[str, str]:
    """What the Debugger says of a call."""
    payload = {
        "resource_sid": about["CallSid"],
        "error_code": "11200",
        "more_info": {"Msg": "Bad Gateway"},
        "webhook": {
            "request": {
                "url": "https://ours/voice",
                "parameters": {name: about[name] for name in ("To", "From", "CallSid")},
            }
        },
    }
    return {
        "Sid": sid("NO"),
        "AccountSid": about["AccountSid"],
        "Timestamp": "2026-11-25T12:00:00Z",
        "Level": "ERROR",
        "PayloadType": "application/json",
        "Payload": json.dumps(payload),
    } | more


async def test_a_merchants_own_account_places_alerts_on_its_own_numbers_alone(web, session, twilio, pool):
    bakery = await merchants.insert(pool, NewMerchant("bakery", "Bakery"))
    florist = await merchants.insert(pool, NewMerchant("florist", "Florist"))
    theirs = "+14155550142"
    await number_store.put(pool, [NewNumber(BAKERY, bakery.id, "US"), NewNumber(theirs, florist.id, "US-west")])
    own = Account("AC" + "3" * 32, "Florist", florist.id, "token-of-the-florist", {})
    await accounts.put(pool, own)
    hers = Twilio(session, web.url, token=own.auth_token)
    async with asyncio.timeout(10):
        while b"Record" not in (await hers.post("voice", call(AccountSid=own.sid, To=theirs)))[1]:
            await asyncio.sleep(0.05)
    real = call()
    await twilio.post("voice", real)
    await until_answered(pool, real)
    placed = {}
    for name, about in {
        "of its own": call(AccountSid=own.sid, To=theirs),
        "made up": call(AccountSid=own.sid),
        "of another's call": real | {"AccountSid": own.sid},
    }.items():
        alert = alert_about(about)
        assert (await hers.post("debugger", alert))[0] == 204
        async with asyncio.timeout(20):
            while not (row := await pool.fetchrow("SELECT * FROM twilio_alert WHERE sid = $1", alert["Sid"])):
                await asyncio.sleep(0.05)
        placed[name] = (row["phone"], row["region"], row["code"])
    assert placed == {
        "of its own": (theirs, "US-west", 11200),
        "made up": (None, None, 11200),
        "of another's call": (None, None, 11200),
    }
    assert (await twilio.post("debugger", alert_about(call(AccountSid=own.sid), ParentAccountSid=ACCOUNT)))[0] == 204
    async with asyncio.timeout(20):
        while not await pool.fetchval("SELECT count(*) FROM twilio_alert WHERE phone = $1", BAKERY):
            await asyncio.sleep(0.05)


async def test_an_alert_is_kept_once(twilio, pool):
    about = call()
    alert = alert_about(about)
    assert (await twilio.post("debugger", alert))[0] == 204
    assert (await twilio.post("debugger", alert | {"Again": "1"}))[0] == 204
    await until_kept(pool, 2)
    row = await pool.fetchrow("SELECT * FROM twilio_alert")
    assert (row["code"], row["level"], row["resource"], row["said"], row["url"]) == (
        11200,
        "error",
        about["CallSid"],
        "Bad Gateway",
        "https://ours/voice",
    )
    assert await pool.fetchval("SELECT count(*) FROM twilio_alert") == 1


async def test_json_is_taken_if_its_digest_is_signed(twilio, pool):
    body = json.dumps(call()).encode()
    assert (await twilio.post_json("voice/status", body))[0] == 204
    await until_kept(pool, 1)
    status, said, _ = await twilio.post_json("voice/status", body, digest=False)
    assert (status, "bodySHA256" in json.loads(said)["detail"]) == (403, True)


@pytest.mark.parametrize("path", ["voice", "voice/dial", "voice/recorded", "voice/status", "recording", "debugger"])
async def test_nothing_that_is_not_verified_is_answered_or_written(web, session, pool, path):
    for forger in (Twilio(session, web.url, token="another"), Twilio(session, web.url, public="https://elsewhere")):
        status, body, headers = await forger.post(path, call())
        assert (status, headers["content-type"]) == (403, "application/problem+json")
        assert "signature does not fit" in json.loads(body)["detail"]
    assert await kept(pool) == []


async def test_an_account_that_is_none_of_ours_is_told_so(twilio, pool):
    status, body, _ = await twilio.post("voice", call(AccountSid="AC" + "f" * 32))
    assert status == 403
    assert "none of ours" in json.loads(body)["detail"]


async def test_while_a_token_is_rotated_both_sign(database_url, session, pool, tmp_path):
    new, subs_old = "the-new-token-of-main", "token-of-the-bakery"
    theirs = Account("AC" + "2" * 32, "Bakery", 0, "the-new-token-of-it", {}, (subs_old,))
    await accounts.put(pool, theirs)
    rotating = {"twilio_auth_token": new, "twilio_former_auth_tokens": f"{TOKEN}, another-former-token"}
    async with door(database_url, str(tmp_path), **rotating) as web:
        await web.answers()
        about = call(AccountSid=theirs.sid)
        async with asyncio.timeout(10):
            while (await Twilio(session, web.url, token=subs_old).post("voice", about))[0] != 200:
                await asyncio.sleep(0.05)
        assert (await Twilio(session, web.url, token=theirs.auth_token).post("voice", about))[0] == 200
        for token, status in ((new, 200), (TOKEN, 200), ("another-former-token", 200), (subs_old, 403)):
            assert (await Twilio(session, web.url, token=token).post("voice", call()))[0] == status, token
        await until_empty(tmp_path)
        everything = "\n".join(web.log)
        assert not any(token in everything for token in (new, TOKEN, subs_old, theirs.auth_token))


async def test_a_subaccount_signs_with_its_own_token(web, session, pool):
    theirs = Account("AC" + "2" * 32, "Bakery", 1, "token-of-the-bakery", {"key-1": "shared"})
    await accounts.put(pool, theirs)
    bakery = Twilio(session, web.url, token=theirs.auth_token)
    async with asyncio.timeout(10):
        while (await bakery.post("voice", call(AccountSid=theirs.sid)))[0] != 200:
            await asyncio.sleep(0.05)
    assert (await bakery.post("voice", call()))[0] == 403, "it may not speak for the main account"
    assert (await Twilio(session, web.url).post("voice", call(AccountSid=theirs.sid)))[0] == 403


async def test_a_merchants_own_account_cannot_speak_of_anothers_number(web, session, pool):
    owner = await merchants.insert(pool, NewMerchant("bakery", "Bakery"))
    await number_store.put(pool, [NewNumber(BAKERY, owner.id, "US")])
    stranger = Account("AC" + "3" * 32, "Florist", owner.id + 1, "token-of-the-florist", {})
    await accounts.put(pool, stranger)
    florist = Twilio(session, web.url, token=stranger.auth_token)
    about = call(AccountSid=stranger.sid)
    async with asyncio.timeout(10):
        while "another merchant" not in (await florist.post("voice", about))[1].decode():
            await asyncio.sleep(0.05)
    before = len(await kept(pool))
    status, said, _ = await florist.post("voice/status", ended(about))
    assert (status, json.loads(said)["detail"]) == (
        403,
        f"{stranger.sid} (Florist) is another merchant's account, and {BAKERY} is a number of bakery",
    )
    await web.says(f"holdfast twilio accounts add {stranger.sid} --merchant bakery")
    assert len(await kept(pool)) == before


RUNG = f"https://down.example.com/hooks/twilio/voice/dial?tried={quote(DESK)}&target={quote(DESK)}&region=US&place=1"


@pytest.fixture
async def desks(web, twilio, pool) -> tuple[str, str]:
    """Whom the bakery rings, once the door knows of them."""
    owner = await merchants.insert(pool, NewMerchant("bakery", "Bakery"))
    await number_store.put(pool, [NewNumber(BAKERY, owner.id, "US")])
    greeting = f"Welcome {sid('')}"  # an older snapshot may have the same number
    await voice_store.put_plans(pool, {BAKERY: plan(DESK, MOBILE, greeting=greeting)}, changed_by="ana")
    async with asyncio.timeout(10):
        while greeting.encode() not in (await twilio.post("voice", call()))[1]:
            await asyncio.sleep(0.05)
    await until_kept(pool, 1)
    return DESK, MOBILE


def fallen_back(url: str, **more: str) -> dict[str, str]:
    """What Twilio asks at the number's fallback address."""
    return call(CallStatus="in-progress") | {"ErrorCode": "11200", "ErrorUrl": url} | more


async def until_answered(pool, about: dict[str, str]) -> str:
    """What the call's row says that it was told."""
    async with asyncio.timeout(20):
        while not (said := await pool.fetchval("SELECT answer FROM call WHERE sid = $1", about["CallSid"])):
            await asyncio.sleep(0.05)
    return str(said)


async def test_a_fallback_after_a_leg_goes_on_with_the_next_one_and_greets_nobody_again(twilio, pool, desks):
    for more in ({}, {"DialCallStatus": "no-answer"}):
        about = fallen_back(RUNG, **more)
        status, body, _ = await twilio.post("voice", about)
        assert (status, verbs(body), MOBILE.encode() in body) == (200, ["Dial"], True)
        assert await until_answered(pool, about) == f"dial {MOBILE}"
    leg = await pool.fetchrow("SELECT target, outcome FROM leg WHERE call_sid = $1", about["CallSid"])
    assert tuple(leg) == (DESK, "no-answer")


async def test_a_fallback_after_a_conversation_ends_the_call_as_one_that_was_answered(twilio, pool, desks):
    about = fallen_back(RUNG, DialCallStatus="completed", DialCallDuration="61")
    assert verbs((await twilio.post("voice", about))[1]) == ["Hangup"]
    await until_answered(pool, about)
    assert (await twilio.post("voice/status", ended(about)))[0] == 204
    async with asyncio.timeout(20):
        while (found := await pool.fetchrow("SELECT outcome, answered_by FROM call WHERE sid = $1", about["CallSid"]))[
            0
        ] is None:
            await asyncio.sleep(0.05)
    assert tuple(found) == ("person", DESK)


async def test_a_fallback_after_a_message_thanks_and_rings_nobody(twilio, pool, desks):
    about = fallen_back("https://down.example.com/hooks/twilio/voice/recorded")
    assert verbs((await twilio.post("voice", about))[1]) == ["Say", "Hangup"]
    assert await until_answered(pool, about) == "over: message left"


@pytest.mark.parametrize(
    "url", ["https://down.example.com/hooks/twilio/voice", "https://elsewhere.example/voice", "https://[", "?"]
)
async def test_a_fallback_of_a_calls_first_question_begins_it(twilio, pool, desks, url):
    body = (await twilio.post("voice", fallen_back(url)))[1]
    assert (verbs(body), DESK.encode() in body) == (["Say", "Dial"], True)


@pytest.mark.parametrize(
    ("content_type", "body", "named"),
    [
        ("text/plain", b"hello", "content type"),
        ("application/json", b"{", "not JSON"),
        ("application/json", b"[1]", "not an object"),
        ("application/x-www-form-urlencoded", b"a=%FF", "UTF-8"),
        ("application/x-www-form-urlencoded", b"a=1&" * 2000, "1000 fields"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_what_is_wrong(twilio, pool, content_type, body, named):
    status, said, _ = await twilio.send("/hooks/twilio/voice/status", body, signature="x", content_type=content_type)
    assert (status, named in json.loads(said)["detail"]) == (400, True)
    assert await kept(pool) == []


async def test_bodies_have_limits(twilio, pool):
    assert (await twilio.post("voice", call(More="x" * LARGEST_FORM)))[0] == 413
    assert (await twilio.post("debugger", {"Sid": sid("NO"), "Payload": "x" * (LARGEST_FORM * 2)}))[0] == 204
    assert (await twilio.post("debugger", {"Sid": sid("NO"), "Payload": "x" * LARGEST_ALERT}))[0] == 413


async def test_another_method_is_refused(web, session, pool):
    async with session.get(f"{web.url}/hooks/twilio/voice/status") as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["voice", "voice/dial", "voice/recorded"])
@pytest.mark.parametrize("params", [{}, {"To": "\0"}, {"CallSid": "x" * 9000, "To": "?", "From": "\N{CALL ME HAND}"}])
async def test_a_verified_call_is_answered_whatever_is_missing_in_it(twilio, pool, path, params):
    status, body, _ = await twilio.post(path, params)
    assert status == 200
    assert verbs(body)
    await until_kept(pool, 1)


async def test_without_an_account_nothing_can_be_verified(database_url, session, tmp_path):
    async with running("web", database_url=database_url, data_dir=str(tmp_path)) as web:
        await web.answers()
        status, body, headers = await Twilio(session, web.url).post("voice", call())
        assert (status, int(headers["retry-after"]) > 0) == (503, True)
        assert "HOLDFAST_TWILIO_ACCOUNT_SID" in json.loads(body)["detail"]


async def test_the_address_that_counts_is_the_public_one_also_a_former_one(database_url, session, tmp_path):
    public = {"public_url": "https://calls.example.com", "former_public_urls": "https://old.example.com"}
    async with door(database_url, str(tmp_path), **public) as web:
        await web.answers("/health")
        for address, status in (
            ("https://calls.example.com", 200),
            ("https://calls.example.com:443", 200),
            ("https://old.example.com", 200),
            (web.url, 403),
        ):
            assert (await Twilio(session, web.url, public=address).post("voice", call()))[0] == status, address


async def test_with_the_store_away_calls_are_answered_from_the_snapshot_and_all_is_stored_after(
    database_url, session, pool, tmp_path
):
    bakery = await merchants.insert(pool, NewMerchant("bakery", "Bakery", None))
    await number_store.put(pool, [NewNumber(BAKERY, bakery.id, "US")])
    async with door(database_url, str(tmp_path)) as web:
        await web.answers()
        async with asyncio.timeout(20):
            while not (tmp_path / "voice.snapshot").exists():
                await asyncio.sleep(0.05)
    about, other = call(), call()
    async with door(NOWHERE, str(tmp_path)) as web:
        await web.answers("/health")
        twilio = Twilio(session, web.url)
        status, body, _ = await twilio.post("voice", about)
        assert (status, verbs(body)[:2]) == (200, ["Say", "Record"])
        assert (await twilio.post("voice/status", ended(about)))[0] == 204
        assert (await twilio.post("voice/status", ended(other)))[0] == 204
        assert [path.stat().st_mode & 0o777 for path in [tmp_path / "spool", *files(tmp_path)]] == [0o700, 0o600]
        os.kill(web.process.pid, signal.SIGKILL)
        await web.process.wait()
    assert await kept(pool) == []
    async with door(database_url, str(tmp_path)):
        await until_kept(pool, 3)
        await until_empty(tmp_path)
    row = await pool.fetchrow("SELECT * FROM call WHERE sid = $1", about["CallSid"])
    assert (row["merchant_id"], row["status"], row["outcome"]) == (bakery.id, "completed", "abandoned")


async def test_the_log_holds_neither_tokens_nor_signatures(web, twilio, pool):
    await twilio.post("voice", call())
    await twilio.send("/hooks/twilio/voice", b"AccountSid=" + ACCOUNT.encode(), signature="0badc0de")
    await web.says("twilio.bad_signature")
    everything = "\n".join(web.log)
    assert TOKEN not in everything
    assert "0badc0de" not in everything


def test_the_last_resort_takes_a_message():
    assert "Record" in verbs(LAST_RESORT)


async def test_texts_come_in_beside_calls_and_the_consent_page_is_served(web, twilio, pool, session):
    about = {"MessageSid": sid("SM"), "AccountSid": ACCOUNT, "From": MOBILE, "To": BAKERY, "Body": "stop"}
    status, body, headers = await twilio.post("message", about)
    assert (status, headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert ElementTree.fromstring(body).tag == "Response"
    assert await pool.fetchval("SELECT reason FROM suppression") == "opt_out"
    async with session.get(f"{web.url}/consent/unknown") as page:
        assert (page.status, page.headers["cache-control"]) == (404, "no-store")
