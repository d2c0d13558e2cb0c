"""Who came the same way as somebody who complained: found, held back, and let go again, exactly those."""

from datetime import timedelta

import pytest

from holdfast.complaints import cohort, view_store
from holdfast.consent import store as consent
from holdfast.consent import suppressing
from holdfast.consent.model import Block
from holdfast.incidents import store as incidents
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from tests.complaints.people import MINUTE, complain, incident
from tests.consent.test_lineage import batch, customer
from tests.messaging.texts import ANN, BOB, NOON, ask, grant, stop, town

DAY = timedelta(days=1)
OTHERS = [f"+1415555{number:04}" for number in range(200, 230)]


async def imported(pool, merchant, *phones, number=None):
    """People of one file."""
    number = number or await batch(pool, merchant)
    for row, phone in enumerate(phones, 1):
        await grant(pool, merchant, phone, source="import", batch_id=number, batch_row=row)
    return number


async def blocked(pool):
    rows = await pool.fetch(
        "SELECT phone FROM suppression JOIN customer ON customer.id = customer_id "
        "WHERE reason = 'cohort' AND lifted_at IS NULL"
    )
    return {row[0] for row in rows}


async def test_the_ways_of_a_complaint_are_those_to_the_merchant_it_names(pool):
    place = await town(pool)
    number = await imported(pool, place.bakery, ANN, *OTHERS[:3])
    await grant(pool, place.garage, ANN, origin="spring form")
    for merchant in (place.bakery, place.garage):
        await ask(pool, merchant, ANN)
    filed = await complain(pool, merchant="bakery")
    (way,) = await cohort.ways(pool, [filed.complaint])
    assert (way.name, way.cohort.people, way.complaints) == (f"import {number}", 4, (filed.complaint.id,))
    both = await complain(pool)
    assert [way.name for way in await cohort.ways(pool, [both.complaint])] == ["form spring form", f"import {number}"]


async def test_what_a_person_did_themselves_is_no_way_by_which_others_came(pool):
    place = await town(pool)
    for phone in (ANN, BOB, *OTHERS[:5]):
        await grant(pool, place.bakery, phone, origin="START", source="opt-in-message")
        await grant(pool, place.bakery, phone, origin="re-consent link", source="link")
    await grant(pool, place.bakery, ANN, origin="START", source="website")  # a form of that name
    await grant(pool, place.bakery, BOB, origin="START", source="website")
    filed = await complain(pool, merchant="bakery")
    (way,) = await cohort.ways(pool, [filed.complaint])
    assert (way.name, way.cohort.people) == ("form START", 2)


async def test_where_nobody_is_named_and_nobody_texted_them_no_way_is_held_against_anybody(pool):
    place = await town(pool)
    await imported(pool, place.bakery, ANN, *OTHERS[:3])
    filed = await complain(pool)
    assert await cohort.ways(pool, [filed.complaint]) == []


async def test_of_several_complaints_the_way_of_most_comes_first(pool):
    place = await town(pool)
    await grant(pool, place.bakery, BOB, origin="a form")
    number = await imported(pool, place.bakery, ANN, BOB)
    filed = [(await complain(pool, phone, merchant="bakery")).complaint for phone in (ANN, BOB)]
    ways = await cohort.ways(pool, filed)
    assert [(way.name, len(way.complaints)) for way in ways] == [(f"import {number}", 2), ("form a form", 1)]


async def test_everybody_who_came_the_same_way_is_held_back_for_that_merchant_alone(pool, monkeypatch):
    monkeypatch.setattr(cohort, "PAGE", 7)
    place = await town(pool)
    await imported(pool, place.bakery, ANN, *OTHERS)
    await grant(pool, place.garage, OTHERS[0])
    await grant(pool, place.bakery, BOB)
    waiting = await ask(pool, place.bakery, OTHERS[5])
    filed = await complain(pool, merchant="bakery")
    found = await incident(pool)
    (way,) = await cohort.ways(pool, [filed.complaint])
    seen: list[int] = []
    held = await cohort.hold(pool, way.origin, incident_id=found.id, actor="ann", now=NOON, progress=seen.append)
    assert (held.people, held.new, held.cancelled) == (31, 31, 1)
    assert seen == [7, 14, 21, 28, 31]
    assert await blocked(pool) == {ANN, *OTHERS}
    assert await pool.fetchval("SELECT state FROM message WHERE id = $1", waiting.id) == "cancelled"
    assert (await ask(pool, place.bakery, OTHERS[0])).reason == "cohort"
    assert (await ask(pool, place.garage, OTHERS[0])).state == "queued"
    assert (await ask(pool, place.bakery, BOB)).state == "queued"


