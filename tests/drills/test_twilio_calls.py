"""Calls on the emulated Twilio: TwiML made with the official SDK is walked as Twilio walks it."""

import asyncio

import pytest
from aiohttp import web
from twilio.twiml.voice_response import Dial, Gather, VoiceResponse  # type: ignore[import-untyped, unused-ignore]

from holdfast.drills.twilio import EmulatedTwilio
from holdfast.drills.twilio_exchange import CallResult
from holdfast.drills.twilio_faults import TwilioEmulatorError
from holdfast.drills.twilio_people import Caller, Person
from holdfast.drills.twilio_traffic import CallMix
from tests.drills.twiml_server import TwimlServer

OURS, CALLER = "+14155550199", "+14155551234"
ANNA, BEN = "+14155550101", "+14155550102"
ANNAS_DESK = "sip:anna@pbx.example.com"
LATENCY = 10  # seconds that answers may take on a busy machine: they count in calls
NOBODY = Person(answers=0)
PATIENT = Caller(hangs_up_first=0)


def open_number(twilio: EmulatedTwilio, server: TwimlServer, **more) -> None:
    twilio.add_number(OURS, voice_url=f"{server.base}/voice", **more)


def verbs(result: CallResult) -> list[str]:
    return [step.what for step in result.steps if step.kind == "verb"]


def outcome(result: CallResult, verb: str) -> str:
    return next(step.outcome for step in result.steps if step.what == verb)


def dialling(*targets: str, sip: bool = False, then: str | None = None, **attributes) -> VoiceResponse:
    response = VoiceResponse()
    dial = Dial(**attributes)
    for target in targets:
        dial.sip(target) if sip else dial.number(target)
    response.append(dial)
    if then is not None:
        response.say(then)
    return response


async def test_a_call_asks_the_numbers_voice_url_what_to_do(twilio, server):
    server.answers["/voice"] = VoiceResponse()
    open_number(twilio, server)
    result = await twilio.call(CALLER, OURS)
    (asked,) = server.asked
    assert asked.is_signed()
    assert asked.params["CallSid"] == result.sid
    expected = {
        "From": CALLER,
        "To": OURS,
        "Caller": CALLER,
        "Called": OURS,
        "CallStatus": "ringing",
        "Direction": "inbound",
        "ApiVersion": "2010-04-01",
        "AccountSid": twilio.account_sid,
        "FromCountry": "US",
    }
    assert expected.items() <= asked.params.items()
    assert asked.headers["I-Twilio-Idempotency-Token"]
    assert (result.ended_as, result.status) == ("announcement", "completed")


async def test_a_call_to_a_number_that_is_not_ours_is_a_mistake(twilio):
    with pytest.raises(TwilioEmulatorError, match="no number of ours"):
        await twilio.call(CALLER, ANNA)


async def test_the_person_dialled_answers_and_talks(twilio, server):
    server.answers["/voice"] = dialling(ANNA, action="/done")
    server.answers["/done"] = VoiceResponse()
    open_number(twilio, server)
    twilio.set_person(ANNA, Person(rings=5, talks=60))
    result = await twilio.call(CALLER, OURS)
    assert (result.ended_as, result.answered_by) == ("person", ANNA)
    assert result.duration == pytest.approx(65, abs=LATENCY)
    (done,) = server.at("/done")
    leg = twilio.call_record(done["DialCallSid"])
    assert leg is not None
    assert (leg.to, leg.parent, leg.direction, leg.status) == (ANNA, result.sid, "outbound-dial", "completed")
    assert {"DialCallStatus": "completed", "DialCallDuration": "60", "DialBridged": "true"}.items() <= done.items()


async def test_a_dial_without_action_goes_on_with_the_next_verb_while_the_caller_is_there(twilio, server):
    server.answers["/voice"] = dialling(ANNA, then="Goodbye")
    open_number(twilio, server)
    assert verbs(await twilio.call(CALLER, OURS, PATIENT)) == ["Dial", "Say"]
    assert verbs(await twilio.call(CALLER, OURS, Caller(hangs_up_first=1))) == ["Dial"]


