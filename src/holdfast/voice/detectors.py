"""Sees calls fail: Twilio down or degraded, our own doors, single regions, numbers and targets, the Debugger's alerts.

Twilio's status page lags by a quarter of an hour and more, so nothing waits for it: what it says is shown as evidence.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from holdfast.signals.frame import Frame
from holdfast.signals.shares import bounds
from holdfast.voice.debugger import DOOR_CODES, meaning
from holdfast.voice.health import LIMIT
from holdfast.voice.symptoms import Legs, Regions, Silence, Symptom, Unheard, began
from holdfast.watch.model import Evidence, Severity, Sighting
from holdfast.watch.reports import reports_of_unanswered
from holdfast.watch.windows import SketchWindow, Usual, Window, surprise

RUNBOOK = "twilio-outage"
TWILIO, OURS, REGIONS, NUMBERS, TARGETS, DEBUGGER = (
    f"{RUNBOOK}/{name}" for name in ("twilio", "ours", "regions", "numbers", "targets", "debugger")
)
_LONE = 2
"""So many ill numbers and targets, in regions that are not ill, are no trouble of everything."""
_OLD = 4.0
"""Times as long as something is news."""
_OURSELVES = ("performance-degradation/database", "performance-degradation/event_loop")


class TwilioSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds, and shares from 0 to 1. Shares of few calls count with what is certain of them, not as they are."""

    failing: float = 0.15
    """Share of all legs, or of all calls, that fail at the least, and three times the usual: Twilio is degraded."""
    few: float = 5.0
    """Failures from which on any of that counts."""
    down: float = 0.5
    """… that is down."""
    silent: float = 16.0
    """How improbable it must be that no call comes, at half of the usual rate: -ln of the probability."""
    silent_for: float = 60.0
    """… and no call comes for so long."""
    unanswered: float = 0.2
    """Share of the usual that is still answered, when everything rings and nobody answers."""
    api_for: float = 30.0
    """Twilio's API fails for so long: two looks."""
    reports: int = 2
    """Reports of unanswered calls within half an hour that make a faint symptom one."""
    reports_alone: int = 5
    """… that are one by themselves."""
    doors: float = 3.0
    """Alerts within five minutes that Twilio could not use our doors, at two times at least."""
    refused: float = 0.05
    """Share of Twilio's requests that we do not answer as we should."""
    answer: float = 5.0
    """Promise: 95 % of Twilio's requests are answered within; it waits for 15 s."""
    spooled: float = 50.0
    """Callbacks on disk that wait to be stored, and get no fewer."""
    news: float = 10800.0
    """Numbers and targets that fail for longer are known: they open no alert any more, but keep one open."""
    alerts: float = 10.0
    """Other alerts of the Debugger in two minutes that mean nothing, whatever is usual."""
    surprise: float = 16.0
    """How improbable their count must be among the usual ones: -ln of the probability."""


def detectors(settings: TwilioSettings | None = None) -> tuple["_Detector", ...]:
    """All of this module's."""
    chosen = settings or TwilioSettings()
    return TwilioTrouble(chosen), OurDoors(chosen), IllLines(chosen), DebuggerAlerts(chosen)


class _Detector:
    def see(self, frame: Frame) -> Sequence[Sighting]:
        raise NotImplementedError


