"""What this process measures: counters, gauges and distributions with bounded labels, cheap enough for hot paths.

Names are those of Prometheus without the `holdfast_` in front (https://prometheus.io/docs/practices/naming/).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, TypeVar

from holdfast.signals.sketch import Sketch

Labels = tuple[str, ...]
Kind = Literal["counter", "gauge", "distribution"]
Over = Literal["max", "min", "sum"]

LATENCIES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds: from a fast handler to a backlog."""
MOST_SERIES: Final = 1000
OTHER: Final = "other"
LONGEST_LABEL: Final = 260
_UNSTORABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, NUL and the separator of labels among them, and halves of characters."""


class Counter:
    """Counts things that happened. `inc(n, *labels)`."""

    kind: Kind = "counter"

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels
        self.values: dict[Labels, float] = {} if labels else {(): 0.0}

    def inc(self, amount: float = 1.0, *labels: str) -> None:
        try:
            self.values[labels] += amount
        except KeyError:
            self._begin(labels, amount)

    def _begin(self, labels: Labels, amount: float) -> None:
        key = bounded(self.values, labels, self.labels)
        self.values[key] = self.values.get(key, 0.0) + amount


class Gauge:
    """What is so now, in this process or as this process sees it. `set(value, *labels)`."""

    kind: Kind = "gauge"

    def __init__(self, name: str, help_text: str, labels: Labels = (), over: Over = "max") -> None:
        """`over`: what several processes that say the same series make together."""
        self.name = name
        self.help = help_text
        self.labels = labels
        self.over = over
        self.values: dict[Labels, float] = {}

    def set(self, value: float, *labels: str) -> None:
        self.values[bounded(self.values, labels, self.labels)] = value

    def replace(self, values: Iterable[tuple[Labels, float]]) -> None:
        """All series at once; those that are not named are gone."""
        self.values = {}
        for labels, value in values:
            self.set(value, *labels)


class Distribution:
    """How values are spread, such as latencies in seconds. `observe(value, *labels)`. `bounds` are for Prometheus."""

    kind: Kind = "distribution"

    def __init__(self, name: str, help_text: str, labels: Labels = (), bounds: tuple[float, ...] = LATENCIES) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels
        self.bounds = bounds
        self.values: dict[Labels, Sketch] = {}

    def observe(self, value: float, *labels: str) -> None:
        self.series(*labels).observe(value)

    def series(self, *labels: str) -> Sketch:
        """One series, for those who observe it often."""
        series = self.values.get(labels)
        if series is None:
            key = bounded(self.values, labels, self.labels)
            series = self.values.setdefault(key, Sketch())
        return series


Metric = Counter | Gauge | Distribution
_M = TypeVar("_M", Counter, Gauge, Distribution)


def bounded(known: Mapping[Labels, object], labels: Labels, names: Labels) -> Labels:
    """The labels to count under: values come from outside, so above `MOST_SERIES` the rest is counted together.

    What PostgreSQL cannot store in a text or an index is replaced: one such label would keep all signals from it.
    """
    if labels in known:
        return labels
    if len(labels) != len(names):
        raise ValueError(f"labels {labels} do not fit {names}")
    clean = tuple(_UNSTORABLE.sub("?", label[:LONGEST_LABEL]) for label in labels)
    if clean in known or len(known) < MOST_SERIES:
        return clean
    return (OTHER,) * len(names)


class Registry:
    """Metrics by name."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def __iter__(self) -> Iterator[Metric]:
        return iter(list(self._metrics.values()))  # one may be added while somebody goes through them piece by piece

    def add(self, metric: _M) -> _M:
        if metric.name in self._metrics:
            raise ValueError(f"there is a metric {metric.name} already")
        self._metrics[metric.name] = metric
        return metric


REGISTRY: Final = Registry()
"""This process's own: metrics are made where a module is imported, as constants of the room that counts."""
