"""Sees the system itself degrade: database, pools, event loop, memory, disk, processors, slow answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from holdfast.watch.frame import Frame
from holdfast.watch.model import Evidence, Severity, Sighting
from holdfast.watch.windows import SketchWindow, Usual, Window

RUNBOOK = "performance-degradation"
DATABASE, POOL, LOOP, MEMORY, DISK, CPU = (
    f"{RUNBOOK}/{name}" for name in ("database", "pool", "event_loop", "memory", "disk", "cpu")
)


class SystemSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, and shares from 0 to 1."""

    round_trip: float = 0.1
    """An empty statement takes no longer."""
    connections: float = 0.9
    lock_waits: float = 10.0
    transaction: float = 900.0
    """The oldest open transaction; together with lock waits or slow statements only, for backups are long ones."""
    pool: float = 0.99
    pool_for: float = 30.0
    """A pool that is all in use for so long is exhausted, if what it serves is slow as well."""
    loop_lag: float = 0.5
    loop_for: float = 20.0
    memory: float = 0.92
    disk: float = 0.90
    full_within: float = 3600.0
    """Memory or disk that fills up within this time, at the rate of the last ten minutes, is trouble now."""
    cpu: float = 0.95
    cpu_for: float = 60.0
    answers: float = 1.0
    """95 % of requests are answered within."""


@dataclass(slots=True)
class _Rule:
    """One thing to watch: how bad it is (1 and more: trouble), with the evidence; None when it is not known."""

    key: str
    cause: str
    what: str
    weigh: Callable[[Frame], tuple[float, Evidence, str] | None]
    patience: int
    explained_by: tuple[str, ...] = ()
    began: datetime | None = None


