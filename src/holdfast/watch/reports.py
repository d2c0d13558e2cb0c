"""What merchants and customers said lately, as detectors see it."""

from dataclasses import dataclass

from holdfast.signals.frame import Frame
from holdfast.watch.model import Evidence

REPORTS = "reports_recent"
"""A level of every frame: reports of the last half an hour by kind."""


@dataclass(frozen=True, slots=True)
class Reports:
    count: float
    what: str = "delayed notifications"

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        if not self.count:
            return ()
        return (Evidence(f"reports of {self.what}", self.count, 0, "", "usual"),)


def reports_of_delay(frame: Frame) -> Reports:
    """Of notifications that came late or not at all."""
    return Reports((frame.level(REPORTS, "delayed") or 0.0) + (frame.level(REPORTS, "missing") or 0.0))


def reports_of_unanswered(frame: Frame) -> Reports:
    """Of calls that nobody answered."""
    return Reports(frame.level(REPORTS, "unanswered") or 0.0, "unanswered calls")
