"""Capacity: what limits now, by which numbers, and what is honestly not known."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.config import Settings
from holdfast.db import processes
from holdfast.delivery import store as deliveries
from holdfast.delivery.model import Attempt, Outcome
from holdfast.delivery.store import NewDelivery
from holdfast.health.capacity import Capacity, Observed, capacity, judge
from holdfast.health.limits import Machine, Pace, Turned
from holdfast.inbox import store as inbox
from holdfast.levers import store as levers
from holdfast.levers.model import PAUSED, ROUTER_CONCURRENCY, Target
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewDestination, NewMerchant
from holdfast.queue import store as queue
from holdfast.queue.capacity import SLOTS, Flow
from holdfast.queue.model import ClaimPolicy, Lane, NewWork, Settled, Stage
from holdfast.queue.service import Claimer
from holdfast.signals import store as signals
from holdfast.signals.buckets import Bucket, Counts, Data, Levels, Spreads
from holdfast.signals.sketch import Sketch
from tests.inbox.events import event, new
from tests.processes import command_here

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
WELL = Machine({"a": 0.4}, {"a": 0.1}, 0.5, 0.001, 0.2, 0, {"worker/router": 0.2}, {"router": 0.0001})


def flow(ready, arrived=0, served=0, stage=Stage.ROUTE, lane=Lane.CRITICAL):
    """Arrived and served: in each slot of five seconds."""
    return Flow(stage, lane, ready, 0, 0, (arrived,) * SLOTS, (served,) * SLOTS)


def seen(*flows, workers=1, machine=WELL, **options) -> Capacity:
    return judge(Observed(NOON, workers, flows, machine=machine, **options), timedelta(minutes=15))


def pace(depth=5000, in_flight=0, failed=0.0, tries=0.0, latency=0.01, drain=None, ceiling=64):
    return Pace(7, "https://a.example", depth, in_flight, ceiling, tries, failed, latency, drain)


BEHIND = flow(90_000, 500, 1000)
UNSENT = flow(9_000, 50, 100, Stage.DELIVER)


def test_where_nothing_is_behind_nothing_limits():
    found = seen(flow(40, 500, 500))
    assert (found.limits[0].kind, found.more_workers_help, found.drain_seconds) == ("nothing", False, 0.0)


def test_without_a_worker_that_is_what_is_missing():
    found = seen(flow(9000, 50), workers=0, best={Stage.ROUTE: 500.0})
    assert (found.limits[0].kind, found.more_workers_help, found.drain_seconds) == ("no workers", True, None)
    assert found.per_worker[0].per_second == 500.0
    assert found.per_worker[0].is_least


def test_the_workers_needed_follow_from_what_one_does_now():
    found = seen(BEHIND, workers=2)
    route = found.per_worker[0]
    assert (route.per_second, route.basis, route.is_least) == (100.0, "measured now, with work waiting", False)
    assert found.work_needed[Stage.ROUTE] == pytest.approx(100 + 90_000 / 900)
    assert found.workers_needed == 2
    assert found.drain_seconds == pytest.approx(900)
    unsent = seen(BEHIND, flow(50, 20, 0, Stage.DELIVER), workers=2)
    assert unsent.workers_needed is None, "nothing tells what a worker delivers"


def test_what_is_routed_must_be_delivered_as_well():
    """Two notifications an event: clearing the router's backlog in time makes deliveries faster than now."""
    found = seen(BEHIND, flow(0, 2000, 2000, Stage.DELIVER), workers=1)
    assert found.work_needed[Stage.DELIVER] == pytest.approx(400)
    busier = seen(flow(900_000, 500, 1000), flow(0, 2000, 2000, Stage.DELIVER), workers=1)
    assert busier.work_needed[Stage.DELIVER] == pytest.approx(400 + 2 * (1100 - 200))


