"""The arithmetic of draining: forecasts never contradict themselves, and more capacity never makes it longer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.queue.capacity import (
    SLOTS,
    Flow,
    Load,
    Rate,
    drain,
    emptied_in,
    forecast,
    needed,
    rate,
    shares,
    whole,
    workers,
)
from holdfast.queue.model import Lane, Stage

TIMES = st.floats(0.1, 10)
loads = st.lists(
    st.builds(
        Load,
        st.one_of(st.just(0.0), st.floats(0.1, 1e6)),
        st.one_of(st.just(0.0), st.floats(0.01, 1e4)),
        st.sampled_from([0.0, 1.0, 4.0, 16.0]),
    ),
    min_size=1,
    max_size=3,
)
capacities = st.one_of(st.just(0.0), st.floats(0.01, 1e5))


def longer(one: float | None, other: float | None) -> bool:
    """Whether a time is longer than another by more than arithmetic's own error."""
    if other is None:
        return False
    return one is None or one > other * (1 + 1e-6) + 1e-6


@given(loads, capacities, TIMES)
def test_more_workers_never_lengthen_any_lanes_drain(some, capacity, times):
    few, many = drain(some, capacity), drain(some, capacity * (1 + times))
    assert not any(longer(more, less) for more, less in zip(many, few, strict=True))


def test_a_queue_by_itself_drains_in_its_depth_over_the_surplus_of_service():
    assert emptied_in(0, 5, 0) == 0
    assert emptied_in(100, 5, 15) == 10
    assert emptied_in(100, 15, 15) is None


@given(loads, capacities, st.integers(0, 2), st.floats(0.1, 1e5))
def test_more_waiting_or_arriving_never_shortens_the_whole(some, capacity, which, more):
    place = which % len(some)
    one = some[place]
    for changed in (Load(one.depth + more, one.arrival, one.weight), Load(one.depth, one.arrival + more, one.weight)):
        others = [*some[:place], changed, *some[place + 1 :]]
        assert not longer(whole(drain(some, capacity)), whole(drain(others, capacity)))


@given(loads, capacities)
def test_no_more_is_shared_than_there_is_and_none_is_wasted(some, capacity):
    depths = [load.depth for load in some]
    got = shares(some, depths, capacity)
    assert sum(got) <= capacity * (1 + 1e-9) + 1e-9
    assert all(rate >= 0 for rate in got)
    assert all(rate == 0 for rate, load in zip(got, some, strict=True) if load.weight == 0)
    if any(load.weight and load.depth for load in some):
        assert sum(got) == pytest.approx(capacity)


@given(loads, st.floats(1, 1e5))
def test_what_is_needed_drains_it_in_time_and_a_little_less_does_not(some, within):
    open_ = [Load(load.depth, load.arrival, load.weight or 1.0) for load in some]
    work = needed(open_, within)
    took = whole(drain(open_, work * (1 + 1e-9)))
    assert took is not None
    assert took <= within * (1 + 1e-6)
    if sum(load.depth for load in open_) > 1:
        assert longer(whole(drain(open_, work * 0.99)), within * 0.99)


@given(st.floats(0, 1e6), st.floats(0.001, 1e4), TIMES)
def test_so_many_workers_do_the_work_and_one_less_does_not(work, each, times):
    count = workers(work, each)
    assert count is not None
    assert count * each >= work * (1 - 1e-6)
    assert count == 0 or count == 1 or (count - 1) * each < work
    assert (workers(work, each * (1 + times)) or 0) <= count
    assert (workers(work * (1 + times), each) or 0) >= count


def test_with_nothing_to_do_or_nothing_done_there_is_a_plain_answer():
    assert workers(0, 0) == 0
    assert workers(5, 0) is None
    assert drain([Load(0, 0, 1)], 0) == [0.0]
    assert drain([Load(5, 0, 1)], 0) == [None]
    assert drain([Load(5, 0, 0)], 100) == [None], "paused"
    assert drain([], 5) == []
    assert rate((), 5) == rate((0, 0), 5) == Rate()
    assert needed([], 60) == 0


