"""`/v1/signals`: the named readings, now and over time."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from holdfast import durations
from holdfast.db.pool import Pool
from holdfast.signals import readings
from holdfast.signals.readings import READINGS, Reading, reading


class Now(BaseModel):
    """A reading of the last minute."""

    name: str
    what: str
    unit: str
    value: float | None
    """None: unknown, nothing was measured."""


class Signals(BaseModel):
    at: datetime
    signals: list[Now]


class Point(BaseModel):
    at: datetime
    value: float | None


class Series(Now):
    since: datetime
    points: list[Point]


def router(pool: Pool) -> APIRouter:
    """Its routes."""
    made = APIRouter(tags=["signals"])

    @made.get("/signals")
    async def list_signals() -> Signals:
        """Every named reading of the last minute: what a ramp's guard may name."""
        now = datetime.now(UTC)
        found = await readings.take(pool, READINGS.values(), now)
        return Signals(at=now, signals=[_now(one, found[one.name]) for one in READINGS.values()])

    @made.get("/signals/{name}")
    async def show_signal(
        name: str, since: Annotated[str, Query(description="How long ago to begin: 15m, 2h, 3d.")] = "1h"
    ) -> Series:
        """One reading over time, by the minute or coarser; some hundred points at most."""
        chosen, now = reading(name), datetime.now(UTC)
        begin = now - min(durations.read(since), readings.LONGEST)
        points = await readings.series(pool, chosen, begin, now)
        value = (await readings.take(pool, [chosen], now))[name]
        return Series(
            **_now(chosen, value).model_dump(), since=begin, points=[Point(at=at, value=one) for at, one in points]
        )

    return made


def _now(chosen: Reading, value: float | None) -> Now:
    return Now(name=chosen.name, what=chosen.what, unit=chosen.unit, value=value)
