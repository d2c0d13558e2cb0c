"""What the status page says: components, incidents and their history, composed from published updates alone.

Nothing here knows an alert, a merchant or a lever: what was not published does not exist for the page.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Final, Literal, get_args

ComponentState = Literal["operational", "under_maintenance", "degraded_performance", "partial_outage", "major_outage"]
Impact = Literal["none", "minor", "major", "critical"]
UpdateState = Literal["investigating", "identified", "monitoring", "resolved"]
COMPONENT_STATES: Final[tuple[ComponentState, ...]] = get_args(ComponentState)
"""From the best to the worst."""
IMPACTS: Final[tuple[Impact, ...]] = get_args(Impact)
UPDATE_STATES: Final[tuple[UpdateState, ...]] = get_args(UpdateState)
"""In the order that an incident goes through them."""
DAYS: Final = 90
LONGEST_TITLE, LONGEST_BODY = 120, 4000


class StatusError(Exception):
    """It cannot be published; the message says why and what to write."""


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the service as its users see it."""

    key: str
    name: str
    what: str


COMPONENTS: Final = (
    Component("calls", "Calls", "Calls to merchants' numbers are answered"),
    Component("payments", "Payments", "Payment events are taken in and processed"),
    Component("notifications", "Notifications", "Merchants are told: webhooks and e-mail"),
    Component("api", "API", "Programs can reach us"),
)
"""The only list of them: whatever is added here is on the page, in the feeds and in the commands."""

WORDS: Final[Mapping[str, str]] = {
    "operational": "Operational",
    "under_maintenance": "Under maintenance",
    "degraded_performance": "Degraded performance",
    "partial_outage": "Partial outage",
    "major_outage": "Major outage",
    "investigating": "Investigating",
    "identified": "Identified",
    "monitoring": "Monitoring",
    "resolved": "Resolved",
}
OVERALL: Final[Mapping[Impact, str]] = {
    "none": "All Systems Operational",
    "minor": "Minor Service Outage",
    "major": "Partial System Outage",
    "critical": "Major Service Outage",
}
"""Statuspage's own words. Source: https://metastatuspage.com/api/v2"""
HEADLINES: Final[Mapping[Impact, str]] = {
    "none": "All systems operational",
    "minor": "Some of our service is degraded",
    "major": "Part of our service is disturbed",
    "critical": "Major outage",
}
"""The same for people: a delay is no outage."""
_INDICATES: Final[Mapping[ComponentState, Impact]] = {
    "operational": "none",
    "under_maintenance": "none",
    "degraded_performance": "minor",
    "partial_outage": "major",
    "major_outage": "critical",
}
_DOWN: Final[Mapping[ComponentState, float]] = {"partial_outage": 0.3, "major_outage": 1.0}
"""How much of its time counts as down; slowness is shown and does not count, as on other status pages.

Source: https://support.atlassian.com/statuspage/docs/display-historical-uptime-of-components/
"""


@dataclass(frozen=True, slots=True)
class Update:
    """One published statement about an incident, whole: `components` are all that it touches, from `at` on."""

    id: int
    incident_id: int
    at: datetime
    state: UpdateState
    impact: Impact
    components: Mapping[str, ComponentState]
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class PublicIncident:
    """An incident as the public knows it; `updates` are the oldest first, at least one."""

    id: int
    updates: tuple[Update, ...]

    @property
    def latest(self) -> Update:
        return self.updates[-1]

    @property
    def title(self) -> str:
        return self.latest.title

    @property
    def began_at(self) -> datetime:
        return self.updates[0].at

    @property
    def is_open(self) -> bool:
        return self.latest.state != "resolved"

    @property
    def resolved_at(self) -> datetime | None:
        return None if self.is_open else self.latest.at

    @property
    def impact(self) -> Impact:
        """While it is open, what it is now; afterwards, the worst that it was."""
        if self.is_open:
            return self.latest.impact
        return max((update.impact for update in self.updates), key=IMPACTS.index)

    @property
    def touched(self) -> tuple[str, ...]:
        """The components that it ever touched, in the page's order."""
        named = {key for update in self.updates for key in update.components}
        return tuple(component.key for component in COMPONENTS if component.key in named)

    def reached(self, state: UpdateState) -> datetime | None:
        """When it first was in this state."""
        return next((update.at for update in self.updates if update.state == state), None)


@dataclass(frozen=True, slots=True)
class Day:
    """A component's day, in UTC: the worst that it was."""

    day: date
    worst: ComponentState


