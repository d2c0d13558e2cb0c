"""What is published of an incident, by people and by the engine."""

import asyncio
from datetime import timedelta

import pytest

from holdfast.comms import publishing, status_store
from holdfast.comms.status import StatusError
from holdfast.incidents import store as incidents
from tests.comms.incidents import NOON, moved, opened

MINUTE = timedelta(minutes=1)


async def latest(pool, incident):
    found = await status_store.latest(pool, incident.id)
    return found[0] if found is not None else None


async def test_an_incident_is_private_until_something_is_published(pool):
    incident = await opened(pool)
    assert await status_store.published(pool, NOON - MINUTE, 10) == []
    number = await publishing.publish(pool, incident, "k1", "investigating", "We look into it.", now=NOON)
    (update,) = await status_store.published(pool, NOON - MINUTE, 10)
    assert (update.id, update.incident_id, update.state, update.body) == (
        number,
        incident.id,
        "investigating",
        "We look into it.",
    )


@pytest.mark.parametrize(
    ("runbook", "severity", "component", "impact"),
    [
        ("stripe-retry-storm", "warning", "payments", "minor"),
        ("stripe-retry-storm", "critical", "payments", "major"),
        ("webhook-backlog", "critical", "notifications", "major"),
        ("performance-degradation", "warning", "api", "minor"),
    ],
)
async def test_impact_and_components_follow_from_runbook_and_severity(pool, runbook, severity, component, impact):
    incident = await opened(pool, runbook, severity=severity)
    await publishing.publish(pool, incident, "k1", "investigating", "We look into it.", now=NOON)
    update = await latest(pool, incident)
    assert (update.impact, update.components) == (impact, {component: "degraded_performance"})
    assert "Secret" not in update.title


async def test_nothing_internal_is_in_what_was_not_written_by_a_person(pool):
    incident = await opened(pool)
    await publishing.publish(pool, incident, "k1", "investigating", publishing.draft(incident, 7 * MINUTE), now=NOON)
    for state in ("mitigating", "monitoring", "resolved"):
        incident = await moved(pool, incident, state)
        await publishing.follow(pool, incident, state, now=NOON)
    said = await status_store.published(pool, NOON - MINUTE, 10)
    assert [one.state for one in said] == ["resolved", "monitoring", "identified", "investigating"]
    assert "secret" not in repr(said).lower()
    assert "up to 7 minutes" in said[-1].body


async def test_the_same_key_publishes_once_even_at_the_same_time(pool):
    incident = await opened(pool)
    numbers = await asyncio.gather(
        *(publishing.publish(pool, incident, "k1", "investigating", "We look.", now=NOON) for _ in range(6))
    )
    assert len([one for one in numbers if one is not None]) == 1
    assert len(await status_store.published(pool, NOON - MINUTE, 10)) == 1
    assert [entry.kind for entry in await incidents.entries(pool, incident.id)] == ["message"]


async def test_publishing_is_part_of_the_callers_transaction(pool):
    incident = await opened(pool)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert await publishing.publish(connection, incident, "k1", "investigating", "We look.", now=NOON)
        await transaction.rollback()
    assert await latest(pool, incident) is None


async def test_what_is_not_said_again_stays_as_it_was_and_resolved_means_operational(pool):
    incident = await opened(pool)
    await publishing.publish(
        pool,
        incident,
        "k1",
        "investigating",
        "We look.",
        impact="critical",
        components={"api": "major_outage"},
        title="All is slow",
        now=NOON,
    )
    await publishing.publish(pool, incident, "k2", "identified", "Found.", now=NOON + MINUTE)
    update = await latest(pool, incident)
    assert (update.impact, update.title) == ("critical", "All is slow")
    assert update.components == {"payments": "degraded_performance", "api": "major_outage"}
    await publishing.publish(pool, incident, "k3", "resolved", "Over.", now=NOON + 2 * MINUTE)
    update = await latest(pool, incident)
    assert (update.impact, update.components) == ("none", {"payments": "operational", "api": "operational"})


