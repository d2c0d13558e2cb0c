"""What Twilio tells of texts: kept as it came, and the same is made of it in whatever order, and however often."""

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from holdfast.consent import customers, ledger
from holdfast.consent.model import Block, Entry
from holdfast.messaging import gate, stopping
from holdfast.messaging.callbacks import RANKS, StatusCallback, StatusCallbacks
from holdfast.messaging.meanings import MEANINGS, said_of
from holdfast.twilio import store as accounts
from holdfast.twilio.model import Account
from tests.messaging.sending import SUB, office
from tests.messaging.texts import ANN, BOB, NOON, ask, grant, stop, town
from tests.servers import clear

MAIN = "AC" + "1" * 32
SID = "SM" + "a" * 32


def told(status: str, sid: str = SID, *, m: object = None, account: str = MAIN, at: float = 0.0, **more: str) -> Any:
    params = {"MessageSid": sid, "SmsSid": sid, "MessageStatus": status, "AccountSid": account, "To": ANN} | more
    query = {"m": str(m)} if m is not None else {}
    body = urlencode(params).encode()
    return StatusCallback(params, query, account, {"user-agent": "TwilioProxy/1.1"}, body, NOON.timestamp() + at)


async def sent(pool: Any, sid: str | None = SID, *, state: str = "sent") -> int:
    """A text of the bakery's that Twilio has under this sid."""
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    text = (await ask(pool, merchant, ANN)).id
    await pool.execute("UPDATE message SET state = $2, sid = $3, tried_at = $4 WHERE id = $1", text, state, sid, NOON)
    return text


async def row(pool: Any) -> Any:
    return await pool.fetchrow("SELECT * FROM message ORDER BY id LIMIT 1")


async def test_a_callback_is_kept_as_it_came_and_moves_its_text(pool):
    text = await sent(pool)
    callback = told("delivered", m=text, at=2.0)
    await StatusCallbacks(pool).take([callback])
    event = await pool.fetchrow("SELECT provider, type, object_id, account, body, headers FROM event")
    assert event[:5] == ("twilio", "twilio.message.delivered", SID, MAIN, callback.body)
    assert "TwilioProxy" in event["headers"]
    found = await row(pool)
    assert (found["status"], found["status_rank"], found["error_code"]) == ("delivered", 5, None)
    assert found["status_at"].timestamp() == NOON.timestamp() + 2.0


async def test_callbacks_are_taken_while_somebody_they_are_about_stops(pool):
    found = await town(pool)
    texts = []
    for phone, sid in ((ANN, SID), (BOB, "SM" + "b" * 32)):
        await grant(pool, found.bakery, phone)
        texts.append((await ask(pool, found.bakery, phone)).id)
        await pool.execute("UPDATE message SET state = 'sent', sid = $2 WHERE id = $1", texts[-1], sid)
    waiting = await ask(pool, found.bakery, ANN, send_at=NOON + timedelta(days=1))
    async with pool.acquire() as db, db.transaction():
        await ledger.lock(db)
        stopping = asyncio.create_task(stop(pool, found.bakery, ANN))
        await asyncio.sleep(0.1)  # until it waits for the ledger
        callbacks = [told("sent", m=texts[0]), told("failed", sid="SM" + "b" * 32, ErrorCode="21610")]
        callbacks.append(told("queued", sid="SM" + "c" * 32, m=waiting.id))  # one that is to be cancelled
        taking = asyncio.create_task(StatusCallbacks(pool).take(callbacks))
        await asyncio.sleep(0.1)
    await asyncio.gather(stopping, taking)
    assert await pool.fetchval("SELECT count(*) FROM suppression") == 2


async def test_the_same_again_is_one_event_and_a_duplicate(pool):
    await sent(pool)
    taker = StatusCallbacks(pool)
    await taker.take([told("sent"), told("sent", at=1.0)])
    await taker.take([told("sent", at=2.0)])
    assert await pool.fetchval("SELECT count(*) FROM event") == 1
    assert await pool.fetchval("SELECT count(*) FROM duplicate") == 2


