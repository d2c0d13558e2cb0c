"""What `/v1/incidents` takes and answers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from holdfast.incidents import model
from holdfast.incidents.service import LONGEST
from holdfast.runbooks import actions, needs
from holdfast.runbooks.page import Line, Page

T = TypeVar("T", bound=BaseModel)
Reason = Annotated[str, Field(min_length=1, max_length=LONGEST, description="Why: it goes into the log.")]


class Acting(BaseModel):
    """Who does it: a key of /v1/people, once there are any."""

    model_config = ConfigDict(extra="forbid")
    actor: str = Field("api", min_length=1, max_length=200, description="Who does it: a key of /v1/people.")


class Opening(Acting):
    runbook: str = Field(max_length=200)
    title: str = Field(min_length=1, max_length=1000, description="What is wrong, in one line.")
    severity: Literal["warning", "critical"] | None = Field(None, description="The runbook's unless given.")


class Assigning(Acting):
    commander: str = Field(min_length=1, max_length=200)


class Noting(Acting):
    text: str = Field(min_length=1, max_length=LONGEST)


class Because(Acting):
    reason: Reason


class Resolving(Acting):
    reason: Annotated[
        str, Field(max_length=LONGEST, description="Needed to resolve over what is in the way; it goes into the log.")
    ] = ""


class Merging(Acting):
    into: int = Field(ge=1, le=2**62, description="The incident to go on with.")


class Approving(Acting):
    text: str | None = Field(None, min_length=1, max_length=LONGEST, description="Goes out instead of the draft.")


class Doing(Acting):
    note: str = Field("", max_length=LONGEST, description="What came of it.")


class Incident(BaseModel):
    id: int
    runbook: str
    version: str
    scope: str
    title: str
    severity: str
    state: str
    cause: str
    commander: str | None
    since: datetime
    opened_at: datetime
    opened_by: str
    acknowledged_at: datetime | None
    mitigating_at: datetime | None
    calm_at: datetime | None
    monitoring_at: datetime | None
    resolved_at: datetime | None
    reviewed_at: datetime | None
    merged_into: int | None
    affected: dict[str, Any]


class Listed(Incident):
    """With what waits in it."""

    waiting: int
    """Steps that wait for people."""
    failed: int
    overdue: int
    update_due: datetime | None


class Incidents(BaseModel):
    incidents: list[Listed]
    next: str | None
    """The cursor of the next page; None at the end."""


class Step(BaseModel):
    key: str
    number: int
    """On the page, from 1."""
    phase: str
    group: str
    kind: str
    text: str
    action: str | None
    parameters: dict[str, Any]
    role: str
    every: float | None
    """Seconds."""
    state: str
    runs: int
    tries: int
    due_at: datetime | None
    began_at: datetime | None
    ended_at: datetime | None
    actor: str | None
    said: str
    evidence: dict[str, Any]
    draft: str | None
    answer: str | None


class Need(BaseModel):
    """Something that waits for somebody."""

    what: str
    text: str
    commands: list[str]
    step: str | None
    role: str
    due_at: datetime | None
    said: str
    draft: str | None


class Mitigation(BaseModel):
    """Something that is not as usual because of it."""

    what: str
    actor: str
    since: datetime | None
    expires_at: datetime | None
    undo: str


class Obligation(BaseModel):
    id: int
    kind: str
    text: str
    owner: str | None
    due_at: datetime
    step: str | None


class Story(BaseModel):
    """An incident with all that there is to know of it now."""

    incident: Incident
    needs: list[Need]
    steps: list[Step]
    ledger: list[Mitigation]
    obligations: list[Obligation]
    obstacles: list[str]
    """What keeps it from being resolved."""
    alerts: list[int]
    merged: list[int]
    """The incidents that were merged into it."""


class Entry(BaseModel):
    id: int
    at: datetime
    kind: str
    actor: str
    text: str
    step: str | None
    evidence: dict[str, Any]


class Log(BaseModel):
    log: list[Entry]
    next: int
    """What to ask for as `after` to go on."""


class Noted(BaseModel):
    entry: int
    """Its number in the log."""


def incident(one: model.Incident) -> Incident:
    return same(Incident, one, affected=dict(one.affected))


def listed(line: Line) -> Listed:
    more: Mapping[str, Any] = {name: getattr(line, name) for name in ("waiting", "failed", "overdue", "update_due")}
    return Listed(**incident(line.incident).model_dump(), **more)


def step(one: model.StepRow) -> Step:
    every = one.every.total_seconds() if one.every is not None else None
    return same(
        Step,
        one,
        number=one.position + 1,
        every=every,
        parameters=dict(one.parameters),
        evidence=dict(one.evidence),
    )


def story(page: Page) -> Story:
    return Story(
        incident=incident(page.incident),
        needs=[_need(one) for one in page.needs],
        steps=[step(one) for one in page.steps],
        ledger=[_mitigation(one) for one in page.ledger],
        obligations=[same(Obligation, one) for one in page.obligations],
        obstacles=list(page.obstacles),
        alerts=list(page.alerts),
        merged=list(page.merged),
    )


def entry(one: model.Entry) -> Entry:
    return same(Entry, one, evidence=dict(one.evidence))


def _need(one: needs.Need) -> Need:
    return same(Need, one, commands=list(one.commands))


def _mitigation(one: actions.Mitigation) -> Mitigation:
    return same(Mitigation, one)


def same(made: type[T], one: object, **given: Any) -> T:
    """What `one` has under the same names, and what is given."""
    return made(**{name: getattr(one, name) for name in made.model_fields if name not in given}, **given)
