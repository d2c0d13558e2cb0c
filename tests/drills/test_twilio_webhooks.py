"""Webhooks of the emulated Twilio: signed as the SDK expects, retried if their address asks, unreliable on request."""

import asyncio
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped, unused-ignore]
from twilio.twiml.voice_response import VoiceResponse  # type: ignore[import-untyped, unused-ignore]

from holdfast.drills.twilio import DEFAULT_AUTH_TOKEN, EmulatedTwilio
from holdfast.drills.twilio_faults import Rule, TwilioFaults
from holdfast.drills.twilio_webhooks import Overrides, sign, split_overrides
from tests.drills.twiml_server import TwimlServer

OURS, CALLER, ANNA = "+14155550199", "+14155551234", "+14155550101"
SUBACCOUNT, SUBTOKEN = "AC" + "5" * 32, "sub-token"
EVERYTHING = ("initiated", "ringing", "answered", "completed")
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1)


def watched(twilio: EmulatedTwilio, server: TwimlServer, answer: VoiceResponse | int | None = None, **more) -> None:
    server.answers["/voice"] = VoiceResponse() if answer is None else answer
    status = {"status_callback": f"{server.base}/status", "status_callback_events": EVERYTHING}
    twilio.add_number(OURS, **({"voice_url": f"{server.base}/voice"} | status | more))


@given(
    params=st.dictionaries(names, st.text()), secret=st.text(), algorithm=st.sampled_from(["HMAC_SHA1", "HMAC_SHA256"])
)
def test_the_sdk_computes_the_same_signature(params, secret, algorithm):
    url = "https://hooks.example.com/twilio/voice?merchant=7"
    assert sign(url, params, secret, algorithm) == RequestValidator(secret).compute_signature(url, params, algorithm)


async def test_the_sdk_accepts_every_webhook_of_a_call(twilio, server):
    response = VoiceResponse()
    response.say("Leave a message")
    response.record(action="/left?from=here", recording_status_callback="/recorded", transcribe_callback="/transcribed")
    watched(twilio, server, response)
    await twilio.call(CALLER, OURS)
    await twilio.settled()
    assert {asked.path for asked in server.asked} == {"/voice", "/status", "/left", "/recorded", "/transcribed"}
    assert all(asked.is_signed() for asked in server.asked)
    assert len({asked.headers["I-Twilio-Idempotency-Token"] for asked in server.asked}) == len(server.asked)


async def test_a_subaccounts_webhooks_are_signed_with_its_own_token(twilio, server):
    twilio.add_subaccount(SUBACCOUNT, SUBTOKEN)
    watched(twilio, server, account=SUBACCOUNT)
    await twilio.call(CALLER, OURS)
    (first, *_) = server.asked
    assert first.params["AccountSid"] == SUBACCOUNT
    assert first.is_signed(SUBTOKEN)
    assert not first.is_signed(DEFAULT_AUTH_TOKEN)


async def test_a_shared_key_signs_with_sha256_and_says_so(twilio, server):
    twilio.use_shared_key("webhooks_sharedkey_1", "shared-secret")
    watched(twilio, server)
    await twilio.call(CALLER, OURS)
    await twilio.settled()
    for asked in server.asked:
        settings = asked.headers["X-Twilio-Webhooks-Signature-Settings"]
        assert settings == "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"
        assert asked.is_signed("shared-secret", "HMAC_SHA256")
        assert not asked.is_signed(DEFAULT_AUTH_TOKEN)


@pytest.mark.parametrize("path", ["/json", "/json?a=1"])
async def test_a_json_body_is_covered_by_its_hash_in_the_address(twilio, server, path):
    answer = await twilio.post_json(f"{server.base}{path}", json.dumps({"id": 1}).encode())
    assert answer.status == 204
    (asked,) = server.asked
    signature = asked.headers["X-Twilio-Signature"]
    assert RequestValidator(DEFAULT_AUTH_TOKEN).validate(asked.url, asked.body, signature)
    assert not RequestValidator(DEFAULT_AUTH_TOKEN).validate(asked.url, asked.body + " ", signature)


def test_a_fragment_overrides_how_a_webhook_is_asked():
    default = Overrides()
    assert split_overrides("https://a.example/x?y=1", default) == ("https://a.example/x?y=1", default)
    url, overrides = split_overrides("https://a.example/x#rc=2&rp=5xx,ct,rt&ct=2000&rt=5000", default)
    assert (url, overrides) == ("https://a.example/x", Overrides(2, frozenset({"5xx", "ct", "rt"}), 2.0, 5.0))
    assert split_overrides("https://a.example/x#rc=99&ct=1&rt=soon", default)[1] == Overrides(5, connect=0.1)


