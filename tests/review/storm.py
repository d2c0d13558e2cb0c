"""An incident as the engine would leave it behind: a retry storm of fifty minutes, with everything around it."""

import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.delivery import store as deliveries
from holdfast.delivery.store import NewDelivery
from holdfast.inbox import store as inbox
from holdfast.incidents import people_store
from holdfast.incidents import store as incidents
from holdfast.incidents.model import Incident
from holdfast.incidents.model import State as IncidentState
from holdfast.levers import store as levers
from holdfast.levers.model import EVERYTHING
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewDestination, NewMerchant
from holdfast.payments import store as payments
from holdfast.payments.model import Entry, State
from holdfast.queue import store as queue
from holdfast.queue.model import ClaimPolicy, Lane, Settled, Stage
from holdfast.queue.service import Claimer
from holdfast.runbooks import store as steps
from holdfast.runbooks.model import Step
from holdfast.signals import store as signals
from holdfast.signals.buckets import Bucket, Counts, Data, Levels, Spreads
from holdfast.signals.sketch import Sketch
from holdfast.watch import store as watch
from holdfast.watch.model import Alert, Evidence
from tests.inbox.events import event, new

BEGAN = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
VERSION = "0123456789ab"
TEXT = """\
---
id: stripe-retry-storm
title: Stripe retry storm
triggers: [stripe-retry-storm]
severity: critical
---
# Stripe retry storm

## Immediate actions

1. **Act**
   - [ ] Reduce concurrency
"""
RUNBOOK = "stripe-retry-storm"


def at(minutes: float) -> datetime:
    """So many minutes after it began."""
    return BEGAN + timedelta(minutes=minutes)


STEPS = (
    Step("queue.reduce", "do", "immediate", "1", "Reduce concurrency", 4, "queue.reduce"),
    Step("queue.paused", "ask", "immediate", "1", "Pause the bulk lane", 5, "queue.paused"),
    Step("merchants.mail", "ask", "communication", "2", "Tell the merchants", 6, "comms.merchants"),
    Step("verify.critical", "check", "recovery", "3", "Verify critical payments", 7, "verify.critical"),
    Step("look", "person", "investigation", "4", "Look at Stripe's change log", 8),
)


async def incident(pool, *, scope: str = "", began: datetime = BEGAN, runbook: str = RUNBOOK) -> Incident:
    """Just opened, three minutes after it began."""
    await incidents.keep_text(pool, VERSION, runbook, TEXT, began)
    made = await incidents.insert(
        pool,
        runbook=runbook,
        version=VERSION,
        scope=scope,
        title="Stripe sends everything again",
        severity="critical",
        cause="stripe",
        since=began,
        opened_by="holdfast",
        commander="ada",
        affected={},
        now=began + timedelta(minutes=3),
    )
    assert made is not None
    return made


async def resolved(pool, **changes: Any) -> Incident:
    """Opened at +3, acknowledged at +5, mitigating at +9, calm at +40, monitoring at +42, resolved at +50."""
    made = await incident(pool, **changes)
    began = made.since
    reached: tuple[tuple[IncidentState, int], ...] = (
        ("acknowledged", 5),
        ("mitigating", 9),
        ("monitoring", 42),
        ("resolved", 50),
    )
    for state, minutes in reached:
        await incidents.set_state(pool, made.id, state, began + timedelta(minutes=minutes))
    await incidents.set_calm(pool, made.id, began + timedelta(minutes=40))
    found = await incidents.get(pool, made.id)
    assert found is not None
    return found


async def worked(pool) -> Incident:
    """Resolved, with alert, steps, log, levers, messages and people as such an incident leaves them."""
    await people_store.put(pool, "ada", "Ada", "ada@example.com", "admin")
    made = await resolved(pool)
    alert = Alert(
        key=RUNBOOK,
        runbook=RUNBOOK,
        cause="stripe",
        severity="critical",
        title="Stripe sends everything again",
        why="Duplicates grew while nothing of ours failed.",
        since=BEGAN,
        opened_at=at(2),
        evidence=(Evidence("duplicates", 62.0, 0.4, "%", "usual"),),
    )
    number, _ = await watch.keep(pool, alert, {}, at(2))
    await watch.close(pool, RUNBOOK, at(40))
    await incidents.join(pool, made.id, number, at(3))
    await steps.add(pool, made.id, STEPS)
    await _ran(pool, made.id)
    await _turned(pool, made.id)
    return made


