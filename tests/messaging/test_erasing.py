"""Who asks to be forgotten is: nothing of them is left, and their number stays blocked for ever."""

import re
from datetime import timedelta
from typing import Any

import pytest

from holdfast.comms.messages import to_mailboxes
from holdfast.config import Settings
from holdfast.consent import customers, keys, ledger, number_patterns, store, suppressing, verifying
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import ConsentError, Entry, KeyMissingError, RefusedError, UnknownError
from holdfast.messaging import erasing, gate
from holdfast.messaging.model import Ask
from tests.messaging.texts import ANN, BOB, NOON, ask, grant, stop, town

pytestmark = pytest.mark.usefixtures("any_server")
SECRET = PhoneKey(b"a key of at least thirty-two characters")
DIGITS = ANN.removeprefix("+")
WRITTEN = f"(415) 555{chr(0x2013)}0111, or 415.555.0111"
MAILBOX = "ann.z@example.org"
LINK = "https://bread.example/consent/abc"
FORM = f"MessageSid=SM1&From=%2B{DIGITS}&Body=please+stop".encode()


async def known(pool: Any) -> int:
    """Ann, of whom everything is known that can be; the bakery's id."""
    found = await town(pool)
    detail = {"ip": "203.0.113.7", "words": f"call me on {ANN}"}
    row = await grant(pool, found.bakery, ANN, detail=detail, origin="raffle")
    await grant(pool, found.garage, BOB)
    sent = await ask(pool, found.bakery, ANN, key=f"reminder-{DIGITS}")
    await pool.execute("UPDATE message SET state = 'sent', sid = 'SM9', note = $2 WHERE id = $1", sent.id, ANN)
    await ask(pool, found.bakery, ANN, body=f"To {ANN}")
    ann = await pool.fetchval("SELECT id FROM customer WHERE phone = $1", ANN)
    for statement, values in {
        "INSERT INTO contact VALUES ($1, $2, 'Ann', 'ann@example.com', $3, 1, 1, $4)": (ann, found.bakery, ANN, NOON),
        "INSERT INTO contact_before VALUES (1, $1, 'Anna', $2, NULL)": (ann, ANN),
        "INSERT INTO inbound_text (sid, merchant_id, customer_id, phone, body, received_at, verdict, score) "
        "VALUES ('SM1', $1, $2, '+14155550100', $3, $4, 'doubtful', 0.5)": (found.bakery, ann, f"I am {ANN}", NOON),
        "INSERT INTO complaint (customer_id, merchant_id, source, key, text, answer_to, received_at, recorded_at, "
        "due_at, filed_by, cause) VALUES ($1, 0, 'api', $2, $2, $2, $3, $3, $3, 'kim', $2)": (ann, ANN, NOON),
        "INSERT INTO event (provider, event_id, type, lane, object_id, livemode, created_at, received_at, headers, "
        "body) VALUES ('twilio', 'e1', 'text.received', 1, 'SM1', true, $1, $1, '{}', $2)": (NOON, FORM),
        "INSERT INTO event (provider, event_id, type, lane, object_id, livemode, created_at, received_at, headers, "
        "body) VALUES ('twilio', 'e2', 'text.received', 1, 'SM2', true, $1, $1, '{}', $2)": (NOON, b"From=%2B1"),
        "INSERT INTO import_batch (merchant_id, file, sha256, state, actor, began_at) "
        "VALUES ($1, 'f', '', 'applied', 'ann', $2)": (found.bakery, NOON),
        "INSERT INTO import_reject VALUES (1, 3, 'duplicate', '(415) 555-0111 / 1 415 555 0111')": (),
        "INSERT INTO call (sid, account, phone, merchant_id, region, caller, status, rank, began_at, answer) "
        "VALUES ('CA1', 'AC1', '+14155550100', $1, 'US', $2, 'completed', 1, $3, $4)": (
            found.bakery,
            ANN,
            NOON,
            f"dial {ANN}",
        ),
        "INSERT INTO voicemail (sid, call_sid, account, merchant_id, phone, caller, url, at, transcription) "
        "VALUES ('RE1', 'CA1', 'AC1', $1, '+14155550100', $2, 'https://x', $3, 'Two loaves')": (
            found.bakery,
            ANN,
            NOON,
        ),
        "INSERT INTO report (at, kind, source, text, actor) VALUES ($1, 'customer', 'mail', $2, 'kim')": (
            NOON,
            f"{ANN} says so",
        ),
        "INSERT INTO audit_finding (kind, subject, merchant_id, customer_id, sent_at, found_at, said, is_critical) "
        "VALUES ('bypassed', 'SM4', $1, $2, $3, $3, $4, false)": (found.bakery, ann, NOON, f"to {ANN}"),
        "INSERT INTO idempotency (key, fingerprint, body) VALUES ('k', '', $1)": (FORM,),
        "INSERT INTO reconsent_link (digest, customer_id, merchant_id, purpose, disclosure_id, actor, made_at, "
        "expires_at) VALUES ('', $1, $2, 'marketing', 1, 'kim', $3, $3)": (ann, found.bakery, NOON),
        "INSERT INTO complaint (customer_id, merchant_id, source, key, text, answer_to, received_at, recorded_at, "
        "due_at, filed_by, cause, answer) VALUES ($1, 0, 'api', $2, $3, $4, $5, $5, $5, 'kim', $3, $3)": (
            ann,
            "ticket of 415-555-0111",
            WRITTEN,
            MAILBOX,
            NOON,
        ),
        "INSERT INTO complaint (customer_id, merchant_id, source, key, text, received_at, recorded_at, due_at, "
        "filed_by, cause) SELECT id, 0, 'api', '415/555/0111', $1, $2, $2, $2, 'kim', $1 FROM customer "
        "WHERE phone = $3": (WRITTEN, NOON, BOB),
        "UPDATE import_batch SET undone_why = $1": (WRITTEN,),
        "UPDATE audit_finding SET settled_why = $1, settled_by = 'kim'": (f"Ann Zed, {WRITTEN}",),
        "INSERT INTO import_reject VALUES (1, 4, 'no country', '(415) 555-0111'), (1, 5, 'bad', 'x 415 555 0199')": (),
        "INSERT INTO event (provider, event_id, type, lane, object_id, livemode, created_at, received_at, headers, "
        "body) VALUES ('holdfast', 'e3', 'text.received', 1, 'SM3', true, $1, $1, '{}', $2)": (
            NOON,
            b"Body=%28415%29+555-0111",
        ),
    }.items():
        await pool.execute(statement, *values)
    await ask(pool, found.garage, BOB, body=f"Ann's is {WRITTEN}")
    await pool.execute("UPDATE message SET state = 'sent' WHERE body LIKE 'Ann%'")
    await to_mailboxes(
        pool, "complaint-2/reply", "complaint_reply", "Sorry", f"{LINK} {MAILBOX}", None, [(0, MAILBOX)], NOON
    )
    await pool.execute("UPDATE work SET due_at = $1", NOON)
    await pool.execute("DELETE FROM work WHERE stage = 2")  # it was mailed
    await pool.execute(
        "INSERT INTO attempt (delivery_id, attempt, at, outcome, latency, error, response) "
        "SELECT id, 1, $1, 'rejected', 0, $2, $3 FROM delivery",
        NOON,
        f"550 {MAILBOX}",
        MAILBOX.encode(),
    )
    await stop(pool, found.bakery, ANN)
    await pool.execute("UPDATE suppression SET note = $1, lifted_why = $2", ANN, f"Ann Zed, {WRITTEN}")
    assert row == 1
    return found.bakery


