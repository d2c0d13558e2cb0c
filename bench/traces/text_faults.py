"""What goes wrong with consent. As in `call_faults`: by day, from what one would want to know to catastrophe."""

from collections.abc import Callable, Mapping
from random import Random

from bench.traces.conditions import DAY, HOUR, MINUTE, Conditions, Effect, Happening
from bench.traces.draw import log_uniform
from bench.traces.faults import Label

CONSENT = "consent-complaint"
TEXT_CAUSES: Mapping[str, int] = {
    "batch": 2,
    "form": 1,
    "merchant": 2,
    "complaint": 3,
    "bypass": 2,
    "keyword_loop": 1,
    "sync": 1,
}
"""By cause: how many of it a trace of 12 faults has."""
_QUIET = 4 * HOUR
"""How long people still stop a campaign that is over: until then nothing else is called a false alarm."""


def _bad(name: str) -> Callable[[Random], tuple[str, Effect, float, float]]:
    """A campaign of which 8 to 30 % stop: to people who never agreed, or who agreed to something else."""

    def plan(rng: Random) -> tuple[str, Effect, float, float]:
        texts, length, stops = log_uniform(rng, 300, 5000), rng.uniform(15, 60) * MINUTE, rng.uniform(0.08, 0.3)

        def effect(now: Conditions, share: float, since: float) -> None:
            setattr(now.texts, name, texts / length)
            now.texts.stop_share = stops

        return f"{texts:.0f} texts, {stops:.0%} stop", effect, length, _QUIET

    return plan


def _complaint(rng: Random) -> tuple[str, Effect, float, float]:
    length = rng.uniform(10, 90) * MINUTE

    def effect(now: Conditions, share: float, since: float) -> None:
        now.texts.complaints, now.texts.due = 1, HOUR - since

    return f"answered after {length / MINUTE:.0f} min", effect, length, 0.0


def _bypass(rng: Random) -> tuple[str, Effect, float, float]:
    rate = log_uniform(rng, 0.01, 2)

    def effect(now: Conditions, share: float, since: float) -> None:
        now.texts.bypass_rate = rate

    return f"{rate:.2f} texts/s", effect, rng.uniform(20, 90) * MINUTE, 10 * MINUTE


def _loop(rng: Random) -> tuple[str, Effect, float, float]:
    every = rng.uniform(5, 40)

    def effect(now: Conditions, share: float, since: float) -> None:
        now.texts.keyword_rate = 1 / every

    return f"every {every:.0f} s", effect, rng.uniform(20, 60) * MINUTE, HOUR


def _sync(rng: Random) -> tuple[str, Effect, float, float]:
    rate = log_uniform(rng, 0.03, 2)

    def effect(now: Conditions, share: float, since: float) -> None:
        now.texts.tries_rate = rate

    return f"{rate:.2f} tries/s", effect, rng.uniform(20, 60) * MINUTE, HOUR


_PLANS: Mapping[str, Callable[[Random], tuple[str, Effect, float, float]]] = {
    "batch": _bad("batch_rate"),
    "form": _bad("form_rate"),
    "merchant": _bad("merchant_rate"),
    "complaint": _complaint,
    "bypass": _bypass,
    "keyword_loop": _loop,
    "sync": _sync,
}


def planned(rng: Random, cause: str, begin: float) -> tuple[Label, Happening]:
    """A fault of this cause; its label ends when what it left behind is over."""
    kind, effect, length, after = _PLANS[cause](rng)
    label = Label(CONSENT, cause, kind, begin, begin, begin + length + after)
    return label, Happening(begin, begin + length, effect)


def by_day(rng: Random, at: float) -> float:
    """The next moment from `at` on at which people are texted: the trace begins at midnight."""
    hour = at % DAY / HOUR
    if 8.5 <= hour <= 17:
        return at
    return at + ((8.5 - hour) % 24 + rng.uniform(0, 2)) * HOUR
