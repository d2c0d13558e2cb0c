"""How long a backlog takes to drain, and how much work would have to be done to drain it in time.

Sources: Little's law (L = λW; Little, Operations Research 9(3), 1961) for waits; generalized processor sharing (Parekh
and Gallager, IEEE/ACM ToN 1(3), 1993) as the fluid model of lanes that share a stage by weight.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil, inf, sqrt
from statistics import pvariance

from holdfast.db.pool import Connection, Pool
from holdfast.queue import store
from holdfast.queue.model import ClaimPolicy, Lane, Stage

SLOT = timedelta(seconds=5)
SLOTS = 12
"""Rates are of the last minute; how they vary from slot to slot tells how far they can be trusted."""
PROMPT = 2.0
"""Seconds: what waits no longer is no backlog, only work in hand."""
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True)
class Rate:
    """Works a second, with one standard error."""

    per_second: float = 0.0
    error: float = 0.0

    @property
    def low(self) -> float:
        return max(0.0, self.per_second - 2 * self.error)

    @property
    def high(self) -> float:
        return self.per_second + 2 * self.error


def rate(counts: Sequence[int], seconds: float) -> Rate:
    """Of counts in slots of `seconds`. Never surer than chance allows (Poisson), less sure when it comes in gusts."""
    total, length = sum(counts), seconds * len(counts)
    if not total or not length:
        return Rate()
    scatter = max(float(total), len(counts) * pvariance(counts))
    return Rate(total / length, sqrt(scatter) / length)


def together(rates: Iterable[Rate]) -> Rate:
    found = list(rates)
    return Rate(sum(one.per_second for one in found), sqrt(sum(one.error**2 for one in found)))


@dataclass(frozen=True, slots=True)
class Load:
    """A lane's part in a stage: works that are ready, works a second that arrive, its weight; 0 is paused."""

    depth: float
    arrival: float
    weight: float


def shares(loads: Sequence[Load], depths: Sequence[float], capacity: float) -> list[float]:
    """Works a second that each lane gets: by weight, and what one does not need goes to the others."""
    rates = [0.0] * len(loads)
    wanted = [inf if depth > 0 else load.arrival for load, depth in zip(loads, depths, strict=True)]
    unserved = {number for number, load in enumerate(loads) if load.weight > 0}
    left = capacity
    while unserved:
        each = left / sum(loads[number].weight for number in unserved)
        modest = {number for number in unserved if wanted[number] <= each * loads[number].weight}
        for number in modest or unserved:
            rates[number] = wanted[number] if modest else each * loads[number].weight
            left = max(0.0, left - rates[number])
        unserved -= modest or unserved
    return rates


def drain(loads: Sequence[Load], capacity: float) -> list[float | None]:
    """Seconds until each lane is empty and stays so, if `capacity` (works/s of the stage) and arrivals stay.

    None: never. Lanes share as in `shares`, so one that empties makes the others faster.
    """
    depths = [load.depth if load.depth > _NOTHING else 0.0 for load in loads]
    emptied: list[float] = [0.0] * len(loads)
    at = 0.0
    for _ in range(2 * len(loads)):
        rates = shares(loads, depths, capacity)
        falls = [got - load.arrival for got, load in zip(rates, loads, strict=True)]
        times = [depth / fall if depth > 0 and fall > 0 else inf for depth, fall in zip(depths, falls, strict=True)]
        step = min(times, default=inf)
        if step == inf:
            break
        at += step
        for number, fall in enumerate(falls):
            left = depths[number] - fall * step
            if times[number] == step or left <= _NOTHING:
                emptied[number] = at if depths[number] > 0 else emptied[number]
                left = 0.0
            depths[number] = left
    final = shares(loads, depths, capacity)
    return [
        None if depths[number] > 0 or _grows(load, final[number]) else emptied[number]
        for number, load in enumerate(loads)
    ]


def emptied_in(depth: float, arrival: float, service: float) -> float | None:
    """Seconds until a queue by itself is empty, if both rates (works/s) stay; None when it does not shrink."""
    return drain([Load(depth, arrival, 1.0)], service)[0] if depth > 0 else 0.0


def _grows(load: Load, got: float) -> bool:
    return load.arrival > got * (1 + 1e-9) + 1e-12


def whole(times: Iterable[float | None]) -> float | None:
    """The last of them; None if one never ends."""
    found = list(times)
    return None if None in found else max((time for time in found if time is not None), default=0.0)


def needed(loads: Iterable[Load], within: float) -> float:
    """Works a second that a stage must do to be empty in `within` seconds: what is there, and what arrives meanwhile.

    However the lanes share: while any has work, the stage is busy. What is paused counts, for it comes back.
    """
    return sum(load.depth / within + load.arrival for load in loads)


def workers(work: float, per_worker: float) -> int | None:
    """How many workers of `per_worker` works/s do `work` works/s; None when it is not known what one does."""
    if work <= 0:
        return 0
    if per_worker <= 0:
        return None
    return max(1, ceil(work / per_worker - 1e-9))


