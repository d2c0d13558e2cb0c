"""Texts that met a store that was away are found in Twilio's list, and are heard as if they had come then."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.drills.twilio import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, EmulatedTwilio
from holdfast.messaging import inbound, reviews
from holdfast.messaging.auditing import Comparison, Report
from holdfast.messaging.missing import Missing
from holdfast.twilio import store as accounts
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import Account
from tests.messaging.texts import ANN, BAKERY, BOB, GARAGE, KEY, ask, grant, town
from tests.voice.twilio import sid

SUB, SUB_TOKEN = "AC" + "2" * 32, "token-of-the-garage"
NOWHERE = "http://127.0.0.1:9/hooks/twilio/message"
OTHERS = "+14155550109"
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


class Clock:
    """Twilio's."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def twilio(clock) -> AsyncIterator[EmulatedTwilio]:
    """Nobody answers at the numbers' addresses, and there is no fallback."""
    async with EmulatedTwilio(speed=1000, clock=clock) as emulated:
        emulated.add_subaccount(SUB, SUB_TOKEN)
        for number, account in ((BAKERY, DEFAULT_ACCOUNT_SID), (GARAGE, SUB), (OTHERS, DEFAULT_ACCOUNT_SID)):
            emulated.add_number(number, account=account, sms_url=NOWHERE)
        yield emulated


@pytest.fixture
async def merchants(pool) -> Any:
    made = await town(pool)
    for merchant in (made.bakery, made.garage):
        await grant(pool, merchant, ANN, datetime.now(UTC) - timedelta(days=30))
    await accounts.put(pool, Account(SUB, "garage", made.garage, SUB_TOKEN))
    return made


async def audit(pool: Any, twilio: EmulatedTwilio, tmp_path: Any, **settings: Any) -> int:
    """How many texts were only found in the list."""
    now = datetime.now(UTC)
    report = Report(now - timedelta(hours=2), now)
    missing = Missing.of(Settings(data_dir=tmp_path, **settings), pool)
    known = await accounts.accounts(pool)
    async with TwilioClient(DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, twilio.url, accounts=known) as client:
        await Comparison(pool, client, KEY, now, report, missing).run((None, SUB), now - timedelta(hours=2))
    return report.heard


async def told(pool: Any) -> list[str]:
    return [row[0] for row in await pool.fetch("SELECT type FROM event WHERE provider = 'holdfast' ORDER BY type")]


async def may_be_texted(pool: Any, merchant_id: int) -> bool:
    return (await ask(pool, merchant_id, ANN, datetime.now(UTC))).rule == "consent"


async def test_a_stop_in_free_words_that_nobody_took_is_heard_once(pool, twilio, merchants, tmp_path, clock):
    assert (await twilio.text(ANN, BAKERY, "please stop texting me")).status != 200
    assert await pool.fetchval("SELECT count(*) FROM inbound_text") == 0
    assert [await audit(pool, twilio, tmp_path) for _ in range(2)] == [1, 0]
    row = await pool.fetchrow("SELECT verdict, received_at FROM inbound_text")
    assert tuple(row) == ("stop", clock.now)
    assert await pool.fetchval("SELECT given_at FROM consent WHERE action = 'revoke'") == clock.now
    assert await pool.fetchval("SELECT count(*) FROM message WHERE kind = 'confirmation'") == 0, "it is too late for it"
    assert await told(pool) == ["consent.revoked"]
    assert not await may_be_texted(pool, merchants.bakery)
    assert await may_be_texted(pool, merchants.garage)


async def test_what_is_told_all_the_same_afterwards_changes_nothing(pool, twilio, merchants, tmp_path):
    await twilio.text(ANN, BAKERY, "hello")
    assert await audit(pool, twilio, tmp_path) == 1
    (sent,) = [one for one in twilio.messages if one.direction == "inbound"]
    params = {"MessageSid": sent.sid, "From": ANN, "To": BAKERY, "Body": "hello"}
    main = Account(DEFAULT_ACCOUNT_SID, "main", 0, "")
    text = inbound.read(params, main, own_account=True, received=datetime.now(UTC).timestamp(), headers={}, raw=b"")
    (taken,) = await Missing.of(Settings(data_dir=tmp_path), pool)._inbox.take([text])
    assert not taken.is_new
    assert await told(pool) == ["text.received"]


