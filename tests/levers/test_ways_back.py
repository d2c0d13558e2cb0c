"""Ways back of calls that failed: tried again later, then left to a person, whose word is not passed over."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.levers import ramp_store, store
from holdfast.levers.actions import bring_back, turn
from holdfast.levers.model import AVOID, Target
from holdfast.levers.turning import Turner
from holdfast.merchants.names import Names
from tests.levers.incidents import SETTINGS, opened, run

MINUTE = timedelta(minutes=1)
DESK = Target("target", "+14155550111")


@pytest.fixture
def turner(pool):
    return Turner(pool, SETTINGS, Names(pool))


@pytest.fixture
async def here(pool):
    """Calls go round a desk."""
    now = datetime.now(UTC)
    made = run(pool, await opened(pool, now), now)
    await turn(made, AVOID, DESK, 100, 4 * timedelta(hours=1))
    return made


async def back(here, after=timedelta()):
    return (await bring_back.run(replace(here, now=datetime.now(UTC) + after))).said


async def fails(here):
    """Calls go round it again in mid-ramp."""
    await turn(here, AVOID, DESK, 100, 4 * timedelta(hours=1))


async def ramps(pool):
    return await ramp_store.ramps(pool, None, 10)


async def test_after_each_way_back_that_failed_the_next_waits_longer_and_after_three_a_person_decides(pool, here):
    waited = timedelta()
    for number, wait in ((1, 10), (2, 20)):
        assert "brings voice.avoid" in await back(here, waited)
        await fails(here)
        waited = wait * MINUTE
        assert f"stays 100, {number} of 3 ways back failed: the next begins at" in await back(here, waited - MINUTE)
    assert "brings voice.avoid" in await back(here, waited)
    await fails(here)
    said = f"voice.avoid {DESK}: stays 100, 3 ways back have failed: keep, clear or start a ramp by hand"
    assert await back(here, 1000 * MINUTE) == said
    assert len(await ramps(pool)) == 3


async def test_a_ramp_that_came_to_its_end_failed_if_the_line_was_gone_round_again(pool, here):
    await back(here)
    await pool.execute("UPDATE ramp SET state = 'done', ended_at = now()")
    await fails(here)
    assert "1 of 3 ways back failed" in await back(here)


async def test_a_ramp_that_stepped_back_to_where_it_began_has_failed_and_is_over(pool, here):
    await back(here)
    await pool.execute("UPDATE ramp SET moved = 'back', position = 1")
    assert "10 % of the way back" in await back(here)
    await pool.execute("UPDATE ramp SET position = 0, note = 'clearly worse: calls.ill.target:+14155550111<0.2 is 0.4'")
    assert "1 of 3 ways back failed" in await back(here)
    (ramp,) = await ramps(pool)
    assert (ramp.state, ramp.stopped_by, "it came back to where it began" in ramp.note) == ("stopped", None, True)


async def test_who_starts_one_by_hand_begins_the_count_anew(pool, here, turner):
    for _ in range(3):
        await back(here, 1000 * MINUTE)
        await fails(here)
    await turner.start_ramp(AVOID.name, [str(DESK)], actor="eve", reason="it was repaired")
    assert "0 % of the way back" in await back(here)
    await fails(here)
    assert "1 of 3 ways back failed" in await back(here)


async def test_what_a_person_stopped_stays_stopped_when_calls_are_led_round_it_again(pool, here, turner):
    await back(here)
    (ramp,) = await ramps(pool)
    await turner.stop_ramp(ramp.id, actor="eve", reason="too early")
    said = f"voice.avoid {DESK}: ramp {ramp.id} was stopped by eve: start one, or clear the lever"
    assert await back(here) == said
    await fails(here)
    assert await back(here, 1000 * MINUTE) == said
    await store.clear(pool, AVOID.name, DESK, actor="eve", reason="it was repaired")
    await fails(here)
    assert "brings voice.avoid" in await back(here)


async def test_what_a_person_approves_after_a_stop_is_theirs_to_be_brought_back(pool, here, turner):
    await back(here)
    (ramp,) = await ramps(pool)
    await turner.stop_ramp(ramp.id, actor="eve", reason="too early")
    await fails(replace(here, actor="ben"))
    assert "brings voice.avoid" in await back(here)
