"""A trace: one business, its life, and (maybe) its faults, as frames and labels."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from bench.traces.business import Business, drawn
from bench.traces.call_faults import CALL_CAUSES, busy
from bench.traces.call_faults import life as call_life
from bench.traces.call_faults import planned as planned_call_fault
from bench.traces.calling import Calling
from bench.traces.conditions import DAY, HOUR, MINUTE, Conditions, Happening
from bench.traces.faults import CAUSES, Label, planned
from bench.traces.frames import Teller
from bench.traces.life import life
from bench.traces.measures import TICK
from bench.traces.phones import Phones
from bench.traces.phones import drawn as drawn_phones
from bench.traces.plant import Plant
from bench.traces.text_faults import TEXT_CAUSES, by_day
from bench.traces.text_faults import planned as planned_text_fault
from bench.traces.texting import Texting
from bench.traces.texting import drawn as drawn_texters
from holdfast.signals.buckets import Data, Levels, Spreads
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
    phones: Phones

    def frames(self) -> Iterator[Frame]:
        rng = Random(self.seed * 7919 + 1)
        plant, teller = Plant(rng, self.business), Teller(rng, self.business)
        calling = Calling(Random(self.seed * 7919 + 3), self.phones)
        texting = Texting(Random(self.seed * 7919 + 5), drawn_texters(self.seed))
        api = 0
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
            frame = teller.frame(at, plant.tick(now, at, conditions), conditions)
            if number % 3 == 0:
                api = conditions.calls.api  # it is asked every 15 s
            told = calling.tick(at, conditions) | texting.tick(at, conditions)
            yield _with_calls(frame, told, api, conditions.calls.page)


def normal(seed: int, days: float, warm_up: float = WARM_UP) -> Trace:
    """So many days after the warm-up, in which life happens and nothing is wrong."""
    rng = Random(seed)
    business = drawn(rng, seed)
    start = _MONDAY + timedelta(days=rng.randrange(7))
    seconds = warm_up + days * DAY
    happenings = life(rng, business, seconds / DAY, holidays=days >= 3)
    phones = drawn_phones(seed)
    happenings += call_life(Random(seed * 31 + 7), phones, seconds / DAY)
    happenings.sort(key=lambda one: one.begin)
    return Trace(seed, business, start, seconds, warm_up, (), tuple(happenings), phones)


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
    phones = drawn_phones(seed)
    happenings += call_life(Random(seed * 31 + 7), phones, at / DAY)
    happenings.sort(key=lambda one: one.begin)
    return Trace(seed, business, start, at, warm_up, tuple(labels), tuple(happenings), phones)


def faulty_calls(seed: int, faults: int = 12, warm_up: float = WARM_UP) -> Trace:
    """So many faults of calls, one at a time and by day. With 12, as often as `CALL_CAUSES` says."""
    phones = drawn_phones(seed)

    def plan(rng: Random, cause: str, at: float) -> tuple[Label, Happening]:
        return planned_call_fault(rng, phones, cause, busy(rng, phones, at))

    return _by_day(seed, faults, warm_up, CALL_CAUSES, plan)


def faulty_texts(seed: int, faults: int = 12, warm_up: float = WARM_UP) -> Trace:
    """So many faults of consent, one at a time and by day. With 12, as often as `TEXT_CAUSES` says."""

    def plan(rng: Random, cause: str, at: float) -> tuple[Label, Happening]:
        return planned_text_fault(rng, cause, by_day(rng, at))

    return _by_day(seed, faults, warm_up, TEXT_CAUSES, plan)


def _by_day(
    seed: int,
    faults: int,
    warm_up: float,
    often: Mapping[str, int],
    plan: Callable[[Random, str, float], tuple[Label, Happening]],
) -> Trace:
    """`plan` gives the first fault of a cause that may begin from that moment on."""
    rng = Random(seed)
    business, phones = drawn(rng, seed), drawn_phones(seed)
    start = _MONDAY + timedelta(days=rng.randrange(7))
    causes = [cause for cause, count in often.items() for _ in range(count)]
    causes *= -(-faults // len(causes))
    rng.shuffle(causes)
    labels, happenings, at = [], [], warm_up
    for cause in causes[:faults]:
        label, happening = plan(rng, cause, at)
        labels.append(label)
        happenings.append(happening)
        at = label.end + rng.uniform(*HEALTHY)
    happenings += life(rng, business, at / DAY, holidays=False)
    happenings += call_life(Random(seed * 31 + 7), phones, at / DAY)
    happenings.sort(key=lambda one: one.begin)
    return Trace(seed, business, start, at, warm_up, tuple(labels), tuple(happenings), phones)


def _with_calls(frame: Frame, calls: Mapping[str, Data], api: int, page: int) -> Frame:
    """What the web process says of calls, beside the rest: it is one registry."""
    data = dict(frame.data)
    for name, series in calls.items():
        there = data.get(name)
        if isinstance(there, Spreads) and isinstance(series, Spreads):
            data[name] = Spreads({**there.series, **series.series})
        else:
            data[name] = series
    checks = data.get("health_check")
    if isinstance(checks, Levels):
        told = {"twilio:api": float(api), "twilio:statusPage": float(page), "twilio:components": float(page)}
        data["health_check"] = Levels({**checks.series, **told})
    return Frame(frame.at, data)
