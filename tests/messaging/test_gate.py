"""A text is sent only to who agreed to it and did not stop it; what was committed first always wins."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast.consent import customers
from holdfast.messaging import gate, gate_store
from holdfast.messaging.model import Ask
from tests.messaging.texts import ANN, BAKERY, BOB, KEY, NOON, ask, grant, stop, town

pytestmark = pytest.mark.usefixtures("any_server")
LATE = NOON + timedelta(hours=10)
"""22:00 in San Francisco."""


async def turn(pool: Any, value: str, target: str = "") -> None:
    await pool.execute(
        "INSERT INTO lever (name, target, value, actor, reason, set_at) "
        "VALUES ('messaging.texts', $1, to_jsonb($2::text), 'ann', 'test', now())",
        target,
        value,
    )


async def test_a_text_with_consent_is_queued_from_the_merchants_number(pool):
    merchant = (await town(pool)).bakery
    row = await grant(pool, merchant, ANN)
    said = await ask(pool, merchant, ANN)
    assert (said.state, said.rule, said.consent_seq, said.send_at) == ("queued", "consent", row, NOON)
    assert await pool.fetchval("SELECT from_phone FROM message") == BAKERY
    assert await pool.fetchval("SELECT count(*) FROM work WHERE stage = 3 AND ref = $1", said.id) == 1


async def test_a_text_without_consent_is_refused_and_recorded_without_its_words(pool):
    merchant = (await town(pool)).bakery
    said = await ask(pool, merchant, ANN)
    assert (said.state, said.rule, said.consent_seq) == ("refused", "no_consent", None)
    assert await pool.fetchrow("SELECT state, body FROM message") == ("refused", None)
    assert await pool.fetchval("SELECT count(*) FROM work") == 0


async def test_consent_to_one_merchant_is_none_to_another(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    assert (await ask(pool, found.garage, ANN)).rule == "no_consent"


async def test_marketing_needs_consent_in_writing(pool):
    merchant = (await town(pool)).bakery
    row = await grant(pool, merchant, ANN, disclosure=None)
    said = await ask(pool, merchant, ANN, purpose="marketing")
    assert (said.rule, said.consent_seq) == ("not_written", row)
    assert (await ask(pool, merchant, ANN)).rule == "consent"


async def test_consent_to_reminders_is_none_to_marketing(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN, purpose="informational")
    assert (await ask(pool, merchant, ANN, purpose="marketing")).rule == "no_consent"


async def test_a_stop_blocks_the_merchant_that_sent_and_no_other(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    await grant(pool, found.garage, ANN)
    stopped = await stop(pool, found.bakery, ANN)
    said = await ask(pool, found.bakery, ANN)
    assert (said.rule, said.suppression_id, said.reason) == ("suppressed", stopped.suppression_id, "opt_out")
    assert said.consent_seq == stopped.consent_seq
    assert (await ask(pool, found.garage, ANN)).rule == "consent"


async def test_a_complaint_blocks_every_merchant(pool):
    found = await town(pool)
    await grant(pool, found.garage, ANN)
    await stop(pool, 0, ANN, reason="complaint")
    assert (await ask(pool, found.garage, ANN)).reason == "complaint"
    assert (await ask(pool, found.bakery, ANN)).reason == "complaint"


async def test_a_consent_from_before_the_stop_that_comes_later_undoes_nothing(pool):
    merchant = (await town(pool)).bakery
    await stop(pool, merchant, ANN)
    await pool.execute("UPDATE suppression SET lifted_at = now()")
    await grant(pool, merchant, ANN, at=NOON - timedelta(days=400))
    assert (await ask(pool, merchant, ANN)).rule == "revoked"


async def test_what_waits_is_cancelled_by_a_stop_and_leaves_the_queue(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    await grant(pool, found.garage, ANN)
    now, later = await ask(pool, found.bakery, ANN), await ask(pool, found.bakery, ANN, send_at=LATE)
    other = await ask(pool, found.garage, ANN)
    stopped = await stop(pool, found.bakery, ANN)
    assert stopped.cancelled == (now.id, later.id)
    assert [row[0] for row in await pool.fetch("SELECT ref FROM work")] == [other.id]
    assert await pool.fetchval("SELECT count(*) FROM done WHERE stage = 3 AND outcome = 'cancelled'") == 2


async def test_who_takes_a_text_after_a_stop_gets_no_leave(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    said = await ask(pool, merchant, ANN)
    await pool.execute("UPDATE message SET state = 'sending' WHERE id = $1", said.id)  # taken by one who was killed
    await stop(pool, merchant, ANN)
    leave = (await gate.begin_sending(pool, [said.id]))[said.id]
    assert (leave.verdict, leave.rule) == ("cancelled", "suppressed")
    assert await gate.begin_sending(pool, [said.id]) == {}


async def test_leave_is_given_for_a_time(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    said = await ask(pool, merchant, ANN)
    assert (await gate.begin_sending(pool, [said.id], now=NOON))[said.id].verdict == "send"
    row = await pool.fetchrow("SELECT state, tries, sending_until FROM message")
    assert row == ("sending", 1, NOON + gate.SENDING)


@pytest.mark.parametrize(
    ("phone", "now", "goes"),
    [
        (ANN, "2026-05-05T05:00:00+00:00", "2026-05-05T15:00:00+00:00"),  # 22:00 → 8:00 the next day
        (ANN, "2026-05-05T12:00:00+00:00", "2026-05-05T15:00:00+00:00"),  # 5:00 → 8:00 the same day
        (ANN, "2026-05-05T03:59:00+00:00", "2026-05-05T03:59:00+00:00"),  # 20:59
        (BOB, "2026-05-05T03:59:00+00:00", "2026-05-05T12:00:00+00:00"),  # 23:59 in New York
        ("+18005550100", "2026-05-05T12:30:00+00:00", "2026-05-05T18:00:00+00:00"),  # 8:30 there, 2:30 in Honolulu
    ],
)
async def test_marketing_waits_for_the_morning_where_the_person_is(pool, phone, now, goes):
    merchant = (await town(pool)).bakery
    at = datetime.fromisoformat(now)
    await grant(pool, merchant, phone)
    said = await ask(pool, merchant, phone, at, purpose="marketing")
    assert said.send_at == datetime.fromisoformat(goes)
    assert said.held_by == ("quiet_hours" if now != goes else None)
    assert (await ask(pool, merchant, phone, at)).send_at == at


async def test_what_is_taken_in_quiet_hours_after_all_goes_back(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    said = await ask(pool, merchant, ANN, purpose="marketing")
    leave = (await gate.begin_sending(pool, [said.id], now=LATE))[said.id]
    assert (leave.verdict, leave.at) == ("later", NOON + timedelta(hours=20))


async def test_marketing_to_one_person_is_capped(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    said = [await ask(pool, merchant, ANN, purpose="marketing") for _ in range(4)]
    assert [one.rule for one in said] == ["consent", "consent", "consent", "frequency_cap"]
    assert (await ask(pool, merchant, ANN, NOON + timedelta(days=1), purpose="marketing")).rule == "consent"


async def test_what_waits_for_the_same_morning_counts_against_the_caps_of_that_day(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    said = [await ask(pool, merchant, ANN, LATE + timedelta(minutes=n), purpose="marketing") for n in range(5)]
    assert [one.rule for one in said] == ["consent"] * 3 + ["frequency_cap"] * 2


async def test_texts_that_are_decided_together_count_against_each_other(pool):
    found = await town(pool)
    for phone in (ANN, BOB):
        await grant(pool, found.bakery, phone)
    await grant(pool, found.garage, ANN)
    ten = [Ask(found.bakery, ANN, "marketing", f"{n}") for n in range(10)]
    others = [Ask(found.garage, ANN, "marketing", "x"), Ask(found.bakery, BOB, "marketing", "x")]
    reminders = [Ask(found.bakery, ANN, "informational", "x")]
    said = await gate.decide(pool, [*ten, *others, *reminders], KEY, now=NOON)
    assert [one.rule for one in said] == ["consent"] * 3 + ["frequency_cap"] * 7 + ["consent"] * 3
    assert await pool.fetchval("SELECT count(*) FROM work WHERE stage = 3") == 6


async def test_of_texts_that_are_taken_together_no_more_get_leave_than_the_caps_allow(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    await pool.execute("UPDATE messaging_policy SET most_per_day = 9")
    said = [await ask(pool, merchant, ANN, purpose="marketing") for _ in range(8)]
    await pool.execute("UPDATE messaging_policy SET most_per_day = 3")
    assert (await gate.begin_sending(pool, [said[0].id], now=NOON))[said[0].id].verdict == "send"
    leaves = await gate.begin_sending(pool, [one.id for one in said], now=NOON)  # the first one once more
    assert [leaves[one.id].verdict for one in said] == ["send"] * 3 + ["cancelled"] * 5
    assert {leaves[one.id].rule for one in said[3:]} == {"frequency_cap"}


async def test_who_waited_for_the_lock_counts_what_was_taken_meanwhile(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    await pool.execute(
        "UPDATE messaging_policy SET most_per_day = 9, most_per_week = 99, opens = '00:00', closes = '23:59:59.99'"
    )
    one, other = [(await ask(pool, merchant, ANN, None, purpose="marketing")).id for _ in range(2)]
    await pool.execute("UPDATE messaging_policy SET most_per_day = 1")
    person = (await customers.find(pool, [ANN], KEY))[ANN]
    async with pool.acquire() as late, pool.acquire() as early, late.transaction():
        await late.execute("SELECT now()")  # its transaction begins
        async with early.transaction():
            await customers.lock(early, [person.id])
            (first,) = await gate_store.begin_sending(early, [one], gate.SENDING, now=None)
        await customers.lock(late, [person.id])
        (second,) = await gate_store.begin_sending(late, [other], gate.SENDING, now=None)
    assert (first["verdict"], second["verdict"], second["rule"]) == ("send", "cancelled", "frequency_cap")


async def test_marketing_that_no_hour_is_right_for_is_refused(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, "+18005550100")
    await grant(pool, merchant, ANN)
    held = await ask(pool, merchant, "+18005550100", LATE, purpose="marketing")
    await pool.execute("UPDATE messaging_policy SET opens = '10:00', closes = '15:00'")
    said = await ask(pool, merchant, "+18005550100", purpose="marketing")
    assert (said.state, said.rule) == ("refused", "no_hours")
    assert (await ask(pool, merchant, "+18005550100")).rule == "consent"
    assert (await ask(pool, merchant, ANN, purpose="marketing")).rule == "consent"
    leave = (await gate.begin_sending(pool, [held.id], now=held.send_at))[held.id]
    assert (leave.verdict, leave.rule) == ("cancelled", "no_hours")


async def test_a_consent_by_a_clock_that_is_a_little_ahead_counts_at_once(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN, datetime.now(UTC) + timedelta(seconds=30))
    assert (await ask(pool, merchant, ANN, None)).rule == "consent"


async def test_a_text_that_is_tried_again_does_not_count_against_itself(pool):
    merchant = (await town(pool)).bakery
    await pool.execute("UPDATE messaging_policy SET most_per_day = 1")
    await grant(pool, merchant, ANN)
    said = [await ask(pool, merchant, ANN, purpose="marketing", send_at=NOON + timedelta(days=days)) for days in (0, 2)]
    one, other = [decision.id for decision in said]
    assert (await gate.begin_sending(pool, [one], now=NOON))[one].verdict == "send"
    assert (await gate.begin_sending(pool, [one], now=NOON + timedelta(minutes=1)))[one].verdict == "send"
    leave = (await gate.begin_sending(pool, [other], now=NOON + timedelta(minutes=2)))[other]
    assert (leave.verdict, leave.rule) == ("cancelled", "frequency_cap")


async def test_texts_can_be_turned_off_or_held_for_all_or_one(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    await grant(pool, found.garage, ANN)
    await turn(pool, "refuse")
    await turn(pool, "hold", f"merchant:{found.bakery}")
    assert (await ask(pool, found.garage, ANN)).rule == "messaging_off"
    held = await ask(pool, found.bakery, ANN)
    assert (held.state, held.held_by) == ("queued", "messaging_on_hold")
    assert (await gate.begin_sending(pool, [held.id]))[held.id].verdict == "later"


async def test_the_same_key_is_the_same_text(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    first = await ask(pool, merchant, ANN, key="a", fingerprint=b"1")
    again = await ask(pool, merchant, ANN, key="a", fingerprint=b"1")
    other = await ask(pool, merchant, ANN, key="a", fingerprint=b"2")
    assert (again.id, again.is_repeat, again.is_conflict) == (first.id, True, False)
    assert other.is_conflict
    assert await pool.fetchval("SELECT count(*) FROM message") == 1


async def test_a_merchant_without_a_number_cannot_text_and_none_with_anothers(pool):
    found = await town(pool)
    await grant(pool, found.garage, ANN)
    assert (await ask(pool, found.garage, ANN, from_=BAKERY)).rule == "no_sender"
    await pool.execute("DELETE FROM number WHERE merchant_id = $1", found.garage)
    assert (await ask(pool, found.garage, ANN)).rule == "no_sender"
