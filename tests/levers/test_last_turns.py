"""How levers were turned last for an incident, however often they were."""

from datetime import timedelta

from holdfast.incidents import store as incidents
from holdfast.levers import store
from holdfast.levers.actions import last_turns
from holdfast.levers.history_store import remember
from holdfast.levers.model import AVOID, VOICEMAIL_ONLY, Change, Target
from tests.levers.incidents import opened, run
from tests.voice.calls import NOW

MINUTE = timedelta(minutes=1)
DESK, MOBILE = Target("target", "+14155550111"), Target("target", "+14155550112")


async def changed(pool, target, at, *, incident=None, what="set", name=AVOID.name):
    change = Change(at, what, name, str(target), 100, 0, "holdfast", "", None, incident)
    async with pool.acquire() as connection, connection.transaction():
        await remember(connection, change)


async def found(here, *levers):
    return {(one.name, one.target): one.at for one in await last_turns(here, *levers)}


async def test_the_last_of_many_turns_is_found_for_each_target(pool):
    here = run(pool, await opened(pool, NOW), NOW + 60 * MINUTE)
    for second in range(550):
        await changed(pool, DESK, NOW + timedelta(seconds=second), incident=here.incident.id)
    await changed(pool, MOBILE, NOW + timedelta(seconds=3), incident=here.incident.id)
    assert await found(here, AVOID) == {
        (AVOID.name, str(DESK)): NOW + timedelta(seconds=549),
        (AVOID.name, str(MOBILE)): NOW + timedelta(seconds=3),
    }


async def test_turns_of_merged_incidents_and_those_for_none_in_its_time_count_others_do_not(pool):
    first, second, other = [await opened(pool, NOW, scope) for scope in ("one", "two", "three")]
    here = run(pool, second, NOW + 60 * MINUTE)
    await changed(pool, DESK, NOW + MINUTE, incident=first.id)
    await changed(pool, MOBILE, NOW + MINUTE)
    assert (AVOID.name, str(DESK)) not in await found(here, AVOID)
    await incidents.merge(pool, first.id, second.id)
    await changed(pool, DESK, NOW + 9 * MINUTE, incident=other.id)
    await changed(pool, DESK, NOW - MINUTE)
    await changed(pool, DESK, NOW + 9 * MINUTE, incident=first.id, name=VOICEMAIL_ONLY.name)
    assert await found(here, AVOID) == dict.fromkeys(((AVOID.name, str(DESK)), (AVOID.name, str(MOBILE))), NOW + MINUTE)
    assert len(await found(here, AVOID, VOICEMAIL_ONLY)) == 3


async def test_what_a_ramp_waits_for_is_no_turn(pool):
    here = run(pool, await opened(pool, NOW), NOW + 60 * MINUTE)
    await changed(pool, DESK, NOW + MINUTE, incident=here.incident.id)
    await changed(pool, DESK, NOW + 2 * MINUTE, incident=here.incident.id, what="ramp held")
    assert await found(here, AVOID) == {(AVOID.name, str(DESK)): NOW + MINUTE}


async def test_the_turns_of_an_incident_are_found_by_an_index(pool):
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await connection.fetch("EXPLAIN SELECT * FROM lever_history WHERE incident_id = 1 ORDER BY at")
    assert any("lever_history_of_incident" in row[0] for row in plan)
    assert await store.last_turns(pool, [], NOW, NOW, []) == []
