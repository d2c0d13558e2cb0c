"""Filing a complaint: one commit that silences every merchant, once however often it comes."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.complaints import from_texts, news, service, signals, store
from holdfast.complaints.model import ComplaintError, RefusedError, UnknownError
from holdfast.consent import customers, ledger
from holdfast.consent import store as consent
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import KeyMissingError
from holdfast.inbox import store as inbox
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY, NewDestination
from holdfast.messaging import detectors, gate, optout
from tests.complaints.people import MINUTE, SETTINGS, complain
from tests.messaging.texts import ANN, BAKERY, BOB, KEY, NOON, ask, grant, town


async def states(pool, *decisions):
    rows = await pool.fetch("SELECT id, state FROM message")
    found = {row[0]: row[1] for row in rows}
    return [found[one.id] for one in decisions]


async def test_a_complaint_silences_every_merchant_and_cancels_what_waits(pool):
    place = await town(pool)
    for merchant in (place.bakery, place.garage):
        await grant(pool, merchant, ANN)
    await grant(pool, place.bakery, BOB)
    waiting = [await ask(pool, merchant, ANN) for merchant in (place.bakery, place.garage)]
    others = await ask(pool, place.bakery, BOB)
    filed = await complain(pool, merchant="bakery", received_at=NOON - 5 * MINUTE)
    assert filed.is_new
    assert filed.is_settled
    assert filed.complaint.cancelled == 2
    assert filed.complaint.due_at == NOON + 55 * MINUTE
    assert await states(pool, *waiting, others) == ["cancelled", "cancelled", "queued"]
    again = await ask(pool, place.garage, ANN, now=NOON + MINUTE)
    assert (again.rule, again.reason) == ("suppressed", "complaint")
    assert again.suppression_id == filed.complaint.suppression_id
    rows = await ledger.history(pool, filed.complaint.customer_id)
    last = rows[-1]
    assert (last.seq, last.action, last.merchant_id, last.purpose, last.source) == (
        filed.complaint.consent_seq,
        "revoke",
        0,
        "all",
        "complaint",
    )
    assert last.detail["words"] == "I never signed up for this."


async def test_nothing_is_left_of_a_complaint_whose_commit_failed(pool, monkeypatch):
    place = await town(pool)
    await grant(pool, place.bakery, ANN)
    waiting = await ask(pool, place.bakery, ANN)

    async def breaks(*_given):
        raise RuntimeError("the news cannot be written")

    monkeypatch.setattr(news, "tell", breaks)
    with pytest.raises(RuntimeError):
        await complain(pool)
    assert await states(pool, waiting) == ["queued"]
    assert await pool.fetchval("SELECT count(*) FROM suppression") == 0
    assert await pool.fetchval("SELECT count(*) FROM consent WHERE action = 'revoke'") == 0
    assert await store.listing(pool) == []


async def test_the_same_key_twice_is_one_complaint(pool):
    await town(pool)
    first = await complain(pool, key="ticket-1")
    second = await complain(pool, key="ticket-1", now=NOON + MINUTE)
    assert (first.is_new, second.is_new) == (True, False)
    assert first.complaint == second.complaint
    with pytest.raises(RefusedError, match="under this key"):
        await complain(pool, BOB, key="ticket-1")
    assert not await customers.find(pool, [BOB], KEY)


async def test_two_complaints_at_once_are_both_kept_and_block_once(pool):
    await town(pool)
    filed = await asyncio.gather(
        *(complain(pool, key=f"ticket-{number}") for number in range(4)),
        *(complain(pool, key="ticket-0") for _ in range(3)),
    )
    assert sum(one.is_new for one in filed) == 4
    assert len({one.complaint.suppression_id for one in filed}) == 1
    assert await pool.fetchval("SELECT count(*) FROM complaint") == 4
    assert await pool.fetchval("SELECT count(*) FROM suppression") == 1


async def test_a_complaint_brings_back_a_block_that_a_merchant_was_excepted_from(pool):
    place = await town(pool)
    first = await complain(pool)
    await grant(pool, place.bakery, ANN, NOON + MINUTE)
    assert first.complaint.suppression_id is not None
    async with pool.acquire() as db, db.transaction():
        await consent.except_merchant(db, [first.complaint.suppression_id], place.bakery)
    assert (await ask(pool, place.bakery, ANN, now=NOON + 2 * MINUTE)).state == "queued"
    second = await complain(pool, now=NOON + 3 * MINUTE)
    assert second.complaint.cancelled == 1
    assert (await ask(pool, place.bakery, ANN, now=NOON + 4 * MINUTE)).rule == "suppressed"


async def test_a_text_that_is_being_sent_is_waited_for(pool):
    """By the store's clock, since whoever sends and whoever stops are two processes."""
    place = await town(pool)
    now = datetime.now(UTC)
    await grant(pool, place.bakery, ANN)
    decision = await ask(pool, place.bakery, ANN, now=now)
    leave = await gate.begin_sending(pool, [decision.id], lasts=timedelta(seconds=60), now=now)
    assert leave[decision.id].verdict == "send"
    filing = asyncio.create_task(complain(pool, now=now))
    while not await store.listing(pool):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert not filing.done()
    await pool.execute("UPDATE message SET state = 'sent', sending_until = NULL WHERE id = $1", decision.id)
    filed = await filing
    assert filed.is_settled
    assert filed.complaint.cancelled == 0


