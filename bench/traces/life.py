"""What happens to a healthy platform all the time, and is no fault: nobody should be called for any of this.

How often and how much is assumed from what runbooks, vendors' documentation and reviews of incidents tell of such
systems; nothing here is measured. Where in doubt, life is rather livelier than is pleasant.
"""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random

from bench.traces.business import Business
from bench.traces.conditions import DAY, HOUR, MINUTE, Conditions, Happening
from bench.traces.draw import log_uniform


def life(rng: Random, business: Business, days: float, *, holidays: bool) -> list[Happening]:
    """Everything that happens in so many days, in the order in which it begins. The trace begins at midnight."""
    found = list(_nightly(rng, business, days))
    if holidays:
        found += _holiday(rng, days)
    for a_day, make in _USUAL:
        at = rng.expovariate(a_day / DAY)
        while at < days * DAY:
            found += make(rng, business, at)
            at += rng.expovariate(a_day / DAY)
    return sorted(found, key=lambda one: one.begin)


def _nightly(rng: Random, business: Business, days: float) -> Iterator[Happening]:
    """Vacuum, retention and backup: the disk is busy, the processors too, statements take longer; 20 minutes or so.

    A backup by dump is one long transaction, as are two in three of them here.
    """
    hour = rng.uniform(1, 4)
    io, cpu, slower, dump = rng.uniform(0.15, 0.55), rng.uniform(0.1, 0.35), rng.uniform(1.5, 3), rng.random() < 0.67

    def effect(now: Conditions, share: float, since: float) -> None:
        now.io += io * share
        now.cpu_worker += cpu * share
        now.round_trip_x *= 1 + (slower - 1) * share
        if dump:
            now.transaction = max(now.transaction, since)

    for day in range(int(days) + 1):
        begin = day * DAY + hour * HOUR + rng.uniform(0, 120)
        yield Happening(begin, begin + rng.uniform(12, 25) * MINUTE, effect, rise=60, fall=60)


def _holiday(rng: Random, days: float) -> list[Happening]:
    """A day or two at 2 to 4 times the usual, after the warm-up; in two traces of three."""
    if rng.random() > 0.67:
        return []
    factor, begin = rng.uniform(2, 4), rng.randint(1, max(1, int(days) - 2)) * DAY - rng.uniform(0, 4) * HOUR
    length = rng.choice((1, 2)) * DAY + 6 * HOUR
    return [Happening(begin, begin + length, partial(_demand, factor), rise=5 * HOUR, fall=5 * HOUR)]


def _demand(factor: float, now: Conditions, share: float, _since: float) -> None:
    # What draws customers twice does not draw them twice as often: the greater one counts.
    now.demand_x = max(now.demand_x, 1 + (factor - 1) * share)


def _marketing(rng: Random, _business: Business, at: float) -> list[Happening]:
    factor = rng.uniform(1.5, 3)
    length = rng.uniform(10, 45) * MINUTE
    return [Happening(at, at + length, partial(_demand, factor), rise=rng.uniform(1, 4) * MINUTE, fall=length / 2)]


def _chatty(rng: Random, business: Business, at: float) -> list[Happening]:
    """One merchant updates its customers or catalogue in bulk: 5 to 20 times its usual, for minutes."""
    rate = business.rate * rng.uniform(0.01, 0.06) * rng.uniform(5, 20)

    def effect(now: Conditions, share: float, _since: float) -> None:
        now.extra_bulk += rate * share

    return [Happening(at, at + rng.uniform(2, 12) * MINUTE, effect, rise=5, fall=5)]


def _deploy(rng: Random, _business: Business, at: float) -> list[Happening]:
    """In working hours; workers are away for 20 to 60 s, and every second time the web process for a few."""
    at += (rng.uniform(9, 17) * HOUR) - at % DAY
    begin = at + rng.uniform(5, 20)
    found = [Happening(begin, begin + rng.uniform(20, 60), _no_workers)]
    if rng.random() < 0.5:
        found.append(Happening(at, at + rng.uniform(3, 9), _no_web))
    return found


def _no_workers(now: Conditions, _share: float, _since: float) -> None:
    now.workers_gone = True


def _no_web(now: Conditions, _share: float, _since: float) -> None:
    now.web_gone = True


def _handful(rng: Random, business: Business, at: float) -> list[Happening]:
    """Stripe sends a few events again, all at once: somebody clicked "resend", or one of its machines was ill."""
    length = rng.uniform(5, 60)
    rate = (rng.uniform(3, 12) + business.rate * rng.uniform(0, 8)) / length

    def effect(now: Conditions, _share: float, _since: float) -> None:
        now.resent += rate

    return [Happening(at, at + length, effect)]


