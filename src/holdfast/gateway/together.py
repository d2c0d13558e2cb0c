"""Group commit for a door: what came while the last commit was on its way goes into the next one together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog

from holdfast.db.pool import AWAY

log = structlog.get_logger()

T = TypeVar("T")
R = TypeVar("R")

BATCH = 64
COMMITS = 2
MOST_WAITING = 2000
PATIENCE = 4.0
"""Seconds until whoever waits is told that it was not kept. It may still be, and is then known when it comes again."""


class BusyError(Exception):
    """Too much waits already."""


class Together(Generic[T, R]):
    """`put` returns once what was put is committed. Nothing runs while nothing waits."""

    def __init__(
        self,
        take: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        patience: float = PATIENCE,
        commits: int = COMMITS,
    ) -> None:
        """`take` keeps several in one transaction, and says of each what became of it."""
        self._take = take
        self._patience = patience
        self._commits = commits
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._working: set[asyncio.Task[None]] = set()

    async def put(self, item: T) -> R:
        """Raises BusyError, TimeoutError, and what `take` raises."""
        if len(self._waiting) >= MOST_WAITING:
            raise BusyError("too many are waiting to be stored")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._working) < self._commits:
            task = asyncio.create_task(self._work())
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        async with asyncio.timeout(self._patience):
            return await future

    async def _work(self) -> None:
        while self._waiting:
            batch = [entry for entry in self._waiting[:BATCH] if not entry[1].done()]
            del self._waiting[:BATCH]
            if batch:
                await self._commit(batch)

    async def _commit(self, batch: Sequence[tuple[T, "asyncio.Future[R]"]]) -> None:
        try:
            results = await self._take([item for item, _ in batch])
        except AWAY as error:
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            if len(batch) == 1:
                _fail(batch, error)
                return
            log.warning("door.batch_refused", size=len(batch), error=type(error).__name__)
            for entry in batch:  # one that is refused must not take its company down with it
                await self._commit([entry])
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)


def _fail(batch: Sequence[tuple[object, "asyncio.Future[R]"]], error: Exception | BaseException) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
