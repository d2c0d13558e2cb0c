"""`/v1/alerts`, `/v1/silences`, `/v1/reports`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Protocol, TypeVar, get_args

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from holdfast import durations
from holdfast.db.pool import Pool
from holdfast.watch import store
from holdfast.watch.model import KINDS, SOURCES, Kept
from holdfast.watch.model import Report as Filed
from holdfast.watch.settings import UnknownError

Actor = Annotated[str, Field(min_length=1, max_length=200, description="Who says so.")]
Number = Annotated[int, Path(ge=1, le=2**62)]
Limit = Annotated[int, Query(ge=1, le=500)]
Kind = Literal["delayed", "missing", "slow", "unanswered", "other"]
Source = Literal["merchant", "customer", "team"]
assert (get_args(Kind), get_args(Source)) == (KINDS, SOURCES)
T = TypeVar("T", bound=BaseModel)


class Merchants(Protocol):
    """What merchants are called."""

    async def merchant_id(self, key: str) -> int | None: ...
    async def merchant_keys(self, ids: Sequence[int]) -> Mapping[int, str]: ...


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Evidence(BaseModel):
    what: str
    observed: float
    compared: float
    unit: str
    to: str


class Alert(BaseModel):
    id: int
    key: str
    runbook: str
    cause: str
    severity: str
    title: str
    why: str
    since: datetime
    opened_at: datetime
    closed_at: datetime | None
    updated_at: datetime
    evidence: list[Evidence]
    affected: dict[str, Any]
    """Lists of lanes, merchants, destinations, the worst first."""


class Alerts(BaseModel):
    alerts: list[Alert]
    watched_at: datetime | None
    """When health_watch last looked."""


class NewSilence(_Given):
    matches: str = Field(min_length=1, max_length=200, description="An alert's key, or how keys begin.")
    for_: str = Field("1h", max_length=20, alias="for", description="30m, 2h, 1d.")
    reason: str = Field("", max_length=1000)
    actor: Actor = "api"


class Silence(BaseModel):
    id: int
    matches: str
    starts_at: datetime
    ends_at: datetime
    actor: str
    reason: str


class Silences(BaseModel):
    silences: list[Silence]


class NewReport(_Given):
    kind: Kind
    text: str = Field(min_length=1, max_length=2000, description="What they say.")
    source: Source = "merchant"
    merchant: str | None = Field(None, max_length=200, description="The merchant's key.")
    at: AwareDatetime | None = Field(None, description="When it was noticed; now unless given.")
    actor: Actor = "api"


class Report(BaseModel):
    id: int
    at: datetime
    kind: str
    source: str
    merchant: str | None
    text: str
    actor: str


class Reports(BaseModel):
    reports: list[Report]


def router(pool: Pool, names: Merchants) -> APIRouter:
    """Its routes."""
    made = APIRouter()
    _alerts(made, pool)
    _silences(made, pool)
    _reports(made, pool, names)
    return made


def _alerts(made: APIRouter, pool: Pool) -> None:
    @made.get("/alerts", tags=["alerts"])
    async def list_alerts(
        state: Literal["open", "all"] = "open", since: AwareDatetime | None = None, limit: Limit = 50
    ) -> Alerts:
        """What health_watch sees now; with `state=all`, also what is over, newest first."""
        if state == "open":
            found = await store.open_alerts(pool)
        else:
            found = await store.alerts(pool, since, None, limit)
        beat = await store.last_beat(pool)
        return Alerts(alerts=[_alert(one) for one in found], watched_at=beat.at if beat is not None else None)

    @made.get("/alerts/{alert_id}", tags=["alerts"])
    async def show_alert(alert_id: Number) -> Alert:
        """One alert."""
        found = await store.alert(pool, alert_id)
        if found is None:
            raise UnknownError(f"there is no alert {alert_id}; see /v1/alerts?state=all")
        return _alert(found)


def _silences(made: APIRouter, pool: Pool) -> None:
    @made.get("/silences", tags=["alerts"])
    async def list_silences() -> Silences:
        """What is kept quiet now."""
        return Silences(silences=[_same(Silence, one) for one in await store.silences(pool)])

    @made.post("/silences", tags=["alerts"], status_code=201)
    async def silence(body: NewSilence) -> Silence:
        """Tell nobody of these alerts for a while; they open and close all the same."""
        lasts = durations.read(body.for_)
        return _same(Silence, await store.silence(pool, body.matches, lasts, actor=body.actor, reason=body.reason))

    @made.delete("/silences/{silence_id}", tags=["alerts"], status_code=204)
    async def end_silence(silence_id: Number) -> None:
        """End a silence."""
        if not await store.end_silence(pool, silence_id):
            raise UnknownError(f"there is no silence {silence_id} in force; see /v1/silences")


def _reports(made: APIRouter, pool: Pool, names: Merchants) -> None:
    @made.post("/reports", tags=["reports"], status_code=201)
    async def file_report(body: NewReport) -> Report:
        """What a merchant or customer says: evidence for half an hour. Idempotency-Key is honoured."""
        merchant_id = None
        if body.merchant is not None:
            merchant_id = await names.merchant_id(body.merchant)
            if merchant_id is None:
                raise UnknownError(f"there is no merchant {body.merchant!r}")
        filed = await store.file(pool, body.kind, body.source, merchant_id, body.text, actor=body.actor, at=body.at)
        return (await _named([filed], names.merchant_keys))[0]

    @made.get("/reports", tags=["reports"])
    async def list_reports(since: AwareDatetime | None = None, limit: Limit = 50) -> Reports:
        """Newest first; of the last day unless `since` says otherwise."""
        found = await store.reports(pool, since or datetime.now(UTC) - timedelta(days=1), limit)
        return Reports(reports=await _named(found, names.merchant_keys))


async def _named(
    filed: Sequence[Filed], keys_of: Callable[[Sequence[int]], Awaitable[Mapping[int, str]]]
) -> list[Report]:
    keys = await keys_of([one.merchant_id for one in filed if one.merchant_id is not None])
    return [
        Report(
            id=one.id,
            at=one.at,
            kind=one.kind,
            source=one.source,
            merchant=keys.get(one.merchant_id) if one.merchant_id is not None else None,
            text=one.text,
            actor=one.actor,
        )
        for one in filed
    ]


def _alert(kept: Kept) -> Alert:
    one = kept.alert
    plain = {name: getattr(one, name) for name in Alert.model_fields if hasattr(one, name)}
    evidence = [_same(Evidence, item) for item in one.evidence]
    return Alert(
        **plain | {"evidence": evidence},
        id=kept.id,
        affected=dict(kept.affected),
        updated_at=kept.updated_at,
    )


def _same(model: type[T], one: object) -> T:
    return model(**{name: getattr(one, name) for name in model.model_fields})
