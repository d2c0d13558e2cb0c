"""Doubtful texts block until a person has decided; what they decide counts from when the text came."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast.consent import suppressing
from holdfast.consent.keys import PhoneKey
from holdfast.messaging import inbound, optout, reviews
from holdfast.messaging.answering import Answering
from holdfast.messaging.model import UnknownError
from holdfast.messaging.reviews import NotWaitingError
from holdfast.messaging.signals import TO_REVIEW
from holdfast.twilio.model import Account
from tests.messaging.texts import ANN, BAKERY, BOB, GARAGE, NOON, ask, grant, town
from tests.voice.twilio import ACCOUNT, sid

pytestmark = pytest.mark.usefixtures("any_server")
MAIN = Account(ACCOUNT, "main", 0, "token")
DOUBTFUL = "Too many texts"
LATER = NOON + timedelta(hours=1)


async def receive(
    pool: Any, body: str, *, at: datetime = NOON, to: str = BAKERY, from_: str = ANN, scope: Any = "merchant"
) -> str:
    """A text as it is taken in; its sid."""
    about = {"MessageSid": sid("SM"), "From": from_, "To": to, "Body": body}
    text = inbound.read(about, MAIN, own_account=True, received=at.timestamp(), headers={}, raw=b"")
    answering = Answering(scope, optout.provider_word)
    box = inbound.Inbox(pool, PhoneKey, answering, optout.judge, clock=lambda: at)
    (taken,) = await box.take([text])
    assert taken.is_new
    return text.sid


async def told(pool: Any) -> Sequence[str]:
    return [row[0] for row in await pool.fetch("SELECT type FROM event WHERE provider = 'holdfast' ORDER BY seq")]


async def decide(pool: Any, number: str, decision: Any, now: datetime = LATER) -> Any:
    return await reviews.decide(pool, number, decision, actor="ann", note="read it", now=now)


async def test_revoked_is_in_the_ledger_from_when_the_text_came(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    number = await receive(pool, DOUBTFUL)
    after = await decide(pool, number, "revoked")
    assert (after.decision, after.reviewed_by, after.reviewed_at, after.review_note) == (
        "revoked",
        "ann",
        LATER,
        "read it",
    )
    row = await pool.fetchrow("SELECT * FROM consent ORDER BY seq DESC LIMIT 1")
    assert (row["action"], row["purpose"], row["given_at"], row["recorded_at"]) == ("revoke", "all", NOON, LATER)
    assert row["actor"] == "ann"
    assert (await ask(pool, found.bakery, ANN, LATER)).reason == "opt_out"
    assert await told(pool) == ["consent.revoked"]


async def test_ordinary_opens_again_and_hands_the_text_to_the_merchant(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    number = await receive(pool, DOUBTFUL)
    assert await told(pool) == []
    await decide(pool, number, "ordinary")
    assert (await ask(pool, found.bakery, ANN, LATER)).rule == "consent"
    assert await told(pool) == ["text.received"]
    assert await pool.fetchval("SELECT lifted_why FROM suppression") == f"text {number} was judged: ordinary"


async def test_while_another_doubtful_text_waits_the_person_stays_blocked(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    first, second = await receive(pool, DOUBTFUL), await receive(pool, DOUBTFUL, at=NOON + timedelta(minutes=1))
    await decide(pool, first, "ordinary")
    assert (await ask(pool, found.bakery, ANN, LATER)).reason == "doubtful"
    await decide(pool, second, "ordinary")
    assert (await ask(pool, found.bakery, ANN, LATER)).rule == "consent"


async def test_who_came_back_meanwhile_is_not_blocked_by_what_they_wrote_before(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    number = await receive(pool, DOUBTFUL)
    await grant(pool, found.bakery, ANN, NOON + timedelta(minutes=5), source="link")
    block = await pool.fetchval("SELECT id FROM suppression")
    async with pool.acquire() as db, db.transaction():
        await suppressing.lift(db, block, actor="person", why="the link", now=NOON + timedelta(minutes=5))
    await decide(pool, number, "revoked")
    assert (await ask(pool, found.bakery, ANN, LATER)).rule == "consent"
    assert await pool.fetchval("SELECT count(*) FROM consent WHERE action = 'revoke'") == 1


async def test_a_start_settles_what_waits_and_hands_it_to_the_merchant_once(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    number = await receive(pool, DOUBTFUL)
    await receive(pool, "START", at=NOON + timedelta(minutes=5))
    assert (await ask(pool, found.bakery, ANN, LATER)).rule == "consent"
    text = await reviews.show(pool, number)
    assert (text.decision, text.reviewed_by, text.reviewed_at) == ("ordinary", "person", NOON + timedelta(minutes=5))
    assert await reviews.listing(pool, limit=5) == []
    assert sorted(await told(pool)) == ["consent.granted", "text.received"]
    with pytest.raises(NotWaitingError, match="by person"):
        await decide(pool, number, "revoked")


async def test_a_yes_says_nothing_of_a_doubtful_text(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    number = await receive(pool, DOUBTFUL)
    await receive(pool, "Yes", at=NOON + timedelta(minutes=1))
    assert (await ask(pool, found.bakery, ANN, LATER)).reason == "doubtful"
    assert [one.sid for one in await reviews.listing(pool, limit=5)] == [number]


async def test_what_no_phone_sent_waits_for_nobody(pool):
    await town(pool)
    number = await receive(pool, DOUBTFUL, from_="72345")
    assert (await reviews.show(pool, number)).verdict == "other"
    assert await reviews.listing(pool, limit=5) == []
    assert await told(pool) == ["text.received"]


async def test_where_stops_are_the_companys_a_doubtful_one_is_too_but_not_where_the_person_came_back(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    await grant(pool, found.garage, ANN)
    number = await receive(pool, DOUBTFUL, scope="company")
    assert (await ask(pool, found.garage, ANN)).reason == "doubtful"
    await receive(pool, "START", at=NOON + timedelta(minutes=5), to=GARAGE, scope="company")
    await decide(pool, number, "revoked")
    assert (await ask(pool, found.garage, ANN, LATER)).rule == "consent"
    assert (await ask(pool, found.bakery, ANN, LATER)).reason == "opt_out"


async def test_a_text_is_judged_once_and_only_a_doubtful_one(pool):
    await town(pool)
    number, clear = await receive(pool, DOUBTFUL), await receive(pool, "STOP", from_=BOB)
    await decide(pool, number, "ordinary")
    with pytest.raises(NotWaitingError, match="judged already: ordinary, by ann"):
        await decide(pool, number, "revoked")
    with pytest.raises(NotWaitingError, match="was clear"):
        await decide(pool, clear, "ordinary")
    with pytest.raises(UnknownError, match="no text"):
        await decide(pool, "SM1", "ordinary")
    assert await pool.fetchval("SELECT count(*) FROM consent") == 1


async def test_the_list_is_oldest_first_in_pages_and_counted(pool):
    found = await town(pool)
    sids = [await receive(pool, DOUBTFUL, at=NOON + timedelta(minutes=n)) for n in range(3)]
    await receive(pool, "hello")
    page = await reviews.listing(pool, limit=2)
    assert [one.sid for one in page] == sids[:2]
    assert [one.sid for one in await reviews.listing(pool, limit=2, before=page[-1].sid)] == sids[2:]
    assert await reviews.listing(pool, limit=9, merchant_id=found.garage) == []
    await reviews.measure(pool)
    assert TO_REVIEW.values == {(): 3}


async def test_an_erased_persons_doubtful_text_can_still_be_judged(pool):
    await town(pool)
    number = await receive(pool, DOUBTFUL)
    await pool.execute("UPDATE customer SET phone = NULL, salt = NULL, phone_key = '\\x01', erased_at = now()")
    await decide(pool, number, "revoked", datetime.now(UTC))
    assert await told(pool) == []
    assert await pool.fetchval("SELECT reason FROM suppression WHERE lifted_at IS NULL") == "opt_out"
