"""Incidents: their states, people, log and obligations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from holdfast.watch.model import Severity

State = Literal["detected", "acknowledged", "mitigating", "monitoring", "resolved", "reviewed"]
STATES: tuple[State, ...] = get_args(State)
OPEN: tuple[State, ...] = STATES[:4]
"""The states in which somebody has to do something about it."""
StepState = Literal[
    "pending", "running", "waiting", "asking", "done", "not applicable", "failed", "skipped", "undone", "uncertain"
]
FINISHED: tuple[StepState, ...] = ("done", "not applicable", "skipped", "undone")
Role = Literal["responder", "admin"]
ENGINE = "holdfast"
"""The actor where nobody was involved."""
WEEK = timedelta(weeks=1)


class IncidentError(Exception):
    """It cannot be done; the message says why, and what can be."""


class UnknownError(IncidentError):
    """There is no such incident, step or person."""


class RefusedError(IncidentError):
    """It could be done, but not now or not by this person: the message says what is in the way."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody on the team. `key` is the name in commands and messages."""

    id: int
    key: str
    name: str
    email: str | None
    role: Role
    position: int | None = None
    """The place in the rota, from 0; None: not in it."""


@dataclass(frozen=True, slots=True)
class Week:
    """Somebody's week in the rota: from `begins` until `ends`."""

    person: Person
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Rota:
    """Weekly: whose week it is changes at `handover`, the people take turns in order."""

    people: tuple[Person, ...]
    handover: datetime
    """A moment at which a week began with the first of them."""

    def on_call(self, at: datetime) -> Person | None:
        """Whose week it is."""
        return self.from_now(at)[0] if self.people else None

    def weeks(self, at: datetime, count: int) -> tuple[Week, ...]:
        """The week that `at` is in, and those after it. A week has 168 hours, also when the clocks change."""
        first = (at - self.handover) // WEEK
        return tuple(
            Week(
                self.people[number % len(self.people)],
                self.handover + number * WEEK,
                self.handover + (number + 1) * WEEK,
            )
            for number in range(first, first + count)
            if self.people
        )

    def from_now(self, at: datetime) -> tuple[Person, ...]:
        """Everybody in it, whose week it is first."""
        if not self.people:
            return ()
        first = (at - self.handover) // WEEK % len(self.people)
        return self.people[first:] + self.people[:first]


@dataclass(frozen=True, slots=True)
class Incident:
    """One trouble that people work on.

    `scope` is the part of the alerts' keys behind the runbook, "" for the whole: one open incident per runbook and
    scope. `since` is when the trouble began as far as the signals tell, `opened_at` when the incident was opened.
    `calm_at`: when its last alert closed; None while one is open, and after it was re-opened until an alert closes or
    somebody says so. `affected` is what its alerts found.
    """

    id: int
    runbook: str
    version: str
    scope: str
    title: str
    severity: Severity
    state: State
    cause: str
    commander: str | None
    since: datetime
    opened_at: datetime
    opened_by: str
    acknowledged_at: datetime | None = None
    mitigating_at: datetime | None = None
    calm_at: datetime | None = None
    monitoring_at: datetime | None = None
    resolved_at: datetime | None = None
    reviewed_at: datetime | None = None
    reopened_at: datetime | None = None
    merged_into: int | None = None
    affected: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return self.state in OPEN and self.merged_into is None


Kind = Literal["opened", "alert", "state", "step", "lever", "message", "note", "person", "obligation"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the log: what happened, by whom, with what evidence. Never changed."""

    id: int
    incident_id: int
    at: datetime
    kind: Kind
    actor: str
    text: str
    step: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step as it stands. Everything that the engine needs to go on is in it, so no upgrade strands an incident.

    `runs` counts the runs of an `every` step, `tries` the tries of the present run. `draft` is the text that an `ask`
    would send. `answer` is what a person wrote.
    """

    incident_id: int
    key: str
    position: int
    phase: str
    group: str
    kind: str
    text: str
    action: str | None
    parameters: Mapping[str, Any]
    role: str
    every: timedelta | None
    state: StepState
    runs: int = 0
    tries: int = 0
    due_at: datetime | None = None
    began_at: datetime | None = None
    ended_at: datetime | None = None
    actor: str | None = None
    said: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    draft: str | None = None
    answer: str | None = None

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED


ObligationKind = Literal["acknowledge", "update", "action", "review", "reply"]


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something somebody has to do by a time: acknowledge, update the team, an action item of the review, a reply.

    `step` of an update is the step that it is owed by; of a reply, what is to be answered, such as `complaint-12`.
    """

    id: int
    incident_id: int
    kind: ObligationKind
    text: str
    owner: str | None
    due_at: datetime
    met_at: datetime | None = None
    told_at: datetime | None = None
    told: int = 0
    step: str | None = None
