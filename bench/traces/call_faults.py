"""What goes wrong with calls, and what happens to them every day and is no fault.

As in `faults`: sizes go from what an operator would want to know to catastrophe. A fault begins by day, when there are
calls that it harms, and lasts for as many of them that a person who looked would agree.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random

from bench.traces.conditions import DAY, HOUR, MINUTE, Conditions, Effect, Happening
from bench.traces.draw import log_uniform
from bench.traces.faults import Label
from bench.traces.phones import Phones

TWILIO = "twilio-outage"
CALL_CAUSES: Mapping[str, int] = {"down": 3, "degraded": 2, "regions": 2, "numbers": 1, "targets": 2, "doors": 2}
"""By cause: how many of it a trace of 12 faults has."""
_HARMED = 40
"""Calls that a fault meets with at the least."""


def _length(rng: Random, harmed_a_second: float) -> float:
    return min(5 * HOUR, max(log_uniform(rng, 10, 90) * MINUTE, _HARMED / max(harmed_a_second, 1e-6)))


Plan = tuple[str, Effect, float]
"""The particular way, its effect, and how long it lasts."""


def _outside(rng: Random) -> Callable[[Conditions, float], None]:
    """Twilio's API is ill in half of its outages, at once; its page follows in most, after 15 to 30 minutes."""
    api = 2 if rng.random() < 0.5 else 0
    page_after = rng.uniform(15, 30) * MINUTE if rng.random() < 0.7 else 1e9

    def effect(now: Conditions, since: float) -> None:
        now.calls.api = max(now.calls.api, api)
        now.calls.page = max(now.calls.page, 2) if since > page_after else now.calls.page

    return effect


def _down(rng: Random, phones: Phones) -> Plan:
    """No call comes, or none is put through."""
    kind, outside, strength = rng.choice(("nothing comes", "nothing goes")), _outside(rng), rng.uniform(0.85, 1.0)

    def effect(now: Conditions, share: float, since: float) -> None:
        outside(now, since)
        if kind == "nothing comes":
            now.calls.lost = 1.0
        else:
            now.calls.failing = max(now.calls.failing, strength)

    return kind, effect, _length(rng, phones.rate)


def _degraded(rng: Random, phones: Phones) -> Plan:
    """A third to two thirds of all legs fail; or everything rings and nobody hears it."""
    strength, outside, rings = rng.uniform(0.33, 0.6), _outside(rng), rng.random() < 0.25 and phones.rate > 0.1

    def effect(now: Conditions, share: float, since: float) -> None:
        outside(now, since)
        if rings:
            now.calls.ringing = 1.0
        else:
            now.calls.failing = max(now.calls.failing, strength)

    return "rings" if rings else "legs fail", effect, _length(rng, phones.rate * strength)


def _regions(rng: Random, phones: Phones) -> Plan:
    region = rng.choice(phones.regions)
    strength = rng.uniform(0.7, 1.0)

    def effect(now: Conditions, share: float, since: float) -> None:
        now.calls.region, now.calls.of_region = region, strength

    return region, effect, _length(rng, phones.rate * phones.share(region))


def _numbers(rng: Random, phones: Phones) -> Plan:
    """What is called for one number fails, whomever it goes to: its caller ID is blocked."""
    several = [line for line in phones.lines if len({target.name for target in line.targets}) > 1] or phones.lines
    line = max(several, key=lambda one: one.share)

    def effect(now: Conditions, share: float, since: float) -> None:
        now.calls.number, now.calls.of_number = line.phone, 0.97

    return line.phone, effect, _length(rng, phones.rate * line.share)


def _targets(rng: Random, phones: Phones) -> Plan:
    line = max(phones.lines, key=lambda one: one.share * rng.uniform(0.5, 1))

    def effect(now: Conditions, share: float, since: float) -> None:
        now.calls.target, now.calls.of_target = line.targets[0].name, 0.97

    return line.targets[0].name, effect, _length(rng, phones.rate * line.share)


