"""What processes count, added up over all of them."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from holdfast.db.pool import create_pool
from holdfast.signals.registry import MOST_SERIES, OTHER, Counter, Distribution, Gauge, Registry
from holdfast.signals.totals import Totals


class Process:
    """One process's registry."""

    def __init__(self) -> None:
        registry = Registry()
        self.events = registry.add(Counter("events", "Events.", ("lane",)))
        self.depth = registry.add(Gauge("depth", "Depth.", ("lane",)))
        self.seconds = registry.add(Distribution("seconds", "Seconds.", ("lane",), bounds=(0.1, 1.0)))
        self.totals = Totals(registry)

    async def samples(self, pool) -> dict[tuple[str, ...], float]:
        text = (await self.totals.exposition(pool)).decode()
        return {
            (sample.name, *sorted(f"{name}={value}" for name, value in sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


async def test_counters_of_all_processes_add_up(pool):
    one, two = Process(), Process()
    one.events.inc(3, "bulk")
    two.events.inc(4, "bulk")
    await one.totals.flush(pool)
    two.events.inc(1, "critical")
    assert await two.samples(pool) == {
        ("holdfast_events_total", "lane=bulk"): 7,
        ("holdfast_events_total", "lane=critical"): 1,
    }
    await two.totals.flush(pool)
    assert (await one.samples(pool))["holdfast_events_total", "lane=bulk"] == 7
    assert (await Process().samples(pool))["holdfast_events_total", "lane=bulk"] == 7, "also for a new process"


async def test_a_counter_never_goes_back(pool):
    process, other = Process(), Process()
    last = 0.0
    for round_ in range(30):
        process.events.inc(1, "bulk")
        seeing = asyncio.create_task(process.samples(pool))
        flushes = [process.totals.flush(pool), process.totals.flush(pool)]
        if round_ % 3 == 0:
            other.events.inc(2, "bulk")
            flushes.append(other.totals.flush(pool))
        await asyncio.gather(*flushes)
        seen = await seeing
        value = seen["holdfast_events_total", "lane=bulk"]
        assert value >= last
        last = value
    assert (await process.samples(pool))["holdfast_events_total", "lane=bulk"] == 50


async def test_with_the_store_away_nothing_is_lost_and_the_last_totals_are_told(pool):
    gone = await create_pool("postgresql:///x?host=/nowhere", size=1, name="gone")
    process, other = Process(), Process()
    other.events.inc(5, "bulk")
    await other.totals.flush(pool)
    process.events.inc(1, "bulk")
    assert (await process.samples(pool))["holdfast_events_total", "lane=bulk"] == 6
    process.events.inc(1, "bulk")
    await process.totals.flush(gone)
    assert (await process.samples(gone))["holdfast_events_total", "lane=bulk"] == 7
    await process.totals.flush(pool)
    assert (await other.samples(pool))["holdfast_events_total", "lane=bulk"] == 7


async def test_a_distribution_is_a_histogram(pool):
    one, two = Process(), Process()
    for value in (0.05, 0.1, 0.5, 7):
        one.seconds.observe(value, "bulk")
    two.seconds.observe(0.5, "bulk")
    await one.totals.flush(pool)
    found = await two.samples(pool)
    buckets = {key[2]: value for key, value in found.items() if key[0] == "holdfast_seconds_bucket"}
    assert buckets == {"le=0.1": 2, "le=1": 4, "le=+Inf": 5}
    assert found["holdfast_seconds_count", "lane=bulk"] == 5
    assert found["holdfast_seconds_sum", "lane=bulk"] == pytest.approx(8.15)


async def test_a_gauge_is_as_it_was_set_last(pool):
    process = Process()
    process.depth.set(5, "bulk")
    process.depth.replace([(("critical",), 2.0)])
    assert await process.samples(pool) == {("holdfast_depth", "lane=critical"): 2}


def test_labels_from_outside_are_bounded():
    counter = Counter("events", "Events.", ("type",))
    for number in range(2 * MOST_SERIES):
        counter.inc(1, f"type{number}")
    assert len(counter.values) == MOST_SERIES + 1
    assert counter.values[OTHER,] == MOST_SERIES
    counter.inc(1, "type0")
    assert counter.values["type0",] == 2


async def test_a_label_that_cannot_be_stored_keeps_nothing_from_the_store(pool):
    process = Process()
    for label in ("a\0b", "a\x1fb", "a\ud800b", "x" * 9000, "bulk"):
        process.events.inc(1, label)
        process.depth.set(1, label)
        process.seconds.observe(0.5, label)
    await process.totals.flush(pool)
    samples = await Process().samples(pool)
    events = {key[1]: value for key, value in samples.items() if key[0] == "holdfast_events_total"}
    assert events == {"lane=a?b": 3, f"lane={'x' * 260}": 1, "lane=bulk": 1}
    depths = {key[1] for key in samples if key[0] == "holdfast_depth"}
    assert depths == events.keys()


def test_labels_must_fit():
    with pytest.raises(ValueError, match="do not fit"):
        Counter("events", "Events.", ("a", "b")).inc(1, "x")


def test_a_name_is_used_once():
    registry = Registry()
    registry.add(Counter("events", "Events."))
    with pytest.raises(ValueError, match="events"):
        registry.add(Gauge("events", "Events."))