async def erase(pool: Any, phone: str = ANN, key: PhoneKey = SECRET) -> Any:
    return await erasing.erase(pool, phone, key, actor="kim", why=f"letter of {phone}", now=NOON + timedelta(days=1))


async def found_in(pool: Any, needle: str) -> list[str]:
    """Every column of the database that holds this, however it is punctuated."""
    needle = re.sub("[^A-Za-z0-9@:]", "", needle)
    columns = await pool.fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns JOIN information_schema.tables "
        "USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE' "
        "AND data_type IN ('text', 'json', 'jsonb', 'bytea', 'ARRAY', 'character varying')"
    )
    found = []
    for table, column, kind in columns:
        written = f"encode(\"{column}\", 'escape')" if kind == "bytea" else f'"{column}"::text'
        holds = f"position($1 IN regexp_replace({written}, '%2[89]|\\\\[0-7]{{3}}|[^A-Za-z0-9@:]', '', 'g')) > 0"
        if await pool.fetchval(f'SELECT EXISTS (SELECT FROM "{table}" WHERE {holds})', needle):
            found.append(f"{table}.{column}")
    return sorted(found)


async def test_nothing_of_an_erased_person_is_left_and_the_ledger_still_holds(pool):
    await known(pool)
    needles = {DIGITS: 18, DIGITS[1:]: 26, MAILBOX: 5, LINK: 1, "203.0.113.7": 1, "ann@example.com": 1, "Ann Zed": 2}
    for needle, columns in needles.items():
        assert len(await found_in(pool, needle)) >= columns, needle
    done = await erase(pool)
    for needle in (*needles, "Two loaves", "please+stop"):
        assert await found_in(pool, needle) == []
    assert (await verifying.verify(pool)).is_ok
    row = await pool.fetchrow("SELECT reason, counts::text FROM erasure WHERE id = $1", done.id)
    assert row[0] == "letter of (erased)"
    assert done.counts["events"] == 4  # the answer that the API kept, and the text to somebody else, among them
    assert done.counts["messages"] == 2
    assert await pool.fetchval("SELECT said FROM import_reject WHERE line = 5") == "x 415 555 0199"
    assert await pool.fetchval("SELECT cause FROM complaint WHERE id = 3") == "(erased), or (erased)"
    assert await pool.fetchval("SELECT body FROM message WHERE body LIKE 'Ann%'") == "Ann's is (erased), or (erased)"


