"""Sees the system itself degrade: database, pools, event loop, memory, disk, processors, slow answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from holdfast.signals.frame import Frame
from holdfast.watch.model import Evidence, Severity, Sighting
from holdfast.watch.windows import SketchWindow, Usual, Window, ticks

RUNBOOK = "performance-degradation"
_TWO_THIRDS = 2 / 3
DATABASE, POOL, LOOP, MEMORY, DISK, CPU = (
    f"{RUNBOOK}/{name}" for name in ("database", "pool", "event_loop", "memory", "disk", "cpu")
)


class SystemSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, and shares from 0 to 1."""

    round_trip: float = 0.1
    """An empty statement takes no longer, nor ten times the usual."""
    round_trip_for: float = 45.0
    connections: float = 0.9
    lock_waits: float = 10.0
    transaction: float = 900.0
    """The oldest open transaction; together with lock waits or slow statements only, for backups are long ones."""
    pool: float = 0.99
    pool_for: float = 25.0
    """A pool that is all in use for so long is exhausted."""
    loop_lag: float = 0.2
    loop_for: float = 120.0
    """So late for so long; two and a half times that is trouble after 20 s."""
    memory: float = 0.92
    disk: float = 0.90
    full_within: float = 1800.0
    """Memory or disk, two thirds full, that fills up within this time at the rate of the last ten minutes."""
    cpu: float = 0.85
    pressure: float = 0.3
    """Processors are overloaded when so much is in use and tasks wait for them for this share of the time."""
    cpu_for: float = 30.0
    answers: float = 1.0
    """95 % of requests are answered within."""


@dataclass(frozen=True, slots=True)
class _Weighed:
    """How bad it is: from 1 on, trouble, once it was so for `patience` ticks in a row."""

    weight: float
    evidence: Evidence
    why: str
    patience: int


@dataclass(slots=True)
class _Rule:
    """One thing to watch; None when nothing is known of it."""

    key: str
    cause: str
    what: str
    weigh: Callable[[Frame], _Weighed | None]
    explained_by: tuple[str, ...] = ()
    began: datetime | None = None


