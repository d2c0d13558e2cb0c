"""Faults of the emulated Twilio strike whom they name, and leave the traces in the Debugger that real ones leave."""

import asyncio

import pytest
from twilio.twiml.voice_response import VoiceResponse  # type: ignore[import-untyped, unused-ignore]

from holdfast.drills.twilio import EmulatedTwilio
from holdfast.drills.twilio_exchange import CallResult
from holdfast.drills.twilio_faults import Rule, TwilioEmulatorError, TwilioFaults
from holdfast.drills.twilio_people import Caller, Person
from tests.drills.twilio_sdk import async_sdk
from tests.drills.twiml_server import TwimlServer

US, GB = "+14155550199", "+442079460000"
US_TARGET, GB_TARGET, DESK = "+14155550101", "+442079460123", "sip:anna@pbx.example.com"
CALLER = "+14155551234"


@pytest.fixture(autouse=True)
def plan(twilio: EmulatedTwilio, server: TwimlServer) -> None:
    """Both numbers dial a target in their own country, then record."""
    twilio.set_default_person(Person())
    server.answers["/done"] = lambda asked: (
        VoiceResponse() if asked.params["DialCallStatus"] == "completed" else "<Response><Record/></Response>"
    )
    for number, target, path in ((US, US_TARGET, "/us"), (GB, GB_TARGET, "/gb")):
        response = VoiceResponse()
        response.dial(target, action="/done")
        server.answers[path] = response
        twilio.add_number(number, voice_url=f"{server.base}{path}")


async def endings(twilio: EmulatedTwilio) -> tuple[str, str]:
    """How a call to the number in the US and one to that in Britain end."""
    results: list[CallResult] = [await twilio.call(CALLER, number) for number in (US, GB)]
    return results[0].ended_as, results[1].ended_as


async def test_legs_to_a_region_fail_with_a_code_and_an_alert(twilio, server):
    twilio.faults = TwilioFaults.of(Rule("leg_fails", region="GB", error_code=13227, sip_code=403))
    assert await endings(twilio) == ("person", "voicemail")
    told = server.at("/done")[-1]
    expected = {"DialCallStatus": "failed", "DialSipResponseCode": "403", "ErrorCode": "13227"}
    assert expected.items() <= told.items()
    (alert,) = twilio.alerts
    assert (alert.error_code, alert.resource_sid) == (13227, told["DialCallSid"])


async def test_a_sip_address_fails_with_a_sip_error(twilio, server):
    response = VoiceResponse()
    response.dial(action="/done").sip(DESK)
    server.answers["/us"] = response
    twilio.faults = TwilioFaults.of(Rule("leg_fails", target=DESK))
    assert await endings(twilio) == ("voicemail", "person")
    assert twilio.alerts[0].error_code == 32011


async def test_legs_go_unanswered_without_any_alert(twilio, server):
    twilio.faults = TwilioFaults.of(Rule("leg_unanswered", number=US))
    assert await endings(twilio) == ("voicemail", "person")
    assert server.at("/done")[0]["DialCallStatus"] == "no-answer"
    assert twilio.alerts == ()


async def test_incoming_calls_to_a_number_never_reach_us(twilio, server):
    twilio.faults = TwilioFaults.of(Rule("call_lost", number=GB, error_code=31005))
    assert await endings(twilio) == ("person", "error")
    assert server.at("/gb") == []
    lost = twilio.results[-1]
    assert (lost.status, lost.heard_error) == ("failed", True)
    assert [alert.error_code for alert in twilio.alerts] == [31005]


async def test_an_outage_of_a_region_strikes_what_comes_in_and_what_goes_out(twilio, server):
    across = VoiceResponse()
    across.dial(GB_TARGET, action="/done")
    server.answers["/us"] = across
    twilio.faults = TwilioFaults.outage(region="GB")
    assert await endings(twilio) == ("voicemail", "error")


