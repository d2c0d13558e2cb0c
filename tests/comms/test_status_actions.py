"""The steps that publish: who is asked when, with what text, and what follows by itself."""

from datetime import timedelta

import pytest

from holdfast.comms import publishing, status_actions, status_store
from holdfast.comms.status_actions import DELAY, is_noticeable
from holdfast.config import Settings
from holdfast.inbox import store as inbox
from holdfast.incidents import store as incidents
from holdfast.incidents.model import State
from holdfast.queue.model import Lane
from holdfast.runbooks.actions import REGISTRY, Done, Failed, NotApplicable, Outcome, Run, Waiting
from tests.comms.incidents import NOON, moved, opened
from tests.inbox.events import event, new

PUBLISH, FOLLOW = REGISTRY.get("status.publish"), REGISTRY.get("status.follow")


async def offered(run: Run) -> Outcome | None:
    assert PUBLISH.offers is not None
    return await PUBLISH.offers(run, delay=DELAY)


async def drafted(run: Run) -> str:
    assert PUBLISH.drafts is not None
    return await PUBLISH.drafts(run, delay=DELAY)


@pytest.fixture
def run(pool, page_settings):
    def made(incident, number=1, now=NOON, **more) -> Run:
        return Run(pool, page_settings, incident, "external/status", number, now, **more)

    return made


async def waiting_event(pool, at, lane=Lane.CRITICAL):
    await inbox.append(pool, [new(event(), at.timestamp())], [lane], [0])


@pytest.mark.parametrize(("minutes", "noticeable"), [(0, False), (4.9, False), (5, True)])
def test_it_is_noticeable_when_something_waits_for_long(minutes, noticeable):
    assert is_noticeable(oldest=timedelta(minutes=minutes), delay=DELAY) is noticeable


def test_the_delay_is_a_parameter_written_as_people_write_it():
    assert PUBLISH.read({}) == {"delay": timedelta(minutes=5)}
    assert PUBLISH.read({"delay": "90s"}) == {"delay": timedelta(seconds=90)}
    assert PUBLISH.what == "Publish the incident on the public status page."


async def test_nobody_is_asked_while_nothing_is_noticed_outside(pool, run):
    incident = await opened(pool)
    outcome = await offered(run(incident))
    assert isinstance(outcome, Waiting), "it may still become noticeable"
    for state in ("monitoring", "resolved"):
        outcome = await offered(run(await moved(pool, incident, state)))
        assert isinstance(outcome, NotApplicable)
    assert "5 min" in outcome.said


async def test_a_critical_incident_that_nobody_outside_notices_is_not_for_the_public(pool, run):
    incident = await opened(pool, severity="critical")
    assert isinstance(await offered(run(incident)), Waiting)


async def test_somebody_is_asked_with_a_draft_that_has_the_live_figure(pool, run):
    incident = await opened(pool)
    await waiting_event(pool, NOON - timedelta(minutes=12))
    assert await offered(run(incident)) is None
    text = await drafted(run(incident))
    assert text == (
        "Payment events are being processed with a delay since 4 May, 12:00 UTC, at present by up to 12 minutes. "
        "No event is lost: each one that reaches us is stored and will be processed. We are working on it and keep "
        "this page up to date."
    )


async def test_what_waits_in_the_bulk_lane_is_not_noticed(pool, run):
    incident = await opened(pool)
    await waiting_event(pool, NOON - timedelta(hours=5), Lane.BULK)
    assert isinstance(await offered(run(incident)), Waiting)


async def test_an_approved_text_is_published_once_under_the_approvers_name(pool, run):
    incident = await opened(pool)
    approved = run(incident, actor="anna", text="My own words.")
    first, again = [await PUBLISH.run(approved, delay=DELAY) for _ in range(2)]
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    assert first.said == f"published: https://status.example/status/incidents/{incident.id}"
    (update,) = await status_store.published(pool, NOON - DELAY, 10)
    assert (update.body, update.state) == ("My own words.", "investigating")
    (entry,) = await incidents.entries(pool, incident.id)
    assert (entry.actor, entry.kind, entry.step) == ("anna", "message", "external/status")


async def test_without_an_edit_the_draft_is_published(pool, run):
    incident = await moved(pool, await opened(pool, "webhook-backlog"), "mitigating")
    assert isinstance(await PUBLISH.run(run(incident), delay=DELAY), Done)
    (update,) = await status_store.published(pool, NOON - DELAY, 10)
    assert update.body.startswith("Notifications to merchants are being sent with a delay since 4 May, 12:00 UTC.")
    assert update.state == "identified"


async def test_a_text_that_cannot_be_published_fails_with_why(pool, run):
    outcome = await PUBLISH.run(run(await opened(pool), text="x" * 5000), delay=DELAY)
    assert isinstance(outcome, Failed)
    assert "4000" in outcome.said


async def test_nobody_is_asked_about_what_is_public_already(pool, run):
    incident = await opened(pool, severity="critical")
    await publishing.publish(pool, incident, "k", "investigating", "By hand.", now=NOON)
    assert await offered(run(incident)) == Done("it is public already")


async def test_a_private_incident_is_not_followed(pool, run):
    outcome = await FOLLOW.run(run(await moved(pool, await opened(pool), "monitoring")))
    assert outcome == NotApplicable("the incident is not public")


async def test_a_public_incident_is_followed_through_its_states_each_said_once(pool, run):
    incident = await opened(pool)
    await PUBLISH.run(run(incident), delay=DELAY)
    said = []
    states: list[State] = ["acknowledged", "mitigating", "mitigating", "monitoring", "resolved"]
    for number, state in enumerate(states, 1):
        incident = await moved(pool, incident, state)
        said.append((await FOLLOW.run(run(incident, number))).said)
    assert said == [
        "the page says so already",
        "published: identified",
        "the page says so already",
        "published: monitoring",
        "published: resolved",
    ]


def test_the_actions_are_named():
    assert status_actions.publish is PUBLISH
    assert Settings().status_name == "Holdfast"


async def test_a_text_that_names_an_affected_merchant_is_not_published(pool, run, town):
    await town.merchant("bakery")
    await town.receive("bakery", 3, ago=12)
    incident = await opened(pool, now=town.now - timedelta(minutes=30))
    outcome = await PUBLISH.run(run(incident, now=town.now, text="Bakery's endpoint is slow."))
    assert isinstance(outcome, Failed)
    assert outcome.said.startswith("the text names Bakery, and everybody would read it")
    assert await status_store.latest(pool, incident.id) is None
    assert isinstance(await PUBLISH.run(run(incident, now=town.now, text="Every bakery waits.")), Done)
