"""Texts at their door: an acknowledged STOP is stored and nothing more goes out; each text is acted on once."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from holdfast.consent import ledger, verifying
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import Entry
from holdfast.db.pool import create_pool
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.messaging import erasing, gate
from holdfast.twilio import store as accounts
from holdfast.twilio.model import Account
from tests.gateway.text_door import MAIN, Door, text_door, twilio_at, we_answer
from tests.messaging.texts import ANN, BAKERY, FORM, GARAGE, ask, grant, town
from tests.voice.twilio import Twilio, sid

NOW = datetime.now(UTC)
BEFORE = NOW - timedelta(days=30)
SUB = Account("AC" + "2" * 32, "garage", 0, "token-of-the-garage")
EMPTY = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'


@pytest.fixture
async def door(pool, tmp_path) -> AsyncIterator[Door]:
    async with text_door(pool, tmp_path) as opened:
        yield opened


@pytest.fixture
async def twilio(door, pool) -> AsyncIterator[EmulatedTwilio]:
    async with twilio_at(door, pool) as opened:
        yield opened


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def sdk(door, session) -> Twilio:
    """Signs with Twilio's own library."""
    return Twilio(session, door.url, token=MAIN.auth_token)


def text(body: str = "STOP", **more: str) -> dict[str, str]:
    return {
        "MessageSid": sid("SM"),
        "AccountSid": MAIN.sid,
        "From": ANN,
        "To": BAKERY,
        "Body": body,
        "NumMedia": "0",
    } | more


async def verdicts(pool: Any) -> list[str]:
    return [row[0] for row in await pool.fetch("SELECT verdict FROM inbound_text ORDER BY received_at, sid")]


async def replies(pool: Any) -> list[tuple[str, str]]:
    return [tuple(row) for row in await pool.fetch("SELECT kind, body FROM message WHERE kind <> 'text' ORDER BY id")]


async def told(pool: Any) -> list[str]:
    """Types of what merchants hear."""
    return [row[0] for row in await pool.fetch("SELECT type FROM event WHERE provider = 'holdfast' ORDER BY seq")]


async def test_a_stop_blocks_the_merchant_is_in_the_ledger_and_is_confirmed_once(pool, twilio):
    found = await town(pool)
    await we_answer(pool)
    await grant(pool, found.bakery, ANN, BEFORE)
    await grant(pool, found.garage, ANN, BEFORE)
    result = await twilio.text(ANN, BAKERY, "Stop")
    assert (result.status, result.error, result.replies) == (200, None, ())
    assert (await ask(pool, found.bakery, ANN, datetime.now(UTC))).reason == "opt_out"
    assert (await ask(pool, found.garage, ANN, datetime.now(UTC))).rule == "consent"
    row = await pool.fetchrow("SELECT * FROM consent WHERE action = 'revoke'")
    assert (row["purpose"], row["source"], row["merchant_id"]) == ("all", "opt-out-message", found.bakery)
    said = json.loads(await pool.fetchval("SELECT said FROM consent_detail WHERE seq = $1", row["seq"]))
    assert (said["words"], said["message"]) == ("Stop", result.sid)
    assert await replies(pool) == [
        ("confirmation", "You will get no more texts from The Bakery. Reply START to get them again.")
    ]
    await twilio.text(ANN, BAKERY, "STOP!!")
    assert len(await replies(pool)) == 1
    assert await told(pool) == ["consent.revoked"]


async def test_the_confirmation_is_from_the_number_texted_comes_first_and_expires(pool, twilio):
    await town(pool)
    await we_answer(pool)
    await twilio.text(ANN, BAKERY, "stop")
    row = await pool.fetchrow("SELECT m.*, work.lane FROM message m JOIN work ON work.stage = 3 AND work.ref = m.id")
    received = await pool.fetchval("SELECT received_at FROM inbound_text")
    assert (row["from_phone"], row["to_phone"], row["lane"], row["account"]) == (BAKERY, ANN, 0, None)
    assert row["not_after"] == received + timedelta(minutes=5)
    late = await gate.begin_sending(pool, [row["id"]], now=received + timedelta(minutes=5, seconds=1))
    assert late[row["id"]].verdict == "expired"


