"""What people do with the steps of an incident: approve, do by hand, skip, try again, undo; and resolve it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from holdfast.config import Settings
from holdfast.db.pool import Connection, Pool
from holdfast.durations import lasted
from holdfast.incidents import service, store
from holdfast.incidents.model import ENGINE, Incident, RefusedError, StepRow, StepState, UnknownError
from holdfast.runbooks import ledger, opening
from holdfast.runbooks import store as steps_store
from holdfast.runbooks.actions import Action, ActionError, Mitigation, Registry, Run
from holdfast.watch import store as watch
from holdfast.watch.model import Severity

REVIEW_WITHIN = timedelta(days=5)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where people work on incidents, whatever they use for it: the command line, the API, the console."""

    pool: Pool
    settings: Settings
    registry: Registry
    library: opening.Library

    async def open(
        self, runbook: str, title: str, *, severity: Severity | None = None, actor: str, now: datetime
    ) -> Incident:
        """An incident by hand. Raises RefusedError while one of the runbook is open, and RunbookError."""
        service.bounded(title, "a title")
        book = self.library.get(runbook)
        async with self.pool.acquire() as db, db.transaction():
            await service.who(db, actor)
            made = await opening.open_incident(
                db,
                book,
                title=title,
                severity=severity or book.severity,
                cause="reported",
                since=now,
                actor=actor,
                now=now,
            )
            if made is None:
                other = await store.open_of(db, book.id, "")
                number = other.id if other is not None else "another"
                raise RefusedError(f"incident {number} of {book.id} is open; work on that one")
        return made

    # Steps

    async def approve(
        self, incident_id: int, key: str, *, actor: str, text: str | None = None, now: datetime
    ) -> StepRow:
        """Say yes to an `ask`: it runs at once. `text` replaces the text that it would send."""
        if text is not None:
            service.bounded(text, "a text")
        async with self._step(incident_id, key, actor, now) as (db, incident, step):
            if step.kind != "ask":
                raise RefusedError(f"step {key} asks for no approval")
            if step.state != "asking":
                raise RefusedError(_not_asking(step))
            await self._may_answer(db, incident, step, actor)
            edited = " with another text" if text is not None and text != step.draft else ""
            await self._turn(db, step, "pending", f"approved{edited}", actor=actor, now=now, answer=text, tries=0)
            return await self._shown(db, step)

    async def done(self, incident_id: int, key: str, *, actor: str, note: str, now: datetime) -> StepRow:
        """Somebody did it: a person's step, or by hand what could not be done otherwise."""
        if note:
            service.bounded(note, "a note")
        async with self._step(incident_id, key, actor, now) as (db, incident, step):
            if step.kind != "person" and step.state not in ("failed", "asking", "waiting", "running"):
                raise RefusedError(f"step {key} is {step.state}: it needs nobody")
            action = self._action(step)
            if action is not None and action.is_proof and not note:
                raise RefusedError(f"step {key} is to show that nothing was lost: say how you know, with --note")
            if step.is_finished:
                raise RefusedError(f"step {key} is {step.state} already")
            await self._may_answer(db, incident, step, actor)
            said = note or "done"
            await self._turn(db, step, "done", said, actor=actor, now=now, answer=note or None)
            await store.meet(db, incident_id, "update", now, step=key)
            return await self._shown(db, step)

    async def skip(self, incident_id: int, key: str, *, actor: str, reason: str, now: datetime) -> StepRow:
        """It shall not be done; `reason` is why."""
        service.bounded(reason, "a reason")
        async with self._step(incident_id, key, actor, now) as (db, incident, step):
            if step.is_finished:
                raise RefusedError(f"step {key} is {step.state} already")
            await self._may_answer(db, incident, step, actor)
            await self._turn(db, step, "skipped", reason, actor=actor, now=now)
            await store.meet(db, incident_id, "update", now, step=key)
            return await self._shown(db, step)

    async def retry(self, incident_id: int, key: str, *, actor: str, now: datetime) -> StepRow:
        """Try a step again that failed, or run one again that is finished or was skipped."""
        async with self._step(incident_id, key, actor, now) as (db, incident, step):
            if step.state not in ("failed", "skipped", "not applicable", "undone") and not (
                step.state == "done" and step.kind in ("check", "do")
            ):
                raise RefusedError(f"step {key} is {step.state}: there is nothing to try again")
            await self._may_answer(db, incident, step, actor)
            # A failed run goes on under its own number, so that what it sent already does not go out again.
            again = 1 if step.state == "failed" else 0
            await self._turn(db, step, "pending", "is tried again", actor=actor, now=now, tries=0 if not again else 1)
            if step.kind == "ask" and step.state != "failed":  # no text goes out that nobody has seen
                await steps_store.forget_answer(db, incident_id, key)
            return await self._shown(db, step)

    async def undo(self, incident_id: int, key: str, *, actor: str, reason: str, now: datetime) -> StepRow:
        """Take back what a step changed. Raises RefusedError if it changed nothing."""
        service.bounded(reason, "a reason")
        async with self._any_step(incident_id, key, actor, now) as (db, incident, step):
            action = self._action(step)
            if step.state != "done" or action is None or action.undoes is None:
                raise RefusedError(f"step {key} is {step.state} and has nothing to undo")
            await self._may_answer(db, incident, step, actor)
        # Not in the transaction: an undo may take its time, and may write about the incident itself.
        try:
            async with asyncio.timeout(action.patience.total_seconds()):
                said = await action.undoes(self._run(incident, step, now, actor), **action.read(step.parameters))
        except TimeoutError:
            raise RefusedError(
                f"undoing {key} took longer than {lasted(action.patience)}; look at what it did"
            ) from None
        async with self._any_step(incident_id, key, actor, now) as (db, incident, step):
            if step.state == "done":
                await self._turn(db, step, "undone", f"undone: {said} ({reason})", actor=actor, now=now)
            return await self._shown(db, step)

    # The end

    async def ledger(self, incident: Incident, now: datetime) -> list[Mitigation]:
        """What is not as usual because of the incident, and of those that were merged into it."""
        return await mitigations(self.pool, self.settings, self.registry, incident, now)

    async def resolve(self, incident_id: int, *, actor: str, reason: str = "", now: datetime) -> Incident:
        """The end. Raises RefusedError over what `obstacles` finds, unless a person gives a reason."""
        if reason:
            service.bounded(reason, "a reason")
        before = await service.get(self.pool, incident_id)
        service.must_be_open(before)
        found = await obstacles(self.pool, self.settings, self.registry, before, now)
        if found and not reason:
            listed = "; ".join(found)
            raise RefusedError(f"incident {incident_id} cannot be resolved: {listed}. Give a reason to do so anyway")
        async with service.working(self.pool, incident_id, actor) as (db, incident):
            service.must_be_open(incident)
            if not reason and not await is_calm(db, incident):
                raise RefusedError(f"incident {incident_id} cannot be resolved: an alert of it opened just now")
            await conclude(db, incident, actor=actor, now=now, reason=reason, obstacles=found)
            return await service.get(db, incident_id)

    async def reopen(self, incident_id: int, *, actor: str, reason: str, now: datetime) -> Incident:
        """It was not over after all: its updates go on, and what Recovery proved is to be proved again.

        Raises RefusedError while another one of its runbook and scope is open.
        """
        async with service.working(self.pool, incident_id, actor) as (db, incident):
            reopened = await service.reopen(db, incident, actor=actor, reason=reason, now=now)
            await steps_store.resume(db, incident_id, ENGINE, now)
            return reopened

    # Parts

    @asynccontextmanager
    async def _step(
        self, incident_id: int, key: str, actor: str, now: datetime
    ) -> AsyncIterator[tuple[Connection, Incident, StepRow]]:
        """A step of an incident for which something still runs."""
        async with self._any_step(incident_id, key, actor, now) as found:
            incident = found[1]
            if incident.merged_into is not None or incident.state == "reviewed":
                service.must_be_open(incident)
            yield found

    @asynccontextmanager
    async def _any_step(
        self, incident_id: int, key: str, actor: str, now: datetime
    ) -> AsyncIterator[tuple[Connection, Incident, StepRow]]:
        async with service.working(self.pool, incident_id, actor) as (db, incident):
            step = await steps_store.step(db, incident_id, key)
            if step is None:
                raise UnknownError(f"incident {incident_id} has no step {key!r}; see `holdfast incidents show`")
            if step.state == "running" and await store.is_leased(db, incident_id, now):
                raise RefusedError(f"step {key} is running; wait a moment")
            yield db, incident, step

    async def _may_answer(self, db: Connection, incident: Incident, step: StepRow, actor: str) -> None:
        """Raises RefusedError if the step is for the commander, and this is somebody else."""
        person = await service.who(db, actor)
        if step.role == "commander" and actor != incident.commander and (person is None or person.role != "admin"):
            commander = incident.commander or "nobody yet"
            raise RefusedError(
                f"step {step.key} is for the commander ({commander}); take over with "
                f"`holdfast incidents take {incident.id}`"
            )

    async def _turn(
        self, db: Connection, step: StepRow, state: StepState, said: str, *, actor: str, now: datetime, **more: Any
    ) -> None:
        await steps_store.put(db, step.incident_id, step.key, state, said=said, now=now, actor=actor, **more)
        text = f"{step.text}: {said}" if state == "done" else f"{step.text}: {state}: {said}"
        await store.write(
            db,
            step.incident_id,
            "step",
            text if state != "pending" else f"{step.text}: {said}",
            actor=actor,
            now=now,
            step=step.key,
        )

    async def _shown(self, db: Connection, step: StepRow) -> StepRow:
        found = await steps_store.step(db, step.incident_id, step.key)
        assert found is not None
        return found

    def _action(self, step: StepRow) -> Action | None:
        if step.action is None:
            return None
        try:
            return self.registry.get(step.action)
        except ActionError:
            return None

    def _run(self, incident: Incident, step: StepRow, now: datetime, actor: str) -> Run:
        return _run(self.pool, self.settings, incident, step, now=now, actor=actor)


