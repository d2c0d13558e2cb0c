"""The inbox on real servers: verbatim, once, committed before it is acknowledged."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from holdfast import retention
from holdfast.db.pool import create_pool
from holdfast.delivery import store as deliveries
from holdfast.delivery.store import NewDelivery
from holdfast.inbox import replay, store
from holdfast.inbox.service import COUNTED_EVERY, Appended, Inbox, InboxAway, _Held
from holdfast.inbox.store import Filter
from holdfast.queue import store as queue
from holdfast.queue.model import ClaimPolicy, Lane, Settled, Stage
from holdfast.queue.service import Claimer
from tests.inbox.events import event, new

pytestmark = pytest.mark.usefixtures("any_server")


@pytest.fixture
async def inbox(pool) -> AsyncIterator[Inbox]:
    box = Inbox(pool, merchant_of=lambda account: 7 if account == "acct_1A" else 0)
    await box.refresh_lanes(pool)
    running = asyncio.create_task(box.run())
    yield box
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def route(pool, outcome="applied", limit=100):
    """Settle everything that is queued for routing."""
    works = await Claimer(pool, Stage.ROUTE, ClaimPolicy()).claim(limit)
    await queue.settle(pool, Stage.ROUTE, works, [Settled(work.ref, outcome) for work in works], now=None)
    return works


async def test_an_event_is_kept_verbatim_and_queued(inbox, pool):
    made = new(event(), received=1_800_000_000.25)
    assert await inbox.append(made) is Appended.NEW
    held = await store.show(pool, made.event_id)
    assert held is not None
    assert (held.body, held.headers, held.type) == (made.body, made.headers, made.type)
    assert held.received_at == datetime.fromtimestamp(1_800_000_000.25, UTC)
    assert (held.lane, held.object_id) == (Lane.CRITICAL, made.object_id)
    [work] = await Claimer(pool, Stage.ROUTE, ClaimPolicy()).claim(10, now=held.received_at + timedelta(seconds=1))
    assert (work.ref, work.lane, work.merchant_id) == (held.seq, Lane.CRITICAL, 7)


async def test_a_redelivery_is_counted_and_not_queued_again(inbox, pool):
    made = event()
    assert await inbox.append(new(made)) is Appended.NEW
    assert await inbox.append(new(made)) is Appended.DUPLICATE
    assert await inbox.append(new(made)) is Appended.DUPLICATE
    await inbox.count_redeliveries()
    assert len(await store.duplicates(pool, "stripe", made["id"])) == 2
    assert await pool.fetchval("SELECT count(*) FROM event") == 1
    assert len(await route(pool)) == 1
    assert await inbox.append(new(made)) is Appended.DUPLICATE
    assert await route(pool) == []


async def test_a_redelivery_of_what_is_known_to_be_held_needs_no_commit_and_is_counted_later(inbox, pool):
    made = event()
    await inbox.append(new(made))
    inbox._pool, gone = None, inbox._pool
    assert await inbox.append(new(made)) is Appended.DUPLICATE
    inbox._pool = gone
    await asyncio.sleep(2 * COUNTED_EVERY)
    assert len(await store.duplicates(pool, "stripe", made["id"])) == 1


async def test_after_the_store_was_away_it_is_asked_again_what_it_holds(inbox, pool):
    """It may be another server, that does not have the last commits of the one before."""
    made = event()
    await inbox.append(new(made))
    gone = await create_pool("postgresql://nobody@127.0.0.1:9/none", size=1, name="tests")
    inbox._pool = gone
    assert await inbox.append(new(made)) is Appended.DUPLICATE
    await inbox.count_redeliveries()
    gone.terminate()
    inbox._pool = pool
    await pool.execute("TRUNCATE event, work, duplicate")
    assert await inbox.append(new(made)) is Appended.NEW
    await inbox.count_redeliveries()
    assert len(await store.duplicates(pool, "stripe", made["id"])) == 1


def test_as_many_ids_are_remembered_as_asked_for_and_at_most_twice_as_many():
    held = _Held(10)
    for number in range(100):
        held.add("stripe", f"evt_{number}")
        assert all(held.has("stripe", f"evt_{recent}") for recent in range(max(0, number - 9), number + 1))
        assert sum(held.has("stripe", f"evt_{old}") for old in range(number + 1)) <= 20


async def test_the_same_event_twice_in_one_commit_is_new_once(inbox, pool):
    made, other = event(), event()
    answers = await asyncio.gather(*(inbox.append(new(one)) for one in (made, other, made, made)))
    assert sorted(answer.value for answer in answers) == ["duplicate", "duplicate", "new", "new"]
    assert len(await store.duplicates(pool, "stripe", made["id"])) == 2


async def test_one_held_already_among_new_ones_is_a_duplicate_and_the_others_are_stored(inbox, pool):
    held, *others = [event() for _ in range(5)]
    await inbox.append(new(held))
    inbox._held.clear()  # as in another process: only the store knows
    answers = await asyncio.gather(*(inbox.append(new(one)) for one in [*others, held]))
    assert answers == [Appended.NEW] * 4 + [Appended.DUPLICATE]
    assert await pool.fetchval("SELECT count(*) FROM event") == 5
    assert await pool.fetchval("SELECT count(*) FROM work JOIN event ON seq = ref AND work.lane = event.lane") == 5
    assert len(await store.duplicates(pool, "stripe", held["id"])) == 1


async def test_an_answer_that_cannot_be_given_keeps_no_other_from_its_own(inbox, pool):
    told: list[object] = []
    inbox.put(new(event()), lambda _: 1 / 0)
    inbox.put(new(event()), told.append)
    await inbox.append(new(event()))
    assert told == [Appended.NEW]
    assert await pool.fetchval("SELECT count(*) FROM event") == 3


async def test_processes_that_store_the_same_events_at_once_keep_each_once(inbox, pool, database_url):
    others = await create_pool(database_url, size=4, name="other", hot=True)
    second = Inbox(others, merchant_of=lambda _: 0)
    await second.refresh_lanes(pool)
    running = asyncio.create_task(second.run())
    events = [event() for _ in range(200)]
    mixed = [(box, one) for one in events for box in (inbox, second, inbox)]
    random.Random(3).shuffle(mixed)
    answers = await asyncio.gather(*(box.append(new(one)) for box, one in mixed))
    running.cancel()
    others.terminate()
    assert answers.count(Appended.NEW) == 200
    assert answers.count(Appended.DUPLICATE) == 400
    assert await pool.fetchval("SELECT count(*) FROM work") == 200
    assert await pool.fetchval("SELECT count(*) FROM duplicate") == 400


async def test_nothing_is_taken_before_the_lane_table_is_known(pool):
    with pytest.raises(InboxAway, match="starting"):
        Inbox(pool, merchant_of=lambda _: 0).append(new(event()))


async def test_with_the_store_away_the_sender_hears_so_and_later_it_works(pool):
    gone = await create_pool("postgresql:///x?host=/nowhere", size=1, name="gone")
    away = Inbox(gone, merchant_of=lambda _: 0)
    await away.refresh_lanes(pool)
    running = asyncio.create_task(away.run())
    with pytest.raises(InboxAway):
        await away.append(new(event()))
    assert not away.is_ready
    away._pool = pool
    assert await away.append(new(event())) is Appended.NEW
    assert away.is_ready
    running.cancel()


async def test_more_than_may_wait_is_refused_at_once(pool):
    box = Inbox(pool, merchant_of=lambda _: 0, waiting=2)
    await box.refresh_lanes(pool)
    first = [box.append(new(event())) for _ in range(2)]
    with pytest.raises(InboxAway, match="waiting"):
        box.append(new(event()))
    running = asyncio.create_task(box.run())
    assert await asyncio.gather(*first) == [Appended.NEW] * 2
    running.cancel()


async def test_one_event_that_the_store_refuses_does_not_take_its_company_down(inbox, pool):
    good = [event() for _ in range(3)]
    bad = new(event(), received=1e300)
    answers = await asyncio.gather(
        inbox.append(new(good[0])),
        inbox.append(bad),
        *(inbox.append(new(one)) for one in good[1:]),
        return_exceptions=True,
    )
    assert [isinstance(answer, InboxAway) for answer in answers] == [False, True, False, False]
    assert await pool.fetchval("SELECT count(*) FROM event") == 3


@pytest.mark.parametrize("ahead", [-6.0, -3600.0, 60.0, 3600.0])
async def test_an_event_is_due_at_once_and_no_older_than_it_is_whatever_the_clock_of_who_received_it(pool, ahead):
    box = Inbox(pool, merchant_of=lambda _: 0, clock=lambda: time.time() + ahead)
    await box.refresh_lanes(pool)
    running = asyncio.create_task(box.run())
    made = event()
    for one in (made, event(), made):  # all new, and one of two held
        box._held.clear()
        await box.append(new(one, received=time.time() + ahead))
    running.cancel()
    claimer = Claimer(pool, Stage.ROUTE, ClaimPolicy())
    works = await claimer.claim(10)
    assert len(works) == 2
    assert claimer.late == frozenset()
    assert all(abs(work.received_at.timestamp() - time.time()) < 5 for work in works)


async def test_what_waited_before_it_was_stored_is_as_old_as_it_is(pool):
    now = time.time()
    await store.append(pool, [new(event(), received=now - 30)], [Lane.CRITICAL], [0], sent=now)
    claimer = Claimer(pool, Stage.ROUTE, ClaimPolicy())
    await claimer.claim(10)
    assert claimer.late == {Lane.CRITICAL}


async def test_the_order_of_storing_is_that_of_bytes_whatever_the_locale_of_the_server(any_server):
    """Two processes that store the same events in different orders would wait for each other for ever."""
    try:
        url = await any_server.database_in_words_order()
    except asyncpg.FeatureNotSupportedError:
        pytest.skip("this server sorts by bytes only")
    stored = await create_pool(url, size=1, name="tests", hot=True)
    try:
        assert await stored.fetchval("SELECT 'a'::text < 'B'::text"), "the server sorts as people do"
        held, *made = [new(event(id=f"evt_{letter}")) for letter in "zBaA"]
        await store.append(stored, [held], [0], [0], sent=held.received)
        await store.append(stored, [held, *made], [0] * 4, [0] * 4, sent=held.received)
        rows = await stored.fetch("SELECT event_id FROM event ORDER BY seq")
        assert [row[0] for row in rows] == ["evt_z", "evt_A", "evt_B", "evt_a"]
    finally:
        stored.terminate()
        await any_server.drop(url)


async def filled(inbox, pool):
    kept = [
        event("charge.failed", "acct_1A", livemode=True),
        event("charge.succeeded", "acct_1B"),
        event("customer.updated", "acct_1A"),
        event("payout.paid", None),
    ]
    for made in kept:
        await inbox.append(new(made))
    return kept


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Filter(), [3, 2, 1, 0]),
        (Filter(type="charge.*"), [1, 0]),
        (Filter(type="charge_*"), []),
        (Filter(lane=Lane.BULK), [2]),
        (Filter(account="acct_1A"), [2, 0]),
        (Filter(merchant_id=7), [2, 0]),
        (Filter(livemode=True), [0]),
        (Filter(state="live"), [3, 2, 1, 0]),
        (Filter(state="dead"), []),
        (Filter(until=datetime(2020, 1, 1, tzinfo=UTC)), []),
        (Filter(since=datetime(2020, 1, 1, tzinfo=UTC)), [3, 2, 1, 0]),
    ],
)
async def test_events_can_be_chosen_by_what_is_known_of_them(inbox, pool, chosen, expected):
    kept = await filled(inbox, pool)
    rows = await store.listing(pool, chosen, limit=10, before=None)
    assert [row["event_id"] for row in rows] == [kept[index]["id"] for index in expected]
    assert await store.count(pool, chosen) == len(expected)


async def test_events_can_be_chosen_by_id_object_and_outcome(inbox, pool):
    kept = await filled(inbox, pool)
    await route(pool, "unmatched", limit=1)
    await route(pool, "applied")
    ids = [row["event_id"] for row in await store.listing(pool, Filter(ids=[kept[1]["id"]]), limit=10, before=None)]
    assert ids == [kept[1]["id"]]
    about = kept[2]["data"]["object"]["id"]
    rows = await store.listing(pool, Filter(object_id=about), limit=10, before=None)
    assert [row["event_id"] for row in rows] == [kept[2]["id"]]
    states = {state: await store.count(pool, Filter(state=state)) for state in ("live", "applied", "unmatched")}
    assert states == {"live": 0, "applied": 3, "unmatched": 1}


async def test_a_listing_goes_on_behind_the_last_one(inbox, pool):
    kept = await filled(inbox, pool)
    first = await store.listing(pool, Filter(), limit=2, before=None)
    rest = await store.listing(pool, Filter(), limit=10, before=first[-1]["seq"])
    assert [row["event_id"] for row in [*first, *rest]] == [made["id"] for made in reversed(kept)]


async def test_replayed_events_are_queued_again_once(inbox, pool):
    await filled(inbox, pool)
    await route(pool)
    found = [part async for part in replay.replay(pool, Filter(type="charge.*"))]
    assert [(len(seqs), added) for seqs, added in found] == [(2, 2)]
    assert [added async for _, added in replay.replay(pool, Filter())] == [2]
    assert len(await route(pool)) == 4


async def test_retention_deletes_what_is_old_and_never_what_is_live(inbox, pool):
    now = datetime.now(UTC)
    made = [event() for _ in range(4)]
    for one in made:
        await inbox.append(new(one, received=(now - timedelta(days=100)).timestamp()))
    await inbox.append(new(event()))
    await inbox.append(new(made[0]))  # a redelivery
    await inbox.count_redeliveries()
    seqs = [row[0] for row in await pool.fetch("SELECT seq FROM event ORDER BY seq")]
    works = await Claimer(pool, Stage.ROUTE, ClaimPolicy()).claim(10)
    done = [work for work in works if work.ref != seqs[0]]  # the first is still being routed
    month_ago = now - timedelta(days=99)
    await queue.settle(pool, Stage.ROUTE, done, [Settled(work.ref, "applied") for work in done], now=month_ago)
    await deliveries.plan(pool, [NewDelivery(seqs[1], 1, 0, 0), NewDelivery(seqs[2], 1, 0, 0)])
    await pool.execute("UPDATE delivery SET created_at = $1", month_ago)
    sent = [work for work in await Claimer(pool, Stage.DELIVER, ClaimPolicy()).claim(10) if work.ref == 2]
    await queue.settle(pool, Stage.DELIVER, sent, [Settled(2, "delivered")], now=month_ago)

    while await retention.prune(pool, 90):
        pass
    assert [row[0] for row in await pool.fetch("SELECT seq FROM event ORDER BY seq")] == [seqs[0], seqs[1], seqs[4]]
    assert [row[0] for row in await pool.fetch("SELECT id FROM delivery")] == [1]
    assert await pool.fetchval("SELECT count(*) FROM duplicate") == 1, "the redelivery came just now"
    assert await pool.fetchval("SELECT count(*) FROM work") == 2
