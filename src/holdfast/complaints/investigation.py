"""What the runbook of a complaint looks into, and whom it holds back meanwhile: everybody who came the same way."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from holdfast.comms.words import day_and_clock, many
from holdfast.complaints import cohort, view, view_store
from holdfast.complaints.actions import AGAIN, NOBODY, SHOWN, lasts, numbers, numbers_of, of
from holdfast.complaints.cohort import LASTS, Route, Way
from holdfast.complaints.model import Complaint
from holdfast.consent.lineage import Origin
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.runbooks import store as steps
from holdfast.runbooks.actions import REGISTRY, Done, Failed, Mitigation, NotApplicable, Outcome, Run, Waiting, action

NO_WAY = "no file or form is known by which anybody else came as well"
LATELY = timedelta(days=7)
"""Since when before the trouble complaints and stops count as of the same matter."""
MOST_WAYS = 20
PATIENCE = timedelta(minutes=3)
"""To count those who came by a file of a million lines takes a while."""


@dataclass(frozen=True, slots=True)
class _Seen:
    complaints: list[Complaint]
    ways: list[Route]
    keys: dict[int, str]

    def whose(self, way: Route) -> str:
        return self.keys.get(way.origin.merchant_id, str(way.origin.merchant_id))


async def _seen(run: Run) -> _Seen:
    """The complaints, and the ways of their people and of what the alerts found out of line; nobody is counted yet."""
    found = await of(run)
    ways = await cohort.routes(run.pool, found)
    known = {cohort.mark(way.origin) for way in ways}
    for origin in await _of_alerts(run):
        if cohort.mark(origin) not in known:
            known.add(cohort.mark(origin))
            ways.append(Route(origin, ()))
    ways = ways[:MOST_WAYS]
    return _Seen(found, ways, await merchants.keys(run.pool, [way.origin.merchant_id for way in ways]))


async def _of_alerts(run: Run) -> list[Origin]:
    """The imports and forms that alerts of stops out of line name."""
    named = run.incident.affected
    batches = [one["batch"] for one in named.get("batches", []) if isinstance(one, dict) and "batch" in one]
    forms = [one for one in named.get("forms", []) if isinstance(one, dict) and "form" in one]
    owners = await merchants.ids(run.pool, [str(one.get("merchant")) for one in forms])
    found = []
    for number in batches:
        row = await view_store.batch(run.pool, int(number))
        if row is not None:
            found.append(Origin(row["merchant_id"], row["id"], None, row["file"], row["began_at"], None, None))
    for one in forms:
        owner = owners.get(str(one.get("merchant")))
        if owner is not None:
            found.append(Origin(owner, None, str(one["form"]), str(one["form"]), run.incident.since, None, None))
    return found


# How they came in


@action("complaints.origin", patience=PATIENCE)
async def origin(run: Run) -> Outcome:
    """Find out how they came on the list: which file or form, who imported it, and whether anything went wrong."""
    seen = await _seen(run)
    if not seen.complaints and not seen.ways:
        return NotApplicable(NOBODY)
    people, unknown = [], []
    for one in seen.complaints[:SHOWN]:
        shown = await view.of_person(run.pool, one, run.now)
        people.append({"complaint": one.id, "lineage": view.origins(shown)})
        if not shown.origins:
            unknown.append(one)
    ways = await cohort.counted(run.pool, seen.ways)
    imports = [found for way in ways if (found := await _import(run.pool, way, seen)) is not None]
    said = [_way_said(way, seen) for way in ways[:5]]
    said += [str(found["said"]) for found in imports[:5]]
    if unknown:
        said.append(f"of {numbers(unknown)} it is not known how they came on a list")
    return Done("; ".join(said) or NO_WAY, {"complaints": people, "ways": _ways(ways, seen), "imports": imports})


def _way_said(way: Way, seen: _Seen) -> str:
    who = f"{numbers_of(way.complaints)} came by" if way.complaints else "out of line is"
    return f"{who} {way.name} of {seen.whose(way)}, as {max(0, way.cohort.people - len(way.complaints)):,} others did"


async def _import(pool: Pool, way: Way, seen: _Seen) -> dict[str, Any] | None:
    """What is known of the file's import: who, when, and what of it was refused or went wrong."""
    if way.origin.batch_id is None:
        return None
    row = await view_store.batch(pool, way.origin.batch_id)
    if row is None:
        return None
    reasons = await view_store.reject_reasons(pool, way.origin.batch_id, 5)
    troubles = [f"{count:,} rows refused ({reason})" for reason, count in reasons[:2]]
    if row["state"] != "applied":
        troubles.append(f"it is {row['state']}")
    if way.cohort.complained > 1:
        troubles.append(f"{way.cohort.complained} of its people complained")
    by = f"import {row['id']} ({row['file']}) was made by {row['actor']} on {day_and_clock(row['began_at'])}"
    return {
        "batch": row["id"],
        "merchant": seen.whose(way),
        "file": row["file"],
        "sha256": bytes(row["sha256"]).hex(),
        "by": row["actor"],
        "at": row["began_at"],
        "state": row["state"],
        "counts": row["counts"],
        "rejects": row["rejects"],
        "reasons": dict(reasons),
        "said": f"{by}: {', '.join(troubles) or 'nothing of it was refused'}",
    }


