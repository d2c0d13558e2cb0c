"""Whose texts people stop: counted as they go out, judged by what is certain of it, and blamed on what is to blame."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import Block
from holdfast.messaging import blocking, standing, standing_store, stopping
from holdfast.messaging.blocking import Said
from holdfast.messaging.signals import TROUBLE, TROUBLE_FACTS
from holdfast.messaging.standing import ConsentSettings, judged, out_of_line
from holdfast.messaging.standing_store import Tally
from tests.consent.test_lineage import batch
from tests.messaging.sent import campaign, person, text
from tests.messaging.texts import ANN, BOB, NOON, ask, grant, stop, town

pytestmark = pytest.mark.usefixtures("any_server")
LIMITS = ConsentSettings()
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
KEYS = {1: "bakery", 2: "garage"}


def tally(sent, stopped, *, merchant_id=1, batch_id=0, origin="", lately=None):
    """`lately`: what of it are texts of the last hours; None: all."""
    lately_sent, lately_stopped = lately if lately is not None else (sent, stopped)
    first = NOON - HOUR if stopped else None
    return Tally(merchant_id, batch_id, origin, sent, stopped, lately_sent, lately_stopped, first)


def told(found):
    return {(one.kind, one.of): one.value for one in found}


# The arithmetic


def test_three_texts_and_a_stop_alarm_nobody():
    assert out_of_line([tally(3, 1)], None, LIMITS) is None


def test_a_bad_campaign_is_out_of_line_for_a_merchant_without_a_past():
    rate = out_of_line([tally(1000, 60)], None, LIMITS)
    assert rate is not None
    assert 0.03 < rate.low < 0.06


def test_an_ordinary_campaign_is_not():
    assert out_of_line([tally(10_000, 110)], None, LIMITS) is None


def test_what_is_ordinary_elsewhere_is_out_of_line_for_who_is_hardly_ever_stopped():
    campaigned = [tally(10_000, 200)]
    assert out_of_line(campaigned, 0.001, LIMITS) is not None
    assert out_of_line(campaigned, 0.015, LIMITS) is None


def test_the_last_hours_say_it_before_the_day_does():
    rate = out_of_line([tally(20_000, 100, lately=(200, 20))], None, LIMITS)
    assert rate is not None
    assert (rate.hours, rate.sent, rate.stopped) == (3, 200, 20)


def test_the_day_says_it_where_the_last_hours_are_too_few():
    rate = out_of_line([tally(1600, 90, lately=(60, 3))], None, LIMITS)
    assert rate is not None
    assert (rate.hours, rate.sent, rate.stopped) == (24, 1600, 90)


@pytest.mark.parametrize("lately", [(0, 0), (20, 1), (200, 2)])
def test_what_is_over_is_no_news_and_an_ordinary_stop_does_not_make_it_one(lately):
    assert out_of_line([tally(1000, 60, lately=lately)], None, LIMITS) is None


def test_a_bad_import_is_told_and_its_merchant_is_not():
    found = judged([tally(500, 40, batch_id=7), tally(3000, 20)], {}, KEYS, LIMITS, NOON)
    assert told(found).keys() == {("stop_rate_batch", "batch:7")}


def test_a_bad_form_is_told_by_its_merchant_and_name():
    found = judged([tally(500, 40, origin="spring raffle"), tally(3000, 20)], {}, KEYS, LIMITS, NOON)
    assert told(found).keys() == {("stop_rate_origin", "form:bakery:spring raffle")}


def test_a_merchant_whose_texts_are_stopped_however_people_came_in_is_told():
    parts = [tally(500, 40, batch_id=7), tally(500, 40), tally(40, 3, batch_id=8)]
    found = judged(parts, {}, KEYS, LIMITS, NOON)
    assert told(found).keys() == {("stop_rate_batch", "batch:7"), ("stop_rate_merchant", "bakery")}


def test_a_batch_that_is_not_certain_yet_is_not_held_against_its_merchant():
    """The day's campaign is over and told; the new import has three stops of forty so far."""
    parts = [tally(800, 60, lately=(20, 0)), tally(40, 3, batch_id=7)]
    assert judged(parts, {}, KEYS, LIMITS, NOON) == []


