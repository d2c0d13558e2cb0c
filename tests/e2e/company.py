"""A company in whose incidents the engine is killed at every boundary of every step.

Time is simulated, and so is the worker: what is planned as deliveries arrives.
"""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta

from holdfast import actions
from holdfast.comms.speaking import Speaker
from holdfast.config import Settings
from holdfast.drills.operator import Operator
from holdfast.inbox import store as inbox
from holdfast.incidents import people_store, store
from holdfast.levers import driver
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import NewMerchant
from holdfast.payments.router import StripeWebhookRouter
from holdfast.queue import store as queue
from holdfast.queue.model import ClaimPolicy, Lane, Settled, Stage
from holdfast.queue.service import Claimer
from holdfast.runbooks import store as steps_store
from holdfast.runbooks.engine import Engine
from holdfast.runbooks.library import Library
from holdfast.runbooks.turn import LEASE, Turn
from holdfast.runbooks.working import Desk
from holdfast.watch import store as watch
from holdfast.watch.model import Alert
from tests.inbox.events import event, new
from tests.signals.measured import level, measured

TICK = timedelta(seconds=10)
SETTINGS = Settings(
    team_channels="json://127.0.0.1:9/",
    smtp_url="smtp://127.0.0.1:9",
    stripe_status_url="http://127.0.0.1:9/summary.json",
)
KEYS = {"stripe-retry-storm": "stripe-retry-storm", "webhook-backlog": "webhook-backlog/route"}


class Killed(BaseException):
    """As SIGKILL: nothing is tidied up but what PostgreSQL undoes."""


class Killer:
    """Kills once at each boundary of each step: marked as running, acted but not written down, written but not over."""

    def __init__(self, monkeypatch):
        self.struck = set()
        begin, put, call = steps_store.begin, steps_store.put, Turn._call

        async def begun(db, incident_id, key, **more):
            await begin(db, incident_id, key, **more)
            self.strike("begun", key)

        async def written(db, incident_id, key, *args, **more):
            await put(db, incident_id, key, *args, **more)
            self.strike("written", key)

        async def acted(turn, *args):
            outcome = await call(turn, *args)
            self.strike("acted", turn.step.key)
            return outcome

        monkeypatch.setattr(steps_store, "begin", begun)
        monkeypatch.setattr(steps_store, "put", written)
        monkeypatch.setattr(Turn, "_call", acted)

    def strike(self, *boundary):
        if boundary not in self.struck:
            self.struck.add(boundary)
            raise Killed


async def killed_everywhere(disturbed, expected, monkeypatch):
    """Play it with an engine that is killed at every boundary: the outcome is that of the undisturbed play."""
    with monkeypatch.context() as patched:
        killer = Killer(patched)
        await disturbed.play()
    for found, wanted in zip(await disturbed.outcome(), expected, strict=True):
        assert found == wanted, await disturbed.told()
    states = expected[1]
    ran = {key for key, found in states.items() if found == "done"} - {"root-cause", "prevention", "runbook-verdict"}
    assert {key for name, key in killer.struck if name == "acted"} >= ran
    assert len(killer.struck) > 2 * len(states)


class Company:
    """What there is around the engine, with a clock of its own."""

    settings = SETTINGS

    def __init__(self, pool, runbook):
        self.pool, self.runbook = pool, runbook
        self.now = datetime.now(UTC)
        self.registry = actions.registry()
        self.library = Library(None, self.registry)
        self.operator = Operator(Desk(pool, self.settings, self.registry, self.library), "ann")

    async def begin(self):
        """A merchant's events have waited for twenty minutes, and an alert says so."""
        bakery = await merchants.insert(
            self.pool, NewMerchant("bakery", "The Bakery", "owner@bakery.example", "acct_1A")
        )
        await people_store.put(self.pool, "ann", "Ann", "ann@company.example", "admin")
        await people_store.set_rota(self.pool, ["ann"], self.now - timedelta(hours=1))
        since = self.now - timedelta(minutes=20)
        made = [new(event(account="acct_1A"), received=since.timestamp()) for _ in range(5)]
        await inbox.append(self.pool, made, [Lane.CRITICAL] * 5, [bakery.id] * 5)
        key = KEYS[self.runbook]
        alert = Alert(key, self.runbook, "ours", "critical", "Events wait", "The router is slow.", since, self.now)
        await watch.keep(self.pool, alert, {}, self.now)

    async def end(self):
        """The events are routed, and the alert closes."""
        claimer = Claimer(self.pool, Stage.ROUTE, ClaimPolicy())
        router = StripeWebhookRouter(self.pool, claimer, Catalogue())
        while await router.tick():
            pass
        await router.finish()
        await watch.close(self.pool, KEYS[self.runbook], self.now)

    async def deliver(self):
        """Everything that is planned arrives."""
        works = await Claimer(self.pool, Stage.DELIVER, ClaimPolicy()).claim(100)
        results = [Settled(work.ref, "delivered") for work in works]
        await queue.settle(self.pool, Stage.DELIVER, works, results, now=None)

    async def live(self):
        """What happens in a tick, whatever the engine does."""

    async def tick(self):
        self.now += TICK
        for name in ("postgres_round_trip_seconds", "event_loop_lag_recent_seconds", "postgres_connections_ratio"):
            await measured(self.pool, self.now, name, level(0.01))
        await measured(self.pool, self.now, "system_memory_ratio", level(0.2, "host"))
        await measured(self.pool, self.now, "process_cpu_ratio", level(0.1, "worker"))
        await self.live()
        await self.deliver()
        await driver.drive(self.pool, self.settings, self.now)
        await self.operator.tick(self.now)
        engine = Engine(self.pool, self.settings, self.library, self.registry, Speaker(self.settings))
        try:
            await engine.tick(self.now)
        except Killed:
            self.now += LEASE

    async def play(self):
        """From the alert to the last step."""
        await self.begin()
        while {(await self.states()).get(key) for key in ("comms.notify_merchants", "status.publish")} != {"done"}:
            await self.tick()
        await self.end()
        for _ in range(400):
            await self.tick()
            if (await self.states()).get("runbook-verdict") == "done":
                break

    async def states(self):
        found = await store.listing(self.pool)
        rows = await steps_store.steps(self.pool, found[0].id) if found else []
        return {row.key: row.state for row in rows}

    async def told(self):
        """For whoever reads why it failed."""
        (incident,) = await store.listing(self.pool)
        rows = await steps_store.steps(self.pool, incident.id)
        return "\n".join(f"{row.key:28} {row.state:15} {row.said}" for row in rows)

    async def outcome(self):
        """How each step ended, what was sent once and what was turned, and whether all is back."""
        (incident,) = await store.listing(self.pool)
        rows = await self.pool.fetch("SELECT event_id FROM event WHERE provider = 'holdfast'")
        sent = Counter(re.sub(r"[-/]\d+(?=/|$)", "", row[0]) for row in rows)
        repeated = ("comms.team_update", "overdue", "status.follow", "comms.update_merchants")
        turned = await self.pool.fetch("SELECT name, target, reason FROM lever_history WHERE what = 'set'")
        by_steps = Counter(tuple(row) for row in turned if "step" in row["reason"])
        off = await self.pool.fetchval("SELECT count(*) FROM lever")
        once = {key: count for key, count in sent.items() if not any(name in key for name in repeated)}
        return incident.state, await self.states(), once, by_steps, off
