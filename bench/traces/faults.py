"""What goes wrong, and what the judge calls it.

**Begin** is when something begins to change, **onset** when harm begins, **end** when the cause is gone and what it
left behind is worked off. Sudden faults harm at once: onset is begin. What comes by and by (ramps of 1 to 15 minutes,
leaks, a disk that fills) harms from where it has half of its final effect: an operator who looked then would agree. For
memory and disk, the effect is what is in use beyond the usual; all end above 93 %, so half of it is well off the usual.

Sizes go from what an operator would want to know to catastrophe. Nothing is a fault that changes nothing for anybody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from bench.traces.business import Business
from bench.traces.conditions import MINUTE, Conditions, Effect, Happening
from bench.traces.draw import log_uniform

STORM, BACKLOG, SLOW = "stripe-retry-storm", "webhook-backlog", "performance-degradation"
CAUSES: Mapping[str, tuple[str, int]] = {
    "stripe": (STORM, 3),
    "ours": (STORM, 3),
    "spike": (BACKLOG, 2),
    "sustained": (BACKLOG, 3),
    "cpu": (SLOW, 1),
    "memory": (SLOW, 1),
    "disk": (SLOW, 1),
    "database": (SLOW, 2),
    "pool": (SLOW, 1),
    "event_loop": (SLOW, 1),
}
"""By cause: the runbook that is right, and how many of it a trace of 18 faults has."""


@dataclass(frozen=True, slots=True)
class Label:
    """What is true about one fault; times in seconds of the trace. `kind` is the particular way, for reading only."""

    runbook: str
    cause: str
    kind: str
    begin: float
    onset: float
    end: float


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault's effect, how long it takes to rise and lasts, and how long what it leaves takes to be worked off."""

    kind: str
    effect: Effect
    rise: float
    length: float
    after: float = 0.0

    def at(self, cause: str, begin: float) -> tuple[Label, Happening]:
        fall = min(60.0, self.length / 10)
        label = Label(
            CAUSES[cause][0], cause, self.kind, begin, begin + self.rise / 2, begin + self.length + self.after
        )
        return label, Happening(begin, begin + self.length, self.effect, self.rise, fall)


def planned(rng: Random, business: Business, cause: str) -> Planned:
    return _PLANS[cause](rng, business)


def _rise(rng: Random) -> float:
    """Sudden in half of all cases."""
    return 0.0 if rng.random() < 0.5 else rng.uniform(1, 15) * MINUTE


def _length(rng: Random, rise: float = 0.0) -> float:
    return log_uniform(rng, 10, 90) * MINUTE + rise / 2


# Retry storms


def _stripe(rng: Random, business: Business) -> Planned:
    """Stripe sends what we acknowledged again, 2 to 29 times what is usual, and in most cases new events late.

    At least one in two seconds, or nobody would call it a storm. The status page follows in half of the cases, after 15
    to 30 minutes; the API is ill in a third of them.
    """
    rate = max(0.5, business.rate * log_uniform(rng, 2, 29))
    late_share = rng.uniform(0.3, 1) if rng.random() < 0.6 else 0.0
    age = log_uniform(rng, 2, 60) * MINUTE
    page_after = rng.uniform(15, 30) * MINUTE if rng.random() < 0.5 else 1e9
    api_after = rng.uniform(0, 5) * MINUTE if rng.random() < 0.35 else 1e9
    page, api = rng.choice((1, 2)), rng.choice((1, 2))

    def effect(now: Conditions, share: float, since: float) -> None:
        now.resent += rate * share
        now.late_share, now.late_age = max(now.late_share, late_share * share), max(now.late_age, age)
        now.page = max(now.page, page) if since > page_after else now.page
        now.api = max(now.api, api) if since > api_after else now.api

    rise = _rise(rng)
    return Planned("resends" if not late_share else "resends and late", effect, rise, _length(rng, rise))


