"""Texts on the emulated Twilio: sent with callbacks, received with webhooks, stopped by whoever says stop."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped, unused-ignore]
from twilio.twiml.messaging_response import MessagingResponse  # type: ignore[import-untyped, unused-ignore]

from holdfast.drills.twilio import EmulatedTwilio
from holdfast.drills.twilio_faults import Rule, TwilioFaults
from tests.drills.twilio_sdk import async_sdk

OURS, OTHER, ANNA = "+14155550199", "+14155550198", "+14155550101"


@pytest.fixture
async def client(twilio: EmulatedTwilio) -> AsyncIterator[Any]:
    async with async_sdk(twilio) as opened:
        yield opened


async def refused_code(request: Any) -> int:
    with pytest.raises(TwilioRestException) as refused:
        await request
    code: int = refused.value.code
    return code


async def test_a_message_is_queued_sent_and_delivered(twilio, client, server):
    twilio.add_number(OURS)
    created = await client.messages.create_async(
        to=ANNA, from_=OURS, body="Hi", status_callback=f"{server.base}/status"
    )
    assert (created.status, created.direction) == ("queued", "outbound-api")
    await twilio.settled()
    assert [told["MessageStatus"] for told in server.at("/status")] == ["queued", "sent", "delivered"]
    assert all(asked.is_signed() for asked in server.asked)
    assert {told["MessageSid"] for told in server.at("/status")} == {created.sid}
    found = await client.messages(created.sid).fetch_async()
    assert (found.status, found.body, found.error_code) == ("delivered", "Hi", None)


async def test_a_message_may_be_undelivered_for_a_reason(twilio, client, server):
    twilio.add_number(OURS)
    twilio.faults = TwilioFaults.of(Rule("message_fails", error_code=30007, target=ANNA))
    created = await client.messages.create_async(
        to=ANNA, from_=OURS, body="Hi", status_callback=f"{server.base}/status"
    )
    fine = await client.messages.create_async(to="+14155550102", from_=OURS, body="Hi")
    await twilio.settled()
    last = server.at("/status")[-1]
    assert (last["MessageStatus"], last["ErrorCode"]) == ("undelivered", "30007")
    assert (await client.messages(created.sid).fetch_async()).error_code == 30007
    assert (await client.messages(fine.sid).fetch_async()).status == "delivered"
    assert [alert.error_code for alert in twilio.alerts] == [30007]


@pytest.mark.parametrize(
    ("wrong", "code"), [({"to": "12"}, 21211), ({"from_": ANNA}, 21606), ({"from_": ""}, 21603), ({"body": ""}, 21602)]
)
async def test_a_message_that_cannot_be_sent_is_refused(twilio, client, wrong, code):
    twilio.add_number(OURS)
    assert (
        await refused_code(client.messages.create_async(**({"to": ANNA, "from_": OURS, "body": "Hi"} | wrong))) == code
    )


async def test_messages_are_listed_by_ends_and_dates(twilio, client):
    twilio.add_number(OURS)
    sids = [(await client.messages.create_async(to=ANNA, from_=OURS, body=str(place))).sid for place in range(5)]
    await twilio.settled()
    assert [found.sid for found in await client.messages.list_async(page_size=2)] == sids[::-1]
    now = datetime.now(UTC)
    assert len(await client.messages.list_async(to=ANNA, date_sent_after=now - timedelta(minutes=1))) == 5
    assert await client.messages.list_async(date_sent_before=now - timedelta(minutes=1)) == []
    assert len(await client.messages.list_async(date_sent=now.date())) == 5
    assert await client.messages.list_async(from_=OTHER) == []


async def test_a_text_is_told_to_the_numbers_sms_url_and_answered(twilio, server):
    reply = MessagingResponse()
    reply.message("We are open until six.")
    server.answers["/sms"] = reply
    twilio.add_number(OURS, sms_url=f"{server.base}/sms")
    result = await twilio.text(ANNA, OURS, "When do you close?", media=["https://example.com/a.jpg"])
    await twilio.settled()
    (asked,) = server.asked
    assert asked.is_signed()
    expected = {"From": ANNA, "To": OURS, "Body": "When do you close?", "NumMedia": "1", "MessageSid": result.sid}
    assert expected.items() <= asked.params.items()
    assert "OptOutType" not in asked.params
    sent = twilio.messages[0]
    assert (sent.sid, sent.to, sent.body) == (result.replies[0], ANNA, "We are open until six.")
    assert (sent.direction, sent.status) == ("outbound-reply", "delivered")


async def test_a_text_may_be_answered_with_nothing(twilio, server):
    twilio.add_number(OURS, sms_url=f"{server.base}/sms")
    result = await twilio.text(ANNA, OURS, "Hi")
    assert (result.status, result.error, result.replies) == (204, None, ())


async def test_the_fallback_url_is_asked_when_the_sms_url_fails(twilio, server):
    server.answers |= {"/sms": 503, "/fallback": MessagingResponse()}
    twilio.add_number(OURS, sms_url=f"{server.base}/sms", sms_fallback_url=f"{server.base}/fallback")
    result = await twilio.text(ANNA, OURS, "STOP")
    (told,) = server.at("/fallback")
    assert (told["ErrorCode"], told["ErrorUrl"]) == ("11200", f"{server.base}/sms")
    assert (result.status, result.error) == (200, None)
    assert twilio.alerts[0].error_code == 11200


async def test_stop_blocks_this_number_only_and_start_ends_it(twilio, client, server):
    twilio.add_number(OURS, sms_url=f"{server.base}/sms")
    twilio.add_number(OTHER)
    assert (await twilio.text(ANNA, OURS, " Stop ")).opt_out == "STOP"
    assert twilio.blocks(OURS, ANNA)
    assert await refused_code(client.messages.create_async(to=ANNA, from_=OURS, body="Hi")) == 21610
    assert (await client.messages.create_async(to=ANNA, from_=OTHER, body="Hi")).status == "queued"
    await twilio.text(ANNA, OURS, "START")
    assert (await client.messages.create_async(to=ANNA, from_=OURS, body="Hi")).status == "queued"
    await twilio.settled()


async def test_stop_within_a_sentence_is_not_twilios_to_understand(twilio, server):
    twilio.add_number(OURS, sms_url=f"{server.base}/sms")
    assert (await twilio.text(ANNA, OURS, "please stop texting me")).opt_out is None
    assert not twilio.blocks(OURS, ANNA)


@pytest.mark.parametrize(("word", "kind"), [("REVOKE", "STOP"), ("unstop", "START"), ("info", "HELP")])
async def test_with_advanced_opt_out_the_webhook_is_told_what_a_word_means(twilio, server, word, kind):
    twilio.add_number(OURS, sms_url=f"{server.base}/sms", advanced_opt_out=True)
    await twilio.text(ANNA, OURS, word)
    assert server.at("/sms")[0]["OptOutType"] == kind


async def test_a_reply_to_somebody_who_said_stop_is_an_alert(twilio, server):
    reply = MessagingResponse()
    reply.message("You are unsubscribed.")
    server.answers["/sms"] = reply
    twilio.add_number(OURS, sms_url=f"{server.base}/sms")
    assert (await twilio.text(ANNA, OURS, "STOP")).replies == ()
    assert [alert.error_code for alert in twilio.alerts] == [21610]


async def test_a_text_is_lost_in_an_outage_of_its_region(twilio, server):
    twilio.add_number(OURS, sms_url=f"{server.base}/sms")
    twilio.faults = TwilioFaults.outage(region="US", product="sms")
    assert (await twilio.text(ANNA, OURS, "Hi")).sid == ""
    assert server.asked == []
