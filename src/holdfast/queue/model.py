"""What the queue holds and how it is claimed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum


class Stage(IntEnum):
    """What a work row asks for."""

    ROUTE = 1
    """Route the event whose `seq` is the work's `ref`."""
    DELIVER = 2
    """Send the delivery whose `id` is the work's `ref`."""
    SEND = 3
    """Send the text (`message`) whose `id` is the work's `ref`."""


class Lane(IntEnum):
    """How much it matters: money moved or failed; the rest; metadata."""

    CRITICAL = 0
    STANDARD = 1
    BULK = 2

    @property
    def label(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Work:
    """One claimed work. `lease` proves that it is ours until the lease ends."""

    stage: Stage
    ref: int
    lane: Lane
    merchant_id: int
    destination_id: int
    received_at: datetime
    attempts: int
    lease: int


@dataclass(frozen=True, slots=True)
class NewWork:
    ref: int
    lane: int
    merchant_id: int
    destination_id: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a claimed work: `outcome` is one word (applied, stored, unmatched, delivered, dead …)."""

    ref: int
    outcome: str
    note: str | None = None
    merchant_id: int | None = None
    """The merchant that was found while working, if it was not known before."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """A claimed work that goes back: due after `delay` seconds; `tried` tells whether it counts as an attempt."""

    ref: int
    delay: float
    tried: bool = True


@dataclass(frozen=True, slots=True)
class ClaimPolicy:
    """How a claim divides itself. The defaults are the product's promises and need no tuning."""

    weights: Mapping[Lane, int] = field(default_factory=lambda: {Lane.CRITICAL: 16, Lane.STANDARD: 4, Lane.BULK: 1})
    """Shares of a batch where several lanes have work; what one lane leaves, the others take."""
    promises: Mapping[Lane, timedelta] = field(
        default_factory=lambda: {
            Lane.CRITICAL: timedelta(seconds=5),
            Lane.STANDARD: timedelta(minutes=1),
            Lane.BULK: timedelta(minutes=15),
        }
    )
    """The oldest age that a lane may reach; behind it, most of its share goes to the newest work."""
    late_oldest_share: float = 0.25
    """The share of a late lane's batch that still drains its oldest work."""
    lease: timedelta = timedelta(seconds=60)
    buckets: int = 64
    """Merchants (and destinations of theirs) looked at in one claim."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What operators ask of claims for now, on top of the policy. What is paused stays where it is."""

    weights: Mapping[Lane, int] = field(default_factory=dict)
    newest_first: frozenset[Lane] = frozenset()
    """Lanes served as if they were late."""
    paused_lanes: frozenset[Lane] = frozenset()
    paused_stages: frozenset[Stage] = frozenset()
    paused_merchants: frozenset[int] = frozenset()
    paused_destinations: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Shared:
    """Destinations of these kinds, all together, may take `free` works now: what they share has no room for more."""

    kinds: tuple[str, ...]
    free: int


@dataclass(frozen=True, slots=True)
class Pause:
    """What keeps work from being claimed, as people call it, and which work: None where that does not matter."""

    lever: str
    stage: Stage | None = None
    lane: Lane | None = None
    merchant_id: int | None = None
    destination_id: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it holds all of a stage or a lane."""
        return self.merchant_id is None and self.destination_id is None


@dataclass(frozen=True, slots=True)
class LaneStats:
    stage: Stage
    lane: Lane
    depth: int
    waiting: int
    """Due now and in nobody's hands."""
    in_flight: int
    delayed: int
    """Waiting for a later time: retries backing off."""
    oldest_age: float
    """Seconds since the oldest live work was received; 0 when there is none."""
    arrival_rate: float
    """Works a second that came in over the window."""
    service_rate: float
    drain_seconds: float | None
    """Forecast until empty at the present rates; None when it is growing or nothing is being served."""


@dataclass(frozen=True, slots=True)
class BucketStats:
    """Depth and age of one merchant's or destination's live work in a stage."""

    stage: Stage
    key: int
    depth: int
    in_flight: int
    oldest_age: float
    arrival_rate: float
    service_rate: float
    drain_seconds: float | None
