"""Actions that look at providers, queues and the machine, and give processing more resources."""

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import aiohttp

from holdfast.durations import lasted
from holdfast.health import capacity as capacities
from holdfast.health.limits import POOL_BUSY_RATIO, POOL_WAIT_SECONDS
from holdfast.health.model import Finding
from holdfast.health.probes import AGE_SECONDS, StripeProbe, event_lag
from holdfast.health.twilio_probe import TwilioProbe
from holdfast.levers.actions import HOUR, clear, evidence, of_incident, turn, value_now
from holdfast.levers.model import POOL, PROCESSES, RefusedError, Target
from holdfast.merchants import store as merchants
from holdfast.queue import service as queue
from holdfast.queue.model import LaneStats
from holdfast.runbooks.actions import Done, NotApplicable, Outcome, Run, Waiting, action

MOST_NAMED = 10
EACH_HOST = 2
"""Worker processes for each processor: more would only wait for each other."""


@action("health.stripe")
async def stripe(run: Run) -> Outcome:
    """Ask Stripe's status page and API, and see how old its events are when they come: whose fault is it?"""
    key = run.settings.stripe_api_key
    async with aiohttp.ClientSession() as session:
        probe = StripeProbe(
            session,
            run.settings.stripe_api_url,
            key.get_secret_value() if key is not None else None,
            run.settings.stripe_status_url,
        )
        found = [*await probe.status_page(), *await probe.api(), *await event_lag(run.pool, run.now)]
    words = {"statusPage": "status page", "api": "API", "eventLag": "events arrive"}
    said = "; ".join(f"{words.get(one.what, one.what)} {_state(one)}" for one in found)
    worst = any(one.status in ("warn", "fail") for one in found)
    verdict = "Stripe has trouble" if worst else "no trouble seen at Stripe (its page may lag by half an hour)"
    return Done(f"{verdict}: {said}", {one.what: {"status": one.status, "why": one.output} for one in found})


@action("health.twilio")
async def twilio(run: Run) -> Outcome:
    """Ask Twilio's status page, with what our numbers depend on, and its API, and see how our own calls go."""
    async with aiohttp.ClientSession() as session:
        probe = TwilioProbe(session, run.settings, run.pool)
        found = [*await probe.status_page(), *await probe.api(), *await probe.calls(run.now)]
    words = {"statusPage": "status page", "components": "what we depend on", "api": "API", "calls": "our own calls"}
    said = "; ".join(f"{words.get(one.what, one.what)} {_state(one)}" for one in found)
    worst = any(one.status in ("warn", "fail") for one in found)
    verdict = "there is trouble" if worst else "no trouble seen at Twilio (its page may lag by half an hour)"
    return Done(f"{verdict}: {said}", {one.what: {"status": one.status, "why": one.output} for one in found})


def _state(one: Finding) -> str:
    if one.status == "pass":
        return "well"
    return f"{one.status}: {one.output}" if one.output else one.status


@action("health.queues")
async def queues(run: Run) -> Outcome:
    """Measure the queues: how much waits, since when, how long it takes to drain, what limits."""
    judged = await capacities.capacity(run.pool, run.settings, now=run.now)
    lanes = await queue.lane_stats(run.pool)
    waiting = [one for one in lanes if one.depth]
    drain = judged.drain_seconds
    when = "does not drain at these rates" if drain is None else f"drained in {lasted(timedelta(seconds=drain))}"
    said = (
        f"{'; '.join(_waits(one) for one in waiting)}; {when}; limit: {judged.limits[0].what}"
        if waiting
        else "nothing waits"
    )
    return Done(said, _figures(judged, lanes))


def _waits(one: LaneStats) -> str:
    age = lasted(timedelta(seconds=one.oldest_age))
    return f"{one.stage.name.lower()} {one.lane.label}: {one.depth:,}, the oldest {age}"


