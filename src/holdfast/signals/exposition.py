"""Prometheus' text format, written in pieces: there may be a hundred thousand lines, and calls do not wait for them.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from holdfast.signals.buckets import parted
from holdfast.signals.pacing import paced
from holdfast.signals.registry import Counter, Distribution, Gauge, Labels, Metric, Registry
from holdfast.signals.rollup import levels
from holdfast.signals.store import Part, Stored

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KEPT = 1.0
"""Seconds for which a text is told again."""
_LINES = 100
"""In a piece: about a millisecond."""

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
Parts = dict[Labels, dict[int, float]]
"""The numbers of a metric's series by part (see `store.Part`); a gauge's value is part 0."""


class Exposition:
    """The text for whoever asks: one is made at a time, and a new one once in `KEPT` seconds, however many ask."""

    def __init__(self, make: Callable[[], Awaitable[bytes]], clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._clock = clock
        self._made: asyncio.Future[bytes] | None = None
        self._began = 0.0

    async def text(self) -> bytes:
        made = self._made
        if made is None or (made.done() and (self._clock() - self._began >= KEPT or _failed(made))):
            self._began = self._clock()
            made = self._made = asyncio.ensure_future(self._make())
        return await asyncio.shield(made)  # who asked first may hang up


async def text(registry: Registry, sums: dict[Part, float], said: Iterable[Stored]) -> bytes:
    """All metrics: counters and distributions from `sums` over all processes, gauges from what each of them said."""
    by_name: dict[str, Parts] = defaultdict(dict)
    async for part, value in paced(sums.items()):
        by_name[part.name].setdefault(part.labels, {})[part.part] = value
    gauges: dict[str, list[Stored]] = defaultdict(list)
    for stored in said:
        gauges[stored.bucket.name].append(stored)
    for metric in registry:
        if isinstance(metric, Gauge):
            series = levels(gauges[metric.name], metric.over)
            by_name[metric.name] = {parted(labels): {0: value} for labels, value in series.items()}
    written = (piece for metric in registry for piece in _pieces(metric, by_name[metric.name]))
    return b"".join([piece async for piece in paced(written, 1)])


def _failed(made: asyncio.Future[bytes]) -> bool:
    return made.cancelled() or made.exception() is not None


def _pieces(metric: Metric, series: Parts) -> Iterator[bytes]:
    """A metric's lines, some at a time; what it is, is said in front of the first."""
    most = _LINES // (len(metric.bounds) + 3) + 1 if isinstance(metric, Distribution) else _LINES
    items = list(series.items())
    yield generate_latest(_One(_family(metric, items[:most])))
    for begin in range(most, len(items), most):
        yield generate_latest(_One(_family(metric, items[begin : begin + most]))).split(b"\n", 2)[2]


class _One(Collector):
    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterator[Family]:
        yield self._family


def _family(metric: Metric, series: Iterable[tuple[Labels, dict[int, float]]]) -> Family:
    name = f"holdfast_{metric.name}"
    if isinstance(metric, Distribution):
        return _histogram(metric, name, series)
    kind = CounterMetricFamily if isinstance(metric, Counter) else GaugeMetricFamily
    family = kind(name, metric.help, labels=metric.labels)
    for labels, parts in series:
        family.add_metric(labels, parts.get(0, 0.0))
    return family


def _histogram(
    metric: Distribution, name: str, series: Iterable[tuple[Labels, dict[int, float]]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, metric.help, labels=metric.labels)
    bounds = [*(f"{bound:g}" for bound in metric.bounds), "+Inf"]
    for labels, parts in series:
        below, buckets = 0.0, []
        for index, bound in enumerate(bounds):
            below += parts.get(index, 0.0)
            buckets.append((bound, below))
        family.add_metric(labels, buckets, parts.get(-1, 0.0))
    return family