async def test_regions_can_be_given_by_prefix_and_by_number(server):
    regions = {"+1415": "us-west", "+44": "europe"}
    async with EmulatedTwilio(speed=100_000, regions=regions) as twilio:
        west = twilio.add_number(US, voice_url=f"{server.base}/us")
        east = twilio.add_number("+14155550198", voice_url=f"{server.base}/us", region="us-east")
        assert (west.region, east.region) == ("us-west", "us-east")
        twilio.faults = TwilioFaults.of(Rule("call_lost", region="us-east"))
        assert (await twilio.call(CALLER, east.phone)).ended_as == "error"
        assert (await twilio.call(CALLER, west.phone)).ended_as == "person"
        twilio.set_person(US_TARGET, Person(), region="us-east")
        twilio.faults = TwilioFaults.of(Rule("leg_fails", region="us-east"))
        assert (await twilio.call(CALLER, west.phone)).ended_as == "voicemail"


async def test_a_rate_strikes_some_and_the_faults_may_change_at_any_moment(twilio):
    twilio.faults = TwilioFaults.of(Rule("leg_fails", 0.5))
    ended = {(await twilio.call(CALLER, US)).ended_as for _ in range(20)}
    assert ended == {"person", "voicemail"}
    twilio.faults = TwilioFaults()
    assert {(await twilio.call(CALLER, US)).ended_as for _ in range(20)} == {"person"}


async def test_rules_combine(twilio):
    twilio.faults = TwilioFaults.of(Rule("call_lost", region="GB")).plus(Rule("leg_fails", region="US"))
    assert await endings(twilio) == ("voicemail", "error")


async def test_when_everything_is_down_nothing_arrives(twilio, server):
    twilio.set_debugger_url(f"{server.base}/debugger")
    twilio.faults = TwilioFaults.outage()
    assert await endings(twilio) == ("error", "error")
    await twilio.settled()
    assert server.asked == []


async def test_alerts_come_by_themselves(twilio, server):
    twilio.set_debugger_url(f"{server.base}/debugger")
    twilio.faults = TwilioFaults.of(Rule("alerts", error_code=32011, seconds=0.001))
    await server.arrives("/debugger")
    assert {alert.error_code for alert in twilio.alerts} == {32011}


async def test_what_is_kept_is_bounded(server):
    async with EmulatedTwilio(speed=100_000, history=3, kept=4) as twilio:
        twilio.add_number(US, voice_url=f"{server.base}/us")
        results = [await twilio.call(CALLER, US, Caller()) for _ in range(6)]
        assert twilio.results == tuple(results[-3:])
        assert twilio.call_record(results[0].sid) is None
        for _ in range(9):
            twilio.raise_alert(11200)
        assert len(twilio.alerts) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Rule("leg_fails", 2),
        lambda: Rule("api_slow"),
        lambda: Rule("api_slow", seconds=-1),
        lambda: Person(answers=1.5),
        lambda: Caller(leaves_voicemail=-1),
        lambda: EmulatedTwilio(speed=0),
    ],
)
def test_wrong_settings_say_what_to_change(wrong):
    with pytest.raises(TwilioEmulatorError, match=r"give|needs"):
        wrong()


async def test_calls_at_no_rate_or_to_nobody_are_a_mistake():
    async with EmulatedTwilio() as twilio:
        with pytest.raises(TwilioEmulatorError, match="rate above 0"):
            await twilio.run(0, asyncio.sleep(1))


async def test_an_answer_may_be_lost_after_what_was_asked_is_done(twilio):
    twilio.faults = TwilioFaults.of(Rule("api_answer_lost", product="sms"))
    async with async_sdk(twilio) as client:
        with pytest.raises(Exception, match="disconnected"):
            await client.messages.create_async(to="+14155550101", from_="+14155550199", body="Hi")
        (found,) = await client.messages.list_async(to="+14155550101")
    assert found.body == "Hi"