class TwilioTrouble(_Detector):
    """Twilio as a whole: legs that fail everywhere, calls that stop coming or fail, its API, customers' reports."""

    def __init__(self, settings: TwilioSettings) -> None:
        self._settings = settings
        self._legs = Legs()
        self._unheard = Unheard()
        self._silence = Silence()
        self._api = Window(settings.api_for)
        self._first: datetime | None = None

    def see(self, frame: Frame) -> Sequence[Sighting]:
        symptoms = self._symptoms(frame)
        strange = any(symptom.weight >= 1 for symptom in symptoms)
        for part in (self._legs, self._unheard, self._silence):
            part.learn(strange=strange)
        self._first = (self._first or frame.at) if strange else None
        return [self._sighting(frame, symptoms)] if symptoms else []

    def _symptoms(self, frame: Frame) -> list[Symptom]:
        chosen = self._settings
        ill = [kind for (kind, _), _ in frame.levels("voice_ill")]
        self._api.add(float((frame.level("health_check", "twilio:api") or 0.0) >= 2))
        is_lone = 0 < len(ill) <= _LONE and "region" not in ill
        found = [
            self._legs.failing(frame, chosen.failing, chosen.few, is_lone=is_lone),
            self._legs.ill(frame),
            self._legs.unanswered(chosen.unanswered),
            self._unheard.failing(frame, chosen.failing, chosen.few),
            self._silence.see(frame, chosen.silent, chosen.silent_for),
            self._api_fails(),
            self._reported(frame),
        ]
        return [symptom for symptom in found if symptom is not None and symptom.weight >= 0.5]

    def _api_fails(self) -> Symptom | None:
        if not self._api.is_full or self._api.least < 1:
            return None
        evidence = Evidence("Twilio's API fails for", self._api.seconds, self._api.seconds, "s", "limit")
        return Symptom("api", 1.0, evidence, "Twilio's API does not answer, or answers with errors of its own.", 1)

    def _reported(self, frame: Frame) -> Symptom | None:
        reports, enough = reports_of_unanswered(frame), self._settings.reports_alone
        if reports.count < enough:
            return None
        evidence = Evidence("reports of unanswered calls", reports.count, enough, "", "limit")
        return Symptom("reports", reports.count / enough, evidence, "Customers report calls that nobody answered.", 1)

    def _sighting(self, frame: Frame, symptoms: list[Symptom]) -> Sighting:
        symptoms = sorted(symptoms, key=lambda symptom: -symptom.weight)
        reports = reports_of_unanswered(frame)
        first = symptoms[0]
        certain = first.weight >= 1 or reports.count >= self._settings.reports
        is_down = self._is_down(symptoms)
        severity: Severity = "critical" if is_down or first.weight >= 3 else "warning"
        more = () if any(symptom.name == "reports" for symptom in symptoms) else reports.evidence
        return Sighting(
            key=TWILIO,
            runbook=RUNBOOK,
            cause="down" if is_down else "degraded",
            severity=severity,
            title=f"Twilio is {'down' if is_down else 'degraded'}: {first.evidence}",
            why=" ".join(dict.fromkeys(symptom.why for symptom in symptoms if symptom.weight >= 1)) or first.why,
            since=self._first or frame.at,
            evidence=(*(symptom.evidence for symptom in symptoms), *more, *outside(frame)),
            certain=certain,
            patience=min((symptom.patience for symptom in symptoms if symptom.weight >= 1), default=2),
            explained_by=(OURS,),
            lingers=2.0,
        )

    def _is_down(self, symptoms: Iterable[Symptom]) -> bool:
        """Nothing comes, or most of what is tried fails."""
        found = {symptom.name: symptom for symptom in symptoms}
        share = max((symptom.share for symptom in symptoms), default=0.0)
        silence = found["silence"].weight if "silence" in found else 0.0
        return silence >= 1 or share >= self._settings.down or (silence > 0 and "api" in found)


