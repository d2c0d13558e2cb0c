"""What runbooks tell people: read from a team chat and mailboxes, sent once whatever is run again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.comms import actions, texts
from holdfast.comms.paging import page
from holdfast.config import Settings
from holdfast.delivery import store as deliveries
from holdfast.incidents import store as incidents
from holdfast.incidents.model import Person
from holdfast.runbooks.actions import REGISTRY, Done, Failed, NotApplicable, Waiting
from tests.comms.town import FROM, asking, late_bakery_and_florist, over, send


@pytest.fixture
def settings(chat, post):
    return Settings(team_channels=chat.url, smtp_url=post.url, mail_from=FROM)


async def offered(run, **parameters):
    """What comes of it before anybody is asked."""
    assert actions.notify_merchants.offers is not None
    return await actions.notify_merchants.offers(run, **parameters)


async def drafted(action, run) -> str:
    assert action.drafts is not None
    text: str = await action.drafts(run)
    return text


async def planned(pool) -> int:
    return await deliveries.count(pool, deliveries.Filter())


async def test_the_incident_is_announced_once(pool, run, settings, chat, post):
    for _ in range(2):
        outcome = await actions.announce.run(run)
    await send(pool, settings, post)
    [text] = chat.texts
    assert f"holdfast incidents ack {run.incident.id}" in text
    assert isinstance(outcome, Done)
    assert outcome.said == "it was posted before"


@pytest.mark.parametrize("name", ["comms.announce", "comms.team_update"])
async def test_without_a_team_channel_there_is_nobody_to_tell(run, name):
    outcome = await REGISTRY.get(name).run(replace(run, settings=Settings(team_channels="")))
    assert isinstance(outcome, NotApplicable)
    assert "HOLDFAST_TEAM_CHANNELS" in outcome.said


async def test_updates_tell_what_is_new_since_the_last_one(pool, run, town, settings, chat, post):
    number = run.incident.id
    minute = timedelta(minutes=1)
    await town.merchant("bakery")
    await town.receive("bakery", 3, ago=12)
    await incidents.write(pool, number, "note", "first thought", actor="ann", now=town.now - 20 * minute)
    await actions.team_update.run(replace(run, now=town.now - 15 * minute))
    await incidents.write(pool, number, "note", "second thought", actor="ann", now=town.now - minute)
    second = replace(run, number=2)
    draft = await drafted(actions.team_update, second)
    outcome = await actions.team_update.run(second)
    await actions.team_update.run(second)
    await send(pool, settings, post)
    one, two = sorted(chat.texts)  # channels do not promise an order
    assert "first thought" in one
    assert "Update 2" in two
    assert "second thought" in two
    assert "second thought" in draft
    assert "first thought" not in two
    assert "1 merchant (bakery), 3 events late by up to 12 min" in two
    assert f"Next update: {town.now + 15 * minute:%H:%M} UTC" in two
    assert isinstance(outcome, Done)
    assert "3 events to be routed" in outcome.said
    assert outcome.evidence["to_route"] == 3


async def test_a_persons_update_is_sent_as_written(pool, run, settings, chat, post):
    outcome = await actions.team_update.run(replace(run, text="We wait for Stripe.", actor="ann"))
    await send(pool, settings, post)
    assert "We wait for Stripe." in chat.texts[0]
    assert outcome.said.startswith("update 1 by ann is posted")


async def test_nobody_is_asked_where_nothing_is_late(run):
    assert isinstance(await offered(asking(run)), Waiting), "it may still come to that"
    assert isinstance(await offered(asking(over(run))), NotApplicable)


async def test_nobody_is_asked_where_nothing_is_late_by_much(town, run):
    await town.merchant("bakery", "owner@bakery.example")
    await town.receive("bakery", 3, ago=10)
    await town.route(ago=8)
    await town.deliver(ago=7.9)
    outcome = await offered(asking(run))
    assert isinstance(outcome, Waiting)
    assert isinstance(await offered(asking(over(run))), NotApplicable)
    assert "nothing is late by more than 5 min: the longest took 2 min" in outcome.said
    assert outcome.evidence["merchants"][0]["delayed"] == 3
    assert await offered(asking(run), delay=timedelta(minutes=1)) is None


async def test_somebody_is_asked_where_what_waits_will_not_drain(town, run):
    await town.merchant("bakery", "owner@bakery.example")
    await town.receive("bakery", 3, ago=2)
    assert await offered(asking(run)) is None


async def test_each_affected_merchant_is_mailed_once_with_its_own_figures(pool, town, run, settings, post):
    await late_bakery_and_florist(town)
    await town.merchant("quiet", "owner@quiet.example")
    assert await offered(asking(run)) is None
    draft = await drafted(actions.notify_merchants, asking(run))
    assert "Goes to 2 merchants" in draft
    for _ in range(2):
        outcome = await actions.notify_merchants.run(asking(run))
    await send(pool, settings, post)
    assert isinstance(outcome, Done)
    assert outcome.said == "2 affected merchants mailed; grocer without an address: to be told by hand"
    assert outcome.evidence["by_hand"] == ["grocer"]
    assert dict(post.received) == {"owner@bakery.example": 1, "owner@florist.example": 1}
    [bakery], [florist] = post.messages("owner@bakery.example"), post.messages("owner@florist.example")
    text = bakery.get_body(("plain",)).get_content()
    assert "Late: 3 events of yours" in text
    assert "Late: 5 events of yours" in florist.get_body(("html",)).get_content()
    assert "lorist" not in text
    assert await planned(pool) == 2


async def test_an_edited_text_goes_to_all_and_the_figures_stay_their_own(pool, town, run, settings, post):
    await late_bakery_and_florist(town)
    draft = await drafted(actions.notify_merchants, asking(run))
    written = draft.replace(texts.default_paragraph(run.incident), "We had a small fire.")
    await actions.notify_merchants.run(asking(run, text=written, actor="ann"))
    await send(pool, settings, post)
    for name, count in (("bakery", 3), ("florist", 5)):
        [mail] = post.messages(f"owner@{name}.example")
        text = mail.get_body(("plain",)).get_content()
        assert "We had a small fire." in text
        assert f"Hello {name.title()}," in text
        assert f"{count} events of yours" in text
        assert "Stripe and go on" not in text


async def test_a_text_that_names_a_merchant_is_not_sent_to_all(pool, town, run):
    await late_bakery_and_florist(town)
    outcome = await actions.notify_merchants.run(asking(run, text="Bakery's endpoint made all this."))
    assert isinstance(outcome, Failed)
    assert "names Bakery" in outcome.said
    assert await planned(pool) == 0


async def test_without_mail_it_says_whom_to_tell_by_hand(town, run, chat):
    await late_bakery_and_florist(town)
    without = asking(run, settings=Settings(team_channels=chat.url))
    for outcome in (await offered(without), await actions.notify_merchants.run(without)):
        assert isinstance(outcome, Failed)
        assert "HOLDFAST_SMTP_URL" in outcome.said
        assert outcome.evidence["by_hand"] == ["bakery", "grocer", "florist"]


async def test_a_second_update_to_merchants_is_another_mail(pool, town, run):
    await late_bakery_and_florist(town)
    await actions.notify_merchants.run(asking(run))
    await actions.notify_merchants.run(asking(run, number=2))
    assert await planned(pool) == 4


async def test_the_customers_notice_is_kept_and_nothing_is_sent(pool, town, run):
    assert isinstance(await actions.prepare_customer_notice.run(run), Waiting)
    assert isinstance(await actions.prepare_customer_notice.run(over(run)), NotApplicable)
    await late_bakery_and_florist(town)
    outcome = await actions.prepare_customer_notice.run(run)
    assert isinstance(outcome, Done)
    assert outcome.said == "written, for customers of 3 merchants; nothing is sent"
    assert "by up to 12 min" in outcome.evidence["text"]
    assert await planned(pool) == 0


async def test_those_who_were_mailed_are_written_to_again_before_they_were_promised_to_be(
    pool, town, run, settings, post, chat
):
    update = replace(run, step="comms.update_merchants")
    assert isinstance(await actions.update_merchants.run(update), NotApplicable)
    await town.merchant("bakery", "owner@bakery.example")
    await town.merchant("florist", "owner@florist.example")
    await town.receive("bakery", 3, ago=12)
    await town.receive("florist", 5, ago=8)
    await actions.notify_merchants.run(asking(run))
    before = await planned(pool)
    soon = replace(update, number=2, now=run.now + timedelta(minutes=20))
    assert isinstance(await actions.update_merchants.run(soon), NotApplicable)
    later = replace(update, number=3, now=run.now + timedelta(minutes=31))
    assert (await actions.update_merchants.run(later)).said == "2 merchants mailed how it stands"
    await actions.update_merchants.run(later)
    assert await planned(pool) == before + 2
    ended = replace(later, number=4, incident=replace(run.incident, state="resolved"))
    assert isinstance(await actions.update_merchants.run(ended), NotApplicable)


async def test_those_who_were_mailed_get_the_all_clear_once(pool, town, run, settings, post):
    assert isinstance(await actions.all_clear.run(run), NotApplicable)
    await late_bakery_and_florist(town)
    await actions.notify_merchants.run(asking(run))
    await town.route()
    works = await town.claim()
    assert works
    await town.pool.execute("UPDATE work SET due_at = now(), lease = NULL")
    await town.merchant("late", "owner@late.example")
    clear = replace(run, step="comms.all_clear")
    for _ in range(2):
        outcome = await actions.all_clear.run(clear)
    assert isinstance(outcome, Done)
    assert outcome.said == "2 merchants mailed that it is over; not all is with bakery, florist yet"
    await post_all(pool, settings, post)
    assert post.received["owner@bakery.example"] == 2
    assert post.received["owner@late.example"] == 0
    first, second = (mail["subject"] for mail in post.messages("owner@bakery.example"))
    assert {first, second} == {"Your payment notifications are delayed", "Your payment notifications are in time again"}


async def post_all(pool, settings, post) -> None:
    """The mails alone: what merchants' webhooks wait for is left."""
    await pool.execute("DELETE FROM work w USING destination d WHERE d.id = w.destination_id AND d.kind = 'webhook'")
    await send(pool, settings, post)