async def test_a_webhook_is_retried_with_the_same_token_if_its_address_asks_for_it(twilio, server):
    watched(twilio, server, voice_url=f"{server.base}/flaky#rc=2&rp=5xx")
    answers = iter([500, 502])
    server.answers["/flaky"] = lambda _asked: next(answers, VoiceResponse())
    result = await twilio.call(CALLER, OURS)
    assert result.ended_as == "announcement"
    tries = server.by_path()["/flaky"]
    assert len(tries) == 3
    assert len({asked.headers["I-Twilio-Idempotency-Token"] for asked in tries}) == 1
    assert twilio.alerts == ()


async def test_a_read_timeout_is_shortened_and_retried_only_if_asked(twilio, server):
    server.delays["/slow"] = 0.5
    server.answers["/slow"] = VoiceResponse()
    watched(twilio, server, voice_url=f"{server.base}/slow#rt=100&rp=rt&rc=1")
    assert (await twilio.call(CALLER, OURS)).ended_as == "error"
    assert len(server.by_path()["/slow"]) == 2
    assert [alert.error_code for alert in twilio.alerts] == [11205]


async def test_without_overrides_an_error_is_not_retried(twilio, server):
    watched(twilio, server, 500)
    await twilio.call(CALLER, OURS)
    assert len(server.by_path()["/voice"]) == 1


async def test_callbacks_of_a_call_come_in_order_and_a_failing_one_is_a_warning(twilio, server):
    watched(twilio, server)
    server.answers["/status"] = 500
    result = await twilio.call(CALLER, OURS)
    await twilio.settled()
    assert [told["SequenceNumber"] for told in server.at("/status")] == ["0", "1", "2"]
    assert {(alert.error_code, alert.level) for alert in twilio.alerts} == {(15003, "warning")}
    assert {alert.resource_sid for alert in twilio.alerts} == {result.sid}


async def test_callbacks_are_duplicated(twilio, server):
    watched(twilio, server)
    twilio.faults = TwilioFaults.of(Rule("callback_duplicated"))
    await twilio.call(CALLER, OURS)
    await twilio.settled()
    assert set(Counter(told["SequenceNumber"] for told in server.at("/status")).values()) == {2}


async def test_callbacks_overtake_each_other(twilio, server):
    watched(twilio, server)
    twilio.faults = TwilioFaults.of(Rule("callback_reordered", seconds=0.2))
    for _ in range(5):
        await twilio.call(CALLER, OURS)
    await twilio.settled()
    numbers: dict[str, list[str]] = {}
    for told in server.at("/status"):
        numbers.setdefault(told["CallSid"], []).append(told["SequenceNumber"])
    assert any(order != sorted(order) for order in numbers.values())


async def test_callbacks_are_lost_late_or_malformed_for_the_numbers_concerned(twilio, server):
    watched(twilio, server)
    other = "+442079460000"
    twilio.add_number(other, voice_url=f"{server.base}/voice", status_callback=f"{server.base}/other")
    twilio.faults = TwilioFaults.of(
        Rule("callback_lost", number=OURS), Rule("callback_malformed", region="GB"), Rule("callback_late", seconds=0.1)
    )
    began = asyncio.get_running_loop().time()
    await twilio.call(CALLER, OURS)
    await twilio.call(CALLER, other)
    await twilio.settled()
    assert asyncio.get_running_loop().time() - began >= 0.1
    assert server.at("/status") == []
    (told,) = server.by_path()["/other"]
    assert "CallSid" not in told.params
    assert told.is_signed()


async def test_alerts_are_told_to_the_debugger_webhook(twilio, server):
    twilio.set_debugger_url(f"{server.base}/debugger")
    watched(twilio, server, 500)
    result = await twilio.call(CALLER, OURS)
    await twilio.settled()
    (asked,) = server.by_path()["/debugger"]
    assert asked.is_signed()
    fields = {"Sid", "AccountSid", "ParentAccountSid", "Timestamp", "Level", "PayloadType", "Payload"}
    assert set(asked.params) == fields
    assert (asked.params["Level"], asked.params["PayloadType"]) == ("ERROR", "application/json")
    payload = json.loads(asked.params["Payload"])
    assert (payload["resource_sid"], payload["error_code"]) == (result.sid, "11200")
    assert payload["webhook"]["request"]["parameters"]["CallSid"] == result.sid
    assert payload["webhook"]["response"]["status_code"] == 500


async def test_a_debugger_webhook_that_fails_is_not_reported_to_itself(twilio, server):
    twilio.set_debugger_url(f"{server.base}/debugger")
    server.answers["/debugger"] = 500
    twilio.raise_alert(11200)
    await twilio.settled()
    assert len(twilio.alerts) == len(server.asked) == 1
