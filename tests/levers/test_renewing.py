"""What steps have turned does not run out in mid-incident, and says until when it stands."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.incidents import store as incidents
from holdfast.levers import store
from holdfast.levers.actions import levers_off, renew, turn
from holdfast.levers.model import AVOID, EVERYTHING, VOICEMAIL_ONLY, Target
from holdfast.levers.turning import Turner
from holdfast.merchants.names import Names
from holdfast.runbooks.actions import Done, Failed, NotApplicable
from tests.levers.incidents import SETTINGS, opened, run, told

HOUR = timedelta(hours=1)
DESK = Target("target", "+14155550111")


@pytest.fixture
async def here(pool):
    now = datetime.now(UTC)
    made = run(pool, await opened(pool, now), now)
    await turn(made, AVOID, DESK, 100, 4 * HOUR)
    await turn(made, VOICEMAIL_ONLY, EVERYTHING, 100, 4 * HOUR)
    return made


async def off(pool, at):
    return {one.name for one in await store.current(pool, at)}


async def test_what_steps_turned_stands_as_long_as_the_incident_is_open(pool, here):
    both = {AVOID.name, VOICEMAIL_ONLY.name}
    for tenth_minutes in range(60):
        later = replace(here, now=here.now + tenth_minutes * timedelta(minutes=10))
        await renew.run(later)
        await store.expire(pool, later.now)
        assert await off(pool, later.now) == both
    assert await off(pool, here.now + 20 * HOUR) == set(), "nobody is at work any more"


async def test_only_what_runs_out_soon_is_renewed_and_it_is_told_with_its_new_end(pool, here):
    assert isinstance(await renew.run(here), NotApplicable)
    later = replace(here, now=here.now + 3.5 * HOUR)
    outcome = await renew.run(later, only="voice.avoid")
    until = later.now + 4 * HOUR
    assert (type(outcome), outcome.said) == (Done, f"voice.avoid {DESK} stays so until {until:%H:%M} UTC")
    assert any(
        f"voice.avoid {DESK} stays 100 until {until:%Y-%m-%d %H:%M:%S} UTC" in text
        for _, text in await told(pool, here.incident)
    )
    assert until in [one.expires_at for one in await levers_off(pool, here.incident.id)]
    assert isinstance(await renew.run(later, only="voice.avoid"), NotApplicable)
    assert isinstance(await renew.run(later, only="voice.none"), Failed)


async def test_what_a_person_turned_for_a_time_ends_as_they_said(pool, here):
    turner = Turner(pool, SETTINGS, Names(pool))
    await turner.turn(AVOID.name, str(DESK), "50", actor="eve", reason="until noon", lasts=HOUR)
    assert isinstance(await renew.run(here), NotApplicable)


async def test_what_is_on_its_way_back_is_left_alone_and_what_merged_incidents_turned_is_not(pool, here):
    second = await opened(pool, here.now, "other")
    await incidents.merge(pool, here.incident.id, second.id)
    await Turner(pool, SETTINGS, Names(pool)).start_ramp(AVOID.name, [str(DESK)], actor="holdfast", reason="")
    outcome = await renew.run(run(pool, second, here.now + 3.5 * HOUR))
    assert outcome.evidence["renewed"] == [VOICEMAIL_ONLY.name]


async def test_being_renewed_is_no_turn(pool, here):
    from holdfast.levers.actions import last_turns

    before = await last_turns(here, AVOID)
    later = replace(here, now=here.now + 3.5 * HOUR)
    assert isinstance(await renew.run(later), Done)
    assert await last_turns(later, AVOID) == before