def _figures(judged: capacities.Capacity, lanes: Sequence[LaneStats]) -> dict[str, Any]:
    return {
        "lanes": [
            {
                "stage": one.stage.name.lower(),
                "lane": one.lane.label,
                "waiting": one.depth,
                "oldest_s": round(one.oldest_age, 1),
                "promise_s": AGE_SECONDS[one.lane].warn,
            }
            for one in lanes
            if one.depth
        ],
        "drain_s": judged.drain_seconds,
        "workers": judged.workers,
        "workers_needed": judged.workers_needed,
        "limits": [one.what for one in judged.limits],
        "not_known": list(judged.not_known),
    }


@action("health.oldest")
async def oldest(run: Run) -> Outcome:
    """Find the oldest unprocessed webhooks: whose they are and what they wait for."""
    found = []
    for kind in ("merchant_id", "destination_id"):
        stats = await queue.bucket_stats(run.pool, kind)
        names = await merchants.keys(run.pool, [one.key for one in stats]) if kind == "merchant_id" else {}
        for one in stats:
            if one.depth and (kind == "merchant_id" or one.key):
                found.append(
                    {
                        "stage": one.stage.name.lower(),
                        kind.removesuffix("_id"): names.get(one.key, one.key),
                        "waiting": one.depth,
                        "oldest_s": round(one.oldest_age, 1),
                    }
                )
    if not found:
        return Done("nothing waits")
    found.sort(key=lambda one: -float(str(one["oldest_s"])))
    first = found[0]
    whose = next(f"{kind} {first[kind]}" for kind in ("merchant", "destination") if kind in first)
    age = lasted(timedelta(seconds=float(str(first["oldest_s"]))))
    return Done(f"the oldest waits for {age}, of {whose}", {"oldest": found[:MOST_NAMED]})


# More resources


@action("health.add_workers", expires=2 * HOUR, listed=True)
async def add_workers(run: Run, *, within: timedelta = timedelta(minutes=15), lasts: timedelta = 2 * HOUR) -> Outcome:
    """Add worker processes: as many as drain the backlog in time, where workers are what is short."""
    wanted = await _workers_wanted(run, within)
    if not isinstance(wanted, tuple):
        return wanted
    before, count, why = wanted
    turned = await turn(run, PROCESSES, Target(), count, lasts)
    return Done(f"worker processes {before} → {count}: {why}", evidence(turned, before))


@add_workers.offer
async def _(run: Run, *, within: timedelta = timedelta(minutes=15)) -> Outcome | None:
    wanted = await _workers_wanted(run, within)
    return None if isinstance(wanted, tuple) else wanted


@add_workers.draft
async def _(run: Run, *, within: timedelta = timedelta(minutes=15)) -> str:
    wanted = await _workers_wanted(run, within)
    return f"Worker processes: {wanted[0]} → {wanted[1]}. {wanted[2]}" if isinstance(wanted, tuple) else wanted.said


@add_workers.verify
async def _(run: Run) -> bool:
    return await of_incident(run.pool, run.incident.id, PROCESSES.name) is not None


@add_workers.undo
async def _(run: Run) -> str:
    return "the usual number of workers" if await clear(run, PROCESSES, Target()) else "it was as usual already"


async def _workers_wanted(run: Run, within: timedelta) -> tuple[int, int, str] | NotApplicable:
    judged = await capacities.capacity(run.pool, run.settings, within, run.now)
    before = int(str(await value_now(run, PROCESSES)))
    figures = {"workers": judged.workers, "needed": judged.workers_needed, "drain_s": judged.drain_seconds}
    limit = judged.limits[0]
    if limit.kind == "nothing":
        return NotApplicable("the workers there are keep up", figures)
    if limit.more_workers_help is False:
        return NotApplicable(f"more workers would not help: {limit.what}", figures)
    most = max(1, (os.cpu_count() or 1) * EACH_HOST)
    needed = judged.workers_needed if judged.workers_needed is not None else before + 1
    count = min(max(needed, before + 1), most)
    if count <= before:
        return NotApplicable(f"{before} workers are as many as {os.cpu_count()} processors can use", figures)
    return before, count, f"{limit.what}; {needed} would drain it in {lasted(within)}"