async def test_a_confirmation_goes_out_although_the_person_is_blocked(pool, twilio):
    await town(pool)
    await we_answer(pool)
    await twilio.text(ANN, BAKERY, "stop")
    number = await pool.fetchval("SELECT id FROM message")
    assert (await gate.begin_sending(pool, [number]))[number].verdict == "send"


async def test_what_twilio_answered_is_not_answered_again(pool, twilio):
    await town(pool)
    await twilio.text(ANN, BAKERY, "STOP")
    await twilio.text(ANN, BAKERY, "HELP")
    assert await verdicts(pool) == ["stop", "help"]
    assert await replies(pool) == []


async def test_a_stop_in_other_words_is_answered_since_twilio_does_not_know_it(pool, twilio):
    await town(pool)
    await twilio.text(ANN, BAKERY, "Please stop texting me")
    assert await verdicts(pool) == ["stop"]
    assert [kind for kind, _ in await replies(pool)] == ["confirmation"]


async def test_spanish_is_answered_in_spanish(pool, twilio):
    await town(pool)
    await twilio.text(ANN, BAKERY, "No me manden más mensajes por favor")
    assert await replies(pool) == [
        ("confirmation", "No recibirá más mensajes de The Bakery. Responda START para volver a recibirlos.")
    ]


async def test_twilios_word_beats_ours_and_is_not_confirmed(pool, door):
    found = await town(pool)
    await we_answer(pool)
    async with twilio_at(door, pool, advanced_opt_out=True) as twilio:
        await twilio.text(ANN, BAKERY, "stop")
    row = await pool.fetchrow("SELECT verdict, provider_said FROM inbound_text")
    assert tuple(row) == ("stop", "STOP")
    assert await replies(pool) == []
    assert (await ask(pool, found.bakery, ANN, datetime.now(UTC))).rule == "suppressed"


async def test_where_stops_are_the_companys_one_silences_every_merchant(pool, tmp_path):
    found = await town(pool)
    await grant(pool, found.garage, ANN, BEFORE)
    async with text_door(pool, tmp_path, stop_scope="company") as door, twilio_at(door, pool) as twilio:
        await twilio.text(ANN, BAKERY, "stop")
        assert (await ask(pool, found.garage, ANN, datetime.now(UTC))).reason == "opt_out"
        await twilio.text(ANN, GARAGE, "start")
    assert (await ask(pool, found.garage, ANN, datetime.now(UTC))).rule == "consent"
    assert (await ask(pool, found.bakery, ANN, datetime.now(UTC))).rule == "suppressed"


async def test_start_brings_back_what_held_before_the_stop_in_writing(pool, twilio):
    found = await town(pool)
    await grant(pool, found.bakery, ANN, BEFORE)
    for body in ("stop", "stop texting me", "UNSTOP"):
        await twilio.text(ANN, BAKERY, body)
    row = await pool.fetchrow("SELECT * FROM consent ORDER BY seq DESC LIMIT 1")
    assert (row["action"], row["purpose"], row["source"]) == ("grant", "marketing", "opt-in-message")
    assert await pool.fetchval("SELECT text FROM disclosure WHERE id = $1", row["disclosure_id"]) == FORM
    assert (await ask(pool, found.bakery, ANN, datetime.now(UTC), purpose="marketing")).rule == "consent"
    assert await told(pool) == ["consent.revoked", "consent.granted"]


async def test_start_after_a_stop_without_any_consent_before_is_for_reminders_alone(pool, twilio):
    found = await town(pool)
    await twilio.text(ANN, BAKERY, "stop")
    await twilio.text(ANN, BAKERY, "start")
    now = datetime.now(UTC)
    assert (await ask(pool, found.bakery, ANN, now)).rule == "consent"
    assert (await ask(pool, found.bakery, ANN, now, purpose="marketing")).rule == "revoked"


