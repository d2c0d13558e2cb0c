"""The queue on real servers: what a claim takes, in which order, and what becomes of it."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.queue import store
from holdfast.queue.capacity import SLOTS, Flow, flows
from holdfast.queue.model import ClaimPolicy, Lane, NewWork, Pause, Postponed, Rules, Settled, Shared, Stage, Work
from holdfast.queue.service import DEPTH, PAUSED, Claimer, bucket_stats, lane_stats, measure

pytestmark = pytest.mark.usefixtures("any_server")

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CRITICAL, STANDARD, BULK = Lane


def second(number: float) -> datetime:
    return NOW + timedelta(seconds=number)


def works(refs, lane=STANDARD, merchant=1, destination=0, received=NOW):
    return [NewWork(ref, lane, merchant, destination, received) for ref in refs]


async def enqueue(pool, new, stage=Stage.ROUTE, now=NOW):
    return await store.enqueue(pool, stage, new, now=now)


def claimer(pool, stage=Stage.ROUTE, **policy):
    return Claimer(pool, stage, ClaimPolicy(**policy))


async def claimed(pool, limit, now=NOW, stage=Stage.ROUTE, **slots):
    return await claimer(pool, stage).claim(limit, now=now, **slots)


def refs(claim):
    return [work.ref for work in claim]


async def test_a_claim_takes_what_is_due_and_no_more_than_asked(pool):
    await enqueue(pool, works(range(10)))
    assert len(await claimed(pool, 4)) == 4
    assert len(await claimed(pool, 100)) == 6
    assert await claimed(pool, 100) == []


async def test_queueing_what_is_queued_changes_nothing(pool):
    assert await enqueue(pool, works([1, 2])) == 2
    assert await enqueue(pool, works([2, 3], lane=BULK)) == 1
    assert {work.ref: work.lane for work in await claimed(pool, 10)} == {1: STANDARD, 2: STANDARD, 3: BULK}


async def test_the_stages_do_not_mix(pool):
    await enqueue(pool, works([1]), Stage.ROUTE)
    await enqueue(pool, works([1]), Stage.DELIVER)
    assert [work.stage for work in await claimed(pool, 10, stage=Stage.DELIVER)] == [Stage.DELIVER]
    assert [work.stage for work in await claimed(pool, 10)] == [Stage.ROUTE]


async def test_work_comes_back_when_its_lease_ends_and_counts_the_try(pool):
    await enqueue(pool, works([1]))
    [first] = await claimed(pool, 1)
    assert first.attempts == 1
    assert await claimed(pool, 1, second(59)) == []
    [again] = await claimed(pool, 1, second(61))
    assert (again.ref, again.attempts) == (1, 2)
    assert again.lease != first.lease


async def test_a_renewed_lease_lasts_longer(pool):
    await enqueue(pool, works([1]))
    claim = await claimed(pool, 1)
    assert await store.renew(pool, Stage.ROUTE, claim, timedelta(seconds=60), now=second(50)) == {1}
    assert await claimed(pool, 1, second(100)) == []


async def test_settled_work_is_gone_and_kept_in_the_history(pool):
    await enqueue(pool, works([1, 2]))
    claim = await claimed(pool, 2)
    results = [Settled(1, "applied", merchant_id=7), Settled(2, "dead", "because")]
    assert await store.settle(pool, Stage.ROUTE, claim, results, now=second(1)) == {1, 2}
    assert await store.live(pool, Stage.ROUTE, [1, 2]) == set()
    done = await store.outcomes(pool, Stage.ROUTE, [1, 2])
    assert (done[1]["outcome"], done[1]["merchant_id"]) == ("applied", 7)
    assert (done[2]["outcome"], done[2]["note"], done[2]["attempts"]) == ("dead", "because", 1)


async def test_who_lost_the_lease_settles_nothing(pool):
    await enqueue(pool, works([1]))
    slow = await claimed(pool, 1)
    quick = await claimed(pool, 1, second(61))
    assert await store.settle(pool, Stage.ROUTE, slow, [Settled(1, "applied")], now=second(62)) == set()
    assert await store.postpone(pool, Stage.ROUTE, slow, [Postponed(1, 5)], now=second(62)) == set()
    assert await store.renew(pool, Stage.ROUTE, slow, timedelta(60), now=second(62)) == set()
    assert await store.settle(pool, Stage.ROUTE, quick, [Settled(1, "applied")], now=second(62)) == {1}
    assert await pool.fetchval("SELECT count(*) FROM done") == 1


async def test_postponed_work_is_due_later_and_an_untried_one_does_not_count(pool):
    await enqueue(pool, works([1, 2]))
    claim = await claimed(pool, 2)
    await store.postpone(pool, Stage.ROUTE, claim, [Postponed(1, 10), Postponed(2, 10, tried=False)], now=NOW)
    assert await claimed(pool, 2, second(9)) == []
    assert {work.ref: work.attempts for work in await claimed(pool, 2, second(11))} == {1: 2, 2: 1}


async def test_urgent_lanes_get_their_weight_and_idle_lanes_leave_theirs(pool):
    await enqueue(pool, works(range(1000), BULK))
    await enqueue(pool, works(range(1000, 1050), CRITICAL))
    await enqueue(pool, works(range(2000, 2100), STANDARD))
    lanes = Counter(work.lane for work in await claimed(pool, 42))
    assert lanes == {CRITICAL: 32, STANDARD: 8, BULK: 2}
    lanes = Counter(work.lane for work in await claimed(pool, 200))
    assert lanes == {CRITICAL: 18, STANDARD: 92, BULK: 90}


async def test_a_claimer_may_be_kept_to_some_lanes(pool):
    await enqueue(pool, works(range(5), BULK))
    await enqueue(pool, works(range(10, 15), CRITICAL))
    claim = await claimer(pool).claim(100, lanes=(CRITICAL,), now=NOW)
    assert refs(claim) == [10, 11, 12, 13, 14]


async def test_a_noisy_merchant_does_not_starve_the_others(pool):
    await enqueue(pool, works(range(5000), merchant=1))
    await enqueue(pool, works(range(10_000, 10_010), merchant=2), now=second(1))
    await enqueue(pool, works(range(20_000, 20_010), merchant=3), now=second(1))
    merchants = Counter(work.merchant_id for work in await claimed(pool, 30, second(2)))
    assert merchants == {1: 10, 2: 10, 3: 10}


async def test_more_merchants_than_a_claim_looks_at_are_all_served_in_turn(pool):
    await enqueue(pool, [NewWork(n, STANDARD, n % 300, 0, NOW) for n in range(3000)])
    walking = claimer(pool)
    served: Counter[int] = Counter()
    for _ in range(12):
        served.update(work.merchant_id for work in await walking.claim(50, now=NOW))
    assert len(served) == 300
    assert set(served.values()) == {2}


async def test_everything_is_found_even_from_far_behind_the_cursor(pool):
    await enqueue(pool, [NewWork(n, STANDARD, 500 - n, 0, NOW) for n in range(200)])
    walking = claimer(pool, buckets=16)
    assert len(await walking.claim(100, now=NOW)) > 50
    await enqueue(pool, [NewWork(1000, STANDARD, 1, 0, NOW)])
    found = await walking.claim(500, now=NOW)
    while not walking.exhausted:
        found += await walking.claim(500, now=NOW)
    assert 1000 in refs(found)
    assert await pool.fetchval("SELECT count(*) FROM work WHERE lease IS NULL") == 0


async def test_a_full_destination_is_skipped_and_the_others_are_not(pool):
    for destination in (1, 2, 3):
        start = destination * 100
        await enqueue(pool, works(range(start, start + 10), destination=destination), Stage.DELIVER)
    claim = await claimed(pool, 100, stage=Stage.DELIVER, slots={1: 0, 2: 3}, default_slots=5)
    assert Counter(work.destination_id for work in claim) == {2: 3, 3: 5}


async def test_a_destination_of_many_merchants_and_lanes_gets_no_more_than_its_slots(pool):
    new = [NewWork(n, [CRITICAL, STANDARD, BULK][n % 3], n % 20, 9, NOW) for n in range(300)]
    await enqueue(pool, new, Stage.DELIVER)
    claim = await claimed(pool, 100, stage=Stage.DELIVER, slots={9: 7})
    assert len(claim) == 7
    assert {work.lane for work in claim} == {CRITICAL}
    assert len({work.merchant_id for work in claim}) == 7


async def test_a_lane_gets_no_more_than_its_most_and_the_others_take_the_rest(pool):
    await enqueue(pool, works(range(100), BULK))
    await enqueue(pool, works(range(100, 200), CRITICAL))
    claim = await claimed(pool, 42, most={BULK: 1, CRITICAL: 30})
    assert Counter(work.lane for work in claim) == {CRITICAL: 30, BULK: 1}
    assert Counter(work.lane for work in await claimed(pool, 42, most={CRITICAL: 0})) == {BULK: 42}
    assert await claimed(pool, 42, most=dict.fromkeys(Lane, 0)) == []


async def test_within_a_lane_at_its_most_all_merchants_have_their_turn(pool):
    await enqueue(pool, [NewWork(n, BULK, n % 5, 0, NOW) for n in range(100)])
    walking = claimer(pool)
    served: Counter[int] = Counter()
    for _ in range(10):
        [work] = await walking.claim(50, most={BULK: 1}, now=NOW)
        assert walking.exhausted, "there is more, but not for now"
        served[work.merchant_id] += 1
    assert served == dict.fromkeys(range(5), 2)


async def test_a_full_destination_does_not_use_up_its_lanes_most(pool):
    await enqueue(pool, [NewWork(n, BULK, n, 9, NOW) for n in range(20)], Stage.DELIVER)
    await enqueue(pool, [NewWork(n, BULK, n, 8, NOW) for n in range(20, 30)], Stage.DELIVER)
    claim = await claimed(pool, 100, stage=Stage.DELIVER, slots={9: 1}, most={BULK: 4})
    assert Counter(work.destination_id for work in claim) == {9: 1, 8: 3}


async def mailboxes(pool, merchants):
    """Destination ids by merchant: of each a mailbox and a webhook, one after the other."""
    rows = await pool.fetch(
        """
        INSERT INTO destination (merchant_id, kind, address, events)
        SELECT m, kind, 'a' || m, '{*}' FROM unnest($1::bigint[]) AS m, unnest('{email,webhook}'::text[]) AS kind
        RETURNING id, merchant_id, kind
        """,
        list(merchants),
    )
    return {
        kind: {row["merchant_id"]: row["id"] for row in rows if row["kind"] == kind} for kind in ("email", "webhook")
    }


async def test_what_shares_slots_gets_no_more_than_these_and_the_others_take_the_rest(pool):
    found = await mailboxes(pool, range(1, 101))
    new = [NewWork(n, CRITICAL, m, found["email"][m], NOW) for n, m in enumerate(found["email"])]
    new += [NewWork(100 + n, BULK, m, found["webhook"][m], NOW) for n, m in enumerate(found["webhook"])]
    await enqueue(pool, new, Stage.DELIVER)
    walking = claimer(pool, Stage.DELIVER)
    claim: list[Work] = []
    while len(claim) < 103 and (found_now := await walking.claim(60, shared=Shared(("email",), 3), now=NOW)):
        claim += found_now
    assert Counter(work.lane for work in claim[:60]) == {CRITICAL: 3, BULK: 57}
    assert await walking.claim(60, shared=Shared(("email",), 0), now=NOW) == []


async def test_all_who_share_slots_have_their_turn(pool):
    found = await mailboxes(pool, range(1, 101))
    await enqueue(
        pool, [NewWork(n, CRITICAL, n % 100 + 1, found["email"][n % 100 + 1], NOW) for n in range(300)], Stage.DELIVER
    )
    await enqueue(
        pool, [NewWork(1000 + n, CRITICAL, n + 1, found["webhook"][n + 1], NOW) for n in range(100)], Stage.DELIVER
    )
    walking = claimer(pool, Stage.DELIVER, buckets=16)
    served: Counter[int] = Counter()
    while sum(served.values()) < 200:
        claim = await walking.claim(64, shared=Shared(("email",), 2), now=NOW)
        served.update(work.merchant_id for work in claim if work.ref < 1000)
    assert set(served) == set(range(1, 101))
    assert max(served.values()) <= 3, "nobody much more often than others"


async def test_a_late_lane_at_its_most_still_serves_both_its_ends(pool):
    await enqueue(pool, works(range(1000)))
    walking = claimer(pool)
    await walking.claim(10, now=second(3600))
    claim = refs(await walking.claim(300, most={STANDARD: 8}, now=second(3600)))
    assert (len(claim), len([ref for ref in claim if ref < 100])) == (8, 2)


async def test_a_late_lane_serves_its_newest_first_and_still_drains_its_oldest(pool):
    await enqueue(pool, works(range(1000), received=NOW), now=NOW)
    now = second(3600)
    walking = claimer(pool)
    assert refs(await walking.claim(10, now=now)) == list(range(10)), "nothing is known to be late yet"
    fresh = [NewWork(5000 + n, STANDARD, 1, 0, now) for n in range(8)]
    await enqueue(pool, fresh, now=now)
    claim = refs(await walking.claim(16, now=now))
    assert STANDARD in walking.late
    assert {5000 + n for n in range(8)} <= set(claim), "the newest come first"
    assert 4 <= len([ref for ref in claim if ref < 100]) <= 6, "about a quarter is for the oldest"


async def test_a_lane_that_caught_up_is_in_order_again(pool):
    await enqueue(pool, works(range(20)), now=NOW)
    walking = claimer(pool)
    await walking.claim(20, now=second(3600))
    assert STANDARD in walking.late
    await enqueue(pool, works(range(100, 110), received=second(3600)), now=second(3600))
    await walking.claim(10, now=second(3601))
    assert STANDARD not in walking.late


async def test_two_claimers_never_get_the_same_work(pool):
    await enqueue(pool, [NewWork(n, Lane(n % 3), n % 40, 0, NOW) for n in range(3000)])

    async def take():
        walking, taken = claimer(pool), []
        while claim := await walking.claim(37, now=NOW):
            taken += refs(claim)
        return taken

    taken = [ref for part in await asyncio.gather(*(take() for _ in range(6))) for ref in part]
    assert len(taken) == len(set(taken))
    left = await claimed(pool, 3000)
    assert sorted(taken + refs(left)) == list(range(3000))


async def test_a_claim_that_is_rolled_back_gives_its_work_back(pool):
    await enqueue(pool, works(range(5)))
    connection = await pool.acquire()
    try:
        transaction = connection.transaction()
        await transaction.start()
        assert len(await claimed(connection, 10)) == 5
        assert await claimed(pool, 10) == []
        await transaction.rollback()
    finally:
        await pool.release(connection)
    assert len(await claimed(pool, 10)) == 5


operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "claim", "settle", "postpone", "expire", "drop"]),
        st.integers(1, 12),
        st.integers(0, 2**32 - 1),
    ),
    max_size=40,
)


@given(steps=operations)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_happens_accepted_is_live_or_done_exactly_once(pool, steps):
    """Adds, claims, settlements, postponements, lost leases and dead workers in any order lose and double nothing."""
    await pool.execute("TRUNCATE work, done")
    now, added, held = NOW, 0, []
    walking = claimer(pool, buckets=3)
    for what, size, seed in steps:
        rng = random.Random(seed)
        if what == "add":
            new = [NewWork(added + n, Lane(rng.randrange(3)), rng.randrange(4), 0, now) for n in range(size)]
            added += await enqueue(pool, new, now=now)
        elif what == "claim":
            held += await walking.claim(size, now=now)
        elif what == "expire":
            now += timedelta(seconds=rng.choice([1, 30, 61]))
        elif what == "drop":
            held = held[size:]  # a worker died with these in hand
        elif held:
            some, held = held[:size], held[size:]
            if what == "settle":
                await store.settle(pool, Stage.ROUTE, some, [Settled(work.ref, "applied") for work in some], now=now)
            else:
                later = [Postponed(work.ref, rng.uniform(0, 90), tried=rng.random() < 0.5) for work in some]
                await store.postpone(pool, Stage.ROUTE, some, later, now=now)
        live = {row[0] for row in await pool.fetch("SELECT ref FROM work")}
        done = [row[0] for row in await pool.fetch("SELECT ref FROM done")]
        assert len(done) == len(set(done))
        assert live.isdisjoint(done)
        assert live | set(done) == set(range(added))
    rest = refs(await claimed(pool, 10_000, now + timedelta(hours=1)))
    assert set(rest) == {row[0] for row in await pool.fetch("SELECT ref FROM work")}, (
        "all of it can be claimed in the end"
    )


async def test_stats_tell_depth_age_and_rates_of_every_lane(pool):
    await enqueue(pool, works(range(30), CRITICAL, received=second(-10)), now=second(-10))
    await enqueue(pool, works(range(100, 105), BULK, received=second(-120)), now=second(-120))
    claim = await claimer(pool).claim(12, lanes=(CRITICAL,), now=NOW)
    await store.settle(pool, Stage.ROUTE, claim[:10], [Settled(work.ref, "applied") for work in claim[:10]], now=NOW)
    await store.postpone(pool, Stage.ROUTE, claim[10:11], [Postponed(claim[10].ref, 60)], now=NOW)
    stats = {(item.stage, item.lane): item for item in await lane_stats(pool, now=NOW)}
    assert len(stats) == len(Stage) * len(Lane)
    critical = stats[Stage.ROUTE, CRITICAL]
    assert (critical.depth, critical.waiting, critical.in_flight, critical.delayed) == (20, 18, 1, 1)
    assert critical.oldest_age == pytest.approx(10)
    assert critical.arrival_rate == 0.5
    assert critical.service_rate == pytest.approx(10 / 60)
    assert critical.drain_seconds is None
    bulk = stats[Stage.ROUTE, BULK]
    assert (bulk.depth, bulk.arrival_rate) == (5, 0)
    assert bulk.oldest_age == pytest.approx(120)
    assert stats[Stage.DELIVER, BULK].depth == 0


async def test_stats_by_merchant_and_destination(pool):
    await enqueue(pool, works(range(3), merchant=5, destination=8), Stage.DELIVER)
    await enqueue(pool, works(range(10, 11), merchant=6, destination=9), Stage.DELIVER)
    by_merchant = await bucket_stats(pool, "merchant_id", now=NOW)
    assert [(item.key, item.depth) for item in by_merchant] == [(5, 3), (6, 1)]
    by_destination = await bucket_stats(pool, "destination_id", now=NOW)
    assert [(item.key, item.depth) for item in by_destination] == [(8, 3), (9, 1)]


async def test_only_old_history_is_pruned(pool):
    await enqueue(pool, works(range(4)))
    claim = await claimed(pool, 4)
    await store.settle(pool, Stage.ROUTE, claim[:2], [Settled(work.ref, "applied") for work in claim[:2]], now=NOW)
    later = second(86_400)
    await store.settle(pool, Stage.ROUTE, claim[2:], [Settled(work.ref, "applied") for work in claim[2:]], now=later)
    assert await store.prune(pool, second(3600), 100) == 2
    assert await pool.fetchval("SELECT count(*) FROM done") == 2


# What operators ask for


def ruled(pool, stage=Stage.ROUTE, **rules):
    return Claimer(pool, stage, ClaimPolicy(), lambda: Rules(**rules))


async def test_what_is_paused_stays_where_it_is(pool):
    await enqueue(pool, works([1], lane=BULK))
    await enqueue(pool, works([2], merchant=2))
    await enqueue(pool, works([3], merchant=3))
    await enqueue(pool, works([4], merchant=3, destination=7), Stage.DELIVER)
    await enqueue(pool, works([5], merchant=3, destination=8), Stage.DELIVER)
    route = ruled(pool, paused_lanes=frozenset({BULK}), paused_merchants=frozenset({2}))
    assert refs(await route.claim(10, now=NOW)) == [3]
    assert route.exhausted
    deliver = ruled(pool, Stage.DELIVER, paused_destinations=frozenset({7}))
    assert refs(await deliver.claim(10, now=NOW)) == [5]
    assert await ruled(pool, paused_stages=frozenset({Stage.ROUTE})).claim(10, now=NOW) == []
    assert sorted(refs(await claimed(pool, 10))) == [1, 2]


async def test_a_merchant_that_is_paused_does_not_hold_up_those_behind_it(pool):
    for merchant in range(1, 200):
        await enqueue(pool, works([merchant], merchant=merchant))
    claiming = ruled(pool, paused_merchants=frozenset(range(1, 150)))
    assert sorted(refs(await claiming.claim(400, now=NOW))) == list(range(150, 200))


async def test_a_lanes_weight_can_be_turned(pool):
    for lane in (CRITICAL, STANDARD):
        await enqueue(pool, works(range(lane * 100, lane * 100 + 100), lane=lane))
    claiming = ruled(pool, weights={CRITICAL: 1, STANDARD: 9})
    lanes = Counter(work.lane for work in await claiming.claim(50, lanes=[CRITICAL, STANDARD], now=NOW))
    assert lanes == {CRITICAL: 5, STANDARD: 45}


async def test_newest_first_can_be_asked_for(pool):
    for number in range(40):
        await enqueue(pool, works([number], received=second(number)), now=second(number))
    claim = await ruled(pool, newest_first=frozenset({STANDARD})).claim(8, lanes=[STANDARD], now=second(100))
    assert {0, 39, 38, 37} <= set(refs(claim))


async def test_the_store_tells_what_waits_and_what_came_and_went(pool):
    at = [NOW - timedelta(seconds=age) for age in (3, 7, 7, 58, 300)]
    new = [NewWork(ref, CRITICAL, 1, 0, when) for ref, when in enumerate(at)]
    await store.enqueue(pool, Stage.ROUTE, new, now=NOW - timedelta(seconds=2))
    taken = await Claimer(pool, Stage.ROUTE, ClaimPolicy()).claim(3, now=NOW - timedelta(seconds=1))
    done, later, _ = taken
    await store.settle(pool, Stage.ROUTE, [done], [Settled(done.ref, "applied")], now=NOW - timedelta(seconds=1))
    await store.postpone(pool, Stage.ROUTE, [later], [Postponed(later.ref, 60.0)], now=NOW)
    found = {(one.stage, one.lane): one for one in await flows(pool, NOW)}
    assert len(found) == len(Stage) * len(Lane)
    one = found[Stage.ROUTE, CRITICAL]
    assert (one.due, one.in_flight, one.later) == (2, 1, 1)
    assert one.arrived == (1, 2, *[0] * 9, 1)
    assert one.served == (1, *[0] * 11)
    assert found[Stage.DELIVER, BULK] == Flow(Stage.DELIVER, BULK, arrived=(0,) * SLOTS, served=(0,) * SLOTS)


async def test_what_levers_hold_is_measured_and_no_work_counts_twice(pool):
    await enqueue(pool, works(range(5), BULK, merchant=1))
    await enqueue(pool, works(range(10, 14), STANDARD, merchant=1))
    await enqueue(pool, works(range(20, 23), STANDARD, merchant=2))
    await enqueue(pool, works(range(30, 32), STANDARD, merchant=1, destination=7), Stage.DELIVER)
    await enqueue(pool, works(range(40, 41), STANDARD, merchant=2, destination=7), Stage.DELIVER)
    await measure(
        pool,
        [Pause("bulk", lane=BULK), Pause("bakery", merchant_id=1), Pause("seven", destination_id=7)],
    )
    assert PAUSED.values == {
        ("route", "bulk", "bulk"): 5,
        ("route", "standard", "bakery"): 4,
        ("deliver", "standard", "bakery"): 2,
        ("deliver", "standard", "seven"): 1,
    }
    await measure(pool, [Pause("all", stage=Stage.ROUTE), Pause("seven", stage=Stage.ROUTE, destination_id=7)])
    assert PAUSED.values == {
        ("route", "bulk", "all"): 5,
        ("route", "standard", "all"): 7,
        ("deliver", "standard", "seven"): 3,
    }
    await measure(pool, [Pause("deliveries of the bakery", stage=Stage.DELIVER, merchant_id=1)])
    assert PAUSED.values == {("deliver", "standard", "deliveries of the bakery"): 2}
    await measure(pool)
    assert PAUSED.values == {}
    assert DEPTH.values["route", "standard"] == 7


# Much due behind much that waits


async def test_one_with_much_due_gets_all_there_is_room_for_when_the_others_only_wait(pool):
    await enqueue(pool, [NewWork(n, STANDARD, 1 + n % 300, 0, NOW) for n in range(300)], now=second(600))
    await enqueue(pool, works(range(1000, 2000), merchant=150, destination=7))
    walking, got = claimer(pool), []
    while claim := await walking.claim(128, now=NOW):
        got.append(len(claim))
    assert got == [128] * 7 + [104]


async def test_neither_paused_merchants_nor_full_destinations_narrow_what_the_others_get(pool):
    for number in range(60):
        await enqueue(pool, works([number], merchant=1, destination=100 + number), Stage.DELIVER)
        await enqueue(pool, works([100 + number], merchant=2, destination=200 + number), Stage.DELIVER)
    await enqueue(pool, works(range(1000, 2000), merchant=3, destination=7), Stage.DELIVER)
    walking = ruled(pool, Stage.DELIVER, paused_merchants=frozenset({2}))
    claim = await walking.claim(128, slots=dict.fromkeys(range(100, 160), 0), now=NOW)
    assert Counter(work.destination_id for work in claim) == {7: 128}


@pytest.mark.parametrize("others", [2, 40, 200])
async def test_few_are_claimed_only_where_there_are_no_more(pool, others):
    await enqueue(pool, [NewWork(n, STANDARD, 1 + n, 0, NOW) for n in range(others)])
    await enqueue(pool, works(range(1000, 2000), merchant=500))
    walking, got = claimer(pool), 0
    while True:
        claim = await walking.claim(128, now=NOW)
        got += len(claim)
        if len(claim) <= 64 and walking.exhausted:
            break
    assert got == 1000 + others


async def test_a_late_lane_with_one_busy_merchant_fills_the_batch(pool):
    await enqueue(pool, [NewWork(n, STANDARD, 1 + n % 60, 0, NOW) for n in range(60)], now=second(7200))
    await enqueue(pool, works(range(1000, 2000), merchant=30, destination=7))
    walking = claimer(pool)
    await walking.claim(10, now=second(3600))
    assert STANDARD in walking.late
    assert len(await walking.claim(128, now=second(3600))) == 128


async def test_a_lane_is_late_by_the_clock_of_the_store(pool, monkeypatch):
    class Ahead(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(hours=1)

    monkeypatch.setattr("holdfast.queue.service.datetime", Ahead)
    await enqueue(pool, works(range(10), CRITICAL, received=await pool.fetchval("SELECT now()")), now=None)
    walking = claimer(pool)
    assert len(await walking.claim(10)) == 10
    assert walking.late == frozenset()