@action("health.raise_pool", expires=2 * HOUR, listed=True)
async def raise_pool(run: Run, *, factor: int = 2, lasts: timedelta = 2 * HOUR) -> Outcome:
    """Give the busiest connection pool more connections, where pools are what is short; never more than there are."""
    busiest = await _short_pool(run)
    if isinstance(busiest, NotApplicable):
        return busiest
    name, busy = busiest
    target = Target("pool", name)
    before = int(str(await value_now(run, POOL, target)))
    wanted = min(before * factor, POOL.high)
    try:
        turned = await turn(run, POOL, target, wanted, lasts)
    except RefusedError as error:
        return NotApplicable(f"the server has no more connections to give: {error}")
    return Done(f"pool {name}: {before} → {wanted} connections (it was {busy:.0%} busy)", evidence(turned, before))


@raise_pool.offer
async def _(run: Run) -> Outcome | None:
    busiest = await _short_pool(run)
    return busiest if isinstance(busiest, NotApplicable) else None


@raise_pool.verify
async def _(run: Run) -> bool:
    return bool(await _raised(run))


@raise_pool.undo
async def _(run: Run) -> str:
    targets = [target for target in await _raised(run) if await clear(run, POOL, target)]
    return "pools are as large as usual" if targets else "they were as usual already"


async def _raised(run: Run) -> list[Target]:
    found = []
    for name in ("worker/router", "worker/delivery", "web/inbox"):
        target = Target("pool", name)
        if await of_incident(run.pool, run.incident.id, POOL.name, target) is not None:
            found.append(target)
    return found


async def _short_pool(run: Run) -> tuple[str, float] | NotApplicable:
    """The pool whose users wait for connections, by what the machine's signals say."""
    machine = await capacities.machine(run.pool, run.now)
    waits = {
        name: (machine.pools.get(f"worker/{name}", 0.0), machine.pool_waits.get(name, 0.0))
        for name in ("router", "delivery")
    }
    name, (busy, wait) = max(waits.items(), key=lambda item: item[1][1])
    if busy < POOL_BUSY_RATIO or wait < POOL_WAIT_SECONDS:
        said = ", ".join(f"{key} {value[0]:.0%} busy, {value[1] * 1000:.0f} ms wait" for key, value in waits.items())
        return NotApplicable(f"pools are not what is short: {said}", {key: value[0] for key, value in waits.items()})
    return f"worker/{name}", busy


# The end of a backlog


@action("health.drained")
async def drained(run: Run, *, within: timedelta = timedelta(minutes=15)) -> Outcome:
    """Wait until nothing waits longer than promised, with more workers where they are needed for that."""
    late = [_waits(one) for one in await queue.lane_stats(run.pool, now=run.now) if _is_late(one)]
    if not late:
        return Done("no event and no notification waits longer than promised")
    judged = await capacities.capacity(run.pool, run.settings, within, run.now)
    drain = judged.drain_seconds
    if (drain is None or drain > within.total_seconds()) and not await of_incident(
        run.pool, run.incident.id, PROCESSES.name
    ):
        try:
            added = await add_workers.run(run, within=within)
        except RefusedError as error:
            return Waiting(f"{'; '.join(late)}; no worker can be added: {error}", timedelta(seconds=15))
        if isinstance(added, Done):
            return Waiting(added.said, timedelta(seconds=15), added.evidence)
    left = "not at these rates" if drain is None else f"in {lasted(timedelta(seconds=drain))}"
    return Waiting(f"{'; '.join(late)}; drained {left}", timedelta(seconds=10))


def _is_late(one: LaneStats) -> bool:
    """By what is ready or in flight: what waits for its next try at a destination that is down, no worker helps.

    Its age is the lane's; where there is some, what is ready is late when it cannot be worked off within the promise.
    """
    ready, promise = one.waiting + one.in_flight, AGE_SECONDS[one.lane].warn
    if not ready or one.oldest_age <= promise:
        return False
    return not one.delayed or ready > one.service_rate * promise
