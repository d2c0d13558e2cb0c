"""Levers: turned by somebody, for a reason, for a time."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.levers import store
from holdfast.levers.model import (
    BACKOFF,
    DELIVERY_CONCURRENCY,
    DESTINATION_CONCURRENCY,
    EVERYTHING,
    LEVERS,
    MESSAGING,
    NEWEST_FIRST,
    PAUSED,
    ROUTER_CONCURRENCY,
    WEIGHT,
    LeverError,
    Target,
    lever,
)
from holdfast.levers.service import Levers, expire
from holdfast.queue.model import Lane, Pause, Rules, Stage

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


async def turn(pool, lever, value, target="", *, lasts=None, now=NOON, actor="ana"):
    on = Target.read(target)
    return await store.turn(pool, lever.name, on, value, actor=actor, reason="storm", lasts=lasts, now=now)


async def in_force(pool, now=NOON) -> Levers:
    levers = Levers(routers=2, deliveries=256)
    await levers.refresh(pool, now)
    return levers


@pytest.mark.parametrize("text", ["", "lane:bulk", "stage:deliver", "merchant:12", "destination:7"])
def test_a_target_is_written_as_it_is_read(text):
    assert str(Target.read(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lane:slow", "there are critical, standard, bulk"),
        ("bulk", "write lane:bulk"),
        ("merchant:x", "begins with"),
        ("destination:-1", "begins with"),
        ("destination:²", "begins with"),
        ("planet:mars", "begins with"),
    ],
)
def test_a_target_that_is_none_says_what_is_one(text, said):
    with pytest.raises(LeverError, match=said):
        Target.read(text)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("router.concurrency", "0", 0),
        ("queue.paused", "on", True),
        ("queue.paused", "OFF", False),
        ("retry.backoff", "slow", "slow"),
        ("queue.weight", "100", 100),
    ],
)
def test_a_value_is_read_as_its_lever_wants_it(name, text, value):
    assert lever(name).read(text) == value


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("router.concurrency", "17", "from 0 to 16"),
        ("router.concurrency", "-1", "from 0 to 16"),
        ("router.concurrency", "many", "from 0 to 16"),
        ("router.concurrency", "²", "from 0 to 16"),
        ("queue.weight", "0", "from 1 to 100"),
        ("queue.paused", "maybe", "on or off"),
        ("retry.backoff", "fast", "normal, slow, slower"),
    ],
)
def test_a_value_that_cannot_be_honoured_is_refused_with_the_reason(name, text, said):
    with pytest.raises(LeverError, match=said):
        lever(name).read(text)


def test_an_unknown_lever_and_a_target_that_does_not_fit_are_refused():
    with pytest.raises(LeverError, match=r"there are router\.concurrency"):
        lever("warp.speed")
    with pytest.raises(LeverError, match="takes no target, not lane:bulk"):
        BACKOFF.accept(Target.read("lane:bulk"))
    with pytest.raises(LeverError, match="takes no target or lane:…, not merchant:1"):
        ROUTER_CONCURRENCY.accept(Target.read("merchant:1"))
    with pytest.raises(LeverError, match="takes lane:…"):
        WEIGHT.accept(EVERYTHING)


async def test_without_levers_everything_is_at_its_default(pool):
    levers = await in_force(pool)
    assert (levers.routers, levers.deliveries, levers.backoff, levers.ceiling(7, 64)) == (2, 256, 1.0, 64)
    assert levers.rules == Rules()


async def test_a_turned_lever_is_in_force_until_it_is_cleared(pool):
    await turn(pool, ROUTER_CONCURRENCY, 1)
    await turn(pool, DELIVERY_CONCURRENCY, 32)
    await turn(pool, BACKOFF, "slow")
    levers = await in_force(pool)
    assert (levers.routers, levers.deliveries, levers.backoff) == (1, 32, 4.0)
    assert await store.clear(pool, ROUTER_CONCURRENCY.name, EVERYTHING, actor="ben", reason="calm", now=NOON)
    assert not await store.clear(pool, ROUTER_CONCURRENCY.name, EVERYTHING, actor="ben", reason="calm", now=NOON)
    await levers.refresh(pool, NOON)
    assert levers.routers == 2


async def test_a_lever_undoes_itself_when_its_time_is_over(pool):
    await turn(pool, ROUTER_CONCURRENCY, 1, lasts=timedelta(minutes=30))
    assert (await in_force(pool, NOON + timedelta(minutes=29))).routers == 1
    assert (await in_force(pool, NOON + timedelta(minutes=30))).routers == 2
    await expire(pool, NOON + timedelta(minutes=29))
    assert len(await store.current(pool, NOON)) == 1
    await expire(pool, NOON + timedelta(minutes=31))
    assert await store.current(pool, NOON) == []
    newest, *_ = await store.history(pool, None, 10)
    assert (newest.what, newest.before, newest.actor) == ("expired", 1, "holdfast")


async def test_the_history_says_who_turned_what_from_what_to_what_and_why(pool):
    await turn(pool, WEIGHT, 50, "lane:critical", actor="ana")
    await turn(pool, WEIGHT, 80, "lane:critical", actor="ben")
    await store.clear(pool, WEIGHT.name, Target.read("lane:critical"), actor="ana", reason="calm", now=NOON)
    await turn(pool, PAUSED, True, "lane:bulk")
    changes = await store.history(pool, WEIGHT.name, 10)
    assert [(one.what, one.before, one.value, one.actor, one.reason) for one in changes] == [
        ("cleared", 80, None, "ana", "calm"),
        ("set", 50, 80, "ben", "storm"),
        ("set", None, 50, "ana", "storm"),
    ]
    assert len(await store.history(pool, None, 10)) == 4


async def test_levers_on_lanes_merchants_and_destinations_become_rules_for_claims(pool):
    await turn(pool, WEIGHT, 50, "lane:critical")
    await turn(pool, NEWEST_FIRST, True, "lane:standard")
    await turn(pool, NEWEST_FIRST, False, "lane:bulk")
    await turn(pool, PAUSED, True, "lane:bulk")
    await turn(pool, PAUSED, True, "stage:deliver")
    await turn(pool, PAUSED, True, "merchant:12")
    await turn(pool, PAUSED, True, "destination:7")
    assert (await in_force(pool)).rules == Rules(
        weights={Lane.CRITICAL: 50},
        newest_first=frozenset({Lane.STANDARD}),
        paused_lanes=frozenset({Lane.BULK}),
        paused_stages=frozenset({Stage.DELIVER}),
        paused_merchants=frozenset({12}),
        paused_destinations=frozenset({7}),
    )


async def test_a_limit_of_a_lane_leaves_the_limit_of_all_and_the_other_lanes_alone(pool):
    await turn(pool, ROUTER_CONCURRENCY, 1, "lane:bulk")
    await turn(pool, DELIVERY_CONCURRENCY, 8, "lane:standard")
    levers = await in_force(pool)
    assert (levers.routers, levers.deliveries, levers.rules) == (2, 256, Rules())
    assert levers.lanes == {Stage.ROUTE: {Lane.BULK: 1}, Stage.DELIVER: {Lane.STANDARD: 8}}


async def test_so_many_routers_claim_a_lane_as_its_limit_says(pool):
    assert [*(await in_force(pool)).lanes_of_router(15)] == [*Lane], "without a limit, all do"
    await turn(pool, ROUTER_CONCURRENCY, 1, "lane:bulk")
    await turn(pool, ROUTER_CONCURRENCY, 0, "lane:standard")
    levers = await in_force(pool)
    assert [levers.lanes_of_router(number) for number in range(3)] == [
        [Lane.CRITICAL, Lane.BULK],
        [Lane.CRITICAL],
        [Lane.CRITICAL],
    ]


async def test_a_ceiling_for_all_lowers_and_one_for_a_destination_decides(pool):
    await turn(pool, DESTINATION_CONCURRENCY, 4)
    await turn(pool, DESTINATION_CONCURRENCY, 100, "destination:7")
    levers = await in_force(pool)
    assert [levers.ceiling(number, default) for number, default in ((7, 64), (8, 64), (8, 2))] == [100, 4, 2]


async def test_an_unchanged_snapshot_stays_the_same_object(pool):
    await turn(pool, ROUTER_CONCURRENCY, 1)
    levers = await in_force(pool)
    before = levers.snapshot
    await levers.refresh(pool, NOON)
    assert levers.snapshot is before


def test_every_lever_says_what_it_does_and_can_be_read():
    for one in LEVERS.values():
        assert one.what.endswith(".")
        assert one.targets
        one.accept(Target(one.targets[-1], "1"))


async def test_the_levers_that_keep_work_from_being_claimed_are_told_with_what_they_hold(pool):
    await turn(pool, PAUSED, True, "lane:bulk")
    await turn(pool, PAUSED, False, "lane:critical")
    await turn(pool, PAUSED, True, "stage:deliver")
    await turn(pool, PAUSED, True, "merchant:12")
    await turn(pool, PAUSED, True, "destination:7")
    await turn(pool, ROUTER_CONCURRENCY, 0)
    await turn(pool, DELIVERY_CONCURRENCY, 0, "lane:standard")
    await turn(pool, DELIVERY_CONCURRENCY, 5, "lane:bulk")
    found = (await in_force(pool)).pauses(lambda number: f"shop-{number}")
    assert sorted(found, key=lambda one: one.lever) == [
        Pause("delivery.concurrency lane:standard", Stage.DELIVER, Lane.STANDARD),
        Pause("queue.paused destination:7", destination_id=7),
        Pause("queue.paused lane:bulk", lane=Lane.BULK),
        Pause("queue.paused merchant:shop-12", merchant_id=12),
        Pause("queue.paused stage:deliver", Stage.DELIVER),
        Pause("router.concurrency", Stage.ROUTE),
    ]


async def test_the_lever_of_texts_holds_claims_of_texts_and_of_nothing_else(pool):
    await turn(pool, MESSAGING, "hold", "merchant:12")
    await turn(pool, MESSAGING, "normal", "merchant:13")
    levers = await in_force(pool)
    assert (levers.rules, levers.text_rules) == (Rules(), Rules(paused_merchants=frozenset({12})))
    assert levers.pauses(lambda number: f"shop-{number}") == [
        Pause("messaging.texts merchant:shop-12", Stage.SEND, merchant_id=12)
    ]


async def test_the_lever_of_all_texts_leaves_out_whoever_has_one_of_their_own(pool):
    await turn(pool, MESSAGING, "refuse")
    levers = await in_force(pool)
    assert (levers.rules, levers.text_rules) == (Rules(), Rules(paused_stages=frozenset({Stage.SEND})))
    assert levers.pauses(str) == [Pause("messaging.texts", Stage.SEND)]
    await turn(pool, MESSAGING, "normal", "merchant:12")
    assert (await in_force(pool)).text_rules == Rules()