async def test_what_may_still_be_told_and_what_is_another_programs_is_left(pool, twilio, merchants, tmp_path, clock):
    await twilio.text(ANN, OTHERS, "STOP")
    clock.now = datetime.now(UTC) - SECOND
    await twilio.text(ANN, BAKERY, "STOP")
    assert await audit(pool, twilio, tmp_path) == 0
    assert await may_be_texted(pool, merchants.bakery)


async def test_a_merchants_own_account_is_heard_for_it_alone(pool, twilio, merchants, tmp_path):
    await twilio.text(ANN, GARAGE, "stop texting me please")
    assert await audit(pool, twilio, tmp_path, stop_scope="company") == 1
    assert await may_be_texted(pool, merchants.bakery)
    assert not await may_be_texted(pool, merchants.garage)


async def test_a_late_start_does_not_undo_the_stop_after_it(pool, twilio, merchants, tmp_path, clock):
    await twilio.text(ANN, BAKERY, "START")
    clock.now += MINUTE
    await heard(pool, "STOP", clock.now, tmp_path)
    assert await audit(pool, twilio, tmp_path) == 1
    assert not await may_be_texted(pool, merchants.bakery)


async def test_a_late_start_does_not_undo_a_doubt_after_it(pool, twilio, merchants, tmp_path, clock):
    await twilio.text(ANN, BAKERY, "START")
    clock.now += MINUTE
    await heard(pool, "Too many texts", clock.now, tmp_path)
    assert await audit(pool, twilio, tmp_path) == 1
    assert not await may_be_texted(pool, merchants.bakery)
    assert len(await reviews.listing(pool, limit=5)) == 1


async def test_a_late_start_ends_the_stop_before_it(pool, twilio, merchants, tmp_path, clock):
    await heard(pool, "STOP", clock.now - MINUTE, tmp_path)
    await twilio.text(ANN, BAKERY, "START")
    assert await audit(pool, twilio, tmp_path) == 1
    assert await may_be_texted(pool, merchants.bakery)


@pytest.mark.parametrize("words", ["stop texting me please", "Too many texts"])
async def test_a_late_stop_does_not_undo_the_start_after_it(pool, twilio, merchants, tmp_path, clock, words):
    await heard(pool, "STOP", clock.now - 10 * MINUTE, tmp_path)
    await twilio.text(ANN, BAKERY, words)
    await heard(pool, "START", clock.now + 5 * MINUTE, tmp_path)
    assert await audit(pool, twilio, tmp_path, stop_scope="company") == 1
    assert await may_be_texted(pool, merchants.bakery)


async def test_a_late_stop_of_everything_stops_all_but_whom_they_came_back_to(pool, twilio, merchants, tmp_path, clock):
    await twilio.text(BOB, BAKERY, "stop texting me please")
    await grant(pool, merchants.garage, BOB, clock.now + 5 * MINUTE, source="link")
    assert await audit(pool, twilio, tmp_path, stop_scope="company") == 1
    found = {one: (await ask(pool, one, BOB, datetime.now(UTC))).rule for one in (merchants.bakery, merchants.garage)}
    assert found == {merchants.bakery: "suppressed", merchants.garage: "consent"}


async def heard(pool: Any, body: str, at: datetime, tmp_path: Any) -> None:
    """A text that was told in time."""
    params = {
        "MessageSid": sid("SM"),
        "From": ANN,
        "To": BAKERY,
        "Body": body,
    }
    main = Account(DEFAULT_ACCOUNT_SID, "main", 0, "")
    text = inbound.read(params, main, own_account=True, received=at.timestamp(), headers={}, raw=b"")
    inbox = Missing.of(Settings(data_dir=tmp_path), pool)._inbox
    inbox._clock = lambda: at + SECOND
    await inbox.take([text])
