"""Group commit at the gate: all texts that were asked for while the last commit was on its way are decided together."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import ConsentError, KeyMissingError
from holdfast.db.pool import AWAY, Pool
from holdfast.messaging import gate
from holdfast.messaging.model import Ask, AwayError, Decision, MessagingError
from holdfast.messaging.signals import DECIDED, GATE_SECONDS

log = structlog.get_logger()

COMMITS = 2
"""Transactions under way at a time: while the server writes one, the next is made ready."""
BATCH = 64
_MOST_WAITING = 2000
_PATIENCE = 5.0

_Entry = tuple[Ask, "asyncio.Future[Decision]"]


class Gate:
    """`decide` returns once the decision is committed; `run` commits until cancelled."""

    def __init__(
        self,
        pool: Pool,
        key: PhoneKey,
        *,
        queued: Callable[[], None] = lambda: None,
        clock: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        """`queued` is called after every commit with something to send. `clock` gives None for the store's clock."""
        self._pool = pool
        self._key = key
        self._queued = queued
        self._clock = clock
        self._waiting: list[_Entry] = []
        self._arrived = asyncio.Event()
        self._seconds = GATE_SECONDS.series()

    async def decide(self, ask: Ask) -> Decision:
        """Raises AwayError when it is not decided: then it may be asked for again under the same key."""
        if len(self._waiting) >= _MOST_WAITING:
            raise AwayError("too many texts are waiting to be decided")
        began = time.perf_counter()
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, future))
        self._arrived.set()
        decision = await future
        self._seconds.observe(time.perf_counter() - began)
        return decision

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(COMMITS):
                group.create_task(self._commit_batches())

    async def _commit_batches(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._next()
            if not batch:
                continue
            try:
                await self._commit(batch)
            except asyncio.CancelledError:
                _fail(batch, AwayError("the process is stopping"))
                raise
            except AWAY as error:
                log.warning("gate.away", texts=len(batch), error=type(error).__name__)
                _fail(batch, AwayError("the store is away"))
            except KeyMissingError as error:
                log.error("gate.key_missing", reason=str(error))
                _fail(batch, AwayError(str(error)))
            except Exception:
                # One text that the store refuses must not take its company down with it.
                log.exception("gate.batch_refused", texts=len(batch))
                await self._one_by_one(batch)

    def _next(self) -> list[_Entry]:
        """The next batch: two with the same key are not in one."""
        batch: list[_Entry] = []
        left: list[_Entry] = []
        keys: set[tuple[int, str]] = set()
        taken = 0
        for entry in self._waiting:
            taken += 1
            ask = entry[0]
            if ask.key is not None and (ask.merchant_id, ask.key) in keys:
                left.append(entry)
                continue
            if ask.key is not None:
                keys.add((ask.merchant_id, ask.key))
            batch.append(entry)
            if len(batch) == BATCH:
                break
        self._waiting[:taken] = left
        if not self._waiting:
            self._arrived.clear()
        return batch

    async def _commit(self, batch: Sequence[_Entry]) -> None:
        async with asyncio.timeout(_PATIENCE):
            decisions = await gate.decide(self._pool, [ask for ask, _ in batch], self._key, now=self._clock())
        if any(one.state == "queued" and not one.is_repeat for one in decisions):
            self._queued()
        for (ask, future), decision in zip(batch, decisions, strict=True):
            if not decision.is_repeat:
                DECIDED.inc(1, ask.purpose, decision.rule)
            if not future.done():  # who asked may have gone
                future.set_result(decision)

    async def _one_by_one(self, batch: Sequence[_Entry]) -> None:
        for entry in batch:
            try:
                await self._commit([entry])
            except Exception as error:
                log.exception("gate.text_refused", merchant=entry[0].merchant_id)
                known = isinstance(error, ConsentError | MessagingError)
                _fail([entry], AwayError(str(error) if known else "the store refused this text; see the log"))


def _fail(batch: Sequence[_Entry], error: AwayError) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