@action("complaints.collection_review", patience=PATIENCE)
async def collection_review(run: Run) -> Outcome:
    """Look at how consent was collected that way: what people were shown, and how many grants lack what proves them."""
    seen = await _seen(run)
    if not seen.ways:
        return NotApplicable(NO_WAY)
    said, evidence = [], []
    for way in seen.ways[:SHOWN]:
        row = await view_store.evidence(run.pool, way.origin)
        texts = await view_store.disclosures(run.pool, way.origin, 5)
        grants = row["grants"]
        lacks = [
            (row["no_disclosure"], "no text that people were shown"),
            (row["no_method"], "no method"),
            (row["no_ip_or_recording"], "neither an IP address nor a recording"),
            (row["no_collector"], "nobody who collected it"),
        ]
        missing = [f"{what} for {_share(count, grants)}" for count, what in lacks if count]
        name = f"{way.name} of {seen.whose(way)}"
        if not grants:
            said.append(f"{name}: no consent came with it, only contacts")
        else:
            said.append(f"{name}: {many(grants, 'consent')}, {', '.join(missing) or 'each with its evidence'}")
        evidence.append(
            {"way": way.name, "merchant": seen.whose(way), **dict(row)}
            | {"shown": [{"text": text, "consents": count} for text, count in texts]}
        )
    return Done("; ".join(said), {"ways": evidence})


def _share(count: int, of_all: int) -> str:
    return "all of them" if count == of_all else f"{count:,} ({count / of_all:.0%})"


# Who else


@action("complaints.similar", patience=PATIENCE)
async def similar(run: Run) -> Outcome:
    """Watch for more of it: new complaints join, and stops of people who came the same way are counted."""
    step = await steps.step(run.pool, run.incident.id, run.step)
    before = step.evidence.get("complaints") if step is not None else None
    seen = await _seen(run)
    ids = [one.id for one in seen.complaints]
    new = [one for one in seen.complaints if before is not None and one.id not in before]
    since = run.incident.since - LATELY
    evidence: list[dict[str, Any]] = []
    for way in seen.ways:
        stops, complaints = await view_store.stops_of_way(run.pool, way.origin, since)
        evidence.append({"way": way.name, "merchant": seen.whose(way), "stops": stops, "complaints": complaints})
    said = [f"{numbers(new)} joined"] if new else []
    said += [
        f"{one['way']} of {one['merchant']}: {many(one['complaints'], 'complaint')} and {many(one['stops'], 'stop')} "
        f"since {day_and_clock(since)}"
        for one in evidence[:5]
        if one["stops"] or one["complaints"]
    ]
    if not said:
        return Done("nobody else complained or said stop who came the same way", {"ways": evidence, "complaints": ids})
    return Done("; ".join(said), {"ways": evidence, "complaints": ids, "joined": [one.id for one in new]})


@action("complaints.affected_others", patience=PATIENCE)
async def affected_others(run: Run) -> Outcome:
    """Find out whether others are affected: who came the same way, of them who was texted, blocked, or complained."""
    seen = await _seen(run)
    if not seen.ways:
        return NotApplicable(NO_WAY)
    ways = await cohort.counted(run.pool, seen.ways)
    said = [
        f"{way.name} of {seen.whose(way)}: {way.cohort.people:,} people, {way.cohort.texted:,} of them were texted, "
        f"{way.cohort.suppressed:,} are blocked, {way.cohort.complained:,} complained"
        for way in ways[:5]
    ]
    return Done("; ".join(said), {"ways": _ways(ways, seen)})


def _ways(ways: Sequence[Way], seen: _Seen) -> list[dict[str, Any]]:
    return [view.way(way, seen.keys) for way in ways]


# Holding them back


@action(cohort.HOLD, expires=LASTS, listed=True, patience=timedelta(minutes=15))
async def hold_cohort(run: Run) -> Outcome:
    """Block everybody who came the same way, for that merchant, until it is known whether they consented."""
    seen = await _seen(run)
    chosen = _chosen(run, seen)
    if not chosen:
        return NotApplicable(NO_WAY)
    evidence, people, new, cancelled = [], 0, 0, 0
    for way in chosen:
        held = await cohort.hold(run.pool, way.origin, incident_id=run.incident.id, actor=run.actor, now=run.now)
        people, new, cancelled = people + held.people, new + held.new, cancelled + held.cancelled
        evidence.append(
            {"way": way.name, "merchant": seen.whose(way), "people": held.people, "new": held.new}
            | {"cancelled": held.cancelled, "batch": way.origin.batch_id}
            | {"form": way.origin.origin if way.origin.batch_id is None else None}
        )
    names = ", ".join(f"{way.name} of {seen.whose(way)}" for way in chosen)
    already = f", {people - new:,} of them were already" if people > new else ""
    said = f"{people:,} people of {names} are held back{already}; {many(cancelled, 'text')} cancelled"
    return Done(said, {"held": evidence})


