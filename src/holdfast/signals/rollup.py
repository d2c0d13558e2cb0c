"""Buckets of a few seconds become buckets of a minute, those become buckets of an hour; old ones go."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from statistics import fmean

import structlog

from holdfast.db.locks import Lock
from holdfast.db.pool import Pool
from holdfast.signals import store
from holdfast.signals.buckets import FINEST, Bucket, Counts, Data, Levels, Spreads
from holdfast.signals.registry import Over
from holdfast.signals.sketch import Sketch

log = structlog.get_logger()

MINUTE, HOUR = 60, 3600
EVERY = 30.0
KEPT = {FINEST: timedelta(hours=6), MINUTE: timedelta(days=14), HOUR: timedelta(days=400)}
_LATE = {MINUTE: timedelta(minutes=7), HOUR: timedelta(hours=1, minutes=10)}
"""How far back is added up again: buckets of a process that could not reach the store come late."""
_COMBINE: dict[Over, Callable[[list[float]], float]] = {"max": max, "min": min, "sum": sum}


async def roll_up(pool: Pool, now: datetime | None = None) -> None:
    """Add up what is complete by `now`, delete what is too old.

    One process at a time does it; doing it twice changes nothing.
    """
    now = now or datetime.now(UTC)
    async with pool.acquire() as connection, connection.transaction():
        if not await store.try_lock(connection, Lock.ROLLUP):
            return
        for finer, coarser in ((FINEST, MINUTE), (MINUTE, HOUR)):
            until = _floor(now - timedelta(seconds=2 * FINEST), coarser)
            since = _floor(now - _LATE[coarser], coarser)
            found = await store.read(connection, finer, since, until)
            await store.replace(connection, coarser, add_up(found, coarser))
        for resolution, kept in KEPT.items():
            await store.prune(connection, resolution, now - kept)


def add_up(found: Iterable[store.Stored], seconds: int) -> list[Bucket]:
    """Buckets of `seconds`, ending at whole multiples, over all processes."""
    grouped: dict[tuple[str, datetime], list[store.Stored]] = defaultdict(list)
    for stored in found:
        grouped[stored.bucket.name, _ceiling(stored.bucket.at, seconds)].append(stored)
    return [Bucket(name, at, seconds, combined(group)) for (name, at), group in sorted(grouped.items())]


def combined(group: list[store.Stored]) -> Data:
    """One signal over all processes, and over the time of the buckets."""
    first = group[0].bucket.data
    if isinstance(first, Levels):
        return Levels(levels(group, first.over), first.over)
    if isinstance(first, Counts):
        counts: dict[str, float] = defaultdict(float)
        for stored in group:
            if isinstance(stored.bucket.data, Counts):
                for labels, amount in stored.bucket.data.series.items():
                    counts[labels] += amount
        return Counts(dict(counts))
    sketches: dict[str, Sketch] = defaultdict(Sketch)
    for stored in group:
        if isinstance(stored.bucket.data, Spreads):
            for labels, (total, bins) in stored.bucket.data.series.items():
                sketches[labels].add(Sketch(bins, total))
    return Spreads({labels: (sketch.total, sketch.bins) for labels, sketch in sketches.items()})


def levels(group: Iterable[store.Stored], over: Over) -> dict[str, float]:
    """A gauge. Each process's mean over the time, then together."""
    means: dict[str, dict[object, list[float]]] = defaultdict(lambda: defaultdict(list))
    for stored in group:
        if isinstance(stored.bucket.data, Levels):
            for labels, value in stored.bucket.data.series.items():
                means[labels][stored.source].append(value)
    return {labels: _COMBINE[over]([fmean(values) for values in by.values()]) for labels, by in means.items()}


def _floor(at: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, at.tzinfo)


def _ceiling(at: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(-(-at.timestamp() // seconds) * seconds, at.tzinfo)
