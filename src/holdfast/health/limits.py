"""Judges what limits the draining of a backlog now, and says by which numbers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from holdfast.health.probes import CONNECTIONS_RATIO, CPU_RATIO, LOCK_WAITS_LIMITS, ROUND_TRIP_SECONDS
from holdfast.queue.capacity import StageForecast
from holdfast.queue.model import Stage

Kind = Literal["nothing", "lever", "no workers", "destination", "postgres", "cpu", "workers", "unknown"]

POOL_BUSY_RATIO = 0.99
POOL_WAIT_SECONDS = 0.05
"""Half of a pool's users wait longer: it is too small, or its connections are held too long."""
PRESSED = 0.5
"""Share of time in which something waited for a processor (PSI), from which on they are what is short."""
WORKER_BUSY_RATIO = 0.8
"""A worker is one process of one processor: above this it does what it can."""
MOST_OF = 0.5
FULL_RATIO = 0.8
LEAST = 25
"""Works that wait; fewer are no backlog."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One thing that limits a stage (None: all of them). `what` says it with its numbers.

    `more_workers_help` on this machine: None where it is not known.
    """

    kind: Kind
    what: str
    stage: Stage | None = None
    more_workers_help: bool | None = False
    destination_id: int | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """A destination now. `ceiling`: the most requests at once from one worker; `latency`: mean seconds of a try.

    `failed`: share of tries to be tried again; None without tries. `drain_seconds`: None when it does not shrink.
    """

    id: int
    name: str
    depth: int
    in_flight: int
    ceiling: int
    tries_per_second: float
    failed: float | None
    latency: float | None
    drain_seconds: float | None


@dataclass(frozen=True, slots=True)
class Machine:
    """What signals say now; None and empty where they say nothing. Ratios are 0 to 1."""

    cpu: Mapping[str, float] = field(default_factory=dict)
    """By host."""
    pressed: Mapping[str, float] = field(default_factory=dict)
    """By host: time in which something waited for a processor."""
    workers_cpu: float | None = None
    """Processors that all workers together use."""
    round_trip: float | None = None
    connections: float | None = None
    lock_waits: float | None = None
    pools: Mapping[str, float] = field(default_factory=dict)
    """Share of a pool's connections in use, by process kind and name."""
    pool_waits: Mapping[str, float] = field(default_factory=dict)
    """Median seconds that it takes to get a connection, by name."""


@dataclass(frozen=True, slots=True)
class Turned:
    """A lever that holds work back, said in words; `stage` None is both.

    `holds`: how many works it concerns; None where it slows all of them down. `stops`: they do not move at all.
    """

    said: str
    stage: Stage | None = None
    holds: int | None = None
    stops: bool = True


def limits(
    stages: Sequence[StageForecast],
    *,
    workers: int,
    levers: Sequence[Turned],
    destinations: Sequence[Pace],
    machine: Machine,
) -> tuple[Limit, ...]:
    """What limits each stage that is behind, the first cause first; one `nothing` where none is behind."""
    behind = [one for one in stages if one.ready >= LEAST and not one.keeps_up]
    stuck = [pace for pace in destinations if pace.depth >= LEAST and _is_stuck(pace, workers)]
    if not behind and not stuck:
        ready = sum(one.ready for one in stages)
        return (Limit("nothing", f"nothing is behind: {ready} works are in hand or just came"),)
    if not workers:
        return (Limit("no workers", "no worker is at work", None, True),)
    found: list[Limit] = []
    for stage in behind:
        some = [*_levers(stage.stage, levers, at_least=MOST_OF * stage.ready)]
        if stage.stage is Stage.DELIVER:
            some += _destinations(destinations, stage.ready, workers)
        some += [*_postgres(machine, stage.stage), *_cpu(machine, workers, stage.stage)]
        some = some or [_unknown(stage.stage, machine)]
        found += some + [one for one in _levers(stage.stage, levers, at_least=1) if one not in some]
    if stuck and not any(one.stage is Stage.DELIVER for one in behind):
        found += _destinations(stuck, 0, workers)
    return tuple(found)


def _levers(stage: Stage, levers: Iterable[Turned], *, at_least: float) -> Iterator[Limit]:
    """Those that slow everything down, or pause so much of it."""
    for one in levers:
        if one.stage in (None, stage) and (one.holds is None or one.holds >= at_least):
            held = f"; {one.holds} wait for it" if one.holds is not None else ""
            help_too = False if one.holds is not None and one.stops else None
            yield Limit("lever", f"a lever holds work back: {one.said}{held}", stage, help_too)