async def test_a_consent_that_an_operator_took_back_does_not_return(pool, twilio):
    found = await town(pool)
    await grant(pool, found.bakery, ANN, BEFORE)
    person = await pool.fetchval("SELECT id FROM customer")
    entry = Entry(person, found.bakery, "revoke", "all", "operator", BEFORE, "ann")
    async with pool.acquire() as db, db.transaction():
        await ledger.append(db, [entry], BEFORE)
    await twilio.text(ANN, BAKERY, "stop")
    await twilio.text(ANN, BAKERY, "start")
    now = datetime.now(UTC)
    assert (await ask(pool, found.bakery, ANN, now, purpose="marketing")).rule == "revoked"
    assert (await ask(pool, found.bakery, ANN, now)).rule == "consent"


@pytest.mark.parametrize("yes", ["YES", "Sí", "si."])
async def test_a_yes_is_an_answer_unless_the_person_had_stopped(pool, twilio, yes):
    found = await town(pool)
    await grant(pool, found.bakery, ANN, BEFORE)
    await twilio.text(ANN, BAKERY, yes)
    assert (await verdicts(pool), await told(pool)) == (["other"], ["text.received"])
    await twilio.text(ANN, BAKERY, "stop")
    await twilio.text(ANN, BAKERY, yes)
    assert (await verdicts(pool))[2] == "start"
    assert (await ask(pool, found.bakery, ANN, datetime.now(UTC))).rule == "consent"


async def test_help_is_answered_also_to_the_blocked_but_not_for_ever(pool, twilio):
    found = await town(pool)
    await we_answer(pool)
    await pool.execute("INSERT INTO messaging_policy (merchant_id, help_text) VALUES ($1, 'Ask 555.')", found.garage)
    await twilio.text(ANN, BAKERY, "stop")
    await twilio.text(ANN, BAKERY, "HELP")
    await twilio.text(ANN, GARAGE, "help")
    assert (await replies(pool))[1:] == [
        ("help", "Texts from The Bakery. Reply STOP to get no more."),
        ("help", "Ask 555."),
    ]
    for _ in range(9):
        await twilio.text(ANN, GARAGE, "help")
    assert len([one for one in await replies(pool) if one[1] == "Ask 555."]) == 5


async def test_a_doubtful_text_blocks_until_somebody_has_decided_and_the_ledger_says_nothing_yet(pool, tmp_path):
    found = await town(pool)
    await grant(pool, found.bakery, ANN, BEFORE)
    async with text_door(pool, tmp_path) as door, twilio_at(door, pool) as twilio:
        await twilio.text(ANN, BAKERY, "who is this")
        await twilio.text(ANN, BAKERY, "too many texts")
    assert "doubtful" in await verdicts(pool)
    assert (await ask(pool, found.bakery, ANN, datetime.now(UTC))).reason == "doubtful"
    assert await pool.fetchval("SELECT count(*) FROM consent WHERE action = 'revoke'") == 0
    assert await replies(pool) == []


async def test_what_else_people_write_goes_to_the_merchants_mailbox(pool, twilio):
    found = await town(pool)
    result = await twilio.text(ANN, BAKERY, "Do you have rye <b>bread</b>?")
    row = await pool.fetchrow(
        "SELECT d.kind, d.address, event.event_id, event.body FROM delivery JOIN event ON event.seq = event_seq "
        "JOIN destination d ON d.id = destination_id"
    )
    assert (row["kind"], row["address"], row["event_id"]) == (
        "contact",
        "bakery@example.com",
        f"text.received:{result.sid}",
    )
    about = json.loads(row["body"])["data"]["object"]
    assert (about["from"], about["to"], about["merchant"], about["body"]) == (
        ANN,
        BAKERY,
        "bakery",
        "Do you have rye <b>bread</b>?",
    )
    assert await pool.fetchval("SELECT merchant_id FROM inbound_text") == found.bakery


