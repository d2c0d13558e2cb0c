"""What is asked of Twilio's API, and what is made of its answers, over real sockets."""

import asyncio
from datetime import UTC, datetime

import pytest

from holdfast.config import Settings
from holdfast.twilio.client import TwilioClient, monitor_url
from holdfast.twilio.model import Account, TwilioApiError, TwilioError
from holdfast.twilio.reading import said_in
from tests.twilio.listening import SID, SUB, SUB_TOKEN, TOKEN, Listening

PHONE = "+14155550100"


def number(sid="PN1", phone=PHONE):
    return {"sid": sid, "phone_number": phone, "account_sid": SID, "friendly_name": "desk", "voice_url": "https://a/v"}


def client(twilio, **more):
    return TwilioClient(SID, TOKEN, twilio.url, **more)


async def test_an_account_tells_whether_it_is_active():
    body = {"sid": SID, "friendly_name": "Acme", "status": "suspended"}
    async with Listening(lambda _: (200, body)) as twilio, client(twilio) as asking:
        found = await asking.account()
    assert (found.name, found.status) == ("Acme", "suspended")
    assert (twilio.asked[0].login, twilio.asked[0].password) == (SID, TOKEN)


async def test_a_subaccount_is_asked_with_its_own_token_where_we_have_it():
    sub = Account(SUB, "sub", 1, SUB_TOKEN)
    body = {"sid": SUB, "friendly_name": "", "status": "active"}
    async with Listening(lambda _: (200, body)) as twilio:
        async with client(twilio, accounts=[sub]) as asking:
            await asking.account(SUB)
        async with client(twilio) as asking:
            await asking.account(SUB)
    assert [(asked.login, asked.password) for asked in twilio.asked] == [(SUB, SUB_TOKEN), (SID, TOKEN)]


async def test_numbers_come_page_after_page():
    def answer(asked):
        if asked.query.get("Page") == "1":
            return 200, {"incoming_phone_numbers": [number("PN2", "+14155550101")], "next_page_uri": None}
        link = f"/2010-04-01/Accounts/{SID}/IncomingPhoneNumbers.json?PageSize=200&Page=1&PageToken=PAPN1"
        return 200, {"incoming_phone_numbers": [number()], "next_page_uri": link}

    async with Listening(answer) as twilio, client(twilio) as asking:
        found = [one async for one in asking.numbers()]
    assert [(one.sid, one.phone) for one in found] == [("PN1", PHONE), ("PN2", "+14155550101")]
    assert found[0].urls["voice_url"] == "https://a/v"
    assert found[0].urls["sms_url"] == ""
    assert twilio.asked[1].query["PageToken"] == "PAPN1"


async def test_a_number_is_found_by_its_phone_and_only_by_all_of_it():
    rows = {"incoming_phone_numbers": [number("PN9", PHONE + "9"), number()]}
    async with Listening(lambda _: (200, rows)) as twilio, client(twilio) as asking:
        found = await asking.number_by_phone(PHONE)
        none = await asking.number_by_phone("+14155550199")
    assert found is not None
    assert (found.sid, none) == ("PN1", None)
    assert twilio.asked[0].query["PhoneNumber"] == PHONE


async def test_a_number_is_pointed_elsewhere_in_the_apis_words():
    async with Listening(lambda _: (200, number())) as twilio, client(twilio) as asking:
        await asking.update_number(
            "PN1", voice_url="https://b/v", sms_application_sid="", status_callback="https://b/s"
        )
        with pytest.raises(ValueError, match="a number has no voice"):
            await asking.update_number("PN1", voice="x")
    (asked,) = twilio.asked
    assert asked.path == f"/2010-04-01/Accounts/{SID}/IncomingPhoneNumbers/PN1.json"
    assert asked.form == {"VoiceUrl": "https://b/v", "SmsApplicationSid": "", "StatusCallback": "https://b/s"}


async def test_a_call_is_placed_followed_and_ended():
    body = {"sid": "CA1", "account_sid": SID, "status": "queued", "to": "+1", "from": PHONE, "duration": None}
    async with Listening(lambda _: (200, body)) as twilio, client(twilio) as asking:
        placed = await asking.place_call(
            "+1", PHONE, url="https://a/test", status_callback="https://a/done", timeout=20
        )
        await asking.call("CA1")
        await asking.end_call("CA1")
        with pytest.raises(ValueError, match="either a url or its twiml"):
            await asking.place_call("+1", PHONE)
    assert (placed.sid, placed.status, placed.from_) == ("CA1", "queued", PHONE)
    first, second, third = twilio.asked
    assert first.form["Url"] == "https://a/test"
    assert (first.form["StatusCallback"], first.form["Timeout"]) == ("https://a/done", "20")
    assert (second.method, third.form) == ("GET", {"Status": "completed"})


