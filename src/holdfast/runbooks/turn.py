"""One engine's turn at one step.

A step is marked as running before its action is called, and its outcome is written together with the log. An engine
that dies in between leaves a running step; whoever has the lease next looks first whether what the step changes is in
force already, and else runs it again under the same key, by which nothing goes out twice.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog

from holdfast import logs
from holdfast.config import Settings
from holdfast.db.pool import AWAY, Connection, Pool
from holdfast.durations import lasted
from holdfast.incidents import store
from holdfast.incidents.model import ENGINE, Incident, StepRow, StepState
from holdfast.runbooks import ledger
from holdfast.runbooks import store as steps_store
from holdfast.runbooks.actions import Action, ActionError, Done, Failed, NotApplicable, Outcome, Registry, Run, Waiting
from holdfast.runbooks.messages import Messages
from holdfast.runbooks.order import is_moot
from holdfast.runbooks.signals import ENDED

log = structlog.get_logger()
T = TypeVar("T")

LEASE = timedelta(seconds=15)
"""How long an incident is one engine's, which renews it while it works: so long it stands still when that is killed."""
INTERRUPTED = 6
"""Interruptions of one run after which it is not tried again: it may be what ends the process."""
PATIENCE = 30.0
"""Seconds that what comes before a question may take."""
TRIES = 3
GRACE = timedelta(minutes=1)
"""How late an update may be before it counts as overdue."""


class LeaseLost(Exception):  # noqa: N818 - no error: somebody else goes on
    """The incident is another engine's by now, or was merged into another."""


class Overtaken(Exception):  # noqa: N818 - no error: a person was faster
    """Somebody did something with the step meanwhile: what they did stands."""