def _destinations(destinations: Iterable[Pace], ready: int, workers: int) -> Iterator[Limit]:
    """Those that are at their limit: each that holds most of what waits, or all of them if together they do."""
    stuck = sorted((pace for pace in destinations if _is_stuck(pace, workers)), key=lambda pace: -pace.depth)
    least = max(LEAST, MOST_OF * ready)
    for pace in stuck:
        if pace.depth >= least:
            yield Limit("destination", _said(pace, workers), Stage.DELIVER, False, pace.id)
    held = sum(pace.depth for pace in stuck)
    if stuck and stuck[0].depth < least <= held:
        what = f"{len(stuck)} destinations hold {held} of what waits; the first, {_said(stuck[0], workers)}"
        yield Limit("destination", what, Stage.DELIVER, False)


def _is_stuck(pace: Pace, workers: int) -> bool:
    full = pace.in_flight >= FULL_RATIO * pace.ceiling * workers > 0
    # By Little's law, so many requests are under way on average.
    at_once = pace.tries_per_second * (pace.latency or 0.0)
    fails = pace.failed is not None and pace.failed >= MOST_OF
    return full or fails or at_once >= FULL_RATIO * pace.ceiling * workers > 0


def _said(pace: Pace, workers: int) -> str:
    parts = [f"{pace.depth} wait", f"{pace.in_flight} of at most {pace.ceiling * workers} requests at once"]
    if pace.latency is not None:
        parts.append(f"{pace.tries_per_second:.1f} tries/s of {1000 * pace.latency:.0f} ms")
    if pace.failed:
        parts.append(f"{100 * pace.failed:.0f} % of them fail")
    return f"destination {pace.id} ({pace.name}): {', '.join(parts)}"


def _postgres(machine: Machine, stage: Stage) -> Iterator[Limit]:
    if machine.round_trip is not None and machine.round_trip > ROUND_TRIP_SECONDS.warn:
        took = f"an empty statement takes {1000 * machine.round_trip:.0f} ms"
        yield Limit("postgres", f"PostgreSQL is slow: {took}", stage)
    if machine.lock_waits is not None and machine.lock_waits > LOCK_WAITS_LIMITS.warn:
        yield Limit("postgres", f"{machine.lock_waits:.0f} sessions of PostgreSQL wait for locks", stage)
    if machine.connections is not None and machine.connections > CONNECTIONS_RATIO.warn:
        share = f"{100 * machine.connections:.0f} % of PostgreSQL's connections are in use"
        yield Limit("postgres", share, stage)
    serving = "router" if stage is Stage.ROUTE else "delivery"
    wait = machine.pool_waits.get(serving)
    busy = max((ratio for name, ratio in machine.pools.items() if name.endswith(f"/{serving}")), default=0.0)
    if busy >= POOL_BUSY_RATIO or (wait is not None and wait >= POOL_WAIT_SECONDS):
        said = f", half of its users wait {1000 * wait:.0f} ms" if wait is not None else ""
        what = f"the pool {serving} is exhausted: {100 * busy:.0f} % of its connections in use{said}"
        yield Limit("postgres", what, stage, None)


def _cpu(machine: Machine, workers: int, stage: Stage) -> Iterator[Limit]:
    for host, ratio in machine.cpu.items():
        pressed = machine.pressed.get(host, 0.0)
        if ratio > CPU_RATIO.warn or (pressed >= PRESSED and ratio >= FULL_RATIO):
            waited = f", and waited for {100 * pressed:.0f} % of the time" if host in machine.pressed else ""
            what = f"the processors of {host} are {100 * ratio:.0f} % in use{waited}"
            yield Limit("cpu", what, stage)
            return
    if machine.workers_cpu is not None and machine.workers_cpu >= WORKER_BUSY_RATIO * workers:
        what = f"{workers} worker processes use {machine.workers_cpu:.1f} processors, of which each can use one"
        yield Limit("workers", what, stage, True)


def _unknown(stage: Stage, machine: Machine) -> Limit:
    seen = [f"processors {100 * ratio:.0f} % in use" for ratio in machine.cpu.values()]
    if machine.round_trip is not None:
        seen.append(f"PostgreSQL answers in {1000 * machine.round_trip:.1f} ms")
    if machine.workers_cpu is not None:
        seen.append(f"workers use {machine.workers_cpu:.1f} processors")
    measured = ", ".join(seen) or "nothing is measured"
    return Limit("unknown", f"nothing that is measured is at its limit ({measured})", stage, None)
