"""Merchants hear what they were promised: who is affected later, after the cause is gone, across merges, once each."""

from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.comms import actions
from holdfast.config import Settings
from holdfast.incidents import store as incidents
from holdfast.runbooks import store as steps
from holdfast.runbooks.actions import Done, NotApplicable
from tests.comms.town import FROM, asking, late_bakery_and_florist, over, send

MINUTE = timedelta(minutes=1)


@pytest.fixture
def settings(chat, post):
    return Settings(team_channels=chat.url, smtp_url=post.url, mail_from=FROM)


async def notified(pool, run, text=None):
    """The question was answered, and the step ended."""
    step = asking(run, text=text, actor="ann")
    outcome = await actions.notify_merchants.run(step)
    assert isinstance(outcome, Done), outcome.said
    await steps.put(
        pool, run.incident.id, step.step, "done", said=outcome.said, now=run.now, evidence=outcome.evidence, answer=text
    )


def update(run, number, minutes=0, **changes):
    return replace(run, step="comms.update_merchants", number=number, now=run.now + minutes * MINUTE, **changes)


def clear(run, number=1, minutes=0):
    return replace(run, step="comms.all_clear", number=number, now=run.now + minutes * MINUTE)


async def mails(town, settings, post):
    """How many of each subject each merchant has; what their webhooks wait for is left."""
    await town.pool.execute(
        "UPDATE work SET due_at = due_at + interval '1 hour' WHERE merchant_id <> 0 AND "
        "destination_id IN (SELECT id FROM destination WHERE kind = 'webhook')"
    )
    await send(town.pool, settings, post)
    words = ("still", "catching up", "in time again")
    found: dict[str, list[str]] = {}
    for mail in post.messages():
        kind = next((word for word in words if word in mail["subject"]), "first")
        found.setdefault(mail["to"].partition("@")[0], []).append(kind)
    return {name: sorted(kinds) for name, kinds in found.items()}


async def test_who_becomes_affected_after_the_question_was_answered_is_told_once_what_was_approved(
    pool, town, run, settings, post
):
    await late_bakery_and_florist(town)
    await notified(pool, run, "We had a small fire.")
    await town.merchant("tailor", "tailor@tailor.example")
    await town.merchant("barely", "barely@barely.example")
    await town.merchant("unreachable")
    for name, ago in (("tailor", 8), ("unreachable", 8), ("barely", 4)):
        await town.receive(name, 2, ago=ago)
    first = await actions.update_merchants.run(update(run, 1))
    assert first.said == "tailor mailed for the first time; unreachable without an address: to be told by hand"
    assert first.evidence["by_hand"] == ["unreachable"], "the grocer is in the answered step's"
    await actions.update_merchants.run(update(run, 1))
    assert isinstance(await actions.update_merchants.run(update(run, 2, 0.5)), Done), "the unreachable one still"
    assert (await mails(town, settings, post))["owner"] == ["first", "first"]
    [mail] = [mail for mail in post.messages() if "tailor" in mail["to"]]
    assert mail["subject"] == "Your payment notifications are delayed"
    text = mail.get_body(("plain",)).get_content()
    assert "We had a small fire." in text
    assert "2 events of yours" in text
    assert not [mail for mail in post.messages() if "barely" in mail["to"]]


async def test_nobody_is_told_before_somebody_let_it(town, run):
    await late_bakery_and_florist(town)
    outcome = await actions.update_merchants.run(update(run, 1))
    assert isinstance(outcome, NotApplicable)
    assert outcome.said == "no merchant was told of it"


async def test_each_is_written_to_again_by_the_time_of_its_own_last_mail(pool, town, run, settings, post):
    await town.merchant("bakery", "bakery@b.example")
    await town.receive("bakery", 3, ago=12)
    await notified(pool, run)
    await town.merchant("tailor", "tailor@t.example")
    await town.receive("tailor", 2, ago=8)
    await actions.update_merchants.run(update(run, 1, 20))
    await actions.update_merchants.run(update(run, 2, 31))
    await actions.update_merchants.run(update(run, 2, 31))
    assert await mails(town, settings, post) == {"bakery": ["first", "still"], "tailor": ["first"]}


