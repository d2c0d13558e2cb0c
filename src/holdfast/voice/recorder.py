"""Keeps callbacks: committed, or on disk, before Twilio is answered. Calls wait for neither store nor disk for long.

Group commit without a queue: all callbacks that came while the last commit was on its way go into the next one.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import asyncpg
import structlog

from holdfast import logs
from holdfast.db.pool import AWAY, again
from holdfast.voice.model import Callback
from holdfast.voice.signals import SPOOLED
from holdfast.voice.spool import Spool, SpoolError

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that are waited: `commit`, before a callback goes to disk instead; `synced`, for the disk to have it.

    After that it is enough that it is written, which may take `written` more; 0: that is not enough. What is in none
    of these ways kept in time is not kept, though it may still be once the disk has come round.
    """

    commit: float
    synced: float
    written: float = 0.0


CALL_PATIENCE = Patience(0.007, 0.005, 1.0)
"""Of calls: answered within 20 ms, whatever store and disk do, unless the kernel takes no more to write either."""
PATIENCE = Patience(2.0, 5.0)
"""Of what nobody on the phone waits for; Twilio gives up after 15 s."""
PROBED_EVERY = 1.0
LATE_FOR = 0.1
"""Seconds that callbacks go to disk at once after a commit that took too long: what is on disk has to be stored too."""
BATCH = 128
_MOST_WAITING = 5000
_SAID_EVERY = 60.0

# What a store that is away raises, and what says that it cannot take anything now, though it answers: tables that
# are still to be made or not ours to write (42), a server that only reads (25), transactions in each other's way (40).
NOT_NOW: tuple[type[BaseException], ...] = (
    *AWAY,
    asyncpg.SyntaxOrAccessError,
    asyncpg.InvalidTransactionStateError,
    asyncpg.TransactionRollbackError,
)


class Kept(StrEnum):
    """How a callback was kept."""

    NEW = "new"
    DUPLICATE = "duplicate"
    SPOOLED = "spooled"
    """On disk, synced."""
    WRITTEN = "written"
    """On disk but for the sync, for which there was no time: it survives the process, and not yet the machine."""
    REFUSED = "refused"
    """The store will not have it: it was set aside on disk."""


class NotKeptError(Exception):
    """It is neither stored nor on disk."""


Store = Callable[[Sequence[Callback]], Awaitable[Sequence[bool]]]
"""Stores callbacks in one transaction; whether each is new, and not one that is held or was before it in the batch."""


class _Entry:
    __slots__ = ("callback", "future", "left")

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        self.future: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        self.left = False
        """Whether it went to disk before its batch began."""


class _Away(Exception):  # noqa: N818 - a state, not a mistake
    """The store is not there now."""