@dataclass(slots=True)
class Turn:
    """`lease` is the number under which the incident is ours, `step` as it was when the turn began."""

    pool: Pool
    settings: Settings
    registry: Registry
    messages: Messages
    incident: Incident
    step: StepRow
    lease: int
    now: datetime

    async def take(self) -> None:
        """Do what the step needs now. Raises LeaseLost, Overtaken, and what `AWAY` lists."""
        step = self.step
        if step.kind == "person":
            await self._stand("asking", "for a person")
        elif is_moot(step, self.incident) and step.actor is None:
            asked = step.state == "asking"
            said = (
                "the trouble was over before anybody answered" if asked else "the trouble was over before it was needed"
            )
            await self._end(NotApplicable(said), None)
        else:
            await self._act()

    async def _act(self) -> None:
        step = self.step
        try:
            action = self.registry.get(step.action or "")
            parameters = action.read(step.parameters)
        except ActionError as error:
            said = f"{error}. This version cannot run it: do it by hand and mark it done, or skip it with a reason"
            await self._end(Failed(said), None, for_good=True)
            return
        if step.kind == "every" and not self.incident.is_open and not (action.is_owed and step.runs):
            await self._stand("done", "the incident is over")
            return
        number = step.runs if step.tries else step.runs + 1
        run = Run(
            self.pool, self.settings, self.incident, step.key, number, self.now, step.actor or ENGINE, step.answer
        )
        if step.state in ("running", "uncertain") and await self._is_settled(action, run):
            return
        if step.kind == "ask" and step.actor is None:
            await self._ask(action, run, parameters)
            return
        async with self._ours() as db:
            await steps_store.begin(db, self.incident.id, step.key, runs=number, now=self.now)
        self.step = replace(step, state="running", runs=number, tries=step.tries + 1)
        await self._end(await self._call(action, run, parameters), action)

    async def _is_settled(self, action: Action, run: Run) -> bool:
        """Whether a step that was interrupted needs no further run."""
        if self.step.tries >= INTERRUPTED:
            said = f"it was interrupted {self.step.tries} times: something ends the process that runs it"
            await self._end(Failed(said), action, for_good=True)
            return True
        if action.changes and await ledger.holds(action, self.step, run):
            await self._end(Done("in force: it was done just before an interruption", self.step.evidence), action)
            return True
        return False

    async def _call(self, action: Action, run: Run, parameters: Mapping[str, Any]) -> Outcome:
        """Raises what `AWAY` lists if the store is away: then the step stays running, and is looked at again."""
        limit = asyncio.timeout(action.patience.total_seconds())
        try:
            async with limit:
                outcome = await action.run(run, **parameters)
        except Exception as error:
            if limit.expired():
                return Failed(f"it took longer than {lasted(action.patience)}")
            if isinstance(error, AWAY):
                await self._probe()
            log.exception("step.failed", incident=run.incident.id, step=run.step, action=action.name)
            return Failed(logs.said(error)[:500])
        if not isinstance(outcome, Outcome):
            return Failed(f"{action.name} returned {type(outcome).__name__}, which is no outcome: a mistake in it")
        return outcome

    async def _probe(self) -> None:
        """An action's trouble with its own connections is not the store's. Raises what `AWAY` lists if it is."""
        async with asyncio.timeout(5):
            await self.pool.fetchval("SELECT 1")

    async def _ask(self, action: Action, run: Run, parameters: Mapping[str, Any]) -> None:
        """Ask a person, unless there is nothing to ask about."""
        outcome = await self._safely("offer", action.offers, run, parameters)
        if outcome is not None:
            await self._end(outcome, action, for_good=isinstance(outcome, Failed))
            return
        draft = await self._safely("draft", action.drafts, run, parameters)
        who = "the commander" if self.step.role == "commander" else "somebody"
        number, key, text = self.incident.id, self.step.key, self.step.text
        ask = (
            f"{text}?\nWaits for {who}: holdfast incidents approve {number} {key}\n"
            f"or: holdfast incidents skip {number} {key} --because …"
        )
        async with self._ours() as db:
            await self._put(db, "asking", f"waits for {who}", draft=draft)
            asked = f"{ask}\n\n{draft}" if draft else ask
            message = f"{run.key}/asked-{int(self.now.timestamp())}"
            await self.messages.post(db, message, f"To decide: {text}", asked, incident=self.incident, now=self.now)
            await self._log(db, f"waits for {who}")

    async def _safely(
        self, what: str, function: Callable[..., Awaitable[T]] | None, run: Run, parameters: Mapping[str, Any]
    ) -> T | None:
        """What comes before a question must not keep it from being asked: a mistake in it counts as no answer."""
        if function is None:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                return await function(run, **parameters)
        except Exception as error:
            if isinstance(error, AWAY):
                await self._probe()
            log.exception("step.unprepared", incident=run.incident.id, step=run.step, what=what)
        return None

    async def _stand(self, state: StepState, said: str) -> None:
        async with self._ours() as db:
            await self._put(db, state, said)
            await self._log(db, said)

    async def _end(self, outcome: Outcome, action: Action | None, *, for_good: bool = False) -> None:
        """Write down what came of it; what failed `for_good` is not tried again. Raises LeaseLost, Overtaken."""
        async with self._ours() as db:
            match outcome:
                case Waiting(said, again):
                    await self._put(db, "waiting", said, evidence=outcome.evidence, due_at=self.now + again, tries=1)
                    if not self.step.said:
                        await self._log(db, f"waits: {said}", outcome.evidence)
                case Failed(said) if self.step.tries < TRIES and not for_good:
                    due_at = self.now + timedelta(seconds=5 * 4 ** max(0, self.step.tries - 1))
                    await self._put(db, "waiting", said, due_at=due_at)
                    await self._log(db, f"failed, is tried again: {said}", outcome.evidence)
                case Failed(said):
                    await self._fail(db, said, outcome.evidence)
                case _ if self.step.kind == "every":
                    await self._repeat(db, outcome, owed=action is not None and action.is_owed)
                case NotApplicable(said):
                    await self._put(db, "not applicable", said, evidence=outcome.evidence)
                    await self._log(db, f"not applicable: {said}", outcome.evidence)
                case Done(said):
                    await self._put(db, "done", said, evidence=outcome.evidence)
                    await self._log(db, said, outcome.evidence)
                    if action is not None and action.changes:
                        await self._mitigates(db)
        ENDED.inc(1, _word(outcome))

    async def _fail(self, db: Connection, said: str, evidence: Mapping[str, Any]) -> None:
        """It stands still and somebody is told; what is due again and again goes on at its next time."""
        step, number = self.step, self.incident.id
        if step.every is not None:
            await self._put(db, "waiting", said, evidence=evidence, due_at=self.now + step.every, tries=0)
        else:
            await self._put(db, "failed", said, evidence=evidence)
        await self._log(db, f"failed: {said}", evidence)
        text = (
            f"“{step.text}” failed: {said}\nTry again: holdfast incidents retry {number} {step.key}\n"
            f"or do it by hand: holdfast incidents done {number} {step.key} --note …\n"
            f"or: holdfast incidents skip {number} {step.key} --because …"
        )
        key = f"incident-{number}/{step.key}/{step.runs}/failed-{int(self.now.timestamp())}"
        await self.messages.post(db, key, f"Failed: {step.text}", text, incident=self.incident, now=self.now)

    async def _repeat(self, db: Connection, outcome: Outcome, *, owed: bool) -> None:
        """An `every` step runs again after its interval; who owes it to people is reminded should it not."""
        step = self.step
        assert step.every is not None
        if outcome.said != step.said:
            await self._log(db, outcome.said, outcome.evidence)
        await store.meet(db, self.incident.id, "update", self.now, step=step.key)
        if not self.incident.is_open:
            await self._put(db, "done", outcome.said, evidence=outcome.evidence)
            return
        due_at = self.now + step.every
        await self._put(db, "waiting", outcome.said, evidence=outcome.evidence, due_at=due_at, tries=0)
        if owed:
            await store.oblige(
                db,
                self.incident.id,
                "update",
                step.text,
                owner=self.incident.commander,
                due_at=due_at + GRACE,
                step=step.key,
            )

    async def _mitigates(self, db: Connection) -> None:
        found = await store.lock(db, self.incident.id)
        if found is None or found.mitigating_at is not None:
            return
        if found.state == "acknowledged":
            await store.set_state(db, found.id, "mitigating", self.now)
            await store.write(db, found.id, "state", "acknowledged → mitigating", actor=ENGINE, now=self.now)
        else:  # nobody has acknowledged it yet: it stays detected, so that somebody does
            await store.set_mitigating_at(db, found.id, self.now)

    @asynccontextmanager
    async def _ours(self) -> AsyncIterator[Connection]:
        """A transaction in which incident and step are ours, and stay so until its end.

        Raises LeaseLost, and Overtaken if the step is not as it was when this turn last looked.
        """
        async with self.pool.acquire() as connection, connection.transaction():
            if not await store.holds(connection, self.incident.id, self.lease):
                raise LeaseLost
            found = await steps_store.lock(connection, self.incident.id, self.step.key)
            if found is None or _mark(found) != _mark(self.step):
                raise Overtaken
            yield connection

    async def _put(self, db: Connection, state: StepState, said: str, **more: Any) -> None:
        actor = self.step.actor or (ENGINE if state in ("done", "not applicable") else None)
        await steps_store.put(db, self.incident.id, self.step.key, state, said=said, now=self.now, actor=actor, **more)

    async def _log(self, db: Connection, said: str, evidence: Mapping[str, Any] | None = None) -> None:
        await store.write(
            db,
            self.incident.id,
            "step",
            f"{self.step.text}: {said}",
            actor=self.step.actor or ENGINE,
            now=self.now,
            step=self.step.key,
            evidence=evidence,
        )


def _mark(step: StepRow) -> tuple[object, ...]:
    """What changes when somebody does something with a step."""
    return step.state, step.runs, step.tries, step.actor


def _word(outcome: Outcome) -> str:
    return {Done: "done", NotApplicable: "not applicable", Waiting: "waiting", Failed: "failed"}[type(outcome)]
