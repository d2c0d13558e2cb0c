"""A sketch of a distribution: quantiles within 1 %, whatever the values are, that add up over processes and time.

Source: DDSketch (Masson, Rim, Lee, PVLDB 12(12), 2019) with logarithmic mapping: bin k counts the values in
(g^(k-1), g^k].
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from math import ceil, exp, log, log1p

ACCURACY = 0.01
LEAST, MOST = 1e-6, 1e7
"""Values outside count as these; so a sketch has at most about 1,500 bins. In seconds: a microsecond to four months."""
_LOG_GAMMA = log1p(ACCURACY) - log1p(-ACCURACY)
_PER_LOG = 1 / _LOG_GAMMA
_LOWEST, _HIGHEST = ceil(log(LEAST) * _PER_LOG), ceil(log(MOST) * _PER_LOG)
_MIDDLE = 2 / (1 + exp(_LOG_GAMMA))


class Sketch:
    """How many values fell into each bin, and their sum."""

    __slots__ = ("bins", "total")

    def __init__(self, bins: Mapping[int, int] | None = None, total: float = 0.0) -> None:
        self.bins = dict(bins or {})
        self.total = total

    def observe(self, value: float) -> None:
        """Count a value; what is not above 0, not a number included, counts as the least."""
        if LEAST < value < MOST:
            key = ceil(log(value) * _PER_LOG)
        elif value >= MOST:
            key, value = _HIGHEST, MOST
        else:
            key, value = _LOWEST, 0.0
        try:
            self.bins[key] += 1
        except KeyError:
            self.bins[key] = 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.bins.values())

    def quantile(self, share: float) -> float | None:
        """The value below which `share` (0 to 1) of all values are, within 1 %; None while there are none."""
        rank = share * (self.count - 1)
        below = 0
        for key in sorted(self.bins):
            below += self.bins[key]
            if below > rank:
                return _MIDDLE * exp(key * _LOG_GAMMA)
        return None

    def add(self, other: "Sketch") -> None:
        for key, count in other.bins.items():
            self.bins[key] = self.bins.get(key, 0) + count
        self.total += other.total

    def since(self, earlier: "Sketch") -> "Sketch":
        """What was observed after `earlier`, a copy of this one, was made."""
        news = {key: count - earlier.bins.get(key, 0) for key, count in self.bins.items()}
        return Sketch({key: count for key, count in news.items() if count}, self.total - earlier.total)

    def copy(self) -> "Sketch":
        return Sketch(self.bins, self.total)

    def at_most(self, value: float) -> int:
        """How many values were at most `value`; up to 2 % above counts as that."""
        return sum(count for key, count in self.bins.items() if _lower_edge(key) < value)

    def histogram(self, bounds: tuple[float, ...]) -> list[int]:
        """How many values were at most each bound, but above the one before; at last, those above all."""
        counts = [0] * (len(bounds) + 1)
        for key, count in self.bins.items():
            counts[bisect_left(bounds, _lower_edge(key) * (1 + 1e-9))] += count
        return counts


def merged(sketches: Iterable[Sketch]) -> Sketch:
    whole = Sketch()
    for sketch in sketches:
        whole.add(sketch)
    return whole


def _lower_edge(key: int) -> float:
    return exp((key - 1) * _LOG_GAMMA)
