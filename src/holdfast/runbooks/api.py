"""`/v1/incidents`."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from holdfast.incidents import service, store
from holdfast.runbooks import documents as doc
from holdfast.runbooks import page
from holdfast.runbooks.working import Desk

Number = Annotated[int, Path(ge=1, le=2**62)]
Key = Annotated[str, Path(max_length=200, description="The step's key, or its number on the page.")]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=20, pattern="^[0-9]+$", description="`next` of the page before.")]


def router(desk: Desk) -> APIRouter:
    """Its routes."""
    made = APIRouter(tags=["incidents"])
    _looking(made, desk)
    _working(made, desk)
    _ending(made, desk)
    _steps(made, desk)
    return made


def _now() -> datetime:
    return datetime.now(UTC)


def _looking(made: APIRouter, desk: Desk) -> None:
    @made.get("/incidents")
    async def list_incidents(
        state: Literal["open", "all"] = "open",
        runbook: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> doc.Incidents:
        """What is open, and what waits in each; with `state=all`, also what is over. Newest first."""
        before = min(int(cursor), 2**62) if cursor is not None else None
        found = await page.listing(
            desk.pool, _now(), is_open=state == "open", runbook=runbook, limit=limit + 1, before=before
        )
        more = str(found[limit - 1].incident.id) if len(found) > limit else None
        return doc.Incidents(incidents=[doc.listed(line) for line in found[:limit]], next=more)

    @made.get("/incidents/{incident_id}")
    async def show_incident(incident_id: Number) -> doc.Story:
        """One incident: what it needs from people, its steps, its ledger, what is due and what is in the way."""
        return doc.story(await page.read(desk, incident_id, _now()))

    @made.get("/incidents/{incident_id}/log")
    async def incident_log(
        incident_id: Number, after: Annotated[int, Query(ge=0, le=2**62)] = 0, limit: Limit = 200
    ) -> doc.Log:
        """Everything that happened, the oldest first, behind entry `after`."""
        await service.get(desk.pool, incident_id)
        found = await store.entries(desk.pool, incident_id, after=after, limit=limit)
        return doc.Log(log=[doc.entry(one) for one in found], next=found[-1].id if found else after)


def _working(made: APIRouter, desk: Desk) -> None:
    @made.post("/incidents", status_code=201)
    async def open_incident(body: doc.Opening, response: Response) -> doc.Incident:
        """Open one by hand; its runbook begins at once. Idempotency-Key is honoured, as in all that follow."""
        opened = await desk.open(body.runbook, body.title, severity=body.severity, actor=body.actor, now=_now())
        response.headers["location"] = f"/v1/incidents/{opened.id}"
        return doc.incident(opened)

    @made.post("/incidents/{incident_id}/acknowledge")
    async def acknowledge(incident_id: Number, body: doc.Acting) -> doc.Incident:
        """Somebody is on it: nobody else is called."""
        return doc.incident(await service.acknowledge(desk.pool, incident_id, actor=body.actor, now=_now()))

    @made.post("/incidents/{incident_id}/take")
    async def take(incident_id: Number, body: doc.Acting) -> doc.Incident:
        """Take command."""
        return doc.incident(await service.assign(desk.pool, incident_id, body.actor, actor=body.actor, now=_now()))

    @made.post("/incidents/{incident_id}/assign")
    async def assign(incident_id: Number, body: doc.Assigning) -> doc.Incident:
        """Make somebody the commander."""
        return doc.incident(await service.assign(desk.pool, incident_id, body.commander, actor=body.actor, now=_now()))

    @made.post("/incidents/{incident_id}/notes", status_code=201)
    async def note(incident_id: Number, body: doc.Noting) -> doc.Noted:
        """Write into the log."""
        return doc.Noted(entry=await service.note(desk.pool, incident_id, body.text, actor=body.actor, now=_now()))


def _ending(made: APIRouter, desk: Desk) -> None:
    @made.post("/incidents/{incident_id}/calm")
    async def calm(incident_id: Number, body: doc.Because) -> doc.Incident:
        """The trouble is over, where no alert tells: recovery begins."""
        return doc.incident(
            await service.calm(desk.pool, incident_id, actor=body.actor, reason=body.reason, now=_now())
        )

    @made.post("/incidents/{incident_id}/merge")
    async def merge(incident_id: Number, body: doc.Merging) -> doc.Incident:
        """Go on with both as one; answers the other."""
        return doc.incident(await service.merge(desk.pool, incident_id, body.into, actor=body.actor, now=_now()))

    @made.post("/incidents/{incident_id}/reopen")
    async def reopen(incident_id: Number, body: doc.Because) -> doc.Incident:
        """It was not over after all."""
        return doc.incident(await desk.reopen(incident_id, actor=body.actor, reason=body.reason, now=_now()))

    @made.post("/incidents/{incident_id}/resolve")
    async def resolve(incident_id: Number, body: doc.Resolving) -> doc.Incident:
        """The end. 409 over a forgotten mitigation or a missing proof, unless a reason is given."""
        return doc.incident(await desk.resolve(incident_id, actor=body.actor, reason=body.reason, now=_now()))


def _steps(made: APIRouter, desk: Desk) -> None:
    async def key_of(incident_id: int, name: str) -> str:
        return (await page.step_named(desk.pool, incident_id, name)).key

    @made.post("/incidents/{incident_id}/steps/{step}/approve")
    async def approve(incident_id: Number, step: Key, body: doc.Approving) -> doc.Step:
        """Say yes to what it asks; it runs within seconds."""
        key = await key_of(incident_id, step)
        return doc.step(await desk.approve(incident_id, key, actor=body.actor, text=body.text, now=_now()))

    @made.post("/incidents/{incident_id}/steps/{step}/done")
    async def done(incident_id: Number, step: Key, body: doc.Doing) -> doc.Step:
        """Somebody did it: a step for people, or by hand what failed."""
        key = await key_of(incident_id, step)
        return doc.step(await desk.done(incident_id, key, actor=body.actor, note=body.note, now=_now()))

    @made.post("/incidents/{incident_id}/steps/{step}/skip")
    async def skip(incident_id: Number, step: Key, body: doc.Because) -> doc.Step:
        """It shall not be done."""
        key = await key_of(incident_id, step)
        return doc.step(await desk.skip(incident_id, key, actor=body.actor, reason=body.reason, now=_now()))

    @made.post("/incidents/{incident_id}/steps/{step}/retry")
    async def retry(incident_id: Number, step: Key, body: doc.Acting) -> doc.Step:
        """Try one again that failed, or run one again that is finished."""
        key = await key_of(incident_id, step)
        return doc.step(await desk.retry(incident_id, key, actor=body.actor, now=_now()))

    @made.post("/incidents/{incident_id}/steps/{step}/undo")
    async def undo(incident_id: Number, step: Key, body: doc.Because) -> doc.Step:
        """Take back what it changed."""
        key = await key_of(incident_id, step)
        return doc.step(await desk.undo(incident_id, key, actor=body.actor, reason=body.reason, now=_now()))
