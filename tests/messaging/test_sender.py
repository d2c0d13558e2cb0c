"""A text that may be sent goes to Twilio once: whatever is lost, whoever dies."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast.consent import ledger
from holdfast.drills.twilio_faults import Rule, TwilioFaults
from holdfast.levers.model import Snapshot
from holdfast.merchants import number_store
from holdfast.merchants.numbers import NewNumber
from holdfast.messaging import gate
from tests.messaging.sending import SUB, Office, live_and_die, office
from tests.messaging.texts import ANN, BAKERY, BOB, NOON, ask, grant, stop, town

pytestmark = pytest.mark.usefixtures("any_server")


@pytest.fixture
async def at_work(pool: Any) -> Any:
    async with office(pool) as opened:
        yield opened


async def queued(at: Office, *phones: str, **fields: Any) -> list[int]:
    """Texts of the bakery's to these, which may be sent."""
    merchant = await at.pool.fetchval("SELECT id FROM merchant WHERE key = 'bakery'")
    if merchant is None:
        merchant = (await town(at.pool)).bakery
    ids = []
    for phone in phones:
        await grant(at.pool, merchant, phone)
        ids.append((await ask(at.pool, merchant, phone, at.now, **fields)).id)
    return ids


async def test_a_text_is_handed_to_twilio_and_known_by_its_sid(at_work):
    await queued(at_work, ANN)
    await at_work.work()
    (row,), (sent,) = await at_work.rows(), at_work.outbound
    assert (row["state"], row["sid"], row["status"], row["settled_at"]) == ("sent", sent.sid, "queued", NOON)
    assert (sent.to, sent.from_, sent.body) == (ANN, BAKERY, "Your bread is ready.")
    assert sent.status_callback == f"http://127.0.0.1:9/hooks/twilio/message-status?m={row['id']}"
    assert await at_work.pool.fetchval("SELECT count(*) FROM work") == 0
    assert await at_work.pool.fetchval("SELECT outcome FROM done WHERE stage = 3") == "sent"


async def test_many_texts_go_in_a_few_turns_each_once(at_work):
    await queued(at_work, *(f"+1415555{number:04}" for number in range(200, 260)))
    await at_work.get_through()
    assert set(Counter(one.to for one in at_work.outbound).values()) == {1}
    assert len(at_work.outbound) == 60


async def test_a_text_of_a_merchant_with_its_own_account_is_sent_with_that(at_work):
    (text,) = await queued(at_work, ANN)
    at_work.twilio.add_number("+14155550177", account=SUB)
    merchant = await at_work.pool.fetchval(
        "UPDATE message SET account = $1, from_phone = '+14155550177' WHERE id = $2 RETURNING merchant_id", SUB, text
    )
    await number_store.put(at_work.pool, [NewNumber("+14155550177", merchant, "US", account=SUB)])
    await at_work.work()
    assert [one.account for one in at_work.outbound] == [SUB]


async def test_a_number_that_is_another_merchants_by_then_is_not_sent_from(at_work):
    (text,) = await queued(at_work, ANN, send_at=NOON + timedelta(days=60))
    found = await at_work.pool.fetch("SELECT id FROM merchant ORDER BY key")
    bakery, garage = (row["id"] for row in found)
    at_work.twilio.add_number("+14155550178", account=SUB)
    await number_store.put(
        at_work.pool, [NewNumber(BAKERY, garage, "US"), NewNumber("+14155550178", bakery, "US", account=SUB)]
    )
    at_work.now += timedelta(days=60)
    await at_work.get_through()
    assert [(one.account, one.from_) for one in at_work.outbound] == [(SUB, "+14155550178")]
    (row,) = await at_work.rows()
    assert (row["id"], row["state"], row["account"], row["from_phone"]) == (text, "sent", SUB, "+14155550178")


async def test_where_no_number_is_left_the_text_is_cancelled(at_work):
    await queued(at_work, ANN, send_at=NOON + timedelta(days=1))
    garage = await at_work.pool.fetchval("SELECT id FROM merchant WHERE key = 'garage'")
    await number_store.put(at_work.pool, [NewNumber(BAKERY, garage, "US")])
    await at_work.later(days=1)
    (row,) = await at_work.rows()
    assert (row["state"], row["rule"], at_work.outbound) == ("cancelled", "no_sender", [])