def test_many_imports_that_are_each_too_few_are_held_against_their_merchant():
    parts = [tally(40, 4, batch_id=number) for number in range(1, 9)]
    assert told(judged(parts, {}, KEYS, LIMITS, NOON)).keys() == {("stop_rate_merchant", "bakery")}


def test_only_the_worst_are_told():
    parts = [tally(500, 30 + n, merchant_id=n) for n in range(1, 40)]
    found = judged(parts, {}, {}, LIMITS, NOON)
    assert len(found) == standing.MOST
    assert found[0].of == "merchant:39"


counts = st.tuples(st.integers(0, 5000), st.integers(0, 5000)).map(lambda pair: (max(pair), min(pair)))


@given(parts=st.lists(counts, max_size=6), usual=st.none() | st.floats(0, 1))
def test_whatever_is_counted_what_is_told_is_certain_and_never_of_few(parts, usual):
    tallies = [tally(sent, stopped, batch_id=n) for n, (sent, stopped) in enumerate(parts)]
    rate = out_of_line(tallies, usual, LIMITS)
    sent, stopped = sum(one[0] for one in parts), sum(one[1] for one in parts)
    if rate is None:
        return
    assert stopped >= LIMITS.stops
    assert sent >= LIMITS.texts
    assert LIMITS.unusual <= standing.limit_of(usual, LIMITS) < rate.low <= stopped / sent
    if stopped < sent:
        assert out_of_line([*tallies, tally(0, 1)], usual, LIMITS) is not None, "one more makes it no better"


@given(counts, st.integers(1, 50))
def test_more_texts_of_the_same_rate_only_make_it_more_certain(given_counts, times):
    sent, stopped = given_counts
    if out_of_line([tally(sent, stopped)], None, LIMITS) is not None:
        assert out_of_line([tally(times * sent, times * stopped)], None, LIMITS) is not None


# The store


async def looked(pool, now=NOON):
    return told(await standing.look(pool, now, LIMITS))


async def test_texts_and_stops_are_counted_by_merchant_and_the_import_that_consents_came_from(pool):
    found = await town(pool)
    await campaign(pool, found.bakery, range(3), NOON - 10 * MINUTE, batch_id=7, batch_row=1)
    await campaign(pool, found.bakery, range(3, 5), NOON - 20 * MINUTE, origin="counter")
    await campaign(pool, found.garage, range(5, 7), NOON - 10 * MINUTE)
    await stop(pool, found.bakery, person(0), NOON - 5 * MINUTE)
    await stop(pool, found.bakery, person(3), NOON - 5 * MINUTE, reason="doubtful")
    await stop(pool, found.bakery, person(4), NOON - 5 * MINUTE, reason="landline")
    await standing.count(pool, NOON)
    rows = await pool.fetch("SELECT merchant_id, batch_id, origin, sent, stopped FROM text_tally ORDER BY 1, 2")
    assert [tuple(row) for row in rows] == [
        (found.bakery, 0, "counter", 2, 1),
        (found.bakery, 7, "", 3, 1),
        (found.garage, 0, "", 2, 0),
    ]


async def test_a_person_counts_once_however_often_they_stop_and_start(pool):
    merchant = (await town(pool)).bakery
    await campaign(pool, merchant, range(2), NOON - HOUR)
    for minute in range(3):
        made = await stop(pool, merchant, person(0), NOON - (30 - minute) * MINUTE)
        await pool.execute(
            "UPDATE suppression SET lifted_at = $2, lifted_by = 'person', lifted_why = 'START' WHERE id = $1",
            made.suppression_id,
            NOON - (29 - minute) * MINUTE,
        )
    await stop(pool, 0, person(0), NOON - MINUTE, reason="complaint")
    await standing.count(pool, NOON)
    assert await pool.fetchval("SELECT sum(stopped) FROM text_tally") == 1


