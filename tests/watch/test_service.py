"""`health_watch` over the store: what it sees becomes alerts, what it opens is told, and nothing is told twice."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from holdfast.db.leadership import Leadership
from holdfast.db.locks import Lock
from holdfast.signals import store as signals
from holdfast.signals.buckets import Bucket, Counts
from holdfast.watch import store
from holdfast.watch.channels import NotTold
from holdfast.watch.guard import Guard
from holdfast.watch.model import Evidence, Sighting
from holdfast.watch.service import HealthWatch
from holdfast.watch.settings import WatchSettings
from holdfast.watch.telling import LEASE, Teller
from holdfast.watch.watcher import Watcher

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SOURCE = uuid.UUID(int=7)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


class TooMany:
    """Fires above ten events in a frame, or when the database is away."""

    def see(self, frame):
        count, reports = frame.count("events"), (frame.level("reports_recent", "missing") or 0)
        if count <= 10 and not reports and frame.level("database_away") is None:
            return []
        return [
            Sighting(
                "events/many",
                "webhook-backlog",
                "spike",
                "warning",
                "too many events",
                "somebody sends many",
                frame.at,
                (Evidence("events", count, 10, "", "limit"),),
            )
        ]


class Channel:
    """Takes what it is told, unless it is broken."""

    def __init__(self, name):
        self.name = name
        self.messages = []
        self.is_broken = False

    async def tell(self, told, now):
        if self.is_broken:
            raise NotTold("it is broken")
        self.messages.append([(what, alert.key) for what, alert in told])


class Stage:
    def __init__(self, pool):
        self.pool = pool
        self.channels = [Channel("team:1"), Channel("webhook:1")]
        self.teller = Teller(self.channels)
        self.located = []
        self.watch = self.fresh()

    def fresh(self):
        settings = WatchSettings(closes_after=20, group_wait=5)

        async def locate(alert):
            self.located.append(alert.key)
            return {"merchants": [{"merchant": "acme", "waiting": 7}]}

        return HealthWatch(self.pool, lambda: Watcher([TooMany()], settings), self.teller, settings, locate)

    async def events(self, seconds, amount):
        await signals.add(self.pool, [], SOURCE, [Bucket("events", at(seconds), 5, Counts({"": amount}))])

    async def told(self, seconds):
        await self.teller.tick(self.pool, at(seconds))
        found = [channel.messages for channel in self.channels]
        for channel in self.channels:
            channel.messages = []
        return found


@pytest.fixture
def stage(pool):
    return Stage(pool)


async def test_an_alert_is_opened_kept_told_once_through_each_channel_and_closed(stage):
    await stage.watch.tick(at(0))
    await stage.events(5, 50.0)
    await stage.watch.tick(at(5))
    (kept,) = await store.open_alerts(stage.pool)
    assert (kept.alert.key, kept.alert.evidence[0].observed) == ("events/many", 50.0)
    assert kept.affected == {"merchants": [{"merchant": "acme", "waiting": 7}]}
    assert await stage.told(6) == [[], []]  # others may open with it
    assert await stage.told(11) == [[[("opened", "events/many")]]] * 2
    assert await stage.told(12) == [[], []]
    for seconds in range(10, 35, 5):
        await stage.watch.tick(at(seconds))
    assert await store.open_alerts(stage.pool) == []
    assert await stage.told(35) == [[[("closed", "events/many")]]] * 2
    assert stage.located == ["events/many"]


async def test_an_alert_goes_out_even_if_whom_it_affects_cannot_be_found(stage):
    async def fails(_alert):
        raise ValueError("a bug")

    stage.watch._locate = fails
    await stage.watch.tick(at(0))
    await stage.events(5, 50.0)
    await stage.watch.tick(at(5))
    (kept,) = await store.open_alerts(stage.pool)
    assert kept.affected == {}
    assert await stage.told(11) == [[[("opened", "events/many")]]] * 2


async def test_a_notice_whose_teller_died_is_told_by_another_when_its_lease_ends(stage):
    await stage.watch.tick(at(0))
    await stage.events(5, 50.0)
    await stage.watch.tick(at(5))
    assert len(await store.claim_notices(stage.pool, stage.teller.names, LEASE, at(11))) == 2
    assert await stage.told(12) == [[], []]
    assert await stage.told(11 + LEASE.total_seconds()) == [[[("opened", "events/many")]]] * 2


async def test_what_is_long_over_is_deleted_with_what_was_told_of_it(stage):
    await stage.watch.tick(at(0))
    await stage.events(5, 50.0)
    for seconds in range(5, 40, 5):
        await stage.watch.tick(at(seconds))
    await store.file(stage.pool, "delayed", "team", None, "late", actor="ana", at=at(0))
    assert await store.prune(stage.pool, at(20), 10) == 0
    assert await store.prune(stage.pool, at(60), 10) == 1
    assert await store.alerts(stage.pool, None, None, 10) == []
    assert await stage.pool.fetchval("SELECT count(*) FROM notice") == 0
    assert await store.reports(stage.pool, at(-60)) == []


async def test_a_new_leader_takes_over_what_is_open_and_tells_nobody_again(stage):
    await stage.watch.tick(at(0))
    await stage.events(5, 50.0)
    await stage.watch.tick(at(5))
    await stage.told(20)
    other = stage.fresh()
    await other.tick(at(20))
    (kept,) = await store.open_alerts(stage.pool)
    assert kept.alert.opened_at == at(5)
    assert await stage.told(30) == [[], []]
    for seconds in range(25, 50, 5):
        await other.tick(at(seconds))
    assert await store.open_alerts(stage.pool) == []
    assert await stage.told(50) == [[[("closed", "events/many")]]] * 2


async def test_what_is_silenced_is_kept_but_not_told_nor_is_its_end(stage):
    await store.silence(stage.pool, "events/", timedelta(hours=1), actor="ana", reason="known", now=at(0))
    await stage.watch.tick(at(0))
    await stage.events(5, 50.0)
    await stage.watch.tick(at(5))
    assert await stage.told(20) == [[], []]
    (kept,) = await store.open_alerts(stage.pool)
    assert [row["outcome"] for row in await store.told(stage.pool, kept.id)] == ["silenced", "silenced"]
    for seconds in range(10, 40, 5):
        await stage.watch.tick(at(seconds))
    assert await stage.told(60) == [[], []]


async def test_a_channel_that_fails_is_tried_again_and_the_other_is_not_told_twice(stage):
    stage.channels[0].is_broken = True
    await stage.watch.tick(at(0))
    await stage.events(5, 50.0)
    await stage.watch.tick(at(5))
    assert await stage.told(20) == [[], [[("opened", "events/many")]]]
    stage.channels[0].is_broken = False
    assert await stage.told(21) == [[], []]
    assert await stage.told(26) == [[[("opened", "events/many")]], []]


async def test_an_alert_that_stays_open_is_told_again_after_hours(stage):
    await stage.watch.tick(at(0))
    await stage.events(5, 50.0)
    await stage.watch.tick(at(5))
    await stage.told(20)
    await store.announce_again(stage.pool, timedelta(hours=4), stage.teller.names, at(3 * 3600))
    assert await stage.told(3 * 3600) == [[], []]
    for _ in range(2):
        await store.announce_again(stage.pool, timedelta(hours=4), stage.teller.names, at(5 * 3600))
    assert await stage.told(5 * 3600) == [[[("still open", "events/many")]]] * 2


async def test_reports_entered_by_hand_are_evidence_for_half_an_hour(stage):
    await stage.watch.tick(at(0))
    await store.file(stage.pool, "missing", "merchant", None, "where is my money", actor="ana", at=at(1))
    await stage.watch.tick(at(5))
    assert [kept.alert.key for kept in await store.open_alerts(stage.pool)] == ["events/many"]
    for seconds in (1900, 1930):
        await stage.watch.tick(at(seconds))
    assert await store.open_alerts(stage.pool) == []


async def test_with_the_store_away_alerts_are_told_all_the_same_and_not_again_when_it_is_back(stage):
    await stage.watch.tick(at(0))
    pool, stage.watch._pool = stage.pool, Away()
    for seconds in (5, 10):
        await stage.watch.tick(at(seconds))
    assert [channel.messages for channel in stage.channels] == [[], []]
    for seconds in (15, 20):
        await stage.watch.tick(at(seconds))
    assert [channel.messages for channel in stage.channels] == [[[("opened", "events/many")]]] * 2
    assert not stage.watch.is_well
    stage.watch._pool = pool
    await stage.watch.tick(at(25))
    assert len(await store.open_alerts(pool)) == 1
    for channel in stage.channels:
        channel.messages = []
    assert await stage.told(60) == [[], []]
    assert stage.watch.is_well


class Away:
    """A pool whose server is gone."""

    def __getattr__(self, _name):
        raise asyncpg.CannotConnectNowError("the server is starting")


async def test_a_dead_watch_is_one_alert_however_many_web_processes_notice(stage):
    guards = [Guard(stage.teller, at(0)) for _ in range(2)]
    await store.beat(stage.pool, at(0), "host", 1, 0.01)
    for guard in guards:
        await guard.tick(stage.pool, at(20))
    assert await store.open_alerts(stage.pool) == []
    for guard in guards:
        await guard.tick(stage.pool, at(40))
    (kept,) = await store.open_alerts(stage.pool)
    assert "is dead" in kept.alert.title
    assert await stage.told(41) == [[[("opened", "health-watch/dead")]]] * 2
    await store.beat(stage.pool, at(45), "host", 2, 0.01)
    for guard in guards:
        await guard.tick(stage.pool, at(46))
    assert await stage.told(47) == [[[("closed", "health-watch/dead")]]] * 2


async def test_a_watch_that_never_ran_is_told_once_it_had_time_to_start(stage):
    guard = Guard(stage.teller, at(0))
    await guard.tick(stage.pool, at(25))
    assert await store.open_alerts(stage.pool) == []
    await guard.tick(stage.pool, at(35))
    (kept,) = await store.open_alerts(stage.pool)
    assert "never ran" in kept.alert.title


async def test_the_watch_leaves_the_alert_about_itself_to_the_guard(stage):
    guard = Guard(stage.teller, at(0))
    await guard.tick(stage.pool, at(35))
    await stage.watch.tick(at(40))
    assert len(await store.open_alerts(stage.pool)) == 1


async def test_one_leads_and_another_takes_over_when_it_is_gone(database_url):
    first, second = (Leadership(database_url, Lock.WATCH, name="tests") for _ in range(2))
    assert await first.hold()
    assert await first.hold()
    assert not await second.hold()
    first.release()
    for _ in range(50):
        if await second.hold():
            break
    assert second.is_held
    second.release()


async def test_figures_are_written_down_again_only_when_they_moved(stage):
    await stage.watch.tick(at(0))
    await stage.events(5, 50.0)
    await stage.watch.tick(at(5))
    for seconds, amount in ((10, 51.0), (15, 80.0)):
        await stage.events(seconds, amount)
        await stage.watch.tick(at(seconds))
    (kept,) = await store.open_alerts(stage.pool)
    assert (kept.updated_at, kept.alert.evidence[0].observed) == (at(15), 80.0)
    assert replace(kept.alert, evidence=()).opened_at == at(5)