@dataclass(frozen=True, slots=True)
class ComponentHistory:
    """A component now and over the last `DAYS` days, the oldest first. `uptime` is in percent of that time."""

    component: Component
    state: ComponentState
    days: tuple[Day, ...]
    uptime: float


@dataclass(frozen=True, slots=True)
class Status:
    """Everything the page says. `incidents` are the newest first."""

    indicator: Impact
    components: tuple[ComponentHistory, ...]
    incidents: tuple[PublicIncident, ...]
    changed_at: datetime | None

    @property
    def open(self) -> tuple[PublicIncident, ...]:
        return tuple(incident for incident in self.incidents if incident.is_open)


def compose(updates: Iterable[Update], now: datetime) -> Status:
    """The page as it is at `now`. Updates of components that there are no longer are shown, but colour nothing."""
    incidents = _incidents(updates)
    still_open = [incident for incident in incidents if incident.is_open]
    components = tuple(_history(component, incidents, now) for component in COMPONENTS)
    indicators = [_INDICATES[history.state] for history in components]
    return Status(
        indicator=max([*indicators, *(one.impact for one in still_open)], key=IMPACTS.index),
        components=components,
        incidents=incidents,
        changed_at=max((one.latest.at for one in incidents), default=None),
    )


def worst(states: Iterable[ComponentState]) -> ComponentState:
    return max(states, key=COMPONENT_STATES.index, default="operational")


def by_day(incidents: Sequence[PublicIncident], now: datetime, days: int) -> list[tuple[date, list[PublicIncident]]]:
    """The last days, today first, each with the incidents that began on it."""
    today = now.astimezone(UTC).date()
    began: dict[date, list[PublicIncident]] = {today - timedelta(days=back): [] for back in range(days)}
    for incident in incidents:
        day = incident.began_at.astimezone(UTC).date()
        if day in began:
            began[day].append(incident)
    return list(began.items())


def first_day(now: datetime) -> datetime:
    """The midnight, UTC, from which on the history is shown."""
    return datetime.combine(now.astimezone(UTC).date() - timedelta(days=DAYS - 1), time(), UTC)


def _incidents(updates: Iterable[Update]) -> tuple[PublicIncident, ...]:
    found: dict[int, list[Update]] = {}
    for update in sorted(updates, key=lambda one: one.id):
        found.setdefault(update.incident_id, []).append(update)
    incidents = (PublicIncident(key, tuple(said)) for key, said in found.items())
    return tuple(sorted(incidents, key=lambda one: (one.began_at, one.id), reverse=True))


def _history(component: Component, incidents: Sequence[PublicIncident], now: datetime) -> ComponentHistory:
    start = first_day(now)
    state = worst(one.latest.components.get(component.key, "operational") for one in incidents if one.is_open)
    worst_of: dict[date, ComponentState] = {
        start.date() + timedelta(days=number): "operational" for number in range(DAYS)
    }
    worst_of[now.astimezone(UTC).date()] = state
    down = 0.0
    for begin, end, as_it_was in _stretches(component.key, incidents, now):
        if end <= start:
            continue
        begin = max(begin, start)  # noqa: PLW2901 - what was before is not shown
        down += _DOWN.get(as_it_was, 0.0) * (end - begin).total_seconds()
        for number in range((end - timedelta(microseconds=1)).toordinal() - begin.toordinal() + 1):
            day = begin.date() + timedelta(days=number)
            worst_of[day] = worst((worst_of[day], as_it_was))
    days = tuple(Day(day, as_it_was) for day, as_it_was in worst_of.items())
    uptime = 100.0 * (1 - down / max(1.0, (now - start).total_seconds()))
    return ComponentHistory(component, state, days, uptime)


def _stretches(
    key: str, incidents: Iterable[PublicIncident], now: datetime
) -> Iterable[tuple[datetime, datetime, ComponentState]]:
    """(from, to, state) of a component wherever it is not operational; incidents at once count as the worst of them."""
    changes: list[tuple[datetime, int, ComponentState]] = []
    for incident in incidents:
        ends = [*(update.at for update in incident.updates[1:]), now]
        for update, end in zip(incident.updates, ends, strict=True):
            state = update.components.get(key, "operational")
            if state != "operational" and update.state != "resolved" and update.at < min(end, now):
                changes += [(update.at.astimezone(UTC), 1, state), (min(end, now).astimezone(UTC), -1, state)]
    changes.sort(key=lambda change: change[0])
    active: Counter[ComponentState] = Counter()
    for (at, change, state), (until, _, _) in pairwise(changes):
        active[state] += change
        if until > at and (there := [one for one, count in active.items() if count > 0]):
            yield at, until, worst(there)