def _doors(rng: Random, phones: Phones) -> Plan:
    kind, strength = rng.choice(("errors", "errors", "slow", "not stored")), rng.uniform(0.3, 1.0)

    def effect(now: Conditions, share: float, since: float) -> None:
        if kind == "errors":
            now.calls.doors = strength
        elif kind == "slow":
            now.calls.door_seconds, now.calls.doors = 9.0, 0.2 * strength
        else:
            now.calls.spools = True

    return kind, effect, _length(rng, phones.rate * 0.3)


_PLANS: Mapping[str, Callable[[Random, Phones], Plan]] = {
    "down": _down,
    "degraded": _degraded,
    "regions": _regions,
    "numbers": _numbers,
    "targets": _targets,
    "doors": _doors,
}


def planned(rng: Random, phones: Phones, cause: str, begin: float) -> tuple[Label, Happening]:
    """A fault of this cause. That of the only region there is is one of Twilio's."""
    kind, effect, length = _PLANS[cause](rng, phones)
    said = "down" if cause == "regions" and len(phones.regions) == 1 else cause
    label = Label(TWILIO, said, kind, begin, begin, begin + length)
    return label, Happening(begin, begin + length, effect)


def busy(rng: Random, phones: Phones, at: float) -> float:
    """The next moment from `at` on at which people call: the trace begins at midnight."""
    hour = at % DAY / HOUR
    if phones.peak - 4 <= hour <= phones.peak + 3:
        return at
    until = (phones.peak - 4 - hour) % 24
    return at + (until + rng.uniform(0, 3)) * HOUR


# Life


def life(rng: Random, phones: Phones, days: float) -> Iterator[Happening]:
    """What happens to calls anyway."""
    for a_day, make in _USUAL:
        at = rng.expovariate(a_day / DAY)
        while at < days * DAY:
            yield make(rng, phones, at)
            at += rng.expovariate(a_day / DAY)


def _holiday(rng: Random, _phones: Phones, at: float) -> Happening:
    """From one hour to the next, a fifth as many call, for a day."""
    left = rng.uniform(0.1, 0.4)

    def effect(now: Conditions, share: float, since: float) -> None:
        now.calls.demand_x *= 1 - (1 - left) * share

    return Happening(at, at + DAY, effect, rise=HOUR, fall=HOUR)


def _campaign(rng: Random, _phones: Phones, at: float) -> Happening:
    times = rng.uniform(2, 5)

    def effect(now: Conditions, share: float, since: float) -> None:
        now.calls.demand_x *= 1 + (times - 1) * share

    return Happening(at, at + rng.uniform(20, 90) * MINUTE, effect, rise=3 * MINUTE, fall=10 * MINUTE)


def _unlucky(rng: Random, _phones: Phones, at: float) -> Happening:
    """A carrier hiccups: for half a minute a tenth of the legs fails."""
    share_failed = rng.uniform(0.05, 0.15)

    def effect(now: Conditions, share: float, since: float) -> None:
        now.calls.failing = max(now.calls.failing, share_failed)

    return Happening(at, at + rng.uniform(10, 60), effect)


def _probe(rng: Random, _phones: Phones, at: float) -> Happening:
    """One look at Twilio's API fails."""

    def effect(now: Conditions, share: float, since: float) -> None:
        now.calls.api = 2

    return Happening(at, at + 9, effect)


def _page(rng: Random, _phones: Phones, at: float) -> Happening:
    """Twilio's page is red about something that we do not notice."""
    level = rng.choice((1, 1, 2))

    def effect(now: Conditions, share: float, since: float) -> None:
        now.calls.page = max(now.calls.page, level)

    return Happening(at, at + rng.uniform(0.5, 5) * HOUR, effect)


def _texts(rng: Random, _phones: Phones, at: float) -> Happening:
    """A merchant's old list: some texts do not arrive, and the Debugger tells of each."""
    rate = rng.uniform(0.01, 0.08)

    def effect(now: Conditions, share: float, since: float) -> None:
        now.calls.alerts, now.calls.code = rate, ("customer", "messaging", "30005")

    return Happening(at, at + rng.uniform(5, 30) * MINUTE, effect)


_USUAL: tuple[tuple[float, Callable[[Random, Phones, float], Happening]], ...] = (
    (0.1, _holiday),
    (0.4, _campaign),
    (6.0, _unlucky),
    (2.0, _probe),
    (0.5, _page),
    (1.0, _texts),
)
"""How often a day, on average."""
