"""Deliveries by e-mail, to a real SMTP server on loopback."""

import asyncio
import email
import email.policy
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import AuthResult

from holdfast.delivery.mail import MailSender, MailSettingsError
from holdfast.delivery.mail_content import describe
from holdfast.delivery.model import Outcome
from holdfast.delivery.voicemail import VoicemailNews, write_voicemail
from holdfast.money import money
from tests.delivery.deliveries import PAYMENT, destination, event, message, now
from tests.delivery.receivers import speaking

FROM = "Holdfast <pay@holdfast.example>"


class Post:
    """An SMTP server's mailbox; `answers` are its next words to a mail."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.sessions: set[int] = set()
        self.answers: list[str] = []
        self.sender_answer = "250 OK"
        self.recipient_answer = "250 OK"
        self.port = 0

    async def handle_MAIL(self, _server, _session, envelope, address, options):
        if self.sender_answer.startswith("250"):
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return self.sender_answer

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if self.recipient_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient_answer

    async def handle_DATA(self, _server, session, envelope):
        self.sessions.add(session.peer[1])
        answer = self.answers.pop(0) if self.answers else "250 queued as 1"
        if answer.startswith("250"):
            self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return answer

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?starttls=0"


def controller(post: Post, **options) -> UnthreadedController:
    return UnthreadedController(post, "127.0.0.1", 0, loop=asyncio.get_running_loop(), **options)


@asynccontextmanager
async def serving(made: UnthreadedController) -> AsyncIterator[int]:
    """Gives the port. (The controller's own `begin` would run the loop, which runs already.)"""
    server: Any = await made._create_server()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    opened = Post()
    async with serving(controller(opened)) as opened.port:
        yield opened


@pytest.fixture
async def sender(post) -> AsyncIterator[MailSender]:
    async with MailSender(post.url, FROM) as opened:
        yield opened


def to(address: str = "owner@bakery.example", **changes):
    return destination(address, **{"kind": "email", **changes})


async def test_a_payment_is_told_in_text_and_html(sender, post):
    attempt = await sender.send(to(), message(), now())
    assert (attempt.outcome, attempt.status, attempt.error) == (Outcome.DELIVERED, 250, None)
    mail = post.mails[0]
    assert mail["subject"] == "Payment succeeded: 10.99 USD"
    assert mail["from"] == FROM
    assert mail["to"] == "owner@bakery.example"
    text = mail.get_body(("plain",)).get_content()
    html = mail.get_body(("html",)).get_content()
    for part in ("bakery", "10.99 USD", "pi_1", "Succeeded", "2026-03-04 05:06:07 UTC", "evt_1"):
        assert part in text
        assert part in html


async def test_every_attempt_has_the_same_message_id(sender, post):
    await sender.send(to(), message(), now())
    await sender.send(to(), message(attempt=2), now())
    await sender.send(to(), message(webhook_id="msg_12"), now())
    first, second, other = (mail["message-id"] for mail in post.mails)
    assert first == second == "<msg_11@holdfast.example>"
    assert other != first


async def test_one_connection_carries_many_mails(sender, post):
    for _ in range(5):
        await sender.send(to(), message(), now())
    assert len(post.sessions) == 1


async def test_mails_sent_at_once_share_a_few_connections(sender, post):
    attempts = await asyncio.gather(*(sender.send(to(), message(), now()) for _ in range(20)))
    assert {attempt.outcome for attempt in attempts} == {Outcome.DELIVERED}
    assert len(post.mails) == 20
    assert len(post.sessions) <= 4


async def test_a_temporary_answer_is_worth_a_retry_and_the_connection_stays(sender, post):
    post.answers = ["451 try later"]
    attempt = await sender.send(to(), message(), now())
    assert (attempt.outcome, attempt.status, attempt.down) == (Outcome.RETRY, 451, False)
    assert "451" in (attempt.error or "")
    assert (await sender.send(to(), message(), now())).outcome is Outcome.DELIVERED
    assert len(post.sessions) == 1


async def test_a_permanent_answer_is_final(sender, post):
    post.answers = ["554 no"]
    assert (await sender.send(to(), message(), now())).outcome is Outcome.REJECTED
    post.recipient_answer = "550 no such mailbox"
    attempt = await sender.send(to(), message(), now())
    assert (attempt.outcome, attempt.status) == (Outcome.REJECTED, 550)
    assert "no such mailbox" in (attempt.error or "")


@pytest.mark.parametrize("answer", ["530 Authentication required", "553 sender not allowed", "550 not yours"])
async def test_a_refused_sender_is_our_mistake_not_the_mails(sender, post, answer):
    post.sender_answer = answer
    attempt = await sender.send(to(), message(), now())
    assert (attempt.outcome, attempt.status, attempt.down) == (Outcome.RETRY, int(answer[:3]), True)
    assert "HOLDFAST_MAIL_FROM" in (attempt.error or "")
    post.sender_answer = "250 OK"
    assert (await sender.send(to(), message(), now())).outcome is Outcome.DELIVERED


async def test_wherever_it_asks_for_a_log_in_first_the_mail_is_tried_again(sender, post):
    post.recipient_answer = "530 Must issue a STARTTLS command first"
    assert (await sender.send(to(), message(), now())).outcome is Outcome.RETRY
    post.recipient_answer, post.answers = "250 OK", ["535 log in first"]
    assert (await sender.send(to(), message(), now())).outcome is Outcome.RETRY


async def test_a_mail_that_is_too_large_is_the_mails_fault(sender, post):
    post.sender_answer = "552 too large"
    assert (await sender.send(to(), message(), now())).outcome is Outcome.REJECTED


async def test_a_stale_connection_is_replaced_at_once(post):
    async with MailSender(post.url, FROM) as sender:
        await sender.send(to(), message(), now())
        connection = sender._idle[0][1]
        assert isinstance(connection.transport, asyncio.Transport)
        connection.transport.abort()
        assert (await sender.send(to(), message(), now())).outcome is Outcome.DELIVERED
    assert len(post.sessions) == 2


async def test_no_mail_server_is_worth_a_retry():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        async with MailSender(f"smtp://127.0.0.1:{free.getsockname()[1]}", FROM) as sender:
            attempt = await sender.send(to(), message(), now())
    assert (attempt.outcome, attempt.down) == (Outcome.RETRY, True)
    assert attempt.error == "the mail server cannot be reached"


async def test_a_silent_mail_server_times_out():
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with speaking(silent) as port, MailSender(f"smtp://127.0.0.1:{port}", FROM) as sender:
        attempt = await sender.send(to(timeout=0.1), message(), now())
    assert (attempt.outcome, attempt.congested) == (Outcome.RETRY, True)
    assert attempt.error == "the mail server timed out after 0.1 s"


async def test_it_logs_in_and_a_refused_log_in_is_our_mistake_not_the_mails(post):
    def authenticator(_server, _session, _envelope, _mechanism, data):
        return AuthResult(success=data.login == b"holdfast" and data.password == b"p@ss", handled=False)

    server = controller(post, authenticator=authenticator, auth_require_tls=False)
    async with serving(server) as port:
        async with MailSender(f"smtp://holdfast:p%40ss@127.0.0.1:{port}?starttls=0", FROM) as sender:
            assert (await sender.send(to(), message(), now())).outcome is Outcome.DELIVERED
        async with MailSender(f"smtp://holdfast:wrong@127.0.0.1:{port}?starttls=0", FROM) as sender:
            attempt = await sender.send(to(), message(), now())
    assert (attempt.outcome, attempt.status, attempt.down) == (Outcome.RETRY, 535, True)
    assert "wrong" not in (attempt.error or "")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nobody",
        "a@example.com, b@example.com",
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com\nBcc: b@example.com",
        "<a@example.com> b@example.com",
        "Name <a@example.com>",
        "@",
    ],
)
async def test_what_is_not_one_address_is_refused(sender, post, address):
    attempt = await sender.send(to(address), message(), now())
    assert (attempt.outcome, post.mails) == (Outcome.REFUSED, [])