def _ours(rng: Random, business: Business) -> Planned:
    kind = rng.choice(("slow answers", "refused", "router fails"))
    rise = _rise(rng)
    strength = rng.uniform(0.3, 1.0)
    if kind == "slow answers":

        def effect(now: Conditions, share: float, since: float) -> None:
            """Commits of the inbox stall: answers come when Stripe has hung up."""
            now.slow_answers = max(now.slow_answers, strength * share)
            now.answer_more += 2.0 * strength * share

    elif kind == "refused":

        def effect(now: Conditions, share: float, since: float) -> None:
            """503: the inbox does not take events. What is not taken comes again."""
            now.refused = max(now.refused, strength * share)

    else:
        resent = max(0.2, business.rate * rng.uniform(0.3, 1.5))

        def effect(now: Conditions, share: float, since: float) -> None:
            """A release cannot route some events. Those who miss them have Stripe send them again."""
            now.router_failing = max(now.router_failing, strength * share)
            now.resent += resent * share

    return Planned(kind, effect, rise, _length(rng, rise))


# Backlogs


def _spike(rng: Random, business: Business) -> Planned:
    """Genuine new events, more than can be done, for 3 to 12 minutes; then it drains. Ten minutes in all, or more."""
    over = log_uniform(rng, 1.4, 4)
    burst = max(rng.uniform(3, 12), 10 / (1 + 1.2 * (over - 1))) * MINUTE
    rate = business.route_capacity * over

    def effect(now: Conditions, share: float, since: float) -> None:
        now.extra += rate * share

    rise = rng.choice((0.0, rng.uniform(10, 60)))
    return Planned("spike", effect, rise, burst, after=min(60 * MINUTE, burst * (over - 1) * 1.2))


def _sustained(rng: Random, business: Business) -> Planned:
    """Less can be done than is asked for: a third of it at most, or nothing. Seldom, more is asked for, for long."""
    kind = rng.choice(("workers died", "workers stuck", "slow destinations", "slow destinations", "too much"))
    rise, left = _rise(rng), rng.choice((0.0, rng.uniform(0.03, 0.33)))
    length = _length(rng, rise)
    seconds, failing, rate = rng.uniform(4, 13), rng.uniform(0.2, 0.8), business.route_capacity * rng.uniform(1.15, 1.6)
    # What is left over is worked off at several times the usual rate.
    after = length / 6
    if kind == "workers died":
        rise = 0.0

        def effect(now: Conditions, share: float, since: float) -> None:
            now.workers_gone = True

    elif kind == "workers stuck":

        def effect(now: Conditions, share: float, since: float) -> None:
            limit = left if share >= 1 else left + 1.5 * (1 - share)
            now.route_limit, now.deliver_limit = min(now.route_limit, limit), min(now.deliver_limit, limit)

    elif kind == "slow destinations":
        left = max(left, 0.05)

        def effect(now: Conditions, share: float, since: float) -> None:
            """The product gives way to those that are slow: it sends less at once."""
            now.deliver_seconds = max(now.deliver_seconds, seconds * share)
            now.deliver_failing = max(now.deliver_failing, failing * share)
            now.deliver_limit = min(now.deliver_limit, left if share >= 1 else left + 1.5 * (1 - share))

    else:
        # By and by, over a quarter of an hour: what is to last does not come in one moment as an import does.
        rise, length, after = 15 * MINUTE, rng.uniform(35, 70) * MINUTE, 20 * MINUTE

        def effect(now: Conditions, share: float, since: float) -> None:
            now.extra += rate * share

    return Planned(kind, effect, rise, length, after)


# Degradation


def _cpu(rng: Random, business: Business) -> Planned:
    """Something takes the processors: 91 to 100 % of them are in use, so that answers and work take longer."""
    used, of_web = rng.uniform(0.91, 1.0) - business.cpu, rng.random() < 0.5

    def effect(now: Conditions, share: float, since: float) -> None:
        if of_web:
            now.cpu_web += used * share
        else:
            now.cpu_worker += used * share

    rise = _rise(rng)
    return Planned("web" if of_web else "worker", effect, rise, _length(rng, rise))


