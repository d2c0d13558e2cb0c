"""`/v1/voice/health` and `/v1/voice/alerts`."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from holdfast import durations
from holdfast.db.pool import Pool
from holdfast.durations import DurationError
from holdfast.voice import debugger_store
from holdfast.voice.debugger import Product, Whose, meaning
from holdfast.voice.health import dated, health
from holdfast.voice.isolation import Extent, Fault, Isolation, isolation
from holdfast.voice.model import HealthKind, LineHealth, Verdict

LONGEST = timedelta(days=1)
LONGEST_ALERTS = timedelta(days=30)


class Line(BaseModel):
    """A number, region or target. The true share of failed legs is between `low` and `high`, very probably."""

    kind: HealthKind
    key: str
    tried: int
    answered: int
    failed: int
    low: float
    high: float
    verdict: Verdict
    since: datetime | None
    alerts: dict[str, int]
    """The Debugger's, by code."""


class Reach(BaseModel):
    """How far trouble reaches, and whose it is; `said` in one line."""

    extent: Extent
    whose: Fault
    said: str
    ill: dict[str, list[str]]
    tried: int
    failed: int
    calls: int
    unheard: int
    alerts: dict[Whose, int]
    last_call_at: datetime | None


class Health(BaseModel):
    window_s: float
    isolation: Reach
    lines: list[Line]


class Code(BaseModel):
    """A code of the Debugger's, how often it came, and what it means."""

    code: int
    is_foreign: bool
    """Whether these are about addresses of other programs on the account."""
    count: int
    first_at: datetime
    last_at: datetime
    phones: int
    whose: Whose
    product: Product
    said: str
    example: str


class Alerts(BaseModel):
    codes: list[Code]
    alerts: list[debugger_store.KeptAlert]


def router(pool: Pool) -> APIRouter:
    """Its routes."""
    made = APIRouter(tags=["voice"], prefix="/voice")

    @made.get("/health", response_model=Health)
    async def show_health(
        window: Annotated[str, Query(max_length=20, description="Over the last: 15m, 1h; 1d at most.")] = "15m",
        kind: Annotated[HealthKind | None, Query(description="Only lines of this kind.")] = None,
    ) -> dict[str, Any]:
        """How calls go through every region, number and target that any were put through to, the ill ones first."""
        length, now = _length(window, LONGEST, "window"), datetime.now(UTC)
        lines = await dated(pool, await health(pool, now, window=length), now)
        reach = await isolation(pool, now, window=length)
        return health_document((line for line in lines if kind in (None, line.kind)), reach)

    @made.get("/alerts", response_model=Alerts)
    async def list_alerts(
        since: Annotated[str, Query(max_length=20, description="How long ago to begin: 1h, 2d; 30d at most.")] = "1h",
        code: Annotated[int | None, Query(description="Only this code, such as 11200.")] = None,
        phone: Annotated[str | None, Query(max_length=20, description="Only of this number of ours.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """What Twilio's Debugger says: all of the time by code, and the newest one by one."""
        length, now = _length(since, LONGEST_ALERTS, "since"), datetime.now(UTC)
        grouped = await debugger_store.by_code(pool, now - length, now)
        listed = await debugger_store.alerts(pool, now - length, now, code=code, phone=phone, limit=limit)
        return alerts_document(grouped, listed)

    return made


def health_document(lines: Iterable[LineHealth], reach: Isolation) -> dict[str, Any]:
    """What the command prints with --json, and the API answers."""
    found = asdict(reach)
    window = found.pop("window")
    return {"window_s": window.total_seconds(), "isolation": found, "lines": [asdict(line) for line in lines]}


def alerts_document(
    grouped: Iterable[debugger_store.CodeCount], listed: Iterable[debugger_store.KeptAlert]
) -> dict[str, Any]:
    """Likewise, of alerts."""
    codes = [
        asdict(one) | {"example": one.said} | meaning(one.code, is_foreign=one.is_foreign)._asdict() for one in grouped
    ]
    return {"codes": codes, "alerts": [asdict(one) for one in listed]}


def _length(text: str, longest: timedelta, name: str) -> timedelta:
    length = durations.read(text)
    if length > longest:
        raise DurationError(f"{name}: {text} is too long; ask for {longest.days}d at most")
    return length