async def test_merchants_hear_of_it_once_without_the_persons_words(pool):
    place = await town(pool)
    for owner, name in ((place.bakery, "bakery"), (place.garage, "garage")):
        new = NewDestination(owner, "webhook", f"https://{name}.example", (), ("complaint.*",))
        await merchants.insert_destination(pool, new)
    await grant(pool, place.garage, ANN)
    await ask(pool, place.garage, ANN)
    filed = await complain(pool, key="ticket")
    await complain(pool, key="ticket")
    named = await complain(pool, merchant="bakery")
    events = await inbox.own_events(pool, "complaint.filed:", "complaint.filed")
    assert [name for name, _ in events] == [
        f"complaint.filed:{filed.complaint.id}:{place.garage}",
        f"complaint.filed:{named.complaint.id}:{place.bakery}",
    ]
    bodies = [bytes(row[0]) for row in await pool.fetch("SELECT body FROM event ORDER BY seq")]
    assert b'"cancelled":1' in bodies[0]
    assert not any(b"signed up" in body for body in bodies)
    assert await pool.fetchval("SELECT count(*) FROM delivery") == 2


async def test_of_nobodys_texts_the_company_hears(pool):
    await town(pool)
    filed = await complain(pool)
    events = await inbox.own_events(pool, "complaint.filed:", "complaint.filed")
    assert [name for name, _ in events] == [f"complaint.filed:{filed.complaint.id}:{COMPANY}"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"source": "fax"}, "nowhere that complaints come from"),
        ({"text": " "}, "what they said"),
        ({"merchant": "bakehouse"}, "no merchant 'bakehouse'"),
        ({"received_at": NOON + timedelta(hours=1)}, "still to come"),
        ({"received_at": datetime(2026, 5, 4, 19)}, "needs its zone"),  # noqa: DTZ001
        ({"answer_to": "x" * 400}, "answer_to"),
    ],
)
async def test_what_cannot_be_filed_is_told_and_nothing_kept(pool, fields, said):
    with pytest.raises(ComplaintError, match=said):
        await complain(pool, **fields)
    assert await pool.fetchval("SELECT count(*) FROM complaint") == 0


async def test_somebody_who_was_erased_is_blocked_and_the_ledger_left_alone(pool, monkeypatch):
    await town(pool)
    key = PhoneKey(b"k" * 40)
    person = (await customers.ensure(pool, [ANN], key, NOON - MINUTE))[ANN]
    await pool.execute(
        "UPDATE customer SET phone = NULL, salt = NULL, phone_key = $2, erased_at = $3 WHERE id = $1",
        person.id,
        key.of(ANN),
        NOON - MINUTE,
    )
    await pool.execute("INSERT INTO erasure_key (fingerprint) VALUES ($1)", key.fingerprint)
    with pytest.raises(KeyMissingError):
        await complain(pool)
    monkeypatch.setattr(PhoneKey, "load", lambda _settings: key)
    filed = await complain(pool)
    assert (filed.complaint.customer_id, filed.complaint.consent_seq) == (person.id, None)
    assert filed.complaint.suppression_id is not None