async def test_who_was_not_texted_for_a_day_counts_for_nobody(pool):
    merchant = (await town(pool)).bakery
    await campaign(pool, merchant, range(1), NOON - 26 * HOUR)
    await stop(pool, merchant, person(0))
    await standing.count(pool, NOON)
    assert await pool.fetchval("SELECT coalesce(sum(stopped), 0) FROM text_tally") == 0


async def test_a_campaign_that_many_stop_is_found_and_one_that_few_stop_is_not(pool):
    found = await town(pool)
    await campaign(pool, found.bakery, range(60), NOON - 30 * MINUTE, batch_id=7, batch_row=1)
    await campaign(pool, found.garage, range(60, 160), NOON - 30 * MINUTE)
    for number in (*range(9), 60, 61):
        await stop(pool, found.bakery if number < 60 else found.garage, person(number), NOON - 10 * MINUTE)
    said = await looked(pool)
    assert said.keys() == {("stop_rate_batch", "batch:7")}
    assert said["stop_rate_batch", "batch:7"] == pytest.approx(0.0665, abs=0.01)
    await standing.measure(pool, NOON, LIMITS)
    assert TROUBLE.values.keys() == {("stop_rate_batch", "batch:7")}
    facts = {labels[2]: value for labels, value in TROUBLE_FACTS.values.items()}
    assert (facts["sent"], facts["stopped"], facts["seconds"]) == (60, 9, 600)
    standing.forget()
    assert not TROUBLE.values
    assert await looked(pool, NOON + 4 * HOUR) == {}, "it is known by then"


async def test_old_stops_that_are_entered_at_once_are_held_against_no_text_of_today(pool):
    found = await town(pool)
    await campaign(pool, found.bakery, range(60), NOON - 30 * MINUTE, origin="web")
    said = [
        Said(person(n), found.bakery, "revoke", "all", "offline", NOON - age, channel="all")
        for n, age in [*((n, 400 * DAY) for n in range(15)), (20, 10 * MINUTE)]
    ]
    await blocking.record(pool, said, PhoneKey(b"key"), actor="sync", now=NOON)
    assert await looked(pool) == {}
    assert await pool.fetchval("SELECT sum(stopped) FROM text_tally") == 1, "one stopped after the text"


async def block(pool, merchant, phone, reason="cohort"):
    number = await pool.fetchval("SELECT id FROM customer WHERE phone = $1", phone)
    async with pool.acquire() as db, db.transaction():
        await stopping.block(db, [Block(number, merchant, reason, "incident", "ann")], NOON)


@pytest.mark.parametrize("consent", [{"batch_id": 7, "batch_row": 1}, {"origin": "web"}])
async def test_a_rate_of_people_who_are_all_held_back_is_no_news(pool, consent):
    found = await town(pool)
    await campaign(pool, found.bakery, range(60), NOON - 30 * MINUTE, **consent)
    for number in range(9):
        await stop(pool, found.bakery, person(number), NOON - 10 * MINUTE)
    for number in range(9, 59):
        await block(pool, found.bakery, person(number))
    assert len(await looked(pool)) == 1, "one of them can be texted yet"
    await block(pool, found.garage, person(59))
    assert len(await looked(pool)) == 1
    await block(pool, found.bakery, person(59))
    assert await looked(pool) == {}


async def test_a_rate_of_an_import_that_was_undone_is_no_news(pool):
    found = await town(pool)
    number = await batch(pool, found.bakery)
    await campaign(pool, found.bakery, range(60), NOON - 30 * MINUTE, batch_id=number, batch_row=1)
    for each in range(9):
        await stop(pool, found.bakery, person(each), NOON - 10 * MINUTE)
    assert (await looked(pool)).keys() == {("stop_rate_batch", f"batch:{number}")}
    await pool.execute("UPDATE import_batch SET state = 'undone'")
    assert await looked(pool) == {}


async def test_what_people_texted_themselves_is_no_form(pool):
    found = await town(pool)
    await campaign(pool, found.bakery, range(60), NOON - 30 * MINUTE, origin="START", source="opt-in-message")
    for number in range(9):
        await stop(pool, found.bakery, person(number), NOON - 10 * MINUTE)
    assert (await looked(pool)).keys() == {("stop_rate_merchant", "bakery")}