def test_the_time_is_the_depth_by_what_is_done_beyond_what_arrives():
    assert drain([Load(900, 10, 1)], 40) == [30.0]


def test_a_lane_that_empties_leaves_its_share_to_the_others():
    critical, bulk = drain([Load(160, 0, 16), Load(100, 0, 1)], 17)
    assert critical == pytest.approx(10)
    assert bulk == pytest.approx(10 + 90 / 17)


def test_a_quiet_lane_is_served_before_a_deep_one_gets_the_rest():
    assert shares([Load(0, 5, 1), Load(100, 0, 16)], [0, 100], 17 * 6) == [5, 17 * 6 - 5]


def test_an_empty_lane_that_gets_too_little_fills_up_and_is_drained_later():
    deep, starved = drain([Load(100, 0, 9), Load(0, 2, 1)], 10)
    assert deep == pytest.approx(100 / 9)
    assert starved == pytest.approx(100 / 9 + (100 / 9) / 8)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=SLOTS))
def test_a_rate_is_the_mean_and_never_surer_than_chance_allows(counts):
    found = rate(counts, 5.0)
    assert found.per_second == pytest.approx(sum(counts) / 5 / len(counts))
    assert found.low <= found.per_second <= found.high
    assert found.error >= sum(counts) ** 0.5 / (5 * len(counts)) * (1 - 1e-9)


def test_gusts_make_a_rate_less_sure():
    assert rate([600, 0, 0, 600, 0, 0], 5.0).error > 5 * rate([200] * 6, 5.0).error


def flow(lane, ready, arrived=0, served=0, stage=Stage.ROUTE):
    """Arrived and served: in each slot."""
    return Flow(stage, lane, ready, 0, 0, (arrived,) * SLOTS, (served,) * SLOTS)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 5000), st.integers(0, 5000)), min_size=3, max_size=3),
)
def test_a_forecast_lies_between_its_ends(numbers):
    found = forecast(Stage.ROUTE, [flow(lane, *some) for lane, some in zip(Lane, numbers, strict=True)])
    for one in (found.empty, *(lane.empty for lane in found.lanes)):
        assert not longer(one.soonest, one.seconds)
        assert not longer(one.seconds, one.latest)


def test_a_forecast_says_how_far_it_can_be_trusted():
    steady = forecast(Stage.ROUTE, [flow(Lane.CRITICAL, 30_000, 500, 5_000)])
    assert steady.empty.seconds == pytest.approx(30_000 / 900)
    assert steady.empty.confidence == "good"
    slow = forecast(Stage.ROUTE, [flow(Lane.CRITICAL, 3_000, 20, 21)])
    assert (slow.empty.latest, slow.empty.confidence) == (None, "uncertain")
    growing = forecast(Stage.ROUTE, [flow(Lane.CRITICAL, 3_000, 2000, 1000)])
    assert (growing.empty.seconds, growing.empty.confidence) == (None, "good")
    assert growing.lanes[0].wait == pytest.approx(15.0)


def test_the_time_before_work_began_does_not_make_it_slow():
    began = Flow(Stage.ROUTE, Lane.CRITICAL, 6000, served=(500, 500, *[0] * 10))
    assert forecast(Stage.ROUTE, [began]).empty.seconds == pytest.approx(60)


def test_work_in_hand_is_no_backlog():
    found = forecast(Stage.ROUTE, [flow(Lane.CRITICAL, 40, 500, 500)])
    assert found.keeps_up
    assert found.empty.seconds == 0.0
    idle = forecast(Stage.ROUTE, [])
    assert (idle.keeps_up, idle.ready, idle.empty.seconds) == (True, 0, 0.0)


def test_a_paused_lane_does_not_drain_and_the_others_do():
    some = [flow(Lane.CRITICAL, 1000, 0, 100), flow(Lane.BULK, 1000)]
    found = forecast(Stage.ROUTE, some, {Lane.BULK: 0})
    assert [lane.empty.seconds for lane in found.lanes] == [50.0, None]
    assert found.empty.seconds is None
