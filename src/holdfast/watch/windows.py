"""The few statistics that detectors are made of: sums over the last ticks, what is usual, how surprising a count is."""

from bisect import bisect_left, insort
from collections import deque
from math import log

from holdfast.signals.buckets import FINEST
from holdfast.signals.sketch import Sketch


def ticks(seconds: float) -> int:
    """How many frames make so many seconds."""
    return max(1, round(seconds / FINEST))


class Window:
    """The sum of a value over the last `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._values: deque[float] = deque(maxlen=ticks(seconds))
        self.total = 0.0

    def add(self, value: float) -> None:
        if len(self._values) == self._values.maxlen:
            self.total -= self._values[0]
        self._values.append(value)
        self.total += value
        if len(self._values) == 1 or not self.total:
            self.total = sum(self._values)  # rounding must not pile up

    @property
    def ticks(self) -> int:
        """How long it is."""
        return ticks(self.seconds)

    @property
    def mean(self) -> float:
        return self.total / len(self._values) if self._values else 0.0

    @property
    def rate(self) -> float:
        """A second."""
        return self.mean / FINEST

    @property
    def first(self) -> float:
        """The oldest value in the window."""
        return self._values[0] if self._values else 0.0

    @property
    def last(self) -> float:
        return self._values[-1] if self._values else 0.0

    @property
    def least(self) -> float:
        return min(self._values, default=0.0)

    @property
    def is_full(self) -> bool:
        return len(self._values) == self._values.maxlen


class SketchWindow:
    """What was observed in the last `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._sketches: deque[Sketch] = deque(maxlen=ticks(seconds))

    def add(self, sketch: Sketch) -> None:
        self._sketches.append(sketch)

    @property
    def count(self) -> int:
        return sum(sketch.count for sketch in self._sketches)

    def quantile(self, share: float) -> float | None:
        whole = Sketch()
        for sketch in self._sketches:
            whole.add(sketch)
        return whole.quantile(share)


class Usual:
    """What a value usually is: the median of its minutes over the last hours, which a few bad ones do not move.

    Minutes in which it is known to be unusual are not learned; but a new level that stays for as long as the memory is
    the usual one then.
    """

    def __init__(self, minutes: int = 120, *, least: int = 10) -> None:
        """Unknown until `least` minutes were seen."""
        self._minutes: deque[float] = deque(maxlen=minutes)
        self._sorted: list[float] = []
        self._least = least
        self._sum = 0.0
        self._ticks = 0
        self._is_strange = False

    def add(self, value: float, *, strange: bool = False) -> None:
        """A tick's value; of a minute with a strange one, nothing is learned."""
        self._sum += value
        self._ticks += 1
        self._is_strange |= strange
        if self._ticks < ticks(60):
            return
        if not self._is_strange:
            self._learn(self._sum / self._ticks)
        self._sum, self._ticks, self._is_strange = 0.0, 0, False

    def _learn(self, minute: float) -> None:
        if len(self._minutes) == self._minutes.maxlen:
            del self._sorted[bisect_left(self._sorted, self._minutes[0])]
        self._minutes.append(minute)
        insort(self._sorted, minute)

    @property
    def is_known(self) -> bool:
        return len(self._minutes) >= self._least

    @property
    def value(self) -> float | None:
        """A tick's usual value; None while unknown."""
        return self._sorted[len(self._sorted) // 2] if self.is_known else None

    @property
    def rate(self) -> float:
        """A second, usually; 0 while unknown."""
        return (self.value or 0.0) / FINEST


def surprise(count: float, expected: float) -> float:
    """How surprising it is to count so many or more where `expected` are usual: -ln of at most that probability.

    Chernoff's bound for a Poisson count; 0 where it is no more than expected. 7 is one in 1,000, 14 one in a million.
    """
    if count <= expected:
        return 0.0
    if expected <= 0:
        return count * 10.0
    return count * log(count / expected) - (count - expected)
