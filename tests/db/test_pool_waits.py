"""Connections: what it took to get one is measured."""

import asyncio

import pytest

from holdfast import service
from holdfast.db.pool import create_pool
from holdfast.signals.system import POOL_WAIT


@pytest.fixture
async def timed(database_url):
    waits: list[float] = []
    pool = await create_pool(database_url, size=1, name="tests", waited=waits.append)
    yield pool, waits
    pool.terminate()


async def test_every_way_to_a_connection_is_measured_once(timed):
    pool, waits = timed
    async with pool.acquire() as connection:
        await connection.fetchval("SELECT 1")
    await pool.fetchval("SELECT 1")
    await pool.fetch("SELECT 1")
    await pool.execute("SELECT 1")
    assert len(waits) == 4
    assert max(waits[1:]) < 0.1


async def test_who_waits_for_another_to_finish_is_seen_waiting(timed):
    pool, waits = timed
    async with pool.acquire():
        waiting = asyncio.create_task(pool.fetchval("SELECT 1"))
        await asyncio.sleep(0.15)
    assert await waiting == 1
    assert waits[-1] >= 0.14


async def test_a_wait_that_is_broken_off_counts_too(timed):
    pool, waits = timed
    async with pool.acquire():
        with pytest.raises(TimeoutError):
            await pool.acquire(timeout=0.1)
    assert waits[-1] >= 0.09


async def test_a_process_pool_counts_under_its_name(database_url):
    async with service.pool(database_url, size=1, name="waits-of-a-test") as pool:
        await pool.fetchval("SELECT 1")
    assert POOL_WAIT.values["waits-of-a-test",].count == 1
