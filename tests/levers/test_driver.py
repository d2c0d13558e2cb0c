"""Ramps over the store: rows, driven by anyone, never twice, remembered step by step."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.config import Settings
from holdfast.levers import driver, ramp_store, store
from holdfast.levers.model import EVERYTHING, LeverError, RefusedError, Target, UnknownError
from holdfast.levers.turning import Turner
from holdfast.merchants.names import Names
from tests.signals.measured import level, measured

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TRIP = "postgres_round_trip_seconds"
GUARD = "database.round_trip<0.1"
SETTINGS = Settings(router_concurrency=2, delivery_concurrency=200)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def turner(pool):
    return Turner(pool, SETTINGS, Names(pool))


async def turned(pool, name="delivery.concurrency", value=0, target=EVERYTHING, lasts=None):
    await store.turn(pool, name, target, value, actor="ana", reason="storm", lasts=lasts, now=NOON)


async def started(turner, name="delivery.concurrency", targets=(), **more):
    values = {"guards": [GUARD], "actor": "ben", "reason": "calm again", "now": NOON} | more
    return await turner.start_ramp(name, targets, **values)


async def look(pool, seconds, round_trip=0.01):
    """The database answers so fast, and somebody looks."""
    if round_trip is not None:
        await measured(pool, at(seconds), TRIP, level(round_trip), ago=1)
    await driver.drive(pool, SETTINGS, at(seconds))


async def looks(pool, seconds, round_trip=0.01):
    for when in seconds:
        await look(pool, when, round_trip)


async def value(pool, name="delivery.concurrency", target=""):
    return {(one.name, one.target): one.value for one in await store.current(pool)}.get((name, target))


async def found(pool, ramp):
    """The ramp as it stands."""
    row = await ramp_store.ramp(pool, ramp.id)
    assert row is not None
    return row


async def told(pool, ramp):
    return [change.what for change in reversed(await store.history(pool, None, 500, ramp_id=ramp.id))]


async def test_a_lever_comes_back_in_steps_to_its_default(pool, turner):
    await turned(pool)
    ramp = await started(turner)
    seen = []
    for when in range(0, 250, 5):
        await look(pool, when)
        seen.append(await value(pool))
    assert list(dict.fromkeys(seen)) == [20, 50, 100, None]
    ended = await found(pool, ramp)
    assert (ended.state, ended.percent) == ("done", 100)
    steps = ["set", "ramp step"] * 3 + ["cleared", "ramp step"]
    assert await told(pool, ramp) == ["ramp started", *steps, "ramp done"]


async def test_each_step_is_remembered_with_who_why_and_what_the_guards_saw(pool, turner):
    await turned(pool)
    ramp = await started(turner)
    await look(pool, 0, 0.02)
    newest, by_it, *_ = await store.history(pool, None, 10)
    assert (newest.what, newest.percent, newest.actor, newest.reason) == ("ramp step", 10, "ben", "all is well")
    assert newest.evidence == [{"guard": GUARD, "value": 0.02, "unit": "s", "verdict": "well"}]
    assert (by_it.what, by_it.value, by_it.before, by_it.ramp_id) == ("set", 20, 0, ramp.id)


async def test_it_holds_while_a_guard_is_unwell_or_unknown_and_says_so_once(pool, turner):
    await turned(pool)
    ramp = await started(turner)
    await looks(pool, range(0, 60, 5), None)
    await looks(pool, range(60, 120, 5), 0.12)
    assert (await value(pool), await told(pool, ramp)) == (0, ["ramp started", "ramp held"])
    assert (await found(pool, ramp)).note == "waits until all is well: database.round_trip<0.1 is 0.12"
    await look(pool, 120)
    assert await value(pool) == 20
    await look(pool, 125, 0.12)
    assert (await told(pool, ramp))[-1] == "ramp held"


async def test_it_steps_back_when_clearly_worse_and_goes_on_when_that_is_over(pool, turner):
    await turned(pool)
    ramp = await started(turner)
    await looks(pool, range(0, 65, 5))
    assert await value(pool) == 50
    await looks(pool, range(65, 80, 5), 0.5)
    assert await value(pool) == 20
    assert (await found(pool, ramp)).note.startswith("clearly worse: database.round_trip<0.1 is 0.5")
    await looks(pool, range(80, 145, 5))
    assert await value(pool) == 50


async def test_however_many_look_at_once_a_step_is_taken_once(pool, turner):
    await turned(pool)
    ramp = await started(turner)
    await measured(pool, NOON, TRIP, level(0.01), ago=1)
    await asyncio.gather(*(driver.drive(pool, SETTINGS, NOON) for _ in range(8)))
    assert await value(pool) == 20
    assert (await told(pool, ramp)).count("ramp step") == 1


async def test_a_ramp_is_rows_and_goes_on_wherever_it_is_looked_at(pool, turner):
    await turned(pool)
    await started(turner)
    await look(pool, 0)
    await looks(pool, range(3600, 3655, 5))  # nobody was there for an hour: the hold begins anew
    assert await value(pool) == 20
    await looks(pool, range(3655, 3670, 5))
    assert await value(pool) == 50


@pytest.mark.parametrize("by_hand", ["set", "clear"])
async def test_a_lever_turned_by_hand_ends_its_ramp_with_the_reason(pool, turner, by_hand):
    await turned(pool)
    ramp = await started(turner)
    await look(pool, 0)
    if by_hand == "set":
        await turner.turn("delivery.concurrency", "", "7", actor="eve", reason="no")
    else:
        await turner.clear("delivery.concurrency", "", actor="eve", reason="no")
    ended = await found(pool, ramp)
    word = "set" if by_hand == "set" else "cleared"
    assert (ended.state, ended.note) == ("stopped", f"eve {word} it by hand")
    assert "ramp stopped" in await told(pool, ramp)
    await looks(pool, range(5, 130, 5))
    assert await value(pool) == (7 if by_hand == "set" else None)


async def test_turning_another_lever_does_not_concern_it(pool, turner):
    await turned(pool)
    ramp = await started(turner)
    await turner.turn("router.concurrency", "", "1", actor="eve", reason="no")
    assert (await found(pool, ramp)).state == "running"


async def test_a_stopped_ramp_leaves_the_lever_where_it_is(pool, turner):
    await turned(pool)
    ramp = await started(turner)
    await look(pool, 0)
    stopped = await turner.stop_ramp(ramp.id, actor="eve", reason="wait")
    assert (stopped.state, stopped.note) == ("stopped", "stopped by eve: wait")
    await looks(pool, range(5, 130, 5))
    assert await value(pool) == 20
    with pytest.raises(RefusedError, match="is stopped already"):
        await turner.stop_ramp(ramp.id, actor="eve", reason="")
    with pytest.raises(UnknownError, match="there is no ramp 99"):
        await turner.stop_ramp(99, actor="eve", reason="")


async def test_a_lever_with_an_end_does_not_jump_back_while_its_ramp_waits(pool, turner):
    await turned(pool, lasts=timedelta(minutes=5))
    await started(turner)
    (one,) = await store.current(pool)
    assert one.expires_at is None


async def test_merchants_are_let_go_on_in_batches_and_paused_again_when_it_gets_worse(pool, turner):
    for number in range(1, 21):
        await turned(pool, "queue.paused", True, Target("merchant", str(number)))
    await turned(pool, "queue.paused", True, Target("lane", "bulk"))
    ramp = await started(turner, "queue.paused", ["merchant:*"])
    assert len(ramp.plan.targets) == 20

    async def paused():
        return sum(one.target.startswith("merchant:") for one in await store.current(pool))

    await look(pool, 0)
    assert await paused() == 18
    await looks(pool, range(5, 65, 5))
    assert await paused() == 15
    await looks(pool, range(65, 80, 5), 0.5)
    assert await paused() == 18
    assert await value(pool, "queue.paused", "lane:bulk") is True


async def test_a_lane_comes_back_until_it_has_no_limit_of_its_own(pool, turner):
    bulk = Target.read("lane:bulk")
    await turned(pool, value=20, target=bulk)
    ramp = await started(turner, targets=["lane:bulk"], steps=(50, 100))
    assert (ramp.plan.origin, ramp.plan.goal, ramp.plan.clears) == (20, 200, True)
    await looks(pool, (0,))
    assert await value(pool, target="lane:bulk") == 110
    await looks(pool, range(5, 130, 5))
    assert await value(pool, target="lane:bulk") is None
    assert (await found(pool, ramp)).state == "done"


async def test_a_ramp_to_a_value_stays_there(pool, turner):
    await turned(pool, value=10)
    await started(turner, to="12", steps=[50, 100], guards=[], hold=5)
    await looks(pool, range(0, 30, 5))
    assert await value(pool) == 12


@pytest.mark.parametrize(
    ("name", "targets", "more", "said"),
    [
        ("router.concurrency", (), {}, "is at its default: there is nothing to bring back"),
        ("warp.speed", (), {}, "there is no lever"),
        ("delivery.concurrency", ["lane:bulk"], {}, "is at its default"),
        ("retry.backoff", ["lane:bulk"], {}, "takes no target"),
        ("delivery.concurrency", ["merchant:*"], {}, "has one value a target"),
        ("delivery.concurrency", (), {"to": "9999"}, "a number from 0 to 4096"),
        ("delivery.concurrency", (), {"to": "0"}, "is 0 already"),
        ("delivery.concurrency", (), {"guards": ["luck>1"]}, "there is no reading 'luck'"),
        ("delivery.concurrency", (), {"steps": [50]}, "end there"),
        ("queue.paused", ["merchant:*"], {}, "on for nothing of that kind"),
        ("queue.paused", ["planet:*"], {}, "no target of queue.paused"),
        ("queue.paused", (), {}, "takes lane:"),
        ("delivery.concurrency", (), {"actor": ""}, "say who"),
    ],
)
async def test_a_ramp_that_cannot_be_is_refused_with_the_reason(pool, turner, name, targets, more, said):
    await turned(pool)
    with pytest.raises(LeverError, match=said):
        await started(turner, name, targets, **more)


async def test_a_lever_has_one_ramp_at_a_time(pool, turner):
    await turned(pool)
    ramp = await started(turner)
    with pytest.raises(RefusedError, match=f"ramp {ramp.id} is bringing it back already"):
        await started(turner)
    results = await asyncio.gather(*(started(turner) for _ in range(4)), return_exceptions=True)
    assert all(isinstance(one, RefusedError) for one in results)


async def test_a_step_that_the_server_cannot_bear_waits(pool, turner, monkeypatch):
    await turned(pool, "database.pool", 1, Target("pool", "worker/general"))
    ramp = await started(turner, "database.pool", ["pool:worker/general"])
    lever = "database.pool"

    async def too_many(*_):
        raise RefusedError(f"{lever}: too many connections")

    monkeypatch.setattr(driver, "refuse_too_many", too_many)
    await looks(pool, (0, 5))
    waiting = await found(pool, ramp)
    assert (waiting.position, waiting.note) == (0, "cannot go on: database.pool: too many connections")
    assert await told(pool, ramp) == ["ramp started", "ramp held"]
    monkeypatch.undo()
    await look(pool, 10)
    assert (await found(pool, ramp)).position == 1


async def test_a_ramp_of_a_newer_version_is_left_to_it(pool, turner):
    await turned(pool)
    ramp = await started(turner)
    await pool.execute("UPDATE ramp SET guards = '{moon.phase<1}' WHERE id = $1", ramp.id)
    await look(pool, 0)
    assert await value(pool) == 0