@dataclass(frozen=True, slots=True)
class Flow:
    """A lane of a stage: what waits, and counts of what came and went by slots of time."""

    stage: Stage
    lane: Lane
    due: int = 0
    in_flight: int = 0
    later: int = 0
    """Retries that wait for their own time: no capacity makes them go faster."""
    arrived: tuple[int, ...] = ()
    served: tuple[int, ...] = ()

    @property
    def ready(self) -> int:
        return self.due + self.in_flight


async def flows(db: Connection | Pool, now: datetime | None = None) -> list[Flow]:
    """Every stage and lane, quiet ones included."""
    counts: dict[tuple[Stage, Lane, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for stage, lane, what, slot, count in await store.flows(db, SLOT, SLOTS, now=now):
        counts[stage, lane, what][slot] += count

    def slots(stage: Stage, lane: Lane, what: str) -> tuple[int, ...]:
        return tuple(counts[stage, lane, what][number] for number in range(SLOTS))

    return [
        Flow(
            stage,
            lane,
            counts[stage, lane, "due"][0],
            counts[stage, lane, "in_flight"][0],
            counts[stage, lane, "later"][0],
            slots(stage, lane, "arrived"),
            slots(stage, lane, "served"),
        )
        for stage in Stage
        for lane in Lane
    ]


@dataclass(frozen=True, slots=True)
class Forecast:
    """When something is empty: seconds, None for never. `soonest` and `latest` are for rates two errors off."""

    seconds: float | None
    soonest: float | None
    latest: float | None

    @property
    def confidence(self) -> str:
        """In a word: good, rough (the ends are more than three times apart), or uncertain (it may never)."""
        if self.seconds == 0 or (self.seconds is None and self.soonest is None):
            return "good"
        if self.latest is None or self.soonest is None:
            return "uncertain"
        return "good" if self.latest <= 3 * self.soonest else "rough"


DONE = Forecast(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class LaneForecast:
    """`wait`: seconds that a work which comes now waits (Little's law); None while nothing is served.

    `empty` is 0 where work is done as it comes.
    """

    flow: Flow
    arrival: Rate
    service: Rate
    wait: float | None
    empty: Forecast


@dataclass(frozen=True, slots=True)
class StageForecast:
    """`capacity`: works a second that the forecast reckons with: what is done now."""

    stage: Stage
    ready: int
    arrival: Rate
    capacity: Rate
    empty: Forecast
    lanes: tuple[LaneForecast, ...]
    loads: tuple[Load, ...] = field(repr=False)

    @property
    def keeps_up(self) -> bool:
        """Whether work is done as it comes."""
        return _keeps_up(self.ready, self.capacity)


def forecast(stage: Stage, flow: Sequence[Flow], weights: Mapping[Lane, float] | None = None) -> StageForecast:
    """From what one stage's lanes do now. `weights`: as turned by levers; 0 for a paused lane."""
    lanes = sorted((one for one in flow if one.stage is stage), key=lambda one: one.lane)
    shared = {**ClaimPolicy().weights, **(weights or {})}
    seconds = SLOT.total_seconds()
    arrivals = [rate(one.arrived, seconds) for one in lanes]
    began = _began(lanes)
    services = [rate(one.served[:began], seconds) for one in lanes]
    capacity = together(services)

    def emptied(work: Sequence[float], power: float) -> list[float | None]:
        loads = [Load(one.ready, arrival, shared[one.lane]) for one, arrival in zip(lanes, work, strict=True)]
        return drain(loads, power)

    likely = emptied([one.per_second for one in arrivals], capacity.per_second)
    soonest = emptied([one.low for one in arrivals], capacity.high)
    latest = emptied([one.high for one in arrivals], capacity.low)
    found = tuple(
        LaneForecast(
            one,
            arrival,
            service,
            _wait(one.ready, service),
            DONE if _keeps_up(one.ready, service) else Forecast(*times),
        )
        for one, arrival, service, *times in zip(lanes, arrivals, services, likely, soonest, latest, strict=True)
    )
    ready = sum(one.ready for one in lanes)
    times = [_backlog(lanes, some) for some in (likely, soonest, latest)]
    return StageForecast(
        stage,
        ready,
        together(arrivals),
        capacity,
        DONE if _keeps_up(ready, capacity) else Forecast(*times),
        found,
        tuple(
            Load(one.ready, arrival.per_second, shared[one.lane]) for one, arrival in zip(lanes, arrivals, strict=True)
        ),
    )


def _began(lanes: Sequence[Flow]) -> int:
    """How many slots ago the stage began to work: what came before does not make it slower."""
    at_work = [number for one in lanes for number, count in enumerate(one.served) if count]
    return max(at_work, default=-1) + 1


def _backlog(lanes: Sequence[Flow], times: Sequence[float | None]) -> float | None:
    """Of those lanes that have something ready: one that is empty now has nothing to drain."""
    return whole(time for one, time in zip(lanes, times, strict=True) if one.ready)


def _wait(ready: int, service: Rate) -> float | None:
    if not ready:
        return 0.0
    return ready / service.per_second if service.per_second > 0 else None


def _keeps_up(ready: int, service: Rate) -> bool:
    wait = _wait(ready, service)
    return wait is not None and wait <= PROMPT
