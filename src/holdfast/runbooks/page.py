"""All that there is to know of an incident now, for whoever opens its page; and of many, a line each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from holdfast.db.pool import Pool
from holdfast.incidents import service, store
from holdfast.incidents.model import OPEN, Entry, Incident, Obligation, StepRow, UnknownError
from holdfast.runbooks import needs
from holdfast.runbooks import store as steps_store
from holdfast.runbooks.actions import Mitigation
from holdfast.runbooks.needs import Need
from holdfast.runbooks.working import Desk, in_the_way


@dataclass(frozen=True, slots=True)
class Page:
    """`obligations` are those not met, `obstacles` what keeps the incident from being resolved, `log` its end."""

    incident: Incident
    steps: tuple[StepRow, ...]
    needs: tuple[Need, ...]
    ledger: tuple[Mitigation, ...]
    obligations: tuple[Obligation, ...]
    obstacles: tuple[str, ...]
    alerts: tuple[int, ...]
    merged: tuple[int, ...]
    log: tuple[Entry, ...]

    def due(self, kind: str) -> datetime | None:
        """When the next obligation of a kind is due."""
        return next((one.due_at for one in self.obligations if one.kind == kind), None)


@dataclass(frozen=True, slots=True)
class Line:
    """An incident among others. `waiting`: steps that wait for people, `overdue`: obligations past their time."""

    incident: Incident
    waiting: int
    failed: int
    overdue: int
    update_due: datetime | None


async def read(desk: Desk, incident_id: int, now: datetime, *, lines: int = 8) -> Page:
    """Raises UnknownError."""
    pool = desk.pool
    incident = await service.get(pool, incident_id)
    steps = await steps_store.steps(pool, incident_id)
    mitigations = await desk.ledger(incident, now)
    obligations = await store.obligations(pool, incident_id=incident_id)
    alerts = await store.alert_ids(pool, incident_id)
    obstacles = []
    if incident.is_open:
        obstacles = in_the_way(incident, steps, mitigations, desk.registry, has_alerts=bool(alerts))
    return Page(
        incident,
        tuple(steps),
        needs.of(incident, steps, obligations, obstacles, has_alerts=bool(alerts), now=now),
        tuple(mitigations),
        tuple(obligations),
        tuple(obstacles),
        tuple(alerts),
        tuple(one.id for one in await store.merged(pool, incident_id)),
        tuple(await store.last_entries(pool, incident_id, lines)),
    )


async def listing(
    pool: Pool,
    now: datetime,
    *,
    is_open: bool = True,
    runbook: str | None = None,
    limit: int = 100,
    before: int | None = None,
) -> list[Line]:
    """Incidents with what waits in each, the newest first; all, or the open ones."""
    states = list(OPEN) if is_open else None
    return await lines_of(
        pool, await store.listing(pool, states=states, runbook=runbook, limit=limit, before=before), now
    )


async def lines_of(pool: Pool, incidents: Sequence[Incident], now: datetime) -> list[Line]:
    ids = [one.id for one in incidents if one.merged_into is None]
    people = Counter((step.incident_id, step.state) for step in await steps_store.for_people(pool, ids))
    obligations = await store.obligations(pool)
    late = Counter(one.incident_id for one in obligations if one.due_at <= now)
    updates = {one.incident_id: one.due_at for one in reversed(obligations) if one.kind == "update"}
    return [
        Line(one, people[one.id, "asking"], people[one.id, "failed"], late[one.id], updates.get(one.id))
        for one in incidents
    ]


async def step_named(pool: Pool, incident_id: int, name: str) -> StepRow:
    """A step by its key, or by its number on the page, from 1. Raises UnknownError."""
    await service.get(pool, incident_id)
    steps = await steps_store.steps(pool, incident_id)
    found = next((step for step in steps if step.key == name), None)
    if found is None and name.isascii() and name.isdecimal():
        found = next((step for step in steps if step.position + 1 == int(name[:9])), None)
    if found is None:
        raise UnknownError(
            f"incident {incident_id} has no step {name!r}; its steps are 1 to {len(steps)}: "
            f"{', '.join(step.key for step in steps)}"
        )
    return found
