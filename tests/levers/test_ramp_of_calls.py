"""A lever of calls on its way back: what is still dead is seen, however small it is among all calls."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.config import Settings
from holdfast.levers import driver, ramp_store, store
from holdfast.levers.model import Target
from holdfast.levers.turning import Turner
from holdfast.merchants.names import Names
from holdfast.signals import readings
from holdfast.voice.returning import failing
from tests.signals.measured import WEB, WORKER, alive, counts, level, measured
from tests.voice import calls as kept

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SETTINGS = Settings(_env_file=None)
DESK = "sip:desk@example.com"
SIP = f"target:{DESK}"
ILL = f"calls.ill.{SIP}"


async def looks(pool, seconds, *, ill=(), watched=True, of_line=None):
    """A look every five seconds while a thousand other calls go well; `ill`: what is said to be."""
    for when in seconds:
        now = NOON + timedelta(seconds=when)
        await alive(pool, now, "web", source=WEB)
        if watched:
            await alive(pool, now, "watch")
        await measured(pool, now, "event_loop_lag_recent_seconds", level(0.01, "web"))
        await measured(pool, now, "call_legs", counts(US__answered=1000, US__failed=1))
        for one in ill:
            await measured(pool, now, "voice_ill", level(0.4, *one.split(":", 1)), source=WORKER)
        await driver.drive(pool, SETTINGS, now, of_line=of_line)


async def percent(pool, target=SIP):
    return {one.target: one.value for one in await store.current(pool, NOON)}.get(target, 0)


@pytest.fixture
async def ramp(pool):
    await store.turn(
        pool, "voice.avoid", Target.read(SIP), 100, actor="ana", reason="desk is down", lasts=None, now=NOON
    )
    turner = Turner(pool, SETTINGS, Names(pool))
    return await turner.start_ramp("voice.avoid", [SIP], actor="ben", reason="it is up", now=NOON)


async def test_a_dead_target_among_a_thousand_good_calls_holds_the_ramp_and_steps_it_back(pool, ramp):
    await looks(pool, range(0, 70, 5))
    assert await percent(pool) == 75
    await looks(pool, range(70, 90, 5), ill=[SIP])
    assert await percent(pool) == 90
    await looks(pool, range(90, 400, 5), ill=[SIP])
    assert await percent(pool) == 100
    found = await ramp_store.ramp(pool, ramp.id)
    assert found is not None
    assert (found.state, ILL in found.note) == ("running", True)


async def test_without_calls_at_night_it_comes_to_its_end(pool, ramp):
    for when in range(0, 300, 5):
        now = NOON + timedelta(seconds=when)
        await alive(pool, now, "web", source=WEB)
        await alive(pool, now, "watch")
        await measured(pool, now, "event_loop_lag_recent_seconds", level(0.01, "web"))
        await driver.drive(pool, SETTINGS, now)
    found = await ramp_store.ramp(pool, ramp.id)
    assert found is not None
    assert (found.state, await percent(pool)) == ("done", 0)


async def test_only_what_failed_since_the_last_step_speaks_against_it(pool, ramp):
    """Calls go round it: what failed before is all that anybody knows of it, and old."""
    await kept.legs(pool, DESK, "F" * 40, region="office", at=NOON - timedelta(minutes=3))
    await looks(pool, range(0, 70, 5), ill=[SIP], of_line=failing)
    assert await percent(pool) == 75
    await kept.legs(pool, DESK, "F" * 5, region="office", at=NOON + timedelta(seconds=62))
    await kept.legs(pool, "sip:other@example.com", "A" * 90, region="office", at=NOON + timedelta(seconds=62))
    await looks(pool, range(70, 90, 5), of_line=failing)
    assert await percent(pool) == 90


async def test_what_still_rings_it_and_fails_keeps_it_from_beginning(pool, ramp):
    await kept.legs(pool, DESK, "F" * 5, region="office", at=NOON - timedelta(seconds=20))
    await looks(pool, range(0, 30, 5), of_line=failing)
    assert await percent(pool) == 100
    await looks(pool, range(30, 60, 5), of_line=failing)
    assert await percent(pool) == 90


@pytest.mark.parametrize("line", [SIP, "region:office", f"number:{kept.PHONE}"])
async def test_a_line_is_judged_by_its_own_calls(pool, line):
    await kept.legs(pool, DESK, "FFFF", region="office", at=NOON)
    await kept.legs(pool, "sip:other@example.com", "A" * 50, region="shop", phone=kept.OTHER, at=NOON)
    async with pool.acquire() as connection:
        before, after = NOON - timedelta(seconds=1), NOON + timedelta(minutes=1)
        assert await failing(connection, Target.read(line), before, after) > 0.35
        assert await failing(connection, Target.read(line), after, after) == 0
        assert await failing(connection, Target.read("region:shop"), before, after) == 0


async def test_that_others_are_ill_does_not_hold_it(pool, ramp):
    await looks(pool, range(0, 70, 5), ill=["region:GB"])
    assert await percent(pool) == 75


async def test_while_nobody_watches_or_too_many_are_ill_to_be_named_it_is_not_known(pool, ramp):
    await looks(pool, [0], watched=False)
    assert await percent(pool) == 100
    assert (await readings.take(pool, [readings.reading(ILL)], NOON))[ILL] is None
    await alive(pool, NOON, "watch")
    assert (await readings.take(pool, [readings.reading(ILL)], NOON))[ILL] == 0
    many = {f"target:sip:{n}@example.com": 0.5 for n in range(50)}
    named = {"\x1f".join(one.split(":", 1)): value for one, value in many.items()}
    await measured(pool, NOON, "voice_ill", type(level(1))(named))
    assert (await readings.take(pool, [readings.reading(ILL)], NOON))[ILL] is None