async def test_updates_go_on_after_the_cause_is_gone_until_the_all_clear(pool, town, run, settings, post):
    await town.merchant("bakery", "bakery@b.example")
    await town.receive("bakery", 3, ago=12)
    await notified(pool, run)
    calm = over(run)
    assert isinstance(await actions.update_merchants.run(update(calm, 1, 31)), Done)
    assert isinstance(await actions.all_clear.run(clear(calm, minutes=40)), Done)
    ended = await actions.update_merchants.run(update(calm, 2, 90))
    assert isinstance(ended, NotApplicable)
    assert ended.said == "the trouble is over, and they got the all-clear"
    assert await mails(town, settings, post) == {"bakery": ["catching up", "first", "in time again"]}
    [text] = [m.get_body(("plain",)).get_content() for m in post.messages() if "catching" in m["subject"]]
    assert "what made our notifications about your payments late is gone" in text
    assert "We are working through what has waited" in text


async def merged_into_another(pool, run):
    """The run of another incident, which this one became a part of."""
    other = await incidents.insert(
        pool,
        runbook="stripe-retry-storm",
        version="v1",
        scope="",
        title="Stripe repeats itself",
        severity="critical",
        cause="outage",
        since=run.incident.since,
        opened_by="holdfast",
        commander="ann",
        affected={},
        now=run.now,
    )
    assert other is not None
    await incidents.merge(pool, run.incident.id, other.id)
    return replace(run, incident=other)


async def test_after_a_merge_nobody_gets_two_of_a_kind(pool, town, run, settings, post):
    await town.merchant("bakery", "bakery@b.example")
    await town.receive("bakery", 3, ago=12)
    await notified(pool, run, "We had a small fire.")
    rest = await merged_into_another(pool, run)
    assert isinstance(await actions.notify_merchants.run(asking(rest)), NotApplicable), "all were told"
    await town.merchant("tailor", "tailor@t.example")
    await town.receive("tailor", 2, ago=8)
    await actions.update_merchants.run(update(rest, 1, 1))
    await actions.update_merchants.run(update(rest, 2, 31))
    assert isinstance(await actions.notify_merchants.run(asking(rest)), NotApplicable), "all were told"
    await actions.all_clear.run(clear(over(rest), minutes=40))
    assert await mails(town, settings, post) == {
        "bakery": ["first", "in time again", "still"],
        "tailor": ["first", "in time again", "still"],
    }
    [text] = [
        m.get_body(("plain",)).get_content() for m in post.messages("tailor@t.example") if "are del" in m["subject"]
    ]
    assert "We had a small fire." in text, "as was approved before the merge"


async def test_an_incident_that_was_opened_again_has_no_second_all_clear_for_who_heard_nothing_since(
    pool, town, run, settings, post
):
    for name in ("bakery", "tailor"):
        await town.merchant(name, f"{name}@b.example")
        await town.receive(name, 3, ago=12)
    await notified(pool, run)
    await send(pool, settings, post)
    await town.route(ago=1)
    await town.deliver(ago=0.5)
    await actions.all_clear.run(clear(over(run), minutes=1))
    nobody = await actions.all_clear.run(clear(over(run), number=2, minutes=5))
    assert isinstance(nobody, NotApplicable)
    assert nobody.said == "all who were mailed have had the all-clear"
    await town.receive("tailor", 2, ago=0)
    again = update(run, 7, 30)
    assert (await actions.update_merchants.run(again)).said == "tailor mailed for the first time"
    assert (await actions.all_clear.run(clear(over(run), number=3, minutes=40))).said.startswith("1 merchant mailed")
    assert await mails(town, settings, post) == {
        "bakery": ["first", "in time again"],
        "tailor": ["first", "first", "in time again", "in time again"],
    }