# Texts that are complaints


async def received(pool, sid, body, *, decision=None, at=NOON):
    """As the door of texts keeps it."""
    judged = optout.judge(body)
    person = (await customers.ensure(pool, [ANN], KEY, at))[ANN]
    owner = await merchants.find(pool, "bakery")
    assert owner is not None
    await pool.execute(
        "INSERT INTO inbound_text (sid, merchant_id, customer_id, phone, body, received_at, verdict, score, rules, "
        "decision) VALUES ($1, $2, $3, $4, $9, $5, $6, 0.9, $7, $8)",
        sid,
        owner.id,
        person.id,
        BAKERY,
        at,
        judged.verdict,
        judged.rules,
        decision,
        body,
    )


async def test_texts_that_threaten_become_complaints_once(pool):
    await town(pool)
    threat = "I will sue you if you text me again"
    await received(pool, "SM1", threat, at=NOON - 10 * MINUTE)
    await received(pool, "SM2", "stop")
    await received(pool, "SM3", threat, decision="ordinary")
    await received(pool, "SM4", threat, at=NOON - timedelta(days=4))
    assert await from_texts.tick(pool, SETTINGS, NOON) == 1
    assert await from_texts.tick(pool, SETTINGS, NOON) == 0
    (filed,) = await store.listing(pool)
    assert (filed.source, filed.key, filed.text) == ("text", "text:SM1", threat)
    assert filed.received_at == NOON - 10 * MINUTE


@pytest.mark.parametrize(
    ("body", "is_one"),
    [
        ("This is harassment", True),
        ("stop harassing me", True),
        ("I'm reporting you to the FCC", True),
        ("Stop texting me or my lawyer will sue", True),
        ("blocked", False),
        ("Blocked and reported", False),
        ("Please stop texting me", False),
        ("See you on Monday!", False),
    ],
)
async def test_what_is_a_complaint_and_what_an_opt_out_alone(pool, body, is_one):
    await town(pool)
    await received(pool, "SM1", body)
    assert await from_texts.tick(pool, SETTINGS, NOON) == is_one


async def test_a_person_makes_a_complaint_of_any_text(pool):
    place = await town(pool)
    await received(pool, "SM2", "stop")
    filed = await service.file_text(pool, SETTINGS, "SM2", filed_by="sue", now=NOON)
    assert (filed.complaint.merchant_id, filed.is_new) == (place.bakery, True)
    with pytest.raises(UnknownError, match="no text 'SM9'"):
        await service.file_text(pool, SETTINGS, "SM9", filed_by="sue", now=NOON)


async def test_how_many_wait_and_for_how_long_is_measured(pool):
    await town(pool)
    await service.measure(pool, NOON)
    assert (signals.OPEN.values[()], signals.DUE_SECONDS.values) == (0, {})
    first = await complain(pool)
    await complain(pool, BOB, now=NOON + MINUTE)
    await service.measure(pool, NOON + 2 * MINUTE)
    assert (signals.OPEN.values[()], signals.DUE_SECONDS.values[()]) == (2, 58 * 60)
    await service.answer(pool, first.complaint.id, how="phone", text="Sorry.", actor="sue", now=NOON + 3 * MINUTE)
    await service.measure(pool, NOON + 62 * MINUTE)
    assert (signals.OPEN.values[()], signals.DUE_SECONDS.values[()]) == (1, -60)


def test_the_detectors_know_the_signals_by_these_names():
    assert {detectors.OPEN, detectors.DUE, detectors.COUNTED} == {
        signals.OPEN.name,
        signals.DUE_SECONDS.name,
        signals.FILED.name,
    }
