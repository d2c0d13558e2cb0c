"""Reviews: drafted when an incident has resolved, written and closed by people."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from holdfast.db.pool import Connection, Pool
from holdfast.incidents import history_store, people_store
from holdfast.incidents import service as working
from holdfast.incidents import store as incidents
from holdfast.incidents.model import ENGINE, Entry, Incident, Obligation, StepRow
from holdfast.review import figures, measured, store, suggestions
from holdfast.review.measured import AFTER
from holdfast.review.model import VERDICTS, Figures, Impact, Plots, Review, ReviewError, Verdict
from holdfast.review.patch import patch
from holdfast.review.timeline import Line, timeline
from holdfast.runbooks import history_store as past_steps
from holdfast.runbooks import store as steps_store

DUE = timedelta(days=5)
"""After an incident has resolved its review is to be closed within this time."""
ITEM_DUE = timedelta(days=14)
"""When an action item is due if nobody says."""
LOOKS_BACK = timedelta(days=180)
"""Earlier incidents that tell how long a step usually takes."""
ROOT_CAUSE, PREVENTION, VERDICT = "root-cause", "prevention", "runbook-verdict"
"""Keys of the steps by which the product's runbooks ask people for their part of the review."""
LONGEST_TEXT = 50_000
_LONGEST_ITEM = 500
_LATE_SIGNALS = timedelta(seconds=30)


class NotYetError(ReviewError):
    """The incident has not resolved."""


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a review is made of: what is kept of it, and the incident that it is about."""

    review: Review
    incident: Incident
    steps: tuple[StepRow, ...]
    entries: tuple[Entry, ...]
    lines: tuple[Line, ...]
    items: tuple[Obligation, ...]
    runbook_text: str

    @property
    def patch(self) -> str:
        """What the proposal changes in the runbook that the incident ran; empty without a proposal."""
        if self.review.proposal is None:
            return ""
        return patch(self.incident.runbook, self.runbook_text, self.review.proposal)


async def draft(pool: Pool, incident_id: int, now: datetime) -> Review:
    """The review, made if there is none; counted again until the time after the incident is in it.

    What people wrote stays. Doing it twice changes nothing. Raises NotYetError before the incident has resolved, and
    ReviewError.
    """
    incident = await _incident(pool, incident_id)
    if incident.resolved_at is None:
        raise NotYetError(f"incident {incident_id} is {incident.state}: it is reviewed when it has resolved")
    before = await store.get(pool, incident_id)
    if before is not None and before.figures.resolved_at == incident.resolved_at and before.figures.settled:
        return before
    counted = await _figures(pool, incident, incident.resolved_at, now)
    async with pool.acquire() as connection, connection.transaction():
        await incidents.lock(connection, incident_id)
        before = await store.get(connection, incident_id)
        if before is not None and before.is_closed and before.figures.resolved_at != incident.resolved_at:
            await store.open_again(connection, incident_id)  # the incident came back, so there is more to say
        made = await store.keep(connection, incident_id, _best(before, counted), now)
        if before is None:
            await _announce(connection, incident, incident.resolved_at, now)
    return made


async def case(pool: Pool, incident_id: int, now: datetime) -> Case:
    """The review with all that it is about, drafted first if need be. Raises ReviewError."""
    review = await draft(pool, incident_id, now)
    incident = await _incident(pool, incident_id)
    entries = await incidents.entries(pool, incident_id)
    steps = await steps_store.steps(pool, incident_id)
    items = await incidents.obligations(pool, incident_id=incident_id, kind="action", unmet=False)
    text = await incidents.text(pool, incident.version)
    acting = frozenset(
        step.key for step in steps if step.kind in ("do", "ask") and step.state in ("done", "failed", "undone")
    )
    lines = timeline(entries, review.figures.alerts, review.figures.turns, acting)
    return Case(review, incident, tuple(steps), tuple(entries), tuple(lines), tuple(items), text or "")


async def write(
    pool: Pool,
    incident_id: int,
    *,
    root_cause: str | None = None,
    lessons: str | None = None,
    actor: str,
    now: datetime,
) -> Review:
    """What people say: None leaves what is there. Raises ReviewError."""
    given = {"root cause": root_cause, "lessons": lessons}
    for name, text in given.items():
        if text is not None and len(text) > LONGEST_TEXT:
            raise ReviewError(f"the {name} has {len(text):,} characters; {LONGEST_TEXT:,} at most")
    await draft(pool, incident_id, now)
    said = " and ".join(name for name, text in given.items() if text is not None)
    async with working.working(pool, incident_id, actor) as (connection, incident):
        await _still_open(connection, incident)
        await store.write(connection, incident_id, root_cause=root_cause, lessons=lessons)
        await incidents.write(connection, incident_id, "note", f"Review: wrote the {said}", actor=actor, now=now)
        if root_cause:
            await _did(connection, incident, ROOT_CAUSE, "written in the review", actor=actor, now=now)
        return await _kept(connection, incident_id)


async def add_item(
    pool: Pool, incident_id: int, text: str, *, owner: str | None, due_at: datetime | None, actor: str, now: datetime
) -> Obligation:
    """Something to be done because of the incident, which its owner is reminded of once it is due.

    Without an owner it is the commander's. Raises ReviewError.
    """
    commander = (await _incident(pool, incident_id)).commander
    text = " ".join(text.split())
    if not 0 < len(text) <= _LONGEST_ITEM:
        raise ReviewError(f"an action item is a sentence of 1 to {_LONGEST_ITEM} characters")
    if owner is not None and await people_store.person(pool, owner) is None:
        known = ", ".join(person.key for person in await people_store.people(pool))
        raise ReviewError(f"there is nobody called {owner!r}; there are {known or 'no people yet'}")
    due_at = due_at or now + ITEM_DUE
    owner = owner or commander
    async with working.working(pool, incident_id, actor) as (connection, incident):
        number = await incidents.oblige(connection, incident_id, "action", text, owner=owner, due_at=due_at)
        said = f"Action item {number} for {owner or 'nobody yet'}, due {due_at:%Y-%m-%d}: {text}"
        await incidents.write(connection, incident_id, "obligation", said, actor=actor, now=now)
        await _did(connection, incident, PREVENTION, said, actor=actor, now=now)
    return Obligation(number, incident_id, "action", text, owner, due_at)


async def item_done(pool: Pool, number: int, *, actor: str, now: datetime) -> Obligation:
    """Raises ReviewError if there is no such action item, or if it is done already."""
    found = await history_store.obligation(pool, number)
    if found is None or found.kind != "action":
        raise ReviewError(f"there is no action item {number}; see `holdfast reviews item list`")
    async with working.working(pool, found.incident_id, actor) as (connection, _):
        met = await incidents.meet_one(connection, number, now)
        if met is None:
            raise ReviewError(f"action item {number} is done already: {found.text}")
        said = f"Action item {number} is done: {met.text}"
        await incidents.write(connection, met.incident_id, "obligation", said, actor=actor, now=now)
    return met


async def propose(
    pool: Pool, incident_id: int, text: str, *, check: Callable[[str], None], actor: str, now: datetime
) -> Review:
    """The runbook's whole text as it should become. `check` raises what is wrong with it. Raises ReviewError."""
    check(text)
    before = await draft(pool, incident_id, now)
    incident = await _incident(pool, incident_id)
    if text == await incidents.text(pool, incident.version):
        raise ReviewError("this is the runbook as the incident ran it; say `verdict unchanged` if that is how it stays")
    async with working.working(pool, incident_id, actor) as (connection, incident):
        await _still_open(connection, incident)
        await store.propose(connection, incident_id, text)
        if text != before.proposal:
            said = f"Review: proposed a change of the runbook {incident.runbook}"
            await incidents.write(connection, incident_id, "note", said, actor=actor, now=now)
        return await _kept(connection, incident_id)