@given(st.integers(0, 10**6), st.integers(0, 10**4), st.integers(0, 10**4), st.integers(1, 20), st.integers(1, 120))
def test_more_time_never_needs_more_workers(ready, arrived, served, count, minutes):
    observed = Observed(NOON, count, (flow(ready, arrived, served), flow(0, 1, 1, Stage.DELIVER)), machine=WELL)
    soon, later = (judge(observed, timedelta(minutes=some)).workers_needed for some in (minutes, minutes + 10))
    assert (soon is None) == (later is None)
    assert soon is None or later is None or later <= soon


@pytest.mark.parametrize(
    ("machine", "kind", "said", "helps"),
    [
        (Machine({"a": 0.97}, {"a": 0.6}), "cpu", "97 % in use, and waited for 60 %", False),
        (Machine({"a": 0.85}, {"a": 0.6}), "cpu", "85 % in use", False),
        (Machine({"a": 0.85}, {"a": 0.1}), "unknown", "85 % in use", None),
        (Machine({"a": 0.6}, {}, 0.95), "workers", "use 0.9 processors", True),
        (Machine({}, {}, None, 0.25), "postgres", "takes 250 ms", False),
        (Machine({}, {}, None, None, 0.97), "postgres", "97 % of PostgreSQL's connections", False),
        (Machine({}, {}, None, None, None, 30), "postgres", "30 sessions", False),
        (Machine(pools={"worker/router": 1.0}, pool_waits={"router": 0.2}), "postgres", "wait 200 ms", None),
        (Machine(pools={"web/inbox": 1.0}), "unknown", "nothing is measured", None),
        (WELL, "unknown", "processors 40 % in use", None),
    ],
)
def test_the_limit_is_named_with_its_numbers(machine, kind, said, helps):
    found = seen(BEHIND, machine=machine)
    assert (found.limits[0].kind, found.more_workers_help) == (kind, helps)
    assert said in found.limits[0].what
    assert found.limits[0].stage is Stage.ROUTE


def test_what_no_signal_tells_is_said_to_be_not_known():
    assert len(seen(BEHIND, machine=Machine()).not_known) == 5
    assert seen(BEHIND, machine=WELL, best={Stage.ROUTE: 5.0}).not_known == ()


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (pace(in_flight=60), "60 of at most 64 requests at once"),
        (pace(failed=0.9, tries=2), "90 % of them fail"),
        (pace(tries=20, latency=3.0), "20.0 tries/s of 3000 ms"),
    ],
)
def test_a_destination_at_its_limit_bounds_the_drain(one, said):
    found = seen(UNSENT, destinations=(one,))
    assert (found.limits[0].kind, found.limits[0].destination_id, found.more_workers_help) == ("destination", 7, False)
    assert said in found.limits[0].what
    assert found.drain_seconds is None, "it does not shrink"
    slow = seen(UNSENT, destinations=(pace(in_flight=64, drain=7200.0),))
    assert slow.drain_seconds == 7200.0
    assert slow.per_worker[1].is_least, "a worker could do more"


def test_a_destination_that_is_down_is_named_though_all_others_keep_up():
    """Its works back off, so that they are not even due."""
    found = seen(flow(0, 100, 100, Stage.DELIVER), destinations=(pace(depth=300, failed=1.0, tries=1),))
    assert found.limits[0].kind == "destination"


def test_a_destination_with_little_of_what_waits_is_not_what_limits():
    found = seen(UNSENT, destinations=(pace(depth=100, in_flight=64),))
    assert [one.kind for one in found.limits] == ["unknown"]


def test_many_destinations_that_fail_limit_together():
    many = tuple(Pace(number, "x", 200, 0, 64, 1.0, 1.0, 0.1, None) for number in range(30))
    found = seen(UNSENT, destinations=many)
    assert (found.limits[0].kind, found.limits[0].destination_id, found.more_workers_help) == (
        "destination",
        None,
        False,
    )
    assert "30 destinations hold 6000 of what waits" in found.limits[0].what


