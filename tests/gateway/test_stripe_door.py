"""`POST /hooks/stripe` on a real web process."""

import asyncio
import contextlib
import io
import json
import random
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
import stripe

from holdfast.drills.stripe_objects import ObjectMaker
from holdfast.drills.stripe_webhooks import sign
from holdfast.gateway.stripe import LARGEST_BODY
from holdfast.inbox.service import COUNTED_EVERY
from tests.inbox.events import SECRET, body, event, signed
from tests.processes import Running, running


@pytest.fixture(scope="module")
async def web(database_url) -> AsyncIterator[Running]:
    secrets = f"whsec_rolled,{SECRET}"
    async with running("web", database_url=database_url, stripe_webhook_secrets=secrets) as found:
        await found.answers()
        yield found


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(client, web, payload, **headers):
    async with client.post(web.hook, data=io.BytesIO(payload), headers=headers or signed(payload)) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers


async def kept(pool) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM event"))


async def test_a_signed_event_is_acknowledged_once_it_is_committed(web, client, pool):
    made = event(livemode=True)
    payload = body(made)
    status, answer, _ = await post(client, web, payload)
    assert (status, answer) == (200, {"received": True})
    row = await pool.fetchrow("SELECT * FROM event")
    assert (row["event_id"], row["body"], row["livemode"]) == (made["id"], payload, True)
    assert stripe.Webhook.construct_event(row["body"], json.loads(row["headers"])["stripe-signature"], SECRET)
    assert await pool.fetchval("SELECT count(*) FROM work") == 1


async def test_a_redelivery_is_acknowledged_and_counted(web, client, pool):
    payload = body(event())
    answers = [await post(client, web, payload) for _ in range(3)]
    assert [status for status, _, _ in answers] == [200] * 3
    await asyncio.sleep(2 * COUNTED_EVERY)
    assert (await kept(pool), await pool.fetchval("SELECT count(*) FROM duplicate")) == (1, 2)


async def test_a_rolled_secret_is_good_too(web, client, pool):
    payload = body(event())
    status, _, _ = await post(client, web, payload, **signed(payload, secret="whsec_rolled"))
    assert status == 200


async def test_a_thin_event_and_a_platform_event_are_kept(web, client, pool):
    snapshot = event(account=None)
    thin = ObjectMaker(random.Random(5)).thin_twin(event(account="acct_1B"))
    for made in (snapshot, thin):
        assert (await post(client, web, body(made)))[0] == 200
    rows = await pool.fetch("SELECT account, type FROM event ORDER BY seq")
    assert [tuple(row) for row in rows] == [
        (None, "payment_intent.succeeded"),
        ("acct_1B", "v1.payment_intent.succeeded"),
    ]


async def test_nothing_unverified_is_written(web, client, pool):
    payload = body(event())
    late = sign(payload, SECRET, int(time.time()) - 400)
    for headers in ({}, {"Stripe-Signature": "t=1,v1=00"}, {"Stripe-Signature": late}, signed(b"other")):
        status, answer, found = await post(client, web, payload, **{"X-Any": "1", **headers})
        assert status == 400
        assert found["content-type"] == "application/problem+json"
        assert answer["status"] == 400
        assert "ignature" in answer["detail"]
    assert await kept(pool) == 0


@pytest.mark.parametrize(
    ("payload", "named"),
    [(b"", "empty"), (b"hello", "not JSON"), (b"{}", "`id`"), (b'{"id": "evt_1"}', "`type`"), (b"[1]", "object")],
)
async def test_a_signed_body_that_is_no_event_is_refused_by_what_is_missing(web, client, pool, payload, named):
    status, answer, _ = await post(client, web, payload)
    assert (status, answer["title"]) == (400, "Bad Request")
    assert named in answer["detail"]
    assert await kept(pool) == 0


