"""The signals around an incident, as the points of its plots: read while they are kept, then stored with the review."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from holdfast.db.pool import Pool
from holdfast.incidents.model import Incident
from holdfast.levers.model import PROCESSES, ROUTER_CONCURRENCY
from holdfast.queue.model import Lane
from holdfast.review.model import Panel, Plots, Series, Turn
from holdfast.signals import store
from holdfast.signals.buckets import FINEST
from holdfast.signals.frame import Frame
from holdfast.signals.rollup import HOUR, KEPT, MINUTE
from holdfast.signals.store import Stored

BEFORE, AFTER = timedelta(minutes=30), timedelta(minutes=15)
"""How much of the time around the incident is shown."""
MOST_POINTS = 360
_LONGEST_FINE = timedelta(hours=3)
"""Finer buckets over a longer time would be many rows, and are not told apart anyway."""
_RECEIVED, _TO_ROUTED, _DEPTH, _OLDEST, _ROUTERS, _ROUTED, _ERRORS, _ATTEMPTS = SIGNALS = (
    "webhooks_received",
    "event_to_routed_seconds",
    "queue_depth",
    "queue_oldest_age_seconds",
    "routers_at_work",
    "events_routed",
    "router_errors",
    "delivery_attempts",
)
_STAGES = {"route": "events", "deliver": "notifications"}
_Measure = Callable[[Frame], float | None]


async def points(pool: Pool, incident: Incident, turns: Sequence[Turn], now: datetime) -> Plots:
    """From half an hour before the trouble to a quarter of an hour after its end, as finely as is still kept."""
    since = incident.since - BEFORE
    until = min((incident.resolved_at or now) + AFTER, now)
    width = resolution(since, until, now)
    step = _step(until - since, width)
    count = max(1, -(-int((until - since).total_seconds()) // step))
    since = until - timedelta(seconds=step * count)
    groups: dict[int, list[Stored]] = defaultdict(list)
    for stored in await store.read(pool, width, since, until, SIGNALS):
        groups[-(-int((stored.bucket.at - since).total_seconds()) // step) - 1].append(stored)
    ends = [since + timedelta(seconds=step * (number + 1)) for number in range(count)]
    frames = [Frame.of(groups.get(number, ()), end) for number, end in enumerate(ends)]
    return Plots(ends[0], step, count, width, tuple(_panels(frames, ends, step, turns)))


def resolution(since: datetime, until: datetime, now: datetime) -> int:
    """The width of the finest buckets that are kept for the whole time and are not too many."""
    for width in (FINEST, MINUTE):
        if since >= now - KEPT[width] and (width != FINEST or until - since <= _LONGEST_FINE):
            return width
    return HOUR


def _step(length: timedelta, width: int) -> int:
    """Seconds between points: whole buckets, and not too many points."""
    return width * max(1, -(-int(length.total_seconds()) // (width * MOST_POINTS)))


def _panels(frames: Sequence[Frame], ends: Sequence[datetime], step: int, turns: Sequence[Turn]) -> list[Panel]:
    def series(name: str, measure: _Measure, *, dashed: bool = False) -> Series:
        return Series(name, tuple(map(measure, frames)), "dashed" if dashed else "line")

    def rate(answer: str) -> _Measure:
        return lambda frame: frame.count(_RECEIVED, "stripe", answer) / step if frame.data else None

    def spread(share: float, *labels: str) -> _Measure:
        return lambda frame: frame.spread(_TO_ROUTED, *labels).quantile(share)

    critical = Lane.CRITICAL.label
    return [
        Panel(
            "Webhooks received",
            "1/s",
            (
                series("events", rate("new")),
                series("duplicates", rate("duplicate")),
                series("refused", rate("away"), dashed=True),
            ),
        ),
        Panel(
            "Receipt to routed",
            "s",
            (
                series("critical p50", spread(0.5, critical)),
                series("critical p99", spread(0.99, critical)),
                series("all p99", spread(0.99), dashed=True),
            ),
        ),
        Panel("Queue depth", "", _by_lane(frames, _DEPTH)),
        Panel("Age of the oldest", "s", _by_lane(frames, _OLDEST)),
        Panel(
            "Routers at work, and levers",
            "",
            (series("routers", lambda one: one.level(_ROUTERS)), *_levers(turns, ends)),
        ),
        Panel("Failures", "share", (series("routing", _routing_failures), series("delivery", _delivery_failures))),
    ]


def _by_lane(frames: Sequence[Frame], signal: str) -> tuple[Series, ...]:
    """A line a stage and lane; those that never had anything are left out."""
    found = []
    for stage, works in _STAGES.items():
        for lane in Lane:
            values = tuple(frame.level(signal, stage, lane.label) for frame in frames)
            if any(values):
                found.append(Series(f"{lane.label} {works}", values, "dashed" if stage == "deliver" else "line"))
    return tuple(found)


def _levers(turns: Sequence[Turn], ends: Sequence[datetime]) -> list[Series]:
    """Levers that are numbers of processes or batches, from their history; None while they are at their default."""
    found = []
    for name in (ROUTER_CONCURRENCY.name, PROCESSES.name):
        own = [turn for turn in turns if turn.name == name and not turn.target and not turn.value.endswith("%")]
        if not own:
            continue
        values: list[float | None] = []
        for end in ends:
            past = [turn for turn in own if turn.at <= end]
            values.append(_number(past[-1].value) if past else _number(own[0].before))
        found.append(Series(name, tuple(values), "steps"))
    return found


def _number(text: str) -> float | None:
    return float(text) if text.isdecimal() else None


def _routing_failures(frame: Frame) -> float | None:
    errors = frame.count(_ERRORS)
    tried = errors + frame.count(_ROUTED)
    return errors / tried if tried else None


def _delivery_failures(frame: Frame) -> float | None:
    tried = frame.count(_ATTEMPTS)
    return 1 - frame.count(_ATTEMPTS, None, "delivered") / tried if tried else None