async def test_values_from_outside_cannot_add_headers_or_markup(sender, post):
    evil = "x\r\nBcc: victim@example.com\r\n\r\n<script>alert(1)</script>"
    about = PAYMENT | {"id": evil, "status": evil}
    changed = message(body=event("x", about), event_type=evil, event_id=evil, merchant=evil, webhook_id=evil)
    assert (await sender.send(to(), changed, now())).outcome is Outcome.DELIVERED
    mail = post.mails[0]
    assert mail["bcc"] is None
    assert "<script>" not in mail.get_body(("html",)).get_content()


async def test_test_mode_is_marked(sender, post):
    await sender.send(to(), message(livemode=False), now())
    assert post.mails[0]["subject"].startswith("[test] ")
    assert "no money moved" in post.mails[0].get_body(("plain",)).get_content()


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1099, "usd", "10.99 USD"),
        (5, "eur", "0.05 EUR"),
        (-250, "gbp", "-2.50 GBP"),
        (500, "jpy", "500 JPY"),
        (1234567, "krw", "1,234,567 KRW"),
        (5120, "kwd", "5.120 KWD"),
        (500, "isk", "5.00 ISK"),
        (0, "usd", "0.00 USD"),
    ],
)
def test_amounts_have_their_currencys_decimals(amount, currency, text):
    assert money(amount, currency) == text


