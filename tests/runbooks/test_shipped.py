"""The runbooks that come with the product: right, whole, in the right order, and as docs/runbooks.md says."""

import re

import pytest

from holdfast import actions
from holdfast.runbooks.library import Library
from holdfast.runbooks.model import Runbook
from tests.processes import REPO

SHIPPED = Library(None, actions.registry())
TABLES = (REPO / "docs" / "runbooks.md").read_text()


def shipped(name: str) -> Runbook:
    return SHIPPED.get(name)


def keys(runbook: Runbook, phase: str) -> list[str]:
    return [step.key for step in runbook.steps if step.phase == phase]


def test_all_are_right():
    assert SHIPPED.mistakes() == []
    assert {one.id for one in SHIPPED.all()} >= {"stripe-retry-storm", "twilio-outage", "webhook-backlog"}


@pytest.mark.parametrize("runbook", SHIPPED.all(), ids=lambda one: one.id)
def test_every_action_in_the_documents_table_is_a_step_of_it(runbook):
    if f"(`{runbook.id}.md`)" not in TABLES:
        pytest.skip("its table is still to come")
    table = TABLES.partition(f"(`{runbook.id}.md`)")[2].partition("\n## ")[0]
    assert "to come" not in table
    named = set(re.findall(r"`([a-z_]+\.[a-z_]+)(?: [^`]*)?`", table))
    known = set(actions.registry().actions)
    assert named & known, table
    assert (named & known) - {step.action for step in runbook.steps} == set()


@pytest.mark.parametrize(
    ("phase", "bullet", "kind", "action"),
    [
        ("immediate", "post in the team channel", "do", "comms.announce"),
        ("immediate", "assign a commander", "do", "incident.assign"),
        ("immediate", "acknowledge", "check", "incident.acknowledged"),
        ("immediate", "Twilio's status page", "check", "health.twilio"),
        ("immediate", "Debugger's error patterns", "check", "voice.debugger"),
        ("immediate", "isolated to numbers or regions", "check", "voice.isolation"),
        ("immediate", "redistribute calls", "do", "voice.redistribute"),
        ("immediate", "voicemail only", "ask", "voice.voicemail_only"),
        ("immediate", "mail affected merchants", "ask", "comms.notify_merchants"),
        ("communication", "update the team", "every", "comms.team_update"),
        ("communication", "document everything", "check", "incident.log"),
        ("communication", "update affected merchants", "every", "comms.update_merchants"),
        ("communication", "status page", "ask", "status.publish"),
        ("recovery", "watch for restoration", "check", "voice.watch_restoration"),
        ("recovery", "test call flows", "do", "voice.test_calls"),
        ("recovery", "batches", "do", "levers.bring_back"),
        ("recovery", "residual issues", "check", "voice.residual"),
        ("recovery", "review", "do", "review.draft"),
    ],
)
def test_an_outage_of_twilio_is_answered_bullet_by_bullet(phase, bullet, kind, action):
    steps = [(step.phase, step.kind) for step in shipped("twilio-outage").steps if step.action == action]
    assert (phase, kind) in steps, bullet


def test_the_team_is_told_of_an_outage_every_half_hour_and_people_review_it():
    runbook = shipped("twilio-outage")
    (update,) = [step for step in runbook.steps if step.action == "comms.team_update"]
    assert update.every is not None
    assert update.every.total_seconds() == 1800
    assert keys(runbook, "recovery")[-3:] == ["root-cause", "prevention", "runbook-verdict"]


def test_recovery_from_an_outage_is_strictly_in_order():
    order = [
        "voice.watch_restoration",
        "voice.test_calls",
        "levers.bring_back",
        "detours-back",
        "voice.residual",
        "incident.calm",
        "all-back",
        "comms.all_clear",
        "incident.resolve",
        "review.draft",
    ]
    found = keys(shipped("twilio-outage"), "recovery")
    assert found[: len(order)] == order


@pytest.mark.parametrize(
    ("phase", "bullet", "kind", "action"),
    [
        ("immediate", "log the complaint", "do", "complaints.acknowledge"),
        ("immediate", "global suppression, all merchants", "do", "complaints.suppress"),
        ("immediate", "confirm that nothing more is sent", "check", "complaints.prove_silence"),
        ("immediate", "consents record, when and how obtained", "check", "complaints.consent_status"),
        ("immediate", "previous STOP requests", "check", "complaints.earlier_stops"),
        ("communication", "apologise, confirm, way to re-consent", "ask", "complaints.draft_reply"),
        ("communication", "notify compliance", "every", "complaints.notify_compliance"),
        ("communication", "document everything", "check", "incident.log"),
        ("investigation", "how they were added, import issues", "check", "complaints.origin"),
        ("investigation", "consent collection processes", "check", "complaints.collection_review"),
        ("investigation", "who came the same way", "ask", "complaints.hold_cohort"),
        ("investigation", "similar complaints", "every", "complaints.similar"),
        ("recovery", "other customers", "check", "complaints.affected_others"),
        ("recovery", "review", "do", "review.draft"),
    ],
)
def test_a_complaint_is_answered_bullet_by_bullet(phase, bullet, kind, action):
    steps = [(step.phase, step.kind) for step in shipped("consent-complaint").steps if step.action == action]
    assert (phase, kind) in steps, bullet


def test_of_a_complaint_people_mend_change_the_process_and_train():
    runbook = shipped("consent-complaint")
    people = [step.key for step in runbook.steps if step.kind == "person" and step.phase == "investigation"]
    assert people == ["ask-the-merchant", "mend", "process", "training"]