@pytest.mark.parametrize(
    ("person", "status", "sip_code"),
    [(Person(busy=1), "busy", None), (NOBODY, "no-answer", None), (Person(rings=21), "no-answer", None)],
)
async def test_the_action_is_told_why_nobody_was_reached(twilio, server, person, status, sip_code):
    server.answers["/voice"] = dialling(ANNA, action="/done", timeout=20)
    server.answers["/done"] = VoiceResponse()
    open_number(twilio, server)
    twilio.set_person(ANNA, person)
    result = await twilio.call(CALLER, OURS)
    (done,) = server.at("/done")
    assert done["DialCallStatus"] == status
    assert done.get("DialSipResponseCode") == sip_code
    assert result.answered_by is None


async def test_nouns_ring_at_once_and_the_first_to_pick_up_is_connected(twilio, server):
    response = VoiceResponse()
    dial = response.dial()
    for target, name in ((ANNA, "anna"), (BEN, "ben")):
        dial.number(target, status_callback=f"/{name}", status_callback_event="initiated ringing answered completed")
    server.answers["/voice"] = response
    open_number(twilio, server)
    twilio.set_person(ANNA, Person(rings=9))
    twilio.set_person(BEN, Person(rings=4))
    result = await twilio.call(CALLER, OURS)
    await twilio.settled()
    assert result.answered_by == BEN
    assert [told["CallStatus"] for told in server.at("/ben")] == ["initiated", "ringing", "in-progress", "completed"]
    assert [told["CallStatus"] for told in server.at("/anna")] == ["initiated", "ringing", "canceled"]
    assert [told["SequenceNumber"] for told in server.at("/ben")] == ["0", "1", "2", "3"]
    assert {told["ParentCallSid"] for told in server.at("/ben")} == {result.sid}
    assert server.at("/ben")[-1]["CallDuration"] == "40"


async def test_a_sip_address_can_be_dialled(twilio, server):
    server.answers["/voice"] = dialling(ANNAS_DESK, sip=True)
    open_number(twilio, server)
    assert (await twilio.call(CALLER, OURS)).answered_by == ANNAS_DESK


async def test_a_number_that_cannot_be_dialled_fails_and_is_reported(twilio, server):
    server.answers["/voice"] = dialling("12", action="/done")
    server.answers["/done"] = VoiceResponse()
    open_number(twilio, server)
    await twilio.call(CALLER, OURS)
    (done,) = server.at("/done")
    assert (done["DialCallStatus"], done["ErrorCode"]) == ("failed", "13224")
    assert [alert.error_code for alert in twilio.alerts] == [13224]


async def test_a_caller_id_must_be_a_number_of_ours_or_the_callers(twilio, server):
    server.answers["/voice"] = dialling(ANNA, caller_id="+14155550000")
    open_number(twilio, server)
    assert (await twilio.call(CALLER, OURS)).answered_by is None
    assert [alert.error_code for alert in twilio.alerts] == [13214]
    server.answers["/voice"] = dialling(ANNA, caller_id=OURS)
    assert (await twilio.call(CALLER, OURS)).answered_by == ANNA


async def test_a_time_limit_ends_the_conversation(twilio, server):
    server.answers["/voice"] = dialling(ANNA, time_limit=10, action="/done")
    open_number(twilio, server)
    await twilio.call(CALLER, OURS)
    assert server.at("/done")[0]["DialCallDuration"] == "10"


