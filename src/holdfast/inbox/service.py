"""Group commit: all events that arrived while the last commit was on its way go into the next one, together."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from functools import partial

import structlog

from holdfast.db.clock import CLOCK
from holdfast.db.pool import AWAY, Pool
from holdfast.inbox import store
from holdfast.inbox.lanes import LaneTable
from holdfast.inbox.model import NewEvent
from holdfast.inbox.store import Repeat
from holdfast.queue.model import Lane

log = structlog.get_logger()


REMEMBERED = 100_000
"""Ids of events that this process knows to be held: redeliveries of them cost the store nothing but a late count."""
COUNTED_EVERY = 0.25
"""Seconds between counts of redeliveries: the most that a process that is killed forgets to count."""
_MOST_UNCOUNTED = 50_000


class InboxAway(Exception):  # noqa: N818 - the store is away: a state, not a mistake
    """The event could not be stored now; the sender must try again later."""


class Appended(Enum):
    NEW = "new"
    DUPLICATE = "duplicate"


Told = Callable[[Appended | InboxAway], None]
"""Who hears, once, what became of an event."""


class Inbox:
    """Appends events durably. `commits` of them are under way at a time; their company is whoever came meanwhile."""

    def __init__(
        self,
        pool: Pool,
        *,
        merchant_of: Callable[[str | None], int],
        stored: Callable[[], None] = lambda: None,
        commits: int = 2,
        batch: int = 128,
        waiting: int = 5000,
        waiting_bytes: int = 64 * 1024 * 1024,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`merchant_of`: account → merchant id, 0 unknown; it only decides with whom the event is fair. `clock` gives
        Unix time, as events' `received` is.

        While one commit is under way the next is made ready, so that this process and the server are both busy.
        `stored` is called after every commit that added work. More than `waiting` events or `waiting_bytes` not yet
        stored, or a commit that takes longer than `timeout` seconds: InboxAway.
        """
        self._pool = pool
        self._merchant_of = merchant_of
        self._stored = stored
        self._commits = commits
        self._batch = batch
        self._limits = (waiting, waiting_bytes)
        self._timeout = timeout
        self._clock = clock
        self._rules: Mapping[str, Lane] = {}
        self._lanes: LaneTable | None = None
        self._store_answers = True
        self._held = _Held(REMEMBERED)
        self._uncounted: list[Repeat] = []
        self._pending: list[tuple[NewEvent, Told]] = []
        self._pending_bytes = 0
        self._arrived = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether the last that was heard of the store was good."""
        return self._lanes is not None and self._store_answers

    async def refresh_lanes(self, db: store.Executor) -> None:
        """Read the lane table again; before the first time, nothing can be stored. Raises what `AWAY` lists."""
        try:
            async with asyncio.timeout(self._timeout):
                rules = await store.lane_rules(db)
                await CLOCK.look(db)
        except AWAY:
            self._store_answers = False
            self._held.clear()
            raise
        self._store_answers = True
        if rules != self._rules:
            self._rules, self._lanes = rules, LaneTable(rules)

    def lane(self, event_type: str) -> Lane:
        """Where events of a type go, once the lane table is known."""
        return self._lanes.lane(event_type) if self._lanes is not None else Lane.STANDARD

    def append(self, event: NewEvent) -> asyncio.Future[Appended]:
        """Store one event; the future is done when it is committed, or fails with InboxAway."""
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self.put(event, partial(_resolve, future))
        return future

    def put(self, event: NewEvent, told: Told) -> None:
        """`append` without a future, for the hot path: `told` is called as soon as this process hears of the commit.

        Raises InboxAway if the event cannot be taken.
        """
        if self._lanes is None:
            raise InboxAway("the service is starting")
        if self._held.has(event.provider, event.event_id):
            self._note(event)
            _tell(told, Appended.DUPLICATE)
            return
        if len(self._pending) >= self._limits[0] or self._pending_bytes >= self._limits[1]:
            raise InboxAway("too many events are waiting to be stored")
        self._pending.append((event, told))
        self._pending_bytes += len(event.body)
        if len(self._pending) == 1:
            self._arrived.set()

    def _note(self, event: NewEvent) -> None:
        """In a retry storm most of what comes is held: that is known, and counted, without a commit for it."""
        if len(self._uncounted) < _MOST_UNCOUNTED:
            self._uncounted.append((event.provider, event.event_id, event.received))

    async def run(self) -> None:
        """Commit batch after batch until cancelled. While the server writes one, the next is made ready."""
        try:
            await self._run()
        finally:
            with suppress(TimeoutError):  # then these few are acknowledged and not counted
                async with asyncio.timeout(1.0):
                    await self.count_redeliveries()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_counting())
            for _ in range(self._commits):
                group.create_task(self._commit_batches())

    async def _keep_counting(self) -> None:
        while True:
            await asyncio.sleep(COUNTED_EVERY)
            await self.count_redeliveries()

    async def count_redeliveries(self) -> None:
        """Write down the redeliveries that were answered without the store; with it away, the next time."""
        repeats, self._uncounted = self._uncounted, []
        if not repeats:
            return
        try:
            await store.count_duplicates(self._pool, repeats)
        except AWAY as error:
            self._held.clear()
            log.debug("inbox.counted_later", redeliveries=len(repeats), error=type(error).__name__)
            self._uncounted = (repeats + self._uncounted)[-_MOST_UNCOUNTED:]

    async def _commit_batches(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._pending[: self._batch]
            del self._pending[: self._batch]
            self._pending_bytes -= sum([len(event.body) for event, _ in batch])
            if not self._pending:
                self._arrived.clear()
            if not batch:
                continue
            try:
                await self._commit(batch)
            except asyncio.CancelledError:
                _fail(batch, "the process is stopping")
                raise
            except AWAY as error:
                self._lose(batch, error)
            except Exception:
                # One event that the store refuses must not take its company down with it.
                log.exception("inbox.batch_refused", events=len(batch))
                await self._one_by_one(batch)

    def _lose(self, batch: list[tuple[NewEvent, Told]], error: BaseException) -> None:
        """The store is away: those who wait behind this batch hear it at once, too, and not when their turn comes."""
        self._store_answers = False
        self._held.clear()
        lost = batch + self._pending
        self._pending, self._pending_bytes = [], 0
        self._arrived.clear()
        log.warning("inbox.away", events=len(lost), error=type(error).__name__)
        _fail(lost, "the store is away")

    async def _one_by_one(self, batch: list[tuple[NewEvent, Told]]) -> None:
        for place, entry in enumerate(batch):
            try:
                await self._commit([entry])
            except AWAY as error:
                self._lose(batch[place:], error)
                return
            except Exception as error:  # noqa: BLE001 - whatever it was, the sender hears that it is not stored
                log.error("inbox.event_refused", event_id=entry[0].event_id, error=str(error)[:200])
                _fail([entry], "the store refused this event")

    async def _commit(self, batch: list[tuple[NewEvent, Told]]) -> None:
        first = {(event.provider, event.event_id): event for event, _ in reversed(batch)}
        events = list(first.values())
        repeats = [event for event, _ in batch if first[event.provider, event.event_id] is not event]
        assert self._lanes is not None  # append refuses before
        lanes = [self._lanes.lane(event.type) for event in events]
        merchants = [self._merchant_of(event.account) for event in events]
        async with asyncio.timeout(self._timeout):
            held = await store.append(self._pool, events, lanes, merchants, sent=self._clock())
            if repeats:
                again = [(event.provider, event.event_id, event.received) for event in repeats]
                await store.count_duplicates(self._pool, again)
        self._store_answers = True
        if len(held) < len(events):
            self._stored()
        for event in events:
            self._held.add(event.provider, event.event_id)
        known = {id(event) for event in repeats} if repeats else frozenset()
        for event, told in batch:
            is_held = (held and (event.provider, event.event_id) in held) or id(event) in known
            _tell(told, Appended.DUPLICATE if is_held else Appended.NEW)


class _Held:
    """The newest ids, in two generations: as many as asked for at the least, twice as many at most.

    Forgotten when the store was away: what comes back may be another server, which does not hold the last of them.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: set[tuple[str, str]] = set()
        self._old: set[tuple[str, str]] = set()

    def has(self, provider: str, event_id: str) -> bool:
        key = (provider, event_id)
        return key in self._new or key in self._old

    def clear(self) -> None:
        self._new, self._old = set(), set()

    def add(self, provider: str, event_id: str) -> None:
        self._new.add((provider, event_id))
        if len(self._new) >= self._size:
            self._old, self._new = self._new if self._size else set(), set()


def _tell(told: Told, said: Appended | InboxAway) -> None:
    try:
        told(said)
    except Exception:
        # The event is stored or not whether the answer can be given or not; the others' answers are still to come.
        log.exception("inbox.answer_failed")


def _resolve(future: asyncio.Future[Appended], said: Appended | InboxAway) -> None:
    if future.done():  # cancelled: nobody waits any more
        return
    if isinstance(said, Appended):
        future.set_result(said)
    else:
        future.set_exception(said)


def _fail(batch: list[tuple[NewEvent, Told]], why: str) -> None:
    for _, told in batch:
        _tell(told, InboxAway(why))