class OurDoors(_Detector):
    """Our own fault: Twilio cannot use what our doors answer, or we cannot take what it says."""

    _BROKEN = frozenset({"away", "no_account", "last_resort", "not_kept", "error"})
    _STRANGE = frozenset({"bad_signature", "wrong_merchant", "unknown_key", "unknown_account"})

    def __init__(self, settings: TwilioSettings) -> None:
        self._settings = settings
        self._alerts, self._alerting = Window(300), Window(300)
        self._usual_alerts = Usual()
        self._asked, self._broken, self._strange = Window(60), Window(60), Window(60)
        self._usual_genuine = Usual()
        self._took = SketchWindow(60)
        self._spooled = Window(60)
        self._codes: dict[str, float] = {}
        self._first: datetime | None = None

    def see(self, frame: Frame) -> Sequence[Sighting]:
        found = [self._alerted(frame), *self._answers(frame), self._slow(frame), self._spool(frame)]
        symptoms = sorted((one for one in found if one is not None and one.weight >= 0.5), key=lambda one: -one.weight)
        strange = bool(symptoms) and symptoms[0].weight >= 1
        self._usual_alerts.add(self._alerts.last, strange=strange)
        self._first = (self._first or frame.at) if strange else None
        if not symptoms:
            return []
        first = symptoms[0]
        return [
            Sighting(
                key=OURS,
                runbook=RUNBOOK,
                cause="doors",
                severity="critical",
                title=f"Calls fail at our own doors: {first.evidence}",
                why=" ".join(dict.fromkeys(one.why for one in symptoms if one.weight >= 1)) or first.why,
                since=self._first or frame.at,
                evidence=(*(one.evidence for one in symptoms), *outside(frame)),
                certain=first.weight >= 1,
                patience=min((one.patience for one in symptoms if one.weight >= 1), default=2),
                explained_by=_OURSELVES,
                lingers=2.0,
            )
        ]

    def _alerted(self, frame: Frame) -> Symptom | None:
        """Asking the Debugger every half minute brings them in lots: two of these, or it was a restart."""
        chosen, count = self._settings, 0.0
        for (whose, _, code), number in frame.counts("twilio_alerts"):
            if whose == "ours" and code in _DOORS:
                count += number
                self._codes[code] = self._codes.get(code, 0.0) + number
        self._alerts.add(count)
        self._alerting.add(float(count > 0))
        if not self._alerts.total:
            self._codes.clear()
            return None
        usual = 2 * self._usual_alerts.rate * self._alerts.seconds + 0.5
        weight = min(self._alerts.total / chosen.doors, surprise(self._alerts.total, usual) / (chosen.surprise / 4))
        weight = weight if self._alerting.total >= 2 else min(0.9, weight)
        code = max(self._codes, key=lambda one: self._codes[one])
        evidence = Evidence("Debugger alerts about our doors in 5 min", self._alerts.total, usual, "", "usual")
        return Symptom("alerts", weight, evidence, f"Twilio's Debugger says, most of all ({code}): {_said(code)}.", 1)

    def _answers(self, frame: Frame) -> Iterable[Symptom]:
        by_answer = {labels[1]: n for labels, n in frame.counts("webhooks_received") if labels[0] == "twilio"}
        self._asked.add(sum(by_answer.values()))
        self._broken.add(sum(number for answer, number in by_answer.items() if answer in self._BROKEN))
        self._strange.add(sum(number for answer, number in by_answer.items() if answer in self._STRANGE))
        limit, asked = self._settings.refused, self._asked.total
        if self._broken.total >= 3:
            share = bounds(self._broken.total, asked)[0]
            evidence = Evidence(
                "of Twilio's requests not answered as they should", 100 * share, 100 * limit, "%", "limit"
            )
            yield Symptom("broken", share / limit, evidence, "We cannot store or answer what Twilio sends.", 3)
        genuine = asked - self._strange.total
        usual = self._usual_genuine.rate * self._asked.seconds
        self._usual_genuine.add(self._asked.last - self._strange.last)
        # Whoever tries our doors with signatures of his own does not keep Twilio's own requests away.
        if self._strange.total >= 10 and usual >= 3 and genuine < 0.2 * usual:
            share = self._strange.total / asked
            evidence = Evidence(
                "of Twilio's requests with a signature that is not right", 100 * share, 50, "%", "limit"
            )
            why = "Most requests are signed with a token or for an address that is not in our settings."
            yield Symptom("signature", share / 0.5, evidence, why, 6)

    def _slow(self, frame: Frame) -> Symptom | None:
        self._took.add(frame.spread("webhook_seconds", "twilio"))
        if self._took.count < 5:
            return None
        took = self._took.quantile(0.95) or 0.0
        evidence = Evidence("95 % of Twilio's requests answered within", took, self._settings.answer, "s", "promise")
        return Symptom("slow", took / self._settings.answer, evidence, "We answer calls too slowly for Twilio.", 2)

    def _spool(self, frame: Frame) -> Symptom | None:
        spooled = frame.level("callbacks_spooled") or 0.0
        self._spooled.add(spooled)
        if not self._spooled.is_full or spooled < self._spooled.first or not spooled:
            return None
        evidence = Evidence("callbacks wait on disk", spooled, self._settings.spooled, "", "limit")
        return Symptom("spool", spooled / self._settings.spooled, evidence, "Callbacks cannot be stored.", 3)