def test_a_lever_limits_where_it_holds_most_and_is_mentioned_where_it_holds_some():
    most = seen(BEHIND, levers=(Turned("queue.paused lane:critical is on", Stage.ROUTE, 80_000),))
    assert (most.limits[0].kind, most.more_workers_help) == ("lever", False)
    assert "80000 wait for it" in most.limits[0].what
    some = seen(BEHIND, levers=(Turned("queue.paused merchant:3 is on", Stage.ROUTE, 80),))
    assert [one.kind for one in some.limits] == ["unknown", "lever"]
    slows = seen(BEHIND, levers=(Turned("router.concurrency is 1", Stage.ROUTE),))
    assert (slows.limits[0].kind, slows.more_workers_help) == ("lever", None)
    assert slows.per_worker[0].is_least
    other = seen(BEHIND, levers=(Turned("delivery.concurrency is 1", Stage.DELIVER),))
    assert other.limits[0].kind == "unknown"


def test_a_stage_that_has_just_stopped_is_not_measured_as_slow():
    stopped = Flow(Stage.ROUTE, Lane.CRITICAL, 9000, served=(0, 0, 0, *[500] * 9))
    found = seen(stopped, best={Stage.ROUTE: 100.0})
    assert (found.per_worker[0].per_second, found.per_worker[0].is_least) == (100.0, True)


# Gathering


@pytest.fixture
def settings(database_url) -> Settings:
    return Settings(database_url=database_url)


async def worker(pool) -> None:
    await processes.beat(pool, uuid.uuid4(), "worker", "a", 1)


async def backlog(pool, count=60, stage=Stage.ROUTE, lane=Lane.CRITICAL, merchant=0) -> None:
    now = datetime.now(UTC)
    await queue.enqueue(pool, stage, [NewWork(ref, lane, merchant, 0, now) for ref in range(count)], now=now)


async def test_an_idle_system_knows_that_it_is_idle(pool, settings):
    found = await capacity(pool, settings)
    assert (found.workers, found.limits[0].kind, found.workers_needed) == (0, "nothing", 0)
    assert "how PostgreSQL does (the web process probes it)" in found.not_known


async def test_signals_workers_and_rates_are_read_from_the_store(pool, settings):
    await worker(pool)
    await worker(pool)
    await backlog(pool, 100)
    works = await Claimer(pool, Stage.ROUTE, ClaimPolicy()).claim(60)
    await queue.settle(pool, Stage.ROUTE, works, [Settled(work.ref, "applied") for work in works], now=None)
    now = datetime.now(UTC)
    sketch = Sketch()
    for _ in range(9):
        sketch.observe(0.004)
    for source in (uuid.uuid4(), uuid.uuid4()):
        data: dict[str, Data] = {
            "system_cpu_ratio": Levels({"a": 0.5}),
            "system_pressure_ratio": Levels({"a\x1fcpu": 0.2, "a\x1fio": 0.9}),
            "process_cpu_ratio": Levels({"worker": 0.75, "web": 0.1}, "sum"),
            "postgres_round_trip_seconds": Levels({"": 0.002}),
            "pool_busy_ratio": Levels({"worker\x1frouter": 0.5}),
            "pool_wait_seconds": Spreads({"router": (sketch.total, sketch.bins)}),
        }
        buckets = [Bucket(name, now - timedelta(seconds=3), 5, some) for name, some in data.items()]
        await signals.add(pool, [], source, buckets)
    minute = Bucket("events_routed", now - timedelta(minutes=20), 60, Counts({"critical\x1fapplied": 6000.0}))
    await signals.replace(pool, 60, [minute])
    found = await capacity(pool, settings, now=now + timedelta(seconds=1))
    assert found.workers == 2
    assert found.stages[0].ready == 40
    assert found.stages[0].capacity.per_second == pytest.approx(12.0)
    assert found.per_worker[0].per_second == pytest.approx(6.0)
    assert found.limits[0].kind == "unknown"
    assert "processors 50 % in use, PostgreSQL answers in 2.0 ms, workers use 1.5 processors" in found.limits[0].what
    assert found.not_known == ()