async def test_who_stopped_before_their_turn_gets_nothing(at_work):
    await queued(at_work, ANN, BOB)
    merchant = await at_work.pool.fetchval("SELECT id FROM merchant WHERE key = 'bakery'")
    await stop(at_work.pool, merchant, ANN)
    await at_work.work()
    assert [one.to for one in at_work.outbound] == [BOB]


async def test_a_suppression_that_the_queue_did_not_hear_of_cancels(at_work):
    (text,) = await queued(at_work, ANN)
    await at_work.pool.execute(
        "INSERT INTO suppression (customer_id, merchant_id, reason, source, actor, made_at) "
        "SELECT customer_id, 0, 'operator', 'test', 'ann', now() FROM message WHERE id = $1",
        text,
    )
    await at_work.work()
    assert (await at_work.rows())[0]["state"] == "cancelled"
    assert await at_work.pool.fetchval("SELECT outcome FROM done WHERE stage = 3") == "cancelled"
    assert at_work.outbound == []


async def test_what_came_to_its_turn_at_night_waits_for_the_morning(at_work):
    (text,) = await queued(at_work, ANN, purpose="marketing")
    at_work.now = NOON + timedelta(hours=10)
    await at_work.work()
    morning = NOON + timedelta(hours=20)
    assert at_work.outbound == []
    row = (await at_work.rows())[0]
    assert (row["state"], row["send_at"]) == ("queued", morning)
    assert await at_work.pool.fetchval("SELECT due_at FROM work WHERE ref = $1", text) == morning
    at_work.now = morning
    await at_work.work()
    assert len(at_work.outbound) == 1


# The lever


async def held(at: Office, value: str, target: str = "") -> None:
    await at.pool.execute(
        "INSERT INTO lever (name, target, value, actor, reason, set_at) "
        "VALUES ('messaging.texts', $1, to_jsonb($2::text), 'ann', 'test', now())",
        target,
        value,
    )
    at.levers.take(Snapshot(dict(at.levers.snapshot.values) | {("messaging.texts", target): value}))


@pytest.mark.parametrize("value", ["hold", "refuse"])
@pytest.mark.parametrize("of", ["everything", "merchant"])
async def test_what_the_lever_holds_is_not_even_claimed_and_goes_when_it_is_turned_back(at_work, value, of):
    (text,) = await queued(at_work, ANN)
    merchant = await at_work.pool.fetchval("SELECT merchant_id FROM message WHERE id = $1", text)
    await held(at_work, value, f"merchant:{merchant}" if of == "merchant" else "")
    await at_work.work()
    assert await at_work.pool.fetchval("SELECT attempts FROM work WHERE ref = $1", text) == 0
    await at_work.pool.execute("DELETE FROM lever")
    at_work.levers.take(Snapshot())
    await at_work.work()
    assert len(at_work.outbound) == 1


async def test_a_merchant_that_is_excepted_from_the_lever_goes_on_and_the_others_wait(at_work):
    found = await town(at_work.pool)
    for merchant in (found.bakery, found.garage):
        await grant(at_work.pool, merchant, ANN)
        await ask(at_work.pool, merchant, ANN, body=f"of {merchant}")
    await held(at_work, "hold")
    await held(at_work, "normal", f"merchant:{found.garage}")
    await at_work.work()
    assert [one.body for one in at_work.outbound] == [f"of {found.garage}"]
    assert [row["state"] for row in await at_work.rows()] == ["queued", "sent"]


async def test_confirmations_go_out_whatever_the_lever_says(at_work):
    (text,) = await queued(at_work, ANN)
    await at_work.pool.execute("UPDATE message SET kind = 'confirmation'")
    await at_work.pool.execute("UPDATE work SET lane = 0")
    await held(at_work, "refuse")
    await at_work.work()
    assert len(at_work.outbound) == 1
    assert text


# What Twilio answers


async def test_a_refusal_is_final_and_says_why_without_the_number(at_work):
    (text,) = await queued(at_work, ANN)
    merchant = await at_work.pool.fetchval(
        "UPDATE message SET from_phone = '+14155559999' WHERE id = $1 RETURNING merchant_id", text
    )
    await number_store.put(at_work.pool, [NewNumber("+14155559999", merchant, "US")])  # that Twilio does not know
    await at_work.work()
    row = (await at_work.rows())[0]
    assert (row["state"], row["error_code"]) == ("failed", 21606)
    assert "21606" in row["note"]
    assert ANN not in row["note"]
    assert await at_work.pool.fetchval("SELECT outcome FROM done WHERE stage = 3") == "failed"


