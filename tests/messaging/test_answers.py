"""What Twilio's answers to a text say: it has it, will never take it, did not get it, or nobody knows."""

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from aiohttp import web

from holdfast.levers.service import Levers
from holdfast.messaging.answers import attempt, is_like, may_be, verdict, why
from holdfast.messaging.sender import TextSender
from holdfast.messaging.sending_store import Text
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import TwilioApiError, TwilioText
from tests.messaging.texts import ANN, BAKERY, BOB, NOON, ask, grant, town

TEXT = Text(1, 1, 1, "text", "informational", ANN, BAKERY, None, "Your bread is ready.", "sending", 1, NOON, 9.0, 0.0)
FOUND = TwilioText(
    "SM1", "AC1", ANN, BAKERY, "Your bread is ready.", "sent", "outbound-api", None, NOON, NOON, service=None
)


def error(status: int | None = None, code: int | None = None, *, never_sent: bool = False) -> TwilioApiError:
    made = TwilioApiError("no", status=status, code=code)
    made.never_sent = never_sent
    return made


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (error(never_sent=True), "again"),
        (error(429, 20429), "again"),
        (error(429), "again"),
        (error(400, 30001), "again"),
        (error(401, 20003), "again"),
        (error(403, 20005), "again"),
        (error(400, 30002), "again"),
        (error(400, 21610), "failed"),
        (error(400, 21211), "failed"),
        (error(400), "failed"),
        (error(404, 20404), "failed"),
        (error(), "uncertain"),
        (error(500, 20500), "uncertain"),
        (error(503), "uncertain"),
        (error(408), "uncertain"),
        (error(302), "uncertain"),
        (error(201), "uncertain"),
    ],
)
def test_an_answer_is_a_refusal_a_delay_or_a_doubt(said, expected):
    assert verdict(said) == expected


def test_what_says_that_twilio_is_down_or_too_busy_slows_the_account():
    assert attempt(error(429), 0.1).congested
    assert attempt(error(), 0.1).down
    assert attempt(error(503), 0.1).down
    refusal = attempt(error(400, 21610), 0.1)
    assert (refusal.down, refusal.congested) == (False, False)


def test_why_it_failed_does_not_say_whose_number_it_is():
    assert why(TwilioApiError(f"Invalid 'To' Phone Number: {ANN}"), TEXT) == "Invalid 'To' Phone Number: the number"


@pytest.mark.parametrize(
    ("found", "text", "is_one"),
    [
        (FOUND, TEXT, True),
        (replace(FOUND, body="Your  bread is ready. \n"), TEXT, True),
        (replace(FOUND, body="Sent from your Twilio trial account - Your bread is ready."), TEXT, True),
        (replace(FOUND, from_="", service="MG1"), replace(TEXT, from_="MG1"), True),
        (
            replace(FOUND, body='Ann\'s "bread" - ready...'),
            replace(TEXT, body="Ann\u2019s \u201cbread\u201d\u00a0\u2013 ready\u2026"),
            True,
        ),
        (replace(FOUND, direction="inbound"), TEXT, False),
        (replace(FOUND, from_=BOB), TEXT, False),
        (replace(FOUND, body="Your bread is ready"), TEXT, False),
    ],
)
def test_a_text_at_twilio_is_this_one_by_sender_and_words(found, text, is_one):
    assert is_like(found, text) is is_one


@pytest.mark.parametrize(
    ("found", "is_possible"),
    [
        (replace(FOUND, body="Other words."), True),
        (replace(FOUND, body="Other words.", created_at=NOON + timedelta(minutes=2)), True),
        (replace(FOUND, created_at=NOON - timedelta(seconds=11)), False),
        (replace(FOUND, created_at=NOON + timedelta(seconds=121)), False),
        (replace(FOUND, from_=BOB), False),
        (replace(FOUND, direction="inbound"), False),
    ],
)
def test_what_twilio_made_when_a_text_was_tried_may_be_it_in_other_words(found, is_possible):
    assert may_be(found, TEXT) is is_possible


@pytest.fixture
async def busy():
    """A Twilio that always says to come back in two minutes; its address, and the requests that it got."""
    asked: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response(
            {"code": 20429, "message": "Too Many Requests"}, status=429, headers={"Retry-After": "120"}
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}", asked
    await runner.cleanup()


async def test_twilio_is_left_alone_for_as_long_as_it_asks(pool, busy):
    url, asked = busy
    merchant = (await town(pool)).bakery
    for phone in (ANN, BOB):
        await grant(pool, merchant, phone)
    await ask(pool, merchant, ANN)
    async with TwilioClient("AC" + "1" * 32, "t" * 32, url, tries=1) as client:
        sender = TextSender(
            pool, client, "http://127.0.0.1:9", levers=Levers(routers=0, deliveries=0), rng=Random(1), clock=lambda: 0.0
        )
        await sender.tick(NOON)
        await sender.drain(5.0)
        assert await pool.fetchval("SELECT due_at > now() + interval '110 seconds' FROM work")
        assert await pool.fetchval("SELECT state FROM message") == "queued"
        await ask(pool, merchant, BOB, body="Another.")
        await sender.tick(NOON + timedelta(seconds=1))
        await sender.drain(5.0)
    assert len(asked) == 1, "the account is not asked for another person either"
    assert await pool.fetchval("SELECT tries FROM message ORDER BY id DESC LIMIT 1") == 0
