"""What an incident of complaints was in figures, for its review."""

from dataclasses import dataclass
from datetime import datetime

from holdfast.complaints import cohort, store, view, view_store
from holdfast.db.pool import Pool
from holdfast.incidents.model import Incident
from holdfast.merchants import store as merchants

MOST = 200
"""Complaints that are looked at."""


@dataclass(frozen=True, slots=True)
class WayImpact:
    """`people` came by this way, of whom so many complained."""

    name: str
    merchant: str
    people: int
    complained: int


@dataclass(frozen=True, slots=True)
class ComplaintImpact:
    """`complaints` of so many `people`: `answered`, `late` of them too late; `unanswered`, `overdue` of them beyond the
    hour; and `erased`, which are closed without an answer. `longest`: seconds until the last of them was
    answered. `without_consent`: texts that went out to those who complained though no consent was on record. `held`:
    people who were held back, `kept` those whose blocks last.
    """

    complaints: int
    people: int
    answered: int
    late: int
    unanswered: int
    overdue: int
    erased: int
    longest: float | None
    cancelled: int
    without_consent: int
    held: int
    kept: int
    ways: tuple[WayImpact, ...] = ()
    causes: tuple[str, ...] = ()


async def impact(pool: Pool, incident: Incident, now: datetime) -> ComplaintImpact:
    """As of now."""
    found = await store.of_incident(pool, incident.id, MOST)
    times = [(one, one.answered_at) for one in found if one.answered_at is not None]
    waiting = [one for one in found if not one.is_settled]
    people = {one.customer_id: one for one in found}
    without = 0
    for one in people.values():
        without += len((await view.of_person(pool, one, now)).without_consent)
    ways = await cohort.ways(pool, found)
    keys = await merchants.keys(pool, [way.origin.merchant_id for way in ways])
    held, kept = await view_store.ever_held(pool, incident.id)
    return ComplaintImpact(
        complaints=len(found),
        people=len(people),
        answered=len(times),
        late=sum(at > one.due_at for one, at in times),
        unanswered=len(waiting),
        overdue=sum(one.due_at <= now for one in waiting),
        erased=len(found) - len(times) - len(waiting),
        longest=max(((at - one.received_at).total_seconds() for one, at in times), default=None),
        cancelled=sum(one.cancelled for one in found),
        without_consent=without,
        held=held,
        kept=kept,
        ways=tuple(
            WayImpact(way.name, keys.get(way.origin.merchant_id, ""), way.cohort.people, len(way.complaints))
            for way in ways[:20]
        ),
        causes=tuple(dict.fromkeys(one.cause for one in found if one.cause)),
    )