async def test_a_pause_that_holds_what_waits_is_found(pool, settings):
    await worker(pool)
    await backlog(pool, 60, lane=Lane.BULK)
    target = Target.read("lane:bulk")
    await levers.turn(pool, PAUSED.name, target, True, actor="ana", reason="storm", lasts=None)
    await levers.turn(pool, PAUSED.name, Target.read("merchant:99"), True, actor="bo", reason="x", lasts=None)
    await levers.turn(pool, ROUTER_CONCURRENCY.name, Target(), 1, actor="ana", reason="storm", lasts=None)
    found = await capacity(pool, settings)
    assert [one.what for one in found.limits] == [
        "a lever holds work back: queue.paused lane:bulk (by ana: storm) is on; 60 wait for it",
        "a lever holds work back: router.concurrency (by ana: storm) is 1, 2 by the settings",
    ]
    assert found.stages[0].empty.seconds is None
    bulk = found.stages[0].lanes[Lane.BULK]
    assert (bulk.flow.ready, bulk.empty.seconds) == (60, None)


async def test_a_limit_of_a_lane_counts_for_what_waits_in_it(pool, settings):
    await worker(pool)
    await backlog(pool, 60, lane=Lane.BULK)
    for lane, limit in ("bulk", 1), ("standard", 1):
        target = Target.read(f"lane:{lane}")
        await levers.turn(pool, ROUTER_CONCURRENCY.name, target, limit, actor="ana", reason="storm", lasts=None)
    found = await capacity(pool, settings)
    [held] = found.limits
    assert held.what.endswith("router.concurrency lane:bulk (by ana: storm) is 1, 2 by the settings; 60 wait for it")
    assert held.more_workers_help is None, "another worker would route as much of it again"
    await levers.turn(
        pool, ROUTER_CONCURRENCY.name, Target.read("lane:bulk"), 0, actor="ana", reason="storm", lasts=None
    )
    stopped = await capacity(pool, settings)
    assert stopped.limits[0].more_workers_help is False
    assert [load.weight for load in stopped.stages[0].loads] == [16, 4, 0]


async def test_a_failing_destination_is_found_by_its_attempts(pool, settings):
    merchant = await merchants.insert(pool, NewMerchant("bakery", "Bakery"))
    made = await merchants.insert_destination(
        pool, NewDestination(merchant.id, "webhook", "https://a.example", (), ("*",), 4)
    )
    events = [new(event()) for _ in range(40)]
    await inbox.append(pool, events, [0] * 40, [0] * 40)
    seqs = await inbox.held(pool, "stripe", [one.event_id for one in events])
    await deliveries.plan(pool, [NewDelivery(seq, made.id, merchant.id, 0) for seq in seqs.values()])
    works = await Claimer(pool, Stage.DELIVER, ClaimPolicy()).claim(4)
    await deliveries.record(pool, [(work, Attempt(Outcome.RETRY, 500, 0.2)) for work in works], now=None)
    await worker(pool)
    found = await capacity(pool, settings)
    [one] = found.destinations
    assert (one.depth, one.in_flight, one.ceiling, one.failed) == (40, 4, 4, 1.0)
    assert one.latency == pytest.approx(0.2)
    assert "destination" in [limit.kind for limit in found.limits]


async def test_the_command_says_it_in_words_and_as_one_document(pool, database_url):
    await backlog(pool)
    status, out, _ = await command_here("queue", "capacity", database_url=database_url)
    assert status == 0
    assert "no worker is at work" in out
    assert "More workers would help." in out
    assert "Not known:" in out
    status, out, _ = await command_here("queue", "capacity", "--json", "--within", "1h", database_url=database_url)
    document = json.loads(out)
    assert (status, document["within_seconds"], document["workers_needed"]) == (0, 3600, None)
    assert document["stages"][0]["lanes"][0]["due"] == 60
    assert document["stages"][0]["work_needed"] == pytest.approx(60 / 3600 + 1.0)
    status, _, err = await command_here("queue", "capacity", "--within", "soon", database_url=database_url)
    assert (status, "is not a length of time" in err) == (2, True)