async def test_with_answer_on_bridge_the_call_is_not_answered_until_somebody_is(twilio, server):
    server.answers["/voice"] = dialling(ANNA, answer_on_bridge=True, action="/done")
    server.answers["/done"] = VoiceResponse()
    open_number(twilio, server, status_callback=f"{server.base}/status")
    twilio.set_person(ANNA, NOBODY)
    await twilio.call(CALLER, OURS)
    assert server.at("/done")[0]["CallStatus"] == "ringing"
    twilio.set_person(ANNA, Person(rings=10, talks=50))
    result = await twilio.call(CALLER, OURS)
    await twilio.settled()
    assert 50 <= int(server.at("/status")[-1]["CallDuration"]) < 50 + LATENCY
    assert result.duration == pytest.approx(60, abs=LATENCY)


async def test_screening_lets_the_person_accept_and_hangs_up_on_a_voicemail(twilio, server):
    response = VoiceResponse()
    response.dial(action="/done").number(ANNA, url="/screen")
    screen = VoiceResponse()
    screen.append(Gather(action="/accepted", num_digits=1))
    screen.hangup()
    server.answers |= {"/voice": response, "/screen": screen}
    server.answers |= {"/accepted": VoiceResponse(), "/done": VoiceResponse()}
    open_number(twilio, server)
    twilio.set_person(ANNA, Person(presses="1"))
    assert (await twilio.call(CALLER, OURS)).ended_as == "person"
    (accepted,) = server.at("/accepted")
    assert (accepted["Digits"], accepted["Direction"]) == ("1", "outbound-dial")
    twilio.set_person(ANNA, Person(answers=0, voicemail_text="This is Anna, speak after the tone."))
    result = await twilio.call(CALLER, OURS)
    assert result.answered_by is None
    assert server.at("/done")[-1]["DialBridged"] == "false"


async def test_without_screening_the_carriers_voicemail_takes_the_call(twilio, server):
    server.answers["/voice"] = dialling(ANNA)
    open_number(twilio, server)
    twilio.set_person(ANNA, Person(answers=0, voicemail_text="This is Anna."))
    result = await twilio.call(CALLER, OURS)
    assert (result.ended_as, result.answered_by) == ("voicemail", ANNA)


def recording_twiml(**attributes) -> VoiceResponse:
    response = VoiceResponse()
    response.say("Please leave a message")
    response.record(**attributes)
    response.say("We heard nothing")
    return response


async def test_a_voicemail_is_recorded_reported_and_transcribed(twilio, server):
    server.answers["/voice"] = recording_twiml(
        action="/left",
        max_length=60,
        recording_status_callback="/recorded",
        transcribe=True,
        transcribe_callback="/transcribed",
    )
    open_number(twilio, server)
    result = await twilio.call(CALLER, OURS, Caller(voicemail=33, says="Call me"))
    await twilio.settled()
    assert result.ended_as == "voicemail"
    (sid,) = result.recordings
    (left,), (recorded,), (transcribed,) = (server.at(path) for path in ("/left", "/recorded", "/transcribed"))
    assert left["RecordingSid"] == recorded["RecordingSid"] == transcribed["RecordingSid"] == sid
    assert (left["RecordingDuration"], left["Digits"], left["CallStatus"]) == ("33", "hangup", "completed")
    assert (recorded["RecordingStatus"], recorded["RecordingChannels"]) == ("completed", "1")
    assert recorded["RecordingSource"] == "RecordVerb"
    assert (transcribed["TranscriptionText"], transcribed["TranscriptionStatus"]) == ("Call me", "completed")
    assert transcribed["TranscriptionSid"].startswith("TR")
    assert recorded["RecordingUrl"].endswith(f"/Recordings/{sid}")


async def test_a_recording_is_no_longer_than_it_may_be(twilio, server):
    server.answers["/voice"] = recording_twiml(action="/left", max_length=10)
    open_number(twilio, server)
    await twilio.call(CALLER, OURS, Caller(voicemail=33))
    assert server.at("/left")[0]["RecordingDuration"] == "10"


async def test_what_is_too_short_to_transcribe_fails(twilio, server):
    server.answers["/voice"] = recording_twiml(action="/left", transcribe_callback="/transcribed")
    open_number(twilio, server)
    await twilio.call(CALLER, OURS, Caller(voicemail=1))
    await twilio.settled()
    assert server.at("/transcribed")[0]["TranscriptionStatus"] == "failed"