class IllLines(_Detector):
    """Single regions, numbers and targets, as `voice.health` judges them. When other regions fail too, it is Twilio."""

    def __init__(self, settings: TwilioSettings) -> None:
        self._settings = settings
        self._regions = Regions()

    def see(self, frame: Frame) -> Sequence[Sighting]:
        self._regions.add(frame)
        levels = {(labels[0], labels[1]): low for labels, low in frame.levels("voice_ill")}
        found = []
        for kind in ("region", "number", "target"):
            ill = {key: low for (of, key), low in levels.items() if of == kind and not self._is_old(frame, of, key)}
            if ill and not (kind == "region" and self._regions.all_fail(ill)):
                found.append(self._sighting(frame, kind, ill))
        return found

    def _is_old(self, frame: Frame, kind: str, key: str) -> bool:
        """What nobody will repair must not keep an alert open for ever: the next ones would open none."""
        return kind != "region" and (frame.level("voice_ill_seconds", kind, key) or 0.0) > _OLD * self._settings.news

    def _sighting(self, frame: Frame, kind: str, low: dict[str, float]) -> Sighting:
        ages = {key: frame.level("voice_ill_seconds", kind, key) or 0.0 for key in low}
        news = [key for key in low if kind == "region" or ages[key] <= self._settings.news]
        worst = sorted(news or low, key=lambda key: (-low[key], key))
        named = ", ".join(worst[:3]) + (f" and {len(worst) - 3} more" if len(worst) > 3 else "")
        evidence = tuple(
            Evidence(f"legs of {kind} {key} that fail, at the least", 100 * low[key], 100 * LIMIT, "%", "limit")
            for key in worst[:5]
        )
        key, explained = {
            "region": (REGIONS, (TWILIO, OURS)),
            "number": (NUMBERS, (TWILIO, OURS, REGIONS)),
            "target": (TARGETS, (TWILIO, OURS, REGIONS, NUMBERS)),
        }[kind]
        return Sighting(
            key=key,
            runbook=RUNBOOK,
            cause=f"{kind}s",
            severity="critical" if kind == "region" else "warning",
            title=f"Calls through {kind}{'s' if len(worst) > 1 else ''} {named} fail: {evidence[0]}",
            why=_WHY[kind],
            since=began(frame.at, max(ages[one] for one in worst)),
            evidence=(*evidence, *outside(frame)),
            certain=bool(news),
            patience=2 if kind == "region" else 4,
            explained_by=explained,
            lingers=2.0,
        )


class DebuggerAlerts(_Detector):
    """More alerts of Twilio's Debugger than usual by far, other than those about our doors or other programs'."""

    def __init__(self, settings: TwilioSettings) -> None:
        self._settings = settings
        self._window, self._usual = Window(120), Usual()
        self._codes: dict[str, Window] = {}
        self._first: datetime | None = None

    def see(self, frame: Frame) -> Sequence[Sighting]:
        now = {
            code: n for (whose, _, code), n in frame.counts("twilio_alerts") if whose != "other" and code not in _DOORS
        }
        self._window.add(sum(now.values()))
        for code in now:
            self._codes.setdefault(code, Window(120))
        for code, window in list(self._codes.items()):
            window.add(now.get(code, 0.0))
            if not window.total:
                del self._codes[code]
        usual = self._usual.rate * self._window.seconds
        weight = surprise(self._window.total, 2 * usual + self._settings.alerts) / self._settings.surprise
        self._usual.add(self._window.last, strange=weight >= 1)
        self._first = (self._first or frame.at) if weight >= 1 else None
        if weight < 0.5:
            return []
        codes = sorted(self._codes, key=lambda code: -self._codes[code].total)
        evidence = Evidence("Debugger alerts in 2 min", self._window.total, usual, "", "usual")
        each = (Evidence(f"{code}: {_said(code)}", self._codes[code].total, 0, "", "usual") for code in codes[:4])
        return [
            Sighting(
                key=DEBUGGER,
                runbook=RUNBOOK,
                cause="debugger",
                severity="warning",
                title=f"Twilio's Debugger shows errors: {evidence}, most of all {codes[0]}",
                why=f"Most of all {codes[0]}: {_said(codes[0])}.",
                since=self._first or began(frame.at, self._window.seconds),
                evidence=(evidence, *each),
                certain=weight >= 1,
                patience=2,
                explained_by=(TWILIO, OURS, REGIONS, NUMBERS, TARGETS),
            )
        ]


_WHY: Mapping[str, str] = {
    "region": "Several targets in it, called from several numbers, cannot be reached; other regions can.",
    "number": "What is called for it fails, and the same targets work for others.",
    "target": "It fails whoever calls it; the others of its region work.",
}
_DOORS = frozenset(str(code) for code in DOOR_CODES)


def _said(code: str) -> str:
    return meaning(int(code)).said if code.isdigit() else "see https://www.twilio.com/docs/api/errors"


def outside(frame: Frame) -> tuple[Evidence, ...]:
    """What Twilio's API and status page say; they lag, so they only confirm."""
    said = {
        "twilio:api": "Twilio's API",
        "twilio:statusPage": "Twilio's status page",
        "twilio:components": "what our numbers depend on, on Twilio's status page",
    }
    return tuple(
        Evidence(f"{what} (0 well, 1 warns, 2 fails)", value, 0, "", "usual")
        for check, what in said.items()
        if (value := frame.level("health_check", check))
    )
