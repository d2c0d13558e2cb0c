"""What a ramp does next: decided from where it is, what its guards read, and the time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.levers.model import (
    AVOID,
    BACKOFF,
    DELIVERY_CONCURRENCY,
    EVERYTHING,
    LEVERS,
    PAUSED,
    ROUTER_CONCURRENCY,
    VOICEMAIL_ONLY,
    LeverError,
    Target,
)
from holdfast.levers.ramp import Guard, Plan, Ramp, decide, default_guards

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
FAST = "database.round_trip<0.1"
WELL, UNWELL, WORSE = ({"database.round_trip": value} for value in (0.01, 0.12, 0.2))
UNKNOWN = {"database.round_trip": None}


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def plan(lever=DELIVERY_CONCURRENCY, origin=0, goal=200, *, targets=(EVERYTHING,), clears=True, guards=(FAST,), **more):
    return Plan(lever, targets, origin, goal, clears, guards=tuple(Guard.read(one) for one in guards), **more)


def ramp(position=0, moved=None, since=0, *, chosen=None, **more):
    values = {
        "looked_at": None,
        "well_since": None,
        "worse_since": None,
        "note": "",
        "ended_at": None,
    } | more
    return Ramp(1, chosen or plan(), "ana", "calm", None, NOON, "running", position, moved, at(since), **values)


def looked(one, decision, now):
    """The ramp after a look."""
    one = replace(one, looked_at=now, well_since=decision.well_since, worse_since=decision.worse_since)
    if decision.move in ("step", "back"):
        way = 1 if decision.move == "step" else -1
        one = replace(one, position=one.position + way, moved=decision.move, since=now)
    return one


def drive(one, readings, *, every=5):
    """Look every few seconds at these readings; returns the moves with their times, and the ramp."""
    moves = []
    for number, reading in enumerate(readings):
        now = at(number * every)
        decision = decide(one, reading, now)
        if decision.move != "stay":
            moves.append((number * every, decision.move))
        if decision.move == "done":
            break
        one = looked(one, decision, now)
    return moves, one


def test_while_all_is_well_it_goes_on_after_each_hold_to_the_end():
    moves, _ = drive(ramp(), [WELL] * 100)
    assert moves == [(0, "step"), (60, "step"), (120, "step"), (180, "step"), (240, "done")]


def test_it_does_not_begin_until_all_is_well():
    moves, _ = drive(ramp(), [UNWELL] * 10 + [WELL] * 5)
    assert moves == [(50, "step")]


def test_a_bad_look_makes_the_hold_begin_anew():
    moves, _ = drive(ramp(), [WELL] * 11 + [UNWELL] + [WELL] * 13)
    assert moves == [(0, "step"), (120, "step")]


def test_it_holds_while_unstable_for_as_long_as_that_lasts():
    moves, _ = drive(ramp(), [WELL, *[UNWELL] * 500])
    assert moves == [(0, "step")]


def test_an_unknown_guard_holds_it_and_never_passes():
    assert drive(ramp(), [UNKNOWN] * 500)[0] == []
    moves, _ = drive(ramp(), [WELL] * 11 + [UNKNOWN] + [WELL] * 11)
    assert moves == [(0, "step")]
    assert "is unknown" in decide(ramp(), UNKNOWN, NOON).why


def test_a_single_bad_look_is_no_reason_to_step_back():
    moves, _ = drive(ramp(), [WELL, WORSE, WELL, WORSE, WELL])
    assert moves == [(0, "step")]


def test_when_clearly_worse_it_steps_back_one_step_and_lets_that_settle():
    moves, one = drive(ramp(2, "step"), [WORSE] * 12)
    assert (moves, one.position) == ([(10, "back")], 1)
    moves, one = drive(ramp(2, "step"), [WORSE] * 40)
    assert (moves, one.position) == ([(10, "back"), (70, "back")], 0)


def test_at_the_beginning_there_is_nothing_to_step_back_to():
    assert drive(ramp(), [WORSE] * 100)[0] == []


def test_after_a_step_back_it_goes_on_only_after_a_whole_hold():
    moves, _ = drive(ramp(1, "step"), [WORSE] * 3 + [WELL] * 16)
    assert moves == [(10, "back"), (75, "step")]


def test_the_last_step_is_held_as_well_and_may_be_stepped_back_from():
    moves, one = drive(ramp(4, "step"), [WORSE] * 4)
    assert (moves, one.position) == ([(10, "back")], 3)
    assert drive(ramp(4, "step"), [WELL] * 13)[0] == [(60, "done")]


def test_time_in_which_nobody_looked_does_not_count_as_well():
    one = ramp(1, "step", looked_at=at(5), well_since=at(0))
    decision = decide(one, WELL, at(3600))
    assert (decision.move, decision.well_since) == ("stay", at(3600))
    assert decide(replace(one, looked_at=at(55)), WELL, at(60)).move == "step"


def test_all_guards_must_be_well():
    chosen = plan(guards=(FAST, "router.rate>5"))
    assert decide(ramp(chosen=chosen), WELL | {"router.rate": 4.0}, NOON).move == "stay"
    assert decide(ramp(chosen=chosen), WELL | {"router.rate": 6.0}, NOON).move == "step"


def test_without_guards_only_the_time_counts():
    moves, _ = drive(ramp(chosen=plan(guards=(), hold=20)), [{}] * 20)
    assert moves == [(0, "step"), (20, "step"), (40, "step"), (60, "step"), (80, "done")]


def test_a_decision_carries_what_each_guard_saw():
    (row,) = decide(ramp(), UNWELL, NOON).evidence
    assert row == {"guard": FAST, "value": 0.12, "unit": "s", "verdict": "unwell"}


@given(st.lists(st.sampled_from([WELL, UNWELL, WORSE, UNKNOWN]), max_size=400))
def test_whatever_the_guards_see_it_never_moves_further_than_one_step_a_hold(readings):
    moves, one = drive(ramp(), readings)
    assert 0 <= one.position <= 4
    forward = [when for when, move in moves if move == "step"]
    assert all(later - earlier >= 60 for earlier, later in pairwise(forward))
    for when, move in moves:
        if move == "step":
            assert readings[when // 5] is WELL


@pytest.mark.parametrize(
    ("lever", "origin", "goal", "values"),
    [
        (DELIVERY_CONCURRENCY, 0, 200, [20, 50, 100, None]),
        (DELIVERY_CONCURRENCY, 400, 200, [380, 350, 300, None]),
        (ROUTER_CONCURRENCY, 0, 2, [1, None]),
        (ROUTER_CONCURRENCY, 1, 2, [None]),
        (BACKOFF, "slower", "normal", ["slow", None]),
    ],
)
def test_steps_are_parts_of_the_way_and_those_that_change_nothing_are_left_out(lever, origin, goal, values):
    chosen = plan(lever, origin, goal).effective()
    assert [chosen.at(position)[EVERYTHING] for position in range(1, len(chosen.steps) + 1)] == values
    assert chosen.at(0)[EVERYTHING] == origin


def test_a_ramp_to_a_value_ends_at_that_value():
    chosen = plan(origin=10, goal=20, clears=False)
    assert [chosen.at(position)[EVERYTHING] for position in range(5)] == [10, 11, 13, 15, 20]


def test_a_ramp_over_switches_turns_so_many_of_them():
    merchants = tuple(Target("merchant", str(number)) for number in range(20))
    chosen = plan(PAUSED, True, False, targets=merchants)
    off = [sum(value is None for value in chosen.at(position).values()) for position in range(5)]
    assert off == [0, 2, 5, 10, 20]
    assert set(chosen.at(2).values()) == {True, None}


@given(st.integers(0, 4096), st.integers(0, 4096), st.sets(st.integers(1, 99), max_size=8))
def test_every_way_is_monotonous_and_ends_at_its_goal(origin, goal, percents):
    if origin == goal:
        return
    chosen = plan(origin=origin, goal=goal, clears=False, steps=(*sorted(percents), 100)).effective()
    values = [chosen.at(position)[EVERYTHING] for position in range(len(chosen.steps) + 1)]
    assert (values[0], values[-1]) == (origin, goal)
    steps = list(pairwise(values))
    assert all(one < two for one, two in steps) or all(one > two for one, two in steps)


@pytest.mark.parametrize(
    ("text", "value", "verdict"),
    [
        (FAST, 0.099, "well"),
        (FAST, 0.1, "unwell"),
        (FAST, 0.151, "worse"),
        (FAST, None, "unknown"),
        ("router.rate > 6", 7, "well"),
        ("router.rate>6", 5, "unwell"),
        ("router.rate>6", 4, "worse"),
        ("system.cpu<90%", 0.94, "unwell"),
        ("system.cpu<0.9", 0.96, "worse"),
        ("router.error_ratio<2%", 0.03, "worse"),
        ("calls.ill.target:sip:a<b@example.com<20%", 0.36, "worse"),
        ("calls.ill.region:US<20%", 0.0, "well"),
    ],
)
def test_a_guard_judges(text, value, verdict):
    assert Guard.read(text).judge(value) == verdict


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no guard; write a reading"),
        ("database.round_trip", "is no guard"),
        ("database.round_trip=1", "is no guard"),
        ("database.round_trip<-1", "is no guard"),
        ("database.round_trip<0", "above 0"),
        ("calls.ill.lane:bulk<1", "is no guard"),
        ("database.speed<1", "there is no reading 'database.speed'; there are database.connections"),
        ("queue.oldest_age.slow<1", r"queue\.oldest_age\.critical"),
    ],
)
def test_a_guard_that_is_none_says_what_is_one(text, said):
    with pytest.raises(LeverError, match=said):
        Guard.read(text)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"steps": ()}, "steps rise"),
        ({"steps": (50, 25, 100)}, "steps rise"),
        ({"steps": (0, 100)}, "steps rise"),
        ({"steps": (10, 50)}, "end there"),
        ({"hold": 0}, "a second to a day"),
        ({"hold": 90_000}, "a second to a day"),
        ({"goal": 0}, "is 0 already"),
        ({"targets": ()}, "1 to 10000 targets"),
        ({"targets": (EVERYTHING, Target("lane", "bulk"))}, "has one target"),
        ({"guards": (FAST,) * 13}, "at most 12"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_with_the_reason(more, said):
    with pytest.raises(LeverError, match=said):
        plan(**more)


def test_guards_are_written_as_they_are_read():
    for lever in LEVERS.values():
        for guard in default_guards(lever):
            assert str(Guard.read(str(guard))) == str(guard)


@pytest.mark.parametrize("target", ["region:US", "target:sip:a<1@example.com", "number:+14155550100"])
def test_a_ramp_of_calls_watches_the_very_line(target):
    guards = default_guards(AVOID if target != "number:+14155550100" else VOICEMAIL_ONLY, [Target.read(target)])
    assert str(guards[-1]) == f"calls.ill.{target}<0.2"
    assert str(Guard.read(str(guards[-1]))) == str(guards[-1])


def test_a_ramp_of_everything_has_no_line_of_its_own():
    assert default_guards(VOICEMAIL_ONLY, [EVERYTHING]) == default_guards(VOICEMAIL_ONLY)
    assert default_guards(PAUSED, [Target("merchant", "1")]) == default_guards(PAUSED)