async def test_counting_again_and_later_changes_nothing(pool):
    merchant = (await town(pool)).bakery
    await campaign(pool, merchant, range(4), NOON - 40 * MINUTE)
    await stop(pool, merchant, person(0), NOON - 30 * MINUTE)
    await standing.count(pool, NOON)
    before = await pool.fetch("SELECT * FROM text_tally")
    for later in (0, 10, 40, 200):
        await standing.count(pool, NOON + later * MINUTE)
        assert await pool.fetch("SELECT * FROM text_tally") == before


async def test_after_a_pause_what_was_missed_is_counted(pool):
    merchant = (await town(pool)).bakery
    await campaign(pool, merchant, range(1), NOON - 5 * HOUR)
    await standing.count(pool, NOON - 5 * HOUR)
    await campaign(pool, merchant, range(1, 4), NOON - 3 * HOUR)
    await standing.count(pool, NOON)
    assert await pool.fetchval("SELECT sum(sent) FROM text_tally") == 4


async def test_a_text_that_failed_after_all_is_not_counted_any_more(pool):
    merchant = (await town(pool)).bakery
    await campaign(pool, merchant, range(1), NOON)
    await standing.count(pool, NOON)
    await pool.execute("UPDATE message SET state = 'failed'")
    await standing.count(pool, NOON + MINUTE)
    assert await pool.fetchval("SELECT sum(sent) FROM text_tally") == 0


async def test_quarters_become_days_and_the_usual_rate_is_that_of_the_month(pool):
    merchant = (await town(pool)).bakery
    for days in (40, 20, 3):
        for number in (days, days + 1):
            await grant(pool, merchant, person(number), NOON - 50 * DAY)
            await text(pool, merchant, person(number), NOON - days * DAY)
        await stop(pool, merchant, person(days), NOON - days * DAY + HOUR)
        await standing.count(pool, NOON - days * DAY + HOUR)
    await standing.count(pool, NOON)
    rows = await pool.fetch("SELECT at, is_day, sent, stopped FROM text_tally ORDER BY at")
    midnight = datetime(2026, 5, 4, tzinfo=UTC)
    assert [tuple(row) for row in rows] == [(midnight - 20 * DAY, True, 2, 1), (midnight - 3 * DAY, True, 2, 1)]
    assert await standing_store.usual(pool, [merchant], NOON - DAY) == {merchant: (4, 2)}


async def test_a_merchant_that_keeps_texting_who_stopped_is_told_but_not_for_the_first_minutes(pool):
    found = await town(pool)
    for phone in (ANN, BOB):
        for merchant in (found.bakery, found.garage):
            await grant(pool, merchant, phone)
    await stop(pool, found.bakery, ANN, NOON - 5 * HOUR)
    await stop(pool, found.garage, ANN, NOON - MINUTE)
    for _ in range(20):
        for merchant in (found.bakery, found.garage):
            assert (await ask(pool, merchant, ANN, NOON)).rule == "suppressed"
    assert await looked(pool) == {("suppressed_tries", "bakery"): 20}


async def receive(pool, merchant_id, phone, verdict, at, number, person_id=None):
    if person_id is None:
        person_id = await pool.fetchval("SELECT id FROM customer WHERE phone = $1", phone)
    await pool.execute(
        "INSERT INTO inbound_text (sid, merchant_id, customer_id, phone, received_at, verdict, score) "
        "VALUES ($1, $2, $3, '+14155550100', $4, $5, 1)",
        f"SMin{number}",
        merchant_id,
        person_id,
        at,
        verdict,
    )


async def test_two_machines_that_answer_each_other_are_told(pool):
    merchant = (await town(pool)).bakery
    for phone in (ANN, BOB):
        await grant(pool, merchant, phone)
    for number in range(12):
        await receive(pool, merchant, ANN, ("help", "stop")[number % 2], NOON - number * MINUTE, number)
        await receive(pool, merchant, BOB, "other", NOON - number * MINUTE, 100 + number)
    assert await looked(pool) == {("keyword_loop", "bakery"): 12}