def _late(rng: Random, _business: Business, at: float) -> list[Happening]:
    """Stripe is a little late for some minutes."""
    share_late, age = rng.uniform(0.1, 0.9), log_uniform(rng, 5, 45)

    def effect(now: Conditions, share: float, _since: float) -> None:
        now.late_share, now.late_age = max(now.late_share, share_late * share), max(now.late_age, age)

    return [Happening(at, at + rng.uniform(1, 8) * MINUTE, effect, rise=20, fall=20)]


def _router_error(rng: Random, _business: Business, at: float) -> list[Happening]:
    """One event cannot be routed at the first try, seldom three."""
    errors = rng.choice((1, 1, 1, 3))

    def effect(now: Conditions, _share: float, _since: float) -> None:
        now.router_errors += errors

    return [Happening(at, at + 5, effect)]


def _destination_down(rng: Random, _business: Business, at: float) -> list[Happening]:
    """One merchant's receiver is down for hours: its deliveries wait, grow old and are tried again and again."""
    down = log_uniform(rng, 0.004, 0.08)

    def effect(now: Conditions, _share: float, _since: float) -> None:
        now.down_share = max(now.down_share, down)

    return [Happening(at, at + rng.uniform(0.5, 6) * HOUR, effect)]


def _hiccup(rng: Random, _business: Business, at: float) -> list[Happening]:
    """Garbage collection, a page fault, a neighbour's burst: the loop is late once."""
    lag, of_web = log_uniform(rng, 0.05, 0.6) * (3 if rng.random() < 0.05 else 1), rng.random() < 0.5

    def effect(now: Conditions, _share: float, _since: float) -> None:
        if of_web:
            now.lag_web = max(now.lag_web, lag)
        else:
            now.lag_worker = max(now.lag_worker, lag)

    return [Happening(at, at + 5, effect)]


def _slow_statement(rng: Random, _business: Business, at: float) -> list[Happening]:
    """The database takes its time once: a checkpoint, a cold page."""
    more, locks = log_uniform(rng, 0.02, 0.4), rng.choice((0, 0, 1, 3, 7))

    def effect(now: Conditions, _share: float, _since: float) -> None:
        now.round_trip_more += more
        now.locks += locks

    return [Happening(at, at + rng.choice((5, 5, 10, 15)), effect)]


def _analysis(rng: Random, _business: Business, at: float) -> list[Happening]:
    """Somebody asks the database something large: a transaction of minutes, some disk, and nobody is hurt."""
    io = rng.uniform(0.02, 0.2)

    def effect(now: Conditions, _share: float, since: float) -> None:
        now.transaction = max(now.transaction, since)
        now.io += io

    return [Happening(at, at + rng.uniform(0.5, 8) * MINUTE, effect)]


def _busy(rng: Random, _business: Business, at: float) -> list[Happening]:
    """A report, an upgrade of packages, a log rotation: the processors are busy for some minutes."""
    cpu, of_web = rng.uniform(0.2, 0.6), rng.random() < 0.5

    def effect(now: Conditions, share: float, _since: float) -> None:
        if of_web:
            now.cpu_web += cpu * share
        else:
            now.cpu_worker += cpu * share

    return [Happening(at, at + rng.uniform(0.5, 5) * MINUTE, effect, rise=5, fall=5)]


def _files(rng: Random, _business: Business, at: float) -> list[Happening]:
    """Temporary files of a sort or an export, removed again."""
    disk = rng.uniform(0.01, 0.06)

    def effect(now: Conditions, share: float, _since: float) -> None:
        now.disk += disk * share

    length = rng.uniform(5, 40) * MINUTE
    return [Happening(at, at + length, effect, rise=length * 0.8, fall=5)]


def _probe(rng: Random, _business: Business, at: float) -> list[Happening]:
    """Stripe's API is slow once, or does not answer once."""
    status = rng.choice((1, 1, 1, 2))

    def effect(now: Conditions, _share: float, _since: float) -> None:
        now.api = max(now.api, status)

    return [Happening(at, at + 30, effect)]


def _unrelated(rng: Random, _business: Business, at: float) -> list[Happening]:
    """The status page tells of a minor incident of something that we do not use."""

    def effect(now: Conditions, _share: float, _since: float) -> None:
        now.page = max(now.page, 1)

    return [Happening(at, at + rng.uniform(0.5, 5) * HOUR, effect)]


Make = Callable[[Random, Business, float], list[Happening]]
_USUAL: tuple[tuple[float, Make], ...] = (
    (0.4, _marketing),
    (2.0, _chatty),
    (0.8, _deploy),
    (4.0, _handful),
    (0.5, _late),
    (2.0, _router_error),
    (0.3, _destination_down),
    (24.0, _hiccup),
    (10.0, _slow_statement),
    (2.0, _analysis),
    (3.0, _busy),
    (1.0, _files),
    (4.0, _probe),
    (0.25, _unrelated),
)
"""How often a day, on average."""