async def test_a_caller_may_hang_up_at_the_beep_or_say_nothing(twilio, server):
    server.answers["/voice"] = recording_twiml(action="/left")
    open_number(twilio, server)
    gone = await twilio.call(CALLER, OURS, Caller(leaves_voicemail=0))
    assert (gone.ended_as, gone.recordings, verbs(gone)) == ("voicemail", (), ["Say", "Record"])
    silent = await twilio.call(CALLER, OURS, Caller(leaves_voicemail=0, ends_voicemail="silence"))
    assert verbs(silent) == ["Say", "Record", "Say"]
    assert server.at("/left") == []


async def test_a_caller_who_ends_with_a_key_hears_what_follows(twilio, server):
    thanks = VoiceResponse()
    thanks.say("Thank you")
    server.answers |= {"/voice": recording_twiml(action="/left", finish_on_key="#"), "/left": thanks}
    open_number(twilio, server)
    result = await twilio.call(CALLER, OURS, Caller(ends_voicemail="key"))
    assert server.at("/left")[0]["Digits"] == "#"
    assert outcome(result, "Say").startswith("heard: Please")
    assert verbs(result) == ["Say", "Record", "Say"]


async def test_a_caller_loses_patience_and_the_action_is_told(twilio, server):
    server.answers["/voice"] = dialling(ANNA, action="/done", timeout=60)
    open_number(twilio, server)
    twilio.set_person(ANNA, NOBODY)
    result = await twilio.call(CALLER, OURS, Caller(patience=15))
    assert result.ended_as == "hung_up"
    assert result.duration == pytest.approx(15, abs=LATENCY)
    (done,) = server.at("/done")
    assert (done["DialCallStatus"], done["CallStatus"]) == ("canceled", "completed")


async def test_play_pause_redirect_and_hangup_are_executed_in_order(twilio, server):
    first, second = VoiceResponse(), VoiceResponse()
    first.play("https://example.com/hello.mp3")
    first.pause(length=7)
    first.redirect("/menus/second?lang=en")
    second.say("Bye")
    second.hangup()
    second.say("Never heard")
    server.answers |= {"/voice": first, "/menus/second": second}
    open_number(twilio, server)
    result = await twilio.call(CALLER, OURS)
    assert verbs(result) == ["Play", "Pause", "Redirect", "Say", "Hangup"]
    assert server.asked[1].url.endswith("/menus/second?lang=en")
    assert all(asked.is_signed() for asked in server.asked)
    assert result.duration >= 12


async def test_addresses_are_resolved_against_the_document_they_are_in(twilio, server):
    first, second = VoiceResponse(), VoiceResponse()
    first.redirect("/menus/first")
    second.redirect("second")
    server.answers |= {"/voice": first, "/menus/first": second, "/menus/second": VoiceResponse()}
    open_number(twilio, server)
    await twilio.call(CALLER, OURS)
    assert [asked.path for asked in server.asked] == ["/voice", "/menus/first", "/menus/second"]


async def test_a_gather_without_digits_falls_through_and_with_digits_asks_its_action(twilio, server):
    response = VoiceResponse()
    response.append(Gather(action="/chosen", num_digits=1))
    response.say("Nothing chosen")
    server.answers |= {"/voice": response, "/chosen": VoiceResponse()}
    open_number(twilio, server)
    assert verbs(await twilio.call(CALLER, OURS)) == ["Gather", "Say"]
    assert verbs(await twilio.call(CALLER, OURS, Caller(presses="42"))) == ["Gather"]
    assert server.at("/chosen")[0]["Digits"] == "4"


@pytest.mark.parametrize(("reason", "status"), [("busy", "busy"), ("rejected", "no-answer")])
async def test_a_rejected_call_is_never_answered(twilio, server, reason, status):
    response = VoiceResponse()
    response.reject(reason=reason)
    server.answers["/voice"] = response
    open_number(twilio, server)
    result = await twilio.call(CALLER, OURS)
    assert (result.status, result.ended_as) == (status, "announcement")