class Degradation:
    """Resources and the database. What another one of them explains opens no alert."""

    def __init__(self, settings: SystemSettings | None = None) -> None:
        self._settings = chosen = settings or SystemSettings()
        self._round_trip = Window(15)
        self._usual_round_trip = Usual()
        self._pools: dict[tuple[str, ...], Window] = {}
        self._lags: dict[tuple[str, ...], Window] = {}
        self._cpu = Window(chosen.cpu_for)
        self._memory, self._disk = _Filling(), _Filling()
        self._answers = SketchWindow(60)
        self._to_routed = SketchWindow(60)
        load = ("stripe-retry-storm", "webhook-backlog")
        self._rules = (
            _Rule(DATABASE, "database", "PostgreSQL is slow", self._weigh_database, 2),
            _Rule(MEMORY, "memory", "Memory runs out", self._weigh_memory, 3),
            _Rule(DISK, "disk", "The disk fills up", self._weigh_disk, 3),
            _Rule(LOOP, "event_loop", "A process is too busy to be prompt", self._weigh_loop, 1, (DATABASE, MEMORY)),
            _Rule(POOL, "pool", "A connection pool is exhausted", self._weigh_pool, 1, (DATABASE, LOOP)),
            _Rule(CPU, "cpu", "The processors are busy", self._weigh_cpu, 1, (*load, DATABASE, MEMORY, LOOP)),
        )

    def see(self, frame: Frame) -> Sequence[Sighting]:
        self._answers.add(frame.spread("http_request_seconds"))
        found = []
        for rule in self._rules:
            weighed = rule.weigh(frame)
            if weighed is None or weighed[0] < 0.8:
                rule.began = None
                continue
            weight, evidence, why = weighed
            if weight >= 1:
                rule.began = rule.began or frame.at
            found.append(self._sighting(frame, rule, weight, evidence, why))
        return found

    def _sighting(self, frame: Frame, rule: _Rule, weight: float, evidence: Evidence, why: str) -> Sighting:
        severity: Severity = "critical" if weight >= 3 or rule.cause in ("database", "memory", "disk") else "warning"
        return Sighting(
            key=rule.key,
            runbook=RUNBOOK,
            cause=rule.cause,
            severity=severity,
            title=f"{rule.what}: {evidence}",
            why=why,
            since=rule.began or frame.at,
            evidence=(evidence, *self._slow_answers()),
            certain=weight >= 1,
            patience=rule.patience,
            explained_by=rule.explained_by,
        )

    def _slow_answers(self) -> tuple[Evidence, ...]:
        took = self._answers.quantile(0.95)
        if took is None or took < self._settings.answers:
            return ()
        return (Evidence("95 % of requests answered within", took, self._settings.answers, "s", "promise"),)

    def _weigh_database(self, frame: Frame) -> tuple[float, Evidence, str] | None:
        chosen = self._settings
        away = frame.level("database_away")
        if away is not None:
            evidence = Evidence("PostgreSQL has not answered for", away, 10, "s", "limit")
            return 3.0, evidence, "PostgreSQL cannot be reached. Events are answered 503; Stripe sends them again."
        round_trip = frame.level("postgres_round_trip_seconds")
        if round_trip is None:
            return None
        self._round_trip.add(round_trip)
        usual = self._usual_round_trip.value or 0.001
        limit = max(chosen.round_trip, 10 * usual)
        slow = self._round_trip.least / limit
        self._usual_round_trip.add(round_trip, strange=slow >= 1)
        found = [(slow, Evidence("an empty statement takes", self._round_trip.least, limit, "s", "limit"))]
        connections = frame.level("postgres_connections_ratio") or 0.0
        found.append(
            (connections / chosen.connections, _percent("connections in use", connections, chosen.connections))
        )
        waits = frame.level("postgres_lock_waits") or 0.0
        found.append(
            (waits / chosen.lock_waits, Evidence("sessions wait for locks", waits, chosen.lock_waits, "", "limit"))
        )
        oldest = frame.level("postgres_oldest_transaction_seconds") or 0.0
        if waits >= chosen.lock_waits / 4 or slow >= 0.5:
            evidence = Evidence("the oldest transaction is open for", oldest, chosen.transaction, "s", "limit")
            found.append((oldest / chosen.transaction, evidence))
        weight, evidence = max(found, key=lambda item: item[0])
        return weight, evidence, _WHY[evidence.what]

    def _weigh_pool(self, frame: Frame) -> tuple[float, Evidence, str] | None:
        chosen, worst = self._settings, 0.0
        name = ""
        for labels, busy in frame.levels("pool_busy_ratio"):
            window = self._pools.setdefault(labels, Window(chosen.pool_for))
            window.add(busy)
            if window.is_full and window.least >= chosen.pool and window.least > worst:
                worst, name = window.least, "/".join(labels)
        if not worst:
            return None
        evidence = _percent(f"pool {name} in use", worst, chosen.pool)
        return worst / chosen.pool, evidence, f"Every connection of the pool {name} has been in use all the time."

    def _weigh_loop(self, frame: Frame) -> tuple[float, Evidence, str] | None:
        chosen, worst, kind = self._settings, 0.0, ""
        for labels, lag in frame.levels("event_loop_lag_recent_seconds"):
            window = self._lags.setdefault(labels, Window(chosen.loop_for))
            window.add(lag)
            if window.is_full and window.least > worst:
                worst, kind = window.least, "/".join(labels)
        if not worst:
            return None
        evidence = Evidence(f"event loop of {kind} is late by", worst, chosen.loop_lag, "s", "limit")
        return worst / chosen.loop_lag, evidence, f"Something keeps the {kind} process from answering."

    def _weigh_memory(self, frame: Frame) -> tuple[float, Evidence, str] | None:
        return self._filling(frame.level("system_memory_ratio"), self._memory, self._settings.memory, "memory")

    def _weigh_disk(self, frame: Frame) -> tuple[float, Evidence, str] | None:
        return self._filling(frame.level("system_disk_ratio"), self._disk, self._settings.disk, "disk")

    def _filling(
        self, value: float | None, filling: "_Filling", limit: float, what: str
    ) -> tuple[float, Evidence, str] | None:
        if value is None:
            return None
        filling.add(value)
        left = filling.seconds_left()
        evidence = _percent(f"{what} in use", value, limit)
        why = f"The {what} is nearly full."
        weight = value / limit
        if left is not None and left < self._settings.full_within:
            evidence = Evidence(f"{what} is full in", left, self._settings.full_within, "s", "limit")
            why = f"The {what} has been filling up for ten minutes; {100 * value:.0f} % are in use."
            weight = max(weight, self._settings.full_within / left)
        return weight, evidence, why

    def _weigh_cpu(self, frame: Frame) -> tuple[float, Evidence, str] | None:
        cpu, limit = frame.level("system_cpu_ratio"), self._settings.cpu
        if cpu is None:
            return None
        self._cpu.add(cpu)
        if not self._cpu.is_full:
            return None
        ours = sum(value for _, value in frame.levels("process_cpu_ratio"))
        why = f"The processors have been busy for a minute; Holdfast's own processes use {ours:.1f} of them."
        return self._cpu.mean / limit, _percent("processors in use", self._cpu.mean, limit), why


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


_WHY = {
    "an empty statement takes": "PostgreSQL answers slowly: its machine, its disk, or what runs on it.",
    "connections in use": "Connections run out: who holds them?",
    "sessions wait for locks": "Sessions wait for each other: something holds a lock.",
    "the oldest transaction is open for": "A transaction stays open and keeps others waiting.",
}
