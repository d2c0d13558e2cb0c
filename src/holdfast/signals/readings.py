"""Named readings: what a guard may name, and a person look up, computed from what all processes stored.

A reading is one number over the last minute, or it is unknown: where nothing was measured there is no answer, and an
unknown reading never says that all is well.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from holdfast.signals import store
from holdfast.signals.buckets import FINEST, NEW
from holdfast.signals.frame import Frame
from holdfast.signals.rollup import HOUR, KEPT, MINUTE
from holdfast.signals.shares import bounds
from holdfast.signals.store import Stored

WINDOW = 60
"""Seconds that a reading is of."""
LONGEST = timedelta(days=400)
_LINE = re.compile(r"calls\.ill\.((?:region|number|target)):([!-~]{1,260})", re.ASCII)
MOST_ILL = 50
"""Lines that are named as ill at a time: in an outage thousands may be. Then one that is not named may be ill too."""
_LANES = ("critical", "standard", "bulk")
_POOLS = (
    "web.inbox",
    "web.general",
    "web.voice",
    "worker.router",
    "worker.delivery",
    "worker.general",
    "watch.general",
)


class ReadingError(Exception):
    """There is no such reading; the message says which there are."""


class View:
    """What all processes measured in the time of one reading. Labels with None match anything."""

    def __init__(self, found: Iterable[Stored], end: datetime, seconds: int) -> None:
        found = list(found)
        self.seconds = seconds
        self._whole = Frame.of(found, end)
        newest = {
            (stored.source, stored.bucket.name): stored  # they come in order
            for stored in found
            if end - stored.bucket.at < timedelta(seconds=max(NEW, stored.bucket.seconds))
        }
        self._now = Frame.of(newest.values(), end)

    def works(self, kind: str) -> bool:
        """Whether a process of this kind was at work: then what it did not count, it counted to be zero."""
        return self.mean("process_cpu_ratio", kind) is not None

    def count(self, name: str, *labels: str | None) -> float:
        return self._whole.count(name, *labels)

    def mean(self, name: str, *labels: str | None) -> float | None:
        """A gauge over the whole time; the highest of the series that match."""
        return self._whole.level(name, *labels)

    def now(self, name: str, *labels: str | None) -> float | None:
        """A gauge as it was last; None when nobody has said it lately."""
        return self._now.level(name, *labels)

    def now_named(self, name: str) -> int:
        """How many series of a gauge were said last."""
        return sum(1 for _ in self._now.levels(name))

    def quantile(self, share: float, name: str, *labels: str | None) -> float | None:
        return self._whole.spread(name, *labels).quantile(share)


@dataclass(frozen=True, slots=True)
class Reading:
    """`unit`: s, share (0 to 1), 1/s, or nothing for a number of things. `signals` are what it is made of."""

    name: str
    unit: str
    what: str
    signals: tuple[str, ...]
    of: Callable[[View], float | None]


_Of = Callable[[View], float | None]


def _per_second(kind: str, count: Callable[[View], float]) -> Callable[[View], float | None]:
    return lambda view: count(view) / view.seconds if view.works(kind) else None


def _share(part: Callable[[View], float], whole: Callable[[View], float]) -> Callable[[View], float | None]:
    def share(view: View) -> float | None:
        total = whole(view)
        return part(view) / total if total else None

    return share


def _share_or_none(kind: str, part: Callable[[View], float], whole: Callable[[View], float]) -> "_Of":
    """A share that is 0 of nothing, where somebody counts: at night no call is no trouble."""
    return lambda view: part(view) / max(1.0, whole(view)) if view.works(kind) else None


def _now(name: str, *labels: str | None) -> Callable[[View], float | None]:
    return lambda view: view.now(name, *labels)


def _mean(name: str, *labels: str | None) -> Callable[[View], float | None]:
    return lambda view: view.mean(name, *labels)


def _p95(name: str, *labels: str | None) -> Callable[[View], float | None]:
    return lambda view: view.quantile(0.95, name, *labels)


def _webhooks(view: View) -> float:
    return view.count("webhooks_received")


def _duplicates(view: View) -> float:
    return view.count("webhooks_received", "stripe", "duplicate")


def _taken(view: View) -> float:
    return view.count("webhooks_received", "stripe", "new") + _duplicates(view)


def _events(view: View) -> float:
    return view.count("webhooks_received", "stripe")


def _refused(view: View) -> float:
    return view.count("webhooks_received", "stripe", "away")


def _errors(view: View) -> float:
    return view.count("router_errors")


def _routed(view: View) -> float:
    return view.count("events_routed")


def _tries(view: View) -> float:
    return view.count("delivery_attempts")


def _failures(view: View) -> float:
    return _tries(view) - view.count("delivery_attempts", None, "delivered")


def _legs(view: View) -> float:
    return view.count("call_legs")


def _failed_legs(view: View) -> float:
    return view.count("call_legs", None, "failed")


def _failing_legs(view: View) -> float | None:
    return bounds(_failed_legs(view), _legs(view))[0] if view.works("web") else None


def _calls(view: View) -> float:
    return view.count("calls")


def _unheard(view: View) -> float:
    return view.count("calls", None, "missed") + view.count("calls", None, "failed")


def _unheard_at_least(view: View) -> float | None:
    return bounds(_unheard(view), _calls(view))[0] if view.works("web") else None


def _by_lane() -> Iterable[Reading]:
    for lane in _LANES:
        for room, stage, works in (("queue", "route", "events to be routed"), ("delivery", "deliver", "deliveries")):
            depth, oldest = "queue_depth", "queue_oldest_age_seconds"
            of = (stage, lane)
            yield Reading(f"{room}.depth.{lane}", "", f"How many {lane} {works} wait.", (depth,), _now(depth, *of))
            what = f"Age of the oldest of the {lane} {works}."
            yield Reading(f"{room}.oldest_age.{lane}", "s", what, (oldest,), _now(oldest, *of))
        signal, what = "event_to_routed_seconds", f"95 % of {lane} events are routed within, from their receipt on."
        yield Reading(f"router.p95_seconds.{lane}", "s", what, (signal,), _p95(signal, lane))


def _counted() -> Iterable[Reading]:
    web, routed, tries = ("webhooks_received",), ("events_routed", "router_errors"), ("delivery_attempts",)
    alive = "process_cpu_ratio"
    yield Reading(
        "webhooks.rate", "1/s", "Webhooks that come in, of all kinds.", (*web, alive), _per_second("web", _webhooks)
    )
    yield Reading(
        "webhooks.duplicate_ratio",
        "share",
        "Of Stripe's events taken, those that we held.",
        web,
        _share(_duplicates, _taken),
    )
    yield Reading(
        "webhooks.refused_ratio", "share", "Of Stripe's webhooks, those refused 503.", web, _share(_refused, _events)
    )
    yield Reading(
        "webhooks.p95_seconds",
        "s",
        "95 % of webhooks are answered within.",
        ("webhook_seconds",),
        _p95("webhook_seconds"),
    )
    yield Reading("router.rate", "1/s", "Events that are routed.", (*routed, alive), _per_second("worker", _routed))
    yield Reading(
        "router.error_rate", "1/s", "Errors in the router.", ("router_errors", alive), _per_second("worker", _errors)
    )
    yield Reading(
        "router.error_ratio",
        "share",
        "Of events routed and errors, the errors.",
        routed,
        _share(_errors, lambda view: _errors(view) + _routed(view)),
    )
    yield Reading("delivery.rate", "1/s", "Tries to deliver.", (*tries, alive), _per_second("worker", _tries))
    yield Reading(
        "delivery.failure_rate", "1/s", "Tries that failed.", (*tries, alive), _per_second("worker", _failures)
    )
    yield Reading(
        "delivery.failure_ratio", "share", "Of the tries, those that failed.", tries, _share(_failures, _tries)
    )
    took = "delivery_attempt_seconds"
    yield Reading("delivery.p95_seconds", "s", "95 % of tries to deliver end within.", (took,), _p95(took))
    http = "http_request_seconds"
    yield Reading("http.p95_seconds", "s", "95 % of other requests are answered within.", (http,), _p95(http))


def _calling() -> Iterable[Reading]:
    """Shares are of few: for guards there are those that chance does not explain."""
    alive, least = "process_cpu_ratio", "at the least, very probably: bad luck with few calls does not count."
    legs, calls, alerts = ("call_legs", alive), ("calls", alive), ("twilio_alerts", alive)
    failed = "Of the targets that calls were put through to, those that could not be reached"
    unheard = "Of the calls that ended, those that nobody and no voicemail answered"
    yield Reading("calls.rate", "1/s", "Calls that end.", calls, _per_second("web", _calls))
    yield Reading("calls.failed_legs", "share", f"{failed}.", legs, _share_or_none("web", _failed_legs, _legs))
    yield Reading("calls.failing_legs", "share", f"{failed}, {least}", legs, _failing_legs)
    yield Reading("calls.unanswered", "share", f"{unheard}.", calls, _share_or_none("web", _unheard, _calls))
    yield Reading("calls.unanswering", "share", f"{unheard}, {least}", calls, _unheard_at_least)
    yield Reading("calls.spooled", "", "Callbacks on disk.", ("callbacks_spooled",), _now("callbacks_spooled"))
    yield Reading(
        "twilio.alerts",
        "1/s",
        "Alerts of Twilio's Debugger.",
        alerts,
        _per_second("web", lambda view: view.count("twilio_alerts")),
    )
    yield Reading(
        "twilio.alerts.ours",
        "1/s",
        "Alerts of Twilio's Debugger that are our own fault.",
        alerts,
        _per_second("web", lambda view: view.count("twilio_alerts", "ours")),
    )


def _ill(kind: str, key: str) -> _Of:
    def ill(view: View) -> float | None:
        said = view.now("voice_ill", kind, key)
        if said is not None:
            return said
        return 0.0 if view.works("watch") and view.now_named("voice_ill") < MOST_ILL else None

    return ill


def _of_line(name: str) -> Reading | None:
    """`calls.ill.region:US`, `calls.ill.target:+14155550111`: one for every line there may be."""
    found = _LINE.fullmatch(name)
    if found is None:
        return None
    kind, key = found.groups()
    what = f"Of the calls of {kind} {key}, those that could not be put through, at the least, while it is ill; else 0."
    return Reading(name, "share", what, ("voice_ill", "process_cpu_ratio"), _ill(kind, key))


def _resources() -> Iterable[Reading]:
    lag, busy = "event_loop_lag_recent_seconds", "pool_busy_ratio"
    yield Reading("event_loop.lag", "s", "The worst lag of any process's event loop.", (lag,), _now(lag))
    for kind in ("web", "worker", "watch"):
        what = f"The worst lag of the event loop of {kind} processes."
        yield Reading(f"event_loop.lag.{kind}", "s", what, (lag,), _now(lag, kind))
    for name, unit, what, signal in (
        ("database.round_trip", "s", "A statement that does nothing, there and back.", "postgres_round_trip_seconds"),
        ("database.connections", "share", "Of the connections allowed, those in use.", "postgres_connections_ratio"),
        ("database.lock_waits", "", "Sessions that wait for a lock.", "postgres_lock_waits"),
    ):
        yield Reading(name, unit, what, (signal,), _now(signal))
    for name, resource in (("cpu", "processors"), ("memory", "memory"), ("disk", "the data's disk")):
        signal = f"system_{name}_ratio"
        what = f"Share of {resource} in use, on the machine where it is most."
        yield Reading(f"system.{name}", "share", what, (signal,), _mean(signal))
    yield Reading("pool.busy", "share", "Share of connections in use, in the busiest pool.", (busy,), _mean(busy))
    for pool in _POOLS:
        kind, _, name = pool.partition(".")
        what = f"Share of connections in use, in the pool {name} of {kind} processes."
        yield Reading(f"pool.busy.{pool}", "share", what, (busy,), _mean(busy, kind, name))


READINGS: Mapping[str, Reading] = {
    reading.name: reading
    for reading in sorted((*_by_lane(), *_counted(), *_calling(), *_resources()), key=lambda one: one.name)
}


def reading(name: str) -> Reading:
    """Raises ReadingError, naming those that begin alike."""
    found = READINGS.get(name) or _of_line(name)
    if found is None:
        alike = [one for one in READINGS if one.startswith(name.partition(".")[0])] or list(READINGS)
        raise ReadingError(f"there is no reading {name!r}; there are {', '.join(alike)}")
    return found


async def take(db: store.Executor, readings: Iterable[Reading], now: datetime | None = None) -> dict[str, float | None]:
    """The readings of the last minute, by name; None where unknown."""
    chosen, now = list(readings), now or datetime.now(UTC)
    if not chosen:
        return {}
    names = sorted({signal for one in chosen for signal in one.signals})
    found = await store.read(db, FINEST, now - timedelta(seconds=WINDOW), now, names)
    view = View(found, now, WINDOW)
    return {one.name: one.of(view) for one in chosen}


async def series(
    db: store.Executor, chosen: Reading, since: datetime, now: datetime | None = None
) -> list[tuple[datetime, float | None]]:
    """A reading over time, at most some hundred points: by the minute, or coarser where `since` is long ago."""
    now = now or datetime.now(UTC)
    since = max(since, now - LONGEST)
    length = now - since
    resolution = next(one for one in (FINEST, MINUTE, HOUR) if length <= KEPT[one] or one == HOUR)
    step = next(
        one
        for one in (WINDOW, 300, 1800, HOUR, 6 * HOUR, 24 * HOUR)
        if length.total_seconds() / one <= 400 or one == 24 * HOUR
    )
    groups: dict[datetime, list[Stored]] = defaultdict(list)
    ends = [now - timedelta(seconds=step * number) for number in range(int(length.total_seconds() // step), -1, -1)]
    for stored in await store.read(db, resolution, ends[0] - timedelta(seconds=step), now, chosen.signals):
        late = (now - stored.bucket.at).total_seconds()
        groups[now - timedelta(seconds=step * (late // step))].append(stored)
    return [(end, chosen.of(View(groups[end], end, step)) if end in groups else None) for end in ends]