async def test_somebody_who_opted_out_at_twilio_is_blocked_here_in_the_same_commit(at_work):
    found = await town(at_work.pool)
    at_work.twilio.faults = TwilioFaults()
    await at_work.twilio.text(ANN, BAKERY, "STOP")
    _, second = await queued(at_work, ANN, ANN)
    await at_work.pool.execute("UPDATE work SET due_at = due_at + interval '1 hour' WHERE ref = $1", second)
    await at_work.work()
    assert [row["state"] for row in await at_work.rows()] == ["failed", "cancelled"]
    block = await at_work.pool.fetchrow("SELECT merchant_id, reason, source, note, consent_seq FROM suppression")
    assert block[:3] == (found.bakery, "provider_block", "provider")
    assert "opted out" in block["note"]
    assert "https://www.twilio.com/docs/api/errors/21610" in block["note"]
    row = await at_work.pool.fetchrow("SELECT action, source, merchant_id FROM consent ORDER BY seq DESC LIMIT 1")
    assert row == ("revoke", "provider", found.bakery)
    assert (await ask(at_work.pool, found.bakery, ANN)).reason == "provider_block"


@pytest.mark.parametrize("fault", [Rule("api_rate_limited"), Rule("api_refuses"), Rule("api_error", status=503)])
async def test_a_text_outlives_a_bad_minute_of_twilios_and_goes_once(at_work, fault):
    await queued(at_work, ANN)
    at_work.twilio.faults = TwilioFaults.of(fault)
    await at_work.work()
    assert (await at_work.rows())[0]["state"] in ("queued", "sending")
    at_work.twilio.faults = TwilioFaults()
    await at_work.get_through()
    assert [one.to for one in at_work.outbound] == [ANN]
    assert (await at_work.rows())[0]["state"] == "sent"


async def test_what_surely_did_not_reach_twilio_waits_as_queued_so_that_a_stop_cancels_it(at_work):
    await queued(at_work, ANN)
    at_work.twilio.faults = TwilioFaults.of(Rule("api_rate_limited"))
    await at_work.work()
    row = (await at_work.rows())[0]
    assert (row["state"], row["sending_until"], row["tries"]) == ("queued", None, 1)
    merchant = await at_work.pool.fetchval("SELECT id FROM merchant WHERE key = 'bakery'")
    assert (await stop(at_work.pool, merchant, ANN, at_work.now)).cancelled == (row["id"],)


async def test_a_text_that_twilio_never_takes_is_given_up_within_an_hour(at_work):
    await queued(at_work, ANN)
    at_work.twilio.faults = TwilioFaults.of(Rule("api_rate_limited"))
    minutes = 0
    while (row := (await at_work.rows())[0])["state"] == "queued":
        minutes += 1
        await at_work.later(minutes=1)
    assert row["state"] == "failed"
    assert "given up after" in row["note"]
    assert minutes <= 90


async def test_an_answer_that_nobody_understands_leaves_the_text_in_doubt_and_not_in_hand(at_work, monkeypatch):
    await queued(at_work, ANN)

    async def odd(*_: Any, **__: Any) -> Any:
        raise KeyError("sid")

    sender = at_work.sender()
    with monkeypatch.context() as patched:
        patched.setattr(at_work.client, "send_text", odd)
        await sender.tick(at_work.now)
        await at_work.finish(sender)
    (row,) = await at_work.rows()
    assert (row["state"], sender.in_flight, sender._in_hand) == ("sending", 0, {})
    await at_work.get_through()
    assert len(at_work.outbound) == 1


async def test_while_twilio_is_down_nothing_is_claimed_but_a_probe_now_and_then(at_work):
    await queued(at_work, *(f"+1415555{number:04}" for number in range(200, 240)))
    at_work.twilio.faults = TwilioFaults.of(Rule("api_refuses"))
    clock = [0.0]
    sender = at_work.sender(clock=lambda: clock[0])
    await at_work.work(sender)
    claims = await at_work.pool.fetchval("SELECT sum(attempts) FROM work")
    for _ in range(200):  # a minute of ticks
        clock[0] += 0.3
        at_work.now += timedelta(seconds=0.3)
        await at_work.work(sender)
    assert await at_work.pool.fetchval("SELECT sum(attempts) FROM work") - claims <= 30
    at_work.twilio.faults = TwilioFaults()
    for _ in range(40):
        clock[0] += 62
        await at_work.later(seconds=62)
        await at_work.work(sender)
    assert len(at_work.outbound) == 40


