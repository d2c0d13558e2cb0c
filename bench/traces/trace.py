"""A trace: one business, its life, and (maybe) its faults, as frames and labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from bench.traces.business import Business, drawn
from bench.traces.conditions import DAY, HOUR, MINUTE, Conditions, Happening
from bench.traces.faults import CAUSES, Label, planned
from bench.traces.frames import Teller
from bench.traces.life import life
from bench.traces.measures import TICK
from bench.traces.plant import Plant
from holdfast.signals.frame import Frame

WARM_UP = DAY
HEALTHY = (1.6 * HOUR, 3.4 * HOUR)
"""Between the end of a fault and the begin of the next: more than an hour and a half, and no multiple of anything, so
that a few traces have faults at all hours."""
_MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Trace:
    """`frames()` gives the same each time. `warm_up` and the labels' times are seconds since `start`."""

    seed: int
    business: Business
    start: datetime
    seconds: float
    warm_up: float
    labels: tuple[Label, ...]
    happenings: tuple[Happening, ...]

    def frames(self) -> Iterator[Frame]:
        rng = Random(self.seed * 7919 + 1)
        plant, teller = Plant(rng, self.business), Teller(rng, self.business)
        quiet, coming = Conditions(), list(reversed(self.happenings))
        going: list[Happening] = []
        for number in range(1, int(self.seconds / TICK) + 1):
            now = number * TICK
            at = self.start + timedelta(seconds=now)
            while coming and coming[-1].begin < now:
                going.append(coming.pop())
            conditions = quiet
            if going:
                conditions = Conditions()
                over = False
                for one in going:
                    # What is shorter than a tick still happens in one.
                    if one.end <= now - TICK:
                        over = True
                    else:
                        one.apply(conditions, min(now, max(one.end, one.begin)))
                if over:
                    going = [one for one in going if one.end > now - TICK]
            yield teller.frame(at, plant.tick(now, at, conditions), conditions)


def normal(seed: int, days: float, warm_up: float = WARM_UP) -> Trace:
    """So many days after the warm-up, in which life happens and nothing is wrong."""
    rng = Random(seed)
    business = drawn(rng, seed)
    start = _MONDAY + timedelta(days=rng.randrange(7))
    seconds = warm_up + days * DAY
    happenings = life(rng, business, seconds / DAY, holidays=days >= 3)
    return Trace(seed, business, start, seconds, warm_up, (), tuple(happenings))


def faulty(seed: int, faults: int = 18, warm_up: float = WARM_UP) -> Trace:
    """So many faults, one at a time, with healthy time before, between and after them, over the same life.

    With 18, each cause comes as often as `CAUSES` says; fewer are drawn from those.
    """
    rng = Random(seed)
    business = drawn(rng, seed)
    start = _MONDAY + timedelta(days=rng.randrange(7))
    causes = [cause for cause, (_, often) in CAUSES.items() for _ in range(often)]
    while len(causes) < faults:
        causes += [cause for cause, (_, often) in CAUSES.items() for _ in range(often)]
    rng.shuffle(causes)
    at = warm_up + rng.uniform(10 * MINUTE, 2 * HOUR)
    labels, happenings = [], []
    for cause in causes[:faults]:
        label, happening = planned(rng, business, cause).at(cause, at)
        labels.append(label)
        happenings.append(happening)
        at = label.end + rng.uniform(*HEALTHY)
    happenings += life(rng, business, at / DAY, holidays=False)
    happenings.sort(key=lambda one: one.begin)
    return Trace(seed, business, start, at, warm_up, tuple(labels), tuple(happenings))