def test_an_unknown_type_gets_a_sensible_text():
    notice = describe(message("treasury.flow.opened", event("treasury.flow.opened", {"id": "tf_1", "object": "tf"})))
    assert notice.title == "Event: treasury.flow.opened"
    assert notice.amount is None
    assert ("Tf", "tf_1") in notice.rows


def test_a_complaint_has_a_title_and_says_whose_number_it_is():
    about = {"id": "7", "object": "complaint", "phone": "+14155550111", "status": "suppressed"}
    notice = describe(message("complaint.filed", event("complaint.filed", about)))
    assert notice.title == "Complaint about texts"
    assert {("Number", "+14155550111"), ("Status", "Suppressed"), ("Complaint", "7")} <= set(notice.rows)


def test_a_failure_says_why():
    about = PAYMENT | {
        "status": "requires_payment_method",
        "last_payment_error": {"message": "Your card was declined."},
    }
    notice = describe(message("payment_intent.payment_failed", event("x", about)))
    assert ("Reason", "Your card was declined.") in notice.rows
    assert ("Status", "Requires payment method") in notice.rows


def test_the_amount_is_the_one_that_the_event_is_about():
    charge = {"object": "charge", "id": "ch_1", "amount": 1000, "amount_refunded": 400, "currency": "usd"}
    assert describe(message("charge.refunded", event("x", charge))).amount == "4.00 USD"
    invoice = {"object": "invoice", "id": "in_1", "amount_due": 700, "amount_paid": 0, "currency": "usd"}
    assert describe(message("invoice.payment_failed", event("x", invoice))).amount == "7.00 USD"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b'{"data": 1}', json.dumps({"data": {"object": {"amount": True, "currency": 3}}}).encode()],
)
def test_any_body_makes_a_text(body):
    assert describe(message(body=body)).title == "Payment succeeded"


@pytest.mark.parametrize(
    ("url", "sender_address"),
    [
        ("http://mail.example", FROM),
        ("smtp://", FROM),
        ("smtp://u:hunter2@mail.example:port", FROM),
        ("smtp://mail.example?starttls=maybe", FROM),
        ("smtp://mail.example", "nobody"),
        ("smtp://mail.example", "a@example.com\r\nBcc: b@example.com"),
    ],
)
def test_unusable_settings_are_said_so_without_the_password(url, sender_address):
    with pytest.raises(MailSettingsError) as refused:
        MailSender(url, sender_address)
    assert "hunter2" not in str(refused.value)


VOICEMAIL = VoicemailNews(
    id="RE1",
    call="CA1",
    from_="+12125550111",
    to="+14155550100",
    merchant="bakery",
    merchant_name="The Bakery",
    duration=72,
    recording_url="https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1",
    transcription="Two loaves,\nplease <now>.",
    received_at=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
    time_zone="America/Los_Angeles",
)


@pytest.mark.parametrize(
    ("kind", "why"), [("contact", "+14155550100 takes messages for you"), ("email", "subscribes to voicemail.received")]
)
async def test_a_voicemail_says_who_called_when_how_long_and_where_it_is(sender, post, kind, why):
    body = write_voicemail("voicemail.received", VOICEMAIL)
    await sender.send(to(kind=kind), message("voicemail.received", body), now())
    mail = post.mails[0]
    assert mail["subject"] == "Voicemail from +12125550111"
    text = mail.get_body(("plain",)).get_content()
    html = mail.get_body(("html",)).get_content()
    for part in ("The Bakery", "2026-03-03 21:06 PST", "1:12 min", VOICEMAIL.recording_url, why):
        assert part in text
        assert part in html
    assert "Two loaves, please <now>." in text
    assert f'<a href="{VOICEMAIL.recording_url}">' in html
    assert "<now>" not in html


async def test_a_voicemail_with_little_known_of_it_says_what_is(sender, post):
    bare = msgspec.structs.replace(VOICEMAIL, from_="", duration=None, transcription=None, time_zone="Nowhere/At_All")
    body = write_voicemail("voicemail.transcribed", bare)
    await sender.send(to(kind="contact"), message("voicemail.transcribed", body), now())
    assert post.mails[0]["subject"] == "Transcription of the voicemail from an unknown caller"
    text = post.mails[0].get_body(("plain",)).get_content()
    assert "05:06 UTC" in text
    assert "Length" not in text
