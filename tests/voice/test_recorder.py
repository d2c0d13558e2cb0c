"""Callbacks are durable before Twilio is answered, and calls do not wait for the store."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from holdfast.voice.model import Callback
from holdfast.voice.recorder import Kept, NotKeptError, Patience, Recorder
from holdfast.voice.spool import REFUSED, Spool
from tests.voice.twilio import call, ended, made


def news() -> Callback:
    return made("call.status", ended(call()))


class Shelf:
    """A store in memory that can be slow, away, or refuse one."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.batches: list[int] = []
        self.opened = asyncio.Event()
        self.opened.set()
        self.error: Exception | None = None
        self.poison: str | None = None
        self.hangs_alone = False
        self.deadlocks_alone = 0
        self.tried_alone = 0

    async def store(self, batch: Sequence[Callback]) -> list[bool]:
        await self.opened.wait()
        if self.error is not None:
            raise self.error
        if len(batch) == 1 and self.hangs_alone:
            self.tried_alone += 1
            await asyncio.Event().wait()
        if len(batch) == 1 and self.deadlocks_alone:
            self.deadlocks_alone -= 1
            raise asyncpg.DeadlockDetectedError("deadlock")
        if any(one.event_id == self.poison for one in batch):
            raise asyncpg.DataError("it is not to be stored")
        self.batches.append(len(batch))
        new = []
        for one in batch:
            new.append(one.event_id not in self.held)
            self.held.append(one.event_id)
        return new

    async def probe(self) -> None:
        if self.error is not None:
            raise self.error


class World:
    """`patience` in seconds: what is not late by the machine's being busy."""

    def __init__(self, place: Path, patience: float = 20.0) -> None:
        self.shelf = Shelf()
        self.spool = Spool(place)
        self.recorder = Recorder(
            self.shelf.store,
            self.shelf.probe,
            self.spool,
            call_patience=Patience(patience / 5, patience / 5, patience),
            patience=Patience(patience, patience),
        )


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[World]:
    async with at_work(World(tmp_path)) as found:
        yield found


@pytest.fixture
async def hasty(tmp_path) -> AsyncIterator[World]:
    async with at_work(World(tmp_path, 0.3)) as found:
        yield found


@asynccontextmanager
async def at_work(found: World) -> AsyncIterator[World]:
    running = asyncio.create_task(found.recorder.run())
    await found.recorder.probe()
    yield found
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    found.spool.close()


async def test_while_the_store_answers_all_is_stored_at_once(world):
    callbacks = [news() for _ in range(50)]
    kept = await asyncio.gather(*(world.recorder.keep(one, in_call=True) for one in callbacks))
    assert set(kept) == {Kept.NEW}
    assert (len(world.shelf.held), world.spool.waiting) == (50, 0)
    assert len(world.shelf.batches) < 10, "they share commits"
    assert await world.recorder.keep(callbacks[0], in_call=False) is Kept.DUPLICATE


async def test_a_call_does_not_wait_for_a_slow_store(hasty):
    hasty.shelf.opened.clear()
    late = news()
    assert await hasty.recorder.keep(late, in_call=True) is Kept.SPOOLED
    assert await hasty.recorder.keep(news(), in_call=True) is Kept.SPOOLED, "nor does anybody for the next second"
    assert hasty.spool.waiting == 2
    hasty.shelf.opened.set()
    async with asyncio.timeout(5):
        while late.event_id not in hasty.shelf.held:  # stored twice is stored once
            await asyncio.sleep(0.01)


async def test_news_wait_longer_and_then_go_to_disk_too(hasty):
    hasty.shelf.opened.clear()
    assert await hasty.recorder.keep(news(), in_call=False) is Kept.SPOOLED


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        asyncpg.AdminShutdownError("terminating"),
        asyncpg.UndefinedTableError("call"),
        asyncpg.ReadOnlySQLTransactionError("read only"),
        asyncpg.DeadlockDetectedError("deadlock"),
    ],
)
async def test_a_store_that_cannot_take_it_now_loses_nothing(world, tmp_path, error):
    world.shelf.error = error
    assert await world.recorder.keep(news(), in_call=True) is Kept.SPOOLED
    assert not world.recorder.store_answers
    assert await world.recorder.keep(news(), in_call=False) is Kept.SPOOLED
    assert not (tmp_path / "spool" / REFUSED).exists()
    world.shelf.error = None
    world.shelf.opened.set()
    await world.recorder.probe()
    assert await world.recorder.keep(news(), in_call=True) is Kept.NEW


async def test_before_the_store_was_heard_of_all_goes_to_disk(tmp_path):
    world = World(tmp_path)
    assert await world.recorder.keep(news(), in_call=True) is Kept.SPOOLED
    world.spool.close()


async def test_one_that_the_store_refuses_does_not_take_its_company_with_it(world, tmp_path):
    callbacks = [news() for _ in range(9)]
    world.shelf.poison = callbacks[4].event_id
    kept = await asyncio.gather(*(world.recorder.keep(one, in_call=False) for one in callbacks))
    assert kept == [Kept.NEW] * 4 + [Kept.REFUSED] + [Kept.NEW] * 4
    assert len(list((tmp_path / "spool" / REFUSED).iterdir())) == 1
    assert world.recorder.store_answers


