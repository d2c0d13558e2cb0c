"""Deliveries over HTTP, on real sockets."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import format_datetime

import pytest
import stripe
from aiohttp import web
from standardwebhooks import Webhook

from holdfast import __version__
from holdfast.delivery.http import HttpSender
from holdfast.delivery.model import RESPONSE_KEPT, Outcome
from holdfast.delivery.signing import new_secret, payload
from tests.delivery.deliveries import LOOPBACK, SECRET, destination, message, now
from tests.delivery.receivers import Receiver, receiving, speaking


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    async with HttpSender(LOOPBACK) as opened:
        yield opened


async def test_a_merchant_gets_a_signed_payload(sender, receiver):
    attempt = await sender.send(destination(receiver.url), message(attempt=3), now())
    assert (attempt.outcome, attempt.status, attempt.error) == (Outcome.DELIVERED, 200, None)
    assert attempt.response == b"thanks"
    assert 0 < attempt.latency < 5
    request, body = receiver.requests[0]
    assert body == payload(message())
    assert Webhook(SECRET).verify(body, dict(request.headers))["type"] == "payment_intent.succeeded"
    assert request.method == "POST"
    assert request.headers["webhook-id"] == "msg_11"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"Holdfast/{__version__}"
    assert request.headers["holdfast-attempt"] == "3"
    assert "stripe-signature" not in request.headers


async def test_while_rotating_both_secrets_verify(sender, receiver):
    fresh = new_secret()
    await sender.send(destination(receiver.url, secrets=(fresh, SECRET)), message(), now())
    request, body = receiver.requests[0]
    for secret in (fresh, SECRET):
        Webhook(secret).verify(body, dict(request.headers))


async def test_the_application_gets_the_providers_bytes_which_the_sdk_verifies(sender, receiver):
    body = b'{"id": "evt_1",   "object": "event"}'
    at = int(now().timestamp())
    computed = stripe.WebhookSignature.generate_signature_header(body.decode(), "whsec_stripe", at)
    headers = {
        "Stripe-Signature": computed,
        "Content-Type": "application/json; charset=utf-8",
        "Host": "ours.example",
        "Connection": "close",
        "Content-Length": "1",
        "Authorization": "Bearer secret",
        "Stripe-Evil": "a\r\nx: y",
    }
    to = destination(receiver.url, kind="application", merchant_id=0)
    attempt = await sender.send(to, message(body=body, headers=headers), now())
    assert attempt.outcome is Outcome.DELIVERED
    request, received = receiver.requests[0]
    assert received == body
    assert stripe.Webhook.construct_event(received, request.headers["stripe-signature"], "whsec_stripe").id == "evt_1"
    Webhook(SECRET).verify(received, dict(request.headers))
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert not {"authorization", "stripe-evil"} & {name.lower() for name in request.headers}


async def test_the_application_needs_no_secret(sender, receiver):
    to = destination(receiver.url, kind="application", secrets=())
    assert (await sender.send(to, message(), now())).outcome is Outcome.DELIVERED
    assert "webhook-signature" not in receiver.requests[0][0].headers


@pytest.mark.parametrize(
    ("status", "outcome", "down", "congested"),
    [
        (204, Outcome.DELIVERED, False, False),
        (301, Outcome.RETRY, False, False),
        (400, Outcome.RETRY, False, False),
        (404, Outcome.RETRY, False, False),
        (408, Outcome.RETRY, True, True),
        (410, Outcome.REJECTED, False, False),
        (425, Outcome.RETRY, True, False),
        (429, Outcome.RETRY, True, True),
        (500, Outcome.RETRY, True, False),
        (503, Outcome.RETRY, True, True),
    ],
)
async def test_a_status_decides_what_follows(sender, receiver, status, outcome, down, congested):
    receiver.answers(status)
    attempt = await sender.send(destination(receiver.url), message(), now())
    assert (attempt.status, attempt.outcome, attempt.down, attempt.congested) == (status, outcome, down, congested)
    assert (attempt.error is None) == (outcome is Outcome.DELIVERED)
    assert attempt.gone == (status == 410)


async def test_retry_after_is_read_as_seconds_and_as_a_date(sender, receiver):
    at = now().replace(microsecond=0)
    receiver.answers(503, retry_after="120")
    assert (await sender.send(destination(receiver.url), message(), at)).retry_after == 120
    receiver.answers(429, retry_after=format_datetime(at + timedelta(seconds=30), usegmt=True))
    assert (await sender.send(destination(receiver.url), message(), at)).retry_after == 30


async def test_a_redirect_is_not_followed_and_its_secrets_are_not_kept(sender, receiver):
    receiver.answers(302, location="http://user:pass@127.0.0.1:1/other?token=hunter2")
    attempt = await sender.send(destination(receiver.url), message(), now())
    assert attempt.error == "redirect to http://127.0.0.1/other not followed"
    assert len(receiver.requests) == 1


async def test_only_the_first_kilobyte_of_an_answer_is_kept(sender, receiver):
    receiver.answers(500, b"x" * 5000)
    assert (await sender.send(destination(receiver.url), message(), now())).response == b"x" * RESPONSE_KEPT


async def test_an_answer_without_end_is_cut_off(sender, receiver):
    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 16_384)

    receiver.answer = endless
    attempt = await sender.send(destination(receiver.url), message(), now())
    assert attempt.outcome is Outcome.DELIVERED
    assert len(attempt.response) == RESPONSE_KEPT


async def test_an_answer_that_breaks_off_after_its_status_counts_by_its_status(sender):
    async def breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nthanks")
        await writer.drain()

    async with speaking(breaks_off) as port:
        attempt = await sender.send(destination(f"http://127.0.0.1:{port}/"), message(), now())
    assert attempt.outcome is Outcome.DELIVERED


async def test_a_slow_destination_times_out(sender, receiver):
    async def slow(_request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    receiver.answer = slow
    attempt = await sender.send(destination(receiver.url, timeout=0.1), message(), now())
    assert (attempt.outcome, attempt.status) == (Outcome.RETRY, None)
    assert attempt.error == "timed out after 0.1 s"
    assert attempt.down
    assert attempt.congested
    assert 0.1 <= attempt.latency < 2


async def test_nobody_listening_is_a_refused_connection(sender):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        attempt = await sender.send(destination(f"http://127.0.0.1:{free.getsockname()[1]}/"), message(), now())
    assert (attempt.outcome, attempt.error, attempt.down) == (Outcome.RETRY, "connect refused", True)


async def test_hanging_up_and_nonsense_are_worth_a_retry(sender):
    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await writer.drain()

    for script, error in (
        (hangs_up, "the connection was closed before an answer came"),
        (nonsense, "the answer is not HTTP"),
    ):
        async with speaking(script) as port:
            attempt = await sender.send(destination(f"http://127.0.0.1:{port}/"), message(), now())
        assert (attempt.outcome, attempt.error, attempt.down) == (Outcome.RETRY, error, True)


async def test_plain_http_on_a_tls_port_is_said_so(sender, receiver):
    attempt = await sender.send(destination(receiver.url.replace("http:", "https:")), message(), now())
    assert attempt.outcome is Outcome.RETRY
    assert attempt.error is not None
    assert attempt.error.startswith("TLS: ")


async def test_names_that_do_not_exist_are_worth_a_retry(sender):
    attempt = await sender.send(destination("http://nowhere.invalid/"), message(), now())
    assert (attempt.outcome, attempt.error) == (Outcome.RETRY, "no such host: nowhere.invalid")


async def test_private_addresses_are_refused_by_number_and_by_name(receiver):
    async with HttpSender() as guarded:
        for host in ("127.0.0.1", "localhost", "0x7f.1"):
            attempt = await guarded.send(destination(f"http://{host}:{receiver.port}/"), message(), now())
            assert attempt.outcome is Outcome.REFUSED
            assert "HOLDFAST_ALLOWED_NETWORKS" in (attempt.error or "")
            assert not attempt.down
    assert receiver.requests == []


async def test_a_name_that_leads_to_us_is_not_followed_and_tried_again_later(receiver, monkeypatch):
    def rebound(*_args, **_kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    async with HttpSender() as guarded:
        attempt = await guarded.send(destination("http://rebound.example/"), message(), now())
    assert (attempt.outcome, attempt.down) == (Outcome.RETRY, True)
    assert "rebound.example (127.0.0.1)" in (attempt.error or "")
    assert receiver.requests == []


async def test_the_companys_own_application_is_never_gone(sender, receiver):
    receiver.answers(410)
    attempt = await sender.send(destination(receiver.url, kind="application"), message(), now())
    assert (attempt.outcome, attempt.status, attempt.down, attempt.gone) == (Outcome.RETRY, 410, True, False)


async def test_a_name_that_dns_cannot_carry_is_refused(sender):
    attempt = await sender.send(destination(f"http://{'a' * 70}.example/"), message(), now())
    assert (attempt.outcome, attempt.error) == (Outcome.REFUSED, "the URL cannot be requested")


async def test_an_unusable_secret_is_a_readable_failure(sender, receiver):
    attempt = await sender.send(destination(receiver.url, secrets=("whsec_short",)), message(), now())
    assert attempt.outcome is Outcome.RETRY
    assert "secret" in (attempt.error or "")
    assert receiver.requests == []


async def test_connections_are_used_again_and_cookies_are_not_kept(sender, receiver):
    receiver.answers(200, b"x" * 3000, set_cookie="session=1")
    for _ in range(5):
        await sender.send(destination(receiver.url), message(), now())
    assert len(receiver.connections) == 1
    assert all("cookie" not in request.headers for request, _ in receiver.requests)


async def test_a_self_signed_certificate_is_refused_with_its_reason(tls_files):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files)
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with HttpSender(LOOPBACK) as sender:
        attempt = await sender.send(destination(f"https://127.0.0.1:{port}/"), message(), now())
    server.close()
    assert attempt.outcome is Outcome.RETRY
    assert attempt.error == "TLS: self-signed certificate"


async def test_errors_never_contain_the_urls_secrets(sender, receiver):
    receiver.answers(500)
    for url in (
        f"{receiver.url}?token=hunter2",
        "http://127.0.0.1:1/?token=hunter2",
        "http://no.invalid/?token=hunter2",
    ):
        attempt = await sender.send(destination(url), message(), now())
        assert "hunter2" not in (attempt.error or "")
    assert json.loads(receiver.requests[0][1])
