"""A review: what an incident was in figures, what people say of it, and what is to become of its runbook."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from holdfast.complaints.impact import ComplaintImpact
from holdfast.incidents.model import ENGINE

Verdict = Literal["unchanged", "changed"]
VERDICTS: tuple[Verdict, ...] = ("unchanged", "changed")


class ReviewError(Exception):
    """It cannot be done; the message says why, and what can be."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from when the trouble began; `acknowledge` from when it was detected. None: it did not happen."""

    detect: float | None = None
    acknowledge: float | None = None
    mitigate: float | None = None
    recover: float | None = None
    resolve: float | None = None


@dataclass(frozen=True, slots=True)
class LaneImpact:
    """One lane's events, or notifications. Those that are late waited longer than promised: `median`, `p95` and
    `worst` of their waits, in seconds. `waiting` were not through yet, `failed` ended otherwise.
    """

    lane: str
    promise: float
    count: int
    late: int
    waiting: int
    failed: int
    median: float | None
    p95: float | None
    worst: float | None


@dataclass(frozen=True, slots=True)
class MerchantImpact:
    """`merchant` is its key, None for the company itself and for events that nobody could be found for."""

    merchant: str | None
    name: str
    events_late: int
    notifications_late: int
    worst: float | None
    given_up: int


@dataclass(frozen=True, slots=True)
class Concerned:
    """Payments whose critical events were late: not lost, but not known of in time. `amount` is in minor units."""

    currency: str | None
    payments: int
    amount: int
    livemode: bool


@dataclass(frozen=True, slots=True)
class MerchantCalls:
    """`merchant` is its key, None where it is gone. See `CallImpact`."""

    merchant: str | None
    name: str
    calls: int
    answered: int
    to_voicemail: int
    missed: int
    failed: int
    messages: int


@dataclass(frozen=True, slots=True)
class CallImpact:
    """What became of calls. `to_voicemail`: those that would have rung otherwise; `messages` were left by these."""

    calls: int
    answered: int
    to_voicemail: int
    missed: int
    failed: int
    messages: int
    merchants: tuple[MerchantCalls, ...] = ()
    merchants_affected: int = 0


@dataclass(frozen=True, slots=True)
class Impact:
    """What happened to what came in from `since` to `until`.

    `counted_to`: where counting stopped, if before `until`.
    """

    since: datetime
    until: datetime
    events: tuple[LaneImpact, ...] = ()
    notifications: tuple[LaneImpact, ...] = ()
    merchants: tuple[MerchantImpact, ...] = ()
    merchants_affected: int = 0
    money: tuple[Concerned, ...] = ()
    duplicates: int = 0
    calls: CallImpact | None = None
    """Of an incident about calls."""
    complaints: ComplaintImpact | None = None
    """Of an incident about complaints of texts."""
    counted_to: datetime | None = None
    failed: str = ""
    """Why it could not be counted, if it could not."""

    @property
    def received(self) -> int:
        return sum(lane.count for lane in self.events)

    @property
    def late(self) -> int:
        return sum(lane.late for lane in self.events)


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """An alert as it was: alerts are not kept as long as reviews are."""

    id: int
    key: str
    title: str
    severity: str
    cause: str
    why: str
    since: datetime
    opened_at: datetime
    closed_at: datetime | None
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """A lever that was turned. `step` is the step that did it, None if somebody did by hand."""

    at: datetime
    what: str
    name: str
    target: str
    before: str
    value: str
    actor: str
    reason: str
    step: str | None = None
    for_incident: bool = True

    @property
    def moved(self) -> str:
        """From what to what; of a ramp's own entries, how far it is."""
        if self.value.endswith("%"):
            return f"{self.what}, {self.value} of the way"
        return f"{self.before} → {self.value}"

    @property
    def by_hand(self) -> bool:
        """Whether somebody set it, and no step or ramp."""
        return self.step is None and self.what == "set" and self.actor != ENGINE


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot: a value for each point in time, None where nothing was measured."""

    name: str
    values: tuple[float | None, ...]
    style: Literal["line", "dashed", "steps"] = "line"


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot. `unit`: s, 1/s, share, or nothing for a number of things."""

    title: str
    unit: str
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Plots:
    """What the signals were around the incident: points that are `step` seconds apart, the first at `start`.

    They were read from buckets of `width` seconds.
    """

    start: datetime
    step: int
    count: int
    width: int
    panels: tuple[Panel, ...] = ()

    @property
    def until(self) -> datetime:
        return self.start + timedelta(seconds=self.step * (self.count - 1))


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Something in the run that the runbook might do better. `step` is None where a step may be missing."""

    step: str | None
    what: str
    consider: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted and measured when the incident has resolved, and then stays as it is."""

    resolved_at: datetime
    times: Times
    impact: Impact
    alerts: tuple[AlertFacts, ...] = ()
    turns: tuple[Turn, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    plots: Plots | None = None
    settled: bool = False
    """Whether the time after the incident is in it too, so that nothing is counted again."""


@dataclass(frozen=True, slots=True)
class Review:
    """What is kept of a review. `proposal` is the runbook's whole text as it should become."""

    incident_id: int
    figures: Figures
    root_cause: str
    lessons: str
    verdict: str
    verdict_why: str
    proposal: str | None
    made_at: datetime
    closed_at: datetime | None
    closed_by: str | None

    @property
    def is_closed(self) -> bool:
        return self.closed_at is not None

    @property
    def missing(self) -> tuple[str, ...]:
        """What people have not said yet, without which it cannot be closed."""
        wanted: tuple[tuple[str, Any], ...] = (
            ("the root cause", self.root_cause.strip()),
            ("the verdict on the runbook", self.verdict),
        )
        return tuple(name for name, there in wanted if not there)
