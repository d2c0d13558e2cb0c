"""Alerts: what a detector says when it fires."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Severity = Literal["warning", "critical"]
Telling = Literal["opened", "still open", "closed"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One number that made a detector fire, and what it is compared to."""

    what: str
    observed: float
    compared: float
    unit: str
    to: str
    """What `compared` is: `promise`, `usual`, `limit`."""

    def __str__(self) -> str:
        observed, compared = (f"{_number(value)}{_unit(self.unit)}" for value in (self.observed, self.compared))
        return f"{self.what} {observed} ({self.to} {compared})"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a detector sees at one tick: trouble that is there, or (not `certain`) not yet quite gone."""

    key: str
    """Detector and scope, such as `webhook-backlog/route`."""
    runbook: str
    cause: str
    severity: Severity
    title: str
    why: str
    since: datetime
    evidence: tuple[Evidence, ...] = ()
    certain: bool = True
    """Whether it is enough to open an alert; if not, only to keep one open."""
    patience: int = 1
    """Certain sightings in a row that open an alert."""
    lingers: float = 1.0
    """Times as long as usual that the alert stays open when nothing is seen: for what comes in waves."""
    explained_by: tuple[str, ...] = ()
    """Keys, or beginnings of keys, of alerts that explain this one: while they are there, it opens none of its own."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One trouble: open from `opened_at` until `closed_at`. One open alert a `key`."""

    key: str
    """Detector and scope, such as `webhook-backlog/route.critical`."""
    runbook: str
    """stripe-retry-storm, webhook-backlog, performance-degradation …"""
    cause: str
    """One word: what is probably behind it, such as `stripe` or `ours`, `spike` or `sustained`, `disk`."""
    severity: Severity
    title: str
    """One line: what is wrong."""
    why: str
    """One or two sentences: what the cause is taken from."""
    since: datetime
    """When what is wrong began, as far as the signals tell."""
    opened_at: datetime
    evidence: tuple[Evidence, ...] = ()
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """An alert as it is in the store. `affected`: lists of lanes, merchants, destinations, in the detectors' words."""

    id: int
    alert: Alert
    affected: Mapping[str, Any]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell of an alert through one channel."""

    id: int
    what: Telling
    channel: str
    tries: int
    created_at: datetime
    kept: Kept


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts whose key begins with `matches` are not told until `ends_at`."""

    id: int
    matches: str
    starts_at: datetime
    ends_at: datetime
    actor: str
    reason: str


KINDS = ("delayed", "missing", "slow", "unanswered", "other")
"""What a report is of: notifications late, notifications missing, the service slow, calls unanswered, anything else."""
SOURCES = ("merchant", "customer", "team")


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody outside noticed, entered by hand."""

    id: int
    at: datetime
    kind: str
    source: str
    merchant_id: int | None
    text: str
    actor: str


@dataclass(frozen=True, slots=True)
class Beat:
    """When `health_watch` last looked at everything, where it runs, and how many seconds that took."""

    at: datetime
    host: str
    pid: int
    took: float


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _unit(unit: str) -> str:
    return unit if unit in ("%", "") else f" {unit}"
