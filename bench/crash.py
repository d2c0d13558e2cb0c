"""SIGKILL of web, workers and PostgreSQL at random under load: what was lost, and what was done twice.

Signed events come from an emulated Stripe that retries as Stripe does, faster. What it gave up on, `holdfast reconcile`
fetches in the end. Then every event must be in the inbox, routed once, in the ledger in its newest state, and settled
once for each destination.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from bench.harness import SECRET, environment, free_port, postgres, say
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.drills.receivers import WebhookReceivers
from holdfast.drills.stripe import DEFAULT_API_KEY, EmulatedStripe
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY, NewDestination, NewMerchant

ACCOUNTS = [f"acct_1Shop{number}" for number in range(4)]
PROCESSES = {"web": "web", "worker 1": "worker", "worker 2": "worker"}
APPLICATION = "app"


@dataclass(slots=True)
class Outcome:
    """What came of it; every list should be empty."""

    kills: Counter[str] = field(default_factory=Counter)
    emitted: int = 0
    acknowledged: int = 0
    deliveries: int = 0
    given_up: int = 0
    """Not acknowledged in spite of all of Stripe's retries, so for reconciliation to find."""
    reconciled: bool = False
    """Reconciliation says that nothing is missing any more."""
    lost: list[str] = field(default_factory=list)
    """Acknowledged, and not in the inbox."""
    not_held: list[str] = field(default_factory=list)
    """Not in the inbox after reconciliation, acknowledged or not."""
    not_routed: list[int] = field(default_factory=list)
    routed_twice: list[int] = field(default_factory=list)
    not_in_the_ledger: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    """Payments that show an older state than their newest event's."""
    not_delivered: list[int] = field(default_factory=list)
    settled_twice: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    """Works that ended otherwise than well."""
    not_told: int = 0
    """Events of which the company's application never heard."""
    sent_again: int = 0
    """Deliveries that a receiver saw once more, with the same webhook-id: a killed sender never learns the answer."""

    @property
    def missing(self) -> int:
        """Events, works and payments that are not where they should be."""
        events = len(self.not_held) + self.not_told
        works = len(self.not_routed) + len(self.not_delivered) + len(self.failed)
        return events + works + len(self.not_in_the_ledger) + len(self.stale)

    @property
    def twice(self) -> int:
        return len(self.routed_twice) + len(self.settled_twice)


def run(*, quick: bool) -> dict[str, Any]:
    kills, stops = (8, 1) if quick else (100, 4)
    with postgres() as server:
        began = time.monotonic()
        outcome = asyncio.run(crashes(server, kills=kills, stops=stops, rate=150.0, seed=int(time.time())))
        took = time.monotonic() - began
    return {
        "value": outcome.missing + outcome.twice,
        "target": "0 lost, 0 applied twice",
        "ok": outcome.missing + outcome.twice == 0 and outcome.reconciled,
        "acknowledged_lost": len(outcome.lost),
        "lost": outcome.missing,
        "applied_twice": outcome.twice,
        "kills": dict(outcome.kills),
        "events": outcome.emitted,
        "acknowledged": outcome.acknowledged,
        "given_up_by_stripe_and_reconciled": outcome.given_up,
        "deliveries": outcome.deliveries,
        "sent_again": outcome.sent_again,
        "seconds": round(took, 1),
    }


async def crashes(
    server: EmbeddedPostgres, *, kills: int, stops: int, rate: float, seed: int, victims: Sequence[str] = ()
) -> Outcome:
    """Load of `rate` events/s while `kills` processes are killed and PostgreSQL is stopped `stops` times.

    `victims` are those of `PROCESSES` and "postgres"; all of them unless given. Waits until everything is done, which
    takes as long as the leases of the killed.
    """
    outcome = Outcome()
    async with AsyncExitStack() as stack:
        # Live mode: Stripe goes on for three days, here two minutes.
        stripe = await stack.enter_async_context(
            EmulatedStripe(accounts=ACCOUNTS, speed=2000, webhook_timeout=5, livemode=True, max_events=1_000_000)
        )
        receivers = await stack.enter_async_context(WebhookReceivers())
        port = free_port()
        await _introduce(server.url(), receivers)
        env = environment(server, listen=f"127.0.0.1:{port}")
        pids = await stack.enter_async_context(at_work(PROCESSES, env))
        for connect in (False, True):
            stripe.add_endpoint(f"http://127.0.0.1:{port}/hooks/stripe", [SECRET], connect=connect)
        acts = _acts(server, pids)
        rng = random.Random(seed)
        order = rng.choices(victims or [name for name in acts if name != _STOP], k=kills) + [_STOP] * stops
        rng.shuffle(order)
        enough = asyncio.Event()
        loading = asyncio.create_task(stripe.run(rate, enough.wait()))
        for number, name in enumerate(order, 1):
            await asyncio.sleep(rng.uniform(0.3, 1.2))
            await acts[name]()
            outcome.kills[name] += 1
            if not number % 10:
                say(f"{number} of {len(order)} done")
        enough.set()
        outcome.emitted = await loading
        await stripe.settled()
        say(f"{outcome.emitted:,} events sent; waiting until the last lease of a killed process has ended")
        await _drained(server.url())
        await _reconcile(server, stripe, outcome)
        await _drained(server.url())
        await _examine(server.url(), stripe, receivers, outcome)
    return outcome