async def test_an_all_clear_of_another_incident_is_not_theirs(pool, town, run):
    await late_bakery_and_florist(town)
    await actions.notify_merchants.run(asking(run, incident=replace(run.incident, id=10 * run.incident.id)))
    assert isinstance(await actions.all_clear.run(run), NotApplicable)


async def test_people_are_called_by_mail_and_named_in_the_channel(pool, run, settings, chat, post):
    people = [Person(1, "ann", "Ann", "ann@example.com", "admin"), Person(2, "ben", "Ben", None, "responder")]
    told = [await page(pool, settings, run.incident, people, "k", "Not acknowledged.", run.now) for _ in range(2)]
    assert told == [2, 0]
    await send(pool, settings, post)
    assert dict(post.received) == {"ann@example.com": 1}
    [text] = chat.texts
    assert "For Ann (ann), Ben (ben)." in text
    assert post.messages()[0]["subject"] == f"[critical] Incident {run.incident.id}: Not acknowledged."


async def test_a_call_is_part_of_the_callers_transaction(pool, run, settings):
    people = [Person(1, "ann", "Ann", "ann@example.com", "admin")]
    async with pool.acquire() as db, db.transaction():
        assert await page(db, settings, run.incident, people, "k", "Now.", run.now) == 2
        assert await planned(pool) == 0
    assert await planned(pool) == 2


async def test_without_mail_people_are_called_in_the_channel_alone(pool, run, settings, chat):
    people = [Person(1, "ann", "Ann", "ann@example.com", "admin")]
    without = Settings(team_channels=chat.url)
    assert await page(pool, without, run.incident, people, "k", "Now.", run.now) == 1
    assert await planned(pool) == 1