async def test_a_merchant_whose_mail_subscribes_gets_no_second_one(pool, twilio):
    found = await town(pool)
    await pool.execute(
        "INSERT INTO destination (merchant_id, kind, address, events) VALUES "
        "($1, 'email', 'a@example.com', '{text.*}'), ($1, 'webhook', 'https://example.com/', '{*}')",
        found.bakery,
    )
    await twilio.text(ANN, BAKERY, "Do you have rye bread?")
    await twilio.text(ANN, BAKERY, "stop")
    rows = await pool.fetch(
        "SELECT d.kind, event.type FROM delivery JOIN event ON event.seq = event_seq JOIN destination d "
        "ON d.id = destination_id ORDER BY 2, 1"
    )
    assert [tuple(row) for row in rows] == [
        ("webhook", "consent.revoked"),
        ("email", "text.received"),
        ("webhook", "text.received"),
    ]


async def test_pictures_emoji_long_texts_and_nul_are_kept(pool, door, sdk, session):
    await town(pool)
    async with twilio_at(door, pool) as twilio:
        await twilio.text(ANN, BAKERY, "", media=["https://example.com/1.jpg", "https://example.com/2.jpg"])
    for body in ("🍞" * 3, "bread " * 1000, "a\0b", ""):
        assert (await sdk.post("message", text(body)))[0] == 200
    rows = await pool.fetch("SELECT body, media, verdict FROM inbound_text ORDER BY received_at")
    assert rows[0]["media"] == ["https://example.com/1.jpg", "https://example.com/2.jpg"]
    assert [row["body"] for row in rows] == ["", "🍞" * 3, "bread " * 1000, "a\ufffdb", ""]
    assert {row["verdict"] for row in rows} == {"other"}
    assert any(b"a%00b" in row[0] for row in await pool.fetch("SELECT body FROM event WHERE provider = 'twilio'"))


async def test_the_same_text_twenty_times_at_once_is_one(pool, sdk):
    await town(pool)
    await we_answer(pool)
    about = text()
    answers = await asyncio.gather(*(sdk.post("message", about) for _ in range(20)))
    assert {(status, body) for status, body, _ in answers} == {(200, EMPTY)}
    assert (await sdk.post("message", about))[0] == 200
    assert await pool.fetchval("SELECT count(*) FROM consent") == 1
    assert await pool.fetchval("SELECT count(*) FROM suppression") == 1
    assert len(await replies(pool)) == 1
    assert await pool.fetchval("SELECT count(*) FROM event WHERE event_id = $1", about["MessageSid"]) == 1
    assert await pool.fetchval("SELECT count(*) FROM inbound_text") == 1


async def test_many_people_at_once_are_all_heard(pool, sdk):
    await town(pool)
    people = [f"+1415555{n:04d}" for n in range(60)]
    answers = await asyncio.gather(*(sdk.post("message", text(From=one)) for one in people * 2))
    assert {status for status, _, _ in answers} == {200}
    assert await pool.fetchval("SELECT count(DISTINCT customer_id) FROM suppression WHERE lifted_at IS NULL") == 60


async def test_a_stop_is_acknowledged_only_when_nothing_more_can_go_out(pool, sdk):
    found = await town(pool)
    await grant(pool, found.bakery, ANN, BEFORE)
    said = await ask(pool, found.bakery, ANN, NOW)
    await gate.begin_sending(pool, [said.id], lasts=timedelta(seconds=60))
    about = text()
    for _ in range(2):  # neither at first nor when it comes again
        asked = asyncio.create_task(sdk.post("message", about))
        async with asyncio.timeout(10):
            while not await pool.fetchval("SELECT count(*) FROM suppression"):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert not asked.done()
        await pool.execute("UPDATE message SET sending_until = now()")
        assert (await asked)[0] == 200
        await pool.execute("UPDATE message SET sending_until = now() + interval '1 minute'")


