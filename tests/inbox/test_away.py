"""The store is away, or there and does not answer: senders hear it soon, and the door is not ready."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from holdfast.db.pool import create_pool
from holdfast.inbox import store
from holdfast.inbox.service import Appended, Inbox, InboxAway
from tests.hanging import Hanging
from tests.inbox.events import event, new


@pytest.fixture
async def hanging(database_url) -> AsyncIterator[Hanging]:
    with TemporaryDirectory(dir="/tmp") as place:  # a socket's path may not be long
        async with Hanging(database_url, Path(place)) as found:
            yield found


async def test_while_the_store_hangs_all_who_wait_hear_so_together_and_later_it_works(pool, hanging):
    through = await create_pool(hanging.url, size=2, name="tests", hot=True)
    box = Inbox(through, merchant_of=lambda _: 0, batch=10, timeout=0.5)
    await box.refresh_lanes(through)
    running = asyncio.create_task(box.run())
    await box.append(new(event()))
    hanging.open.clear()
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = await asyncio.gather(*(box.append(new(event())) for _ in range(400)), return_exceptions=True)
    assert all(isinstance(answer, InboxAway) for answer in answers)
    assert loop.time() - began < 10, "not one batch after the other, which takes 20 times the patience for one"
    assert not box.is_ready
    with pytest.raises(TimeoutError):
        await box.refresh_lanes(through)
    assert not box.is_ready
    hanging.open.set()
    async with asyncio.timeout(30):
        while True:
            try:
                await box.refresh_lanes(through)
                assert await box.append(new(event())) is Appended.NEW
                break
            except (InboxAway, TimeoutError):
                await asyncio.sleep(0.1)
    assert box.is_ready
    running.cancel()
    through.terminate()


async def test_a_store_that_hangs_after_it_refused_a_batch_is_away_for_all_of_it(pool, monkeypatch):
    asked = 0

    async def append(*_arguments, **_named):
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ValueError("one of them cannot be stored")
        raise TimeoutError

    monkeypatch.setattr(store, "append", append)
    box = Inbox(pool, merchant_of=lambda _: 0, batch=8, commits=1)
    await box.refresh_lanes(pool)
    answers = [box.append(new(event())) for _ in range(20)]
    running = asyncio.create_task(box.run())
    found = await asyncio.gather(*answers, return_exceptions=True)
    running.cancel()
    assert {str(answer) for answer in found} == {"the store is away"}
    assert asked == 2
    assert not box.is_ready


async def test_when_the_lane_table_cannot_be_read_events_cannot_be_stored(pool):
    inbox = Inbox(pool, merchant_of=lambda _: 0)
    await inbox.refresh_lanes(pool)
    running = asyncio.create_task(inbox.run())
    made = event()
    await inbox.append(new(made))
    gone = await create_pool("postgresql:///x?host=/nowhere", size=1, name="gone")
    with pytest.raises(OSError):
        await inbox.refresh_lanes(gone)
    assert not inbox.is_ready
    assert not inbox._held.has("stripe", made["id"]), "what comes back may be another server"
    await inbox.refresh_lanes(pool)
    assert inbox.is_ready
    running.cancel()
