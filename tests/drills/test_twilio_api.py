"""The official Twilio SDK, pointed at the emulated Twilio, reads and changes what Twilio would let it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped, unused-ignore]
from twilio.twiml.voice_response import VoiceResponse  # type: ignore[import-untyped, unused-ignore]

from holdfast.drills.status_page import Incident
from holdfast.drills.twilio import DEFAULT_AUTH_TOKEN, EmulatedTwilio
from holdfast.drills.twilio_faults import Rule, TwilioFaults
from holdfast.drills.twilio_people import Person
from tests.drills.twilio_sdk import async_sdk, blocking_sdk

OURS, OTHER, ANNA = "+14155550199", "+14155550198", "+14155550101"
LATENCY = 10  # seconds that answers may take on a busy machine: they count in calls
UNKNOWN = "CA" + "0" * 32
SUBACCOUNT, SUBTOKEN = "AC" + "5" * 32, "sub-token"


@pytest.fixture
async def client(twilio: EmulatedTwilio) -> AsyncIterator[Any]:
    async with async_sdk(twilio) as opened:
        yield opened


async def until_over(client: Any, sid: str) -> Any:
    """The call with this sid, once it is over."""
    while (call := await client.calls(sid).fetch_async()).end_time is None:
        await asyncio.sleep(0.01)
    return call


async def refusal(request: Any) -> TwilioRestException:
    with pytest.raises(TwilioRestException) as refused:
        await request
    return refused.value


async def test_wrong_credentials_are_refused(twilio):
    async with async_sdk(twilio, token="wrong") as stranger:
        refused = await refusal(stranger.calls(UNKNOWN).fetch_async())
    assert (refused.status, refused.code) == (401, 20003)
    async with aiohttp.ClientSession(twilio.url) as session, session.get("/2010-04-01/Accounts.json") as answer:
        assert answer.status == 401
        assert set(await answer.json()) == {"code", "message", "more_info", "status"}


async def test_the_account_and_its_subaccounts_can_be_read(twilio, client):
    twilio.add_subaccount(SUBACCOUNT, SUBTOKEN)
    own = await client.api.v2010.accounts(twilio.account_sid).fetch_async()
    assert (own.status, own.owner_account_sid) == ("active", twilio.account_sid)
    assert {account.sid for account in await client.api.v2010.accounts.list_async()} == {twilio.account_sid, SUBACCOUNT}
    assert (await client.api.v2010.accounts(SUBACCOUNT).fetch_async()).owner_account_sid == twilio.account_sid


async def test_a_subaccount_acts_on_itself_only_and_its_parent_on_both(twilio, client):
    twilio.add_subaccount(SUBACCOUNT, SUBTOKEN)
    twilio.add_number(OURS, account=SUBACCOUNT)
    async with async_sdk(twilio, SUBACCOUNT, SUBTOKEN) as sub:
        assert [number.phone_number for number in await sub.incoming_phone_numbers.list_async()] == [OURS]
        refused = await refusal(sub.api.v2010.accounts(twilio.account_sid).fetch_async())
        assert refused.status == 401
    async with async_sdk(twilio, account=SUBACCOUNT) as parent:
        assert len(await parent.incoming_phone_numbers.list_async()) == 1
    assert await client.incoming_phone_numbers.list_async() == []


async def test_numbers_are_found_by_phone_number_and_page_by_page(twilio, client):
    phones = [f"+1415555{place:04}" for place in range(130)]
    for phone in phones:
        twilio.add_number(phone)
    assert [found.phone_number for found in await client.incoming_phone_numbers.list_async()] == phones[::-1]
    (found,) = await client.incoming_phone_numbers.list_async(phone_number=phones[7])
    assert found.sid == twilio.number(phones[7]).sid
    assert len(await client.incoming_phone_numbers.list_async(page_size=20)) == 130


def test_the_blocking_client_pages_too():
    async def serve() -> list[str]:
        async with EmulatedTwilio() as twilio:
            for place in range(5):
                twilio.add_number(f"+1415555{place:04}")
            with blocking_sdk(twilio) as client:
                found = await asyncio.to_thread(client.incoming_phone_numbers.list, page_size=2)
            return [number.phone_number for number in found]

    assert len(asyncio.run(serve())) == 5


async def test_a_number_is_pointed_elsewhere_and_calls_follow(twilio, client, server):
    number = twilio.add_number(OURS, voice_url="http://127.0.0.1:9/old")
    server.answers["/new"] = VoiceResponse()
    updated = await client.incoming_phone_numbers(number.sid).update_async(
        voice_url=f"{server.base}/new", voice_method="GET", sms_url=f"{server.base}/sms"
    )
    assert (updated.voice_url, updated.sms_url) == (f"{server.base}/new", f"{server.base}/sms")
    assert (await client.incoming_phone_numbers(number.sid).fetch_async()).voice_url == f"{server.base}/new"
    result = await twilio.call(ANNA, OURS)
    (asked,) = server.asked
    assert (asked.method, asked.params["CallSid"]) == ("GET", result.sid)
    assert asked.is_signed()
    refused = await refusal(client.incoming_phone_numbers(number.sid).update_async(voice_url="nonsense"))
    assert (refused.status, refused.code) == (400, 21502)


async def test_an_outgoing_call_rings_a_person_and_runs_its_twiml(twilio, client, server):
    twilio.add_number(OURS)
    response = VoiceResponse()
    response.pause(length=20)
    server.answers["/outgoing"] = response
    created = await client.calls.create_async(
        to=ANNA,
        from_=OURS,
        url=f"{server.base}/outgoing",
        status_callback=f"{server.base}/status",
        status_callback_event=["initiated", "ringing", "answered", "completed"],
        machine_detection="Enable",
    )
    assert (created.status, created.direction) == ("queued", "outbound-api")
    call = await until_over(client, created.sid)
    await twilio.settled()
    assert (call.status, call.to) == ("completed", ANNA)
    assert 20 <= int(call.duration) < 30
    assert [told["CallStatus"] for told in server.at("/status")] == ["initiated", "ringing", "in-progress", "completed"]
    (asked,) = server.at("/outgoing")
    assert (asked["Direction"], asked["CallStatus"]) == ("outbound-api", "in-progress")


@pytest.mark.parametrize(
    ("person", "status"), [(Person(busy=1), "busy"), (Person(answers=0), "no-answer"), (Person(rings=9), "no-answer")]
)
async def test_an_outgoing_call_may_not_be_answered(twilio, client, person, status):
    twilio.add_number(OURS)
    twilio.set_person(ANNA, person)
    created = await client.calls.create_async(
        to=ANNA, from_=OURS, twiml="<Response><Say>Hi</Say></Response>", timeout=5
    )
    call = await until_over(client, created.sid)
    assert (call.status, call.duration) == (status, None)


async def test_a_test_call_to_a_number_of_ours_walks_its_plan(twilio, client, server):
    plan = VoiceResponse()
    plan.dial(ANNA, timeout=20)
    plan.record()
    server.answers["/voice"] = plan
    twilio.add_number(OURS, voice_url=f"{server.base}/voice")
    twilio.add_number(OTHER)
    created = await client.calls.create_async(
        to=OURS, from_=OTHER, twiml='<Response><Pause length="25"/></Response>', status_callback=f"{server.base}/status"
    )
    call = await until_over(client, created.sid)
    await twilio.settled()
    (result,) = twilio.results
    assert (result.from_, result.to, result.answered_by) == (OTHER, OURS, ANNA)
    assert result.duration == pytest.approx(25, abs=LATENCY)
    assert (call.status, call.duration) == ("completed", "25")
    assert server.at("/status")[0]["CallSid"] == created.sid
    twilio.set_person(ANNA, Person(answers=0))
    await client.calls.create_async(to=OURS, from_=OTHER, twiml='<Response><Pause length="60"/></Response>')
    await twilio.settled()
    assert twilio.results[-1].ended_as == "voicemail"
    assert twilio.shares().calls == 0, "calls from our own numbers are tests"


async def test_a_live_call_can_be_ended():
    async with EmulatedTwilio(speed=1) as twilio, async_sdk(twilio) as client:
        twilio.add_number(OURS)
        twilio.set_person(ANNA, Person(rings=0, talks=3600))
        created = await client.calls.create_async(
            to=ANNA, from_=OURS, twiml='<Response><Pause length="99"/></Response>'
        )
        while (await client.calls(created.sid).fetch_async()).status != "in-progress":
            await asyncio.sleep(0.01)
        await client.calls(created.sid).update_async(status="completed")
        assert (await until_over(client, created.sid)).status == "completed"
        refused = await refusal(client.calls(created.sid).update_async(status="completed"))
        assert refused.code == 21220


async def test_a_live_call_can_be_given_other_twiml(server):
    response, other = VoiceResponse(), VoiceResponse()
    response.dial(ANNA, action="/done")
    other.say("Please call later")
    server.answers |= {"/voice": response, "/other": other}
    async with EmulatedTwilio(speed=50) as twilio, async_sdk(twilio) as client:
        twilio.add_number(OURS, voice_url=f"{server.base}/voice")
        twilio.set_person(ANNA, Person(talks=3600))
        call = asyncio.create_task(twilio.call("+14155551234", OURS))
        while not (talking := await client.calls.list_async(status="in-progress", from_="+14155551234", to=OURS)):
            await asyncio.sleep(0.01)
        await client.calls(talking[0].sid).update_async(url=f"{server.base}/other")
        result = await call
    assert [step.what for step in result.steps if step.kind == "verb"] == ["Dial", "Say"]
    assert server.at("/done") == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"to": "12"}, 21211),
        ({"from_": ANNA}, 21210),
        ({"url": "nonsense", "twiml": None}, 21205),
        ({"twiml": "<"}, 12100),
    ],
)
async def test_a_call_that_cannot_be_made_is_refused(twilio, client, wrong, code):
    twilio.add_number(OURS)
    asked = {"to": ANNA, "from_": OURS, "twiml": "<Response/>"} | wrong
    given = {name: value for name, value in asked.items() if value is not None}
    assert (await refusal(client.calls.create_async(**given))).code == code


async def test_calls_are_listed_newest_first_by_their_ends_and_times(twilio, client, server):
    response = VoiceResponse()
    response.dial(ANNA)
    server.answers["/voice"] = response
    twilio.add_number(OURS, voice_url=f"{server.base}/voice")
    results = [await twilio.call(f"+1415555{place:04}", OURS) for place in range(7)]
    found = await client.calls.list_async(to=OURS, page_size=3)
    assert [call.sid for call in found] == [result.sid for result in reversed(results)]
    assert [call._from for call in await client.calls.list_async(from_="+14155550003")][-1] == "+14155550003"
    (leg,) = await client.calls.list_async(parent_call_sid=results[0].sid)
    assert (leg.to, leg.direction) == (ANNA, "outbound-dial")
    assert len(await client.calls.list_async(status="completed")) == 14
    assert await client.calls.list_async(status="failed") == []
    now = datetime.now(UTC)
    assert len(await client.calls.list_async(to=OURS, start_time_after=now - timedelta(minutes=1))) == 7
    assert await client.calls.list_async(start_time_before=now - timedelta(minutes=1)) == []
    assert (await refusal(client.calls(UNKNOWN).fetch_async())).code == 20404


async def test_pages_do_not_shift_when_calls_come_in_between(twilio, client, server):
    server.answers["/voice"] = VoiceResponse()
    twilio.add_number(OURS, voice_url=f"{server.base}/voice")
    old = [(await twilio.call(ANNA, OURS)).sid for _ in range(4)]
    page = await client.calls.page_async(page_size=2)
    await twilio.call(ANNA, OURS)
    following = await page.next_page_async()
    assert [call.sid for call in [*page, *following]] == old[::-1]


async def test_alerts_are_listed_by_level_and_date_over_pages_of_the_emulators_own(twilio, client):
    sids = [twilio.raise_alert(11200 if place % 2 else 15003, f"CA{place:032}").sid for place in range(9)]
    listed = await client.monitor.v1.alerts.list_async(page_size=2)
    assert [alert.sid for alert in listed] == sids[::-1]
    assert {alert.error_code for alert in await client.monitor.v1.alerts.list_async(log_level="error")} == {"11200"}
    now = datetime.now(UTC)
    assert len(await client.monitor.v1.alerts.list_async(start_date=now - timedelta(minutes=5), page_size=4)) == 9
    assert await client.monitor.v1.alerts.list_async(end_date=now - timedelta(minutes=5)) == []
    one = await client.monitor.v1.alerts(sids[1]).fetch_async()
    assert (one.resource_sid, one.log_level) == (f"CA{1:032}", "error")
    assert isinstance(one.date_created, datetime)
    assert "HTTP retrieval failure" in one.alert_text.replace("+", " ")


async def test_an_alert_shows_the_request_that_failed_and_what_was_answered(twilio, client, server):
    server.answers["/voice"] = 500
    twilio.add_number(OURS, voice_url=f"{server.base}/voice")
    result = await twilio.call(ANNA, OURS)
    (listed,) = await client.monitor.v1.alerts.list_async()
    alert = await client.monitor.v1.alerts(listed.sid).fetch_async()
    assert (alert.request_url, alert.request_method) == (f"{server.base}/voice", "POST")
    assert (alert.resource_sid, alert.error_code) == (result.sid, "11200")
    assert result.sid in alert.request_variables


async def test_a_recording_and_its_sound_can_be_fetched(twilio, client, server):
    response = VoiceResponse()
    response.record()
    server.answers["/voice"] = response
    twilio.add_number(OURS, voice_url=f"{server.base}/voice")
    (sid,) = (await twilio.call(ANNA, OURS)).recordings
    recording = await client.recordings(sid).fetch_async()
    assert (recording.duration, recording.status, recording.channels) == ("20", "completed", 1)
    address = f"{twilio.url}/2010-04-01/Accounts/{twilio.account_sid}/Recordings/{sid}"
    headers = {"Authorization": aiohttp.encode_basic_auth(twilio.account_sid, DEFAULT_AUTH_TOKEN)}
    async with aiohttp.ClientSession() as session:
        for ending, kind in ((".mp3", "audio/mpeg"), (".wav", "audio/x-wav"), ("", "audio/x-wav")):
            async with session.get(address + ending, headers=headers) as answer:
                assert (answer.status, answer.content_type) == (200, kind)
                assert len(await answer.read()) > 100
        async with session.get(f"{address}.mp3") as answer:
            assert answer.status == 401


async def test_too_many_requests_are_refused():
    async with EmulatedTwilio(rate_limit=5) as twilio, async_sdk(twilio) as client:
        refused = [await refusal(client.calls(UNKNOWN).fetch_async()) for _ in range(10)]
        assert {(error.status, error.code) for error in refused} == {(404, 20404), (429, 20429)}


async def test_api_faults_are_those_of_the_product_they_name(twilio, client):
    twilio.faults = TwilioFaults.of(Rule("api_error", product="recordings", status=500))
    assert (await refusal(client.recordings("RE" + "0" * 32).fetch_async())).status == 500
    assert await client.calls.list_async() == []
    twilio.faults = TwilioFaults.of(Rule("api_rate_limited"))
    assert (await refusal(client.calls(UNKNOWN).fetch_async())).code == 20429
    twilio.faults = TwilioFaults.of(Rule("api_refuses", product="api"))
    with pytest.raises(aiohttp.ClientError):
        await client.calls.list_async()
    twilio.faults = TwilioFaults.of(Rule("api_slow", seconds=0.2))
    began = asyncio.get_running_loop().time()
    await client.calls.list_async()
    assert asyncio.get_running_loop().time() - began >= 0.2


async def test_the_status_page_says_what_it_is_told_even_when_all_is_down(twilio):
    twilio.faults = TwilioFaults.outage()
    broken = Incident("Calls fail in the US", "identified", "critical", "We know why.", ("Voice, United States",))
    twilio.set_status("critical", {"Voice, United States": "major_outage"}, [broken])
    async with aiohttp.ClientSession() as session, session.get(twilio.status_url) as answer:
        page = await answer.json()
    assert page["status"]["indicator"] == "critical"
    entries = {entry["name"]: entry for entry in page["components"]}
    voice, group = entries["Voice, United States"], entries["Programmable Voice"]
    assert (voice["status"], voice["group_id"], group["group"]) == ("major_outage", group["id"], True)
    assert group["status"] == "major_outage"
    assert voice["id"] in group["components"]
    assert entries["SMS, United States"]["status"] == "operational"
    (incident,) = page["incidents"]
    assert (incident["impact"], incident["incident_updates"][0]["body"]) == ("critical", "We know why.")
    assert [component["name"] for component in incident["components"]] == ["Voice, United States"]
