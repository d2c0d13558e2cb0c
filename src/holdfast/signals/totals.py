"""Adds up what all processes count, and says it to Prometheus.

Every process adds what it counted since the last time to the totals in the database; a process that dies loses at
most one interval. `/metrics` is the totals and what the answering process has not added yet, so that a counter never
goes back, not even when a process is replaced; and gauges as every process that is there said them last. So one
address tells about all of them.
"""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import structlog

from holdfast.db.pool import AWAY
from holdfast.signals import store
from holdfast.signals.buckets import FINEST, NEW, Bucket, Buckets, levels_of
from holdfast.signals.exposition import text
from holdfast.signals.pacing import paced
from holdfast.signals.registry import Counter, Distribution, Gauge, Registry
from holdfast.signals.store import Executor, Part, Stored

log = structlog.get_logger()

INTERVAL = float(FINEST)
_NEW = timedelta(seconds=NEW)


class Totals:
    """One process's part in the totals, and its buckets."""

    def __init__(self, registry: Registry, source: uuid.UUID | None = None) -> None:
        """`source`: the process."""
        self._registry = registry
        self._source = source or uuid.uuid4()
        self._buckets = Buckets(registry)
        self._added: dict[Part, float] = {}
        self._known: dict[Part, float] = {}
        self._said: list[Stored] = []
        self._one = asyncio.Lock()  # what was added must be in the totals that it is subtracted from

    async def flush(self, db: Executor, now: datetime | None = None) -> None:
        """Add what was counted since the last flush; when the store is away, it is added the next time."""
        async with self._one:
            await self._flush(db, now or datetime.now(UTC))

    async def _flush(self, db: Executor, now: datetime) -> None:
        buckets = self._buckets.take(now)
        current = dict(_parts(self._registry))
        news = [(part, value - self._added.get(part, 0.0)) for part, value in current.items()]
        news = [(part, amount) for part, amount in news if amount]
        if not news and not buckets:
            return
        try:
            await store.add(db, news, self._source, buckets)
        except AWAY as error:
            log.debug("signals.kept", error=type(error).__name__)
            return
        self._buckets.stored(len(buckets))
        for part, amount in news:
            self._added[part] = self._added.get(part, 0.0) + amount
            self._known[part] = self._known.get(part, 0.0) + amount

    async def exposition(self, db: Executor, now: datetime | None = None) -> bytes:
        """All metrics in Prometheus' text format; with the store away, as they were last known."""
        now = now or datetime.now(UTC)
        async with self._one:
            try:
                self._known = await store.totals(db)
                self._said = await store.newest(db, now - _NEW, now + _NEW, self._gauges())
            except AWAY as error:
                log.debug("signals.totals_away", error=type(error).__name__)
            sums = dict(self._known)
            async for part, value in paced(_parts(self._registry)):
                sums[part] = sums.get(part, 0.0) + value - self._added.get(part, 0.0)
        return await text(self._registry, sums, self._levels(now))

    def _gauges(self) -> list[str]:
        return [metric.name for metric in self._registry if isinstance(metric, Gauge)]

    def _levels(self, now: datetime) -> list[Stored]:
        """Gauges: of other processes as they said last, while that is new; of this one as they are."""
        others = [said for said in self._said if said.source != self._source and now - said.bucket.at < _NEW]
        return others + [
            Stored(self._source, Bucket(metric.name, now, FINEST, levels_of(metric)))
            for metric in self._registry
            if isinstance(metric, Gauge)
        ]


def _parts(registry: Registry) -> Iterator[tuple[Part, float]]:
    for metric in registry:
        if isinstance(metric, Counter):
            for labels, value in list(metric.values.items()):
                yield Part(metric.name, labels, 0), value
        elif isinstance(metric, Distribution):
            for labels, series in list(metric.values.items()):
                yield Part(metric.name, labels, -1), series.total
                for index, count in enumerate(series.histogram(metric.bounds)):
                    yield Part(metric.name, labels, index), count