async def test_with_the_store_away_a_text_is_refused_so_that_the_fallback_is_asked(tmp_path, session):
    nowhere = await create_pool("postgresql:///x?host=/nowhere", size=1, name="tests")
    async with text_door(nowhere, tmp_path) as door:
        status, body, headers = await Twilio(session, door.url, token=MAIN.auth_token).post("message", text())
    nowhere.terminate()
    assert (status, headers["retry-after"]) == (503, "5")
    assert json.loads(body)["status"] == 503


async def test_a_merchants_own_account_speaks_for_its_numbers_alone(pool, tmp_path, session):
    found = await town(pool)
    garage = Account(SUB.sid, "garage", found.garage, SUB.auth_token)
    async with text_door(pool, tmp_path, accounts=[garage]) as door:
        signed = Twilio(session, door.url, token=garage.auth_token)
        for body in ("STOP", "START", "HELP", "hello"):
            assert (await signed.post("message", text(body, AccountSid=garage.sid)))[0] == 403
        notes = await pool.fetch("SELECT note FROM done WHERE note LIKE '%another merchant%'")
        assert len(notes) == await pool.fetchval("SELECT count(*) FROM event WHERE provider = 'twilio'") == 4
        assert await told(pool) == ["consent.revoked"]
        assert await replies(pool) == []
        assert (await signed.post("message", text(AccountSid=garage.sid, To=GARAGE)))[0] == 200
        await we_answer(pool)
        assert (await signed.post("message", text(AccountSid=garage.sid, To="+15005550006", From="+14155550177")))[
            0
        ] == 200
    assert {row[0] for row in await pool.fetch("SELECT merchant_id FROM suppression")} == {found.garage}
    assert await pool.fetchval("SELECT account FROM message WHERE kind = 'confirmation'") == garage.sid


async def test_a_stop_at_nobodys_number_silences_everybody_and_a_start_there_nobody(pool, sdk):
    found = await town(pool)
    await grant(pool, found.garage, ANN, BEFORE)
    await sdk.post("message", text(To="+15005550006"))
    assert (await ask(pool, found.garage, ANN, datetime.now(UTC))).rule == "suppressed"
    await sdk.post("message", text("START", To="+15005550006"))
    assert (await ask(pool, found.garage, ANN, datetime.now(UTC))).rule == "suppressed"


async def test_a_messaging_service_tells_whose_text_it_is(pool, sdk):
    found = await town(pool)
    service = "MG" + "3" * 32
    await pool.execute("INSERT INTO messaging_policy (merchant_id, sender) VALUES ($1, $2)", found.garage, service)
    await sdk.post("message", text(To="+15005550006", MessagingServiceSid=service))
    assert await pool.fetchval("SELECT merchant_id FROM suppression") == found.garage


async def test_who_is_no_phone_cannot_be_blocked_but_is_heard(pool, sdk):
    await town(pool)
    await sdk.post("message", text(From="AMAZON"))
    await sdk.post("message", text(From=f"whatsapp:{ANN}", To=f"whatsapp:{BAKERY}"))
    assert await verdicts(pool) == ["stop", "stop"]
    assert await told(pool) == ["text.received", "consent.revoked"]
    assert await replies(pool) == []