async def test_an_endless_redirect_ends_as_an_error(twilio, server):
    response = VoiceResponse()
    response.redirect("/voice")
    server.answers["/voice"] = response
    open_number(twilio, server)
    assert (await twilio.call(CALLER, OURS)).heard_error
    assert len(server.asked) <= 51


async def test_plain_text_is_said_and_other_types_are_refused(twilio, server):
    open_number(twilio, server)
    server.answers["/voice"] = web.Response(text="Hello there")
    assert outcome(await twilio.call(CALLER, OURS), "Say") == "heard: Hello there"
    server.answers["/voice"] = web.json_response({})
    assert (await twilio.call(CALLER, OURS)).heard_error
    assert twilio.alerts[0].error_code == 12300


@pytest.mark.parametrize(
    "verb",
    [
        "<Dial/>",
        '<Dial timeout="soon" timeLimit="-5">+14155550101</Dial>',
        '<Pause length="-3"/>',
        '<Say loop="nan">Hello</Say>',
        "<Redirect>http://[</Redirect>",
        '<Record maxLength="x" timeout="-1"/>',
        '<Gather numDigits="0" timeout="inf"/>',
        '<Dial action="mailto:x">+14155550101</Dial>',
    ],
)
async def test_odd_twiml_ends_a_call_and_not_the_emulator(twilio, server, verb):
    server.answers["/voice"] = f"<Response>{verb}</Response>"
    open_number(twilio, server)
    result = await twilio.call(CALLER, OURS, PATIENT)
    assert result.status == "completed"
    assert 0 <= result.duration < 300


async def test_what_follows_a_sip_address_does_not_change_who_is_called(twilio, server):
    server.answers["/voice"] = dialling(f"{ANNAS_DESK};transport=tls?x-merchant=7", sip=True)
    open_number(twilio, server)
    twilio.set_default_person(NOBODY)
    twilio.set_person(ANNAS_DESK, Person())
    assert (await twilio.call(CALLER, OURS)).answered_by == ANNAS_DESK


def broken_server(server: TwimlServer) -> None:
    server.answers["/voice"] = 500


def slow_server(server: TwimlServer) -> None:
    server.delays["/voice"] = 5


def garbled_server(server: TwimlServer) -> None:
    server.answers["/voice"] = "<Response><Say>"


def enqueueing_server(server: TwimlServer) -> None:
    response = VoiceResponse()
    response.enqueue("support")
    server.answers["/voice"] = response


def conferencing_server(server: TwimlServer) -> None:
    response = VoiceResponse()
    response.dial().conference("support")
    server.answers["/voice"] = response


@pytest.mark.parametrize(
    ("breaks", "code"),
    [
        (broken_server, 11200),
        (slow_server, 11205),
        (garbled_server, 12100),
        (enqueueing_server, 12100),
        (conferencing_server, 12100),
    ],
)
async def test_the_fallback_url_is_asked_when_the_voice_url_fails(server, breaks, code):
    breaks(server)
    server.answers["/fallback"] = recording_twiml()
    async with EmulatedTwilio(speed=100_000, read_timeout=0.7) as twilio:
        open_number(twilio, server, voice_fallback_url=f"{server.base}/fallback")
        result = await twilio.call(CALLER, OURS)
    assert result.ended_as == "voicemail"
    (told,) = server.at("/fallback")
    assert (told["ErrorCode"], told["ErrorUrl"]) == (str(code), f"{server.base}/voice")
    assert [alert.error_code for alert in twilio.alerts] == [code]
    assert twilio.alerts[0].resource_sid == result.sid


