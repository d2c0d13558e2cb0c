"""Who came the same way as somebody who complained, and holding them back while that way is looked into.

A hold is provisional: it is one merchant's, it is the incident's, and taking it back lifts exactly what it made. Whom
another open incident holds back as well stays blocked, and is that one's from then on.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.complaints import service, view_store
from holdfast.complaints.model import Complaint
from holdfast.consent import customers, lineage, suppressing
from holdfast.consent import store as consent
from holdfast.consent.lineage import Cohort, Origin
from holdfast.consent.model import Block
from holdfast.db.pool import Connection, Pool
from holdfast.incidents import store as incidents
from holdfast.incidents.model import ENGINE, OPEN
from holdfast.merchants import store as merchants
from holdfast.messaging import stopping

HOLD = "complaints.hold_cohort"
"""The action by which an incident holds people back."""
PAGE = 500
"""People who are held in one transaction."""
LASTS = timedelta(days=7)
"""How long a hold stays after its incident is over, unless somebody ends it or makes it last."""
_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Route:
    """One way by which people came in. `complaints`: of the incident's, whose people came by it."""

    origin: Origin
    complaints: tuple[int, ...]

    @property
    def name(self) -> str:
        return named(self.origin)


@dataclass(frozen=True, slots=True)
class Way(Route):
    """The same with how many came by it."""

    cohort: Cohort


@dataclass(frozen=True, slots=True)
class Held:
    """`people` who are held now, `new` ones of them, and texts that waited for them and were cancelled."""

    people: int
    new: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class Released:
    """`people` who may be texted again, and how many others are held by which other incidents still."""

    people: int
    elsewhere: Mapping[int, int]


def named(origin: Origin) -> str:
    """A way as people call it: `import 12`, or `form spring-sale`."""
    return f"import {origin.batch_id}" if origin.batch_id is not None else f"form {origin.origin}"


def mark(origin: Origin) -> tuple[int, int | None, str | None]:
    """Equal for two who came the same way."""
    return origin.merchant_id, origin.batch_id, None if origin.batch_id is not None else origin.origin


async def routes(pool: Pool, complaints: Sequence[Complaint]) -> list[Route]:
    """How the people of these complaints came in, each way once: the way of most complaints first.

    To whom they complained of; where they named nobody, to every merchant who texted them of late. Where nobody did,
    no way is more likely than another.
    """
    found: dict[tuple[int, int | None, str | None], tuple[Origin, list[int]]] = {}
    for one in complaints:
        owners = await service.texters(pool, one)
        for origin in await lineage.sources(pool, one.customer_id):
            if origin.has_cohort and origin.merchant_id in owners:
                numbers = found.setdefault(mark(origin), (origin, []))[1]
                if one.id not in numbers:
                    numbers.append(one.id)
    made = [Route(origin, tuple(numbers)) for origin, numbers in found.values()]
    return sorted(made, key=lambda route: (-len(route.complaints), route.name))


async def counted(pool: Pool, routes: Sequence[Route]) -> list[Way]:
    """To count those who came by a file of a million lines takes a while."""
    return [Way(one.origin, one.complaints, await lineage.cohort_size(pool, one.origin)) for one in routes]


async def ways(pool: Pool, complaints: Sequence[Complaint]) -> list[Way]:
    """As `routes`, with how many came by each."""
    return await counted(pool, await routes(pool, complaints))


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
            blocks = [_block(customer_id, origin, incident_id, actor) for customer_id in part]
            async with pool.acquire() as db, db.transaction():
                await customers.lock(db, part)
                stopped = await stopping.block(db, blocks, now)
            await stopping.settled(pool, part)
            people += len(part)
            new += sum(one.is_new for one in stopped)
            cancelled += sum(len(one.cancelled) for one in stopped)
            progress(people)
    return Held(people, new, cancelled)


def _block(customer_id: int, origin: Origin, incident_id: int, actor: str) -> Block:
    return Block(
        customer_id,
        origin.merchant_id,
        "cohort",
        "incident",
        actor,
        named(origin),
        incident_id=incident_id,
        batch_id=origin.batch_id,
    )