class Recorder:
    """`store` is used while it answers in time; else, for a moment at least, everything goes to the spool."""

    def __init__(
        self,
        store: Store,
        probe: Callable[[], Awaitable[object]],
        spool: Spool,
        *,
        commits: int = 2,
        call_patience: Patience = CALL_PATIENCE,
        patience: Patience = PATIENCE,
    ) -> None:
        """`probe` raises while the store is away, or takes nothing."""
        self._store = store
        self._probe = probe
        self._spool = spool
        self._commits = commits
        self._call_patience = call_patience
        self._patience = patience
        self._is_away = True
        self._late_until = 0.0
        self._said: dict[str, float] = {}
        self._calls: deque[_Entry] = deque()
        self._rest: deque[_Entry] = deque()
        self._arrived = asyncio.Event()

    @property
    def store_answers(self) -> bool:
        """Whether the last that was heard of the store was good."""
        return not self._is_away

    @property
    def _spools(self) -> bool:
        """Whether callbacks go to disk at once, since the store is away or was late just now."""
        return self._is_away or asyncio.get_running_loop().time() < self._late_until

    async def keep(self, callback: Callback, *, in_call: bool) -> Kept:
        """Return once it is kept. `in_call`: somebody on the phone waits. Raises NotKeptError."""
        waiting, patience = (self._calls, self._call_patience) if in_call else (self._rest, self._patience)
        if self._spools or len(waiting) >= _MOST_WAITING:
            return await self._spooled(callback, patience)
        entry = _Entry(callback)
        waiting.append(entry)
        self._arrived.set()
        try:
            async with asyncio.timeout(patience.commit):
                return await entry.future
        except TimeoutError:
            entry.left = True
            self._late()
        except _Away:
            pass
        return await self._spooled(callback, patience)

    async def _spooled(self, callback: Callback, patience: Patience) -> Kept:
        try:
            put = self._spool.put(callback)
        except SpoolError as error:
            raise NotKeptError(str(error)) from error
        kept, done = Kept.SPOOLED, put.synced
        if not await _done(done, patience.synced) and patience.written:
            self._say("recorder.disk_late", "calls are answered once what came of them is written, not synced")
            kept, done = Kept.WRITTEN, put.written
            await _done(done, patience.written)
        if not done.done():
            raise NotKeptError(f"the disk takes longer than {patience.synced + patience.written:g} s; it is tried on")
        failed = done.result()
        if failed is not None:
            raise NotKeptError(str(failed)) from failed
        return kept

    async def run(self) -> None:
        """Commit batch after batch, and find out when the store is back, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_probing())
                for _ in range(self._commits):
                    group.create_task(self._commit_batches())
        finally:
            self._is_away = True
            for waiting in (self._calls, self._rest):
                _fail(list(waiting))
                waiting.clear()

    async def _keep_probing(self) -> None:
        while True:
            if self._is_away:
                await self.probe()
            await asyncio.sleep(PROBED_EVERY)

    async def probe(self) -> None:
        """Ask the store whether it is there."""
        try:
            await _within(PROBED_EVERY, self._probe())
        except NOT_NOW:
            return
        except Exception:
            log.exception("recorder.probe_failed")
            return
        log.info("recorder.store_answers")
        self._is_away = False

    def _late(self) -> None:
        self._say("recorder.store_late", "callbacks of calls go to disk first")
        self._late_until = asyncio.get_running_loop().time() + LATE_FOR

    def _say(self, event: str, effect: str) -> None:
        """Not for every callback."""
        now = asyncio.get_running_loop().time()
        if now >= self._said.get(event, float("-inf")) + _SAID_EVERY:
            log.warning(event, effect=effect)
            self._said[event] = now

    def _away(self, error: BaseException) -> None:
        if not self._is_away:
            log.warning("recorder.store_away", error=logs.said(error)[:200])
        self._is_away = True

    async def _commit_batches(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._next_batch()
            if not batch:
                continue
            try:
                await self._commit(batch)
            except BaseException:
                _fail(batch)
                raise

    def _next_batch(self) -> list[_Entry]:
        """Calls first."""
        batch: list[_Entry] = []
        for waiting in (self._calls, self._rest):
            while waiting and len(batch) < BATCH:
                entry = waiting.popleft()
                if not entry.left:
                    batch.append(entry)
        if not (self._calls or self._rest):
            self._arrived.clear()
        return batch

    async def _commit(self, batch: list[_Entry]) -> None:
        try:
            new = await _within(self._patience.commit, again(partial(self._store, [entry.callback for entry in batch])))
        except NOT_NOW as error:
            self._away(error)
            _fail(batch)
        except Exception:
            # One callback that the store refuses must not take its company down with it.
            log.exception("recorder.batch_refused", callbacks=len(batch))
            await self._one_by_one(batch)
        else:
            for entry, is_new in zip(batch, new, strict=True):
                _tell(entry, Kept.NEW if is_new else Kept.DUPLICATE)

    async def _one_by_one(self, batch: list[_Entry]) -> None:
        for place, entry in enumerate(batch):
            try:
                (is_new,) = await _within(self._patience.commit, again(partial(self._store, [entry.callback])))
                _tell(entry, Kept.NEW if is_new else Kept.DUPLICATE)
            except NOT_NOW as error:
                self._away(error)
                _fail(batch[place:])
                return
            except Exception as error:  # noqa: BLE001 - whatever it was, it is not lost
                await self._refused(entry, error)

    async def _refused(self, entry: _Entry, error: Exception) -> None:
        try:
            await refuse(self._spool, entry.callback, error)
        except SpoolError:
            _fail([entry])
        else:
            _tell(entry, Kept.REFUSED)


class Drainer:
    """Stores what is on disk, oldest first, once the store answers. One `tick` a second."""

    def __init__(self, store: Store, spool: Spool, store_answers: Callable[[], bool]) -> None:
        self._store = store
        self._spool = spool
        self._store_answers = store_answers

    async def tick(self) -> int:
        """Take over a file of a dead process, and store one file's callbacks; how many.

        Raises what `AWAY` lists, and SpoolError.
        """
        try:
            await self._spool.prepare()
            await self._spool.adopt()
            return await self._store_oldest() if self._store_answers() else 0
        finally:
            SPOOLED.set(self._spool.waiting)

    async def _store_oldest(self) -> int:
        file = await self._spool.oldest()
        if file is None:
            return 0
        found = await asyncio.to_thread(lambda: list(file.read()))
        for begin in range(0, len(found), BATCH):
            await self._drain(file.path.name, found[begin : begin + BATCH])
        await self._spool.finish(file)
        log.debug("spool.stored", file=file.path.name, callbacks=len(found))
        return len(found)

    async def _drain(self, name: str, found: Sequence[Callback | bytes]) -> None:
        for damaged in (one for one in found if isinstance(one, bytes)):
            log.error("spool.damaged", file=name, bytes=len(damaged))
            await self._spool.set_aside(f"damaged-{name}", damaged)
        batch = [one for one in found if isinstance(one, Callback)]
        try:
            await again(partial(self._store, batch))
        except NOT_NOW:
            raise
        except Exception:
            log.exception("spool.batch_refused", callbacks=len(batch))
            for callback in batch:
                await self._drain_one(callback)

    async def _drain_one(self, callback: Callback) -> None:
        try:
            await again(partial(self._store, [callback]))
        except NOT_NOW:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, it is not lost
            await refuse(self._spool, callback, error)


async def refuse(spool: Spool, callback: Callback, error: Exception) -> None:
    """Raises SpoolError."""
    await spool.refuse(callback)
    log.error("recorder.callback_refused", event_id=callback.event_id, error=logs.said(error)[:200])


async def _within(seconds: float, asked: Awaitable[T]) -> T:
    """What is asked of the store, or TimeoutError. What takes longer is left to end by itself.

    (A time-out around it would wait until it has rolled back, on a server that hangs for as long as it hangs.)
    """
    asking = asyncio.ensure_future(asked)
    asking.add_done_callback(_seen)
    try:
        await asyncio.wait([asking], timeout=seconds)
        if not asking.done():
            raise TimeoutError(f"no answer within {seconds:g} s")
        return asking.result()
    finally:
        asking.cancel()


async def _done(future: asyncio.Future[Any], seconds: float) -> bool:
    """Whether it is, within that time; it goes on in any case."""
    if not future.done():
        await asyncio.wait([future], timeout=seconds)
    return future.done()


def _seen(asking: asyncio.Future[Any]) -> None:
    """Of one that nobody waits for any more."""
    if not asking.cancelled():
        asking.exception()


def _tell(entry: _Entry, kept: Kept) -> None:
    if not entry.future.done():
        entry.future.set_result(kept)


def _fail(batch: Sequence[_Entry]) -> None:
    for entry in batch:
        if not entry.future.done():
            entry.future.set_exception(_Away())
