"""The deliverer on a real server and real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from holdfast.delivery import replay, store
from holdfast.delivery.backoff import Backoff
from holdfast.delivery.http import HttpSender
from holdfast.delivery.mail import MailSender
from holdfast.delivery.service import Deliverer, Limits, Sender
from holdfast.delivery.signing import new_secret
from holdfast.delivery.store import Filter, NewDelivery
from holdfast.drills.receivers import Mailboxes
from holdfast.inbox import store as inbox
from holdfast.levers.model import Snapshot, Value
from holdfast.levers.service import Levers
from holdfast.loops import repeat
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import COMPANY, Kind, NewDestination, NewMerchant
from holdfast.queue.model import Lane
from tests.delivery.deliveries import LOOPBACK
from tests.delivery.receivers import Receiver, receiving
from tests.inbox.events import event, new

NEVER = Backoff(base=0.0, cap=0.0, tries=3)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


@asynccontextmanager
async def deliverer(pool, *, backoff=NEVER, mail=None, levers=None, **limits) -> AsyncIterator[Deliverer]:
    async with HttpSender(LOOPBACK) as http:
        senders: dict[Kind, Sender] = {"webhook": http, "application": http}
        if mail is None:
            yield Deliverer(pool, Catalogue(), senders, backoff=backoff, limits=Limits(**limits), levers=levers)
            return
        async with MailSender(mail, "Holdfast <holdfast@example.com>") as sender:
            senders["email"] = sender
            yield Deliverer(pool, Catalogue(), senders, backoff=backoff, limits=Limits(**limits))


async def bakery(pool, address, kind="webhook", **options):
    """A merchant with one destination; returns (merchant id, destination id, secret)."""
    owner = COMPANY
    if kind != "application":
        owner = (await merchants.insert(pool, NewMerchant("bakery", "The Bakery", None, "acct_1A"))).id
    secret = new_secret()
    made = NewDestination(owner, kind, address, () if kind == "email" else (secret,), ("*",), **options)
    return owner, (await merchants.insert_destination(pool, made)).id, secret


async def plan(pool, owner, destination_id, count=1, lane=Lane.CRITICAL):
    """Events with a delivery each; returns the events."""
    events = [event() for _ in range(count)]
    made = [new(one) for one in events]
    await inbox.append(pool, made, [lane] * count, [owner] * count)
    held = await inbox.held(pool, "stripe", [one.event_id for one in made])
    await store.plan(pool, [NewDelivery(held[one.event_id], destination_id, owner, lane) for one in made])
    return events


async def work_off(sending: Deliverer, patience: float = 10.0) -> None:
    """Until nothing is due and nothing under way."""
    async with asyncio.timeout(patience):
        while await sending.tick() or sending.in_flight or sending.ended.is_set():
            sending.ended.clear()
            await sending.settle()
            await asyncio.sleep(0.005)


async def states(pool) -> list[str]:
    return [row["state"] for row in await store.listing(pool, Filter(), limit=1000, before=None)]


async def tries(pool, delivery_id=1):
    return [
        (row["attempt"], row["outcome"], row["status"], row["error"]) for row in await store.attempts(pool, delivery_id)
    ]


async def test_a_delivery_is_signed_sent_once_and_written_down(pool, receiver):
    owner, destination_id, secret = await bakery(pool, receiver.url)
    [made] = await plan(pool, owner, destination_id)
    async with deliverer(pool) as sending:
        await work_off(sending)
    [(request, body)] = receiver.requests
    read = Webhook(secret).verify(body, dict(request.headers))
    assert read["type"] == made["type"]
    assert read["data"]["merchant"] == "bakery"
    assert read["data"]["object"]["id"] == made["data"]["object"]["id"]
    assert request.headers["webhook-id"] == f"msg_1_{destination_id}"
    assert await states(pool) == ["delivered"]
    assert await tries(pool) == [(1, "delivered", 200, None)]
    [row] = await store.attempts(pool, 1)
    assert row["response"] == b"thanks"
    assert 0 < row["latency"] < 5


async def test_a_failing_delivery_is_tried_again_under_the_same_id(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id)
    receiver.answers(500, b"oops")
    async with deliverer(pool, backoff=Backoff(base=0.0, cap=0.0, tries=5)) as sending:
        await sending.tick()
        while not receiver.requests:
            await asyncio.sleep(0.01)
        receiver.answer = None
        await work_off(sending)
    ids = [request.headers["webhook-id"] for request, _ in receiver.requests]
    assert ids == [ids[0]] * 2
    assert [request.headers["holdfast-attempt"] for request, _ in receiver.requests] == ["1", "2"]
    assert await tries(pool) == [(1, "retry", 500, "answered 500"), (2, "delivered", 200, None)]
    assert await states(pool) == ["delivered"]


async def test_what_was_claimed_when_the_store_went_away_is_given_back_untried(pool, receiver, monkeypatch):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id, 3)

    async def away(*_):
        raise ConnectionResetError

    async with deliverer(pool) as sending:
        with monkeypatch.context() as patch:
            patch.setattr(store, "load", away)
            with pytest.raises(ConnectionResetError):
                await sending.tick()
        await sending.settle()
        rows = await pool.fetch("SELECT attempts, lease, due_at <= now() FROM work WHERE stage = 2")
        assert [tuple(row) for row in rows] == [(0, None, True)] * 3
        await work_off(sending)
    assert await states(pool) == ["delivered"] * 3


async def test_after_the_last_try_it_is_dead_and_can_be_replayed(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id)
    receiver.answers(500)
    async with deliverer(pool) as sending:
        await work_off(sending)
        [row] = await store.listing(pool, Filter(state="dead"), limit=10, before=None)
        assert row["note"] == "given up after 3 tries; the last: answered 500"
        assert row["attempts"] == 3
        receiver.answer = None
        assert [counts async for counts in replay.replay(pool, Filter(state="dead"))] == [(1, 1)]
        assert await states(pool) == ["live"]
        await work_off(sending)
    assert await states(pool) == ["delivered"]
    assert len(await store.attempts(pool, 1)) == 4


async def test_a_destination_that_is_gone_is_disabled_and_the_rest_is_dead(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url, ceiling=1)
    await plan(pool, owner, destination_id, 3)
    receiver.answers(410)
    async with deliverer(pool) as sending:
        await work_off(sending)
    found = await merchants.destination(pool, destination_id)
    assert found is not None
    assert (found.enabled, found.disabled_why) == (False, "it answered 410 Gone")
    notes = [row["note"] for row in await store.listing(pool, Filter(), limit=10, before=None)]
    assert (notes[0], notes[-1]) == ("the destination is disabled", "answered 410: gone")
    assert len(receiver.requests) < 3


async def test_what_was_removed_meanwhile_is_dead_with_the_reason(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id)
    await merchants.delete_destination(pool, destination_id)
    async with deliverer(pool) as sending:
        await work_off(sending)
    [row] = await store.listing(pool, Filter(), limit=10, before=None)
    assert (row["state"], row["note"]) == ("dead", "the destination was removed")


async def test_retry_after_is_honoured(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id, 2)
    receiver.answers(429, retry_after="3600")
    async with deliverer(pool, backoff=Backoff(base=1.0, tries=5), concurrency=1, reserve=0) as sending:
        await work_off(sending)
        rows = await store.listing(pool, Filter(), limit=10, before=None)
        waits = [(row["next_try"] - datetime.now(UTC)).total_seconds() for row in rows]
        assert len(receiver.requests) == 1, "the other one waits too"
        assert max(waits) == pytest.approx(3600, abs=10)


async def test_the_application_gets_the_original_bytes_and_headers(pool, receiver):
    owner, destination_id, secret = await bakery(pool, receiver.url, "application")
    [made] = await plan(pool, owner, destination_id)
    async with deliverer(pool) as sending:
        await work_off(sending)
    [(request, body)] = receiver.requests
    assert body == new(made).body
    assert request.headers["stripe-signature"] == json.loads(new(made).headers)["stripe-signature"]
    Webhook(secret).verify(
        body,
        dict(request.headers),
    )


async def test_mail_goes_out_over_smtp(pool):
    async with Mailboxes() as mail:
        owner, destination_id, _ = await bakery(pool, "owner@bakery.example", "email")
        await plan(pool, owner, destination_id)
        async with deliverer(pool, mail=f"{mail.url}?starttls=0") as sending:
            await work_off(sending)
        assert mail.received == {"owner@bakery.example": 1}
        assert b"Payment succeeded" in mail.mails[0]
    assert await states(pool) == ["delivered"]


async def test_while_mail_is_not_set_up_it_waits_and_no_try_is_counted(pool):
    owner, destination_id, _ = await bakery(pool, "owner@bakery.example", "email")
    await plan(pool, owner, destination_id)
    async with deliverer(pool) as sending:
        await work_off(sending)
    [row] = await store.listing(pool, Filter(), limit=10, before=None)
    assert (row["state"], row["attempts"]) == ("live", 0)
    assert row["next_try"] > datetime.now(UTC) + timedelta(minutes=4)


async def test_a_private_address_is_refused_and_nothing_is_sent(pool):
    owner, destination_id, _ = await bakery(pool, "http://169.254.169.254/latest/meta-data")
    await plan(pool, owner, destination_id)
    async with deliverer(pool) as sending:
        await work_off(sending)
    [row] = await store.listing(pool, Filter(), limit=10, before=None)
    assert row["state"] == "dead"
    assert "HOLDFAST_ALLOWED_NETWORKS" in row["note"]


async def test_a_passing_fault_of_name_servers_loses_nothing(pool, receiver, monkeypatch):
    def wrong(*_args, **_kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.1.1", receiver.port))]

    owner, destination_id, _ = await bakery(pool, "http://bakery.example/hooks")
    await plan(pool, owner, destination_id, 40)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", wrong)
        async with deliverer(pool, backoff=Backoff(base=60.0, tries=16)) as sending:
            await work_off(sending)
    assert set(await states(pool)) == {"live"}
    untried = await pool.fetchval("SELECT count(*) FROM work WHERE attempts = 0")
    assert untried >= 20, "it counts as down after a few"


async def test_a_410_of_the_application_loses_nothing_and_keeps_it_enabled(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url, "application")
    await plan(pool, owner, destination_id, 3)
    receiver.answers(410)
    async with deliverer(pool, backoff=Backoff(base=60.0, tries=16)) as sending:
        await work_off(sending)
    assert await states(pool) == ["live"] * 3
    found = await merchants.destination(pool, destination_id)
    assert found is not None
    assert found.enabled


async def test_a_destination_never_has_more_at_once_than_its_ceiling(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url, ceiling=3)
    await plan(pool, owner, destination_id, 30)
    at_once = most = 0

    async def slow(_request):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        return web.Response()

    receiver.answer = slow
    async with deliverer(pool) as sending:
        await work_off(sending)
    assert await states(pool) == ["delivered"] * 30
    assert most == 3


async def test_a_destination_that_hangs_does_not_hold_up_another(pool, receiver):
    owner, stuck, _ = await bakery(pool, receiver.url + "/stuck")
    made = NewDestination(owner, "webhook", receiver.url + "/well", (new_secret(),), ("*",))
    well = (await merchants.insert_destination(pool, made)).id
    await plan(pool, owner, stuck, 50)
    await plan(pool, owner, well, 50)
    release = asyncio.Event()

    async def answer(request):
        if request.path.endswith("stuck"):
            await release.wait()
        return web.Response()

    receiver.answer = answer
    async with deliverer(pool, concurrency=16, per_destination=8, reserve=0) as sending:
        stop = asyncio.Event()
        loops = [
            asyncio.create_task(repeat("tick", sending.tick, every=0.02, stop=stop, wake=sending.progress)),
            asyncio.create_task(repeat("settle", sending.settle, every=0.02, stop=stop, wake=sending.ended)),
        ]
        async with asyncio.timeout(10):
            while await store.count(pool, Filter(destination_id=well, state="delivered")) < 50:
                await asyncio.sleep(0.02)
        assert await store.count(pool, Filter(destination_id=stuck, state="delivered")) == 0
        release.set()
        stop.set()
        await asyncio.gather(*loops)
        await work_off(sending)
    assert set(await states(pool)) == {"delivered"}


async def test_bulk_leaves_the_reserve_to_critical_deliveries(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id, 30, Lane.BULK)
    release = asyncio.Event()

    async def hold(_request):
        await release.wait()
        return web.Response()

    receiver.answer = hold
    async with deliverer(pool, concurrency=8, reserve=2) as sending:
        while await sending.tick():
            pass
        assert sending.in_flight == 6
        await plan(pool, owner, destination_id, 5, Lane.CRITICAL)
        while await sending.tick():
            pass
        assert sending.in_flight == 8
        assert {work.lane for work in list(sending._tasks.values())[6:]} == {Lane.CRITICAL}
        release.set()
        await work_off(sending)
    assert set(await states(pool)) == {"delivered"}


async def test_when_told_to_stop_it_finishes_or_gives_back_what_it_has_in_hand(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id, 4)

    async def some_hang(_request):
        if len(receiver.requests) > 2:
            await asyncio.sleep(60)
        return web.Response()

    receiver.answer = some_hang
    async with deliverer(pool) as sending:
        await sending.tick()
        await sending.drain(patience=0.3)
        assert sorted(await states(pool)) == ["delivered", "delivered", "live", "live"]
        rows = await pool.fetch("SELECT attempts, lease FROM work WHERE stage = 2")
        assert [tuple(row) for row in rows] == [(0, None)] * 2, "due at once, and not counted"


async def test_results_are_kept_while_the_store_is_away(pool, receiver, monkeypatch):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id)
    async with deliverer(pool) as sending:
        await sending.tick()
        while sending.in_flight:
            await asyncio.sleep(0.01)
        real = sending._write

        async def away(*_arguments):
            raise ConnectionResetError

        monkeypatch.setattr(sending, "_write", away)
        with pytest.raises(ConnectionResetError):
            await sending.settle()
        monkeypatch.setattr(sending, "_write", real)
        await work_off(sending)
    assert await states(pool) == ["delivered"]
    assert len(receiver.requests) == 1


async def test_long_waits_renew_their_lease(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id)
    release = asyncio.Event()

    async def hold(_request):
        await release.wait()
        return web.Response()

    receiver.answer = hold
    async with deliverer(pool) as sending:
        await sending.tick()
        work, _ = sending._in_hand[1]
        sending._in_hand[1] = (work, sending._clock() - 50)
        before = await pool.fetchval("SELECT due_at FROM work WHERE stage = 2")
        await sending.renew(datetime.now(UTC) + timedelta(seconds=50))
        assert await pool.fetchval("SELECT due_at FROM work WHERE stage = 2") > before + timedelta(seconds=40)
        release.set()
        await work_off(sending)
    assert await states(pool) == ["delivered"]


# Two workers


async def test_of_two_workers_nothing_is_sent_twice(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id, 60)
    async with deliverer(pool) as one, deliverer(pool) as other:
        await asyncio.gather(work_off(one), work_off(other))
        await work_off(one)
    assert await states(pool) == ["delivered"] * 60
    ids = [request.headers["webhook-id"] for request, _ in receiver.requests]
    assert len(ids) == len(set(ids)) == 60


async def test_the_worker_that_was_told_to_wait_waits_and_the_other_learns_it_by_a_try_of_its_own(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id, 4)
    receiver.answers(429, retry_after="3600")
    options = {"backoff": Backoff(base=1.0, tries=5), "concurrency": 1, "reserve": 0}
    async with deliverer(pool, **options) as one, deliverer(pool, **options) as other:
        await work_off(one)
        await work_off(one)
        assert len(receiver.requests) == 1
        await work_off(other)
        await work_off(other)
    assert len(receiver.requests) == 2, "a pause is known to the worker that was asked for it"
    assert await pool.fetchval("SELECT count(*) FROM work WHERE due_at > now() + interval '50 minutes'") == 2


async def test_what_is_leased_by_one_worker_is_not_tried_by_another_until_the_lease_ends(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id)
    release = asyncio.Event()

    async def first_hangs(_request):
        if len(receiver.requests) == 1:
            await release.wait()
        return web.Response()

    receiver.answer = first_hangs
    async with deliverer(pool) as one, deliverer(pool) as other:
        assert await one.tick() == 1
        while not receiver.requests:
            await asyncio.sleep(0.01)
        assert await other.tick() == 0
        assert await other.tick(datetime.now(UTC) + timedelta(seconds=61)) == 1, "as if the one did not renew it"
        await work_off(other)
        assert await states(pool) == ["delivered"]
        release.set()
        await work_off(one)
    assert await states(pool) == ["delivered"]
    assert await pool.fetchval("SELECT count(*) FROM done WHERE stage = 2") == 1, "the late answer settles nothing anew"
    ids = {request.headers["webhook-id"] for request, _ in receiver.requests}
    assert (len(receiver.requests), len(ids)) == (2, 1), "the receiver can tell that it is the same"


async def test_while_mail_is_not_set_up_the_log_says_so_once_with_a_count(pool):
    owner, destination_id, _ = await bakery(pool, "owner@bakery.example", "email")
    await plan(pool, owner, destination_id, 12)
    async with deliverer(pool) as sending:
        await work_off(sending)
        with capture_logs() as logs:
            await sending.renew()
            await sending.renew()
    assert [(line["event"], line["deliveries"]) for line in logs] == [("delivery.not_set_up", {"email": 12})]


# Levers


def turned(values: dict[tuple[str, str], Value]) -> Levers:
    levers = Levers(routers=0, deliveries=256)
    levers.take(Snapshot(values))
    return levers


async def test_no_more_is_under_way_than_the_lever_says(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id, count=6)
    levers = turned({("delivery.concurrency", ""): 2})
    async with deliverer(pool, levers=levers) as sending:
        assert sum([await sending.tick() for _ in range(5)]) == 2
        levers.snapshot = Snapshot({("delivery.concurrency", ""): 0})
        while sending.in_flight:
            await asyncio.sleep(0.01)
        await sending.settle()
        assert await sending.tick() == 0
        assert (await states(pool)).count("delivered") == 2
        levers.snapshot = Snapshot()
        await work_off(sending)
    assert set(await states(pool)) == {"delivered"}


async def test_a_lane_has_no_more_under_way_than_its_lever_says_and_the_others_go_on(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id, count=6, lane=Lane.BULK)
    await plan(pool, owner, destination_id, count=3, lane=Lane.CRITICAL)
    levers = turned({("delivery.concurrency", "lane:bulk"): 2})
    async with deliverer(pool, levers=levers) as sending:
        assert [await sending.tick() for _ in range(3)] == [5, 0, 0]
        await sending.drain(5.0)
        assert sorted(await lanes_done(pool)) == [*[Lane.CRITICAL] * 3, *[Lane.BULK] * 2]
        assert await sending.tick() == 2, "those that ended make room for others"
        await sending.drain(5.0)
        levers.take(Snapshot({("delivery.concurrency", "lane:bulk"): 0}))
        assert await sending.tick() == 0
        levers.take(Snapshot())
        await work_off(sending)
    assert set(await states(pool)) == {"delivered"}


async def lanes_done(pool) -> list[Lane]:
    return [Lane(row[0]) for row in await pool.fetch("SELECT lane FROM done WHERE stage = 2")]


async def test_a_destinations_ceiling_is_turned_at_once(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id, count=8)
    levers = turned({("delivery.per_destination", f"destination:{destination_id}"): 1})
    async with deliverer(pool, levers=levers) as sending:
        await sending.tick()
        await work_off(sending)
        await plan(pool, owner, destination_id, count=4)
        assert await sending.tick() == 1
        await work_off(sending)
    assert set(await states(pool)) == {"delivered"}


async def test_retries_wait_longer_when_the_lever_says_so(pool, receiver):
    owner, destination_id, _ = await bakery(pool, receiver.url)
    await plan(pool, owner, destination_id)
    receiver.answers(500)
    waits = {}
    for word in ("normal", "slower"):
        backoff = Backoff(base=10.0, factor=1.0, tries=50)
        async with deliverer(pool, backoff=backoff, levers=turned({("retry.backoff", ""): word})) as sending:
            await pool.execute("UPDATE work SET due_at = now()")
            sending._rng.seed(3)
            await work_off(sending)
        waits[word] = await pool.fetchval("SELECT extract(epoch FROM due_at - now())::float8 FROM work")
    assert waits["slower"] > 4 * waits["normal"]
