"""Whom a lever of calls touches: shown before it is turned."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from holdfast.db.pool import Connection, Pool
from holdfast.levers.model import AVOID, VOICE, Target
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY
from holdfast.voice import store
from holdfast.voice.model import PlanTarget, VoiceError
from holdfast.voice.routing import selects, target_region
from holdfast.voice.store import Reached

Executor = Connection | Pool
NAMED = 5
"""Merchants that are named."""
LAST = timedelta(hours=1)
NAMES = frozenset(lever.name for lever in VOICE)


@dataclass(frozen=True, slots=True)
class Reach:
    """The numbers whose calls are treated otherwise, the merchants that have them, and their calls in the last hour.

    `first`: what some of the merchants are called, those with the most numbers first.
    """

    numbers: int
    merchants: int
    calls: int
    first: tuple[str, ...]

    def __str__(self) -> str:
        if not self.numbers:
            return "no number"
        more = self.merchants - len(self.first)
        names = ", ".join(self.first) + (f" and {more} more" if more else "")
        return (
            f"{self.numbers} number{'s' * (self.numbers != 1)} of {names}; "
            f"{self.calls} call{'s' * (self.calls != 1)} in the last hour"
        )


async def reach(db: Executor, lever: str, target: Target, percent: int = 100, *, now: datetime | None = None) -> Reach:
    """Whom the lever touches when it is turned to this percent for this target (a merchant by its id).

    Raises VoiceError where it is no lever of calls.
    """
    if lever not in NAMES:
        raise VoiceError(f"{lever} is no lever of calls: those are {', '.join(sorted(NAMES))}")
    found = await _going_round(db, target) if lever == AVOID.name else await _named(db, target)
    touched = [one for one in found if selects(percent, one.phone)]
    counts: dict[int, int] = {}
    for one in touched:
        counts[one.merchant_id] = counts.get(one.merchant_id, 0) + 1
    largest = sorted(counts, key=lambda merchant_id: (-counts[merchant_id], merchant_id))
    names = await merchants.named(db, largest[:NAMED])
    since = (now or datetime.now(UTC)) - LAST
    return Reach(
        len(touched),
        len(counts),
        await store.calls_since(db, [one.phone for one in touched], since) if touched else 0,
        tuple("the company" if one == COMPANY else names[one][1] for one in largest[:NAMED] if one in names or not one),
    )


async def _named(db: Executor, target: Target) -> list[Reached]:
    """Numbers of what is named."""
    match target.kind:
        case "region":
            return await store.reached(db, region=target.key)
        case "merchant":
            return await store.reached(db, merchant_id=int(target.key))
        case "number":
            return await store.reached(db, phone=target.key)
    return await store.reached(db)


async def _going_round(db: Executor, target: Target) -> list[Reached]:
    """Numbers whose calls ring what is named; of a number that is avoided as caller ID, itself."""
    if target.kind == "number":
        return await store.reached(db, phone=target.key)
    if target.kind == "target":
        return _each(await store.rung_by(db, target.key))
    everything = await store.rung_by(db)
    # Where a number is, is worked out digit by digit: not on the loop that answers calls.
    return await asyncio.to_thread(_in_region, everything, target.key)


def _in_region(rung: list[store.RungBy], region: str) -> list[Reached]:
    return _each([one for one in rung if target_region(PlanTarget(one.address, region=one.region)) == region])


def _each(rung: list[store.RungBy]) -> list[Reached]:
    return list(dict.fromkeys(Reached(one.phone, one.merchant_id) for one in rung))