async def test_an_update_is_never_older_than_the_one_before(pool):
    incident = await opened(pool)
    await publishing.publish(pool, incident, "k1", "investigating", "We look.", now=NOON)
    await publishing.publish(pool, incident, "k2", "identified", "Found.", now=NOON - MINUTE)
    assert (await latest(pool, incident)).at == NOON


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"body": "  \n "}, "1 to 4000 characters"),
        ({"body": "x" * 4001}, "1 to 4000 characters"),
        ({"title": "\x00"}, "a title has 1 to 120"),
        ({"state": "postmortem"}, "investigating, identified, monitoring, resolved"),
        ({"impact": "huge"}, "none, minor, major, critical"),
        ({"components": {"fax": "operational"}}, "payments, notifications, api"),
        ({"components": {"api": "on fire"}}, "operational, under_maintenance"),
    ],
)
async def test_what_cannot_be_published_is_refused_with_what_to_write(pool, more, said):
    incident = await opened(pool)
    given = {"state": "investigating", "body": "We look."} | more
    with pytest.raises(StatusError, match=said):
        await publishing.publish(pool, incident, "k1", **given, now=NOON)
    assert await latest(pool, incident) is None


async def test_control_characters_do_not_get_out(pool):
    incident = await opened(pool)
    await publishing.publish(pool, incident, "k1", "investigating", "a\x00b\x1b[31m\u202ec\r\nd", now=NOON)
    assert (await latest(pool, incident)).body == "a b [31m c\nd"


async def test_a_private_incident_is_not_followed(pool):
    incident = await moved(pool, await opened(pool), "mitigating")
    assert await publishing.follow(pool, incident, "k", now=NOON) is None
    assert await latest(pool, incident) is None


async def test_following_says_each_state_once_and_never_goes_back(pool):
    incident = await opened(pool)
    await publishing.publish(pool, incident, "k1", "monitoring", "A person sees it improve.", now=NOON)
    incident = await moved(pool, incident, "mitigating")
    assert await publishing.follow(pool, incident, "f1", now=NOON) is None
    incident = await moved(pool, incident, "resolved")
    assert await publishing.follow(pool, incident, "f2", now=NOON) == "resolved"
    assert await publishing.follow(pool, incident, "f3", now=NOON) is None


async def test_an_incident_that_is_opened_again_is_open_on_the_page_again(pool):
    incident = await opened(pool, severity="critical")
    await publishing.publish(pool, incident, "k1", "investigating", "We look.", now=NOON)
    incident = await moved(pool, incident, "resolved")
    assert await publishing.follow(pool, incident, "f1", now=NOON) == "resolved"
    await incidents.reopen(pool, incident.id, NOON)
    reopened = await incidents.get(pool, incident.id)
    assert reopened is not None
    assert await publishing.follow(pool, reopened, "f2", now=NOON) == "investigating"
    update = await latest(pool, incident)
    assert (update.impact, update.components) == ("major", {"payments": "degraded_performance"})


async def test_what_a_person_called_resolved_is_not_opened_again_by_itself(pool):
    incident = await opened(pool)
    await publishing.publish(pool, incident, "k1", "resolved", "A person says that it is over.", now=NOON)
    incident = await moved(pool, incident, "monitoring")
    assert await publishing.follow(pool, incident, "f1", now=NOON) is None


async def test_nothing_stays_open_on_the_page_that_is_over_or_part_of_another(pool):
    over, part, whole = await opened(pool), await opened(pool, scope="a"), await opened(pool, scope="b")
    for incident in (over, part):
        await publishing.publish(pool, incident, f"k{incident.id}", "investigating", "We look.", now=NOON)
    assert await publishing.settle(pool, NOON) == 0
    await moved(pool, over, "resolved")
    await incidents.merge(pool, part.id, whole.id)
    assert await publishing.settle(pool, NOON) == 2
    assert (await latest(pool, over)).state == "resolved"
    assert await latest(pool, part) is None
    assert (await latest(pool, whole)).body == "We look."
    assert await publishing.settle(pool, NOON) == 0