async def test_a_store_that_hangs_over_one_keeps_no_other_waiting(hasty):
    callbacks = [news() for _ in range(9)]
    hasty.shelf.poison, hasty.shelf.hangs_alone = callbacks[0].event_id, True
    kept = await asyncio.gather(*(hasty.recorder.keep(one, in_call=False) for one in callbacks))
    assert set(kept) == {Kept.SPOOLED}
    async with asyncio.timeout(10):
        while hasty.recorder.store_answers:
            await asyncio.sleep(0.01)
    assert hasty.shelf.tried_alone == 1
    hasty.shelf.hangs_alone = False
    await hasty.recorder.probe()
    async with asyncio.timeout(10):  # that it was late is remembered for a moment
        while await hasty.recorder.keep(news(), in_call=False) is not Kept.NEW:
            await asyncio.sleep(0.02)


async def test_one_that_got_in_anothers_way_when_stored_alone_is_tried_again(world, tmp_path):
    callbacks = [news() for _ in range(3)]
    world.shelf.poison, world.shelf.deadlocks_alone = callbacks[0].event_id, 1
    kept = await asyncio.gather(*(world.recorder.keep(one, in_call=False) for one in callbacks))
    assert kept == [Kept.REFUSED, Kept.NEW, Kept.NEW]
    assert world.recorder.store_answers


async def test_with_neither_store_nor_disk_it_says_so(world, tmp_path):
    (tmp_path / "spool").write_text("in the way")
    world.shelf.error = ConnectionRefusedError()
    with pytest.raises(NotKeptError, match="cannot be written"):
        await world.recorder.keep(news(), in_call=False)


class Disk:
    """One that stalls: `name` of `os` returns once it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self._monkeypatch = monkeypatch
        self._goes = threading.Event()
        real = getattr(os, name)

        def stalled(*arguments: Any) -> Any:
            self._goes.wait()
            return real(*arguments)

        monkeypatch.setattr(f"holdfast.voice.spool_file.os.{name}", stalled)

    def let_go(self) -> None:
        self._goes.set()


@pytest.fixture
def syncs_stall(monkeypatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch, "fdatasync")
    yield disk
    disk.let_go()


@pytest.fixture
def writes_stall(monkeypatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch, "write")
    yield disk
    disk.let_go()


async def test_a_call_does_not_wait_for_a_disk_that_stalls_once_it_is_written(hasty, syncs_stall):
    hasty.shelf.error = ConnectionRefusedError()
    calls = [news() for _ in range(3)]
    for one in calls:  # the later ones are written while the sync of the first is under way
        assert await hasty.recorder.keep(one, in_call=True) is Kept.WRITTEN
    with pytest.raises(NotKeptError, match=r"takes longer than 0\.3 s"):
        await hasty.recorder.keep(news(), in_call=False)
    assert hasty.spool.waiting == 4
    syncs_stall.let_go()
    assert await hasty.recorder.keep(news(), in_call=True) is Kept.SPOOLED


async def test_a_call_that_cannot_even_be_written_is_not_kept_in_time_but_written_later(hasty, writes_stall):
    hasty.shelf.error = ConnectionRefusedError()
    late = news()
    for in_call in (True, False):
        with pytest.raises(NotKeptError, match="the disk takes longer"):
            await hasty.recorder.keep(late, in_call=in_call)
    assert hasty.spool.waiting == 0
    writes_stall.let_go()
    assert await hasty.recorder.keep(news(), in_call=True) is Kept.SPOOLED
    assert hasty.spool.waiting == 3


async def test_calls_go_before_news(world):
    world.shelf.opened.clear()
    blocked = [asyncio.create_task(world.recorder.keep(news(), in_call=False)) for _ in range(300)]
    await asyncio.sleep(0.01)
    urgent = news()
    calling = asyncio.create_task(world.recorder.keep(urgent, in_call=True))
    await asyncio.sleep(0.01)
    world.shelf.opened.set()
    assert await calling is Kept.NEW
    await asyncio.gather(*blocked)
    assert world.shelf.held.index(urgent.event_id) <= 2 * 128


async def test_who_waits_when_the_process_stops_is_put_to_disk(tmp_path):
    world = World(tmp_path)
    running = asyncio.create_task(world.recorder.run())
    await world.recorder.probe()
    world.shelf.opened.clear()
    waiting = [asyncio.create_task(world.recorder.keep(news(), in_call=False)) for _ in range(3)]
    await asyncio.sleep(0.01)
    running.cancel()
    assert set(await asyncio.gather(*waiting)) == {Kept.SPOOLED}
    world.spool.close()


async def test_a_store_that_hangs_is_away_until_it_answers(hasty):
    hasty.shelf.opened.clear()
    assert await hasty.recorder.keep(news(), in_call=False) is Kept.SPOOLED
    assert not hasty.recorder.store_answers
    assert await hasty.recorder.keep(news(), in_call=False) is Kept.SPOOLED
    hasty.shelf.opened.set()
    await hasty.recorder.probe()
    assert hasty.recorder.store_answers