async def release(pool: Pool, incident_id: int, *, actor: str, why: str, now: datetime) -> Released:
    """Lift what the incident holds, and nothing else."""
    after = released = 0
    elsewhere: Counter[int] = Counter()
    while page := await view_store.held_ids(pool, incident_id, after, PAGE):
        async with pool.acquire() as db, db.transaction():
            await customers.lock(db, [customer for _, customer, _ in page])
            others = await _held_elsewhere(db, incident_id)
            lifted = set(await consent.lift(db, [number for number, _, _ in page], actor=actor, why=why, now=now))
            free = {(customer, merchant) for number, customer, merchant in page if number in lifted}
            blocks = await _taken_over(db, others, free)
            await suppressing.suppress(db, blocks, now)
        elsewhere.update(one.incident_id for one in blocks if one.incident_id is not None)
        released += len(free) - len(blocks)
        after = page[-1][0]
    for other, count in elsewhere.items():
        said = f"{count:,} people whom incident {incident_id} held back as well are held back by this one alone now"
        await incidents.write(pool, other, "lever", said, actor=actor, now=now)
    return Released(released, elsewhere)


async def _taken_over(db: Connection, others: Sequence["_Hold"], free: Set[tuple[int, int]]) -> list[Block]:
    """Of (customer, merchant) those whom other incidents hold, too: each for the oldest of them."""
    blocks: dict[tuple[int, int], Block] = {}
    for hold in others:
        merchant = hold.origin.merchant_id
        mine = [customer for customer, of in free if of == merchant and (customer, of) not in blocks]
        for customer in await lineage.among(db, hold.origin, mine) if mine else ():
            blocks[customer, merchant] = _block(customer, hold.origin, hold.incident_id, hold.actor)
    return list(blocks.values())


@dataclass(frozen=True, slots=True)
class _Hold:
    incident_id: int
    actor: str
    origin: Origin


async def _held_elsewhere(db: Connection, incident_id: int) -> list[_Hold]:
    """What other open incidents hold back, as their steps noted it."""
    found = []
    for number, actor, began_at, held in await view_store.holds_elsewhere(db, incident_id, HOLD, OPEN):
        owners = await merchants.ids(db, [str(one["merchant"]) for one in held])
        for one in held:
            owner = owners.get(str(one["merchant"]))
            if owner is not None and (one.get("batch") or one.get("form")):
                origin = Origin(owner, one.get("batch"), one.get("form"), "", began_at, None, None)
                found.append(_Hold(number, actor or ENGINE, origin))
    return found


async def keep(pool: Pool, incident_id: int, *, actor: str, why: str, now: datetime) -> int:
    """Make what the incident holds last, as blocks that only a person lifts; how many."""
    after = ended = 0
    note = f"kept after incident {incident_id}: {why}"
    while page := await view_store.held_ids(pool, incident_id, after, PAGE):
        async with pool.acquire() as db, db.transaction():
            await customers.lock(db, [customer for _, customer, _ in page])
            lasting = [Block(customer, merchant, "operator", "incident", actor, note) for _, customer, merchant in page]
            await suppressing.suppress(db, lasting, now)
            lifted = await consent.lift(db, [number for number, _, _ in page], actor=actor, why=why, now=now)
        ended += len(lifted)
        after = page[-1][0]
    return ended


async def expire(pool: Pool, now: datetime) -> int:
    """A tick: lift holds of incidents that are over, once they have lasted long enough; how many."""
    ended = 0
    for incident_id in await view_store.lapsed(pool, now - LASTS, OPEN, _AT_ONCE):
        released = await release(pool, incident_id, actor=ENGINE, why="the hold ran out", now=now)
        count = released.people
        said = f"the hold on {count:,} people ran out: the merchant may text them again"
        await incidents.write(pool, incident_id, "lever", said, actor=ENGINE, now=now)
        ended += count
    return ended