def _run(pool: Pool, settings: Settings, incident: Incident, step: StepRow, *, now: datetime, actor: str) -> Run:
    return Run(pool, settings, incident, step.key, max(1, step.runs), now, actor, step.answer)


async def mitigations(
    pool: Pool, settings: Settings, registry: Registry, incident: Incident, now: datetime
) -> list[Mitigation]:
    """The mitigation ledger: what is not as usual because of the incident, and of those that were merged into it."""
    found = []
    for one in (incident, *await store.merged(pool, incident.id)):
        rows = await steps_store.steps(pool, one.id)
        runs = [(row, _run(pool, settings, one, row, now=now, actor=row.actor or ENGINE)) for row in rows]
        found += await ledger.in_force(pool, registry, one, runs)
    return found


async def obstacles(pool: Pool, settings: Settings, registry: Registry, incident: Incident, now: datetime) -> list[str]:
    """What keeps an incident from being resolved."""
    rows = await steps_store.steps(pool, incident.id)
    forgotten = await mitigations(pool, settings, registry, incident, now)
    has_alerts = bool(await store.alert_ids(pool, incident.id))
    return in_the_way(incident, rows, forgotten, registry, has_alerts=has_alerts)


async def is_calm(db: Connection, incident: Incident) -> bool:
    """Whether no alert of it is open at this moment."""
    kept = await watch.by_ids(db, await store.alert_ids(db, incident.id))
    return all(one.alert.closed_at is not None for one in kept)


