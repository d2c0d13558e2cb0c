"""Named readings: one number over the last minute, or unknown."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.signals.readings import READINGS, ReadingError, reading, series, take
from tests.signals.measured import WEB, WORKER, alive, counts, key, level, measured, spread

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


async def read(pool, name, now=NOON):
    return (await take(pool, [reading(name)], now))[name]


async def test_without_data_every_reading_is_unknown(pool):
    assert set((await take(pool, READINGS.values(), NOON)).values()) == {None}


async def test_shares_are_of_all_processes_over_the_last_minute(pool):
    for ago, source in ((2, WEB), (40, WORKER)):
        data = counts(stripe__new=30, stripe__duplicate=10, stripe__bad_signature=10)
        await measured(pool, NOON, "webhooks_received", data, ago=ago, source=source)
    await measured(pool, NOON, "webhooks_received", counts(stripe__duplicate=1000), ago=70)
    assert await read(pool, "webhooks.duplicate_ratio") == 0.25
    assert await read(pool, "webhooks.refused_ratio") == 0


async def test_a_share_of_nothing_is_unknown_but_a_rate_of_nothing_is_zero_where_somebody_counts(pool):
    await alive(pool, NOON)
    assert await read(pool, "router.error_ratio") is None
    assert await read(pool, "router.error_rate") == 0
    assert await read(pool, "webhooks.rate") is None, "no web process is at work"
    assert await read(pool, "router.error_rate", NOON + timedelta(minutes=2)) is None


async def test_errors_and_failures(pool):
    await alive(pool, NOON)
    await measured(pool, NOON, "router_errors", counts(batch=3), source=WORKER)
    await measured(pool, NOON, "events_routed", counts(critical__applied=57), source=WORKER)
    await measured(pool, NOON, "delivery_attempts", counts(webhook__delivered=90, webhook__retry=30), source=WORKER)
    assert await read(pool, "router.error_ratio") == 0.05
    assert await read(pool, "router.error_rate") == 0.05
    assert await read(pool, "delivery.failure_ratio") == 0.25
    assert await read(pool, "delivery.rate") == 2.0


async def test_what_is_so_now_must_have_been_said_lately(pool):
    oldest = "queue_oldest_age_seconds"
    await measured(pool, NOON, oldest, level(9, "route", "critical"), ago=40)
    assert await read(pool, "queue.oldest_age.critical") is None
    await measured(pool, NOON, oldest, level(3, "route", "critical"), ago=4)
    await measured(pool, NOON, oldest, level(99, "deliver", "critical"), ago=3, source=WORKER)
    assert await read(pool, "queue.oldest_age.critical") == 3
    assert await read(pool, "delivery.oldest_age.critical") == 99
    assert await read(pool, "queue.oldest_age.bulk") is None


async def test_the_busiest_machine_counts(pool):
    for source, host, busy in ((WEB, "one", 0.2), (WORKER, "two", 0.7)):
        await measured(pool, NOON, "system_cpu_ratio", level(busy, host), source=source)
    assert await read(pool, "system.cpu") == 0.7


async def test_a_pool_is_named_by_its_process_and_name(pool):
    await measured(pool, NOON, "pool_busy_ratio", level(0.5, "worker", "router"), source=WORKER)
    await measured(pool, NOON, "pool_busy_ratio", level(0.8, "web", "inbox"), source=WEB)
    assert await read(pool, "pool.busy.worker.router") == 0.5
    assert await read(pool, "pool.busy") == 0.8


async def test_quantiles_are_of_everything_observed(pool):
    await measured(pool, NOON, "webhook_seconds", spread([0.01] * 90, "stripe"), source=WEB)
    await measured(pool, NOON, "webhook_seconds", spread([1.0] * 10, "stripe"), source=WORKER)
    assert await read(pool, "webhooks.p95_seconds") == pytest.approx(1.0, rel=0.02)


async def test_a_reading_over_time_has_a_point_a_minute_and_gaps_are_unknown(pool):
    for minute, value in ((0, 0.1), (1, 0.2), (3, 0.4)):
        await measured(pool, NOON, "system_cpu_ratio", level(value, "one"), ago=minute * 60 + 30)
    points = await series(pool, reading("system.cpu"), NOON - timedelta(minutes=3), NOON)
    assert [at for at, _ in points] == [NOON - timedelta(minutes=ago) for ago in (3, 2, 1, 0)]
    assert [value for _, value in points] == [0.4, None, 0.2, 0.1]


async def test_a_long_time_has_some_hundred_points(pool):
    for length in (timedelta(hours=5), timedelta(days=2), timedelta(days=60), timedelta(days=900)):
        assert 30 <= len(await series(pool, reading("system.cpu"), NOON - length, NOON)) <= 405


def test_every_reading_says_what_it_is():
    for name, one in READINGS.items():
        assert one.name == name
        assert one.what.endswith(".")
        assert one.unit in ("", "s", "share", "1/s")
    with pytest.raises(ReadingError, match=r"there are queue\.depth\.bulk"):
        reading("queue.length")


def test_labels_are_joined_as_they_are_stored():
    assert key("a", "b") == "a\x1fb"


async def test_shares_of_calls_are_zero_of_nothing_where_somebody_counts_and_unknown_where_nobody_does(pool):
    shares = ("calls.failed_legs", "calls.failing_legs", "calls.unanswered", "calls.unanswering")
    assert {await read(pool, name) for name in shares} == {None}
    await alive(pool, NOON, "web", source=WEB)
    assert {await read(pool, name) for name in shares} == {0}
    assert await read(pool, "twilio.alerts.ours") == 0


async def test_few_unlucky_calls_fail_and_yet_say_little(pool):
    await alive(pool, NOON, "web", source=WEB)
    await measured(pool, NOON, "call_legs", counts(US__failed=1))
    await measured(pool, NOON, "calls", counts(US__person=3, US__missed=1, DE__failed=1))
    assert await read(pool, "calls.failed_legs") == 1
    assert 0 < (await read(pool, "calls.failing_legs")) < 0.15
    assert await read(pool, "calls.unanswered") == 0.4
    assert await read(pool, "calls.rate") == pytest.approx(5 / 60)
    await measured(pool, NOON, "twilio_alerts", counts(ours__voice__11200=6, carrier__voice__32011=6))
    assert await read(pool, "twilio.alerts") == 0.2
    assert await read(pool, "twilio.alerts.ours") == 0.1
