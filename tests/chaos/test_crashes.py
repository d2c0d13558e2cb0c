"""SIGKILL of any process, and a stop of PostgreSQL, under load: nothing acknowledged is lost or done twice."""

import asyncio
import os
import random
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.migrate import upgrade
from holdfast.drills.receivers import WebhookReceivers
from holdfast.drills.stripe import EmulatedStripe
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY, NewDestination, NewMerchant
from tests.inbox.events import SECRET
from tests.processes import free_port, running

ACCOUNTS = [f"acct_1Shop{number}" for number in range(4)]
LOAD_SECONDS = 12.0
RATE = 150.0


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    outer = Path(tempfile.mkdtemp(prefix="holdfast-test-", dir="/var/tmp"))
    outer.chmod(0o711)
    server = EmbeddedPostgres(outer / "var")
    server.start()
    yield server
    server.stop(immediate=True)
    shutil.rmtree(outer)


async def introduce(url: str, receivers: WebhookReceivers) -> None:
    await upgrade(url)
    connection = await asyncpg.connect(url)
    try:
        for number, account in enumerate(ACCOUNTS):
            key = f"shop{number}"
            found = await merchants.insert(connection, NewMerchant(key, key, None, account))
            made = NewDestination(found.id, "webhook", receivers.url(key), (), ("*",))
            await merchants.insert_destination(connection, made)
        app = NewDestination(COMPANY, "application", receivers.url("app"), (), ("*",))
        await merchants.insert_destination(connection, app)
    finally:
        await connection.close()


def emulated() -> EmulatedStripe:
    """Live mode: Stripe goes on for three days, here a minute and a half."""
    return EmulatedStripe(accounts=ACCOUNTS, speed=3000, webhook_timeout=5, livemode=True)


class Killer:
    """Processes that are started again whenever they end, for this to kill."""

    def __init__(self, url: str, port: int) -> None:
        self._settings = {
            "database_url": url,
            "allowed_networks": "127.0.0.0/8",
            "log_level": "error",
        }
        self._port = port
        self.pids: dict[str, int] = {}

    async def keep(self, name: str, *arguments: str) -> None:
        while True:
            async with running(*arguments, on_port=self._port, **self._settings) as found:
                self.pids[name] = found.process.pid
                await found.process.wait()

    def kill(self, name: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pids[name], signal.SIGKILL)


@asynccontextmanager
async def at_work(url: str, port: int) -> AsyncIterator[Killer]:
    killer = Killer(url, port)
    names = [("web", "web"), ("worker 1", "worker"), ("worker 2", "worker")]
    tasks = [asyncio.create_task(killer.keep(name, argument)) for name, argument in names]
    try:
        while len(killer.pids) < 3:
            await asyncio.sleep(0.05)
        yield killer
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def drained(url: str, patience: float = 90.0) -> None:
    async with asyncio.timeout(patience):
        while True:
            connection = await asyncpg.connect(url)
            left = await connection.fetchval("SELECT count(*) FROM work")
            # A killed worker's work comes back when its lease ends; the test need not wait for that.
            await connection.execute(
                "UPDATE work SET due_at = now() "
                "WHERE due_at > now() AND stage = 1 AND received_at < now() - interval '5 s'"
            )
            await connection.execute(
                "UPDATE work SET due_at = now() WHERE due_at > now() + interval '20 s' "
                "AND received_at < now() - interval '20 s'"
            )
            await connection.close()
            if not left:
                return
            await asyncio.sleep(0.5)


