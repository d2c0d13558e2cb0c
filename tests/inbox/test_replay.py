"""Finding events by time, and routing them again while retention is at work."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from holdfast import retention
from holdfast.inbox import replay, store
from holdfast.inbox.store import LATEST, Filter
from holdfast.queue.model import Lane
from tests.inbox.events import event, new

pytestmark = pytest.mark.usefixtures("any_server")

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAYS = 20


async def received(pool, at: list[datetime]) -> list[str]:
    """Events in the order in which they were stored; their ids."""
    made = [new(event(id=f"evt_{number:04}"), received=when.timestamp()) for number, when in enumerate(at)]
    await store.append(pool, made, [Lane.STANDARD] * len(made), [0] * len(made))
    return [one.event_id for one in made]


@pytest.mark.parametrize("since", [None, -1, 3, 10.5, 19, 30])
@pytest.mark.parametrize("until", [None, -1, 0.5, 10.6, 12, 19.5, 30])
async def test_what_was_received_in_a_time_is_found_also_where_it_was_stored_late(pool, since, until):
    begin = NOW - timedelta(days=DAYS)
    at = [begin + timedelta(hours=hours) for hours in range(0, 24 * DAYS, 4)]
    late = timedelta(hours=20)  # some come from a spool, and one has a clock of its own
    at = [when - late if 5 <= number % 30 <= 12 else when for number, when in enumerate(at)]
    at[40] += LATEST / 4
    ids = await received(pool, at)
    await pool.execute("DELETE FROM event WHERE seq % 7 = 3")  # retention leaves gaps
    left = {row["event_id"] for row in await store.listing(pool, Filter(), limit=1000, before=None)}
    low = None if since is None else begin + timedelta(days=since)
    high = None if until is None else begin + timedelta(days=until)
    expected = [
        one
        for one, when in zip(ids, at, strict=True)
        if one in left and (low is None or when >= low) and (high is None or when < high)
    ]
    chosen = Filter(since=low, until=high)
    rows = await store.listing(pool, chosen, limit=1000, before=None)
    assert [row["event_id"] for row in reversed(rows)] == expected
    assert await store.count(pool, chosen) == len(expected)
    assert len(await store.matching(pool, chosen, after=0, limit=1000)) == len(expected)


async def test_far_less_than_everything_is_read_for_a_day_among_many(pool):
    begin = NOW - timedelta(days=90)
    await received(pool, [begin + timedelta(hours=hours) for hours in range(24 * 90)])
    low = await store._place(pool, begin + timedelta(days=10))
    high = await store._place(pool, begin + timedelta(days=11))
    assert low is not None
    assert high is not None
    assert high - low == 24
    assert await store._place(pool, begin - timedelta(days=1)) == 1
    assert await store._place(pool, NOW + timedelta(days=1)) == 24 * 90 + 1


async def test_without_events_nothing_is_found(pool):
    assert await store.listing(pool, Filter(since=NOW, until=NOW), limit=10, before=None) == []


async def test_an_event_that_retention_is_deleting_is_not_routed_again(pool):
    await received(pool, [NOW, NOW])
    await pool.execute("TRUNCATE work")
    async with pool.acquire() as connection:
        deleting = connection.transaction()
        await deleting.start()
        await connection.execute("DELETE FROM event WHERE event_id = 'evt_0000'")

        async def again() -> int:
            return sum([added async for _, added in replay.replay(pool, Filter())])

        replaying = asyncio.create_task(again())
        async with asyncio.timeout(10):
            while not await pool.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
            ):
                await asyncio.sleep(0.01)
        await deleting.commit()
        assert await replaying == 1
    assert await pool.fetchval("SELECT count(*) FROM work WHERE ref NOT IN (SELECT seq FROM event)") == 0


async def test_an_event_that_is_being_replayed_is_not_deleted_by_retention(pool):
    await received(pool, [NOW - timedelta(days=100)] * 2)
    await pool.execute("TRUNCATE work")
    [first, second] = [row[0] for row in await pool.fetch("SELECT seq FROM event ORDER BY seq")]
    async with pool.acquire() as replaying, replaying.transaction():
        assert await store.queue_again(replaying, [first], [0], now=None) == 1
        assert await retention.prune(pool, 90, NOW) == 1, "the other one"
    assert await retention.prune(pool, 90, NOW) == 0
    assert await pool.fetch("SELECT seq FROM event") == [(first,)]
    await pool.execute("TRUNCATE work")
    assert await retention.prune(pool, 90, NOW) == 1, f"{second} went before it"
