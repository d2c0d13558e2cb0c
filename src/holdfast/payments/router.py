"""`stripe_webhook_router`: claimed events are applied to the ledger, and the notifications for them are planned.

One transaction a batch takes the events out of the queue, applies them and plans the deliveries: all of it or nothing,
so that no event is applied twice or half. What is applied can be applied again without harm (see `model.merged`).
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog

from holdfast import logs
from holdfast.db.pool import AWAY, Pool
from holdfast.delivery import store as deliveries
from holdfast.delivery.backoff import Backoff
from holdfast.delivery.store import NewDelivery
from holdfast.inbox import store as inbox
from holdfast.inbox.model import NO_MERCHANT, Event
from holdfast.levers.service import Levers
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import COMPANY
from holdfast.payments import owners, store
from holdfast.payments.fetching import IN_HAND, Fetcher, is_thin
from holdfast.payments.model import Entry, Fact, StripeApiError, entry, folded
from holdfast.payments.reading import UnreadableError, concerns_payments, read_event
from holdfast.payments.signals import ERRORS, PLANNED, ROUTED, TO_ROUTED
from holdfast.payments.store import Owner
from holdfast.queue import store as queue
from holdfast.queue.model import Postponed, Settled, Stage, Work
from holdfast.queue.service import Claimer

if TYPE_CHECKING:
    from holdfast.payments.stripe import StripeReader

log = structlog.get_logger()

GIVES_BACK = 2.0
"""Seconds that a router has to give back what is in hand when the process stops."""
Found = Fact | Settled | Postponed | None
"""The fact in an event; what to settle it as or when to try again, where there is none to be had; None: no need."""
Fetched = Mapping[int, Found]
"""What was fetched for thin events, by their seq."""
NOTHING: Fetched = MappingProxyType({})


@dataclass(slots=True)
class _Plan:
    """What a batch will do, by the seq of its events."""

    settled: list[Settled] = field(default_factory=list)
    entries: dict[int, Entry] = field(default_factory=dict)
    deliveries: dict[int, list[NewDelivery]] = field(default_factory=dict)
    postponed: list[Postponed] = field(default_factory=list)


class StripeWebhookRouter:
    """Routes claimed events. Several may run at once, in one process or many."""

    def __init__(
        self,
        pool: Pool,
        claimer: Claimer,
        catalogue: Catalogue,
        *,
        number: int = 0,
        stripe: "StripeReader | None" = None,
        planned: Callable[[], None] = lambda: None,
        batch: int = 400,
        backoff: Backoff | None = None,
        levers: Levers | None = None,
        rng: Random | None = None,
    ) -> None:
        """`number` (from 0) is which of its process's routers this is: a lane's limit is for the first few.

        `stripe` fetches what thin events point at; without it they are kept as `unfetched`.

        `planned` is called after each batch that queued deliveries. `backoff` is for events that fail to be routed.
        """
        self._pool = pool
        self._claimer = claimer
        self._number = number
        self._catalogue = catalogue
        self._planned = planned
        self._batch = batch
        self._levers = levers or Levers(routers=1, deliveries=0)
        self._backoff = backoff or Backoff(base=2.0, factor=3.0, cap=900.0, tries=12)
        self._rng = rng or Random()  # noqa: S311 - jitter
        self._held: list[Work] = []
        self._held_since = 0.0
        # In line, fetching, and settling what was fetched: each has a third of the lease.
        self._fetcher = Fetcher(stripe, claimer.lease.total_seconds() / 3)
        self._fetching: dict[asyncio.Task[None], Work] = {}

    async def tick(self, now: datetime | None = None) -> int:
        """Claim a batch and route it; returns how many events were claimed (1 if there may be more to claim).

        Raises what `AWAY` lists; the batch is kept and routed by the next tick, while its lease lasts.
        """
        works = self._still_held()
        if not works:
            lanes = self._levers.lanes_of_router(self._number)
            works = await self._claimer.claim(self._batch, lanes=lanes, now=now)
            self._held, self._held_since = works, time.monotonic()
        if works:
            await self._take(works, now)
            self._held = []
        return len(works) or int(not self._claimer.exhausted)

    @property
    def holds_work(self) -> bool:
        """Whether a batch that could not be routed is kept for the next tick."""
        return bool(self._held)

    async def fetched(self) -> None:
        """Wait for the fetches that are under way, and what comes of them."""
        await asyncio.gather(*self._fetching, return_exceptions=True)

    async def finish(self) -> None:
        """Break off the fetches that are under way, and give back what is in hand: no lease has to end first."""
        tasks, works = list(self._fetching), [*self._fetching.values(), *self._held]
        self._held = []
        if not works:
            return
        for task in tasks:
            task.cancel()
        try:
            async with asyncio.timeout(GIVES_BACK):
                await asyncio.gather(*tasks, return_exceptions=True)
                back = [Postponed(work.ref, 0.0, tried=False) for work in works]
                await queue.postpone(self._pool, Stage.ROUTE, works, back, now=None)
        except AWAY as error:
            log.warning("router.not_given_back", events=len(works), error=type(error).__name__)

    def _still_held(self) -> list[Work]:
        held = time.monotonic() - self._held_since
        return self._held if held < self._claimer.lease.total_seconds() / 2 else []

    async def _take(self, works: list[Work], now: datetime | None) -> None:
        await self._catalogue.refresh(self._pool)
        events = {event.seq: event for event in await inbox.load(self._pool, [work.ref for work in works])}
        works = self._begin_fetches(works, events, now)
        self._held = works  # what is being fetched is not begun again if the store goes away now
        try:
            await self._route(works, events, now)
        except AWAY:
            raise
        except Exception:
            # One event that cannot be routed must not take the others with it.
            ERRORS.inc(1, "batch")
            log.exception("router.batch_failed", events=len(works))
            for work in works:
                await self._route_alone(work, events, now)

    async def _route(
        self, works: Sequence[Work], events: Mapping[int, Event], now: datetime | None, fetched: Fetched = NOTHING
    ) -> None:
        read = {
            work.ref: fetched[work.ref] if work.ref in fetched else self._read(events[work.ref])
            for work in works
            if work.ref in events
        }
        own = [item for seq, item in read.items() if isinstance(item, Fact) and events[seq].account is None]
        async with self._pool.acquire() as connection, connection.transaction():
            parents = await owners.of_parents(connection, own, now) if own else {}
            plan = self._plan(works, events, read, parents)
            ours = await queue.settle(connection, Stage.ROUTE, works, plan.settled, now=now)
            entries = [item for seq, item in plan.entries.items() if seq in ours]
            await store.apply(connection, folded(entries))
            planned = [item for seq, items in plan.deliveries.items() if seq in ours for item in items]
            added = await deliveries.plan(connection, planned)
            if plan.postponed:
                await queue.postpone(connection, Stage.ROUTE, works, plan.postponed, now=now)
        self._count(works, plan, ours)
        if added:
            PLANNED.inc(added)
            self._planned()

    async def _route_alone(
        self, work: Work, events: Mapping[int, Event], now: datetime | None, fetched: Fetched = NOTHING
    ) -> None:
        try:
            await self._route([work], events, now, fetched)
        except AWAY:
            raise
        except Exception as error:
            ERRORS.inc(1, "event")
            delay = self._backoff.next_try(work.attempts, None, self._rng, self._levers.backoff)
            reason = logs.said(error)[:500]
            log.exception("router.event_failed", seq=work.ref, attempt=work.attempts, dead=delay is None)
            if delay is None:
                await queue.settle(self._pool, Stage.ROUTE, [work], [Settled(work.ref, "dead", reason)], now=now)
            else:
                await queue.postpone(self._pool, Stage.ROUTE, [work], [Postponed(work.ref, delay)], now=now)

    def _begin_fetches(self, works: Sequence[Work], events: Mapping[int, Event], now: datetime | None) -> list[Work]:
        """Fetch for as many thin events as there is room; returns the other works, which do not wait for Stripe."""
        others = []
        for work in works:
            event = events.get(work.ref)
            if event is not None and len(self._fetching) < IN_HAND and self._fetcher.can_fetch(event):
                task = asyncio.create_task(self._route_thin(work, event, now))
                self._fetching[task] = work
                task.add_done_callback(self._fetching.__delitem__)
            else:
                others.append(work)
        return others

    async def _route_thin(self, work: Work, event: Event, now: datetime | None) -> None:
        try:
            found = await self._fetcher.fetch(event)
            if isinstance(found, StripeApiError):
                found = self._unfetched(work, found)
            await self._route_alone(work, {event.seq: event}, now, {event.seq: found})
        except AWAY as error:  # it comes back when its lease ends
            log.warning("router.thin_kept", event_id=event.event_id, error=type(error).__name__)
        except Exception:
            ERRORS.inc(1, "thin")
            log.exception("router.thin_failed", event_id=event.event_id)

    def _unfetched(self, work: Work, error: StripeApiError) -> Settled | Postponed:
        """What cannot be had now is tried again later, while there are tries left."""
        delay = self._backoff.next_try(work.attempts, None, self._rng, self._levers.backoff) if error.passing else None
        return Settled(work.ref, "unfetched", str(error)) if delay is None else Postponed(work.ref, delay)

    def _plan(
        self,
        works: Sequence[Work],
        events: Mapping[int, Event],
        read: Mapping[int, Found],
        parents: Mapping[str, Owner],
    ) -> _Plan:
        plan = _Plan()
        for work in works:
            event = events.get(work.ref)
            if event is None:
                plan.settled.append(Settled(work.ref, "dead", "the event is gone"))
            else:
                self._plan_event(plan, event, read[work.ref], parents)
        return plan

    def _plan_event(self, plan: _Plan, event: Event, found: Found, parents: Mapping[str, Owner]) -> None:
        if isinstance(found, Postponed):
            plan.postponed.append(found)
            return
        account, merchant_id = event.account, self._catalogue.merchant_of(event.account)
        outcome, note = "stored", None
        if isinstance(found, Fact):
            outcome = "applied"
            if account is None:
                account, merchant_id = owners.owner_of(found, parents)
                merchant_id = self._catalogue.merchant_of(account) or merchant_id
                if found.parents and parents.keys().isdisjoint(found.parents):
                    note = f"{found.parents[0]}, which it belongs to, has not come yet: then it is looked at again"
            plan.entries[event.seq] = entry(found, account=account, merchant_id=merchant_id, livemode=event.livemode)
        elif found is not None:
            outcome, note = found.outcome, found.note
        if merchant_id == COMPANY and account is not None and outcome in ("applied", "stored"):
            outcome, note = "unmatched", f"{NO_MERCHANT}{account}"
        plan.settled.append(Settled(event.seq, outcome, note, merchant_id))
        subscribers = self._catalogue.subscribers(merchant_id, event.type)
        if subscribers:
            plan.deliveries[event.seq] = [
                NewDelivery(event.seq, destination_id, merchant_id, event.lane) for destination_id in subscribers
            ]

    def _read(self, event: Event) -> Found:
        if not concerns_payments(event.type):
            return None
        if is_thin(event):
            return self._fetcher.unread(event)
        try:
            return read_event(event.body, event.event_id, event.created_at)
        except UnreadableError as error:
            log.warning("router.unreadable", event_id=event.event_id, type=event.type, reason=str(error))
            return Settled(event.seq, "unreadable", str(error))

    def _count(self, works: Sequence[Work], plan: _Plan, ours: set[int]) -> None:
        now, received = time.time(), {work.ref: work for work in works}
        for result in plan.settled:
            if result.ref in ours:
                work = received[result.ref]
                ROUTED.inc(1, work.lane.label, result.outcome)
                TO_ROUTED.observe(now - work.received_at.timestamp(), work.lane.label)
