"""Levers that ask PostgreSQL for more connections than it gives are refused with the numbers."""

import uuid

import pytest

from holdfast.config import Settings
from holdfast.db import processes
from holdfast.db.connections import Allowed, allowed
from holdfast.levers import connections, store
from holdfast.levers.connections import need
from holdfast.levers.model import RefusedError, Snapshot
from holdfast.levers.turning import Turner
from holdfast.merchants.names import Names

SETTINGS = Settings(workers=2, router_concurrency=2)
# a worker: 2 for each router, delivery 4, general 3, listener 1; web: inbox 3, general 4, voice 3, texts 3, inbound
# texts 3, listener 1; watch 14; spare 8
WORKER, WEB, WATCH, SPARE = 12, 17, 14, 8


@pytest.fixture
def turner(pool):
    return Turner(pool, SETTINGS, Names(pool))


@pytest.fixture
def gives(monkeypatch):
    """A server that gives so many connections."""

    def set_(most, reserved=3):
        async def limit(_db):
            return Allowed(most, reserved)

        monkeypatch.setattr(connections, "allowed", limit)

    return set_


def total(values=None, alive=None, before=None):
    return need(Snapshot(values or {}), alive or {}, SETTINGS, Snapshot(before) if before is not None else None).total


def test_what_would_be_open_is_added_up_over_all_processes():
    assert total() == SPARE + WEB + WATCH + 2 * WORKER
    assert total(alive={"worker": 5, "web": 2, "watch": 1}) == SPARE + 2 * WEB + WATCH + 5 * WORKER
    assert total({("database.pool", "pool:worker/general"): 10}) == SPARE + WEB + WATCH + 2 * (WORKER + 7)
    assert total({("router.concurrency", ""): 16}) == SPARE + WEB + WATCH + 2 * (WORKER + 28)
    assert total({("processes.workers", ""): 6}) == SPARE + WEB + WATCH + 6 * WORKER


def test_workers_that_were_started_otherwise_count_as_well():
    alive = {"worker": 5}  # two of them under `holdfast up`
    assert total({("processes.workers", ""): 4}, alive, {}) == SPARE + WEB + WATCH + 7 * WORKER
    assert total({("processes.workers", ""): 1}, alive, {}) == SPARE + WEB + WATCH + 4 * WORKER


async def test_the_server_says_how_many_it_gives(pool, any_server):
    found = await allowed(pool)
    assert found.most >= 100
    assert 0 < found.reserved < found.most
    assert found.ours == found.most - found.reserved


async def test_a_pool_beyond_what_the_server_gives_is_refused_with_the_numbers(pool, turner, gives):
    gives(66)
    with pytest.raises(RefusedError) as refused:
        await turner.turn("database.pool", "pool:worker/delivery", "40", actor="ana", reason="")
    assert str(refused.value) == (
        "with database.pool of pool:worker/delivery 40, processes may open "
        "1 web with 17 + 2 worker with 48 + 1 watch with 14 + 8 for commands = 135 connections, and PostgreSQL gives "
        "63 (max_connections 66, of which 3 are reserved); 4 is the most that fits"
    )
    await turner.turn("database.pool", "pool:worker/delivery", "4", actor="ana", reason="")
    with pytest.raises(RefusedError, match="processes may open"):
        await turner.turn("database.pool", "pool:worker/delivery", "5", actor="ana", reason="")


async def test_too_many_workers_or_routers_are_refused(pool, turner, gives):
    gives(66)
    with pytest.raises(RefusedError, match="2 is the most that fits"):
        await turner.turn("processes.workers", "", "64", actor="ana", reason="")
    with pytest.raises(RefusedError, match="2 is the most that fits"):
        await turner.turn("router.concurrency", "", "16", actor="ana", reason="")


async def test_processes_that_are_known_to_be_at_work_are_counted(pool, turner, gives):
    gives(80)
    for number in range(4):
        await processes.beat(pool, uuid.UUID(int=number + 1), "worker", "there", number)
    with pytest.raises(RefusedError, match="4 worker with 22"):
        await turner.turn("database.pool", "pool:worker/delivery", "14", actor="ana", reason="")


async def test_turning_down_is_never_refused_even_where_it_is_too_much_already(pool, turner, gives):
    gives(20)
    await turner.turn("database.pool", "pool:worker/delivery", "2", actor="ana", reason="")
    await turner.turn("processes.workers", "", "1", actor="ana", reason="")
    with pytest.raises(RefusedError, match=r"reserved\)$"):
        await turner.turn("database.pool", "pool:worker/delivery", "3", actor="ana", reason="")


async def test_a_ramp_beyond_what_the_server_gives_is_refused(pool, turner, gives):
    await store.turn(
        pool, "processes.workers", (await turner.read("processes.workers", ""))[1], 1, actor="a", reason="", lasts=None
    )
    gives(60)
    with pytest.raises(RefusedError, match="processes may open"):
        await turner.start_ramp("processes.workers", (), to="20", actor="ana", reason="")
