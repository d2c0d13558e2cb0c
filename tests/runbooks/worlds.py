"""A small world for the engine: runbooks of a few steps, actions that count, and people who get messages."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.incidents import store
from holdfast.incidents.model import Incident
from holdfast.runbooks import store as steps_store
from holdfast.runbooks.actions import Done, Failed, NotApplicable, Outcome, Registry, Run, Waiting
from holdfast.runbooks.engine import Engine
from holdfast.runbooks.model import Clocks, Runbook, Step
from holdfast.runbooks.working import Desk
from holdfast.watch import store as watch
from holdfast.watch.model import Alert

START = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)


def step(kind, key, *, action=None, phase="immediate", text=None, role="responder", every=None, **parameters):
    name = action if action is not None else (f"test.{key}" if kind != "person" else None)
    return Step(key, kind, phase, "1", text or key.replace("-", " "), 1, name, parameters, role, every)


def book(
    *steps, runbook="webhook-backlog", acknowledge=timedelta(minutes=5), version="000000000001", severity="warning"
):
    clocks = Clocks(acknowledge=acknowledge)
    return Runbook(runbook, "Backlog", (runbook,), severity, clocks, steps, "# text", version, "here.md")


def alert(at, key="webhook-backlog/route", severity="warning", title="Events wait", cause="spike"):
    return Alert(key, key.partition("/")[0], cause, severity, title, "More come than go.", at, at)


@dataclass
class Messages:
    """Writes what is said into the log, once a key: what a transaction undoes was not said."""

    async def post(self, db, key, subject, text, *, incident, now):
        return await self._say(db, key, f"{subject}\n{text}", incident, now)

    async def page(self, db, key, people, text, *, incident, now):
        return await self._say(db, key, f"to {', '.join(person.key for person in people)}\n{text}", incident, now)

    async def _say(self, db, key, text, incident, now):
        said = "SELECT 1 FROM incident_log WHERE kind = 'message' AND evidence->>'key' = $1"
        if await db.fetchval(said, key) is None:
            await store.write(db, incident.id, "message", text, actor="test", now=now, evidence={"key": key})
        return 1


@dataclass
class World:
    pool: Pool
    books: tuple[Runbook, ...]
    settings: Settings = field(default_factory=lambda: Settings(_env_file=None))
    registry: Registry = field(default_factory=Registry)
    now: datetime = START
    calls: list[str] = field(default_factory=list)
    """Every call of an action: its step, and the number of the run."""
    in_force: set[str] = field(default_factory=set)

    def get(self, runbook_id):
        return next(one for one in self.books if one.id == runbook_id)

    def for_alert(self, runbook, key):
        return next((one for one in self.books if runbook in one.triggers), None)

    @property
    def desk(self):
        return Desk(self.pool, self.settings, self.registry, self)

    def engine(self):
        return Engine(self.pool, self.settings, self, self.registry, Messages())

    def action(self, key, *outcomes, **options):
        """An action `test.KEY` that returns these outcomes in turn, the last again and again."""
        left = list(outcomes or [Done("done")])

        async def run(run: Run) -> Outcome:
            """Something."""
            self.calls.append(f"{run.step}/{run.number}")
            outcome: Outcome = left.pop(0) if len(left) > 1 else left[0]
            return outcome

        return self.registry.action(f"test.{key}", **options)(run)

    def change(self, key):
        """An action that changes something."""

        async def run(run: Run) -> Outcome:
            """Change something."""
            self.calls.append(f"{run.step}/{run.number}")
            self.in_force.add(run.step)
            return Done("changed")

        made = self.registry.action(f"test.{key}", expires=timedelta(hours=1))(run)

        @made.verify
        async def _(run: Run) -> bool:
            return run.step in self.in_force

        @made.undo
        async def _(run: Run) -> str:
            self.in_force.discard(run.step)
            return "as before"

        return made

    async def fire(self, **options):
        number, _ = await watch.keep(self.pool, alert(self.now, **options), {}, self.now)
        return number

    async def quiet(self, key="webhook-backlog/route"):
        await watch.close(self.pool, key, self.now)

    async def pass_time(self, length, *, by=timedelta(seconds=10)):
        """Let time pass, with an engine at work."""
        end = self.now + length
        while self.now < end:
            self.now += by
            await self.engine().tick(self.now)

    async def incident(self) -> Incident:
        (found,) = await store.listing(self.pool)
        return found

    async def steps(self):
        found = await self.incident()
        return {one.key: one for one in await steps_store.steps(self.pool, found.id)}

    async def states(self):
        return {key: one.state for key, one in (await self.steps()).items()}

    async def said(self, kind=None):
        found = await self.incident()
        return [one.text for one in await store.entries(self.pool, found.id) if kind in (None, one.kind)]


__all__ = ["Done", "Failed", "NotApplicable", "Waiting", "World", "alert", "book", "replace", "step"]
