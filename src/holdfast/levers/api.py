"""`/v1/levers` and `/v1/ramps`."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, model_validator

from holdfast import durations
from holdfast.db.pool import Pool
from holdfast.levers import ramp_store, store
from holdfast.levers.model import LEVERS, LeverError, UnknownError, Value, written
from holdfast.levers.ramp import HOLD, STEPS, Ramp
from holdfast.levers.turning import Turner

Given = StrictBool | StrictInt | StrictStr
Actor = Annotated[str, Field(min_length=1, max_length=200, description="Who turns it.")]
Reason = Annotated[str, Field(max_length=1000, description="Why: for whoever finds it turned.")]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=20, pattern="^[0-9]+$", description="`next` of the page before.")]
RampId = Annotated[int, Path(ge=1, le=2**62)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Turn(_Given):
    """How to turn a lever. Without `for` and `expires` it stays so until it is cleared."""

    value: Given = Field(description="A number, a word; true or false for a switch.")
    target: str = Field("", max_length=200, description="lane:bulk, merchant:KEY, region:US …; empty: all.")
    for_: str | None = Field(None, alias="for", max_length=20, description="Undo it by itself after 90s, 30m, 2h, 1d.")
    expires: AwareDatetime | None = Field(None, description="Undo it by itself at this time.")
    reason: Reason = ""
    actor: Actor = "api"
    incident_id: int | None = Field(None, ge=1, le=2**62)

    @model_validator(mode="after")
    def _one_end(self) -> "Turn":
        if self.for_ is not None and self.expires is not None:
            raise ValueError("give `for` or `expires`, not both")
        return self

    @property
    def lasts(self) -> timedelta | None:
        """Raises DurationError, LeverError."""
        if self.for_ is not None:
            return durations.read(self.for_)
        if self.expires is None:
            return None
        lasts = self.expires - datetime.now(UTC)
        if lasts <= timedelta():
            raise LeverError(f"expires: {self.expires.isoformat()} is over already")
        return lasts


class Turned(BaseModel):
    """A lever that is off its default."""

    name: str
    target: str
    value: Value
    actor: str
    reason: str
    set_at: datetime
    expires_at: datetime | None
    incident_id: int | None


class Lever(BaseModel):
    """What there is to turn."""

    name: str
    what: str
    targets: list[str]
    values: str


class Levers(BaseModel):
    turned: list[Turned]
    levers: list[Lever]


class Cleared(BaseModel):
    name: str
    target: str
    cleared: bool
    """False: it was at its default."""
    restored: Value | None = None
    """What it was before it was turned for the incident, and is again; null: its default."""


class Change(BaseModel):
    """One row of the history."""

    id: int
    at: datetime
    what: str
    name: str
    target: str
    value: Value | None
    before: Value | None
    actor: str
    reason: str
    expires_at: datetime | None
    incident_id: int | None
    ramp_id: int | None
    percent: int | None
    evidence: list[dict[str, Any]] | None


class Changes(BaseModel):
    changes: list[Change]
    next: str | None
    """The cursor of the next page; None at the end."""


class NewRamp(_Given):
    """What to bring back, and how carefully."""

    name: str = Field(max_length=100, description="The lever.")
    targets: list[Annotated[str, Field(max_length=200)]] = Field(
        default=[], max_length=1000, description="As for a lever; `merchant:*` is all for which a switch is on."
    )
    to: Given | None = Field(None, description="The value to come to; by default the lever's default.")
    steps: list[int] = Field(default=list(STEPS), max_length=20, description="Percents of the way, up to 100.")
    hold: str = Field(f"{HOLD:.0f}s", max_length=20, description="How long each step is held: 60s, 5m.")
    guards: list[Annotated[str, Field(max_length=100)]] | None = Field(
        None, max_length=12, description="database.round_trip<0.1 …; by default those that suit the lever."
    )
    reason: Reason = ""
    actor: Actor = "api"
    incident_id: int | None = Field(None, ge=1, le=2**62)


class RampState(BaseModel):
    """A ramp, and where it is."""

    id: int
    name: str
    targets: list[str]
    origin: Value
    goal: Value
    steps: list[int]
    hold: float
    guards: list[str]
    state: Literal["running", "done", "stopped"]
    percent: int
    since: datetime
    note: str
    actor: str
    reason: str
    incident_id: int | None
    started_at: datetime
    ended_at: datetime | None


class Ramps(BaseModel):
    ramps: list[RampState]
    next: str | None


class RampStory(RampState):
    log: list[Change]
    """Every step, with what the guards saw; newest first."""


def router(pool: Pool, turner: Turner) -> APIRouter:
    """Its routes."""
    made = APIRouter()
    _levers(made, pool, turner)
    _ramps(made, pool, turner)
    return made


def _levers(made: APIRouter, pool: Pool, turner: Turner) -> None:
    @made.get("/levers", tags=["levers"])
    async def list_levers() -> Levers:
        """What is turned, by whom, why, until when; and what there is to turn."""
        found = await store.current(pool)
        names = await turner.shown(one.target for one in found)
        return Levers(
            turned=[_turned(one, names) for one in found],
            levers=[
                Lever(name=one.name, what=one.what, targets=[*one.targets], values=one.values)
                for one in LEVERS.values()
            ],
        )

    @made.get("/levers/history", tags=["levers"])
    async def lever_history(
        name: Annotated[str | None, Query(max_length=100)] = None, limit: Limit = 50, cursor: Cursor = None
    ) -> Changes:
        """Every turn of a lever, and what ramps did; newest first."""
        found = await store.history(pool, name, limit + 1, before=_before(cursor))
        return Changes(changes=await _changes(turner, found[:limit]), next=_next([one.id for one in found], limit))

    @made.put("/levers/{name}", tags=["levers"])
    async def turn_lever(name: str, body: Turn) -> Turned:
        """Turn a lever; in force in every process within a second."""
        value = body.value if isinstance(body.value, str) else written(body.value)
        turned = await turner.turn(
            name,
            body.target,
            value,
            actor=body.actor,
            reason=body.reason,
            lasts=body.lasts,
            incident_id=body.incident_id,
        )
        return _turned(turned, await turner.shown([turned.target]))

    @made.delete("/levers/{name}", tags=["levers"])
    async def clear_lever(
        name: str,
        target: Annotated[str, Query(max_length=200)] = "",
        reason: Annotated[str, Query(max_length=1000)] = "",
        actor: Annotated[str, Query(min_length=1, max_length=200)] = "api",
    ) -> Cleared:
        """Back to the default; from what was turned for an incident, to what it was before."""
        cleared = await turner.clear(name, target, actor=actor, reason=reason)
        back = cleared.now.value if cleared is not None and cleared.now is not None else None
        return Cleared(name=name, target=target, cleared=cleared is not None, restored=back)


def _ramps(made: APIRouter, pool: Pool, turner: Turner) -> None:
    @made.post("/ramps", tags=["ramps"], status_code=201)
    async def start_ramp(body: NewRamp, response: Response) -> RampState:
        """Bring a lever back in steps, as long as its guards say that all is well. Idempotency-Key is honoured."""
        to = body.to if body.to is None or isinstance(body.to, str) else written(body.to)
        ramp = await turner.start_ramp(
            body.name,
            body.targets,
            to=to,
            steps=body.steps,
            hold=durations.read(body.hold).total_seconds(),
            guards=body.guards,
            actor=body.actor,
            reason=body.reason,
            incident_id=body.incident_id,
        )
        response.headers["location"] = f"/v1/ramps/{ramp.id}"
        return (await _shown(turner, [ramp]))[0]

    @made.get("/ramps", tags=["ramps"])
    async def list_ramps(
        state: Literal["running", "done", "stopped"] | None = None, limit: Limit = 50, cursor: Cursor = None
    ) -> Ramps:
        """Newest first."""
        found = await ramp_store.ramps(pool, state, limit + 1, before=_before(cursor))
        return Ramps(ramps=await _shown(turner, found[:limit]), next=_next([one.id for one in found], limit))

    @made.get("/ramps/{ramp_id}", tags=["ramps"])
    async def show_ramp(ramp_id: RampId) -> RampStory:
        """One ramp, with each step and what its guards saw."""
        ramp = await ramp_store.ramp(pool, ramp_id)
        if ramp is None:
            raise UnknownError(f"there is no ramp {ramp_id}; see /v1/ramps")
        log = await _changes(turner, await store.history(pool, None, 500, ramp_id=ramp_id))
        return RampStory(**(await _shown(turner, [ramp]))[0].model_dump(), log=log)

    @made.delete("/ramps/{ramp_id}", tags=["ramps"])
    async def stop_ramp(
        ramp_id: RampId,
        reason: Annotated[str, Query(max_length=1000)] = "",
        actor: Annotated[str, Query(min_length=1, max_length=200)] = "api",
    ) -> RampState:
        """Stop it; the lever stays where it is."""
        return (await _shown(turner, [await turner.stop_ramp(ramp_id, actor=actor, reason=reason)]))[0]


def _turned(one: Any, names: dict[str, str]) -> Turned:
    return Turned(
        name=one.name,
        target=names[one.target],
        value=one.value,
        actor=one.actor,
        reason=one.reason,
        set_at=one.set_at,
        expires_at=one.expires_at,
        incident_id=one.incident_id,
    )


async def _changes(turner: Turner, found: Iterable[Any]) -> list[Change]:
    found = list(found)
    names = await turner.shown(one.target for one in found)
    return [
        Change(**{name: getattr(one, name) for name in Change.model_fields} | {"target": names[one.target]})
        for one in found
    ]


async def _shown(turner: Turner, ramps: list[Ramp]) -> list[RampState]:
    names = await turner.shown(str(target) for ramp in ramps for target in ramp.plan.targets)
    return [
        RampState(
            id=ramp.id,
            name=ramp.plan.lever.name,
            targets=[names[str(target)] for target in ramp.plan.targets],
            origin=ramp.plan.origin,
            goal=ramp.plan.goal,
            steps=list(ramp.plan.steps),
            hold=ramp.plan.hold,
            guards=[str(guard) for guard in ramp.plan.guards],
            state=ramp.state,
            percent=ramp.percent,
            since=ramp.since,
            note=ramp.note,
            actor=ramp.actor,
            reason=ramp.reason,
            incident_id=ramp.incident_id,
            started_at=ramp.started_at,
            ended_at=ramp.ended_at,
        )
        for ramp in ramps
    ]


def _before(cursor: str | None) -> int | None:
    return min(int(cursor), 2**62) if cursor is not None else None


def _next(ids: list[int], limit: int) -> str | None:
    return str(ids[limit - 1]) if len(ids) > limit else None
