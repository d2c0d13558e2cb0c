"""How long a backlog will take, how many workers would drain it in time, and what limits now."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from holdfast.config import Settings
from holdfast.db import processes
from holdfast.db.pool import Pool
from holdfast.delivery import store as deliveries
from holdfast.health.limits import Limit, Machine, Pace, Turned, limits
from holdfast.levers import model as levers_model
from holdfast.levers import store as levers_store
from holdfast.levers.model import DELIVERY_CONCURRENCY, DESTINATION_CONCURRENCY, PAUSED, ROUTER_CONCURRENCY
from holdfast.levers.service import Levers
from holdfast.merchants import store as merchants
from holdfast.queue import service as queue
from holdfast.queue.capacity import Flow, Forecast, StageForecast, flows, forecast, needed, workers
from holdfast.queue.model import ClaimPolicy, Lane, Stage
from holdfast.signals import store as signals
from holdfast.signals.buckets import FINEST
from holdfast.signals.frame import Frame
from holdfast.signals.rollup import MINUTE

WITHIN = timedelta(minutes=15)
RECENT = timedelta(seconds=30)
"""Signals older than this say nothing of now."""
LOOKBACK = timedelta(hours=1)
_WINDOW = timedelta(minutes=1)
_STOPPED = 3
"""Slots without any work done, after which the rate of the last minute is of the past."""
NOTIFYING = (Stage.ROUTE, Stage.DELIVER)
"""The stages that an event goes through until somebody is notified; texts have a queue of their own."""
_DONE = {Stage.ROUTE: "events_routed", Stage.DELIVER: "deliveries_settled"}
_NOW = (
    "system_cpu_ratio",
    "system_pressure_ratio",
    "process_cpu_ratio",
    "postgres_round_trip_seconds",
    "postgres_connections_ratio",
    "postgres_lock_waits",
    "pool_busy_ratio",
    "pool_wait_seconds",
)


@dataclass(frozen=True, slots=True)
class PerWorker:
    """Works a second that one worker does; None: not known. `basis`: how it is known, in words.

    `is_least`: it can do more, but did not have to or was kept from it.
    """

    stage: Stage
    per_second: float | None
    basis: str
    is_least: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """All that the judgement is made from."""

    at: datetime
    workers: int
    flows: tuple[Flow, ...]
    weights: Mapping[Stage, Mapping[Lane, float]] = field(default_factory=dict)
    """As turned by levers: 0 for what is paused."""
    levers: tuple[Turned, ...] = ()
    destinations: tuple[Pace, ...] = ()
    machine: Machine = field(default_factory=Machine)
    best: Mapping[Stage, float] | None = None
    """Works a second of the best minute in the last hour, by stage; None where no signals say."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The forecast. `workers_needed` to drain what is ready, and what arrives meanwhile, in `within_seconds`.

    None where it is not known what a worker does. `limits`: the first is the main one; `not_known` names what could
    not be taken into account.
    """

    at: datetime
    within_seconds: float
    workers: int
    stages: tuple[StageForecast, ...]
    destinations: tuple[Pace, ...]
    per_worker: tuple[PerWorker, ...]
    work_needed: Mapping[Stage, float]
    workers_needed: int | None
    limits: tuple[Limit, ...]
    not_known: tuple[str, ...]

    @property
    def more_workers_help(self) -> bool | None:
        """On this machine; None where it is not known."""
        return self.limits[0].more_workers_help

    @property
    def drain_seconds(self) -> float | None:
        """Until all is drained; None: not at these rates. A slow destination may make it longer than its stage."""
        times = [stage.empty.seconds for stage in self.stages]
        slow = {limit.destination_id for limit in self.limits}
        times += [pace.drain_seconds for pace in self.destinations if pace.id in slow]
        return None if None in times else max((time for time in times if time is not None), default=0.0)


def judge(seen: Observed, within: timedelta = WITHIN) -> Capacity:
    """The arithmetic: no clock, no store."""
    route, deliver = stages = tuple(forecast(stage, seen.flows, seen.weights.get(stage)) for stage in NOTIFYING)
    found = limits(
        stages,
        workers=seen.workers,
        levers=seen.levers,
        destinations=seen.destinations,
        machine=seen.machine,
    )
    per_worker = tuple(_per_worker(stage, seen, found) for stage in stages)
    work = _work(route, deliver, within.total_seconds())
    counts = [workers(work[one.stage], one.per_second or 0.0) for one in per_worker]
    known = [count for count in counts if count is not None]
    return Capacity(
        seen.at,
        within.total_seconds(),
        seen.workers,
        stages,
        seen.destinations,
        per_worker,
        work,
        max(known) if len(known) == len(counts) else None,
        found,
        _not_known(seen),
    )


def _work(route: StageForecast, deliver: StageForecast, within: float) -> dict[Stage, float]:
    """Works a second that each stage must do. What is routed in that time becomes deliveries as well."""
    to_route = needed(route.loads, within)
    served = route.capacity.per_second
    planned_each = deliver.arrival.per_second / served if served > 0 else 0.0
    more = max(0.0, to_route - served) * planned_each
    return {Stage.ROUTE: to_route, Stage.DELIVER: needed(deliver.loads, within) + more}


def _per_worker(stage: StageForecast, seen: Observed, found: Sequence[Limit]) -> PerWorker:
    """Measured now where it has more to do than it can; else what it has been seen to do, which is the least it can."""
    now = stage.capacity.per_second
    best = (seen.best or {}).get(stage.stage, 0.0)
    if not seen.workers:
        why = "the best minute of the last hour, all workers together" if best > 0 else "no worker is at work"
        return PerWorker(stage.stage, best or None, why, is_least=True)
    held = any(one.stage is stage.stage and one.kind in ("lever", "destination") for one in found)
    stopped = not any(sum(lane.flow.served[:_STOPPED]) for lane in stage.lanes)
    if not stage.keeps_up and now > 0 and not held and not stopped:
        return PerWorker(stage.stage, now / seen.workers, "measured now, with work waiting")
    if max(now, best) <= 0:
        return PerWorker(stage.stage, None, "nothing was done lately", is_least=True)
    basis = "the best minute of the last hour" if best > now else "the last minute"
    why = "held back now" if held or stopped else "it had no more to do"
    return PerWorker(stage.stage, max(now, best) / seen.workers, f"{basis}; {why}", is_least=True)


def _not_known(seen: Observed) -> tuple[str, ...]:
    machine = seen.machine
    missing = (
        ("how busy the processors are", not machine.cpu),
        ("whether processors are waited for (the kernel tells no pressure)", bool(machine.cpu) and not machine.pressed),
        ("how busy the workers are", machine.workers_cpu is None and seen.workers > 0),
        ("how PostgreSQL does (the web process probes it)", machine.round_trip is None),
        ("how full the pools are", not machine.pools),
        ("what was done in the last hour", not seen.best),
    )
    return tuple(what for what, is_missing in missing if is_missing)


def document(found: Capacity) -> dict[str, object]:
    """For programs: what commands and the API print as JSON."""

    def emptied(one: Forecast) -> dict[str, object]:
        return asdict(one) | {"confidence": one.confidence}

    return {
        "at": found.at,
        "within_seconds": found.within_seconds,
        "workers": found.workers,
        "workers_needed": found.workers_needed,
        "more_workers_help": found.more_workers_help,
        "drain_seconds": found.drain_seconds,
        "stages": [
            {
                "stage": stage.stage.name.lower(),
                "ready": stage.ready,
                "arrival": stage.arrival,
                "capacity": stage.capacity,
                "keeps_up": stage.keeps_up,
                "empty": emptied(stage.empty),
                "work_needed": found.work_needed[stage.stage],
                "per_worker": asdict(one) | {"stage": one.stage.name.lower()},
                "lanes": [
                    {
                        "lane": lane.flow.lane.label,
                        "due": lane.flow.due,
                        "in_flight": lane.flow.in_flight,
                        "later": lane.flow.later,
                        "arrival": lane.arrival,
                        "service": lane.service,
                        "wait_seconds": lane.wait,
                        "empty": emptied(lane.empty),
                    }
                    for lane in stage.lanes
                ],
            }
            for stage, one in zip(found.stages, found.per_worker, strict=True)
        ],
        "destinations": found.destinations,
        "limits": [
            asdict(limit) | {"stage": limit.stage.name.lower() if limit.stage is not None else None}
            for limit in found.limits
        ],
        "not_known": found.not_known,
    }


# Gathering


async def capacity(pool: Pool, settings: Settings, within: timedelta = WITHIN, now: datetime | None = None) -> Capacity:
    """As things are now."""
    return judge(await observe(pool, settings, now), within)


async def observe(pool: Pool, settings: Settings, now: datetime | None = None) -> Observed:
    at = now or datetime.now(UTC)
    count = sum(process.kind == "worker" for process in await processes.alive(pool))
    levers = Levers(routers=settings.router_concurrency, deliveries=settings.delivery_concurrency)
    await levers.look(pool, now)
    flow = tuple(await flows(pool, now))
    paces = tuple(await _paces(pool, settings, levers, now))
    return Observed(
        at,
        count,
        flow,
        {stage: _weights(levers, stage) for stage in NOTIFYING},
        tuple(await _turned(pool, settings, flow, now)),
        paces,
        await machine(pool, at),
        await _best(pool, at),
    )


def _weights(levers: Levers, stage: Stage) -> dict[Lane, float]:
    """Of the lanes in a stage; 0 for what is paused or stopped as a whole."""
    rules = levers.rules
    weights: dict[Lane, float] = {**ClaimPolicy().weights, **rules.weights}
    if stage in rules.paused_stages:
        return dict.fromkeys(Lane, 0.0)
    stopped = (lane for lane, limit in levers.lanes[stage].items() if not limit)
    return weights | dict.fromkeys((*rules.paused_lanes, *stopped), 0.0)


async def machine(pool: Pool, at: datetime) -> Machine:
    """How busy processors, pools and PostgreSQL are now."""
    frame = Frame.of(await signals.read(pool, FINEST, at - RECENT, at, _NOW), at)
    waits = {name: frame.spread("pool_wait_seconds", name).quantile(0.5) for name in ("router", "delivery")}
    return Machine(
        {labels[0]: value for labels, value in frame.levels("system_cpu_ratio")},
        {labels[0]: value for labels, value in frame.levels("system_pressure_ratio") if labels[1] == "cpu"},
        frame.level("process_cpu_ratio", "worker"),
        frame.level("postgres_round_trip_seconds"),
        frame.level("postgres_connections_ratio"),
        frame.level("postgres_lock_waits"),
        {"/".join(labels): value for labels, value in frame.levels("pool_busy_ratio")},
        {name: wait for name, wait in waits.items() if wait is not None},
    )


async def _best(pool: Pool, at: datetime) -> dict[Stage, float] | None:
    stored = await signals.read(pool, MINUTE, at - LOOKBACK, at, list(_DONE.values()))
    if not stored:
        return None
    best: dict[Stage, float] = dict.fromkeys(NOTIFYING, 0.0)
    for one in stored:
        frame = Frame.of([one], one.bucket.at)
        for stage, name in _DONE.items():
            best[stage] = max(best[stage], frame.count(name) / MINUTE)
    return best


async def _turned(pool: Pool, settings: Settings, flow: Sequence[Flow], now: datetime | None) -> list[Turned]:
    """Levers that slow draining down, against the settings."""
    found = []
    for one in await levers_store.current(pool, now):
        said = f"{one.name} {one.target}".rstrip() + f" (by {one.actor}: {one.reason})"
        match one.name:
            case PAUSED.name if one.value is True:
                found += await _paused(pool, said, one.target, flow)
            case ROUTER_CONCURRENCY.name if int(one.value) < settings.router_concurrency:
                found += _slower(said, one, settings.router_concurrency, Stage.ROUTE, flow)
            case DELIVERY_CONCURRENCY.name if int(one.value) < settings.delivery_concurrency:
                found += _slower(said, one, settings.delivery_concurrency, Stage.DELIVER, flow)
            case DESTINATION_CONCURRENCY.name if not one.target and int(one.value) < settings.destination_concurrency:
                found += _slower(said, one, settings.destination_concurrency, Stage.DELIVER, flow)
    return found


def _slower(said: str, one: levers_model.Turned, default: int, stage: Stage, flow: Sequence[Flow]) -> list[Turned]:
    """What is set for a lane slows down only what waits in it."""
    whole = f"{said} is {one.value}, {default} by the settings"
    if not one.target:
        return [Turned(whole, stage)]
    lane = one.target.partition(":")[2]
    held = sum(some.ready + some.later for some in flow if some.stage is stage and some.lane.label == lane)
    return [Turned(whole, stage, held, stops=not one.value)] if held else []


async def _paused(pool: Pool, said: str, target: str, flow: Sequence[Flow]) -> list[Turned]:
    """One for each stage in which something waits for it."""
    kind, _, key = target.partition(":")
    held: dict[Stage, int] = defaultdict(int)
    if kind in ("lane", "stage"):
        for one in flow:
            if key in (one.lane.label, one.stage.name.lower()):
                held[one.stage] += one.ready + one.later
    else:
        for bucket in await queue.bucket_stats(pool, f"{kind}_id", window=_WINDOW):
            if bucket.key == int(key):
                held[bucket.stage] += bucket.depth
    return [Turned(f"{said} is on", stage, count) for stage, count in held.items() if count]


async def _paces(pool: Pool, settings: Settings, levers: Levers, now: datetime | None) -> list[Pace]:
    """Destinations for which something waits, the deepest first."""
    tried = {row["destination_id"]: row for row in await deliveries.pace(pool, _WINDOW, now=now)}
    known = {destination.id: destination for destination in await merchants.destinations(pool)}
    found = []
    for bucket in await queue.bucket_stats(pool, "destination_id", window=_WINDOW, now=now):
        if not bucket.depth:
            continue
        row, destination = tried.get(bucket.key), known.get(bucket.key)
        ceiling = (destination.ceiling if destination else None) or settings.destination_concurrency
        found.append(
            Pace(
                bucket.key,
                destination.address if destination else "removed",
                bucket.depth,
                bucket.in_flight,
                levers.ceiling(bucket.key, ceiling),
                row["tries"] / _WINDOW.total_seconds() if row else 0.0,
                row["failed"] / row["tries"] if row else None,
                row["latency"] if row else None,
                bucket.drain_seconds,
            )
        )
    return found
