"""Random counts, and how many of them fall where: cheap enough to be drawn a dozen times a frame."""

from math import ceil, exp, log, log1p, sqrt
from random import Random
from statistics import NormalDist

from holdfast.signals.sketch import ACCURACY, LEAST

PER_LOG = 1 / (log1p(ACCURACY) - log1p(-ACCURACY))
"""Bins of a sketch for each unit of a value's logarithm."""
_POINTS, _STRATA, _TAIL = 256, 8, 4
_BODY = _STRATA - 1

Bins = dict[int, int]


def poisson(rng: Random, mean: float) -> int:
    """How many of many independent things happened."""
    if mean <= 0.0:
        return 0
    if mean > 15.0:
        return max(0, round(rng.gauss(mean, sqrt(mean))))
    random = rng.random
    left, count, product = exp(-mean), 0, random()
    while product > left:
        count += 1
        product *= random()
    return count


def binomial(rng: Random, count: int, share: float) -> int:
    """How many of `count` met with what `share` of them meet with."""
    if count <= 0 or share <= 0.0:
        return 0
    if share >= 1.0:
        return count
    if count <= 8:
        hits, random = 0, rng.random
        for _ in range(count):
            if random() < share:
                hits += 1
        return hits
    mean = count * share
    if mean < 10.0:
        return min(count, poisson(rng, mean))
    return min(count, max(0, round(rng.gauss(mean, sqrt(mean * (1 - share))))))


def whole(rng: Random, amount: float) -> int:
    """A whole number that is `amount` on average: a rate below one in a tick is one in some of them."""
    down = int(amount)
    return down + (rng.random() < amount - down)


def log_uniform(rng: Random, low: float, high: float) -> float:
    return low * exp(log(high / low) * rng.random())


class Shape:
    """A lognormal distribution around any median, as the bins of a sketch."""

    def __init__(self, sigma: float, tail: float = 0.0) -> None:
        """`tail` widens the slowest few per cent: real latencies have more of it than a lognormal."""
        normal = NormalDist()
        points = [normal.inv_cdf((number + 0.5) / _POINTS) for number in range(_POINTS)]
        stretched = [sigma * z * (1 + tail * max(0.0, z - 1.5)) for z in points]
        self._offsets = [round(value * PER_LOG) for value in stretched]
        # One value of each eighth, and of the slowest eighth one of each quarter, are a fair picture of many.
        width, part = _POINTS // _STRATA, _POINTS // _STRATA // _TAIL
        starts = [(number * width, width) for number in range(_STRATA - 1)]
        starts += [(_POINTS - width + number * part, part) for number in range(_TAIL)]
        self._patterns = [
            tuple(self._offsets[start + (place * (3 + number)) % size] for number, (start, size) in enumerate(starts))
            for place in range(width)
        ]
        self._mean = sum(exp(value) for value in stretched) / _POINTS

    def observe(self, rng: Random, bins: Bins, count: int, median: float) -> float:
        """Put `count` values into the bins; returns about their sum. Many are put by strata: it costs less."""
        if count <= 0:
            return 0.0
        key = ceil(log(median if median > LEAST else LEAST) * PER_LOG)
        offsets, random = self._offsets, rng.random
        if count == 1:
            at = key + offsets[int(random() * _POINTS)]
            bins[at] = bins.get(at, 0) + 1
        elif count <= _STRATA:
            for _ in range(count):
                at = key + offsets[int(random() * _POINTS)]
                bins[at] = bins.get(at, 0) + 1
        else:
            pattern, get = self._patterns[int(random() * len(self._patterns))], bins.get
            each = count // _STRATA
            slowest = each // _TAIL
            for offset in pattern[:_BODY]:
                at = key + offset
                bins[at] = get(at, 0) + each
            if slowest:
                for offset in pattern[_BODY:]:
                    at = key + offset
                    bins[at] = get(at, 0) + slowest
            left = count - each * _BODY - slowest * _TAIL
            if left:
                at = key + offsets[int(random() * _POINTS)]
                bins[at] = get(at, 0) + left
        return count * median * self._mean


QUICK = Shape(0.35, 0.4)
"""What a process does by itself or with its database."""
REMOTE = Shape(0.7, 0.5)
"""What others take to answer."""
AGES = Shape(0.05)
"""Works that waited in line together."""
