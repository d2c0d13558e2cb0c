"""The phones of one company: numbers, whom they ring, how many call when. Drawn once for each seed.

Assumed: from eighteen calls an hour by day to three a second, in one to four regions. One to three targets a number,
some of them shared. Two in three companies have a target that its merchant forgot: what is called there always fails,
seldom enough. Nearly nobody calls by night.
"""

from dataclasses import dataclass
from datetime import datetime
from math import cos, pi
from random import Random

from bench.traces.draw import log_uniform

SLOWEST, FASTEST = 0.005, 3.0
"""Calls a second by day."""
_SIZES = 6
_REGIONS = ("US", "GB", "DE", "CA")


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    region: str


@dataclass(frozen=True, slots=True)
class Line:
    """A number, its share of all calls, and whom it rings, one after the other."""

    phone: str
    region: str
    share: float
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Phones:
    rate: float
    """Calls a second at the busiest hour."""
    peak: float
    weekend: float
    lines: tuple[Line, ...]
    regions: tuple[str, ...]
    failing: float
    """Share of legs that fail on any day."""
    answered: float
    """Share of legs that somebody answers."""
    forgotten: Target | None
    alerts: float
    """Of the Debugger, a second, about texts that were not delivered and the like."""

    def rhythm(self, at: datetime) -> float:
        """Near 1 for the hours around noon, near 0.02 by night."""
        hour = at.hour + at.minute / 60
        day = max(0.02, min(1.0, 0.55 + 0.75 * cos((hour - self.peak) * pi / 12)))
        return day * (self.weekend if at.weekday() >= 5 else 1.0)

    def share(self, region: str) -> float:
        """Of the calls that go to targets there."""
        return sum(line.share for line in self.lines if line.targets[0].region == region)


def drawn(seed: int) -> Phones:
    """From a generator of its own: a company's payments are the same with phones and without."""
    rng = Random(seed * 6007 + 11)
    position = (seed % _SIZES + rng.random()) / _SIZES
    rate = SLOWEST * (FASTEST / SLOWEST) ** position
    regions = _REGIONS[: 1 + min(3, int(rng.uniform(0, 2) + 2 * position))]
    count = 4 + int(30 * position * rng.uniform(0.6, 1.4))
    weights = [log_uniform(rng, 1, 12) for _ in range(count)]
    lines: list[Line] = []
    for number in range(count):
        region = regions[number % len(regions)] if number < 2 * len(regions) else rng.choice(regions)
        own = [Target(f"{region}-{number}-{place}", region) for place in range(rng.randint(1, 3))]
        near = [line for line in lines if line.region == region]
        if near and rng.random() < 0.25:
            own[-1] = rng.choice(near).targets[-1]
        lines.append(Line(f"n{number}", region, weights[number] / sum(weights), tuple(own)))
    return Phones(
        rate=rate,
        peak=rng.uniform(12, 15),
        weekend=rng.uniform(0.15, 0.9),
        lines=tuple(lines),
        regions=tuple(regions),
        failing=log_uniform(rng, 0.003, 0.03),
        answered=rng.uniform(0.5, 0.85),
        forgotten=lines[-1].targets[0] if rng.random() < 0.67 else None,
        alerts=log_uniform(rng, 0.0002, 0.01) * (1 + 3 * position),
    )
