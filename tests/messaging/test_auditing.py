"""Whatever went out is looked at again: with the ledger, the suppressions, and what Twilio itself lists."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.consent import undoing
from holdfast.consent.keys import PhoneKey
from holdfast.drills.twilio import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, EmulatedTwilio
from holdfast.messaging import auditing, auditing_store
from holdfast.messaging.auditing import Auditor, Comparison, Report
from holdfast.messaging.model import ConflictError, MessagingError, UnknownError
from holdfast.messaging.signals import FINDINGS
from holdfast.twilio import store as accounts
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import Account
from tests.consent.test_lineage import batch
from tests.drills.twilio_sdk import async_sdk
from tests.messaging.sent import text
from tests.messaging.texts import ANN, BAKERY, BOB, GARAGE, NOON, come_back, grant, stop, town

pytestmark = pytest.mark.usefixtures("any_server")
SUB, SUB_TOKEN = "AC" + "5" * 32, "token-of-the-subaccount"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
KEY = PhoneKey(b"secret")


async def found(pool):
    return [(one.kind, one.subject) for one in await auditing_store.findings(pool, open_only=False)]


# What we sent, and the ledger


async def look(pool, now=NOON + HOUR):
    return await auditing.look(pool, NOON - HOUR, now)


async def test_texts_with_consent_are_no_finding(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    await text(pool, merchant, ANN, NOON)
    await text(pool, merchant, ANN, NOON, purpose="marketing")
    report = await look(pool)
    assert report.messages == 2
    assert await found(pool) == []


async def test_a_stop_after_the_text_makes_it_no_finding(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    await text(pool, merchant, ANN, NOON)
    await stop(pool, merchant, ANN, NOON + MINUTE)
    await look(pool)
    assert await found(pool) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("consent_seq = NULL", "no row of the ledger"),
        ("consent_seq = 999", "is not there"),
        ("customer_id = (SELECT id FROM customer WHERE phone = '+12125550122')", "another person's"),
        ("merchant_id = 999", "another merchant's"),
        ("tried_at = '2026-05-04T18:30Z'", "given later"),
        ("purpose = 'marketing'", "no disclosure"),
    ],
)
async def test_a_text_whose_consent_does_not_cover_it_is_found_once(pool, change, why):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN, NOON - 10 * MINUTE, disclosure=None)
    await grant(pool, merchant, BOB)
    number = await text(pool, merchant, ANN, NOON)
    await pool.execute(f"UPDATE message SET {change} WHERE id = $1", number)
    assert [len(ids) for ids in (await look(pool)).found.values()] == [1, 0, 0]
    assert (await look(pool)).found == {"no_consent": [], "after_stop": [], "bypassed": []}
    (finding,) = await auditing_store.findings(pool)
    assert (finding.kind, finding.subject, finding.is_critical) == ("no_consent", f"message:{number}", True)
    assert why in finding.said
    assert ANN not in finding.said


async def send_again(pool, number, at):
    """As a program would that asks nobody."""
    await pool.execute("UPDATE message SET tried_at = $2 WHERE id = $1", number, at)


async def test_a_text_that_was_tried_after_a_stop_is_found(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    number = await text(pool, merchant, ANN, NOON)
    await stop(pool, merchant, ANN, NOON + MINUTE)
    await send_again(pool, number, NOON + 2 * MINUTE)
    await look(pool)
    assert set(await found(pool)) == {("after_stop", f"message:{number}"), ("no_consent", f"message:{number}")}


async def test_what_was_decided_at_the_same_moment_as_a_stop_is_held_against_nobody(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    number = await text(pool, merchant, ANN, NOON)
    await stop(pool, merchant, ANN, NOON)
    await send_again(pool, number, NOON + auditing.GRACE - timedelta(seconds=1))
    await look(pool)
    assert await found(pool) == []


async def test_a_block_that_was_lifted_before_and_one_of_another_merchant_are_none(pool):
    merchants = await town(pool)
    await grant(pool, merchants.bakery, ANN)
    await stop(pool, merchants.garage, ANN, NOON - 30 * MINUTE)
    await pool.execute(
        "INSERT INTO suppression (customer_id, merchant_id, reason, source, actor, made_at, lifted_at) "
        "SELECT id, 0, 'operator', 'hand', 'ann', $1, $2 FROM customer",
        NOON - 30 * MINUTE,
        NOON - MINUTE,
    )
    await text(pool, merchants.bakery, ANN, NOON)
    await look(pool)
    assert await found(pool) == []


async def test_who_came_back_to_one_merchant_may_be_texted_by_it_and_by_no_other(pool):
    """Also when they stop everything again later."""
    merchants = await town(pool)
    for merchant in (merchants.bakery, merchants.garage):
        await grant(pool, merchant, ANN)
    to_bakery = await text(pool, merchants.bakery, ANN, NOON - 30 * MINUTE)
    to_garage = await text(pool, merchants.garage, ANN, NOON - 30 * MINUTE)
    await stop(pool, 0, ANN, NOON - 20 * MINUTE, reason="complaint")
    await come_back(pool, merchants.bakery, ANN, NOON - 10 * MINUTE)
    for number in (to_bakery, to_garage):
        await send_again(pool, number, NOON)
    await stop(pool, 0, ANN, NOON + 5 * MINUTE, reason="complaint")
    await look(pool)
    assert set(await found(pool)) == {("after_stop", f"message:{to_garage}"), ("no_consent", f"message:{to_garage}")}


async def test_a_text_before_they_came_back_and_one_after_they_stopped_again_are_found(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    before, between, after = [await text(pool, merchant, ANN, NOON - 50 * MINUTE) for _ in range(3)]
    await stop(pool, 0, ANN, NOON - 40 * MINUTE, reason="complaint")
    await come_back(pool, merchant, ANN, NOON - 20 * MINUTE)
    again = await stop(pool, 0, ANN, NOON, reason="complaint")
    assert again.is_new
    for number, at in ((before, -30), (between, -10), (after, 10)):
        await send_again(pool, number, NOON + at * MINUTE)
    await look(pool)
    findings = {one.message_id: one.said for one in await auditing_store.findings(pool, kind="after_stop")}
    assert findings.keys() == {before, after}
    assert f"suppression {again.suppression_id} " in findings[after]


async def test_a_text_that_an_import_allowed_stays_right_when_the_import_is_undone_later(pool):
    merchant = (await town(pool)).bakery
    number = await batch(pool, merchant)
    await grant(pool, merchant, ANN, source="import", batch_id=number, batch_row=1)
    right, wrong = [await text(pool, merchant, ANN, NOON) for _ in range(2)]
    await undoing.undo(pool, number, actor="ann", why="a bought list", clock=lambda: NOON + 5 * MINUTE)
    await send_again(pool, wrong, NOON + 10 * MINUTE)
    await look(pool)
    assert await found(pool) == [("no_consent", f"message:{wrong}")]
    assert right != wrong


# Twilio's list


@pytest.fixture
async def twilio():
    async with EmulatedTwilio(speed=200) as emulated:
        emulated.add_subaccount(SUB, SUB_TOKEN)
        emulated.add_number(BAKERY)
        emulated.add_number(GARAGE, account=SUB)
        emulated.add_number("+14155550109")
        yield emulated


@pytest.fixture
async def merchants(pool):
    made = await town(pool)
    await accounts.put(pool, Account(SUB, "garage", made.garage, SUB_TOKEN))
    return made


async def around(twilio, to, from_=BAKERY, body="Sale!", account=DEFAULT_ACCOUNT_SID):
    """A text that another program sends with our token; its sid."""
    token = SUB_TOKEN if account == SUB else DEFAULT_AUTH_TOKEN
    async with async_sdk(twilio, account, token) as sdk:
        sent = await sdk.messages.create_async(to=to, from_=from_, body=body)
    await twilio.settled()
    return sent.sid


async def compared(pool, twilio, now=None, since=None, subaccounts=(SUB,)):
    now = now or datetime.now(UTC) + timedelta(seconds=2)
    report = Report(now - HOUR, now)
    known = await accounts.accounts(pool)
    async with TwilioClient(DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, twilio.url, accounts=known) as client:
        await Comparison(pool, client, KEY, now, report).run((None, *subaccounts), since)
    return report


async def test_a_text_that_nobody_asked_the_gate_for_is_found_once(pool, twilio, merchants):
    await grant(pool, merchants.bakery, ANN)
    sid = await around(twilio, ANN)
    assert len((await compared(pool, twilio)).found["bypassed"]) == 1
    assert (await compared(pool, twilio)).found["bypassed"] == []
    (finding,) = await auditing_store.findings(pool)
    assert (finding.kind, finding.subject, finding.merchant_id) == ("bypassed", sid, merchants.bakery)
    assert finding.customer_id is not None
    assert not finding.is_critical
    assert ANN not in finding.said


async def test_one_to_somebody_who_stopped_is_critical(pool, twilio, merchants):
    await grant(pool, merchants.bakery, ANN)
    await stop(pool, merchants.bakery, ANN, datetime.now(UTC) - MINUTE)
    await around(twilio, ANN)
    await compared(pool, twilio)
    (finding,) = await auditing_store.findings(pool)
    assert finding.is_critical
    assert "opt_out" in finding.said


async def test_subaccounts_are_looked_at_too_and_their_texts_are_their_merchants(pool, twilio, merchants):
    sid = await around(twilio, BOB, GARAGE, account=SUB)
    await compared(pool, twilio, subaccounts=())
    assert await found(pool) == []
    await compared(pool, twilio)
    (finding,) = await auditing_store.findings(pool)
    assert (finding.subject, finding.merchant_id, finding.customer_id) == (sid, merchants.garage, None)


async def test_another_programs_own_number_is_its_own_matter_unless_it_texts_who_stopped_everything(
    pool, twilio, merchants
):
    await grant(pool, merchants.bakery, ANN)
    await around(twilio, ANN, "+14155550109")
    await compared(pool, twilio)
    assert await found(pool) == []
    await stop(pool, 0, ANN, datetime.now(UTC) - MINUTE, reason="complaint")
    sid = await around(twilio, ANN, "+14155550109")
    await compared(pool, twilio)
    assert (("bypassed", sid)) in await found(pool)


async def ours(pool, merchant, twilio, body, *, known, **changes):
    """A text of ours that Twilio has; whether we know its sid."""
    sid = await around(twilio, ANN, body=body)
    number = await text(pool, merchant, ANN, datetime.now(UTC), body=body, sid=sid if known else None)
    changed = {"sid": sid if known else None, "state": "sent" if known else "sending", **changes}
    for name, value in changed.items():
        await pool.execute(f"UPDATE message SET {name} = $2 WHERE id = $1", number, value)


async def test_what_we_sent_is_no_finding_whether_or_not_we_heard_its_sid(pool, twilio, merchants):
    await grant(pool, merchants.bakery, ANN)
    await ours(pool, merchants.bakery, twilio, "Your bread is ready.", known=True)
    await ours(pool, merchants.bakery, twilio, "Your cake is ready.", known=False)
    await ours(pool, merchants.bakery, twilio, "You are out.", known=False, kind="confirmation", state="sent")
    await ours(pool, merchants.bakery, twilio, "Call us.", known=True, kind="help")
    await ours(pool, merchants.bakery, twilio, "50% off_", known=False, state="failed")
    await ours(pool, merchants.bakery, twilio, "Tried twice.", known=True, tries=2)
    second = await around(twilio, ANN, body="Tried twice.")
    report = await compared(pool, twilio)
    assert report.listed >= 7
    assert await found(pool) == [], second


async def test_a_text_of_other_words_beside_an_uncertain_one_is_found(pool, twilio, merchants):
    await grant(pool, merchants.bakery, ANN)
    await ours(pool, merchants.bakery, twilio, "Your cake is ready.", known=False)
    sid = await around(twilio, ANN, body="Sale on cakes!")
    await compared(pool, twilio)
    assert await found(pool) == [("bypassed", sid)]


async def test_answers_to_keywords_are_no_finding_and_other_replies_are(pool, twilio, merchants):
    await grant(pool, merchants.bakery, ANN)
    await grant(pool, merchants.bakery, BOB)
    for number, (phone, verdict) in enumerate(((ANN, "stop"), (BOB, "other"))):
        await pool.execute(
            "INSERT INTO inbound_text (sid, merchant_id, customer_id, phone, received_at, verdict, score) "
            "SELECT $1, $2, id, $3, now(), $4, 1 FROM customer WHERE phone = $5",
            f"SMin{number}",
            merchants.bakery,
            BAKERY,
            verdict,
            phone,
        )
        # The emulator's replies want a web server; as Twilio lists them they differ by their direction alone.
        twilio._texts.send(
            DEFAULT_ACCOUNT_SID, {"To": phone, "From": BAKERY, "Body": "You are out."}, direction="outbound-reply"
        )
    await twilio.settled()
    await compared(pool, twilio)
    (finding,) = await auditing_store.findings(pool)
    assert finding.customer_id == await pool.fetchval("SELECT id FROM customer WHERE phone = $1", BOB)


async def test_an_erased_person_is_known_again_and_no_number_is_kept(pool, twilio, merchants):
    await grant(pool, merchants.bakery, ANN)
    await stop(pool, 0, ANN, datetime.now(UTC) - MINUTE, reason="erasure")
    await pool.execute("UPDATE customer SET phone = NULL, salt = NULL, phone_key = $1, erased_at = now()", KEY.of(ANN))
    await around(twilio, ANN)
    await compared(pool, twilio)
    (row,) = await pool.fetch("SELECT * FROM audit_finding")
    assert row["is_critical"]
    assert ANN not in str(dict(row))


async def test_twilios_list_is_read_on_from_where_it_was_left(pool, twilio, merchants):
    await around(twilio, ANN)
    now = datetime.now(UTC) + timedelta(seconds=2)
    assert (await compared(pool, twilio, now)).listed == 1
    later = now + auditing.OVERLAP + MINUTE
    assert (await compared(pool, twilio, later)).listed == 1, "what is listed late is not missed"
    assert (await compared(pool, twilio, later)).listed == 0
    marks = await pool.fetch("SELECT account, compared_until FROM audit_mark ORDER BY account")
    assert [row["compared_until"] for row in marks] == [later, later]
    by_hand = await compared(pool, twilio, now + HOUR, since=now - HOUR)
    assert by_hand.listed == 1
    assert await pool.fetchval("SELECT max(compared_until) FROM audit_mark") == later


async def test_an_account_that_refuses_keeps_the_others_from_nothing(pool, twilio, merchants):
    sid = await around(twilio, BOB, GARAGE, account=SUB)
    report = await compared(pool, twilio, subaccounts=("AC" + "0" * 32, SUB))
    assert report.refused.keys() == {"AC" + "0" * 32}
    assert await found(pool) == [("bypassed", sid)]
    assert await auditing_store.mark(pool, "AC" + "0" * 32) is None


async def test_the_auditor_looks_far_back_once_an_hour_and_else_at_the_last_minutes(pool, twilio, merchants):
    auditor = Auditor()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(TwilioClient(DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, twilio.url))
        first = await auditor.tick(pool, NOON, client, (), KEY)
        second = await auditor.tick(pool, NOON + 5 * MINUTE, None, (), KEY)
        third = await auditor.tick(pool, NOON + HOUR, None, (), KEY)
    assert (NOON - first.since, NOON + 5 * MINUTE - second.since) == (auditing.FULL, auditing.RECENT)
    assert NOON + HOUR - third.since == auditing.FULL
    assert (first.compared, second.compared) == (True, False)


async def test_findings_are_settled_by_hand_with_a_reason_and_stay_settled(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    number = await text(pool, merchant, ANN, NOON)
    await pool.execute("UPDATE message SET consent_seq = NULL WHERE id = $1", number)
    await look(pool)
    await auditing.measure(pool)
    assert FINDINGS.values == {("no_consent", "critical"): 1.0}
    (finding,) = await auditing_store.findings(pool)
    with pytest.raises(MessagingError, match="why"):
        await auditing.settle(pool, finding.id, actor="ann", why=" ", now=NOON)
    settled = await auditing.settle(pool, finding.id, actor="ann", why="a test of the gate", now=NOON)
    assert (settled.settled_by, settled.settled_why) == ("ann", "a test of the gate")
    with pytest.raises(ConflictError, match="settled by ann"):
        await auditing.settle(pool, finding.id, actor="bob", why="again", now=NOON)
    with pytest.raises(UnknownError):
        await auditing.settle(pool, finding.id + 1, actor="bob", why="again", now=NOON)
    await look(pool)
    assert await auditing_store.findings(pool) == []
    await auditing.measure(pool)
    assert FINDINGS.values == {}


async def test_many_findings_are_settled_for_one_reason(pool):
    place = await town(pool)
    number = await batch(pool, place.bakery)
    await grant(pool, place.bakery, ANN, source="import", batch_id=number, batch_row=1)
    await grant(pool, place.bakery, BOB)
    await grant(pool, place.garage, BOB)
    imported = await text(pool, place.bakery, ANN, NOON - 50 * MINUTE)
    for merchant in (place.bakery, place.garage):
        await text(pool, merchant, BOB, NOON)
    await pool.execute("UPDATE message SET consent_seq = NULL WHERE to_phone = $1", BOB)
    await undoing.undo(pool, number, actor="ann", why="a bought list", clock=lambda: NOON - 30 * MINUTE)
    await send_again(pool, imported, NOON)
    await look(pool)

    async def settled(**which):
        said = auditing_store.Which(**which)
        return len(await auditing.settle_many(pool, said, actor="ann", why="known", now=NOON))

    with pytest.raises(MessagingError, match="why"):
        await auditing.settle_many(pool, auditing_store.Which(), actor="ann", why=" ", now=NOON)
    assert len(await auditing_store.findings(pool)) == 3
    assert await settled(batch_id=number + 1) == await settled(kind="bypassed") == 0
    assert await settled(batch_id=number) == 1
    assert await settled(kind="no_consent", merchant_id=place.garage) == 1
    assert await settled() == 1
    assert await settled() == 0
    assert {one.settled_why for one in await auditing_store.findings(pool, open_only=False)} == {"known"}
