"""Group commit: what came while the last commit was on its way goes into the next one, together."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from holdfast.db.pool import AWAY

log = structlog.get_logger()

T = TypeVar("T")
R = TypeVar("R")

BATCH = 64
COMMITS = 2
"""Transactions under way at a time: while the server writes one, the next is made ready."""
MOST_WAITING = 2000
PATIENCE = 4.0
"""Seconds until whoever waits is told that it was not kept."""


class NotTakenError(Exception):
    """It is in no transaction, and will be in none: too much was waiting."""


@dataclass(slots=True)
class _Entry(Generic[T, R]):
    item: T
    future: "asyncio.Future[R]"
    is_taken: bool = False


class GroupCommit(Generic[T, R]):
    """`put` returns once what was put is committed. Nothing runs while nothing waits."""

    def __init__(
        self,
        take: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        apart: Callable[[T], Hashable | None] = lambda _: None,
        patience: float = PATIENCE,
        commits: int = COMMITS,
    ) -> None:
        """`take` keeps several in one transaction, and says of each what became of it. Two of the same `apart` are not
        given to it together; those of None are.
        """
        self._take = take
        self._apart = apart
        self._patience = patience
        self._commits = commits
        self._waiting: list[_Entry[T, R]] = []
        self._working: set[asyncio.Task[None]] = set()

    async def put(self, item: T) -> R:
        """Raises NotTakenError: then it is not kept. Raises TimeoutError, and what `take` raises: of what `AWAY` lists
        it may have been kept, or may be in a moment.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise NotTakenError("too many are waiting to be stored")
        entry: _Entry[T, R] = _Entry(item, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        if len(self._working) < self._commits:
            task = asyncio.create_task(self._work())
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        try:
            async with asyncio.timeout(self._patience):
                return await entry.future
        except TimeoutError:
            if not entry.is_taken:  # the future is cancelled: nobody takes it any more
                raise NotTakenError("nothing could be stored for some seconds") from None
            raise

    async def _work(self) -> None:
        while self._waiting:
            batch = self._next()
            if batch:
                await self._commit(batch)

    def _next(self) -> list[_Entry[T, R]]:
        """The next batch, without those whose caller was told already, or has gone."""
        batch: list[_Entry[T, R]] = []
        left: list[_Entry[T, R]] = []
        seen: set[Hashable] = set()
        looked_at = 0
        for entry in self._waiting:
            looked_at += 1
            if entry.future.done():
                continue
            apart = self._apart(entry.item)
            if apart is not None and apart in seen:
                left.append(entry)
                continue
            seen.add(apart)
            entry.is_taken = True
            batch.append(entry)
            if len(batch) == BATCH:
                break
        self._waiting[:looked_at] = left
        return batch

    async def _commit(self, batch: Sequence[_Entry[T, R]]) -> None:
        try:
            results = await self._take([entry.item for entry in batch])
        except AWAY as error:
            _fail(batch, error)
        except asyncio.CancelledError:
            _fail(batch, ConnectionAbortedError("the process is stopping"))
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            if len(batch) == 1:
                _fail(batch, error)
                return
            log.warning("group_commit.batch_refused", size=len(batch), error=type(error).__name__)
            for entry in batch:  # one that is refused must not take its company down with it
                await self._commit([entry])
        else:
            for entry, result in zip(batch, results, strict=True):
                if not entry.future.done():
                    entry.future.set_result(result)


def _fail(batch: Sequence[_Entry[T, R]], error: BaseException) -> None:
    for entry in batch:
        if not entry.future.done():
            entry.future.set_exception(error)
