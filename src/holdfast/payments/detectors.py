"""Sees a Stripe retry storm: Stripe sends again what it sent before, because of its own trouble or because of ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from holdfast.signals.frame import Frame
from holdfast.watch.model import Evidence, Severity, Sighting
from holdfast.watch.reports import reports_of_delay
from holdfast.watch.windows import SketchWindow, Usual, Window, surprise

RUNBOOK = "stripe-retry-storm"
OURS, STRIPES = "ours", "stripe"
_OURSELVES = ("performance-degradation/",)
"""What makes us slow makes Stripe send again, then and for a while after."""


class StormSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, and shares from 0 to 1. Promises hold for every size of business; the rest is against the usual."""

    duplicates: float = 0.10
    """Share of what comes in that we hold already, from which on it is a storm, for two minutes."""
    many: float = 0.50
    """… or this share, and at least `flood` of them, for half a minute."""
    flood: float = 30.0
    handful: float = 4.0
    """Duplicates in a window that mean nothing, whatever is usual."""
    lasting: float = 0.8
    """Share of the time in which they came."""
    surprise: float = 16.0
    """How improbable a count must be among the usual ones: -ln of the probability."""
    answer: float = 2.0
    """Promise: 95 % of webhooks are answered within."""
    refused: float = 0.05
    """Share of events refused for a reason of ours, from which on Stripe's retries are our fault."""
    errors: float = 0.05
    """Share of routed events that fail in the router."""
    late: float = 120.0
    """Stripe's events are late when half of them are older than this on arrival, and ten times the usual."""
    arrivals: float = 2.0
    """Times the usual rate at which late events come as a flood."""
    reports: int = 2
    """Merchants' reports of delayed notifications within half an hour that count like a symptom."""


@dataclass(frozen=True, slots=True)
class _Symptom:
    """One thing that is wrong. `fault`: whose; `weight` from 1 on opens an alert."""

    fault: str
    weight: float
    evidence: Evidence
    why: str
    patience: int = 2
    """Ticks in a row that it has to be so."""


