"""Merchants whose events are late or not, and what sends messages about them."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.comms.affected import affected
from holdfast.delivery.backoff import Backoff
from holdfast.delivery.mail import MailSender
from holdfast.delivery.service import Deliverer, Sender
from holdfast.delivery.team import TeamSender
from holdfast.inbox import store as inbox
from holdfast.incidents.model import Incident
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import Kind, NewDestination, NewMerchant
from holdfast.payments.router import StripeWebhookRouter
from holdfast.queue import store as queue
from holdfast.queue.model import ClaimPolicy, Lane, Postponed, Settled, Stage
from holdfast.queue.service import Claimer
from tests.inbox.events import event, new

MINUTE = timedelta(minutes=1)


def incident(since: datetime, **changes) -> Incident:
    fields: dict[str, Any] = {
        "id": 7,
        "runbook": "webhook-backlog",
        "version": "0",
        "scope": "",
        "title": "Events wait",
        "severity": "critical",
        "state": "detected",
        "cause": "spike",
        "commander": None,
        "since": since,
        "opened_at": since,
        "opened_by": "holdfast",
    }
    return Incident(**(fields | changes))


class Town:
    """Merchants with a webhook each, whose events come in, are routed and delivered at chosen times."""

    def __init__(self, pool) -> None:
        self.pool = pool
        self.now = datetime.now(UTC)
        self.incident = incident(self.now - 30 * MINUTE)

    async def merchant(self, key, email=None) -> int:
        made = await merchants.insert(self.pool, NewMerchant(key, key.title(), email, f"acct_{key}"))
        new = NewDestination(made.id, "webhook", f"https://{key}.example", (), ("*",))
        await merchants.insert_destination(self.pool, new)
        return made.id

    async def receive(self, key, count=1, ago=0.0, lane=Lane.CRITICAL) -> None:
        found = await merchants.find(self.pool, key)
        assert found is not None
        at = (self.now - ago * MINUTE).timestamp()
        made = [new(event(account=f"acct_{key}"), at) for _ in range(count)]
        await inbox.append(self.pool, made, [lane] * count, [found.id] * count)

    async def route(self, ago=0.0) -> None:
        router = StripeWebhookRouter(self.pool, Claimer(self.pool, Stage.ROUTE, ClaimPolicy()), Catalogue())
        while await router.tick():
            pass
        at = self.now - ago * MINUTE
        await self.pool.execute("UPDATE done SET done_at = $1 WHERE stage = 1 AND done_at > $2", at, self.now)
        await self.pool.execute("UPDATE delivery SET created_at = $1 WHERE created_at > $2", at, self.now)
        await self.pool.execute("UPDATE work SET received_at = $1 WHERE stage = 2 AND received_at > $2", at, self.now)

    async def claim(self):
        return await Claimer(self.pool, Stage.DELIVER, ClaimPolicy()).claim(1000)

    async def deliver(self, ago=0.0, outcome="delivered") -> None:
        works = await self.claim()
        settled = [Settled(work.ref, outcome) for work in works]
        await queue.settle(self.pool, Stage.DELIVER, works, settled, now=self.now - ago * MINUTE)

    async def fail(self) -> None:
        works = await self.claim()
        await queue.postpone(self.pool, Stage.DELIVER, works, [Postponed(work.ref, 60.0) for work in works], now=None)

    async def affected(self, **options):
        return await affected(self.pool, self.incident, self.now, **options)


AGAIN = Backoff(base=0.0, cap=0.0, tries=5)
FROM = "Holdfast <ops@holdfast.example>"


@asynccontextmanager
async def deliverer(pool, settings, post=None, backoff=AGAIN):
    senders: dict[Kind, Sender] = {"team": TeamSender(settings.team_channels)}
    if post is None:
        yield Deliverer(pool, Catalogue(), senders, backoff=backoff)
        return
    async with MailSender(post.url, FROM) as mail:
        senders["contact"] = mail
        yield Deliverer(pool, Catalogue(), senders, backoff=backoff)


async def work_off(sending, patience=15.0) -> None:
    async with asyncio.timeout(patience):
        while await sending.tick() or sending.in_flight or sending.ended.is_set():
            sending.ended.clear()
            await sending.settle()
            await asyncio.sleep(0.005)


async def send(pool, settings, post) -> None:
    async with deliverer(pool, settings, post) as sending:
        await work_off(sending)


def asking(run, **changes):
    return replace(run, step="comms.notify_merchants", **changes)


async def late_bakery_and_florist(town) -> None:
    await town.merchant("bakery", "owner@bakery.example")
    await town.merchant("florist", "owner@florist.example")
    await town.merchant("grocer")
    await town.receive("bakery", 3, ago=12)
    await town.receive("florist", 5, ago=8)
    await town.receive("grocer", 1, ago=9)


def over(run):
    """The run once the trouble is over."""
    return replace(run, incident=replace(run.incident, calm_at=run.now))