async def test_alerts_of_a_time_come_page_after_page_from_the_debugger():
    row = {
        "sid": "NO1",
        "account_sid": SID,
        "date_generated": "2026-05-04T12:00:00Z",
        "log_level": "error",
        "error_code": "11200",
        "alert_text": "Msg=HTTP+retrieval+failure&ErrorCode=11200",
        "resource_sid": "CA1",
        "request_url": "https://ours/hooks/twilio/voice",
    }

    def answer(asked):
        if asked.query.get("Page") == "1":
            return 200, {"alerts": [row | {"sid": "NO2"}], "meta": {"next_page_url": None}}
        link = "https://monitor.twilio.com/v1/Alerts?LogLevel=error&PageSize=200&Page=1"
        return 200, {"alerts": [row], "meta": {"next_page_url": link}}

    since = datetime(2026, 5, 4, 11, tzinfo=UTC)
    async with Listening(answer) as twilio, client(twilio) as asking:
        found = [one async for one in asking.alerts(since, since.replace(hour=13), "error")]
    assert [one.sid for one in found] == ["NO1", "NO2"]
    assert (found[0].code, found[0].said) == (11200, "HTTP retrieval failure")
    assert found[0].at == datetime(2026, 5, 4, 12, tzinfo=UTC)
    assert twilio.asked[0].query["StartDate"] == "2026-05-04T11:00:00Z"
    assert twilio.asked[0].query["LogLevel"] == "error"


def refusing(*statuses, headers=None):
    left = list(statuses)

    def answer(_asked):
        status = left.pop(0) if left else 200
        body = {"sid": SID, "status": "active", "to": "+1", "from": PHONE}
        refusal = {"code": 20429 if status == 429 else 20500, "message": "not now", "status": status}
        return status, body if status == 200 else refusal, headers or {}

    return answer


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_passes_is_tried_again_after_the_time_that_twilio_names(status):
    async with Listening(refusing(status, status, headers={"Retry-After": "0"})) as twilio, client(twilio) as asking:
        assert (await asking.account()).status == "active"
    assert len(twilio.asked) == 3


async def test_tries_end_with_twilios_own_words():
    answer = refusing(*[503] * 9, headers={"Retry-After": "0"})
    async with Listening(answer) as twilio, client(twilio, tries=3) as asking:
        with pytest.raises(TwilioApiError, match=r"503 \(20500\): not now") as raised:
            await asking.account()
    assert (raised.value.status, raised.value.code, raised.value.retry) == (503, 20500, True)
    assert len(twilio.asked) == 3


async def test_who_is_told_to_wait_for_long_is_told_so_at_once():
    async with Listening(refusing(429, headers={"Retry-After": "3600"})) as twilio, client(twilio) as asking:
        with pytest.raises(TwilioApiError) as raised:
            await asking.account()
    assert (raised.value.status, len(twilio.asked)) == (429, 1)


async def test_a_call_is_never_placed_twice_for_a_lost_answer():
    async with Listening(refusing(500, headers={"Retry-After": "0"})) as twilio, client(twilio) as asking:
        with pytest.raises(TwilioApiError):
            await asking.place_call("+1", PHONE, twiml="<Response/>")
    assert len(twilio.asked) == 1
    async with Listening(refusing(429, headers={"Retry-After": "0"})) as twilio, client(twilio) as asking:
        await asking.place_call("+1", PHONE, twiml="<Response/>")
    assert len(twilio.asked) == 2


async def test_a_token_that_is_not_accepted_is_said_to_be_and_not_told():
    body = {"code": 20003, "message": "Authenticate", "status": 401}
    async with Listening(lambda _: (401, body)) as twilio, client(twilio) as asking:
        with pytest.raises(TwilioApiError, match="does not accept the account's token") as raised:
            await asking.account()
    assert (raised.value.status, raised.value.code, raised.value.retry) == (401, 20003, False)
    assert TOKEN not in str(raised.value)
    assert len(twilio.asked) == 1


async def test_a_twilio_that_hangs_or_is_gone_is_told_within_its_time():
    async def hang(reader, writer):
        await reader.read()  # until who asks hangs up
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for url, said in ((f"http://127.0.0.1:{port}", "did not answer"), ("http://127.0.0.1:9", "cannot be reached")):
            async with TwilioClient(SID, TOKEN, url, timeout=0.2, tries=1) as asking:
                with pytest.raises(TwilioApiError, match=said) as raised:
                    await asking.account()
            assert (raised.value.status, raised.value.retry) == (None, True)
        await asyncio.sleep(0.05)


def test_the_debugger_is_beside_twilios_api_and_elsewhere_at_the_same_address():
    assert monitor_url("https://api.twilio.com") == "https://monitor.twilio.com"
    assert monitor_url("https://api.dublin.ie1.twilio.com") == "https://monitor.dublin.ie1.twilio.com"
    assert monitor_url("http://127.0.0.1:9000") == "http://127.0.0.1:9000"


def test_of_an_alerts_text_the_message_is_told():
    assert said_in("Msg=Bad+TwiML&sourceComponent=1") == "Bad TwiML"
    assert said_in("a plain sentence") == "a plain sentence"
    assert said_in("a=b without message") == "a=b without message"


def test_without_credentials_it_is_said_which_settings_are_wanted():
    with pytest.raises(TwilioError, match="HOLDFAST_TWILIO_ACCOUNT_SID and HOLDFAST_TWILIO_AUTH_TOKEN"):
        TwilioClient.of(Settings())