_STOP = "postgres stopped"


def _acts(server: EmbeddedPostgres, pids: dict[str, int]) -> dict[str, Callable[[], Awaitable[None]]]:
    async def kill(name: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(pids[name], signal.SIGKILL)

    async def kill_postgres() -> None:
        with suppress(ProcessLookupError):
            os.kill(server.pid() or 0, signal.SIGKILL)
        await asyncio.to_thread(server.start)

    async def stop_postgres() -> None:
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(1)
        await asyncio.to_thread(server.start)

    processes: dict[str, Callable[[], Awaitable[None]]] = {
        name: (lambda name=name: kill(name))  # type: ignore[misc]
        for name in PROCESSES
    }
    return {**processes, "postgres": kill_postgres, _STOP: stop_postgres}


@asynccontextmanager
async def at_work(processes: Mapping[str, str], env: Mapping[str, str]) -> AsyncIterator[dict[str, int]]:
    """Processes (name to command) that are started again whenever they end; gives their process ids, by name."""
    pids: dict[str, int] = {}

    async def keep(name: str, command: str) -> None:
        while True:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "holdfast", command),
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,  # they complain a lot about the killing
            )
            pids[name] = process.pid
            try:
                await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    tasks = [asyncio.create_task(keep(name, command)) for name, command in processes.items()]
    try:
        while len(pids) < len(processes):
            await asyncio.sleep(0.05)
        yield pids
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _introduce(url: str, receivers: WebhookReceivers) -> None:
    """Four merchants with a webhook each, and the company's application; all want every event."""
    connection = await asyncpg.connect(url)
    try:
        for number, account in enumerate(ACCOUNTS):
            key = f"shop{number}"
            found = await merchants.insert(connection, NewMerchant(key, key, None, account))
            made = NewDestination(found.id, "webhook", receivers.url(key), (), ("*",))
            await merchants.insert_destination(connection, made)
        app = NewDestination(COMPANY, "application", receivers.url(APPLICATION), (), ("*",))
        await merchants.insert_destination(connection, app)
    finally:
        await connection.close()


async def _drained(url: str, patience: float = 300.0) -> None:
    async with asyncio.timeout(patience):
        connection = await asyncpg.connect(url)
        try:
            while await connection.fetchval("SELECT EXISTS (SELECT FROM work)"):
                await asyncio.sleep(0.5)
        finally:
            await connection.close()


async def _reconcile(server: EmbeddedPostgres, stripe: EmulatedStripe, outcome: Outcome) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast", "reconcile", "--since", "1h", "--margin", "0", "--wait", "120", "--json"),
        env=environment(server, stripe_api_url=stripe.url, stripe_api_key=DEFAULT_API_KEY),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    outcome.reconciled = bool(json.loads(told)["ok"])


async def _examine(url: str, stripe: EmulatedStripe, receivers: WebhookReceivers, outcome: Outcome) -> None:
    acknowledged = {
        event_id
        for event_id in stripe.event_ids
        if any(delivery.state == "delivered" for delivery in stripe.deliveries(event_id).values())
    }
    outcome.acknowledged = len(acknowledged)
    outcome.given_up = len(stripe.event_ids) - len(acknowledged)
    connection = await asyncpg.connect(url)

    async def column(statement: str) -> list[Any]:
        return [row[0] for row in await connection.fetch(statement)]

    held = set(await column("SELECT event_id FROM event"))
    outcome.lost = sorted(acknowledged - held)
    outcome.not_held = sorted(set(stripe.event_ids) - held)
    outcome.not_routed = await column(
        "SELECT seq FROM event e WHERE NOT EXISTS (SELECT FROM done d WHERE d.stage = 1 AND d.ref = e.seq)"
    )
    outcome.routed_twice = await column("SELECT ref FROM done WHERE stage = 1 GROUP BY ref HAVING count(*) > 1")
    outcome.not_in_the_ledger = await column(
        """
        SELECT DISTINCT e.object_id FROM event e JOIN done d ON d.stage = 1 AND d.ref = e.seq
        WHERE d.outcome = 'applied' AND NOT EXISTS (SELECT FROM payment p WHERE p.id = e.object_id)
        """
    )
    outcome.stale = await column(
        """
        SELECT id FROM payment p
        WHERE EXISTS (SELECT FROM event e WHERE e.object_id = p.id AND e.created_at > p.last_event_at)
        """
    )
    outcome.not_delivered = await column(
        "SELECT id FROM delivery y WHERE NOT EXISTS (SELECT FROM done d WHERE d.stage = 2 AND d.ref = y.id)"
    )
    outcome.settled_twice = await column("SELECT ref FROM done WHERE stage = 2 GROUP BY ref HAVING count(*) > 1")
    outcome.failed = await column("SELECT ref FROM done WHERE outcome NOT IN ('applied', 'stored', 'delivered')")
    outcome.deliveries = await connection.fetchval("SELECT count(*) FROM delivery")
    await connection.close()
    outcome.not_told = len(stripe.event_ids) - len(receivers.taken.get(APPLICATION, ()))
    outcome.sent_again = sum(counts["repeated"] for counts in receivers.counts.values())
