"""Sees trouble with consent: complaints, texts that people stop, tries to send to them, texts around the gate.

What is judged in the store (`standing`, `auditing`) comes as gauges that name only what is out of line; here it becomes
alerts. All keys have one slash, so all of this joins one incident: a complaint and the campaign behind it are one
matter, and the first thing that is asked is whether they are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from holdfast.messaging.auditing_store import SAID
from holdfast.messaging.standing import ConsentSettings, limit_of
from holdfast.signals.frame import Frame
from holdfast.watch.model import Evidence, Sighting
from holdfast.watch.windows import Window

RUNBOOK = "consent-complaint"
FILED, REPLY_DUE, STOP_RATE, TRIES, LOOP, SIMILAR, AUDIT, MISPLACED = (
    f"{RUNBOOK}/{name}"
    for name in ("filed", "reply-due", "stop-rate", "suppressed-tries", "keyword-loop", "similar", "audit", "misplaced")
)
OPEN, DUE, COUNTED = "complaints_open", "complaints_due_seconds", "complaints_filed"
"""What the complaints' room says; it is above this one, so it is known by name alone."""
_LINGERS = 3.0
"""What is judged every half minute may be unsaid for one while its worker restarts."""


def detectors(settings: ConsentSettings | None = None) -> tuple["_Detector", ...]:
    """All of this module's."""
    chosen = settings or ConsentSettings()
    return Complaints(), ReplyDue(chosen), OutOfLine(chosen), AuditFindings(), Misplaced()


class _Detector:
    def see(self, frame: Frame) -> Sequence[Sighting]:
        raise NotImplementedError


class Complaints(_Detector):
    """A complaint that waits for its answer. The counter is sooner than the gauge, and the gauge lasts."""

    def __init__(self) -> None:
        self._filed = Window(600)
        self._by_source: dict[str, float] = {}
        self._first: datetime | None = None

    def see(self, frame: Frame) -> Sequence[Sighting]:
        new = {labels[0]: count for labels, count in frame.counts(COUNTED) if count}
        self._filed.add(sum(new.values()))
        for source, count in new.items():
            self._by_source[source] = self._by_source.get(source, 0.0) + count
        waiting = frame.level(OPEN) or 0.0
        if not waiting and not new:
            self._first = None
            self._by_source.clear()
            return []
        self._first = self._first or frame.at
        count, worst = max(waiting, sum(new.values())), _worst(frame)
        evidence = (
            Evidence("complaints without an answer", count, 0, "", "limit"),
            Evidence("complaints in ten minutes", self._filed.total, 0, "", "usual"),
        )
        said = _sources(self._by_source)
        return [
            Sighting(
                key=FILED,
                runbook=RUNBOOK,
                cause=worst.cause if worst is not None else "complaint",
                severity="critical",
                # Without a number: an incident keeps the title, and more may join.
                title="People who complained about texts are owed an answer",
                why=f"{said} {worst.why if worst is not None else _ALONE}".strip(),
                since=self._first,
                evidence=(*evidence, worst.evidence) if worst is not None else evidence,
            )
        ]


class ReplyDue(_Detector):
    """The hour within which a complaint is to be answered is nearly over, or is."""

    def __init__(self, settings: ConsentSettings) -> None:
        self._settings = settings

    def see(self, frame: Frame) -> Sequence[Sighting]:
        left = frame.level(DUE)
        if left is None or left >= self._settings.reply_warning:
            return []
        is_late = left < 0
        since = frame.at - timedelta(seconds=(0.0 if is_late else self._settings.reply_warning) - left)
        evidence = Evidence("time left to answer", left / 60, self._settings.reply_warning / 60, "min", "limit")
        when = f"overdue by {-left / 60:.0f} min" if is_late else f"due in {left / 60:.0f} min"
        return [
            Sighting(
                key=REPLY_DUE,
                runbook=RUNBOOK,
                cause="reply",
                severity="critical" if is_late else "warning",
                title=f"The answer to a complaint is {when}",
                why="A complaint is answered within an hour of its arrival, and nobody has said that this one was.",
                since=since,
                evidence=(evidence,),
            )
        ]


class OutOfLine(_Detector):
    """What the standing of merchants, batches and forms says: one alert for each that is out of line."""

    def __init__(self, settings: ConsentSettings) -> None:
        self._settings = settings

    def see(self, frame: Frame) -> Sequence[Sighting]:
        facts: dict[tuple[str, str], dict[str, float]] = {}
        for (kind, of, fact), value in frame.levels("texts_trouble_facts"):
            facts.setdefault((kind, of), {})[fact] = value
        found = []
        for (kind, of), value in sorted(frame.levels("texts_trouble")):
            make = _MAKE.get(kind)
            if make is not None:
                found.append(make(_Said(frame.at, of, value, facts.get((kind, of), {}), self._settings)))
        return found


