"""The latest findings, kept in memory, so that telling them is quick whatever is down."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast import __version__
from holdfast.health.model import Check, Finding, Status, worst
from holdfast.signals.registry import REGISTRY, Gauge

STATUS = REGISTRY.add(Gauge("health_status", "0 well, 1 warning, 2 failed, by component.", ("component",)))
CHECK = REGISTRY.add(
    Gauge("health_check", "0 well, 1 warning, 2 failed, by check; unknown ones say nothing.", ("check",))
)
_VALUE: dict[Status, float] = {"pass": 0.0, "unknown": 0.0, "warn": 1.0, "fail": 2.0}
STALE = timedelta(seconds=120)
"""A finding that old says nothing any more: its probe hangs or its process has trouble."""


class Board:
    """Findings by key, with since when each has had its status."""

    def __init__(self, components: Iterable[str]) -> None:
        """`components` are reported from the start, as unknown."""
        self._components = tuple(components)
        self._checks: dict[str, Check] = {}

    def put(self, findings: Iterable[Finding], now: datetime) -> None:
        for finding in findings:
            before = self._checks.get(finding.key)
            same = before is not None and before.finding.status == finding.status
            self._checks[finding.key] = Check(finding, now, before.since if before is not None and same else now)
        for component, status in self.components(now).items():
            STATUS.set(_VALUE[status], component)
        known = (check.finding for check in self.checks(now) if check.finding.status != "unknown")
        CHECK.replace(((finding.key,), _VALUE[finding.status]) for finding in known)

    def checks(self, now: datetime) -> list[Check]:
        """All checks; a stale one is unknown."""
        return [_fresh(check, now) for _, check in sorted(self._checks.items())]

    def components(self, now: datetime) -> dict[str, Status]:
        found: dict[str, list[Status]] = {component: [] for component in self._components}
        for check in self.checks(now):
            found.setdefault(check.finding.component, []).append(check.finding.status)
        return {component: worst(statuses) for component, statuses in found.items()}

    def report(self, now: datetime | None = None) -> tuple[int, bytes]:
        """HTTP status and `application/health+json`: 503 when a component failed.

        Source: https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06
        """
        now = now or datetime.now(UTC)
        checks: dict[str, list[dict[str, Any]]] = {}
        for component, status in self.components(now).items():
            if not any(check.finding.component == component for check in self.checks(now)):
                checks[component] = [{"componentId": component, "status": _told(status), "output": "not probed yet"}]
        for check in self.checks(now):
            checks[check.finding.key] = [_as_json(check)]
        overall = worst(list(self.components(now).values()))
        document = {
            "status": _told(overall),
            "version": __version__,
            "serviceId": "holdfast",
            "time": now.isoformat(timespec="milliseconds"),
            "checks": checks,
        }
        return 503 if overall == "fail" else 200, json.dumps(document).encode()


def _fresh(check: Check, now: datetime) -> Check:
    if now - check.at <= STALE:
        return check
    old = check.finding
    output = f"last probed {(now - check.at).total_seconds():.0f} s ago"
    stale = Finding(old.component, old.what, "unknown", old.observed, old.unit, old.threshold, output)
    return Check(stale, check.at, check.at + STALE)


def _told(status: Status) -> str:
    """The draft knows pass, warn and fail only."""
    return "warn" if status == "unknown" else status


def _as_json(check: Check) -> dict[str, Any]:
    finding = check.finding
    document: dict[str, Any] = {
        "componentId": finding.component,
        "status": _told(finding.status),
        "observedValue": finding.observed,
        "observedUnit": finding.unit,
        "threshold": finding.threshold,
        "time": check.at.isoformat(timespec="milliseconds"),
        "since": check.since.isoformat(timespec="milliseconds"),
    }
    if finding.status == "unknown":
        document["known"] = False
    if finding.output:
        document["output"] = finding.output
    return document
