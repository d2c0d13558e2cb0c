"""Sees a backlog: work that waits longer than promised, or will; a spike, or a lasting lack of capacity."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from holdfast.queue.capacity import emptied_in
from holdfast.queue.model import Lane
from holdfast.signals.frame import Frame
from holdfast.watch.model import Evidence, Severity, Sighting
from holdfast.watch.reports import reports_of_delay
from holdfast.watch.windows import SketchWindow, Usual, Window, surprise

RUNBOOK = "webhook-backlog"
SPIKE, SUSTAINED, PAUSED = "spike", "sustained", "paused"
_CATCHING_UP = timedelta(seconds=20)
_FEW = 3
"""Works of a lane from which on their age counts: one that is odd is no backlog."""
_MOST_OF = 0.5
"""What a lever holds, of what waits, from which on that is the cause."""
_FOR_EVER = 86_400.0
"""Seconds to drain, from which on the rates are as good as the same."""
_EXPLAINED = ("performance-degradation/", "stripe-retry-storm")


class BacklogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, and works."""

    critical: float = 20.0
    """Promise: the oldest critical work is no older."""
    standard: float = 60.0
    bulk: float = 900.0
    wait: float = 20.0
    """How long new critical and standard work would wait, by depth and service rate, while it grows."""
    least: int = 25
    """A queue shorter than this is no backlog."""
    restart: float = 75.0
    """Workers that are gone get so long to come back: a deployment looks like that."""
    lasting: float = 900.0
    """A spike that is not drained by then is a lasting lack of capacity."""
    spike: float = 1.6
    """Times the usual rate of arrival that make a spike."""
    delivered: float = 30.0
    """Promise: notifications are with the merchant within this time of the event; it is broken when half are not."""
    reports: int = 2
    """Reports of delayed notifications within half an hour that halve these limits."""


class _Restart:
    """Whether workers are gone only for as long as a deployment takes, or have just come back from it."""

    def __init__(self, longest: float) -> None:
        self._longest = timedelta(seconds=longest)
        self._gone: datetime | None = None
        self._back: datetime | None = None

    def see(self, frame: Frame) -> bool:
        now = frame.at
        if frame.level("process_cpu_ratio", "worker") is None:
            self._gone, self._back = self._gone or now, None
            return now - self._gone < self._longest
        if self._gone is not None:
            self._gone, self._back = None, now
        return self._back is not None and now - self._back < _CATCHING_UP


@dataclass(frozen=True, slots=True)
class _Held:
    """Works of a stage that levers keep from being claimed, by lane and by lever."""

    lanes: Mapping[str, float]
    levers: Mapping[str, float]

    @classmethod
    def of(cls, frame: Frame, stage: str) -> "_Held":
        lanes: dict[str, float] = defaultdict(float)
        levers: dict[str, float] = defaultdict(float)
        for (where, lane, lever), count in frame.levels("queue_paused"):
            if where == stage:
                lanes[lane] += count
                levers[lever] += count
        return cls(lanes, levers)

    @property
    def total(self) -> float:
        return sum(self.levers.values())

    def said(self, what: str, done: str) -> str:
        first = sorted(self.levers.items(), key=lambda item: -item[1])[:3]
        levers = ", ".join(f"{lever} ({count:,.0f})" for lever, count in first)
        more = f" and {len(self.levers) - 3} more" if len(self.levers) > 3 else ""
        who = "`holdfast levers list` says by whom and why"
        return f"Levers keep {self.total:,.0f} {what} from being {done}: {levers}{more}; {who}."


@dataclass(frozen=True, slots=True)
class _Sign:
    """One number that speaks for a backlog: how often the limit it is. `is_held`: a lever is behind it, no fault."""

    weight: float
    evidence: Evidence
    is_held: bool


def _ordered(found: Iterable[_Sign]) -> tuple[list[_Sign], bool]:
    """The strongest first, and whether it is all because of levers: what is not comes first if that is enough."""
    signs = sorted(found, key=lambda sign: -sign.weight)
    free = [sign for sign in signs if not sign.is_held]
    is_paused = len(free) < len(signs) and (not free or free[0].weight < 1)
    return (signs if is_paused else sorted(signs, key=lambda sign: sign.is_held)), is_paused


def _draining(depth: float, came: Window, went: Window, promise: float) -> tuple[tuple[Evidence, ...], str]:
    """How long what waits takes to drain at the present rates, as evidence; or that it does not, as a sentence."""
    if depth < _FEW:
        return (), ""
    seconds = emptied_in(depth, came.rate, went.rate)
    if seconds is None or seconds > _FOR_EVER:
        return (), " At these rates it does not drain."
    return (Evidence("drains in", seconds, promise, "s", "promise"),), ""