async def test_nothing_is_lost_of_an_empty_malformed_or_unknown_callback(pool):
    text = await sent(pool)
    odd = [
        told("teleported"),
        told("delivered", sid="SM" + "b" * 32),
        told("delivered", sid="nonsense"),
        told("delivered", sid="SM" + "c" * 32, m="99999999999999999999"),
        told("delivered", sid="SM" + "d" * 32, m="\0"),
        told("failed", ErrorCode="lots\0"),
        StatusCallback({}, {}, MAIN, {"x": "\0"}, b"\0", NOON.timestamp()),
    ]
    taker = StatusCallbacks(pool)
    await taker.take(odd)
    await taker.take([])
    assert await pool.fetchval("SELECT count(*) FROM event") == len(odd)
    found = await row(pool)
    assert (found["id"], found["sid"], found["status"], found["error_code"]) == (text, SID, "failed", None)


STORY = [
    ("accepted", None),
    ("queued", None),
    ("sending", None),
    ("sent", None),
    ("delivered", None),
    ("undelivered", "30003"),
    ("undelivered", "30007"),
    ("read", None),
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_the_order_of_callbacks_makes_no_difference(pool, data):
    chosen = data.draw(st.lists(st.sampled_from(STORY), min_size=1, max_size=6, unique=True))
    batch = [
        told(status, m=1, at=float(STORY.index((status, code))), **({"ErrorCode": code} if code else {}))
        for status, code in chosen
    ]
    doubled = data.draw(st.permutations(batch + data.draw(st.lists(st.sampled_from(batch), max_size=3))))
    split = data.draw(st.integers(0, len(doubled)))
    found = []
    for order in ([batch], [doubled[:split], doubled[split:]]):
        await sent(pool, None, state="sending")
        taker = StatusCallbacks(pool)
        for part in order:
            await taker.take(part)
        after = await row(pool)
        found.append(
            {name: after[name] for name in ("state", "sid", "status", "status_rank", "status_at", "error_code")}
        )
        await clear(pool)
    assert found[0] == found[1]
    furthest = max(chosen, key=lambda one: (RANKS[one[0]], one[0], one[1] or ""))
    assert found[0]["status"] == furthest[0]
    assert found[0]["error_code"] == (int(furthest[1]) if furthest[1] else None)


# Whose it is


async def test_a_callback_says_the_sid_of_a_text_whose_answer_was_lost(pool):
    text = await sent(pool, None, state="sending")
    await StatusCallbacks(pool).take([told("queued", m=text)])
    found = await row(pool)
    assert (found["state"], found["sid"], found["status"], found["sending_until"]) == ("sent", SID, "queued", None)


async def test_a_text_that_twilio_told_of_is_not_sent_again(pool):
    async with office(pool) as at:
        merchant = (await town(pool)).bakery
        await grant(pool, merchant, ANN)
        text = (await ask(pool, merchant, ANN)).id
        await gate.begin_sending(pool, [text], now=at.now)
        await StatusCallbacks(pool).take([told("sent", m=text)])
        await at.later(minutes=5)
        assert at.outbound == []
        assert await pool.fetchval("SELECT outcome FROM done WHERE stage = 3") == "sent"


@pytest.mark.parametrize("mine", [None, SUB])
async def test_a_callback_of_another_account_changes_nothing(pool, mine):
    text = await sent(pool, None, state="sending")
    await pool.execute("INSERT INTO twilio_account (sid, name, merchant_id, auth_token) VALUES ($1, 'x', 1, 'y')", SUB)
    await pool.execute("UPDATE message SET account = $1", mine)
    taker = StatusCallbacks(pool)
    other, own = (MAIN, SUB) if mine else (SUB, MAIN)
    await taker.take([told("failed", m=text, account=other, ErrorCode="30005")])
    assert (await row(pool))["sid"] is None
    assert await pool.fetchval("SELECT count(*) FROM suppression") == 0
    await taker.take([told("sent", m=text, account=own)])
    await taker.take([told("failed", account=other, ErrorCode="30005")])
    assert (await row(pool))["status"] == "sent"


async def test_a_sid_is_never_that_of_two_texts(pool):
    first = await sent(pool)
    merchant = await pool.fetchval("SELECT merchant_id FROM message")
    second = (await ask(pool, merchant, ANN)).id
    await StatusCallbacks(pool).take([told("delivered", m=second)])
    rows = await pool.fetch("SELECT id, sid, status FROM message ORDER BY id")
    assert [tuple(one) for one in rows] == [(first, SID, "delivered"), (second, None, None)]


# What codes mean


@pytest.mark.parametrize("code", sorted(MEANINGS))
async def test_a_code_is_recorded_as_what_it_means(pool, code):
    text = await sent(pool)
    await StatusCallbacks(pool).take([told("undelivered", m=text, ErrorCode=str(code))])
    assert (await row(pool))["error_code"] == code
    blocks = await pool.fetch("SELECT merchant_id, reason, source, note, consent_seq FROM suppression")
    meaning = MEANINGS[code]
    if meaning.reason is None:
        assert blocks == []
        return
    (block,) = blocks
    merchant = 0 if code in (21211, 21614, 30005, 30006) else await pool.fetchval("SELECT merchant_id FROM message")
    assert (block["merchant_id"], block["reason"], block["source"]) == (merchant, meaning.reason, "provider")
    assert meaning.said in block["note"]
    assert f"https://www.twilio.com/docs/api/errors/{code}" in block["note"]
    assert (block["consent_seq"] is not None) == (code == 21610)
    assert await pool.fetchval("SELECT count(*) FROM consent WHERE source = 'provider'") == int(code == 21610)


async def test_what_waits_for_a_handset_that_is_gone_is_cancelled(pool):
    text = await sent(pool)
    merchant = await pool.fetchval("SELECT merchant_id FROM message")
    waiting = (await ask(pool, merchant, ANN)).id
    await StatusCallbacks(pool).take([told("undelivered", m=text, ErrorCode="30005")])
    assert await pool.fetchval("SELECT state FROM message WHERE id = $1", waiting) == "cancelled"
    assert (await ask(pool, merchant, ANN)).reason == "unknown_handset"


async def test_what_a_merchants_own_account_says_of_a_handset_is_believed_of_its_texts_alone(pool):
    text = await sent(pool)
    merchant = await pool.fetchval("SELECT merchant_id FROM message")
    await accounts.put(pool, Account(SUB, "bakery", merchant, "token"))
    await pool.execute("UPDATE message SET account = $1", SUB)
    await StatusCallbacks(pool).take([told("undelivered", m=text, account=SUB, ErrorCode="30005")])
    assert [row[0] for row in await pool.fetch("SELECT merchant_id FROM suppression")] == [merchant]


async def test_a_stop_and_a_callback_at_the_same_time_do_not_wait_in_a_circle(pool):
    """A stop has people, the ledger and then texts; so has a callback that says what the person did at Twilio."""
    text = await sent(pool)
    merchant = await pool.fetchval("SELECT merchant_id FROM message")
    await grant(pool, merchant, BOB)
    waiting = (await ask(pool, merchant, BOB)).id
    (ann,), (bob,) = await pool.fetch("SELECT customer_id FROM message ORDER BY id")
    assert ann != bob
    at_head = asyncio.Event()

    async def stop() -> None:
        async with pool.acquire() as db, db.transaction():
            await customers.lock(db, [bob])
            entry = Entry(bob, merchant, "revoke", "all", "opt-out-message", NOON, "person", channel="all")
            await ledger.append(db, [entry], NOON)
            at_head.set()
            while not await pool.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
                await asyncio.sleep(0.01)
            await stopping.block(db, [Block(bob, merchant, "opt_out", "text", "person")], NOON)

    async def report() -> None:
        await at_head.wait()
        lost = told("undelivered", m=text, ErrorCode="21610")
        with capture_logs() as logs:
            await StatusCallbacks(pool).take([lost, told("delivered", "SM" + "b" * 32, m=waiting)])
        assert logs == [] or all(one["event"] != "transaction.again" for one in logs)

    await asyncio.gather(stop(), report())
    assert await pool.fetchval("SELECT count(*) FROM suppression") == 2


async def test_the_same_refusal_twice_is_one_block_and_one_row_of_the_ledger(pool):
    text = await sent(pool)
    taker = StatusCallbacks(pool)
    await taker.take([told("failed", m=text, ErrorCode="21610")])
    await taker.take([told("undelivered", m=text, ErrorCode="21610")])
    assert await pool.fetchval("SELECT count(*) FROM suppression") == 1
    assert await pool.fetchval("SELECT count(*) FROM consent WHERE source = 'provider'") == 1


async def test_who_came_back_after_the_text_was_sent_is_not_blocked_for_it(pool):
    text = await sent(pool)
    merchant = await pool.fetchval("SELECT merchant_id FROM message")
    await grant(pool, merchant, ANN, at=NOON.replace(minute=5), source="opt-in-message")
    await StatusCallbacks(pool).take([told("failed", m=text, at=600.0, ErrorCode="21610")])
    assert await pool.fetchval("SELECT count(*) FROM suppression") == 0


def test_every_code_has_words_for_people():
    assert said_of(30006) == MEANINGS[30006].said
    assert "https://www.twilio.com/docs/api/errors/12345" in said_of(12345)