async def _ran(pool, number: int) -> None:
    async def log(minutes, kind, text, actor="holdfast", step=None, **evidence):
        await incidents.write(
            pool, number, kind, text, actor=actor, now=at(minutes), step=step, evidence=evidence or None
        )

    async def ran(key, began, ended, state, said, actor="holdfast", tries=1):
        await steps.begin(pool, number, key, runs=1, now=at(began))
        await steps.put(pool, number, key, state, said=said, now=at(ended), actor=actor, tries=tries)

    await log(3, "opened", "Opened from the alert stripe-retry-storm")
    await log(3, "alert", "stripe-retry-storm joined: Stripe sends everything again")
    await log(5, "state", "detected → acknowledged", actor="ada")
    await ran("queue.reduce", 8, 9, "done", "router.concurrency is 2")
    await log(9, "step", "Reduce concurrency: router.concurrency 4 → 2", step="queue.reduce", before=4, value=2)
    await log(9, "state", "acknowledged → mitigating")
    await ran("queue.paused", 9, 22, "done", "the bulk lane is paused", actor="ada")
    await log(9, "step", "Pause the bulk lane: waits for ada", step="queue.paused")
    await log(22, "step", "Pause the bulk lane: done", actor="ada", step="queue.paused")
    await ran("merchants.mail", 10, 12, "skipped", "too few were affected", actor="ada")
    await log(12, "step", "Tell the merchants: skipped, too few were affected", actor="ada", step="merchants.mail")
    for minute in range(13, 30):
        said = f"Verify critical payments: waits: {1000 - minute} to go"
        await log(minute, "step", said, step="verify.critical")
    await log(30, "message", "Posted to the team: improving", team="#ops", length=120)
    await ran("verify.critical", 13, 44, "done", "3 of 3 critical payments are in the ledger", tries=3)
    await log(44, "step", "Verify critical payments: 3 of 3 are in the ledger", step="verify.critical")
    await log(42, "state", "mitigating → monitoring")
    await log(45, "note", "<script>alert(1)</script> | Grüße 漢字 👋", actor="bob")
    await log(50, "state", "monitoring → resolved", actor="ada")
    await ran("look", 46, 49, "failed", "the page was away", actor="ada")


async def _turned(pool, number: int) -> None:
    await levers.turn(
        pool,
        "router.concurrency",
        EVERYTHING,
        2,
        actor="holdfast",
        reason="storm",
        lasts=None,
        incident_id=number,
        now=at(9),
    )
    await levers.turn(
        pool,
        "processes.workers",
        EVERYTHING,
        6,
        actor="ada",
        reason="help it along",
        lasts=None,
        incident_id=number,
        now=at(25),
    )
    await levers.clear(pool, "router.concurrency", EVERYTHING, actor="holdfast", reason="over", now=at(43))


