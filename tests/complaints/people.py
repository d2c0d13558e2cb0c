"""Complaints in the town of the texts, for tests."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from holdfast.complaints import service
from holdfast.complaints.model import RUNBOOK, Complaint, Filed
from holdfast.config import Settings
from holdfast.incidents import store as incidents
from holdfast.incidents.model import Incident, Obligation
from tests.levers.incidents import opened
from tests.messaging.texts import ANN, NOON

MINUTE = timedelta(minutes=1)
SETTINGS = Settings(_env_file=None)


async def complain(pool: Any, phone: str = ANN, now: datetime = NOON, **fields: Any) -> Filed:
    given = {"source": "cli", "filed_by": "sue", "text": "I never signed up for this."} | fields
    return await service.file(pool, SETTINGS, phone=phone, now=now, **given)


async def incident(pool: Any, now: datetime = NOON, commander: str | None = None, scope: str = "") -> Incident:
    title = "A complaint waits for its answer"
    made: Incident = await opened(pool, now, scope, RUNBOOK, title=title, cause="consent", commander=commander)
    return made


async def adopt(pool: Any, found: Incident, now: datetime = NOON) -> list[Complaint]:
    async with pool.acquire() as db, db.transaction():
        return await service.adopt(db, found, now)


async def owed(pool: Any, found: Incident) -> list[Obligation]:
    return await incidents.obligations(pool, incident_id=found.id, kind="reply")


@dataclass
class Calls:
    """Whom the engine calls, and with what."""

    said: list[tuple[tuple[str, ...], str]]

    async def post(self, db, key, subject, text, *, incident, now):
        self.said.append((("team",), f"{subject}\n{text}"))
        return 1

    async def page(self, db, key, people, text, *, incident, now):
        self.said.append((tuple(person.key for person in people), text))
        return 1
