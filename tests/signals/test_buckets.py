"""What all processes measured, over time."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.db.pool import create_pool
from holdfast.signals import rollup, store
from holdfast.signals.buckets import Bucket, Counts, Data, Levels, Spreads
from holdfast.signals.registry import Counter, Distribution, Gauge, Registry
from holdfast.signals.sketch import Sketch
from holdfast.signals.totals import Totals

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
EVER = (NOON - timedelta(days=500), NOON + timedelta(days=1))


class Process:
    def __init__(self) -> None:
        registry = Registry()
        self.events = registry.add(Counter("events", "Events.", ("lane",)))
        self.depth = registry.add(Gauge("depth", "Depth.", ("lane",)))
        self.memory = registry.add(Gauge("memory", "Memory.", over="sum"))
        self.seconds = registry.add(Distribution("seconds", "Seconds.", ("lane",)))
        self.totals = Totals(registry)


async def series(pool, name, seconds=5):
    found = await store.read(pool, seconds, *EVER, [name])
    return [(stored.bucket.at, stored.bucket.data.series) for stored in found]


async def test_a_bucket_holds_what_happened_since_the_last_one(pool):
    process = Process()
    process.events.inc(3, "bulk")
    await process.totals.flush(pool, NOON)
    await process.totals.flush(pool, NOON + timedelta(seconds=5))
    process.events.inc(2, "bulk")
    process.events.inc(1, "critical")
    await process.totals.flush(pool, NOON + timedelta(seconds=10))
    assert await series(pool, "events") == [
        (NOON, {"bulk": 3}),
        (NOON + timedelta(seconds=10), {"bulk": 2, "critical": 1}),
    ]


async def test_a_distribution_of_an_interval_is_its_own(pool):
    process = Process()
    for value in (0.1, 0.2):
        process.seconds.observe(value, "bulk")
    await process.totals.flush(pool, NOON)
    process.seconds.observe(9, "bulk")
    await process.totals.flush(pool, NOON + timedelta(seconds=5))
    (_, first), (_, second) = await series(pool, "seconds")
    assert (first["bulk"][0], sum(first["bulk"][1].values())) == (pytest.approx(0.3), 2)
    assert Sketch(second["bulk"][1]).quantile(0.5) == pytest.approx(9, rel=0.01)


async def test_with_the_store_away_buckets_wait_and_keep_their_time(pool):
    gone = await create_pool("postgresql:///x?host=/nowhere", size=1, name="gone")
    process = Process()
    for number in range(3):
        process.events.inc(1, "bulk")
        await process.totals.flush(gone, NOON + timedelta(seconds=5 * number))
    await process.totals.flush(pool, NOON + timedelta(seconds=15))
    await process.totals.flush(pool, NOON + timedelta(seconds=20))
    assert [(at - NOON).total_seconds() for at, _ in await series(pool, "events")] == [0, 5, 10]


async def test_a_store_that_is_away_for_long_costs_no_memory(pool):
    gone = await create_pool("postgresql:///x?host=/nowhere", size=1, name="gone")
    process = Process()
    for number in range(100):
        process.events.inc(1, "bulk")
        await process.totals.flush(gone, NOON + timedelta(seconds=5 * number))
    await process.totals.flush(pool, NOON + timedelta(seconds=500))
    kept = await series(pool, "events")
    assert len(kept) < 61
    assert kept[-1][0] == NOON + timedelta(seconds=495)


async def test_minutes_and_hours_add_up_over_processes(pool):
    one, two = Process(), Process()
    for number in range(1, 25):
        at = NOON - timedelta(minutes=62) + timedelta(seconds=5 * number)
        for process in (one, two):
            process.events.inc(1, "bulk")
            process.seconds.observe(0.5, "bulk")
            process.memory.set(100)
            await process.totals.flush(pool, at)
        one.depth.set(number, "bulk")
    # As time goes on: minutes are made while they are fresh, the hour of those.
    await rollup.roll_up(pool, NOON - timedelta(minutes=59))
    await rollup.roll_up(pool, NOON + timedelta(minutes=1))
    assert [found["bulk"] for _, found in await series(pool, "events", 60)] == [24, 24]
    assert [found[""] for _, found in await series(pool, "memory", 60)] == [200, 200]
    assert [found["bulk"] for _, found in await series(pool, "depth", 60)] == [pytest.approx(6), pytest.approx(17.5)]
    hours = await series(pool, "events", 3600)
    assert hours == [(NOON - timedelta(hours=1), {"bulk": 48})]
    (_, spread), *_ = await series(pool, "seconds", 3600)
    assert sum(spread["bulk"][1].values()) == 48


async def test_adding_up_again_changes_nothing_and_late_buckets_are_added(pool):
    process, late = Process(), Process()
    process.events.inc(1, "bulk")
    await process.totals.flush(pool, NOON - timedelta(seconds=30))
    await rollup.roll_up(pool, NOON + timedelta(minutes=1))
    await rollup.roll_up(pool, NOON + timedelta(minutes=1))
    assert await series(pool, "events", 60) == [(NOON, {"bulk": 1})]
    late.events.inc(5, "bulk")
    await late.totals.flush(pool, NOON - timedelta(seconds=20))
    await rollup.roll_up(pool, NOON + timedelta(minutes=2))
    assert await series(pool, "events", 60) == [(NOON, {"bulk": 6})]


async def test_the_minute_under_way_is_not_added_up_yet(pool):
    process = Process()
    process.events.inc(1, "bulk")
    await process.totals.flush(pool, NOON + timedelta(seconds=5))
    await rollup.roll_up(pool, NOON + timedelta(seconds=55))
    assert await series(pool, "events", 60) == []


async def test_each_resolution_is_kept_for_its_time(pool):
    data = Counts({"": 1.0})
    ages = {5: (timedelta(hours=5), timedelta(hours=7)), 60: (timedelta(days=13), timedelta(days=15))}
    ages[3600] = (timedelta(days=399), timedelta(days=401))
    for seconds, times in ages.items():
        await store.add(pool, [], uuid.uuid4(), [Bucket("events", NOON - age, seconds, data) for age in times])
    await rollup.roll_up(pool, NOON)
    for seconds, (young, _) in ages.items():
        assert [at for at, _ in await series(pool, "events", seconds)] == [NOON - young]


def test_gauges_combine_as_they_say():
    one, two = uuid.uuid4(), uuid.uuid4()

    def combined(over):
        levels = [(one, 1.0), (one, 3.0), (two, 10.0)]
        group = [store.Stored(source, Bucket("depth", NOON, 5, Levels({"": value}, over))) for source, value in levels]
        return rollup.combined(group).series[""]

    assert (combined("max"), combined("sum"), combined("min")) == (10, 12, 2)


def test_a_signal_that_changed_its_kind_is_read_as_what_it_is_first():
    mixed: list[Data] = [Counts({"": 1.0}), Spreads({"": (1.0, {0: 1})}), Counts({"": 2.0})]
    group = [store.Stored(uuid.uuid4(), Bucket("x", NOON, 5, data)) for data in mixed]
    assert rollup.combined(group) == Counts({"": 3.0})
