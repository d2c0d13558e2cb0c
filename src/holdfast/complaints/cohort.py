"""Who came the same way as somebody who complained, and holding them back while that way is looked into.

A hold is provisional: it is one merchant's, it is the incident's, and taking it back lifts exactly what it made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from holdfast.complaints import store, view_store
from holdfast.complaints.model import Complaint
from holdfast.consent import customers, lineage, suppressing
from holdfast.consent import store as consent
from holdfast.consent.lineage import Cohort, Origin
from holdfast.consent.model import Block
from holdfast.db.pool import Pool
from holdfast.incidents import store as incidents
from holdfast.incidents.model import ENGINE, OPEN
from holdfast.messaging import stopping

PAGE = 500
"""People who are held in one transaction."""
LASTS = timedelta(days=7)
"""How long a hold stays after its incident is over, unless somebody ends it or makes it last."""
RECENT = timedelta(days=90)
_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Way:
    """One way by which people came in, and how many. `complaints`: of the incident's, whose people came by it."""

    origin: Origin
    cohort: Cohort
    complaints: tuple[int, ...]

    @property
    def name(self) -> str:
        return named(self.origin)


@dataclass(frozen=True, slots=True)
class Held:
    """`people` who are held now, `new` ones of them, and texts that waited for them and were cancelled."""

    people: int
    new: int
    cancelled: int


def named(origin: Origin) -> str:
    """A way as people call it: `import 12`, or `form spring-sale`."""
    return f"import {origin.batch_id}" if origin.batch_id is not None else f"form {origin.origin}"


async def ways(pool: Pool, complaints: Sequence[Complaint]) -> list[Way]:
    """How the people of these complaints came in, each way once: the way of most complaints first.

    To whom they complained of; where they named nobody, to every merchant who texted them of late. Where nobody did,
    no way is more likely than another.
    """
    found: dict[tuple[int, int | None, str | None], tuple[Origin, list[int]]] = {}
    for one in complaints:
        merchants = [one.merchant_id] if one.merchant_id else None
        if merchants is None:
            merchants = await store.texting_merchants(pool, one.customer_id, one.received_at - RECENT)
        for origin in await lineage.sources(pool, one.customer_id):
            if origin.has_cohort and origin.merchant_id in merchants:
                way = (origin.merchant_id, origin.batch_id, None if origin.batch_id else origin.origin)
                numbers = found.setdefault(way, (origin, []))[1]
                if one.id not in numbers:
                    numbers.append(one.id)
    made = [Way(origin, await lineage.cohort_size(pool, origin), tuple(numbers)) for origin, numbers in found.values()]
    return sorted(made, key=lambda way: (-len(way.complaints), way.name))


async def hold(
    pool: Pool,
    origin: Origin,
    *,
    incident_id: int,
    actor: str,
    now: datetime,
    progress: Callable[[int], None] = lambda _count: None,
) -> Held:
    """Block everybody who came this way for its merchant, page by page; done again after an interruption, it goes on.

    Returns once nothing that was on its way to them can go out any more.
    """
    people = new = cancelled = 0
    async for page in lineage.everybody(pool, origin):
        for begin in range(0, len(page), PAGE):
            part = page[begin : begin + PAGE]
            blocks = [
                Block(
                    customer_id,
                    origin.merchant_id,
                    "cohort",
                    "incident",
                    actor,
                    named(origin),
                    incident_id=incident_id,
                    batch_id=origin.batch_id,
                )
                for customer_id in part
            ]
            async with pool.acquire() as db, db.transaction():
                await customers.lock(db, part)
                stopped = await stopping.block(db, blocks, now)
            await stopping.settled(pool, part)
            people += len(part)
            new += sum(one.is_new for one in stopped)
            cancelled += sum(len(one.cancelled) for one in stopped)
            progress(people)
    return Held(people, new, cancelled)


async def release(pool: Pool, incident_id: int, *, actor: str, why: str, now: datetime) -> int:
    """Lift what the incident holds, and nothing else; how many."""
    return await _end(pool, incident_id, "release", actor=actor, why=why, now=now)


async def keep(pool: Pool, incident_id: int, *, actor: str, why: str, now: datetime) -> int:
    """Make what the incident holds last, as blocks that only a person lifts; how many."""
    return await _end(pool, incident_id, "keep", actor=actor, why=why, now=now)


async def _end(
    pool: Pool, incident_id: int, how: Literal["release", "keep"], *, actor: str, why: str, now: datetime
) -> int:
    after = ended = 0
    while page := await view_store.held_ids(pool, incident_id, after, PAGE):
        async with pool.acquire() as db, db.transaction():
            await customers.lock(db, [customer for _, customer, _ in page])
            if how == "keep":
                note = f"kept after incident {incident_id}: {why}"
                lasting = [
                    Block(customer, merchant, "operator", "incident", actor, note) for _, customer, merchant in page
                ]
                await suppressing.suppress(db, lasting, now)
            lifted = await consent.lift(db, [number for number, _, _ in page], actor=actor, why=why, now=now)
        ended += len(lifted)
        after = page[-1][0]
    return ended


async def expire(pool: Pool, now: datetime) -> int:
    """A tick: lift holds of incidents that are over, once they have lasted long enough; how many."""
    ended = 0
    for incident_id in await view_store.lapsed(pool, now - LASTS, OPEN, _AT_ONCE):
        count = await release(pool, incident_id, actor=ENGINE, why="the hold ran out", now=now)
        said = f"the hold on {count:,} people ran out: the merchant may text them again"
        await incidents.write(pool, incident_id, "lever", said, actor=ENGINE, now=now)
        ended += count
    return ended