def in_the_way(
    incident: Incident,
    steps: Sequence[StepRow],
    forgotten: Sequence[Mitigation],
    registry: Registry,
    *,
    has_alerts: bool,
) -> list[str]:
    """The same, by what is known of its steps and its ledger."""
    found = [f"still in force: {one.what} (undo: {one.undo})" for one in forgotten]
    missing = ledger.missing_proofs(steps, registry)
    found += [f"not shown that nothing was lost: step {one.key} is {one.state}" for one in missing]
    if incident.state == "detected":
        found.append("nobody has acknowledged it")
    if incident.calm_at is None:
        found.append("its alerts are still open" if has_alerts else "nobody has said that it is over")
    return found


def _not_asking(step: StepRow) -> str:
    """Why there is nothing to approve, for whoever came second."""
    if step.actor in (None, ENGINE):
        return f"step {step.key} is {step.state}: there is nothing to approve"
    return f"{step.actor} has answered step {step.key} already: it is {step.state} ({step.said})"


async def conclude(
    db: Connection,
    incident: Incident,
    *,
    actor: str,
    now: datetime,
    reason: str = "",
    obstacles: list[str] | None = None,
) -> None:
    """Make an incident resolved, whatever is in the way."""
    await store.set_state(db, incident.id, "resolved", now)
    for kind in ("acknowledge", "update"):
        await store.meet(db, incident.id, kind, now)
    said = f"{incident.state} → resolved" + (f": {reason}" if reason else "")
    evidence = {"in the way": obstacles} if obstacles else None
    await store.write(db, incident.id, "state", said, actor=actor, now=now, evidence=evidence)
    await store.oblige(
        db, incident.id, "review", "review the incident", owner=incident.commander, due_at=now + REVIEW_WITHIN
    )
