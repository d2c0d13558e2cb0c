"""Actions that turn levers for an incident, and bring them back."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from holdfast.db.pool import Pool
from holdfast.durations import lasted
from holdfast.incidents import store as incidents
from holdfast.incidents.model import ENGINE
from holdfast.levers import ramp_store, store
from holdfast.levers.defaults import default
from holdfast.levers.model import (
    BACKOFF,
    EVERYTHING,
    ROUTER_CONCURRENCY,
    WEIGHT,
    Change,
    Lever,
    LeverError,
    NoWayError,
    RefusedError,
    Target,
    Turned,
    Value,
    lever,
    written,
)
from holdfast.levers.turning import Turner
from holdfast.levers.ways_back import BY_STEP, came_to_nothing, held_back
from holdfast.runbooks.actions import REGISTRY, Done, Failed, Mitigation, NotApplicable, Outcome, Run, Waiting, action
from holdfast.signals import readings

HOUR = timedelta(hours=1)
WELL = ("router.p95_seconds.critical<1", "router.error_ratio<1%", "database.round_trip<0.1")
"""While all of these hold, processing keeps up, and slowing it down would help nobody."""


class Ids:
    """What is turned here is named as the store does: merchants by their ids."""

    async def merchant_id(self, key: str) -> int | None:
        return int(key) if key.isdecimal() else None

    async def merchant_keys(self, _ids: Any) -> dict[int, str]:
        return {}

    async def has_destination(self, _destination_id: int) -> bool:
        return False


async def turn(run: Run, chosen: Lever, target: Target, value: Value, lasts: timedelta) -> Turned:
    """For the incident, until it is brought back or `lasts` is over. Raises LeverError."""
    turner = Turner(run.pool, run.settings, Ids())
    return await turner.turn(
        chosen.name,
        str(target),
        written(value),
        actor=run.actor,
        reason=_reason(run),
        lasts=lasts,
        incident_id=run.incident.id,
    )


async def clear(run: Run, chosen: Lever, target: Target) -> bool:
    """Back to what it was before, if it is off it because of this incident."""
    if await of_incident(run.pool, run.incident.id, chosen.name, target) is None:
        await store.uncover(run.pool, chosen.name, target, run.incident.id)
        return False
    turner = Turner(run.pool, run.settings, Ids())
    reason = f"{_reason(run)} undone"
    return await turner.clear(chosen.name, str(target), actor=run.actor, reason=reason) is not None


def _reason(run: Run) -> str:
    return f"{BY_STEP}{run.incident.id}, step {run.step}"


async def of_incident(pool: Pool, incident_id: int, name: str, target: Target = EVERYTHING) -> Turned | None:
    """The lever as it is off its default because of the incident."""
    return next(
        (
            one
            for one in await store.current(pool)
            if (one.name, one.target, one.incident_id) == (name, str(target), incident_id)
        ),
        None,
    )


async def value_now(run: Run, chosen: Lever, target: Target = EVERYTHING) -> object:
    for one in await store.current(run.pool, run.now):
        if (one.name, one.target) == (chosen.name, str(target)):
            return one.value
    return default(chosen, target, run.settings)


async def last_turns(run: Run, *chosen: Lever) -> Sequence[Change]:
    """Of these levers, by target: how each was turned last, for the incident and those merged into it, or for none."""
    ids, until = await _ids(run), run.now + timedelta(minutes=1)
    return await store.last_turns(run.pool, ids, run.incident.since, until, [one.name for one in chosen])


async def _ids(run: Run) -> list[int]:
    return [run.incident.id, *(one.id for one in await incidents.merged(run.pool, run.incident.id))]


# Slower


@action("levers.slow_router", expires=HOUR, listed=True)
async def slow_router(run: Run, *, to: int | None = None, lasts: timedelta = HOUR) -> Outcome:
    """Route fewer batches at the same time, so that what is overloaded behind it recovers: half as many, or `to`."""
    settled = await _keeps_up(run)
    if settled is not None:
        return settled
    before, wanted = await _slower(run, to)
    if wanted >= before:
        return NotApplicable(f"router.concurrency is {before} already")
    turned = await turn(run, ROUTER_CONCURRENCY, EVERYTHING, wanted, lasts)
    return Done(f"router.concurrency {before} → {wanted}", evidence(turned, before))


@slow_router.offer
async def _(run: Run, *, to: int | None = None) -> Outcome | None:
    before, wanted = await _slower(run, to)
    if wanted >= before:
        return NotApplicable(f"router.concurrency is {before} already")
    return await _keeps_up(run)


@slow_router.draft
async def _(run: Run, *, to: int | None = None, lasts: timedelta = HOUR) -> str:
    before, wanted = await _slower(run, to)
    if wanted >= before:
        return f"router.concurrency is {before} already."
    figures = await _figures(run)
    said = "; ".join(f"{text}: {_figure(figures[_guard(text)[0].name])}" for text in WELL)
    return (
        f"router.concurrency: {before} → {wanted} for {lasted(lasts)}, then {before} again. "
        f"It would help nobody while all of these hold: {said}."
    )


def _figure(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3g} now"


async def _slower(run: Run, to: int | None) -> tuple[int, int]:
    """What router.concurrency is, and what it would be."""
    before = int(str(await value_now(run, ROUTER_CONCURRENCY)))
    return before, max(1, before // 2) if to is None else to


async def _figures(run: Run) -> Mapping[str, float | None]:
    return await readings.take(run.pool, [_guard(text)[0] for text in WELL], run.now)


async def _keeps_up(run: Run) -> Outcome | None:
    """Not applicable while processing is well: then it is not what makes Stripe send again."""
    guards = [_guard(text) for text in WELL]
    values = {name: value for name, value in (await _figures(run)).items() if value is not None}
    if len(values) == len(guards) and all(values[one.name] < bound for one, bound in guards):
        said = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        return NotApplicable(f"processing keeps up ({said}): fewer at the same time would only delay events", values)
    return None


def _guard(text: str) -> tuple[readings.Reading, float]:
    name, _, bound = text.partition("<")
    return readings.reading(name), float(bound.rstrip("%")) / (100 if bound.endswith("%") else 1)


@slow_router.verify
async def _(run: Run) -> bool:
    return await of_incident(run.pool, run.incident.id, ROUTER_CONCURRENCY.name) is not None


@slow_router.undo
async def _(run: Run) -> str:
    if not await clear(run, ROUTER_CONCURRENCY, EVERYTHING):
        return "it was as usual already"
    return f"router.concurrency is {await value_now(run, ROUTER_CONCURRENCY)} again"


@action("levers.slow_retries", expires=2 * HOUR, listed=True)
async def slow_retries(run: Run, *, to: str = "slow", lasts: timedelta = 2 * HOUR) -> Outcome:
    """Let our own retries wait longer: exponential backoff with jitter, stretched four times (slow) or sixteen."""
    before = str(await value_now(run, BACKOFF))
    if BACKOFF.choices.index(before) >= BACKOFF.choices.index(to):
        return NotApplicable(f"retry.backoff is {before} already")
    turned = await turn(run, BACKOFF, EVERYTHING, to, lasts)
    return Done(f"retry.backoff {before} → {to}", evidence(turned, before))


@slow_retries.verify
async def _(run: Run) -> bool:
    return await of_incident(run.pool, run.incident.id, BACKOFF.name) is not None


@slow_retries.undo
async def _(run: Run) -> str:
    if not await clear(run, BACKOFF, EVERYTHING):
        return "it was as usual already"
    return f"retry.backoff is {await value_now(run, BACKOFF)} again"


CRITICAL_FIRST = {"critical": 100, "standard": 10, "bulk": 1}


@action("levers.critical_first", expires=2 * HOUR, listed=True)
async def critical_first(run: Run, *, lasts: timedelta = 2 * HOUR) -> Outcome:
    """Serve payments before metadata: ninety of a hundred turns are for the critical lane, one for bulk."""
    changed = {}
    for lane, weight in CRITICAL_FIRST.items():
        target = Target("lane", lane)
        before = await value_now(run, WEIGHT, target)
        if before != weight:
            await turn(run, WEIGHT, target, weight, lasts)
            changed[lane] = f"{before} → {weight}"
    if not changed:
        return NotApplicable("critical events come first already")
    return Done("weights: " + ", ".join(f"{lane} {change}" for lane, change in changed.items()), {"weights": changed})


@critical_first.verify
async def _(run: Run) -> bool:
    """A lane whose weight is so by default need not be turned."""
    targets = {Target("lane", lane): weight for lane, weight in CRITICAL_FIRST.items()}
    ours = [await of_incident(run.pool, run.incident.id, WEIGHT.name, target) for target in targets]
    return any(ours) and all([await value_now(run, WEIGHT, target) == weight for target, weight in targets.items()])


@critical_first.undo
async def _(run: Run) -> str:
    for lane in CRITICAL_FIRST:
        await clear(run, WEIGHT, Target("lane", lane))
    return "lanes have their usual weights"


# As long as it takes


@action("levers.renew")
async def renew(run: Run, *, only: str = "", within: timedelta = HOUR, lasts: timedelta = 4 * HOUR) -> Outcome:
    """Let what steps have turned not run out while the incident is open: it comes back in steps, or by a person's word.

    What a person turned for a time ends as they said. Were nobody at work here any more, all of it would run out.
    """
    wanted = _names(only)
    if isinstance(wanted, Failed):
        return wanted
    ids, until, kept = await _ids(run), run.now + lasts, []
    for one in await store.current(run.pool, run.now):
        soon = one.expires_at is not None and one.expires_at <= run.now + within
        ours = one.incident_id in ids and one.reason.startswith(BY_STEP) and (not wanted or one.name in wanted)
        if soon and ours:
            reason = "the incident is still open"
            if await store.renew(run.pool, one, until, actor=run.actor, reason=reason, now=run.now):
                kept.append(_name(one))
    if not kept:
        return NotApplicable("nothing that was turned for it runs out soon")
    return Done(f"{', '.join(kept)} stays so until {until:%H:%M %Z}", {"renewed": kept, "until": until})


# Back


@action("levers.bring_back")
async def bring_back(run: Run, *, only: str = "", hold: timedelta = timedelta(minutes=1)) -> Outcome:
    """Bring what was turned for the incident back in steps, guarded by signals: all of it, or `only` some levers."""
    wanted = _names(only)
    if isinstance(wanted, Failed):
        return wanted
    ids = await _ids(run)
    turned = [
        one for one in await store.current(run.pool) if one.incident_id in ids and (not wanted or one.name in wanted)
    ]
    if not turned:
        return await _all_back(run, ids, wanted)
    said = [await _on_its_way(run, one, ids, hold) for one in turned]
    return Waiting("; ".join(said), evidence={"off": [_name(one) for one in turned]})


def _names(only: str) -> list[str] | Failed:
    """The levers that are named; none: all."""
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    try:
        return [lever(name).name for name in wanted]
    except LeverError as error:
        return Failed(str(error))


async def _all_back(run: Run, ids: Sequence[int], wanted: Sequence[str]) -> Outcome:
    """Nothing is off any more: done as soon as no ramp watches it."""
    ramps = [one for one in await ramp_store.of_incidents(run.pool, ids) if not wanted or one.plan.lever.name in wanted]
    held = [one for one in ramps if one.state == "running"]
    if held:  # all the way back, and watched for a while yet
        return Waiting("; ".join(f"{one.plan.lever.name} is back ({one.note})" for one in held))
    done = sorted({one.plan.lever.name for one in ramps if one.state == "done"})
    if not done:
        return NotApplicable("nothing is off its default because of this incident")
    return Done("back to normal: " + ", ".join(done), {"ramps": [one.id for one in ramps]})


async def _on_its_way(run: Run, one: Turned, ids: Sequence[int], hold: timedelta) -> str:
    """Bring it back, unless a ramp does so already, a person stopped it, or ways back have failed."""
    ramp = await ramp_store.latest_of(run.pool, one.name, one.target)
    if ramp is not None and ramp.state == "running":
        if not came_to_nothing(ramp):
            return f"{_name(one)} is {ramp.percent} % of the way back ({ramp.note or 'it has just begun'})"
        turner = Turner(run.pool, run.settings, Ids())
        with suppress(RefusedError):  # it is over meanwhile
            await turner.stop_ramp(ramp.id, actor=ENGINE, reason=f"it came back to where it began: {ramp.note}"[:500])
    held = await held_back(run.pool, one, ids, run.now)
    return f"{_name(one)}: {held}" if held is not None else await _begin_ramp(run, one, hold)


async def _begin_ramp(run: Run, one: Turned, hold: timedelta) -> str:
    turner = Turner(run.pool, run.settings, Ids())
    reason = _reason(run)
    try:
        ramp = await turner.start_ramp(
            one.name,
            [one.target],
            hold=hold.total_seconds(),
            actor=run.actor,
            reason=reason,
            incident_id=one.incident_id,
        )
    except NoWayError:
        cleared = await turner.clear(one.name, one.target, actor=run.actor, reason=reason)
        back = written(cleared.now.value) if cleared is not None and cleared.now is not None else "its default"
        return f"{_name(one)} is back at {back}"
    except LeverError as error:
        return f"{_name(one)} stays {written(one.value)} for now: {error}"
    return f"ramp {ramp.id} brings {_name(one)} back from {written(one.value)}"


@REGISTRY.ledger
async def levers_off(pool: Pool, incident_id: int) -> list[Mitigation]:
    """Levers off their default because of the incident, whoever turned them."""
    return [
        Mitigation(
            f"{_name(one)} is {written(one.value)}" + (f" ({_before(one.before)})" if one.before else ""),
            one.actor,
            one.set_at,
            one.expires_at,
            f"holdfast levers clear {one.name}" + (f" --target {one.target}" if one.target else ""),
        )
        for one in await store.current(pool)
        if one.incident_id == incident_id
    ]


def _before(covered: Turned) -> str:
    return f"{written(covered.value)} before, by {covered.actor}"


def _name(one: Turned) -> str:
    return f"{one.name} {one.target}".rstrip()


def evidence(turned: Turned, before: object) -> dict[str, Any]:
    """What was turned, from what to what, until when."""
    return {"lever": turned.name, "before": before, "now": turned.value, "until": turned.expires_at}