class RouteBacklog:
    """Events wait for the router: depth against service rate, oldest age against promise."""

    key = f"{RUNBOOK}/route"

    def __init__(self, settings: BacklogSettings | None = None) -> None:
        self._settings = settings or BacklogSettings()
        self._arrived, self._served = Window(30), Window(30)
        self._usual_arrived, self._usual_served = Usual(), Usual()
        self._depth, self._total = Window(20), Window(20)
        self._promises = {
            Lane.CRITICAL: self._settings.critical,
            Lane.STANDARD: self._settings.standard,
            Lane.BULK: self._settings.bulk,
        }
        self._restart = _Restart(self._settings.restart)
        self._began: datetime | None = None

    def see(self, frame: Frame) -> Sequence[Sighting]:
        in_restart = self._restart.see(frame)
        arrived = frame.count("webhooks_received", "stripe", "new")
        served = frame.count("events_routed")
        self._arrived.add(arrived)
        self._served.add(served)
        measured = {lane: frame.level("queue_depth", "route", lane.label) for lane in Lane}
        if all(depth is None for depth in measured.values()):
            return []
        depths = {lane: depth or 0.0 for lane, depth in measured.items()}
        held = _Held.of(frame, "route")
        found = self._weigh(frame, depths, held)
        weight = max((sign.weight for sign in found), default=0.0)
        self._usual_arrived.add(arrived, strange=weight >= 1)
        self._usual_served.add(served, strange=weight >= 1)
        if weight < 0.5:
            self._began = None
            return []
        if weight >= 1 and self._began is None:
            self._began = frame.at
        return [self._sighting(frame, found, depths, held, in_restart=in_restart)]

    def _weigh(self, frame: Frame, depths: Mapping[Lane, float], held: _Held) -> list[_Sign]:
        chosen = self._settings
        found: list[_Sign] = []
        for lane, promise in self._promises.items():
            age = frame.level("queue_oldest_age_seconds", "route", lane.label) or 0.0
            if depths[lane] >= _FEW:
                evidence = Evidence(f"oldest {lane.label} event waits", age, promise, "s", "promise")
                is_held = held.lanes.get(lane.label, 0.0) >= _MOST_OF * depths[lane]
                found.append(_Sign(age / promise, evidence, is_held))
        for lanes, window, limit, whose in (
            ((Lane.CRITICAL, Lane.STANDARD), self._depth, chosen.wait, "new critical and standard events"),
            (tuple(Lane), self._total, 1.5 * chosen.wait, "new events"),
        ):
            depth = sum(depths[lane] for lane in lanes)
            window.add(depth)
            wait = depth / self._rate()
            if depth >= chosen.least and (depth > window.first * 1.05 or wait > 3 * limit):
                free = depth - sum(held.lanes.get(lane.label, 0.0) for lane in lanes)
                is_held = free < depth and (free < chosen.least or free / self._rate() < limit)
                wait = wait if is_held else free / self._rate()  # what is held makes nothing else wait
                evidence = Evidence(f"{whose} will wait", wait, limit, "s", "limit")
                found.append(_Sign(wait / limit, evidence, is_held))
        return found

    def _rate(self) -> float:
        """Events a second that are served now, or usually, if they are not kept from it."""
        return max(self._served.rate, self._usual_served.rate, 0.2)

    def _sighting(
        self, frame: Frame, found: Sequence[_Sign], depths: Mapping[Lane, float], held: _Held, *, in_restart: bool
    ) -> Sighting:
        reports = reports_of_delay(frame)
        eager = 2.0 if reports.count >= self._settings.reports else 1.0
        weight = max(sign.weight for sign in found)
        signs, is_paused = _ordered(found)
        cause, why = (PAUSED, held.said("events", "routed")) if is_paused else self._cause(frame)
        drains: tuple[Evidence, ...] = ()
        if held.total and not is_paused:
            why = f"{why} {held.said('events', 'routed')}"
        elif not is_paused:
            # All of it is drained when its last lane is: the promise of that one is what counts.
            last = max((lane for lane in Lane if depths[lane] >= _FEW), default=Lane.CRITICAL)
            drains, never = _draining(sum(depths.values()), self._arrived, self._served, self._promises[last])
            why += never
        evidence = (*(sign.evidence for sign in signs if sign.weight >= 0.5), *drains, *reports.evidence)
        is_critical = signs[0].weight >= 3 or "critical" in signs[0].evidence.what
        severity: Severity = "critical" if is_critical else "warning"
        return Sighting(
            key=self.key,
            runbook=RUNBOOK,
            cause=cause,
            severity=severity,
            title=f"Events wait to be routed: {signs[0].evidence}",
            why=why,
            since=self._began or frame.at,
            evidence=evidence,
            certain=weight * eager >= 1 and not in_restart,
            patience=3,
            explained_by=_EXPLAINED,
        )

    def _cause(self, frame: Frame) -> tuple[str, str]:
        usual = self._usual_arrived.rate
        expected = max(usual * self._arrived.seconds, 3.0)
        times = self._arrived.total / expected
        served = self._served.rate
        rates = f"{self._arrived.rate:.1f} events a second arrive (usual {usual:.1f}), {served:.1f} are routed"
        lasting = self._began is not None and (frame.at - self._began).total_seconds() > self._settings.lasting
        stopped = not self._served.total and self._depth.last > 0
        slow = stopped or (served < 0.7 * min(self._arrived.rate, usual) and self._depth.last > 0)
        is_spike = times >= self._settings.spike and surprise(self._arrived.total, expected) > 7
        if is_spike and not lasting and not slow:
            return SPIKE, f"More arrive than usual, the router is as fast as ever: {rates}."
        if stopped:
            return SUSTAINED, f"Nothing is routed at all: {rates}."
        if slow or not is_spike:
            return SUSTAINED, f"The router does less than arrives: {rates}."
        return SUSTAINED, f"More has been arriving for too long than can be routed: {rates}."