class AuditFindings(_Detector):
    """What the audit found and nobody has settled yet."""

    def __init__(self) -> None:
        self._first: dict[str, datetime] = {}

    def see(self, frame: Frame) -> Sequence[Sighting]:
        by_kind: dict[str, dict[str, float]] = {}
        for (kind, severity), count in frame.levels("audit_findings_open"):
            if count:
                by_kind.setdefault(kind, {})[severity] = count
        self._first = {kind: self._first.get(kind, frame.at) for kind in by_kind}
        return [self._sighting(kind, counts) for kind, counts in sorted(by_kind.items())]

    def _sighting(self, kind: str, counts: Mapping[str, float]) -> Sighting:
        total, stopped = sum(counts.values()), counts.get("critical", 0.0)
        what, cause, why = _FINDINGS.get(kind, _UNKNOWN_FINDING)
        evidence = [Evidence(f"texts {what}", total, 0, "", "limit")]
        if kind == "bypassed" and stopped:
            evidence.append(Evidence("of these to people who had stopped them", stopped, 0, "", "limit"))
        return Sighting(
            key=f"{AUDIT}:{kind}",
            runbook=RUNBOOK,
            cause=cause,
            severity="critical" if stopped else "warning",
            title=f"{_plural(total, 'text went', 'texts went')} out {what}: {evidence[-1]}",
            why=why,
            since=self._first[kind],
            evidence=tuple(evidence),
            lingers=_LINGERS,
        )


class Misplaced(_Detector):
    """Texts from people that a merchant's own account brought for a number of another merchant."""

    def __init__(self) -> None:
        self._lately = Window(3600)
        self._first: datetime | None = None

    def see(self, frame: Frame) -> Sequence[Sighting]:
        self._lately.add(sum(count for _, count in frame.counts("texts_misplaced")))
        if not self._lately.total:
            self._first = None
            return []
        self._first = self._first or frame.at
        count = self._lately.total
        return [
            Sighting(
                key=MISPLACED,
                runbook=RUNBOOK,
                cause="numbers",
                severity="warning",
                title=f"{_plural(count, 'text', 'texts')} from people came with another merchant's account",
                why=(
                    "The number that was texted is not of the merchant whose account signed it. Stops were heard for "
                    "the account's merchant alone. See `texts.wrong_merchant` in the log; then put the number right "
                    "(holdfast numbers set), or the account (holdfast twilio accounts add), or the token is misused."
                ),
                since=self._first,
                evidence=(Evidence("such texts in an hour", count, 0, "", "limit"),),
            )
        ]


@dataclass(frozen=True, slots=True)
class _Said:
    """One series of the gauge, and what it rests on."""

    at: datetime
    of: str
    value: float
    facts: Mapping[str, float]
    settings: ConsentSettings

    def fact(self, name: str) -> float:
        return self.facts.get(name, 0.0)

    def sighting(self, key: str, cause: str, title: str, why: str, *evidence: Evidence) -> Sighting:
        """Of warning; who knows better replaces that."""
        return Sighting(
            # A slash would make it an incident of its own.
            key=f"{key}:{self.of.replace('/', '_')}",
            runbook=RUNBOOK,
            cause=cause,
            severity="warning",
            title=title,
            why=why,
            since=self.at - timedelta(seconds=self.fact("seconds")),
            evidence=evidence,
            lingers=_LINGERS,
        )


def _stop_rate(said: _Said, cause: str) -> Sighting:
    """Critical from twice what is bad anyway."""
    usual, sent, stopped = said.facts.get("usual"), said.fact("sent"), said.fact("stopped")
    limit = limit_of(usual, said.settings)
    rate = Evidence("of the texts were stopped, at the least", 100 * said.value, 100 * limit, "%", "limit")
    evidence = [rate, Evidence("people who stopped", stopped, said.settings.stops, "", "limit")]
    if usual is not None:
        share = 100 * stopped / max(1.0, sent)
        evidence.append(Evidence("of the merchant's texts are stopped", share, 100 * usual, "%", "usual"))
    within = f"the last {said.fact('hours'):.0f} hours"
    counted = f"{stopped:,.0f} of {sent:,.0f} texts of {within} were stopped."
    title, why = f"People stop the texts of {said.of}: {rate}", f"{counted} {_WHY[cause]}"
    found = said.sighting(STOP_RATE, cause, title, why, *evidence)
    return replace(found, severity="critical") if said.value > 2 * said.settings.bad else found