async def check(url: str, stripe: EmulatedStripe, ids: list[str], receivers: WebhookReceivers) -> None:
    """Everything that Stripe saw acknowledged is held, was routed once, is in the ledger, and was delivered."""
    acknowledged = {
        event_id for event_id in ids for d in stripe.deliveries(event_id).values() if d.state == "delivered"
    }
    connection = await asyncpg.connect(url)
    held = {row[0]: row[1] for row in await connection.fetch("SELECT event_id, seq FROM event")}
    assert acknowledged - held.keys() == set(), "acknowledged events that were lost"
    assert acknowledged == set(ids), "after its retries Stripe has got rid of all of them"

    routed = await connection.fetch("SELECT ref, count(*) AS times FROM done WHERE stage = 1 GROUP BY ref")
    assert {row["ref"] for row in routed} == set(held.values())
    assert {row["times"] for row in routed} == {1}, "events applied twice"
    sent = await connection.fetch("SELECT ref, count(*) AS times FROM done WHERE stage = 2 GROUP BY ref")
    planned = await connection.fetchval("SELECT count(*) FROM delivery")
    assert len(sent) == planned
    assert {row["times"] for row in sent} == {1}
    assert (
        await connection.fetchval("SELECT count(*) FROM done WHERE outcome NOT IN ('applied', 'stored', 'delivered')")
        == 0
    )

    about = {
        row[0]
        for row in await connection.fetch(
            "SELECT DISTINCT e.object_id FROM event e JOIN done d ON d.stage = 1 "
            "AND d.ref = e.seq WHERE d.outcome = 'applied'"
        )
    }
    ledger = {row[0] for row in await connection.fetch("SELECT id FROM payment")}
    assert ledger == about
    newest = await connection.fetchval(
        """
        SELECT count(*) FROM payment p WHERE EXISTS (
            SELECT FROM event e WHERE e.object_id = p.id AND e.created_at > p.last_event_at)
        """
    )
    assert newest == 0, "the ledger shows an old state"
    await connection.close()
    assert len(receivers.taken["app"]) == len(ids), "the application was told of every event"


@pytest.mark.timeout(240)
async def test_killed_processes_lose_nothing_and_do_nothing_twice(postgres):
    async with AsyncExitStack() as stack:
        stripe = await stack.enter_async_context(emulated())
        receivers = await stack.enter_async_context(WebhookReceivers())
        url, port = postgres.url(), free_port()
        await introduce(url, receivers)
        killer = await stack.enter_async_context(at_work(url, port))
        for connect in (False, True):
            stripe.add_endpoint(f"http://127.0.0.1:{port}/hooks/stripe", [SECRET], connect=connect)
        rng = random.Random(5)
        loading = asyncio.create_task(stripe.run(RATE, asyncio.sleep(LOAD_SECONDS)))
        while not loading.done():
            await asyncio.sleep(rng.uniform(0.4, 1.2))
            killer.kill(rng.choice(["web", "worker 1", "worker 2"]))
        await loading
        await stripe.settled()
        await drained(url)
        ids = list(stripe._state._kept)
        await check(url, stripe, ids, receivers)


@pytest.mark.timeout(240)
async def test_a_killed_and_a_stopped_postgres_lose_nothing_and_let_nothing_be_done_twice(postgres):
    async with AsyncExitStack() as stack:
        stripe = await stack.enter_async_context(emulated())
        receivers = await stack.enter_async_context(WebhookReceivers())
        url, port = postgres.url(), free_port()
        await introduce(url, receivers)
        await stack.enter_async_context(at_work(url, port))
        for connect in (False, True):
            stripe.add_endpoint(f"http://127.0.0.1:{port}/hooks/stripe", [SECRET], connect=connect)
        loading = asyncio.create_task(stripe.run(RATE, asyncio.sleep(LOAD_SECONDS)))
        await asyncio.sleep(3)
        os.kill(postgres.pid() or 0, signal.SIGKILL)
        await asyncio.to_thread(postgres.start)
        await asyncio.sleep(3)
        await asyncio.to_thread(postgres.stop)
        await asyncio.sleep(1)
        await asyncio.to_thread(postgres.start)
        await loading
        await stripe.settled()
        await drained(url)
        ids = list(stripe._state._kept)
        await check(url, stripe, ids, receivers)
