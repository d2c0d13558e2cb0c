"""The proof that nobody texts a person any more: by our record, and by Twilio's own list of every account."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.complaints import proof
from holdfast.config import Settings
from holdfast.consent import store as consent
from holdfast.consent import suppressing
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.messaging import gate
from holdfast.twilio import store as accounts
from holdfast.twilio.model import Account
from tests.complaints.people import MINUTE, SETTINGS, complain
from tests.drills.twilio_sdk import async_sdk
from tests.messaging.texts import ANN, BAKERY, BOB, GARAGE, NOON, ask, grant, town

SUB, TOKEN = "AC" + "b" * 32, "t" * 32
EPOCH = NOON.timestamp()


class Clock:
    """Of the emulated Twilio."""

    now = EPOCH

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def twilio(clock):
    async with EmulatedTwilio(speed=1000.0, clock=clock) as opened:
        opened.add_subaccount(SUB, TOKEN)
        opened.add_number(BAKERY)
        opened.add_number(GARAGE, account=SUB)
        yield opened


@pytest.fixture
def settings(twilio):
    return Settings(
        _env_file=None,
        twilio_account_sid=twilio.account_sid,
        twilio_auth_token=twilio.auth_token,
        twilio_api_url=twilio.url,
    )


@pytest.fixture
async def place(pool):
    found = await town(pool)
    await accounts.put(pool, Account(SUB, "Garage", found.garage, TOKEN))
    for merchant in (found.bakery, found.garage):
        await grant(pool, merchant, ANN)
    return found


async def sends(twilio, to=ANN, from_=BAKERY, **account):
    """Somebody sends with the account's token, past the gate."""
    async with async_sdk(twilio, **account) as sdk:
        return (await sdk.messages.create_async(to=to, from_=from_, body="Big sale!")).sid


async def test_it_holds_where_nothing_was_sent_and_says_what_was_cancelled(pool, place, settings, twilio, clock):
    clock.now = EPOCH - 600
    await sends(twilio)
    await ask(pool, place.bakery, ANN)
    filed = await complain(pool)
    await ask(pool, place.garage, ANN, now=NOON + MINUTE)
    clock.now = EPOCH + 60
    await sends(twilio, to=BOB)
    found = await proof.prove(pool, settings, filed.complaint, NOON + 2 * MINUTE)
    assert found.holds, found.said
    assert (found.cancelled, found.refused, found.listed, len(found.accounts)) == (1, 1, 0, 2)
    assert found.said == (
        "blocked since 2026-05-04 19:00:00 UTC; of texts to them 1 waited and were cancelled, 1 were refused since; "
        "none was sent, by our record and by Twilio's own list of 2 accounts"
    )


@pytest.mark.parametrize("sub", [False, True], ids=["main account", "subaccount"])
async def test_a_text_that_was_sent_past_the_gate_is_found(pool, place, settings, twilio, clock, sub):
    filed = await complain(pool)
    clock.now = EPOCH + 120
    sid = await (sends(twilio, from_=GARAGE, user=SUB, token=TOKEN) if sub else sends(twilio))
    found = await proof.prove(pool, settings, filed.complaint, NOON + 3 * MINUTE)
    assert not found.holds
    (stray,) = found.strays
    assert (stray.sid, stray.message_id, stray.from_) == (sid, None, GARAGE if sub else BAKERY)
    assert stray.at == NOON + 2 * MINUTE
    assert "past the gate" in found.said
    assert proof.document(found)["sent"][0]["passed_the_gate"] is False


async def test_one_in_the_very_second_of_the_complaint_counts_unless_it_is_ours(pool, place, settings, twilio, clock):
    at = NOON + timedelta(milliseconds=600)
    clock.now = at.timestamp() - 0.3
    decision = await ask(pool, place.bakery, ANN, now=NOON)
    sid = await sends(twilio)
    filed = await complain(pool, now=at)
    assert len((await proof.prove(pool, settings, filed.complaint, NOON + MINUTE)).strays) == 1
    await pool.execute(
        "UPDATE message SET state = 'sent', sid = $2, tried_at = $3 WHERE id = $1", decision.id, sid, NOON
    )
    found = await proof.prove(pool, settings, filed.complaint, NOON + MINUTE)
    assert (found.strays, found.listed) == ((), 1)