@hold_cohort.offer
async def _(run: Run) -> Outcome | None:
    seen = await _seen(run)
    if any(way.cohort.people > len(way.complaints) for way in await cohort.counted(run.pool, seen.ways)):
        return None
    if lasts(run.incident) and not seen.complaints:
        return Waiting(NO_WAY, AGAIN)
    return NotApplicable(NO_WAY)


@hold_cohort.draft
async def _(run: Run) -> str:
    seen = await _seen(run)
    lines = [
        f"{_line(way, seen)} {way.cohort.people:,} people, {way.cohort.texted:,} of them texted, "
        f"{way.cohort.suppressed:,} blocked already, {way.cohort.complained:,} complained"
        for way in await cohort.counted(run.pool, seen.ways)
    ]
    return (
        "\n".join(lines) + "\n\nEach gets no text of that merchant until this is undone, or made to last "
        f"(complaints.keep_cohort); other merchants' texts go on. What waits for them is cancelled.\n"
        f"Take out the lines of those who shall not be held back. To undo: "
        f"holdfast incidents undo {run.incident.id} {run.step} --because …"
    )


def _line(way: Route, seen: _Seen) -> str:
    """How a way begins its line in the draft."""
    return f"- {way.name} of {seen.whose(way)}:"


def _chosen(run: Run, seen: _Seen) -> list[Route]:
    """Those that a person left in."""
    if run.text is None:
        return seen.ways
    kept = [line.strip() for line in run.text.splitlines()]
    return [way for way in seen.ways if any(line.startswith(_line(way, seen)) for line in kept)]


@hold_cohort.verify
async def _(run: Run) -> bool:
    """Whether everybody is: one that was broken off goes on."""
    if not await view_store.held(run.pool, run.incident.id):
        return False
    chosen = await cohort.counted(run.pool, _chosen(run, await _seen(run)))
    return all(way.cohort.suppressed == way.cohort.people for way in chosen)


@hold_cohort.undo
async def _(run: Run) -> str:
    released = await cohort.release(
        run.pool, run.incident.id, actor=run.actor, why=f"incident {run.incident.id}: undone", now=run.now
    )
    others = ", ".join(f"{count:,} are held by incident {number}" for number, count in released.elsewhere.items())
    return f"{released.people:,} people may be texted by that merchant again{f'; {others}' if others else ''}"


@REGISTRY.ledger
async def holds(pool: Pool, incident_id: int) -> list[Mitigation]:
    """Who is held back because of an incident."""
    rows = await view_store.held(pool, incident_id)
    keys = await merchants.keys(pool, [row["merchant_id"] for row in rows])
    return [
        Mitigation(
            f"{row['people']:,} people of {row['note']} get no text of {keys.get(row['merchant_id'], 'a merchant')}",
            row["actor"],
            row["first"],
            row["first"] + LASTS,
            f"holdfast incidents undo {incident_id} complaints.hold_cohort",
        )
        for row in rows
    ]


@action("complaints.keep_cohort", patience=timedelta(minutes=15))
async def keep_cohort(run: Run) -> Outcome:
    """Make the blocks of those held back last: nothing shows that they consented."""
    if not await view_store.held(run.pool, run.incident.id):
        return NotApplicable("nobody is held back")
    why = (run.text or "").partition("\n")[0].strip()[:200] or "nothing shows that they consented"
    count = await cohort.keep(run.pool, run.incident.id, actor=run.actor, why=why, now=run.now)
    if await view_store.held(run.pool, run.incident.id):
        return Failed("some are held back still: somebody held back more at this moment")
    return Done(f"{count:,} people stay blocked for that merchant, until a person lifts it", {"people": count})


@keep_cohort.offer
async def _(run: Run) -> Outcome | None:
    if await view_store.held(run.pool, run.incident.id):
        return None
    asked = [one for one in await steps.steps(run.pool, run.incident.id) if one.action == hold_cohort.name]
    if any(not one.is_finished for one in asked):
        return Waiting("nobody has decided yet whether those who came the same way are held back", AGAIN)
    return NotApplicable("nobody is held back")


@keep_cohort.draft
async def _(run: Run) -> str:
    held = await holds(run.pool, run.incident.id)
    return (
        "Nothing shows that they consented.\n\n"
        + "\n".join(one.what for one in held)
        + "\n\nTheir blocks last from now on. Should they be texted again instead, skip this and undo the hold: "
        + f"{held[0].undo if held else 'holdfast incidents undo'} --because …"
    )