async def test_a_body_of_more_than_a_mebibyte_is_too_large(web, client, pool):
    fits = body(event()).ljust(LARGEST_BODY, b" ")
    assert (await post(client, web, fits))[0] == 200
    status, answer, _ = await post(client, web, fits + b" ")
    assert (status, answer["title"]) == (413, "Request Entity Too Large")
    assert await kept(pool) == 1


async def test_a_too_large_body_without_a_length_gets_its_answer_too(web, client, pool):
    async def parts():
        for _ in range(40):
            yield b" " * 65536

    async with client.post(web.hook, data=parts(), headers=signed(b"")) as answer:
        assert answer.status == 413
    assert await kept(pool) == 0


async def test_a_sender_without_end_is_cut_off(web, client, pool):
    async def parts():
        while True:
            yield b" " * 65536
            await asyncio.sleep(0)

    with contextlib.suppress(aiohttp.ClientError):  # hung up on, with or without having read the answer
        async with client.post(web.hook, data=parts(), headers=signed(b"")) as answer:
            assert answer.status == 413
    assert await kept(pool) == 0


async def test_a_body_that_comes_in_small_parts_is_put_together(web, client, pool):
    payload = body(event())

    async def parts():
        for start in range(0, len(payload), 500):
            yield payload[start : start + 500]
            await asyncio.sleep(0.001)

    async with client.post(web.hook, data=parts(), headers=signed(payload)) as answer:
        assert answer.status == 200
    assert await pool.fetchval("SELECT body FROM event") == payload


async def test_only_post_is_allowed(web, client):
    async with client.get(web.hook) as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_an_unknown_address_is_a_problem_too(web, client):
    async with client.get(f"{web.url}/nothing") as answer:
        assert (answer.status, answer.content_type) == (404, "application/problem+json")


async def test_headers_without_end_are_cut_off(web):
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)

    async def fill() -> None:
        writer.write(b"POST /hooks/stripe HTTP/1.1\r\n")
        for _ in range(100):
            writer.write(b"X-Filler: " + b"x" * 8000 + b"\r\n")
            await writer.drain()
        await reader.readexactly(1)

    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await fill()
    writer.close()


async def test_many_at_once_are_committed_together_and_each_answered(web, client, pool):
    events = [event() for _ in range(300)]
    answers = await asyncio.gather(*(post(client, web, body(made)) for made in events))
    assert {status for status, _, _ in answers} == {200}
    assert await kept(pool) == 300


async def test_without_a_secret_stripe_is_asked_to_come_again(database_url, client):
    async with running("web", database_url=database_url, stripe_webhook_secrets="") as web:
        await web.answers("/health/ready")
        payload = body(event())
        status, answer, headers = await post(client, web, payload)
        assert (status, int(headers["retry-after"]) > 0) == (503, True)
        assert "HOLDFAST_STRIPE_WEBHOOK_SECRETS" in answer["detail"]
        async with client.get(f"{web.url}/health/ready") as ready:
            said = await ready.json(content_type=None)
            assert (ready.status, said["status"]) == (200, "warn"), "calls are answered all the same"
            assert "HOLDFAST_STRIPE_WEBHOOK_SECRETS" in said["output"]


async def test_with_the_database_away_stripe_is_asked_to_come_again(client):
    async with running("web", database_url="postgresql:///x?host=/nowhere") as web:
        await web.answers("/health")
        payload = body(event())
        status, answer, headers = await post(client, web, payload)
        assert (status, headers["retry-after"]) == (503, "5")
        assert "send it again later" in answer["detail"]
        async with client.get(f"{web.url}/health/ready") as ready:
            assert ready.status == 503


async def test_the_log_holds_neither_payloads_nor_secrets(web, client, pool):
    made = event(account="acct_1VeryPrivate")
    payload = body(made)
    await post(client, web, payload)
    await post(client, web, payload, **{"Stripe-Signature": "t=1,v1=0badc0de"})
    await web.says("stripe.bad_signature")
    everything = "\n".join(web.log)
    for secret in (SECRET, "whsec_rolled", made["data"]["object"]["client_secret"], "0badc0de"):
        assert secret not in everything
