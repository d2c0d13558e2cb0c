"""One address tells of all processes, and is no burden however often it is asked."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from holdfast.db.pool import create_pool
from holdfast.signals.exposition import Exposition
from holdfast.signals.registry import MOST_SERIES, Counter, Distribution, Gauge, Registry
from holdfast.signals.totals import Totals

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Process:
    """One process's registry."""

    def __init__(self) -> None:
        registry = Registry()
        self.alerts = registry.add(Gauge("alerts", "Alerts.", ("severity",)))
        self.memory = registry.add(Gauge("memory", "Memory.", ("kind",), over="sum"))
        self.free = registry.add(Gauge("free", "Room left.", over="min"))
        self.registry = registry
        self.totals = Totals(registry)

    async def tells(self, pool, at=NOON) -> dict[tuple[str, ...], float]:
        text = (await self.totals.exposition(pool, at)).decode()
        return {
            (sample.name.removeprefix("holdfast_"), *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


async def test_gauges_that_only_other_processes_set_are_told(pool):
    web, watch = Process(), Process()
    watch.alerts.set(2, "page")
    await watch.totals.flush(pool, NOON)
    assert await web.tells(pool) == {("alerts", "page"): 2}


async def test_gauges_of_several_processes_are_put_together_as_they_say(pool):
    web, *workers = (Process() for _ in range(3))
    for number, process in enumerate((web, *workers), 1):
        process.memory.set(number * 100, "web" if process is web else "worker")
        process.alerts.set(number, "page")
        process.free.set(number)
        await process.totals.flush(pool, NOON)
    told = {("memory", "web"): 100, ("memory", "worker"): 500, ("alerts", "page"): 3, ("free",): 1}
    for process in (web, *workers):
        assert await process.tells(pool) == told, "whoever is asked"


async def test_the_answering_process_tells_of_itself_what_is_so_now(pool):
    web, other = Process(), Process()
    web.memory.set(100, "web")
    other.memory.set(10, "web")
    await web.totals.flush(pool, NOON)
    await other.totals.flush(pool, NOON)
    web.memory.set(200, "web")
    assert await web.tells(pool) == {("memory", "web"): 210}
    assert await other.tells(pool) == {("memory", "web"): 110}


async def test_of_others_only_what_they_said_last_counts(pool):
    web, watch = Process(), Process()
    watch.alerts.replace([(("page",), 1.0), (("warn",), 1.0)])
    watch.free.set(5)
    await watch.totals.flush(pool, NOON - timedelta(seconds=5))
    watch.alerts.replace([])
    await watch.totals.flush(pool, NOON)
    assert await web.tells(pool) == {("free",): 5}, "the alert is over"


async def test_a_process_that_ended_is_soon_gone(pool, database_url):
    web, worker = Process(), Process()
    worker.memory.set(100, "worker")
    await worker.totals.flush(pool, NOON)
    assert await web.tells(pool, NOON + timedelta(seconds=14)) == {("memory", "worker"): 100}
    assert await web.tells(pool, NOON + timedelta(seconds=15)) == {}


async def test_with_the_store_away_others_are_told_for_as_long_as_that_is_new(pool):
    gone = await create_pool("postgresql:///x?host=/nowhere", size=1, name="gone")
    web, worker = Process(), Process()
    web.memory.set(1, "web")
    worker.memory.set(100, "worker")
    await worker.totals.flush(pool, NOON)
    await web.tells(pool)
    assert ("memory", "worker") in await web.tells(gone, NOON + timedelta(seconds=10))
    assert await web.tells(gone, NOON + timedelta(seconds=20)) == {("memory", "web"): 1}


async def test_many_series_are_all_told_under_one_heading(pool):
    process = Process()
    events = process.registry.add(Counter("events", "Events.", ("type",)))
    seconds = process.registry.add(Distribution("seconds", "Seconds.", ("type",)))
    for number in range(MOST_SERIES):
        events.inc(number, f"type{number}")
        seconds.observe(number, f"type{number}")
    text = (await process.totals.exposition(pool)).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert [line for line in text.splitlines() if line.startswith("#") and "_events" in line] == [
        "# HELP holdfast_events_total Events.",
        "# TYPE holdfast_events_total counter",
    ]
    assert {sample.value for sample in families["holdfast_events"].samples} == set(map(float, range(MOST_SERIES)))
    assert sum(sample.name.endswith("_count") for sample in families["holdfast_seconds"].samples) == MOST_SERIES


async def test_while_a_long_text_is_written_others_have_their_turn(pool):
    process = Process()
    seconds = process.registry.add(Distribution("seconds", "Seconds.", ("type",)))
    for number in range(MOST_SERIES):
        seconds.observe(number, f"type{number}")
    await process.totals.flush(pool)
    turns = 0
    asking = asyncio.create_task(process.totals.exposition(pool))
    while not asking.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > MOST_SERIES // 10


class Maker:
    """Makes a text when it is let."""

    def __init__(self) -> None:
        self.made, self.at, self.fails = 0, 100.0, False
        self.go = asyncio.Event()
        self.exposition = Exposition(self.make, lambda: self.at)

    async def make(self) -> bytes:
        self.made += 1
        await self.go.wait()
        if self.fails:
            raise RuntimeError
        return b"%d" % self.made


async def test_one_text_is_made_for_all_who_ask_meanwhile_and_a_second_longer():
    maker = Maker()
    asking = [asyncio.create_task(maker.exposition.text()) for _ in range(50)]
    await asyncio.sleep(0)
    maker.at += 5
    asking += [asyncio.create_task(maker.exposition.text()) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()
    maker.go.set()
    texts = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(texts[0], asyncio.CancelledError)
    assert set(texts[1:]) == {b"1"}
    assert await maker.exposition.text() == b"2", "the first one took long, and is old"
    maker.at += 0.9
    assert await maker.exposition.text() == b"2"
    maker.at += 0.1
    assert await maker.exposition.text() == b"3"


async def test_a_text_that_could_not_be_made_is_made_again():
    maker = Maker()
    maker.go.set()
    maker.fails = True
    with pytest.raises(RuntimeError):
        await maker.exposition.text()
    maker.fails = False
    assert await maker.exposition.text() == b"2"


def test_the_web_process_can_name_whatever_is_measured_anywhere():
    program = """
import importlib, pkgutil, holdfast.web
from holdfast.signals.registry import REGISTRY
named = {metric.name for metric in REGISTRY}
for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
    if "migrations" not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(*sorted({metric.name for metric in REGISTRY} - named))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [], "import the modules that measure these in holdfast/web.py (DESCRIBED)"
