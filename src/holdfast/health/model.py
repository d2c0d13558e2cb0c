"""What a probe finds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Status = Literal["pass", "warn", "fail", "unknown"]
WORST: tuple[Status, ...] = ("unknown", "pass", "warn", "fail")
"""From least to most alarming: not knowing alone alarms nobody."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a probe measured. `component:what`, such as `database:roundTrip`, is its key in the report."""

    component: str
    what: str
    status: Status
    observed: float | str | None
    unit: str
    threshold: str
    """In words, such as `warn above 0.1, fail above 1`."""
    output: str = ""
    """Why, where it is not well."""

    @property
    def key(self) -> str:
        return f"{self.component}:{self.what}"


@dataclass(frozen=True, slots=True)
class Check:
    """A finding, when it was made, and since when it has had this status."""

    finding: Finding
    at: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a value alarms."""

    warn: float
    fail: float
    below: bool = False
    """Whether it is low values that alarm."""

    def status(self, value: float) -> Status:
        sign = -1 if self.below else 1
        if sign * value > sign * self.fail:
            return "fail"
        return "warn" if sign * value > sign * self.warn else "pass"

    def __str__(self) -> str:
        side = "below" if self.below else "above"
        return f"warn {side} {self.warn:g}, fail {side} {self.fail:g}"


def judged(component: str, what: str, value: float, unit: str, limits: Limits, *, why: str = "") -> Finding:
    """A finding about a number; `why` is said where it is not well."""
    status = limits.status(value)
    said = why if status != "pass" else ""
    return Finding(component, what, status, round(value, 4), unit, str(limits), said)


def worst(statuses: list[Status]) -> Status:
    return max(statuses, key=WORST.index, default="unknown")