async def test_results_are_written_down_while_somebody_they_are_about_stops(at_work):
    found = await town(at_work.pool)
    await at_work.twilio.text(BOB, BAKERY, "STOP")
    await queued(at_work, ANN, BOB)
    sender = at_work.sender()
    await sender.tick(at_work.now)
    while sender.in_flight:
        await asyncio.sleep(0.001)
    async with at_work.pool.acquire() as db, db.transaction():
        await ledger.lock(db)
        stopping = asyncio.create_task(stop(at_work.pool, found.bakery, ANN, at_work.now))
        await asyncio.sleep(0.1)  # until it waits for the ledger
        settling = asyncio.create_task(sender.settle(at_work.now))
        await asyncio.sleep(0.1)
    assert await settling == 2
    assert not (await stopping).cancelled
    assert [row["state"] for row in await at_work.rows()] == ["sent", "failed"]
    assert await at_work.pool.fetchval("SELECT count(*) FROM suppression") == 2


# Lost answers


async def test_a_text_whose_answer_was_lost_is_found_at_twilio_and_not_sent_again(at_work):
    await queued(at_work, ANN)
    at_work.twilio.faults = TwilioFaults.of(Rule("api_answer_lost"))
    sender = at_work.sender()
    await sender.tick(at_work.now)
    await at_work.finish(sender)
    assert (await at_work.rows())[0]["state"] == "sending"
    at_work.twilio.faults = TwilioFaults()
    await at_work.later(seconds=3)
    (sent,) = at_work.outbound
    row = (await at_work.rows())[0]
    assert (row["state"], row["sid"], row["note"]) == ("sent", sent.sid, None)


async def test_a_text_that_twilio_changed_the_words_of_is_not_sent_again(at_work):
    await queued(at_work, ANN, body="Ann\u2019s bread \u2013 https://example.com/a/very/long/link")
    at_work.twilio.faults = TwilioFaults.of(Rule("api_answer_lost"))
    sender = at_work.sender()
    await sender.tick(at_work.now)
    await at_work.finish(sender)
    at_work.twilio.faults = TwilioFaults()
    (sent,) = at_work.outbound
    sent.body = "Ann's bread - https://twil.io/abc"
    for _ in range(10):
        await at_work.later(minutes=6)
    (row,) = await at_work.rows()
    assert (row["state"], len(at_work.outbound)) == ("sending", 1)
    assert "in other words" in row["note"]
    await at_work.later(hours=25)
    assert ((await at_work.rows())[0]["state"], len(at_work.outbound)) == ("failed", 1)


async def test_two_texts_of_the_same_words_are_not_taken_for_one_another(at_work):
    await queued(at_work, ANN, ANN)
    at_work.twilio.faults = TwilioFaults.of(Rule("api_answer_lost"))
    sender = at_work.sender()
    await sender.tick(at_work.now)
    await at_work.finish(sender)
    at_work.twilio.faults = TwilioFaults()
    await at_work.get_through()
    assert len(at_work.outbound) == 2
    assert {row["sid"] for row in await at_work.rows()} == {one.sid for one in at_work.outbound}


async def test_what_is_not_at_twilio_is_sent_again_only_when_it_cannot_turn_up_any_more(at_work):
    (text,) = await queued(at_work, ANN)
    await gate.begin_sending(at_work.pool, [text], now=at_work.now)  # by one who then died
    await at_work.later(seconds=20)
    assert at_work.outbound == []
    assert await at_work.pool.fetchval("SELECT due_at FROM work") == NOON + timedelta(seconds=38)
    await at_work.later(seconds=19)
    assert len(at_work.outbound) == 1


async def test_who_stopped_while_nobody_knew_is_not_sent_to_again(at_work):
    (text,) = await queued(at_work, ANN)
    await gate.begin_sending(at_work.pool, [text], now=at_work.now)
    merchant = await at_work.pool.fetchval("SELECT id FROM merchant WHERE key = 'bakery'")
    await stop(at_work.pool, merchant, ANN, at_work.now)
    await at_work.later(minutes=2)
    assert at_work.outbound == []
    assert (await at_work.rows())[0]["state"] == "cancelled"