async def test_a_caller_hears_an_error_when_the_fallback_fails_too(twilio, server):
    server.answers |= {"/voice": 503, "/fallback": 503}
    open_number(twilio, server, voice_fallback_url=f"{server.base}/fallback")
    result = await twilio.call(CALLER, OURS)
    assert (result.ended_as, result.heard_error) == ("error", True)
    assert [step.status for step in result.steps] == [503, 503]
    assert [alert.error_code for alert in twilio.alerts] == [11200, 11200]


async def test_a_server_that_is_down_is_an_error(twilio):
    twilio.add_number(OURS, voice_url="http://127.0.0.1:9/voice")
    assert (await twilio.call(CALLER, OURS)).ended_as == "error"
    assert twilio.alerts[0].error_code == 11205


async def test_an_incoming_call_reports_its_end_and_more_only_if_asked(twilio, server):
    server.answers["/voice"] = dialling(ANNA)
    open_number(twilio, server, status_callback=f"{server.base}/status")
    await twilio.call(CALLER, OURS)
    await twilio.settled()
    (told,) = server.at("/status")
    expected = {"CallStatus": "completed", "SequenceNumber": "0", "Duration": "1"}
    assert expected.items() <= told.items()
    assert told["Timestamp"].endswith("+0000")
    assert 43 <= int(told["CallDuration"]) < 43 + LATENCY
    everything = ("initiated", "ringing", "answered", "completed")
    other = "+14155550198"
    twilio.add_number(
        other,
        voice_url=f"{server.base}/voice",
        status_callback=f"{server.base}/all",
        status_callback_events=everything,
    )
    await twilio.call(CALLER, other)
    await twilio.settled()
    assert [told["CallStatus"] for told in server.at("/all")] == ["initiated", "ringing", "in-progress", "completed"]


async def test_calls_at_random_moments_are_counted_and_kept(twilio, server):
    server.answers["/voice"] = dialling(ANNA, action="/done")
    server.answers["/done"] = lambda asked: (
        recording_twiml() if asked.params["DialCallStatus"] != "completed" else VoiceResponse()
    )
    open_number(twilio, server)
    twilio.set_person(ANNA, Person(answers=0.5))
    totals = await twilio.run(500, asyncio.sleep(0.3), CallMix(callers=((Caller(), 3), (Caller(patience=5), 1))))
    await twilio.settled()
    assert totals.placed == totals.ended.total() == len(twilio.results) > 20
    shares = twilio.shares()
    assert shares.calls == totals.placed
    assert shares.person > 0 < shares.voicemail
    assert shares.person + shares.voicemail + shares.hung_up == pytest.approx(1)
    assert twilio.shares(until=0).calls == 0


async def test_no_more_calls_than_allowed_are_under_way(server):
    server.answers["/voice"] = VoiceResponse()
    server.delays["/voice"] = 0.2
    async with EmulatedTwilio(speed=100_000, call_concurrency=3) as twilio:
        open_number(twilio, server)
        totals = await twilio.run(200, asyncio.sleep(0.1))
        assert totals.left_out > 0
        assert twilio.calls_under_way == totals.placed == 3
        await twilio.settled()


async def test_the_same_seed_brings_the_same_calls(server):
    server.answers["/voice"] = dialling(ANNA, BEN, timeout=10)
    ways = []
    for _ in range(2):
        async with EmulatedTwilio(speed=100_000, seed=7) as twilio:
            open_number(twilio, server)
            twilio.set_default_person(Person(answers=0.5, busy=0.2))
            results = [await twilio.call(CALLER, OURS) for _ in range(12)]
            ways.append([(result.sid, result.ended_as, result.answered_by) for result in results])
    assert ways[0] == ways[1]
    assert len({way[1] for way in ways[0]}) > 1


async def test_calls_under_way_end_with_the_emulator(server):
    server.answers["/voice"] = dialling(ANNA)
    async with EmulatedTwilio(speed=1) as twilio:
        open_number(twilio, server)
        call = asyncio.create_task(twilio.call(CALLER, OURS))
        await server.arrives("/voice")
    with pytest.raises(asyncio.CancelledError):
        await call
