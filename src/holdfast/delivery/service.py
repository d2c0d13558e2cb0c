"""Sends what is queued: claims deliveries, tries each once, and settles what came of them together."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Protocol

import structlog

from holdfast.db.pool import AWAY, Pool
from holdfast.delivery import store
from holdfast.delivery.backoff import Backoff
from holdfast.delivery.breaker import BreakerState
from holdfast.delivery.gate import Gate
from holdfast.delivery.limiter import START
from holdfast.delivery.model import Attempt, Message, Outcome
from holdfast.delivery.signals import ATTEMPTS, SECONDS, SETTLED, TO_DELIVERED
from holdfast.delivery.store import Loaded
from holdfast.levers.service import Levers
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import BY_MAIL, FOR_MESSAGES, Destination, Kind
from holdfast.queue import store as queue
from holdfast.queue.model import ClaimPolicy, Lane, Postponed, Settled, Shared, Stage, Work
from holdfast.queue.service import Claimer

log = structlog.get_logger()

NOT_SET_UP = 300.0
"""Seconds between looks at deliveries of a kind that has no sender, such as mail without HOLDFAST_SMTP_URL."""


MOST_BEGUN = 128
"""Tries begun in one go: the answers to others wait meanwhile."""


class Sender(Protocol):
    async def send(self, destination: Destination, message: Message, now: datetime) -> Attempt: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """`concurrency` tries at once in this process, of which `reserve` are kept for critical ones.

    `per_destination` is the ceiling where a destination has none of its own, `timeout` the seconds of a whole try.
    `mails` are the most at once of all that goes through the mail server: what its connections carry, and a few that
    stand ready. However slow it is, the other slots are for the others.
    """

    concurrency: int = 256
    reserve: int = 32
    per_destination: int = 64
    mails: int = 8
    timeout: float = 15.0

    @property
    def policy(self) -> ClaimPolicy:
        """A lease that outlasts a try; longer waits renew it."""
        return ClaimPolicy(lease=timedelta(seconds=max(60.0, 2 * self.timeout + 30.0)))


@dataclass(frozen=True, slots=True)
class _Result:
    """A try that ended, or a delivery that was not tried: then it waits `delay` seconds, or is `dead` for a reason."""

    work: Work
    received_at: datetime | None = None
    attempt: Attempt | None = None
    delay: float | None = None
    dead: str | None = None


class Deliverer:
    """One process's sending. `tick` claims and begins; results are settled in the background by `settle`."""

    def __init__(
        self,
        pool: Pool,
        catalogue: Catalogue,
        senders: dict[Kind, Sender],
        *,
        limits: Limits | None = None,
        backoff: Backoff | None = None,
        levers: Levers | None = None,
        rng: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._catalogue = catalogue
        self._senders = senders
        self._limits = limits or Limits()
        self._backoff = backoff or Backoff()
        self._rng = rng or Random()  # noqa: S311 - jitter
        self._clock = clock
        self._levers = levers or Levers(routers=0, deliveries=self._limits.concurrency)
        self._claimer = Claimer(pool, Stage.DELIVER, self._limits.policy, lambda: self._levers.rules)
        self._heeded = self._levers.snapshot
        self._gates: dict[int, Gate] = {}
        self._mail_server = self._new_gate(self._limits.mails)
        self._held: Counter[Kind] = Counter()
        self._held_told = -NOT_SET_UP
        self._in_hand: dict[int, tuple[Work, float]] = {}
        self._tasks: dict[asyncio.Task[None], Work] = {}
        self._results: list[_Result] = []
        self._settling = asyncio.Lock()
        self.ended = asyncio.Event()
        """Set when there is something to settle."""
        self.progress = asyncio.Event()
        """Set when a slot came free."""

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    @property
    def free(self) -> int:
        return self._levers.deliveries - len(self._in_hand)

    async def tick(self, now: datetime | None = None) -> int:
        """Claim what can be sent now and begin sending it; returns how much. Raises what `AWAY` lists."""
        free, reserve = self.free, min(self._limits.reserve, self._levers.deliveries // 2)
        if free <= 0:
            return 0
        lanes = (Lane.CRITICAL,) if free <= reserve else tuple(Lane)
        limit = free if free <= reserve else free - reserve
        self._heed_levers()
        await self._catalogue.refresh(self._pool)
        works = await self._claimer.claim(
            min(limit, MOST_BEGUN),
            most=self._room(),
            slots=self._slots(),
            default_slots=min(START, self._limits.per_destination),
            lanes=lanes,
            shared=self._mails(),
            now=now,
        )
        if works:
            await self._begin(works)
        return len(works) or int(not self._claimer.exhausted)

    def _mails(self) -> Shared | None:
        """What goes by mail gets what the mail server has room for: nothing while it is down, and waits untried."""
        return Shared(BY_MAIL, self._mail_server.slots(self._clock())) if self._catalogue.has_mailboxes else None

    def _room(self) -> Mapping[Lane, int]:
        """How many more each lane that has a limit may have in hand."""
        limits = self._levers.lanes[Stage.DELIVER]
        if not limits:
            return limits
        in_hand = Counter(work.lane for work, _ in self._in_hand.values())
        return {lane: limit - in_hand[lane] for lane, limit in limits.items()}

    def _heed_levers(self) -> None:
        """Ceilings that were turned hold at once, also where nothing is begun just now."""
        if self._heeded is not self._levers.snapshot:
            self._heeded = self._levers.snapshot
            for key, gate in self._gates.items():
                destination = self._catalogue.destination(key)
                if destination is not None:
                    gate.limiter.ceiling = self._ceiling(destination)

    def _ceiling(self, destination: Destination) -> int:
        return self._levers.ceiling(destination.id, destination.ceiling or self._limits.per_destination)

    def _slots(self) -> dict[int, int]:
        """What each destination may get now; those that are not here had nothing yet, and begin with `START`."""
        clock = self._clock()
        first = {key: min(START, ceiling) for key, ceiling in self._catalogue.ceilings.items()}
        return first | {key: gate.slots(clock) for key, gate in self._gates.items()}

    async def _begin(self, works: Sequence[Work]) -> None:
        clock = self._clock()
        self._in_hand |= {work.ref: (work, clock) for work in works}
        try:
            loaded = await store.load(self._pool, [work.ref for work in works])
            if any(self._catalogue.destination(work.destination_id) is None for work in works):
                await self._catalogue.refresh(self._pool)  # it may have been added together with what goes there
        except Exception:
            for work in works:  # given back untried as soon as the store answers again
                self._end(_Result(work, delay=0.0))
            raise
        for work in works:
            found = loaded.get(work.ref)
            destination = self._catalogue.destination(work.destination_id)
            if found is None:
                self._end(_Result(work, dead="the delivery or its event is gone"))
            elif destination is None:
                self._end(_Result(work, dead="the destination was removed"))
            elif not destination.enabled:
                self._end(_Result(work, dead="the destination is disabled"))
            elif destination.kind not in self._senders:
                self._hold(work, destination)
            else:
                self._start(work, found, destination)

    def _start(self, work: Work, found: Loaded, destination: Destination) -> None:
        gate, clock = self._gate(destination), self._clock()
        permit = gate.begin(clock, retry=work.attempts > 1)
        if isinstance(permit, float):
            self._end(_Result(work, delay=permit))
            return
        passed = self._mail_server.begin(clock, retry=False) if destination.kind in BY_MAIL else None
        if isinstance(passed, float):
            gate.cancel(permit)
            self._end(_Result(work, delay=passed))
            return
        task = asyncio.create_task(self._deliver(work, found, destination, gate, (permit, passed)))
        self._tasks[task] = work
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def _hold(self, work: Work, destination: Destination) -> None:
        """We cannot send this kind yet: it waits until somebody sets it up."""
        self._held[destination.kind] += 1
        self._end(_Result(work, delay=NOT_SET_UP))

    def _gate(self, destination: Destination) -> Gate:
        ceiling = self._ceiling(destination)
        gate = self._gates.get(destination.id)
        if gate is None:
            gate = self._new_gate(ceiling)
            self._gates[destination.id] = gate
        gate.limiter.ceiling = ceiling
        return gate

    def _new_gate(self, ceiling: int) -> Gate:
        return Gate(self._rng, ceiling, self._limits.timeout, self._clock())

    async def _deliver(
        self, work: Work, found: Loaded, destination: Destination, gate: Gate, permits: tuple[int, int | None]
    ) -> None:
        """`permits`: the gate's and, for what goes by mail, the mail server's."""
        sender, (permit, passed) = self._senders[destination.kind], permits
        try:
            attempt = await sender.send(destination, self._message(work, found), datetime.now(UTC))
        except asyncio.CancelledError:
            gate.cancel(permit)
            if passed is not None:
                self._mail_server.cancel(passed)
            raise
        except Exception as error:
            log.exception("delivery.sender_failed", delivery_id=work.ref, destination_id=destination.id)
            attempt = Attempt(Outcome.RETRY, None, 0.0, f"not sent: {type(error).__name__}")
        if passed is not None:
            _note(self._mail_server, passed, attempt, self._clock(), "mail_server")
        if passed is not None and attempt.down:
            gate.cancel(permit)  # that our mail server is down says nothing of the mailbox
        else:
            _note(gate, permit, attempt, self._clock(), "destination", destination_id=destination.id)
        ATTEMPTS.inc(1, destination.kind, attempt.outcome.value)
        SECONDS.observe(attempt.latency, destination.kind)
        self._end(self._judged(work, found, attempt))

    def _message(self, work: Work, found: Loaded) -> Message:
        merchant = self._catalogue.merchant(found.merchant_id)
        return Message(
            delivery_id=work.ref,
            # Of the event, not the delivery: should a crash undo the planning, it comes again under the same id.
            webhook_id=f"msg_{found.event_seq}_{work.destination_id}",
            attempt=work.attempts,
            event_id=found.event_id,
            event_type=found.type,
            created=found.created_at,
            received=found.received_at,
            account=found.account,
            merchant=merchant.key if merchant else None,
            livemode=found.livemode,
            body=found.body,
            headers=found.headers,
        )

    def _judged(self, work: Work, found: Loaded, attempt: Attempt) -> _Result:
        """Whether it is done, tried again (when), or dead (why)."""
        received, why = found.received_at, attempt.error or "no reason given"
        if attempt.outcome is Outcome.DELIVERED:
            return _Result(work, received, attempt)
        if attempt.outcome is not Outcome.RETRY:
            return _Result(work, received, attempt, dead=why)
        stretch = self._levers.backoff
        delay = self._backoff.next_try(work.attempts, attempt.retry_after, self._rng, stretch)
        if delay is None:
            return _Result(work, received, attempt, dead=f"given up after {work.attempts} tries; the last: {why}")
        return _Result(work, received, attempt, delay=delay)

    def _end(self, result: _Result) -> None:
        self._results.append(result)
        self.ended.set()

    # Settling

    async def settle(self, now: datetime | None = None) -> int:
        """Write down all results that came in; returns how many. Raises what `AWAY` lists, and loses none."""
        async with self._settling:
            results = self._results[:500]
            if not results:
                return 0
            await self._write(results, now)
            del self._results[: len(results)]
        for result in results:
            self._in_hand.pop(result.work.ref, None)
        self.progress.set()
        return len(results)

    async def _write(self, results: Sequence[_Result], now: datetime | None) -> None:
        works = [result.work for result in results]
        tried = [(result.work, result.attempt) for result in results if result.attempt is not None]
        ended = [
            Settled(result.work.ref, "dead" if result.dead is not None else "delivered", result.dead)
            for result in results
            if result.delay is None
        ]
        later = [
            Postponed(result.work.ref, result.delay, tried=result.attempt is not None)
            for result in results
            if result.delay is not None
        ]
        async with self._pool.acquire() as connection, connection.transaction():
            if tried:
                await store.record(connection, tried, now=now)
            ours = await queue.settle(connection, Stage.DELIVER, works, ended, now=now) if ended else set()
            if later:
                await queue.postpone(connection, Stage.DELIVER, works, later, now=now)
            for result in results:
                if result.attempt is not None and result.attempt.gone:
                    await self._disable(connection, result.work)
        self._count(results, ours)

    async def _disable(self, connection: merchants.Executor, work: Work) -> None:
        why = "it answered 410 Gone"
        if await merchants.set_enabled(connection, work.destination_id, False, why):
            log.warning("destination.disabled", destination_id=work.destination_id, reason=why)

    def _count(self, results: Sequence[_Result], ours: set[int]) -> None:
        now = time.time()
        for result in results:
            if result.work.ref not in ours:
                continue
            lane = result.work.lane.label
            SETTLED.inc(1, lane, "delivered" if result.dead is None else "dead")
            if result.dead is not None:
                log.warning(
                    "delivery.dead",
                    delivery_id=result.work.ref,
                    destination_id=result.work.destination_id,
                    reason=result.dead,
                )
            elif result.received_at is not None and not self._is_ours(result.work):
                TO_DELIVERED.observe(now - result.received_at.timestamp(), lane)

    def _is_ours(self, work: Work) -> bool:
        """Whether it is a message of our own: how late these are says nothing of merchants' notifications."""
        destination = self._catalogue.destination(work.destination_id)
        return destination is not None and destination.kind in FOR_MESSAGES

    # Housekeeping

    async def renew(self, now: datetime | None = None) -> None:
        """Prolong the leases of what has been in hand for long, forget idle destinations, tell what cannot be sent."""
        clock, lease = self._clock(), self._limits.policy.lease
        old = [work for work, since in self._in_hand.values() if clock - since > lease.total_seconds() / 4]
        if old:
            await queue.renew(self._pool, Stage.DELIVER, old, lease, now=now)
        for key in [key for key, gate in self._gates.items() if gate.is_idle(clock)]:
            del self._gates[key]
        if self._held and clock >= self._held_told + NOT_SET_UP:
            log.warning("delivery.not_set_up", deliveries=dict(self._held))
            self._held.clear()
            self._held_told = clock

    async def drain(self, patience: float) -> None:
        """Let tries under way end for `patience` seconds, then break them off and give back what is left."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=patience)
        for task, work in list(self._tasks.items()):
            task.cancel()
            self._end(_Result(work, delay=0.0))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(2.0):
                while await self.settle():
                    pass
        except AWAY as error:
            log.warning("delivery.not_released", deliveries=len(self._in_hand), error=type(error).__name__)


def _note(gate: Gate, permit: int, attempt: Attempt, clock: float, what: str, **which: int) -> None:
    """Tell a gate, and say once when what is behind it goes down and when it is back; a failing probe is no news."""
    before = gate.breaker.state
    gate.end(permit, attempt, clock)
    after = gate.breaker.state
    if before is BreakerState.CLOSED and after is BreakerState.OPEN:
        log.warning(f"{what}.down", **which, reason=attempt.error)
    elif before is BreakerState.HALF_OPEN and after is BreakerState.CLOSED:
        log.info(f"{what}.back", **which)