async def test_short_codes_which_are_nobody_are_no_loop(pool):
    merchant = (await town(pool)).bakery
    for number in range(12):
        await receive(pool, merchant, ANN, "help", NOON - number * MINUTE, number, person_id=0)
    assert await looked(pool) == {}


async def complain(pool, merchant_id, phone, at, *, answered=False):
    person_id = await pool.fetchval("SELECT id FROM customer WHERE phone = $1", phone)
    await pool.execute(
        "INSERT INTO complaint (customer_id, merchant_id, source, received_at, recorded_at, due_at, filed_by, "
        "answered_at) VALUES ($1, $2, 'api', $3, $3, $4, 'ann', $5)",
        person_id,
        merchant_id,
        at,
        at + HOUR,
        at + MINUTE if answered else None,
    )


async def test_complaints_that_are_alike_are_told_by_merchant_and_by_import(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN, batch_id=7, batch_row=1)
    await grant(pool, found.bakery, BOB, batch_id=7, batch_row=2)
    await complain(pool, found.bakery, ANN, NOON - 5 * DAY, answered=True)
    assert await looked(pool) == {}, "one is no pattern"
    await complain(pool, 0, BOB, NOON - MINUTE)
    assert await looked(pool) == {("similar_complaints", "batch:7"): 2}
    await complain(pool, found.bakery, ANN, NOON - MINUTE)
    assert ("similar_complaints", "bakery") not in await looked(pool), "one person twice is no pattern"
    await complain(pool, found.bakery, BOB, NOON - MINUTE)
    assert (await looked(pool))["similar_complaints", "bakery"] == 2
    await pool.execute("UPDATE complaint SET answered_at = $1", NOON)
    assert await looked(pool) == {}, "all are answered"


@pytest.mark.parametrize("seed", range(3))
async def test_the_tally_is_what_one_would_count_by_hand(pool, seed):
    """Texts and stops at random times, counted after each few of them."""
    dice, found = random.Random(seed), await town(pool)
    merchants = (found.bakery, found.garage)
    went: dict[tuple[int, int], list[datetime]] = {}
    stops: dict[tuple[int, int], datetime] = {}
    for number in range(6):
        for merchant in merchants:
            await grant(pool, merchant, person(number))
    for at in sorted(NOON - timedelta(minutes=dice.randrange(23 * 60)) for _ in range(30)):
        key = (dice.choice(merchants), dice.randrange(6))
        if key in stops:
            continue
        if dice.random() < 0.7:
            await text(pool, key[0], person(key[1]), at)
            went.setdefault(key, []).append(at)
        else:
            await stop(pool, key[0], person(key[1]), at)
            stops[key] = at
        if dice.random() < 0.3:
            await standing.count(pool, at)
    await standing.count(pool, NOON)
    by_hand: dict[tuple[int, datetime], list[int]] = {}
    for key, times in went.items():
        for at in times:
            by_hand.setdefault((key[0], standing.begun(at)), [0, 0])[0] += 1
        if key in stops:
            by_hand[key[0], standing.begun(times[-1])][1] += 1
    rows = await pool.fetch("SELECT merchant_id, at, sent, stopped FROM text_tally")
    assert {(row[0], row[1]): [row[2], row[3]] for row in rows} == by_hand


async def test_sending_is_told_with_what_failed_and_what_waits_for_review(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    ids = [await text(pool, merchant, ANN, NOON) for _ in range(3)]
    await pool.execute("UPDATE message SET state = 'failed', error_code = 30001 WHERE id = $1", ids[0])
    await pool.execute("UPDATE message SET state = 'failed', error_code = 21610 WHERE id = $1", ids[1])
    await receive(pool, merchant, ANN, "doubtful", NOON - HOUR, 1)
    found = await standing_store.going(pool, NOON - MINUTE)
    assert (found.tried, found.failed, found.to_review, found.oldest_review_at) == (3, 1, 1, NOON - HOUR)