def _memory(rng: Random, business: Business) -> Planned:
    """A leak towards the limit in 10 to 60 minutes, then swapping, until somebody restarts it."""
    leaked, of_web = rng.uniform(0.93, 0.99) - business.memory, rng.random() < 0.5

    def effect(now: Conditions, share: float, since: float) -> None:
        if of_web:
            now.leak_web = leaked * share
        else:
            now.leak_worker = leaked * share

    rise = log_uniform(rng, 10, 60) * MINUTE
    return Planned("web" if of_web else "worker", effect, rise, rise + rng.uniform(5, 30) * MINUTE)


def _disk(rng: Random, business: Business) -> Planned:
    """The disk fills in 1 to 60 minutes, until somebody makes room. Not to the last byte, where Postgres stops."""
    filled = rng.uniform(0.93, 0.985) - business.disk

    def effect(now: Conditions, share: float, since: float) -> None:
        now.disk += filled * share
        now.io += 0.15 * share

    rise = log_uniform(rng, 1, 60) * MINUTE
    return Planned("fills", effect, rise, rise + rng.uniform(10, 40) * MINUTE)


def _database(rng: Random, business: Business) -> Planned:
    kind = rng.choice(("slow", "locks", "long transaction", "connections"))
    rise = _rise(rng)
    more, locks, used = log_uniform(rng, 0.12, 2.5), log_uniform(rng, 8, 60), rng.uniform(0.93, 1.0)
    small = log_uniform(rng, 0.02, 0.15)
    if kind == "slow":

        def effect(now: Conditions, share: float, since: float) -> None:
            now.round_trip_more += more * share
            now.io += 0.5 * share

    elif kind == "locks":

        def effect(now: Conditions, share: float, since: float) -> None:
            """Somebody holds what all need: a statement waits, an empty one does not."""
            now.locks += locks * share
            now.transaction = max(now.transaction, since)
            now.route_more += more * 4 * share
            now.http_more += more * share

    elif kind == "long transaction":
        rise = 0.0

        def effect(now: Conditions, share: float, since: float) -> None:
            """Begun and forgotten, holding locks that more and more wait for."""
            now.transaction = max(now.transaction, since)
            now.locks += min(locks, 3 + since / 60) * share
            now.round_trip_more += small * share
            now.route_more += small * 10 * share

    else:

        def effect(now: Conditions, share: float, since: float) -> None:
            now.connections = max(now.connections, (used - business.connections) * share)
            now.round_trip_more += small * share
            now.store_errors += 0.3 * share
            now.http_more += small * 10 * share

    return Planned(kind, effect, rise, _length(rng, rise))


def _pool(rng: Random, _business: Business) -> Planned:
    """Connections are taken and not given back: who needs one waits."""
    pool = rng.choice(("web\x1finbox", "web\x1fgeneral", "worker\x1frouter", "worker\x1fdelivery"))
    waits = log_uniform(rng, 0.5, 6)

    def effect(now: Conditions, share: float, since: float) -> None:
        if share < 0.5:
            return
        now.pool = pool
        if pool == "web\x1finbox":
            now.answer_more += waits
        elif pool == "web\x1fgeneral":
            now.http_more += waits
        elif pool == "worker\x1frouter":
            now.route_more += 3 * waits
        else:
            now.deliver_limit = min(now.deliver_limit, 2.5 / waits)

    rise = _rise(rng)
    return Planned(pool.replace("\x1f", " "), effect, rise, _length(rng, rise))


def _event_loop(rng: Random, _business: Business) -> Planned:
    """Something blocks a process's event loop again and again."""
    lag, of_web = log_uniform(rng, 0.4, 6), rng.random() < 0.5

    def effect(now: Conditions, share: float, since: float) -> None:
        if of_web:
            now.lag_web = max(now.lag_web, lag * share)
        else:
            now.lag_worker = max(now.lag_worker, lag * share)

    rise = _rise(rng)
    return Planned("web" if of_web else "worker", effect, rise, _length(rng, rise))


_PLANS: Mapping[str, Callable[[Random, Business], Planned]] = {
    "stripe": _stripe,
    "ours": _ours,
    "spike": _spike,
    "sustained": _sustained,
    "cpu": _cpu,
    "memory": _memory,
    "disk": _disk,
    "database": _database,
    "pool": _pool,
    "event_loop": _event_loop,
}
