"""What is said where calls are hit: by what became of them, in calls, and of nobody but oneself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.comms import actions, publishing, texts
from holdfast.comms.affected import AffectedMerchant, CallFigures, affected
from holdfast.comms.figures import Figures, figures
from holdfast.comms.status_actions import publish
from holdfast.config import Settings
from holdfast.incidents import store as incidents
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.runbooks.actions import Done, NotApplicable, Run, Waiting
from holdfast.voice.routing import decide
from tests.comms.incidents import opened
from tests.comms.town import FROM, incident, send
from tests.voice.lines import BAKERY as LINE
from tests.voice.lines import NIGHTLY, NOON, line, snapshot

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TROUBLE = incident(NOW - 30 * MINUTE, runbook="twilio-outage", state="mitigating", title="Calls fail")
VOICEMAIL_ONLY = "voicemail: voicemail only: all"


class Exchange:
    """Merchants, and calls to them half an hour ago or later."""

    def __init__(self, pool) -> None:
        self.pool = pool
        self.calls = 0

    async def merchant(self, key, email=None) -> int:
        return (await merchants.insert(self.pool, NewMerchant(key, key.title(), email, None))).id

    async def call(self, merchant, outcome, answer="dial +15550100", *, ago=10, is_test=False, leg=None) -> None:
        self.calls += 1
        sid, at = f"CA{self.calls:032x}", NOW - ago * MINUTE
        await self.pool.execute(
            """
            INSERT INTO call (sid, account, phone, merchant_id, region, caller, is_test, status, rank, began_at, answer,
                              outcome)
            VALUES ($1, 'AC1', '+15550101', $2, 'US', '+15550199', $3, 'completed', 9, $4, $5, $6)
            """,
            sid,
            merchant,
            is_test,
            at,
            answer,
            outcome,
        )
        if leg is not None:
            await self.pool.execute(
                "INSERT INTO leg (call_sid, target, place, phone, region, outcome, at) VALUES ($1, '+15550100', 1, "
                "'+15550101', 'US', $2, $3)",
                sid,
                leg,
                at,
            )

    async def affected(self, **changes):
        return await affected(self.pool, replace(TROUBLE, **changes), NOW)


@pytest.fixture
def exchange(pool) -> Exchange:
    return Exchange(pool)


async def test_who_was_reached_or_is_closed_or_did_not_pick_up_is_not_affected(exchange):
    bakery = await exchange.merchant("bakery")
    await exchange.call(bakery, "person")
    await exchange.call(bakery, "voicemail", "voicemail: closed")
    await exchange.call(bakery, "voicemail", "voicemail: nobody answered", leg="no-answer")
    await exchange.call(bakery, "abandoned")
    assert await exchange.affected() == []


async def test_who_called_a_closed_shop_while_all_calls_went_to_voicemail_was_not_hit(exchange):
    bakery = await exchange.merchant("bakery")
    for hours, hit in (((NIGHTLY,), 0), ((), 1)):
        found = decide(
            snapshot([line(hours=hours)], {"voice.voicemail_only": 100}), LINE, call_sid="CA1", tried=(), now=NOON
        )
        await exchange.call(bakery, "voicemail", f"voicemail: {found.why}")
        assert sum(one.calls.hit for one in await exchange.affected()) == hit


async def test_each_has_figures_of_its_own_the_most_hit_first(exchange):
    bakery, florist = await exchange.merchant("bakery", "o@bakery.example"), await exchange.merchant("florist")
    for outcome in ("person", "missed", "failed"):
        await exchange.call(bakery, outcome)
    await exchange.call(bakery, "voicemail", VOICEMAIL_ONLY)
    await exchange.call(bakery, "abandoned", VOICEMAIL_ONLY, ago=4)
    await exchange.call(florist, "voicemail", "voicemail: nobody answered", leg="failed")
    one, two = await exchange.affected()
    assert (one.key, one.email, two.key) == ("bakery", "o@bakery.example", "florist")
    assert one.calls == CallFigures(5, 1, 2, 1, 1, 1, NOW - 4 * MINUTE)
    assert two.calls is not None
    assert (two.calls.hit, two.calls.messages) == (1, 1)


async def test_test_calls_and_calls_before_it_began_or_after_it_was_over_hit_nobody(exchange):
    bakery = await exchange.merchant("bakery")
    await exchange.call(bakery, "failed", is_test=True)
    await exchange.call(bakery, "failed", ago=31)
    await exchange.call(bakery, "failed", ago=2)
    assert await exchange.affected(state="resolved", resolved_at=NOW - 5 * MINUTE) == []


BAKERY = AffectedMerchant(
    1, "bakery", "Bakery", "o@bakery.example", 0, 0, 0.0, 0, calls=CallFigures(40, 20, 12, 5, 3, 9, NOW)
)


def test_a_mail_speaks_of_calls_and_not_of_payments():
    said = texts.merchant_mail(TROUBLE, BAKERY, next_at=NOW + 60 * MINUTE, now=NOW)
    assert said.subject == "Calls to your numbers are disturbed"
    for part in (
        "Calls: 40 to your numbers",
        "Answered: 20 of them",
        "To voicemail: 12",
        "Missed: 5",
        "Failed: 3",
        "Messages: 9 left",
        "since 2026-05-04 12:00 UTC",
    ):
        assert part in said.text
    assert "payment" not in said.text
    again = texts.merchant_mail(TROUBLE, BAKERY, next_at=NOW, now=NOW, again=True)
    assert again.subject == "Calls to your numbers are still disturbed"
    calm = replace(TROUBLE, calm_at=NOW)
    assert "step by step" in texts.merchant_mail(calm, BAKERY, next_at=NOW, now=NOW, again=True).text


def test_the_all_clear_says_what_became_of_the_calls_and_that_messages_wait():
    said = texts.all_clear(replace(TROUBLE, resolved_at=NOW), BAKERY, NOW)
    assert said.subject == "Calls to your numbers work as usual again"
    assert "listen to the messages" in said.text
    assert "Failed: 3" in said.text
    quiet = replace(BAKERY, calls=None)
    assert "You need not do anything." in texts.all_clear(TROUBLE, quiet, NOW).text


def test_what_a_person_made_of_the_draft_ends_where_the_figures_begin():
    draft = texts.merchant_draft(TROUBLE, [BAKERY], next_at=NOW, now=NOW)
    assert texts.edited_paragraph(TROUBLE, draft) == texts.default_paragraph(TROUBLE)
    assert texts.edited_paragraph(TROUBLE, "Sorry.\n- Answered: 20 of them\n") == "Sorry."


def test_the_customers_notice_names_nobody_and_asks_for_a_message():
    said = texts.customer_notice(TROUBLE, [BAKERY], Figures(0, 0, 0, 0.0, 0.0, 1, ""), NOW)
    assert "leave a message" in said
    assert "Bakery" not in said


async def test_the_teams_update_says_how_calls_go(pool, exchange):
    bakery = await exchange.merchant("bakery")
    await exchange.call(bakery, "person")
    await exchange.call(bakery, "failed")
    seen = await figures(pool, Settings(), NOW, TROUBLE)
    assert texts.now_words(seen) == (
        "of 2 calls in the last 15 minutes 1 were answered, 0 sent to voicemail, 0 missed, 1 failed."
    )
    course = texts.Course([], [], await exchange.affected())
    said = texts.team_update(TROUBLE, course, seen, number=1, next_at=None, now=NOW)
    assert "1 merchant (bakery), of 2 calls 1 failed, 0 missed, 0 sent to voicemail." in said.text
    assert (await figures(pool, Settings(), NOW)).calls is None


@pytest.fixture
async def run(pool, post):
    made = await opened(pool, "twilio-outage", severity="critical", now=NOW - 30 * MINUTE)
    settings = Settings(smtp_url=post.url, mail_from=FROM)
    return Run(pool, settings, made, "comms.notify_merchants", 1, NOW)


async def offered(action, run, **parameters):
    assert action.offers is not None
    return await action.offers(run, **parameters)


async def test_merchants_are_told_by_mail_once_somebody_says_yes(pool, exchange, run, post):
    assert isinstance(await offered(actions.notify_merchants, run), Waiting)
    await exchange.call(await exchange.merchant("bakery", "owner@bakery.example"), "failed")
    await exchange.merchant("quiet", "owner@quiet.example")
    assert await offered(actions.notify_merchants, run) is None
    outcome = await actions.notify_merchants.run(run)
    assert isinstance(outcome, Done)
    assert outcome.evidence["merchants"][0]["failed"] == 1
    await send(pool, run.settings, post)
    [mail] = post.mails
    assert "Calls to your numbers are disturbed" in str(mail)


async def test_who_is_hit_later_hears_once_what_was_approved(pool, exchange, run):
    await exchange.call(await exchange.merchant("bakery", "owner@bakery.example"), "failed")
    await actions.notify_merchants.run(run)
    await exchange.call(await exchange.merchant("florist", "owner@florist.example"), "missed")
    update = replace(run, step="comms.update_merchants")
    outcome = await actions.update_merchants.run(update)
    assert (type(outcome), outcome.said) == (Done, "florist mailed for the first time")
    assert isinstance(await actions.update_merchants.run(replace(update, number=2)), NotApplicable)


async def test_the_public_hears_of_it_when_several_merchants_are_hit_for_a_while(pool, exchange, run):
    await exchange.call(await exchange.merchant("bakery"), "failed")
    assert isinstance(await offered(publish, run, delay=5 * MINUTE), Waiting)
    await exchange.call(await exchange.merchant("florist"), "missed")
    assert await offered(publish, run, delay=5 * MINUTE) is None
    assert isinstance(await publish.run(run, delay=5 * MINUTE), Done)
    entries = await incidents.entries(pool, run.incident.id)
    assert any("callers can leave a message" in entry.text for entry in entries)
    assert publishing.public_title(run.incident) == "Some calls are not put through"