def _tries(said: _Said) -> Sighting:
    evidence = Evidence("texts in an hour to people who had stopped them", said.value, said.settings.tries, "", "limit")
    people = Evidence("people who had stopped", said.fact("people"), 0, "", "usual")
    why = f"All were refused. Each of these people was suppressed for ten minutes and more: {_WHY['sync']}"
    return said.sighting(
        TRIES, "sync", f"{said.of} keeps texting people who stopped: {evidence}", why, evidence, people
    )


def _loop(said: _Said) -> Sighting:
    evidence = Evidence("keywords in an hour from one person", said.value, said.settings.keywords, "", "limit")
    title = f"Keywords go round between {said.of} and {_plural(said.fact('people'), 'person', 'people')}: {evidence}"
    people = Evidence("people who send them", said.fact("people"), 0, "", "usual")
    return said.sighting(LOOP, "keyword_loop", title, _WHY["keyword_loop"], evidence, people)


def _similar(said: _Said) -> Sighting:
    cause = "batch" if said.of.startswith("batch:") else "merchant"
    evidence = Evidence("people who complained in seven days", said.value, said.settings.similar, "", "limit")
    title = f"Complaints about {said.of} are alike: {evidence}"
    return replace(said.sighting(SIMILAR, cause, title, _ALIKE[cause], evidence), severity="critical")


_MAKE: Mapping[str, Callable[[_Said], Sighting]] = {
    "stop_rate_merchant": lambda said: _stop_rate(said, "merchant"),
    "stop_rate_batch": lambda said: _stop_rate(said, "batch"),
    "stop_rate_origin": lambda said: _stop_rate(said, "form"),
    "suppressed_tries": _tries,
    "keyword_loop": _loop,
    "similar_complaints": _similar,
}
_WHY: Mapping[str, str] = {
    "merchant": "However their consents came in: what this merchant sends, or how often, is not what people agreed to.",
    "batch": "The merchant's other texts are well: this import holds people who did not agree.",
    "form": "The merchant's other texts are well: people who came through this form did not know what they agreed to.",
    "sync": "the merchant's own list does not take our suppressions over.",
    "keyword_loop": "One person sends STOP, START or HELP again and again: most often two machines answer each other.",
}
_ALIKE: Mapping[str, str] = {
    "merchant": "Several people complain about one merchant, and one of them has no answer yet.",
    "batch": "Several people who complain came in by one import, and one of them has no answer yet.",
}
_ALONE = "No merchant, batch or form is out of line: it may be one person's matter."
_FINDINGS: Mapping[str, tuple[str, str, str]] = {
    "no_consent": (
        SAID["no_consent"],
        "gate",
        "The ledger has no grant that held when they were tried: the gate was changed, or rows came in another way.",
    ),
    "after_stop": (
        SAID["after_stop"],
        "gate",
        "A suppression was in force when they were tried: somebody sends without asking the gate, or a fault of ours.",
    ),
    "bypassed": (
        SAID["bypassed"],
        "bypass",
        "Twilio's own list has texts from our numbers that nobody asked the gate for: another program has the token.",
    ),
}
_UNKNOWN_FINDING = ("that the audit objects to", "gate", "The audit found them.")
_SAID_BY: Mapping[str, str] = {"api": "the API", "cli": "the team", "text": "a reply", "audit": "the audit"}


@dataclass(frozen=True, slots=True)
class _Worst:
    cause: str
    why: str
    evidence: Evidence


def _worst(frame: Frame) -> _Worst | None:
    """What else is out of line, and probably why people complain: going around the gate first, then what is sent."""
    around = frame.level("audit_findings_open") or 0.0
    if around:
        return _Worst(
            "bypass", "Texts went out that the audit objects to.", Evidence("of them", around, 0, "", "limit")
        )
    for kind, cause in (("stop_rate_batch", "batch"), ("stop_rate_origin", "form"), ("stop_rate_merchant", "merchant")):
        found = [(value, labels[1]) for labels, value in frame.levels("texts_trouble") if labels[0] == kind]
        if found:
            value, of = max(found)
            evidence = Evidence(f"of the texts of {of} were stopped, at the least", 100 * value, 0, "%", "usual")
            return _Worst(cause, f"The texts of {of} are stopped by many at the same time.", evidence)
    return None


def _sources(counts: Mapping[str, float]) -> str:
    named = ", ".join(_SAID_BY.get(source, source) for source in sorted(counts))
    return f"It came by {named}." if named else ""


def _plural(count: float, one: str, many: str) -> str:
    return f"{count:,.0f} {one if count == 1 else many}"