class Degradation:
    """Resources and the database. What another one of them explains opens no alert."""

    def __init__(self, settings: SystemSettings | None = None) -> None:
        self._settings = settings or SystemSettings()
        self._usual_round_trip = Usual()
        self._memory, self._disk = _Filling(), _Filling()
        self._answers = SketchWindow(60)
        load = ("stripe-retry-storm", "webhook-backlog")
        self._rules = (
            _Rule(DATABASE, "database", "PostgreSQL is slow", self._weigh_database),
            _Rule(MEMORY, "memory", "Memory runs out", self._weigh_memory),
            _Rule(DISK, "disk", "The disk fills up", self._weigh_disk),
            _Rule(LOOP, "event_loop", "A process is too busy to be prompt", self._weigh_loop, (DATABASE, MEMORY)),
            _Rule(POOL, "pool", "A connection pool is exhausted", self._weigh_pool, (DATABASE, LOOP)),
            _Rule(CPU, "cpu", "The processors are busy", self._weigh_cpu, (*load, DATABASE, MEMORY, LOOP)),
        )

    def see(self, frame: Frame) -> Sequence[Sighting]:
        self._answers.add(frame.spread("http_request_seconds"))
        found = []
        for rule in self._rules:
            weighed = rule.weigh(frame)
            if weighed is None or weighed.weight < 0.8:
                rule.began = None
                continue
            if weighed.weight >= 1:
                rule.began = rule.began or frame.at
            found.append(self._sighting(frame, rule, weighed))
        return found

    def _sighting(self, frame: Frame, rule: _Rule, weighed: _Weighed) -> Sighting:
        is_severe = weighed.weight >= 3 or rule.cause in ("database", "memory", "disk")
        severity: Severity = "critical" if is_severe else "warning"
        return Sighting(
            key=rule.key,
            runbook=RUNBOOK,
            cause=rule.cause,
            severity=severity,
            title=f"{rule.what}: {weighed.evidence}",
            why=weighed.why,
            since=rule.began or frame.at,
            evidence=(weighed.evidence, *self._slow_answers()),
            certain=weighed.weight >= 1,
            patience=weighed.patience,
            explained_by=rule.explained_by,
        )

    def _slow_answers(self) -> tuple[Evidence, ...]:
        took = self._answers.quantile(0.95)
        if took is None or took < self._settings.answers:
            return ()
        return (Evidence("95 % of requests answered within", took, self._settings.answers, "s", "promise"),)

    def _weigh_database(self, frame: Frame) -> _Weighed | None:
        chosen = self._settings
        away = frame.level("database_away")
        if away is not None:
            evidence = Evidence("PostgreSQL has not answered for", away, 10, "s", "limit")
            why = "PostgreSQL cannot be reached. Events are answered 503; Stripe sends them again."
            return _Weighed(3.0, evidence, why, 1)
        round_trip = frame.level("postgres_round_trip_seconds")
        if round_trip is None:
            return None
        limit = max(chosen.round_trip, 10 * (self._usual_round_trip.value or 0.001))
        slow = round_trip / limit
        self._usual_round_trip.add(round_trip, strange=slow >= 1)
        found = [
            _Weighed(slow, Evidence(_SLOW, round_trip, limit, "s", "limit"), _WHY[_SLOW], ticks(chosen.round_trip_for))
        ]
        connections = frame.level("postgres_connections_ratio") or 0.0
        evidence = _percent(_FULL, connections, chosen.connections)
        found.append(_Weighed(connections / chosen.connections, evidence, _WHY[_FULL], 2))
        waits = frame.level("postgres_lock_waits") or 0.0
        evidence = Evidence(_WAITS, waits, chosen.lock_waits, "", "limit")
        found.append(_Weighed(waits / chosen.lock_waits, evidence, _WHY[_WAITS], 7))
        oldest = frame.level("postgres_oldest_transaction_seconds") or 0.0
        if waits >= chosen.lock_waits / 4 or slow >= 0.5:
            evidence = Evidence(_OPEN, oldest, chosen.transaction, "s", "limit")
            found.append(_Weighed(oldest / chosen.transaction, evidence, _WHY[_OPEN], 2))
        worst = max(found, key=lambda one: one.weight)
        return replace(worst, patience=min(one.patience for one in found if one.weight >= min(1.0, worst.weight)))

    def _weigh_pool(self, frame: Frame) -> _Weighed | None:
        chosen = self._settings
        labels, busy = max(frame.levels("pool_busy_ratio"), key=lambda one: one[1], default=((), 0.0))
        if not labels:
            return None
        name = "/".join(labels)
        evidence = _percent(f"pool {name} in use", busy, chosen.pool)
        why = f"Every connection of the pool {name} has been in use all the time."
        return _Weighed(busy / chosen.pool, evidence, why, ticks(chosen.pool_for)) if busy >= chosen.pool else None

    def _weigh_loop(self, frame: Frame) -> _Weighed | None:
        chosen = self._settings
        lags = frame.levels("event_loop_lag_recent_seconds")
        labels, lag = max(lags, key=lambda one: one[1], default=((), 0.0))
        if not lag:
            return None
        kind = "/".join(labels)
        evidence = Evidence(f"event loop of {kind} is late by", lag, chosen.loop_lag, "s", "limit")
        why = f"Something keeps the {kind} process from answering."
        weight = lag / chosen.loop_lag
        return _Weighed(weight, evidence, why, ticks(20 if weight >= 2.5 else chosen.loop_for))

    def _weigh_memory(self, frame: Frame) -> _Weighed | None:
        return self._filling(frame.level("system_memory_ratio"), self._memory, self._settings.memory, "memory")

    def _weigh_disk(self, frame: Frame) -> _Weighed | None:
        return self._filling(frame.level("system_disk_ratio"), self._disk, self._settings.disk, "disk")

    def _filling(self, value: float | None, filling: "_Filling", limit: float, what: str) -> _Weighed | None:
        if value is None:
            return None
        filling.add(value)
        left = filling.seconds_left()
        if left is not None and left < self._settings.full_within and value > _TWO_THIRDS:
            evidence = Evidence(f"{what} is full in", left, self._settings.full_within, "s", "limit")
            why = f"The {what} has been filling up for ten minutes; {100 * value:.0f} % are in use."
            return _Weighed(max(value / limit, self._settings.full_within / left), evidence, why, 3)
        return _Weighed(value / limit, _percent(f"{what} in use", value, limit), f"The {what} is nearly full.", 3)

    def _weigh_cpu(self, frame: Frame) -> _Weighed | None:
        chosen, cpu = self._settings, frame.level("system_cpu_ratio")
        if cpu is None:
            return None
        pressure = frame.level("system_pressure_ratio", None, "cpu")
        wait = pressure / chosen.pressure if pressure is not None else cpu / 0.97
        ours = sum(value for _, value in frame.levels("process_cpu_ratio"))
        why = (
            f"Tasks wait for a processor {100 * pressure:.0f} % of the time; " if pressure is not None else ""
        ) + f"Holdfast's own processes use {ours:.1f} processors."
        evidence = _percent("processors in use", cpu, chosen.cpu)
        return _Weighed(min(cpu / chosen.cpu, wait), evidence, why, ticks(chosen.cpu_for))


class _Filling:
    """How fast something fills up: over ten minutes, and steadily, or it is no trend."""

    def __init__(self) -> None:
        self._window = Window(600)
        self._middle = Window(300)

    def add(self, value: float) -> None:
        self._window.add(value)
        self._middle.add(value)

    def seconds_left(self) -> float | None:
        """Until 100 % at the present rate; None when it does not grow steadily."""
        if not self._window.is_full:
            return None
        newest, middle, oldest = self._middle.last, self._middle.first, self._window.first
        first, second = middle - oldest, newest - middle
        if min(first, second) <= 0.005 or min(first, second) < 0.3 * max(first, second):
            return None
        return (1 - newest) / ((newest - oldest) / self._window.seconds)


def _percent(what: str, value: float, limit: float) -> Evidence:
    return Evidence(what, 100 * value, 100 * limit, "%", "limit")


_SLOW, _FULL = "an empty statement takes", "connections in use"
_WAITS, _OPEN = "sessions wait for locks", "the oldest transaction is open for"
_WHY = {
    _SLOW: "PostgreSQL answers slowly: its machine, its disk, or what runs on it.",
    _FULL: "Connections run out: who holds them?",
    _WAITS: "Sessions wait for each other: something holds a lock.",
    _OPEN: "A transaction stays open and keeps others waiting.",
}