@dataclass
class Traffic:
    """Receives, routes and delivers at given times."""

    pool: Any
    merchants: dict[str, int] = field(default_factory=dict)
    destinations: dict[str, int] = field(default_factory=dict)

    async def merchant(self, key: str, name: str) -> int:
        made = await merchants.insert(self.pool, NewMerchant(key, name, None, f"acct_{key}"))
        sent = await merchants.insert_destination(
            self.pool, NewDestination(made.id, "webhook", f"https://{key}.example", (), ("*",))
        )
        self.merchants[key], self.destinations[key] = made.id, sent.id
        return made.id

    async def event(
        self,
        key: str,
        received: float,
        *,
        lane: Lane = Lane.CRITICAL,
        routed: float | None = None,
        outcome: str = "applied",
        amount: int | None = None,
        currency: str = "usd",
    ) -> str:
        """One event received and routed so many minutes after it all began; its payment's id."""
        made = event(account=f"acct_{key}", livemode=True)
        about = new(made, at(received).timestamp())
        await inbox.append(self.pool, [about], [lane], [self.merchants[key]])
        object_id: str = made["data"]["object"]["id"]
        if routed is not None:
            await self.settle(Stage.ROUTE, outcome, routed)
        if amount is not None:
            await self.payment(object_id, amount, currency, self.merchants[key])
        return object_id

    async def payment(self, object_id, amount, currency, merchant_id, *, kind="payment_intent", belongs_to=None):
        state = State("succeeded", currency, amount, amount, 0, belongs_to)
        row = Entry(object_id, kind, None, merchant_id, True, state, BEGAN, "evt_1", BEGAN, "evt_1", BEGAN, 1)
        await payments.apply(self.pool, [row])

    async def notify(
        self, key: str, ended: float | None, outcome: str = "delivered", lane: Lane = Lane.CRITICAL
    ) -> None:
        """The newest event's notification, which ends so many minutes after it all began."""
        seq = await self.pool.fetchval("SELECT max(seq) FROM event")
        await deliveries.plan(self.pool, [NewDelivery(seq, self.destinations[key], self.merchants[key], Lane.CRITICAL)])
        if ended is not None:
            await self.settle(Stage.DELIVER, outcome, ended)

    async def settle(self, stage: Stage, outcome: str, minutes: float) -> None:
        works = await Claimer(self.pool, stage, ClaimPolicy()).claim(1000)
        assert works
        await queue.settle(self.pool, stage, works, [Settled(work.ref, outcome) for work in works], now=at(minutes))

    async def duplicates(self, count: int, minutes: float) -> None:
        received = at(minutes).timestamp()
        await inbox.count_duplicates(self.pool, [("stripe", f"evt_{n}", received) for n in range(count)])


async def traffic(pool) -> Traffic:
    """Two merchants: the bakery late, the florist not."""
    made = Traffic(pool)
    await made.merchant("bakery", "Bäckerei 漢字 Ωmega")
    await made.merchant("florist", "Florist | & <Söhne>")
    await made.event("florist", 1, routed=1.01, amount=500)
    await made.notify("florist", 1.02)
    await made.event("bakery", 10, routed=14, amount=1099)
    await made.notify("bakery", 15)
    await made.event("bakery", 12, routed=22, amount=250_000, currency="jpy")
    await made.notify("bakery", 23, outcome="dead")
    await made.event("bakery", 20, lane=Lane.BULK, routed=24)
    await made.duplicates(40, 15)
    return made


async def signals_of(pool, *, seconds: int = 5) -> None:
    """Two hours of a storm, as the processes would have measured it."""
    rng = random.Random(5)
    made: list[Bucket] = []
    for tick in range(-32 * 12, 68 * 12):
        minute = tick / 12
        storm = 3 <= minute <= 40
        depth = max(0.0, 900 - abs(minute - 22) * 45) if storm else 2.0
        data: dict[str, Data] = {
            "webhooks_received": Counts(
                {"stripe\x1fnew": 250 + rng.random() * 25, "stripe\x1fduplicate": 750.0 * storm + 2}
            ),
            "event_to_routed_seconds": _spread({"critical": 8 if storm else 0.01, "bulk": 40 if storm else 0.02}, rng),
            "queue_depth": Levels(
                {"route\x1fcritical": depth, "route\x1fbulk": depth * 3, "deliver\x1fcritical": depth / 4}
            ),
            "queue_oldest_age_seconds": Levels({"route\x1fcritical": depth / 30, "route\x1fbulk": depth / 5}),
            "routers_at_work": Levels({"": 2.0 if 9 <= minute <= 43 else 4.0}, "sum"),
            "events_routed": Counts({"critical\x1fapplied": 240.0}),
            "router_errors": Counts({"batch": 5.0 * storm}),
            "delivery_attempts": Counts({"webhook\x1fdelivered": 170.0, "webhook\x1fretry": 40.0 * storm + 1}),
        }
        made += [Bucket(name, at(minute), seconds, one) for name, one in data.items()]
    await signals.add(pool, [], uuid.UUID(int=3), made)


def _spread(centres: dict[str, float], rng: random.Random) -> Spreads:
    found = {}
    for lane, centre in centres.items():
        sketch = Sketch()
        for _ in range(8):
            sketch.observe(centre * (0.5 + rng.random() * 2))
        found[lane] = (sketch.total, sketch.bins)
    return Spreads(found)