class DeliverBacklog:
    """Notifications wait to be sent: to many destinations, for one that is down keeps only its own waiting."""

    key = f"{RUNBOOK}/deliver"

    def __init__(self, settings: BacklogSettings | None = None) -> None:
        self._settings = settings or BacklogSettings()
        self._planned, self._settled = Window(60), Window(60)
        self._on_time = (Window(60), Window(300))
        self._wanted = (Window(60), Window(300))
        self._held = (Window(60), Window(300))
        self._took = SketchWindow(60)
        self._usual_planned = Usual()
        self._restart = _Restart(self._settings.restart)
        self._began: datetime | None = None

    def see(self, frame: Frame) -> Sequence[Sighting]:
        chosen = self._settings
        in_restart = self._restart.see(frame)
        self._planned.add(frame.count("deliveries_planned"))
        self._settled.add(frame.count("deliveries_settled"))
        delivered = frame.spread("event_to_delivered_seconds").at_most(chosen.delivered)
        held = _Held.of(frame, "deliver")
        for on_time, wanted, kept in zip(self._on_time, self._wanted, self._held, strict=True):
            on_time.add(delivered)
            wanted.add(self._planned.last)
            kept.add(held.total)
        self._took.add(frame.spread("delivery_attempt_seconds"))
        found: list[_Sign] = []
        for on_time, wanted, kept in zip(self._on_time, self._wanted, self._held, strict=True):
            # What is late or not sent at all. What a destination that is back gets at once does not count as either.
            late = wanted.total - on_time.total
            if wanted.is_full and late >= max(8.0, 3 * wanted.total**0.5):
                share = 100 * on_time.total / wanted.total
                evidence = Evidence(f"of the notifications, within {chosen.delivered:.0f} s", share, 50, "%", "promise")
                # What levers hold since long ago was not to be sent in this time: only what came to it counts.
                is_held = held.total > 0 and kept.last - kept.first >= _MOST_OF * late
                found.append(_Sign(50 / max(1.0, share), evidence, is_held))
        weight = max((sign.weight for sign in found), default=0.0)
        strange = weight >= 1
        self._usual_planned.add(self._planned.last, strange=strange)
        if weight < 0.5:
            self._began = None
            return []
        if strange:
            self._began = self._began or frame.at
        return [self._sighting(frame, found, held, in_restart=in_restart)]

    def _sighting(self, frame: Frame, found: Sequence[_Sign], held: _Held, *, in_restart: bool) -> Sighting:
        reports = reports_of_delay(frame)
        eager = 2.0 if reports.count >= self._settings.reports else 1.0
        weight = max(sign.weight for sign in found)
        signs, is_paused = _ordered(found)
        cause, why = (PAUSED, held.said("notifications", "sent")) if is_paused else self._cause()
        drains: tuple[Evidence, ...] = ()
        if held.total and not is_paused:
            why = f"{why} {held.said('notifications', 'sent')}"
        elif not is_paused:
            depth = sum(frame.level("queue_depth", "deliver", lane.label) or 0.0 for lane in Lane)
            drains, never = _draining(depth, self._planned, self._settled, self._settings.delivered)
            why += never
        return Sighting(
            key=self.key,
            runbook=RUNBOOK,
            cause=cause,
            severity="critical" if signs[0].weight >= 3 else "warning",
            title=f"Notifications wait to be sent: {signs[0].evidence}",
            why=why,
            since=self._began or frame.at,
            evidence=(*(sign.evidence for sign in signs), *drains, *reports.evidence),
            certain=weight * eager >= 1 and not in_restart,
            patience=3,
            explained_by=(*_EXPLAINED, RouteBacklog.key),
        )

    def _cause(self) -> tuple[str, str]:
        usual = self._usual_planned.rate
        planned, settled = self._planned.rate, self._settled.rate
        took = self._took.quantile(0.5)
        tries = f"; half of the tries take up to {took:.2g} s" if took is not None else ""
        if planned > self._settings.spike * usual and settled > 0.7 * usual:
            return SPIKE, f"More is to be sent than usual: {planned:.1f} a second (usual {usual:.1f}){tries}."
        return SUSTAINED, f"Less is sent than has to be: {settled:.1f} of {planned:.1f} a second{tries}."
