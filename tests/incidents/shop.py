"""A made-up shop with a runbook for when it is slow: one step of each kind."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.incidents.model import Incident
from holdfast.runbooks.actions import Done, Failed, Outcome, Registry, Run, Waiting
from holdfast.runbooks.engine import Engine
from holdfast.runbooks.model import Clocks, Runbook, RunbookError, Step
from holdfast.runbooks.working import Desk

STEPS = (
    Step("look", "check", "immediate", "Assess", "See how slow it is", 1, "shop.look"),
    Step("read-only", "do", "immediate", "Mitigate", "Nobody can buy for a while", 2, "shop.read_only"),
    Step("close", "ask", "immediate", "Mitigate", "Close the shop altogether", 3, "shop.close", role="commander"),
    Step("tell", "ask", "communication", "Tell", "Write to the customers", 4, "shop.tell"),
    Step("update", "every", "communication", "Tell", "Tell the team", 5, "shop.update", every=timedelta(minutes=30)),
    Step("warm", "do", "investigation", "Look deeper", "Fill the cache", 6, "shop.warm"),
    Step("ask-supplier", "person", "investigation", "Look deeper", "Ask the supplier", 7),
    Step("calm", "check", "recovery", "Prove", "Wait until pages are fast", 8, "shop.calm"),
    Step("count", "check", "recovery", "Prove", "No order was lost", 9, "shop.count"),
)
BOOK = Runbook(
    "shop-slow",
    "The shop is slow",
    ("shop-slow",),
    "warning",
    Clocks(),
    STEPS,
    "# The shop is slow\n",
    "0123456789ab",
    "shop-slow.md",
)


@dataclass
class Shop:
    """The shop as it is, and what was done to it."""

    is_read_only: bool = False
    is_broken: bool = True
    told: list[str] = field(default_factory=list)

    def registry(self) -> Registry:
        made = Registry()

        @made.action("shop.look")
        async def look(run: Run) -> Outcome:
            """See how slow it is."""
            return Done("pages take 9 s", {"seconds": 9})

        @made.action("shop.read_only", expires=timedelta(hours=2))
        async def read_only(run: Run) -> Outcome:
            """Nobody can buy for a while."""
            self.is_read_only = True
            return Done("read-only for 2 h")

        @read_only.verify
        async def _(run: Run) -> bool:
            return self.is_read_only

        @read_only.undo
        async def _(run: Run) -> str:
            self.is_read_only = False
            return "people can buy again"

        @made.action("shop.close")
        async def close(run: Run) -> Outcome:
            """Close it."""
            return Done("closed")

        @made.action("shop.tell")
        async def tell(run: Run) -> Outcome:
            """Tell people."""
            self.told.append(run.text or "The shop is slow.")
            return Done("1 message is out")

        @tell.draft
        async def _(run: Run) -> str:
            return "The shop is slow."

        @made.action("shop.update", owed=True)
        async def update(run: Run) -> Outcome:
            """Tell the team."""
            return Done(f"update {run.number} is out")

        @made.action("shop.warm")
        async def warm(run: Run) -> Outcome:
            """Fill the cache."""
            return Failed("the cache is away") if self.is_broken else Done("100 pages are warm")

        @made.action("shop.calm")
        async def calm(run: Run) -> Outcome:
            """Wait."""
            return Done("calm") if run.incident.calm_at is not None else Waiting("pages are slow")

        @made.action("shop.count", proof=True)
        async def count(run: Run) -> Outcome:
            """Count orders."""
            return Done("7 of 7 orders are there")

        return made


class Library:
    """The shop's runbook, and another like it."""

    def for_alert(self, runbook: str, key: str) -> Runbook | None:
        return BOOK if runbook == BOOK.id else None

    def get(self, runbook_id: str) -> Runbook:
        if runbook_id == "shop-down":
            return replace(BOOK, id="shop-down", title="The shop is down", version="ba9876543210")
        if runbook_id != BOOK.id:
            raise RunbookError([f"there is no runbook {runbook_id!r}; there are: shop-down, shop-slow"])
        return BOOK


@dataclass
class Posted:
    """What the engine told the team."""

    posted: list[str] = field(default_factory=list)
    paged: list[str] = field(default_factory=list)

    async def post(self, db: Any, key: str, subject: str, text: str, *, incident: Incident, now: datetime) -> int:
        self.posted.append(subject)
        return 1

    async def page(self, db: Any, key: str, people: Any, text: str, *, incident: Incident, now: datetime) -> int:
        self.paged += [person.key for person in people]
        return 1


def desk_of(pool: Pool, shop: Shop, settings: Settings | None = None) -> Desk:
    return Desk(pool, settings or Settings(), shop.registry(), Library())


def engine_of(desk: Desk, messages: Posted | None = None) -> Engine:
    return Engine(desk.pool, desk.settings, desk.library, desk.registry, messages or Posted())


async def opened(desk: Desk, *, runbook: str = "shop-slow", actor: str = "ana", now: datetime) -> Incident:
    """An incident of the shop, as the engine has left it: mitigated, and waiting for people."""
    incident = await desk.open(runbook, "Pages take 9 s", actor=actor, now=now)
    await run_on(desk, now)
    return incident


async def run_on(desk: Desk, now: datetime) -> None:
    """Let the engine do all that is due, tries and all."""
    engine = engine_of(desk)
    for seconds in (0, 10, 40, 120, 300):
        while await engine.tick(now + timedelta(seconds=seconds)):
            pass
