"""Callbacks on disk: nothing that was acknowledged is lost, whatever dies."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from holdfast.voice.model import Callback
from holdfast.voice.recorder import Drainer
from holdfast.voice.signals import SPOOLED
from holdfast.voice.spool import REFUSED, Spool, SpoolError
from holdfast.voice.spool_file import SpoolFile, line, read_line
from tests.voice.twilio import call, ended, made

WRITER = """
import asyncio, sys
from functools import partial
from pathlib import Path
from holdfast.voice.spool import Spool
from tests.voice.twilio import call, ended, made

async def main():
    spool = Spool(Path(sys.argv[1]))
    async def one():
        while True:
            callback = made("call.status", ended(call()))
            await spool.append(callback)
            print(callback.event_id, flush=True)
    await asyncio.gather(*(one() for _ in range(8)))

asyncio.run(main())
"""


def news() -> Callback:
    return made("call.status", ended(call()))


@pytest.fixture
async def spool(tmp_path) -> AsyncIterator[Spool]:
    opened = Spool(tmp_path)
    yield opened
    opened.close()


class Shelf:
    """A store in memory; it refuses what is in `poison`, and is away while `away` is set."""

    def __init__(self, poison: Sequence[str] = ()) -> None:
        self.held: list[str] = []
        self.poison = set(poison)
        self.away = False

    async def store(self, batch: Sequence[Callback]) -> list[bool]:
        if self.away:
            raise ConnectionRefusedError
        if any(one.event_id in self.poison for one in batch):
            raise asyncpg.DataError("it is not to be stored")
        new = []
        for one in batch:
            new.append(one.event_id not in self.held)
            if new[-1]:
                self.held.append(one.event_id)
        return new

    def drainer(self, spool: Spool) -> Drainer:
        return Drainer(self.store, spool, lambda: not self.away)


def files(place: Path) -> list[Path]:
    return sorted((place / "spool").glob("*.spool"))


def test_a_line_reads_as_it_was_written_unless_it_is_damaged():
    callback = news()
    text = line(callback).removesuffix(b"\n")
    assert read_line(text) == callback
    assert read_line(text[:-1]) is None
    assert read_line(b"") is None
    assert read_line(text.replace(b"completed", b"cancelled")) is None


async def test_what_is_put_to_disk_is_stored_in_its_order_and_deleted(spool, tmp_path):
    callbacks = [news() for _ in range(300)]
    for callback in callbacks:
        await spool.append(callback)
    assert spool.waiting == 300
    shelf = Shelf()
    assert await shelf.drainer(spool).tick() == 300
    assert shelf.held == [one.event_id for one in callbacks]
    assert (files(tmp_path), spool.waiting) == ([], 0)
    await spool.append(news())
    assert await shelf.drainer(spool).tick() == 1


async def test_while_the_store_is_away_it_waits_and_is_counted(spool, tmp_path):
    await asyncio.gather(*(spool.append(news()) for _ in range(5)))
    shelf = Shelf()
    shelf.away = True
    assert await shelf.drainer(spool).tick() == 0
    assert SPOOLED.values[()] == 5
    assert len(files(tmp_path)) == 1


async def test_a_store_that_goes_away_in_the_middle_gets_all_of_it_again(spool):
    await asyncio.gather(*(spool.append(news()) for _ in range(5)))
    shelf = Shelf()
    drainer = Drainer(shelf.store, spool, lambda: True)
    shelf.away = True
    with pytest.raises(ConnectionRefusedError):
        await drainer.tick()
    shelf.away = False
    assert await drainer.tick() == 5


async def test_what_a_dead_process_left_is_taken_over_without_its_torn_last_line(spool, tmp_path):
    kept = [news(), news()]
    dead = Spool(tmp_path)
    for callback in kept:
        await dead.append(callback)
    (left,) = files(tmp_path)
    dead.close()
    with left.open("ab") as file:
        file.write(line(news())[:-20])
    shelf = Shelf()
    await shelf.drainer(spool).tick()
    assert shelf.held == [one.event_id for one in kept]
    assert files(tmp_path) == []


async def test_nothing_that_is_written_waits_for_what_a_dead_process_left(spool, tmp_path, monkeypatch):
    dead = Spool(tmp_path)
    await dead.append(news())
    dead.close()
    reads, goes, real = threading.Event(), threading.Event(), os.pread

    def stalled(*arguments: int) -> bytes:
        reads.set()
        goes.wait()
        return real(*arguments)

    monkeypatch.setattr("holdfast.voice.spool_file.os.pread", stalled)
    ticking = asyncio.create_task(Shelf().drainer(spool).tick())
    await asyncio.to_thread(reads.wait)
    try:
        await asyncio.wait_for(spool.append(news()), 10)
    finally:
        goes.set()
    assert await ticking == 1


async def test_files_of_dead_processes_are_taken_over_one_a_tick_while_the_rest_counts_as_others(spool, tmp_path):
    for age in (3, 1, 2):
        dead = Spool(tmp_path, clock=partial(int, age))
        await dead.append(news())
        dead.close()
    shelf = Shelf()
    shelf.away = True
    drainer = shelf.drainer(spool)
    for taken in (1, 2, 3, 3):
        await drainer.tick()
        assert spool.waiting == taken


async def test_what_a_living_process_has_is_left_to_it(spool, tmp_path):
    alive = Spool(tmp_path)
    await alive.append(news())
    shelf = Shelf()
    assert await shelf.drainer(spool).tick() == 0
    assert len(files(tmp_path)) == 1
    alive.close()
    assert await shelf.drainer(spool).tick() == 1


async def test_the_oldest_file_comes_first(tmp_path, spool):
    callbacks = [news(), news()]
    for age, callback in ((2, callbacks[1]), (1, callbacks[0])):
        dead = Spool(tmp_path, clock=partial(int, age))
        await dead.append(callback)
        dead.close()
    shelf = Shelf()
    drainer = shelf.drainer(spool)
    while await drainer.tick():
        pass
    assert shelf.held == [one.event_id for one in callbacks]


async def test_what_the_store_refuses_is_set_aside_and_the_rest_is_stored(spool, tmp_path):
    callbacks = [news() for _ in range(3)]
    for callback in callbacks:
        await spool.append(callback)
    shelf = Shelf(poison=[callbacks[1].event_id])
    await shelf.drainer(spool).tick()
    assert shelf.held == [callbacks[0].event_id, callbacks[2].event_id]
    (aside,) = (tmp_path / "spool" / REFUSED).iterdir()
    assert read_line(aside.read_bytes().removesuffix(b"\n")) == callbacks[1]
    assert aside.stat().st_mode & 0o777 == 0o600


async def test_a_damaged_line_is_set_aside_and_the_rest_is_stored(spool, tmp_path):
    first, last = news(), news()
    dead = Spool(tmp_path)
    await dead.append(first)
    dead.close()
    (left,) = files(tmp_path)
    with left.open("ab") as file:
        file.write(b"00000000 {}\n" + line(last))
    shelf = Shelf()
    await shelf.drainer(spool).tick()
    assert shelf.held == [first.event_id, last.event_id]
    assert len(list((tmp_path / "spool" / REFUSED).iterdir())) == 1


async def test_it_has_a_limit(tmp_path):
    spool = Spool(tmp_path, most_bytes=2000)
    await spool.append(news())
    with pytest.raises(SpoolError, match="2000 bytes"):
        await asyncio.gather(*(spool.append(news()) for _ in range(20)))
    await Shelf().drainer(spool).tick()
    await spool.append(news())
    spool.close()


async def test_a_disk_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "spool").write_text("in the way")
    spool = Spool(tmp_path)
    with pytest.raises(SpoolError, match="cannot be written"):
        await spool.append(news())
    spool.close()


async def test_a_write_that_fails_half_way_leaves_nothing_of_it(tmp_path, monkeypatch):
    spool = Spool(tmp_path)
    first, last = news(), news()
    await spool.append(first)
    real = os.write

    def half(descriptor: int, text: bytes) -> int:
        real(descriptor, text[: len(text) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("holdfast.voice.spool_file.os.write", half)
    with pytest.raises(SpoolError, match="No space"):
        await spool.append(news())
    monkeypatch.undo()
    await spool.append(last)
    shelf = Shelf()
    drainer = shelf.drainer(spool)
    while await drainer.tick():
        pass
    assert shelf.held == [first.event_id, last.event_id]
    spool.close()


async def test_a_sync_that_fails_says_so_and_what_was_written_is_stored_all_the_same(spool, monkeypatch):
    def broken(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("holdfast.voice.spool_file.os.fdatasync", broken)
    first, last = news(), news()
    put = spool.put(first)
    assert isinstance(await put.synced, SpoolError)
    assert await put.written is None
    monkeypatch.undo()
    await spool.append(last)
    shelf = Shelf()
    drainer = shelf.drainer(spool)
    while await drainer.tick():
        pass
    assert shelf.held == [first.event_id, last.event_id]


async def test_nobody_waits_for_ever_whatever_goes_wrong(spool, monkeypatch):
    def broken(*_arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("holdfast.voice.spool_file.os.write", broken)
    with pytest.raises(SpoolError):
        await asyncio.wait_for(spool.append(news()), 10)
    monkeypatch.undo()
    await spool.append(news())


async def test_only_so_much_waits_in_memory_for_the_disk(tmp_path):
    spool = Spool(tmp_path, most_waiting=4000)
    first = spool.put(made("call.status", {"Padding": "x" * 800}))
    with pytest.raises(SpoolError, match="wait for the disk already"):
        spool.put(made("call.status", {"Padding": "x" * 1600}))
    assert await first.synced is None
    await spool.append(news())
    spool.close()


async def test_what_is_stored_and_deleted_before_its_sync_began_counts_as_synced(spool, monkeypatch):
    goes, real = threading.Event(), os.fdatasync

    def stalled(descriptor: int) -> None:
        goes.wait()
        real(descriptor)

    monkeypatch.setattr("holdfast.voice.spool_file.os.fdatasync", stalled)
    first, second = spool.put(news()), spool.put(news())
    await first.written
    third = spool.put(news())
    await third.written
    ticking = asyncio.create_task(Shelf().drainer(spool).tick())
    await asyncio.sleep(0.05)
    goes.set()
    assert await ticking == 3
    assert [await one.synced for one in (first, second, third)] == [None] * 3


async def test_whatever_was_acknowledged_survives_a_kill(tmp_path):
    acknowledged: list[str] = []
    for round_ in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        wanted = len(acknowledged) + 40 * (round_ + 1)
        while len(acknowledged) < wanted:
            acknowledged.append((await process.stdout.readline()).decode().strip())
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [text.decode() for text in (await process.stdout.read()).split(b"\n")[:-1]]
        await process.wait()
    spool, shelf = Spool(tmp_path), Shelf()
    drainer = shelf.drainer(spool)
    while await drainer.tick():
        pass
    assert set(acknowledged) <= set(shelf.held)
    spool.close()


def test_a_file_is_locked_before_others_can_find_it(tmp_path):
    file = SpoolFile.create(tmp_path / "spool", 1)
    assert SpoolFile.adopt(file.path) is None
    file.close()
    adopted = SpoolFile.adopt(file.path)
    assert adopted is not None
    adopted.delete()
    assert SpoolFile.adopt(file.path) is None
