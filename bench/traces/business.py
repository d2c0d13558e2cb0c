"""One company that runs Holdfast: how large, how busy when, on what machines. Drawn once for each seed.

Assumed: from a shop with an event every five seconds to a platform with eighty a second. Capacity was bought for a
multiple of the usual peak, as people do who have seen a holiday: 7 to 16 times (small ones run on the smallest machine
there is, which is more than they need). Rhythm is that of people: a peak by day, a trough by night, other weekends.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import cos, pi
from random import Random

from bench.traces.draw import log_uniform

SMALLEST, LARGEST = 0.2, 80.0
"""Events a second, on average."""
_SIZES = 6


@dataclass(frozen=True, slots=True)
class Business:
    rate: float
    """Events a second, averaged over a usual weekday."""
    lanes: tuple[float, float, float]
    """Shares of critical, standard and bulk events; they add up to 1."""
    planned: tuple[float, float, float]
    """Deliveries for each event of a lane."""
    kinds: tuple[float, float]
    """Shares of deliveries that go to merchants' webhooks and to the company's application; the rest is e-mail."""
    swing: float
    """How far day and night are from the average, 0 to 1."""
    peak: float
    """Hour of the day."""
    weekend: float
    """Factor on Saturday and Sunday."""
    route_capacity: float
    """Events a second that all workers route at most."""
    web_capacity: float
    """Webhooks a second that the web process answers at most."""
    slots: float
    """Tries to deliver that may be under way at once."""
    destination_seconds: float
    """Median of what destinations take to answer."""
    failing: float
    """Share of tries that fail on any day."""
    chronic: float
    """Share of deliveries to destinations that their merchants forgot and that never answer; mostly 0."""
    duplicates: float
    """Share of events that Stripe sends twice on any day."""
    answer_seconds: float
    round_trip: float
    """Seconds of an empty statement."""
    hosts: tuple[str, str]
    """Of the web process and of the workers; the same for small ones."""
    cpu: float
    memory: float
    disk: float
    """Shares in use by night and without load."""
    host_bytes: float
    connections: float
    database_bytes: float
    stripe_patience: float
    """Seconds, about, until Stripe sends an event again for the first time."""
    api_key: bool
    """Without one, Stripe's API is not probed: the check is absent."""

    @property
    def deliveries(self) -> float:
        """Deliveries for an event, over all lanes."""
        return sum(share * planned for share, planned in zip(self.lanes, self.planned, strict=True))

    def rhythm(self, at: datetime) -> float:
        """The factor of the hour and the weekday; weekends begin and end smoothly around midnight."""
        hour = at.hour + at.minute / 60 + at.second / 3600
        day = 1 + self.swing * cos((hour - self.peak) * pi / 12)
        half = timedelta(hours=2)
        weekend = ((at - half).weekday() >= 5) + ((at + half).weekday() >= 5)
        if weekend == 1:
            into = ((hour + 2) % 24) / 4
            share = into if (at + half).weekday() >= 5 else 1 - into
        else:
            share = weekend / 2
        return day * (1 + (self.weekend - 1) * share)


def drawn(rng: Random, seed: int) -> Business:
    """Consecutive seeds go through small, middling and large, so that a few of them cover the range."""
    position = (seed % _SIZES + rng.random()) / _SIZES
    rate = SMALLEST * (LARGEST / SMALLEST) ** position
    swing = rng.uniform(0.4, 0.75)
    weights = (rng.uniform(0.25, 0.5), rng.uniform(0.15, 0.35), rng.uniform(0.2, 0.5))
    lanes = tuple(weight / sum(weights) for weight in weights)
    capacity = max(25.0, rate * (1 + swing) * rng.uniform(7, 16))
    planned = (rng.uniform(0.8, 1.4), rng.uniform(0.3, 0.8), rng.uniform(0.02, 0.3))
    seconds = log_uniform(rng, 0.08, 0.4)
    deliveries = sum(share * each for share, each in zip(lanes, planned, strict=True))
    large = rate > 8
    return Business(
        rate=rate,
        lanes=(lanes[0], lanes[1], lanes[2]),
        planned=planned,
        kinds=(rng.uniform(0.5, 0.7), rng.uniform(0.2, 0.3)),
        swing=swing,
        peak=rng.uniform(11, 19),
        weekend=rng.uniform(0.5, 1.25),
        route_capacity=capacity,
        web_capacity=max(1200.0, capacity * rng.uniform(4, 8)),
        slots=max(32.0, 1.5 * capacity * deliveries * seconds * rng.uniform(1, 2)),
        destination_seconds=seconds,
        failing=log_uniform(rng, 0.001, 0.02),
        chronic=log_uniform(rng, 0.0005, 0.003) if rng.random() < 0.33 else 0.0,
        duplicates=log_uniform(rng, 0.001, 0.02),
        answer_seconds=log_uniform(rng, 0.003, 0.012),
        round_trip=log_uniform(rng, 0.0004, 0.0025),
        hosts=("web-1", "worker-1") if large else ("app-1", "app-1"),
        cpu=rng.uniform(0.04, 0.2),
        memory=rng.uniform(0.3, 0.62),
        disk=rng.uniform(0.25, 0.68),
        host_bytes=float(2 ** rng.randint(1, 3) * (4 if large else 1)) * 2**30,
        connections=rng.uniform(0.12, 0.35),
        database_bytes=log_uniform(rng, 2e8, 2e11),
        stripe_patience=log_uniform(rng, 30, 120),
        api_key=rng.random() < 0.8,
    )
