"""What the parts of the plant tell each other at a tick, and what was measured in it."""

from dataclasses import dataclass

from bench.traces.conditions import Conditions
from bench.traces.draw import Bins

TICK = 5.0
LANES = ("critical", "standard", "bulk")
ROUND_TRIPS, BATCH = 12, 0.05
"""Of a batch in the router: statements, and seconds of the server's own work."""

Spread = tuple[float, Bins]
Received = list[tuple[float, int]]
"""Works by when their event was received, and how many."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is so in these five seconds."""

    number: int
    now: float
    """Seconds of the trace, at the end."""
    rate: float
    """Events a second that the world has for us."""
    conditions: Conditions
    round_trip: float
    batch: float
    """Seconds that a batch takes in the router."""
    cpu: tuple[float, float]
    """Of the web process's host and of the workers', in the five seconds before."""

    @property
    def worker_speed(self) -> float:
        """How much of its usual speed a worker has left: a starved processor, a loop that is blocked."""
        starved = 1 - 6 * max(0.0, self.cpu[1] - 0.9)
        return max(0.1, starved) / (1 + 1.5 * self.conditions.lag_worker)


@dataclass(init=False, slots=True)
class Tick:
    """What was measured in five seconds, by lane where it is a list; `frames` gives it the product's names."""

    answers: dict[str, int]
    answer_seconds: Spread
    routed: list[int]
    routed_seconds: list[Spread]
    events_failed: int
    batches_failed: int
    planned: int
    attempts: dict[str, int]
    attempt_seconds: dict[str, Spread]
    settled: dict[str, int]
    delivered_seconds: list[Spread]
    route_depth: list[int]
    route_oldest: list[float]
    route_in_flight: list[int]
    deliver_depth: list[int]
    deliver_oldest: list[float]
    in_flight: list[int]
    http: Spread
    cpu_web: float
    cpu_worker: float
    memory_web: float
    memory_worker: float
    process_cpu: tuple[float, float]
    process_memory: tuple[float, float]
    disk: float
    io: float
    round_trip: float
    locks: float
    transaction: float
    connections: float
    store_errors: int
    pools: dict[str, float]
    lag_web: float
    lag_worker: float
    loop_web: Spread
    loop_worker: Spread
    event_lag: float | None
    api: int