async def verdict(pool: Pool, incident_id: int, found: Verdict, why: str, *, actor: str, now: datetime) -> Review:
    """What becomes of the runbook: it stays as it is because, or is changed as proposed. Raises ReviewError."""
    if found not in VERDICTS:
        raise ReviewError(f"a verdict is {' or '.join(VERDICTS)}, not {found!r}")
    if not why.strip():
        raise ReviewError(f"say why it is {found}: whoever has the next incident wants to know")
    before = await draft(pool, incident_id, now)
    if found == "changed" and before.proposal is None:
        raise ReviewError(
            f"nobody has proposed a change: `holdfast reviews propose {incident_id} --file runbook.md` first"
        )
    async with working.working(pool, incident_id, actor) as (connection, incident):
        await _still_open(connection, incident)
        await store.set_verdict(connection, incident_id, found, why)
        said = f"Review: the runbook is {found}: {why}"
        await incidents.write(connection, incident_id, "note", said, actor=actor, now=now)
        await _did(connection, incident, VERDICT, f"{found}: {why}", actor=actor, now=now)
        return await _kept(connection, incident_id)


async def close(pool: Pool, incident_id: int, *, actor: str, now: datetime) -> Review:
    """The review is done and the incident reviewed. Raises ReviewError, naming what is missing."""
    before = await draft(pool, incident_id, now)
    if before.missing and not before.is_closed:
        raise ReviewError(
            f"the review of incident {incident_id} lacks {' and '.join(before.missing)}: "
            f"`holdfast reviews write {incident_id} --root-cause …`, "
            f"`holdfast reviews verdict {incident_id} unchanged|changed --because …`"
        )
    async with working.working(pool, incident_id, actor) as (connection, incident):
        await _still_open(connection, incident)
        await store.close(connection, incident_id, actor, now)
        await incidents.set_state(connection, incident_id, "reviewed", now)
        await incidents.meet(connection, incident_id, "review", now)
        said = f"{incident.state} → reviewed"
        await incidents.write(connection, incident_id, "state", said, actor=actor, now=now)
        return await _kept(connection, incident_id)


