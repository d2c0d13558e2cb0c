"""Adds up what all processes count, and says it to Prometheus.

Every process adds what it counted since the last time to the totals in the database; a process that dies loses at
most one interval. `/metrics` is the totals and what the answering process has not added yet, so that a counter never
goes back, not even when a process is replaced, and one address tells about all of them.
"""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import structlog
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from holdfast.db.pool import AWAY
from holdfast.signals import store
from holdfast.signals.buckets import FINEST, Buckets
from holdfast.signals.registry import Counter, Distribution, Gauge, Labels, Registry
from holdfast.signals.store import Executor, Part

log = structlog.get_logger()

INTERVAL = float(FINEST)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Totals:
    """One process's part in the totals, and its buckets."""

    def __init__(self, registry: Registry, source: uuid.UUID | None = None) -> None:
        """`source`: the process."""
        self._registry = registry
        self._source = source or uuid.uuid4()
        self._buckets = Buckets(registry)
        self._added: dict[Part, float] = {}
        self._known: dict[Part, float] = {}
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

    async def exposition(self, db: Executor) -> bytes:
        """All metrics in Prometheus' text format; with the store away, the totals as they were last known."""
        async with self._one:
            try:
                self._known = await store.totals(db)
            except AWAY as error:
                log.debug("signals.totals_away", error=type(error).__name__)
            sums = dict(self._known)
            for part, value in _parts(self._registry):
                sums[part] = sums.get(part, 0.0) + value - self._added.get(part, 0.0)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families(self._registry, sums))
        return generate_latest(registry)


class _Families(Collector):
    def __init__(self, registry: Registry, sums: dict[Part, float]) -> None:
        self._registry = registry
        self._sums = sums

    def collect(self) -> Iterator[Metric]:
        by_name: dict[str, dict[Labels, dict[int, float]]] = {}
        for part, value in self._sums.items():
            by_name.setdefault(part.name, {}).setdefault(part.labels, {})[part.part] = value
        for metric in self._registry:
            name, series = f"holdfast_{metric.name}", by_name.get(metric.name, {})
            if isinstance(metric, Counter):
                yield _counter(metric, name, series)
            elif isinstance(metric, Gauge):
                gauge = GaugeMetricFamily(name, metric.help, labels=metric.labels)
                for labels, value in metric.values.items():
                    gauge.add_metric(labels, value)
                yield gauge
            else:
                yield _histogram(metric, name, series)


def _counter(metric: Counter, name: str, series: dict[Labels, dict[int, float]]) -> Metric:
    family = CounterMetricFamily(name, metric.help, labels=metric.labels)
    for labels, parts in series.items():
        family.add_metric(labels, parts.get(0, 0.0))
    return family


def _histogram(metric: Distribution, name: str, series: dict[Labels, dict[int, float]]) -> Metric:
    family = HistogramMetricFamily(name, metric.help, labels=metric.labels)
    bounds = [*(f"{bound:g}" for bound in metric.bounds), "+Inf"]
    for labels, parts in series.items():
        below, buckets = 0.0, []
        for index, bound in enumerate(bounds):
            below += parts.get(index, 0.0)
            buckets.append((bound, below))
        family.add_metric(labels, buckets, parts.get(-1, 0.0))
    return family


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
