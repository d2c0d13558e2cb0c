"""The shipped runbook on complaints, run by the engine from the alert to its end."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from holdfast import actions
from holdfast.comms.speaking import Speaker
from holdfast.complaints import service, store
from holdfast.config import Settings
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.incidents import people, people_store
from holdfast.incidents import service as incidents_service
from holdfast.incidents import store as incidents
from holdfast.review.complaint_impact import complaint_summary
from holdfast.review.figures import impact
from holdfast.runbooks import store as steps
from holdfast.runbooks.engine import Engine
from holdfast.runbooks.library import Library
from holdfast.runbooks.working import Desk
from holdfast.watch import store as watch
from holdfast.watch.model import Alert
from tests.complaints.people import MINUTE, complain
from tests.complaints.test_cohort import OTHERS, blocked, imported
from tests.messaging.texts import ANN, BAKERY, BOB, NOON, ask, town

KEY = "consent-complaint/filed"


@dataclass
class World:
    pool: Any
    settings: Settings
    now: datetime = NOON
    registry: Any = field(default_factory=actions.registry)

    @property
    def desk(self) -> Desk:
        return Desk(self.pool, self.settings, self.registry, Library(None, self.registry))

    async def alert(self) -> None:
        found = Alert(KEY, "consent-complaint", "complaint", "critical", "An answer is owed", "So.", self.now, self.now)
        await watch.keep(self.pool, found, {}, self.now)

    async def tick(self, length=timedelta(seconds=10), times=1) -> None:
        for _ in range(times):
            self.now += length
            library = Library(None, self.registry)
            await Engine(self.pool, self.settings, library, self.registry, Speaker(self.settings)).tick(self.now)

    async def steps(self):
        (found,) = await incidents.listing(self.pool)
        return {one.key: one for one in await steps.steps(self.pool, found.id)}

    async def states(self):
        return {key: one.state for key, one in (await self.steps()).items()}

    async def incident(self):
        (found,) = await incidents.listing(self.pool)
        return found

    async def does(self, *keys) -> None:
        """Ann does what is for people."""
        found = await self.incident()
        for key in keys:
            await self.desk.done(found.id, key, actor="ann", note="done so", now=self.now)


@pytest.fixture
async def world(pool, tmp_path):
    async with _twilio() as twilio:
        settings = Settings(
            _env_file=None,
            data_dir=tmp_path,
            smtp_url="smtp://127.0.0.1:9?starttls=0",
            compliance_mail="law@example.com",
            team_channels="json://127.0.0.1:9/",
            twilio_account_sid=twilio.account_sid,
            twilio_auth_token=twilio.auth_token,
            twilio_api_url=twilio.url,
        )
        await people.add(pool, "ann", email="ann@company.example")
        await people_store.set_rota(pool, ["ann"], NOON - timedelta(days=1))
        yield World(pool, settings)


@asynccontextmanager
async def _twilio():
    async with EmulatedTwilio(speed=1000.0, clock=NOON.timestamp) as opened:
        opened.add_number(BAKERY)
        yield opened


async def test_it_runs_by_itself_to_what_people_decide_and_from_there_to_its_end(pool, world):
    place = await town(pool)
    await imported(pool, place.bakery, ANN, *OTHERS[:5])
    waiting = await ask(pool, place.bakery, ANN)
    filed = await complain(pool, merchant="bakery", answer_to="ann.smith@example.com")
    await world.alert()
    await world.tick(times=3)
    found = await world.steps()
    for key in (
        "complaints.acknowledge",
        "complaints.suppress",
        "complaints.prove_silence",
        "complaints.consent_status",
        "complaints.earlier_stops",
        "complaints.origin",
        "complaints.collection_review",
        "incident.log",
    ):
        assert found[key].state == "done", (key, found[key].said)
    assert found["complaints.draft_reply"].state == found["complaints.hold_cohort"].state == "asking"
    assert found["ask-the-merchant"].state == "asking"
    assert found["complaints.notify_compliance"].state == "waiting"
    assert found["incident.acknowledged"].state == "waiting"
    assert "of texts to them 1 waited and were cancelled" in found["complaints.prove_silence"].said
    assert waiting.state == "queued"
    incident = await world.incident()
    assert (incident.commander, incident.severity) == ("ann", "critical")
    (owed,) = await incidents.obligations(pool, incident_id=incident.id, kind="reply")
    assert (owed.owner, owed.due_at) == ("ann", filed.complaint.due_at)

    await incidents_service.acknowledge(pool, incident.id, actor="ann", now=world.now)
    await world.desk.approve(incident.id, "complaints.draft_reply", actor="ann", now=world.now)
    await world.desk.approve(incident.id, "complaints.hold_cohort", actor="ann", now=world.now)
    await world.does("ask-the-merchant", "mend", "process", "training")
    await world.tick(times=2)
    kept = await store.get(pool, filed.complaint.id)
    assert kept is not None
    assert (kept.answered_by, kept.answer_how) == ("ann", "email")
    assert len(await blocked(pool)) == 6
    assert await incidents.obligations(pool, incident_id=incident.id, kind="reply") == []
    assert len(await world.desk.ledger(incident, world.now)) == 1

    await watch.close(pool, KEY, world.now)
    await world.tick(timedelta(minutes=1), times=4)
    states = await world.states()
    assert states["complaints.keep_cohort"] == "asking", states
    await world.desk.approve(incident.id, "complaints.keep_cohort", actor="ann", now=world.now)
    await world.tick(timedelta(minutes=1), times=8)
    states = await world.states()
    assert states["complaints.answered"] == states["silence-to-the-end"] == states["complaints.export"] == "done"
    assert states["incident.resolve"] == "done", await world.steps()
    assert (await world.incident()).state == "resolved"
    assert (await world.states())["review.draft"] == "done"
    await service.close(pool, filed.complaint.id, cause="A list that was bought.", actor="ann", now=world.now)
    said = [one.text for one in await incidents.entries(pool, incident.id)]
    assert f"complaint {filed.complaint.id} is closed: A list that was bought." in said
    figures = await impact(pool, await world.incident(), world.now)
    assert figures.complaints is not None
    assert (figures.complaints.complaints, figures.complaints.late, figures.complaints.held) == (1, 0, 6)
    assert figures.complaints.kept == 6
    summary = complaint_summary(figures.complaints)
    assert summary.startswith("1 person complained, 1 was answered, all of them within the hour, the last after ")
    assert summary.endswith("6 people who came the same way were held back, 6 of them for good.")
    assert not any("ann.smith" in text or ANN in text for text in said)


async def test_another_complaint_joins_the_incident_and_is_asked_about_with_its_own_hour(pool, world):
    await town(pool)
    await complain(pool, answer_to="a@example.com")
    await world.alert()
    await world.tick(times=2)
    incident = await world.incident()
    await world.desk.approve(incident.id, "complaints.draft_reply", actor="ann", now=world.now)
    await world.tick()
    assert (await world.states())["complaints.draft_reply"] == "done"
    other = await complain(pool, BOB, now=world.now + MINUTE, answer_to="b@example.com")
    await world.tick(timedelta(minutes=5), times=2)
    step = (await world.steps())["complaints.draft_reply"]
    assert step.state == "asking"
    assert step.draft is not None
    assert f"=== Complaint {other.complaint.id}," in step.draft
    assert "mailed to b…@example.com" in step.draft
    (owed,) = await incidents.obligations(pool, incident_id=incident.id, kind="reply")
    assert owed.due_at == other.complaint.due_at


async def test_an_incident_opened_by_hand_takes_the_complaint_in_as_well(pool, world):
    await town(pool)
    filed = await complain(pool)
    incident = await world.desk.open("consent-complaint", "Somebody complained", actor="ann", now=world.now)
    await world.tick()
    assert await store.incident_of(pool, filed.complaint.id) == incident.id
    assert (await world.states())["complaints.acknowledge"] == "done"