async def test_broken_off_in_the_middle_it_goes_on_and_blocks_nobody_twice(pool, monkeypatch):
    monkeypatch.setattr(cohort, "PAGE", 10)
    place = await town(pool)
    await imported(pool, place.bakery, ANN, *OTHERS)
    filed = await complain(pool, merchant="bakery")
    found = await incident(pool)
    (way,) = await cohort.ways(pool, [filed.complaint])

    def dies(count):
        if count >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await cohort.hold(pool, way.origin, incident_id=found.id, actor="ann", now=NOON, progress=dies)
    assert len(await blocked(pool)) == 20
    held = await cohort.hold(pool, way.origin, incident_id=found.id, actor="ann", now=NOON + MINUTE)
    assert (held.people, held.new) == (31, 11)
    assert await pool.fetchval("SELECT count(*) FROM suppression WHERE reason = 'cohort'") == 31


async def held(pool, *phones):
    place = await town(pool)
    await imported(pool, place.bakery, *phones)
    filed = await complain(pool, phones[0], merchant="bakery")
    found = await incident(pool)
    (way,) = await cohort.ways(pool, [filed.complaint])
    await cohort.hold(pool, way.origin, incident_id=found.id, actor="ann", now=NOON)
    return place, found


async def test_undone_it_lifts_exactly_what_it_made(pool):
    place, found = await held(pool, ANN, BOB, *OTHERS[:3])
    await stop(pool, place.bakery, BOB)
    elsewhere = await incident(pool, scope="elsewhere")
    await grant(pool, place.bakery, OTHERS[9])
    async with pool.acquire() as db, db.transaction():
        other = Block(
            await customer(pool, OTHERS[9]), place.bakery, "cohort", "incident", "bob", incident_id=elsewhere.id
        )
        await suppressing.suppress(db, [other], NOON)
    released = await cohort.release(pool, found.id, actor="ann", why="they consented", now=NOON + MINUTE)
    assert (released.people, released.elsewhere) == (5, {})
    assert await blocked(pool) == {OTHERS[9]}
    assert (await ask(pool, place.bakery, OTHERS[0], now=NOON + MINUTE)).state == "queued"
    assert (await ask(pool, place.bakery, BOB, now=NOON + MINUTE)).reason == "opt_out"
    assert (await ask(pool, place.bakery, ANN, now=NOON + MINUTE)).reason == "complaint"


async def test_kept_the_blocks_last_beyond_the_incident(pool):
    place, found = await held(pool, ANN, *OTHERS[:3])
    assert await cohort.keep(pool, found.id, actor="ann", why="a list that was bought", now=NOON + MINUTE) == 4
    assert await view_store.held(pool, found.id) == []
    refused = await ask(pool, place.bakery, OTHERS[0], now=NOON + MINUTE)
    assert (refused.rule, refused.reason) == ("suppressed", "operator")
    (block,) = await consent.suppressions_of(pool, await customer(pool, OTHERS[0]), live_only=True)
    assert block.note == f"kept after incident {found.id}: a list that was bought"


async def test_it_runs_out_a_week_later_but_not_while_the_incident_is_open(pool):
    place, found = await held(pool, ANN, *OTHERS[:3])
    assert await cohort.expire(pool, NOON + 8 * DAY) == 0
    await incidents.set_state(pool, found.id, "resolved", NOON + DAY)
    assert await cohort.expire(pool, NOON + 6 * DAY) == 0
    assert await cohort.expire(pool, NOON + 8 * DAY) == 4
    assert (await ask(pool, place.bakery, OTHERS[0], now=NOON + 9 * DAY)).state == "queued"
    entries = await incidents.entries(pool, found.id)
    assert entries[-1].text.startswith("the hold on 4 people ran out")


async def test_of_a_merged_incident_the_other_ones_state_counts(pool):
    _, found = await held(pool, ANN, *OTHERS[:3])
    into = await incident(pool, scope="other")
    await incidents.merge(pool, found.id, into.id)
    assert await cohort.expire(pool, NOON + 8 * DAY) == 0
    await incidents.set_state(pool, into.id, "resolved", NOON + DAY)
    assert await cohort.expire(pool, NOON + 8 * DAY) == 4


async def test_a_way_of_another_merchant_with_the_same_name_is_another_way(pool):
    place = await town(pool)
    cafe = await merchants.insert(pool, NewMerchant("cafe", "Café"))
    await grant(pool, place.bakery, ANN, origin="web")
    await grant(pool, cafe.id, BOB, origin="web")
    filed = await complain(pool, merchant="bakery")
    (way,) = await cohort.ways(pool, [filed.complaint])
    assert way.cohort.people == 1
