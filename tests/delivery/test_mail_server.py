"""One mail server for everybody's mail: what it cannot do holds up mail, and nothing else."""

import asyncio
import time
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from holdfast.delivery import store
from holdfast.delivery.backoff import Backoff
from holdfast.delivery.http import HttpSender
from holdfast.delivery.mail import MailSender
from holdfast.delivery.service import Deliverer, Limits, Sender
from holdfast.delivery.signing import new_secret
from holdfast.delivery.store import Filter, NewDelivery
from holdfast.drills.receivers import Mailboxes
from holdfast.inbox import store as inbox
from holdfast.loops import repeat
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import Kind, NewDestination, NewMerchant
from holdfast.queue.model import Lane
from tests.delivery.deliveries import LOOPBACK
from tests.delivery.receivers import receiving, speaking
from tests.inbox.events import event, new

SHOPS = 40
AGAIN = Backoff(base=0.0, cap=0.0, tries=100)


async def shops(pool, url, mails):
    """Merchants with a mailbox, which so many events are to go to, and a webhook, which one is."""
    planned = []
    for number in range(SHOPS):
        owner = (await merchants.insert(pool, NewMerchant(f"shop{number}", "Shop"))).id
        mailbox = NewDestination(owner, "email", f"owner@shop{number}.example", (), ("*",))
        webhook = NewDestination(owner, "webhook", f"{url}/{number}", (new_secret(),), ("*",))
        planned += [(owner, await merchants.insert_destination(pool, mailbox))] * mails
        planned += [(owner, await merchants.insert_destination(pool, webhook))]
    planned.sort(key=lambda item: item[1].kind)  # the mails are due first
    made = [new(event()) for _ in planned]
    await inbox.append(pool, made, [Lane.CRITICAL] * len(made), [owner for owner, _ in planned])
    held = await inbox.held(pool, "stripe", [one.event_id for one in made])
    for one, (owner, destination) in zip(made, planned, strict=True):
        await store.plan(pool, [NewDelivery(held[one.event_id], destination.id, owner, Lane.CRITICAL)])


@asynccontextmanager
async def sending_to(pool, smtp_url, *, clock=time.monotonic, **limits):
    async with HttpSender(LOOPBACK) as http, MailSender(smtp_url, "Holdfast <holdfast@example.com>") as mail:
        senders: dict[Kind, Sender] = {"webhook": http, "email": mail}
        yield Deliverer(pool, Catalogue(), senders, backoff=AGAIN, limits=Limits(**limits), clock=clock)


@asynccontextmanager
async def running(sending):
    stop = asyncio.Event()
    loops = [
        asyncio.create_task(repeat("tick", sending.tick, every=0.02, stop=stop, wake=sending.progress)),
        asyncio.create_task(repeat("settle", sending.settle, every=0.02, stop=stop, wake=sending.ended)),
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*loops)
        await sending.drain(0.0)


async def until(pool, count, state="delivered"):
    async with asyncio.timeout(20):
        while await store.count(pool, Filter(state=state)) < count:
            await asyncio.sleep(0.02)


async def tried_mails(pool):
    return await pool.fetchval(
        "SELECT count(*) FROM work w JOIN destination d ON d.id = destination_id WHERE kind = 'email' AND attempts > 0"
    )


async def test_webhooks_go_on_while_the_mail_server_hangs_with_hundreds_of_mails_due(pool):
    async def hang(reader, _writer):
        await reader.read()

    async with (
        speaking(hang) as port,
        receiving() as receiver,
        sending_to(pool, f"smtp://127.0.0.1:{port}", concurrency=24, reserve=4, mails=6) as sending,
    ):
        await shops(pool, receiver.url, mails=6)
        async with running(sending):
            await until(pool, SHOPS)
            assert len({request.path for request, _ in receiver.requests}) == SHOPS
            assert 1 <= sending.in_flight <= 6, "only mails, and few of them"
            assert await tried_mails(pool) <= 6, "the others wait where they are"


async def test_while_the_mail_server_is_down_mails_wait_untried_and_go_out_when_it_is_back(pool):
    at = 1000.0
    up = asyncio.Event()
    async with Mailboxes() as mailboxes:
        to_port = int(mailboxes.url.rpartition(":")[2])

        async def server(reader, writer):
            if not up.is_set():
                return
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", to_port)
            await asyncio.gather(passed_on(reader, to_writer), passed_on(to_reader, writer))

        async with (
            speaking(server) as port,
            receiving() as receiver,
            sending_to(pool, f"smtp://127.0.0.1:{port}?starttls=0", clock=lambda: at) as sending,
        ):
            await shops(pool, receiver.url, mails=2)
            with capture_logs() as logs:
                async with running(sending):
                    await until(pool, SHOPS)
                async with asyncio.timeout(20), running(sending):
                    while not any(line["event"] == "mail_server.down" for line in logs):
                        await asyncio.sleep(0.02)
            assert await tried_mails(pool) <= 16, "those that were tried before it was known to be down"
            assert not any(line["event"] == "destination.down" for line in logs), "no mailbox is to blame"
            up.set()
            async with running(sending):
                async with asyncio.timeout(20):
                    while await store.count(pool, Filter(state="delivered")) < 3 * SHOPS:
                        at += 1.0
                        await asyncio.sleep(0.02)
        assert sum(mailboxes.received.values()) == 2 * SHOPS


async def passed_on(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
