"""A pool that is resized while it is in use."""

import asyncio

import pytest

from holdfast.db.pool import LARGEST, create_pool


@pytest.fixture
async def pool(database_url):
    pool = await create_pool(database_url, size=4, name="resized")
    yield pool
    pool.terminate()


async def busy(pool, count):
    """So many connections in use, to be given back by their release."""
    return [await pool.acquire() for _ in range(count)]


async def soon(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_no_more_connections_are_in_use_than_there_may_be(pool):
    taken = await busy(pool, 4)
    waiting = asyncio.create_task(pool.fetchval("SELECT 1"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await pool.release(taken.pop())
    assert await waiting == 1
    for one in taken:
        await pool.release(one)
    assert (pool.get_size(), pool.get_max_size()) == (4, 4)


async def test_a_pool_that_grows_lets_those_who_wait_begin(pool):
    taken = await busy(pool, 4)
    waiting = [asyncio.ensure_future(pool.acquire()) for _ in range(3)]
    await asyncio.sleep(0.05)
    await pool.resize(6)
    await soon(lambda: sum(one.done() for one in waiting) == 2)
    await asyncio.sleep(0.05)
    assert sum(one.done() for one in waiting) == 2
    await pool.release(taken.pop())
    for one in [*taken, *[await one for one in waiting]]:
        await pool.release(one)
    assert pool.get_size() == 6


async def test_a_pool_that_shrinks_closes_idle_connections_at_once(pool):
    for one in await busy(pool, 4):
        await pool.release(one)
    await pool.resize(1)
    assert pool.get_size() == 1
    assert await pool.fetchval("SELECT 1") == 1


async def test_a_pool_that_shrinks_breaks_off_nothing_that_is_in_use(pool):
    taken = await busy(pool, 4)
    await pool.resize(2)
    assert [await one.fetchval("SELECT 1") for one in taken] == [1] * 4
    waiting = asyncio.ensure_future(pool.acquire())
    for expected in (3, 2):
        await pool.release(taken.pop())
        assert pool.get_size() == expected
        assert not waiting.done()
    await pool.release(taken.pop())
    await pool.release(await waiting)
    await pool.release(taken.pop())
    assert (pool.get_size(), pool.get_idle_size()) == (2, 2)


async def test_one_who_gives_up_waiting_leaves_their_turn_to_the_next(pool):
    taken = await busy(pool, 4)
    hasty, patient = (asyncio.ensure_future(pool.acquire()) for _ in range(2))
    await asyncio.sleep(0.01)
    hasty.cancel()
    await pool.release(taken.pop())
    await pool.release(await patient)
    with pytest.raises(TimeoutError):
        async with pool.acquire(timeout=0.01), pool.acquire(timeout=0.01):
            raise AssertionError
    for one in taken:
        await pool.release(one)
    await pool.resize(1)
    for _ in range(3):
        assert await pool.fetchval("SELECT 1") == 1


async def test_a_turn_that_comes_as_one_gives_up_is_not_lost(pool):
    await pool.resize(1)
    (taken,) = await busy(pool, 1)
    hasty, patient = (asyncio.ensure_future(pool.acquire()) for _ in range(2))
    await asyncio.sleep(0.01)
    releasing = asyncio.create_task(pool.release(taken))
    await soon(lambda: releasing.done() or hasty.done())
    hasty.cancel()
    results = await asyncio.gather(hasty, return_exceptions=True)
    if not isinstance(results[0], BaseException):
        await pool.release(results[0])
    async with asyncio.timeout(5):
        await pool.release(await patient)


async def test_a_server_that_is_away_costs_no_turn():
    gone = await create_pool("postgresql:///x?host=/nowhere", size=1, name="gone")
    for _ in range(3):
        with pytest.raises(OSError):
            await gone.fetchval("SELECT 1")
    gone.terminate()


async def test_many_who_come_and_go_while_it_is_resized_all_get_their_answer(pool):
    async def ask(number):
        await asyncio.sleep(number % 7 / 1000)
        return await pool.fetchval("SELECT $1::int", number)

    asking = [asyncio.create_task(ask(number)) for number in range(300)]
    for size in (1, 8, 2, 5, 1, 3):
        await pool.resize(size)
        await asyncio.sleep(0.01)
    assert await asyncio.gather(*asking) == list(range(300))
    await soon(lambda: pool.get_size() <= 3)


async def test_a_size_that_no_pool_has_is_refused(pool):
    for size in (0, LARGEST + 1):
        with pytest.raises(ValueError, match="1 to 64"):
            await pool.resize(size)