class RetryStorm:
    """Duplicates and arrival against the usual, our answers, our router; and whose fault it is: what began first."""

    def __init__(self, settings: StormSettings | None = None) -> None:
        self._settings = settings or StormSettings()
        self._duplicates = (Window(30), Window(120))
        self._repeating = (Window(30), Window(120))
        self._events = (Window(30), Window(120))
        self._refused, self._asked = Window(30), Window(30)
        self._answers = SketchWindow(15)
        self._errors, self._routed, self._erring = Window(60), Window(60), Window(60)
        self._usual_duplicates, self._usual_events, self._usual_errors = Usual(), Usual(), Usual()
        self._usual_lag = Usual()
        self._first: dict[str, datetime] = {}
        self._last: dict[str, datetime] = {}

    def see(self, frame: Frame) -> Sequence[Sighting]:
        symptoms = self._symptoms(frame)
        strange = any(symptom.weight >= 1 for symptom in symptoms)
        self._learn(frame, strange=strange)
        for fault in (OURS, STRIPES):
            if any(symptom.fault == fault and symptom.weight >= 1 for symptom in symptoms):
                self._first.setdefault(fault, frame.at)
                self._last[fault] = frame.at
            elif fault in self._last and (frame.at - self._last[fault]).total_seconds() > 900:
                del self._first[fault], self._last[fault]
        return [self._sighting(frame, symptoms)] if symptoms else []

    def _symptoms(self, frame: Frame) -> list[_Symptom]:
        duplicates, new = (frame.count("webhooks_received", "stripe", answer) for answer in ("duplicate", "new"))
        refused = frame.count("webhooks_received", "stripe", "away")
        usual = self._usual_duplicates.value or 0.0
        for window in self._duplicates:
            window.add(duplicates)
        for window in self._repeating:
            window.add(float(duplicates > 2 * usual))
        for window in self._events:
            window.add(duplicates + new)
        self._refused.add(refused)
        self._asked.add(duplicates + new + refused)
        self._answers.add(frame.spread("webhook_seconds", "stripe"))
        errors = frame.count("router_errors")
        self._errors.add(errors)
        self._erring.add(float(errors > 0))
        self._routed.add(frame.count("events_routed"))
        found = (self._repeated(), self._late(frame), self._slow(), self._refusals(), self._failing())
        return [symptom for symptom in found if symptom is not None]

    def _learn(self, frame: Frame, *, strange: bool) -> None:
        self._usual_duplicates.add(self._duplicates[0].last, strange=strange)
        self._usual_events.add(self._events[0].last, strange=strange)
        self._usual_errors.add(self._errors.last, strange=strange)
        lag = frame.level("event_lag_seconds", "stripe")
        if lag is not None:
            self._usual_lag.add(lag, strange=strange)

    def _repeated(self) -> _Symptom | None:
        """Events that we hold come again, more than usual by far."""
        chosen, best = self._settings, None
        limits = ((chosen.many, chosen.flood), (chosen.duplicates, 1.0))
        for duplicates, repeating, events, (limit, least) in zip(
            self._duplicates, self._repeating, self._events, limits, strict=True
        ):
            if duplicates.total < least or repeating.mean < chosen.lasting:
                continue  # a handful that came together is no storm
            usual = self._usual_duplicates.rate * duplicates.seconds
            expected = 2.0 * usual + chosen.handful
            ratio = duplicates.total / max(1.0, events.total)
            weight = min(surprise(duplicates.total, expected) / chosen.surprise, ratio / limit)
            if best is None or weight > best[0]:
                best = (weight, 100 * ratio, 100 * usual / max(1.0, self._usual_events.rate * events.seconds))
        if best is None or best[0] < 0.5:
            return None
        evidence = Evidence("events that we hold already", best[1], best[2], "%", "usual")
        return _Symptom(STRIPES, best[0], evidence, "Stripe sends again what we hold and answered well.")

    def _late(self, frame: Frame) -> _Symptom | None:
        """A flood of old events: Stripe was late and catches up."""
        lag, usual = frame.level("event_lag_seconds", "stripe"), self._usual_lag.value
        flood, events = self._usual_events.value, self._events[0]
        if lag is None or not flood or usual is None:
            return None
        times = events.mean / flood
        expected = flood * events.ticks
        certain = min(
            lag / max(self._settings.late, 10 * usual),
            times / self._settings.arrivals,
            surprise(events.total, expected) / self._settings.surprise,
        )
        if certain < 0.7:
            return None
        evidence = Evidence("age of events on arrival", lag, usual, "s", "usual")
        return _Symptom(STRIPES, certain, evidence, f"Old events arrive at {times:.1f} times the usual rate.")

    def _slow(self) -> _Symptom | None:
        """Our answers take so long that Stripe gives up on them."""
        if self._answers.count < 5:
            return None
        took = self._answers.quantile(0.95) or 0.0
        weight = took / self._settings.answer
        if weight < 0.5:
            return None
        evidence = Evidence("95 % of webhooks answered within", took, self._settings.answer, "s", "promise")
        # The database stops for half a minute now and then: that is no storm yet.
        patience = 2 if weight >= 2 else 8
        return _Symptom(OURS, weight, evidence, "We answer so slowly that Stripe gives up and sends again.", patience)

    def _refusals(self) -> _Symptom | None:
        """We answer that an event cannot be stored."""
        refused, asked = self._refused.total, self._asked.total
        if refused < 3:
            return None
        ratio = refused / max(1.0, asked)
        weight = min(ratio / self._settings.refused, refused / 5)
        if weight < 0.5:
            return None
        evidence = Evidence("events that we refused", 100 * ratio, 100 * self._settings.refused, "%", "limit")
        return _Symptom(OURS, weight, evidence, "We refuse events, so Stripe sends them again.")

    def _failing(self) -> _Symptom | None:
        """The router fails."""
        chosen = self._settings
        errors, routed = self._errors.total, self._routed.total
        if errors < 3 or self._erring.total < 4:
            return None  # one batch with a few bad events
        ratio = errors / max(1.0, errors + routed)
        usual = 2.0 * self._usual_errors.rate * self._errors.seconds + 1.0
        weight = min(ratio / chosen.errors, surprise(errors, usual) / (chosen.surprise / 3))
        if weight < 0.5:
            return None
        evidence = Evidence("events that failed in the router", 100 * ratio, 100 * chosen.errors, "%", "limit")
        return _Symptom(OURS, weight, evidence, "stripe_webhook_router fails on events.")

    def _sighting(self, frame: Frame, symptoms: list[_Symptom]) -> Sighting:
        symptoms = sorted(symptoms, key=lambda symptom: -symptom.weight)
        cause = self._whose(symptoms)
        reports = reports_of_delay(frame)
        weight = symptoms[0].weight
        certain = weight >= 1 or (weight >= 0.5 and reports.count >= self._settings.reports)
        evidence = (*(symptom.evidence for symptom in symptoms), *reports.evidence, *_outside(frame))
        first = min(self._first.values(), default=frame.at)
        severity: Severity = "critical" if cause == OURS or weight >= 3 else "warning"
        said = "Stripe's own doing" if cause == STRIPES else "our doing"
        why = " ".join(dict.fromkeys(symptom.why for symptom in symptoms if symptom.fault == cause)) or symptoms[0].why
        return Sighting(
            key=RUNBOOK,
            runbook=RUNBOOK,
            cause=cause,
            severity=severity,
            title=f"Stripe retry storm, probably {said}: {symptoms[0].evidence}",
            why=why,
            since=first,
            evidence=evidence,
            certain=certain,
            patience=min((symptom.patience for symptom in symptoms if symptom.weight >= 1), default=2),
            explained_by=_OURSELVES,
            lingers=5.0,
        )

    def _whose(self, symptoms: list[_Symptom]) -> str:
        """Ours if something of ours was wrong before Stripe began, or is the only thing wrong."""
        ours, stripes = self._first.get(OURS), self._first.get(STRIPES)
        if ours is None and stripes is None:
            return symptoms[0].fault
        if ours is None or stripes is None:
            return OURS if ours is not None else STRIPES
        return OURS if ours <= stripes else STRIPES


def _outside(frame: Frame) -> tuple[Evidence, ...]:
    """What Stripe's API and status page say; they lag, so they only confirm."""
    said = {"stripe:api": "Stripe's API", "stripe:statusPage": "Stripe's status page"}
    return tuple(
        Evidence(f"{what} (0 well, 1 warns, 2 fails)", value, 0, "", "usual")
        for check, what in said.items()
        if (value := frame.level("health_check", check))
    )