async def test_a_confirmation_is_no_stray_and_a_text_of_ours_is(pool, place, settings, twilio, clock):
    filed = await complain(pool)
    clock.now = EPOCH + 5
    confirmed, sent = await sends(twilio), await sends(twilio)
    for sid, kind in ((confirmed, "confirmation"), (sent, "text")):
        await pool.execute(
            "INSERT INTO message (merchant_id, customer_id, kind, purpose, state, rule, created_at, send_at, tried_at, "
            "sid) VALUES ($1, $2, $3, 'informational', 'sent', 'consent', $4, $4, $4, $5)",
            place.bakery,
            filed.complaint.customer_id,
            kind,
            NOON + timedelta(seconds=4),
            sid,
        )
    found = await proof.prove(pool, settings, filed.complaint, NOON + MINUTE)
    (stray,) = found.strays
    assert (stray.sid, stray.message_id is None) == (sent, False)
    assert "though they are blocked" in found.said


async def test_whoever_comes_back_by_themselves_may_be_texted_again(pool, place, settings, twilio, clock):
    filed = await complain(pool)
    async with pool.acquire() as db, db.transaction():
        await suppressing.resubscribe(
            db,
            filed.complaint.customer_id,
            place.bakery,
            "opt-in-message",
            NOON + MINUTE,
            actor="person",
            why="START",
            purposes=[("informational", None)],
        )
    decision = await ask(pool, place.bakery, ANN, now=NOON + 2 * MINUTE)
    assert decision.state == "queued"
    await gate.begin_sending(pool, [decision.id], now=NOON + 2 * MINUTE)
    clock.now = EPOCH + 121
    sid = await sends(twilio)
    await pool.execute("UPDATE message SET state = 'sent', sid = $2 WHERE id = $1", decision.id, sid)
    found = await proof.prove(pool, settings, filed.complaint, NOON + 3 * MINUTE)
    assert found.holds, found.said
    assert found.said.endswith("they came back to 1 by themselves")


async def test_a_reply_to_their_own_text_is_no_stray(pool, place, settings, twilio, clock):
    filed = await complain(pool)
    clock.now = EPOCH + 60
    reply = {"From": BAKERY, "To": ANN, "Body": "You are unsubscribed."}
    twilio._texts.send(twilio.account_sid, reply, "outbound-reply")
    assert len((await proof.prove(pool, settings, filed.complaint, NOON + 2 * MINUTE)).strays) == 1
    await pool.execute(
        "INSERT INTO inbound_text (sid, merchant_id, customer_id, phone, received_at, verdict, score) "
        "VALUES ('SM1', $1, $2, $3, $4, 'stop', 1)",
        place.bakery,
        filed.complaint.customer_id,
        BAKERY,
        NOON + MINUTE,
    )
    assert (await proof.prove(pool, settings, filed.complaint, NOON + 2 * MINUTE)).holds


async def test_twilio_that_cannot_be_asked_proves_nothing(pool, place, settings, twilio):
    filed = await complain(pool)
    unset = await proof.prove(pool, SETTINGS, filed.complaint, NOON + MINUTE)
    assert (unset.holds, unset.strays) == (False, ())
    assert "HOLDFAST_TWILIO_ACCOUNT_SID" in unset.said
    await accounts.put(pool, Account(SUB, "Garage", place.garage, "w" * 32))
    wrong = await proof.prove(pool, settings, filed.complaint, NOON + MINUTE)
    assert not wrong.holds
    assert [account for account, _ in wrong.unasked] == [SUB]
    assert "could not be asked" in wrong.said


async def test_a_block_that_was_lifted_by_hand_proves_nothing(pool, place, settings):
    filed = await complain(pool)
    assert filed.complaint.suppression_id is not None
    async with pool.acquire() as db, db.transaction():
        await suppressing.lift(
            db, filed.complaint.suppression_id, actor="eve", why="wrote to support, ticket 77: a wrong number", now=NOON
        )
    found = await proof.prove(pool, settings, filed.complaint, NOON + MINUTE)
    assert not found.holds
    assert "was lifted" in found.said
    assert await consent.suppressions_of(pool, filed.complaint.customer_id, live_only=True) == []


async def test_a_text_on_its_way_is_waited_for(pool, place, settings):
    now = datetime.fromtimestamp(int(time.time()), UTC)
    decision = await ask(pool, place.bakery, ANN, now=now)
    await gate.begin_sending(pool, [decision.id], lasts=timedelta(seconds=2), now=now)
    filed = await complain(pool, now=now)
    await pool.execute("UPDATE message SET sending_until = clock_timestamp() + interval '1 min'")
    found = await proof.prove(pool, settings, filed.complaint, now + MINUTE)
    assert (found.holds, found.on_their_way, found.strays) == (False, 1, ())