async def _incident(pool: Pool, incident_id: int) -> Incident:
    found = await incidents.get(pool, incident_id)
    if found is None:
        raise ReviewError(f"there is no incident {incident_id}; see `holdfast reviews list`")
    if found.merged_into is not None:
        raise ReviewError(f"incident {incident_id} was merged into {found.merged_into}: review that one")
    return found


async def _still_open(db: Connection, incident: Incident) -> None:
    """Raises ReviewError if nothing may be written in the incident's review any more, or again."""
    review = await _kept(db, incident.id)
    if review.is_closed:
        raise ReviewError(
            f"the review of incident {incident.id} was closed by {review.closed_by} on {review.closed_at:%Y-%m-%d}: "
            "it stays as it is"
        )
    if incident.state != "resolved":
        raise NotYetError(f"incident {incident.id} is {incident.state} again: it is reviewed when it has resolved")


async def _did(db: Connection, incident: Incident, key: str, said: str, *, actor: str, now: datetime) -> None:
    """The runbook's step for people that this is, if it has one that is not done yet."""
    step = await steps_store.step(db, incident.id, key)
    if step is None or step.kind != "person" or step.is_finished:
        return
    await steps_store.put(db, incident.id, key, "done", said=said, now=now, actor=actor)
    text = f"{step.text}: {said}"
    await incidents.write(db, incident.id, "step", text, actor=actor, now=now, step=key)


async def _kept(db: Connection, incident_id: int) -> Review:
    found = await store.get(db, incident_id)
    assert found is not None
    return found


async def _figures(pool: Pool, incident: Incident, resolved_at: datetime, now: datetime) -> Figures:
    entries = await incidents.entries(pool, incident.id)
    steps = await steps_store.steps(pool, incident.id)
    alerts = await figures.alerts(pool, incident.id)
    turns = await figures.turns(pool, incident, entries, now)
    return Figures(
        resolved_at,
        figures.times(incident, alerts),
        await figures.impact(pool, incident, now),
        alerts,
        turns,
        suggestions.derive(steps, turns, await _usual(pool, incident)),
        await measured.points(pool, incident, turns, now),
        settled=now >= resolved_at + AFTER + _LATE_SIGNALS,
    )


async def _usual(pool: Pool, incident: Incident) -> dict[str, tuple[int, float]]:
    found = await history_store.past(pool, incident.opened_at - LOOKS_BACK, incident.opened_at, limit=1000)
    same = [row["id"] for row in found if row["runbook"] == incident.runbook and row["id"] != incident.id]
    return await past_steps.usual(pool, same)


def _best(before: Review | None, counted: Figures) -> Figures:
    """What is known better from before: signals and events are pruned, and then there is less to count."""
    if before is None or before.figures.resolved_at != counted.resolved_at:
        return counted
    old = before.figures
    return replace(
        counted,
        alerts=counted.alerts if len(counted.alerts) >= len(old.alerts) else old.alerts,
        impact=_fuller(old.impact, counted.impact),
        plots=_finer(old.plots, counted.plots),
    )


def _fuller(old: Impact, new: Impact) -> Impact:
    return old if new.failed or old.received > new.received or _called(old) > _called(new) else new


def _called(impact: Impact) -> int:
    return impact.calls.calls if impact.calls is not None else 0


def _finer(old: Plots | None, new: Plots | None) -> Plots | None:
    if old is None or new is None:
        return new or old
    return old if new.width > old.width else new


async def _announce(db: Connection, incident: Incident, resolved_at: datetime, now: datetime) -> None:
    """That there is a review to be written, once; by when, unless somebody has set that already."""
    due_at = resolved_at + DUE
    known = await incidents.obligations(db, incident_id=incident.id, kind="review")
    if not known:
        text = f"Close the review of incident {incident.id}: root cause, lessons, verdict on the runbook"
        await incidents.oblige(db, incident.id, "review", text, owner=incident.commander, due_at=due_at)
    said = f"Review drafted; it is to be closed by {(known[0].due_at if known else due_at):%Y-%m-%d}"
    await incidents.write(db, incident.id, "obligation", said, actor=ENGINE, now=now)
