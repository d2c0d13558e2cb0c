"""What a process counted in each interval of a few seconds: the history that detectors and plots read.

A bucket holds all series of one signal that changed, as one small blob. Buckets of several processes add up when read;
a minute's and an hour's are made of them (`rollup`).
"""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from holdfast.signals.registry import Counter, Distribution, Gauge, Labels, Over, Registry
from holdfast.signals.sketch import Sketch

FINEST = 5
"""Seconds that a process's own buckets are apart."""
NEW = 15
"""Seconds within which somebody must have said what is so now."""
_MOST_PENDING = 60
_SEPARATOR = "\x1f"


class Counts(msgspec.Struct, tag="c", array_like=True):
    """What was counted in the bucket's time."""

    series: dict[str, float]


class Levels(msgspec.Struct, tag="g", array_like=True):
    """A gauge at the bucket's end; in rolled up buckets its mean over the time."""

    series: dict[str, float]
    over: Over = "max"


class Spreads(msgspec.Struct, tag="d", array_like=True):
    """What was observed in the bucket's time: the sum and the sketch's bins."""

    series: dict[str, tuple[float, dict[int, int]]]


Data = Counts | Levels | Spreads
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Data).decode


@dataclass(frozen=True, slots=True)
class Bucket:
    """One signal over `seconds` that end at `at`."""

    name: str
    at: datetime
    seconds: int
    data: Data


def joined(labels: Labels) -> str:
    return _SEPARATOR.join(labels)


def parted(text: str) -> Labels:
    return tuple(text.split(_SEPARATOR)) if text else ()


def levels_of(metric: Gauge) -> Levels:
    """A gauge as this process has it."""
    return Levels({joined(labels): value for labels, value in metric.values.items()}, metric.over)


class Buckets:
    """Takes a registry's news; keeps them until they are stored, five minutes at most."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._counts: dict[str, dict[Labels, float]] = {}
        self._sketches: dict[str, dict[Labels, Sketch]] = {}
        self.pending: list[Bucket] = []
        self._taken: list[int] = []

    def take(self, now: datetime) -> list[Bucket]:
        """Make this interval's buckets; returns all that are not stored yet."""
        news = [
            Bucket(metric.name, now, FINEST, data)
            for metric in self._registry
            if (data := self._news(metric)) is not None
        ]
        self.pending += news
        self._taken.append(len(news))
        while len(self._taken) > _MOST_PENDING:
            del self.pending[: self._taken.pop(0)]
        return list(self.pending)

    def stored(self, count: int) -> None:
        """The first `count` of the pending ones are stored."""
        del self.pending[:count]
        self._taken = [len(self.pending)] if self.pending else []

    def _news(self, metric: Counter | Gauge | Distribution) -> Data | None:
        if isinstance(metric, Gauge):
            return levels_of(metric) if metric.values else None
        if isinstance(metric, Counter):
            before, current = self._counts.get(metric.name, {}), dict(metric.values)
            self._counts[metric.name] = current
            counts = {joined(labels): value - before.get(labels, 0.0) for labels, value in current.items()}
            counts = {labels: amount for labels, amount in counts.items() if amount}
            return Counts(counts) if counts else None
        return self._spread(metric)

    def _spread(self, metric: Distribution) -> Spreads | None:
        earlier = self._sketches.setdefault(metric.name, {})
        spreads: dict[str, tuple[float, dict[int, int]]] = {}
        for labels, sketch in list(metric.values.items()):
            before = earlier.get(labels)
            news = sketch.since(before) if before is not None else sketch.copy()
            if news.bins:
                spreads[joined(labels)] = (news.total, news.bins)
                earlier[labels] = sketch.copy()
        return Spreads(spreads) if spreads else None