async def test_events_keep_that_they_were_there(pool):
    await known(pool)
    await erase(pool)
    rows = await pool.fetch("SELECT event_id, type, body FROM event WHERE provider = 'twilio' ORDER BY seq")
    assert [tuple(row) for row in rows] == [("e1", "text.received", b"{}"), ("e2", "text.received", b"From=%2B1")]


async def test_an_erased_person_stays_blocked_and_is_known_again(pool):
    bakery = await known(pool)
    await erase(pool)
    asked = Ask(bakery, ANN, "informational", "Bread!", key="again")
    (said,) = await gate.decide(pool, [asked], SECRET, now=NOON + timedelta(days=2))
    assert (said.rule, said.reason) == ("suppressed", "erasure")
    assert await found_in(pool, DIGITS) == []
    found = await customers.find(pool, [ANN], SECRET)
    assert found[ANN].erased_at is not None
    entry = Entry(found[ANN].id, bakery, "grant", "marketing", "import", NOON, "kim")
    async with pool.acquire() as db:
        entry = Entry(found[ANN].id, bakery, "grant", "marketing", "import", NOON, "kim")
        with pytest.raises(ConsentError, match="was erased"):
            await ledger.append(db, [entry], NOON)


async def test_what_waits_for_them_is_cancelled(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    said = await ask(pool, merchant, ANN)
    done = await erase(pool)
    assert done.cancelled == 1
    row = await pool.fetchrow("SELECT state, to_phone, body FROM message WHERE id = $1", said.id)
    assert row == ("cancelled", None, None)


async def test_erasing_twice_looks_through_the_events_again(pool):
    await known(pool)
    await erase(pool)
    await pool.execute("UPDATE event SET body = $1 WHERE event_id = 'e2'", FORM)
    again = await erase(pool)
    assert (again.id, again.counts) == (None, {"events": 1})
    assert await pool.fetchval("SELECT count(*) FROM erasure") == 1


async def test_who_only_called_is_erased_and_blocked_too(pool):
    merchant = (await town(pool)).bakery
    await pool.execute(
        "INSERT INTO call (sid, account, phone, merchant_id, region, caller, status, rank, began_at) "
        "VALUES ('CA1', 'AC1', '+14155550100', $1, 'US', $2, 'completed', 1, $3)",
        merchant,
        ANN,
        NOON,
    )
    done = await erase(pool)
    assert (done.id is not None, done.counts) == (True, {"calls": 1})
    assert await found_in(pool, DIGITS) == []
    asked = Ask(merchant, ANN, "informational", "Bread!", key="again")
    (said,) = await gate.decide(pool, [asked], SECRET, now=NOON + timedelta(days=2))
    assert said.reason == "erasure"


async def test_a_call_after_the_erasure_goes_when_it_is_done_again(pool):
    bakery = await known(pool)
    await erase(pool)
    await pool.execute("UPDATE call SET caller = $1, merchant_id = $2", ANN, bakery)
    assert (await erase(pool)).counts == {"calls": 1}
    assert await found_in(pool, DIGITS) == []


async def test_a_mailbox_that_others_have_stays(pool):
    await known(pool)
    await pool.execute("INSERT INTO person (key, name, email, role) VALUES ('zed', 'Zed', $1, 'responder')", MAILBOX)
    await erase(pool)
    assert await found_in(pool, MAILBOX) == ["destination.address", "person.email"]


async def test_files_of_their_complaints_go_and_where_else_they_may_be_is_said(pool, tmp_path):
    await known(pool)
    for number in (1, 2, 3):
        (tmp_path / f"complaint-{number}.zip").write_bytes(b"PK")
    done = await erasing.erase(pool, ANN, SECRET, actor="kim", why="letter", now=NOON, exports=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["complaint-3.zip"]
    assert done.counts["exports"] == 2
    assert f"{tmp_path} of this machine: complaint-1.zip, complaint-2.zip" in done.out_of_reach[-1]


@pytest.mark.parametrize(
    ("phone", "text", "left"),
    [
        (ANN, "at +1 (415) 555-0111.", "at (erased)."),
        (ANN, "0014155550111/415 555 01 11/x", "(erased)/(erased)/x"),
        (ANN, "not 415 555 0112", "not 415 555 0112"),
        ("+447911123456", "on 07911 123 456!", "on (erased)!"),
        ("+34612345678", "612-34-56-78, 0034 612 345 678", "(erased), (erased)"),
        ("+4712345678", "ring 123 45 678, order 9123456780", "ring (erased), order 9123456780"),
    ],
)
async def test_numbers_are_found_however_they_are_written_by_python_and_postgresql(pool, phone, text, left):
    pattern = number_patterns.written(phone)
    assert re.sub(pattern, "(erased)", text) == left
    assert await pool.fetchval("SELECT regexp_replace($1, $2, '(erased)', 'g')", text, pattern) == left


async def test_another_key_later_is_refused(pool):
    await known(pool)
    await erase(pool)
    with pytest.raises(KeyMissingError, match="HOLDFAST_ERASURE_KEY"):
        await erase(pool, BOB, PhoneKey(b"another key of thirty-two characters"))
    with pytest.raises(KeyMissingError):
        await gate.decide(pool, [Ask(1, "+14155550199", "informational", "x")], PhoneKey())


async def test_nobody_who_is_not_known_is_erased_and_nobody_without_a_reason(pool):
    with pytest.raises(UnknownError, match="nothing is known"):
        await erase(pool)
    with pytest.raises(ConsentError, match="why"):
        await erasing.erase(pool, ANN, SECRET, actor="kim", why=" ", now=NOON)


async def test_an_erased_person_may_come_back_to_one_merchant_by_their_own_deed(pool):
    bakery = await known(pool)
    await erase(pool)
    ann = (await customers.find(pool, [ANN], SECRET))[ANN].id
    later = NOON + timedelta(days=2)
    async with pool.acquire() as db, db.transaction():
        person = await customers.revive(db, ann, ANN, later)
        await suppressing.resubscribe(
            db, ann, bakery, "opt-in-message", later, actor="person", why="START", purposes=[("informational", None)]
        )
    assert (person.phone, person.zones) == (ANN, ("America/Los_Angeles",))
    assert (await ask(pool, bakery, ANN, later)).rule == "consent"
    garage = await pool.fetchval("SELECT id FROM merchant WHERE key = 'garage'")
    assert (await ask(pool, garage, ANN, later)).reason == "erasure"
    assert (await verifying.verify(pool)).is_ok
    assert (await erase(pool)).id is not None
    assert (await gate.decide(pool, [Ask(bakery, ANN, "informational", "x")], SECRET, now=later))[0].reason == "erasure"
    assert (await verifying.verify(pool)).is_ok
    assert await found_in(pool, DIGITS) == []


async def test_the_block_of_an_erasure_is_not_lifted_by_hand_and_that_of_a_complaint_not_lightly(pool):
    await known(pool)
    await stop(pool, 0, ANN, reason="complaint")
    await erase(pool)
    by_reason = {one.reason: one.id for one in await store.suppressions_of(pool, 1)}
    async with pool.acquire() as db:
        with pytest.raises(RefusedError, match="stays for ever"):
            await suppressing.lift(db, by_reason["erasure"], actor="kim", why="a very good reason indeed", now=NOON)
        with pytest.raises(RefusedError, match="text START"):
            await suppressing.lift(db, by_reason["complaint"], actor="kim", why="asked to", now=NOON)
        why = "wrote to support, ticket 77: it was the wrong number"
        assert (await suppressing.lift(db, by_reason["complaint"], actor="kim", why=why, now=NOON)).lifted_why == why


async def test_a_key_that_another_process_makes_later_is_read_then(tmp_path):
    settings = Settings(data_dir=tmp_path)
    early = PhoneKey.load(settings)
    assert (early.is_there, early.of(ANN)) == (False, None)
    made = PhoneKey.load_or_make(settings)
    assert early.look_again()
    assert early.of(ANN) == made.of(ANN) is not None
    assert (tmp_path / keys.FILE).stat().st_mode & 0o777 == 0o600