async def test_an_erased_person_stays_blocked_by_stop_and_comes_back_by_start(pool, tmp_path):
    found = await town(pool)
    secret = "a-key-that-is-long-enough-for-erasures"
    await grant(pool, found.bakery, ANN, BEFORE)
    async with text_door(pool, tmp_path, erasure_key=secret) as door, twilio_at(door, pool) as twilio:
        await we_answer(pool)
        key = PhoneKey(secret.encode())
        await erasing.erase(pool, ANN, key, actor="ann", why="asked", now=datetime.now(UTC))
        assert (await twilio.text(ANN, BAKERY, "stop")).status == 200
        assert await pool.fetchval("SELECT count(*) FROM consent WHERE source = 'opt-out-message'") == 0
        assert await replies(pool) == []
        assert (await twilio.text(ANN, BAKERY, "start")).status == 200
        row = await pool.fetchrow("SELECT phone, phone_key, erased_at FROM customer")
        assert tuple(row) == (ANN, None, None)
        now = datetime.now(UTC)
        assert (await ask(pool, found.bakery, ANN, now)).rule == "consent"
        assert (await ask(pool, found.bakery, ANN, now, purpose="marketing")).rule == "revoked"
        assert (await ask(pool, found.garage, ANN, now)).reason == "erasure"
        assert (await twilio.text(ANN, BAKERY, "stop")).status == 200
    assert [kind for kind, _ in await replies(pool)] == ["confirmation"]
    assert (await verifying.verify(pool)).broken is None


async def test_what_is_not_signed_or_not_a_text_is_refused_and_not_written(pool, sdk, session, door):
    await town(pool)
    target = "/hooks/twilio/message"
    assert (await sdk.send(target, urlencode(text()).encode(), signature="no"))[0] == 403
    async with session.get(door.url + target) as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert (await sdk.post("message", text("x" * 70_000)))[0] == 413
    assert (await sdk.post("message", {name: value for name, value in text().items() if name != "MessageSid"}))[
        0
    ] == 400
    assert (await sdk.send(target, b"Body=%ff&MessageSid=SM1", signature="no"))[0] == 400
    assert await pool.fetchval("SELECT count(*) FROM event") == 0


async def test_status_callbacks_are_passed_on_with_all_that_came(sdk, door):
    about = {"MessageSid": sid("SM"), "AccountSid": MAIN.sid, "MessageStatus": "delivered", "From": BAKERY, "To": ANN}
    status, body, _ = await sdk.post("message-status?message=7", about)
    assert (status, body) == (204, b"")
    (report,) = door.reports
    assert (report.params, report.query, report.account) == (about, {"message": "7"}, MAIN.sid)
    assert report.body == urlencode(about).encode()


async def test_of_a_number_that_moved_the_account_that_sent_still_tells_what_became_of_a_text(pool, tmp_path, session):
    found = await town(pool)
    now = datetime.now(UTC)
    await accounts.put(pool, Account(SUB.sid, "garage", found.garage, SUB.auth_token))
    known = await accounts.accounts(pool)
    for phone in (ANN, "+12125550122"):
        await grant(pool, found.bakery, phone, BEFORE)
        await ask(pool, found.bakery, phone, now)
    await pool.execute("UPDATE message SET state = 'sent', tried_at = now(), sid = 'SM' || lpad(id::text, 32, '0')")
    await pool.execute("UPDATE message SET account = $1 WHERE id = 1", SUB.sid)
    async with text_door(pool, tmp_path, accounts=known, reports_are_kept=True) as door:
        signed = Twilio(session, door.url, token=SUB.auth_token)
        for number in (1, 2):
            about = {"MessageSid": f"SM{number:032}", "AccountSid": SUB.sid, "MessageStatus": "failed", "From": BAKERY}
            assert (await signed.post("message-status", about | {"ErrorCode": "30005"}))[0] == 204
    assert [row[0] for row in await pool.fetch("SELECT status FROM message ORDER BY id")] == ["failed", None]
    assert [row[0] for row in await pool.fetch("SELECT merchant_id FROM suppression")] == [found.bakery]


async def test_a_status_callback_that_cannot_be_stored_is_to_come_again(pool, tmp_path, session):
    async with text_door(pool, tmp_path, reports_fail=True) as door:
        signed = Twilio(session, door.url, token=MAIN.auth_token)
        assert (await signed.post("message-status", {"MessageSid": sid("SM"), "AccountSid": MAIN.sid}))[0] == 503