async def test_nothing_is_begun_after_the_leave_has_ended(at_work):
    await queued(at_work, ANN)
    ticks = iter([0.0, 0.0, 7.0])
    sender = at_work.sender(clock=lambda: next(ticks, 7.0))
    await sender.tick(at_work.now)
    await at_work.finish(sender)
    assert at_work.outbound == []
    assert (await at_work.rows())[0]["state"] == "queued"


async def test_a_text_is_given_up_when_nobody_can_say_for_a_day_whether_it_went(at_work):
    (text,) = await queued(at_work, ANN)
    await gate.begin_sending(at_work.pool, [text], now=at_work.now)
    at_work.twilio.faults = TwilioFaults.of(Rule("api_error", product="sms"))
    await at_work.later(minutes=1)
    assert (await at_work.rows())[0]["state"] == "sending"
    await at_work.later(hours=25)
    row = (await at_work.rows())[0]
    assert (row["state"], at_work.outbound) == ("failed", [])


async def test_a_process_that_stops_gives_back_what_it_has_in_hand(at_work):
    await queued(at_work, ANN)
    at_work.twilio.faults = TwilioFaults.of(Rule("api_slow", seconds=5.0))
    sender = at_work.sender()
    await sender.tick(at_work.now)
    await sender.drain(0.01)
    assert await at_work.pool.fetchval("SELECT count(*) FROM work WHERE lease IS NULL") == 1
    assert (await at_work.rows())[0]["state"] == "sending"


async def test_a_sender_may_be_killed_at_any_moment_and_every_text_goes_exactly_once(pool):
    async with office(pool) as at:
        is_killed, steps = True, 0
        while is_killed:
            steps += 1
            at.twilio.faults = TwilioFaults.of(Rule("api_answer_lost")) if steps % 3 == 0 else TwilioFaults()
            ids = await queued(at, ANN, BOB, body=f"killed at {steps}")
            is_killed = await live_and_die(at, steps)
            at.twilio.faults = TwilioFaults()
            await at.get_through()
            sent = Counter(one.to for one in at.outbound if one.body == f"killed at {steps}")
            assert sent == {ANN: 1, BOB: 1}, steps
            rows = await pool.fetch("SELECT state, sid FROM message WHERE id = ANY($1)", ids)
            assert [row["state"] for row in rows] == ["sent", "sent"], steps
        assert steps > 20
        assert len({row["sid"] for row in await at.rows()}) == 2 * steps


async def test_several_senders_share_the_work_and_no_text_goes_twice(at_work):
    phones = [f"+1415555{number:04}" for number in range(300, 340)]
    await queued(at_work, *phones)
    senders = [at_work.sender() for _ in range(4)]
    for _ in range(20):
        await asyncio.gather(*(sender.tick(at_work.now) for sender in senders))
        await asyncio.gather(*(at_work.finish(sender) for sender in senders))
    assert Counter(one.to for one in at_work.outbound) == dict.fromkeys(phones, 1)
    assert {row["state"] for row in await at_work.rows()} == {"sent"}


async def test_stops_race_with_senders_and_nobody_who_was_told_of_their_stop_gets_a_text_after_it(at_work):
    phones = [f"+1415555{number:04}" for number in range(400, 430)]
    at_work.now = datetime.now(UTC)  # how long a stop waits goes by the store's clock
    await queued(at_work, *phones)
    at_work.twilio.faults = TwilioFaults.of(Rule("api_slow", seconds=0.1))
    merchant = await at_work.pool.fetchval("SELECT id FROM merchant WHERE key = 'bakery'")
    told: dict[str, int] = {}

    async def stopping(phone: str) -> None:
        await asyncio.sleep(0.02 * phones.index(phone))  # some before their text's turn, some while it is on its way
        await stop(at_work.pool, merchant, phone, at_work.now)
        told[phone] = sum(one.to == phone for one in at_work.outbound)

    async def sending() -> None:
        for _ in range(6):
            await at_work.work()

    await asyncio.gather(sending(), *(stopping(phone) for phone in phones[::2]))
    await at_work.get_through()
    got = Counter(one.to for one in at_work.outbound)
    assert {phone: got[phone] for phone in told} == told
    assert all(got[phone] == 1 for phone in phones[1::2])
