"""How calls go through each number, region and target: with a bound on what chance can do, and who is to blame.

A leg *failed* when it could not be put through. Busy, no answer, and a caller who hung up while it rang are no fault of
the line: it rang.

**Bound.** Of `failed` in `tried`, the true share lies between `low` and `high` in 99 of 100 cases (Wilson's score
interval, z = 2.576). A line is *ill* when `low` is above `LIMIT`: four of four, not three of three. It is *well* when
`high` is below it, and *unknown* between: that condemns nobody, and clears nobody either.

**Time.** Of the last minute, the last four, and the whole window, the shortest counts that says something: a fault is
seen within the minute where many call, and its end as soon.

**Blame.** The same failed leg speaks against its target, the target's region and the number called. So that one that is
ill does not drag the others along:

1. A target is judged by all of its legs.
2. A region is ill only if it still is without its worst target and also without its worst number, and most of its
   targets that were tried fail: then it is not one of them.
3. A number is judged by the legs that neither an ill region explains nor an ill target that fails for other numbers
   too, and is ill only if it still is without its worst target. A number whose calls all go to one target that fails is
   not to blame; one all of whose targets fail, and for it alone, is.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from holdfast.db.pool import Pool
from holdfast.signals.readings import MOST_ILL
from holdfast.signals.shares import bounds
from holdfast.voice import health_store as store
from holdfast.voice.health_store import LegCount
from holdfast.voice.model import HealthKind, LineHealth, Verdict
from holdfast.voice.signals import ILL, ILL_FOR

LIMIT: Final = 0.35
WINDOW: Final = timedelta(minutes=15)
SHORT: Final = (timedelta(minutes=4), timedelta(minutes=1))
_LOOK_BACK: Final = timedelta(days=3)
"""For when failures began: a target that nobody will repair over the weekend is no news on Monday."""
_CEILING: Final = 3.5
KINDS: Final[tuple[HealthKind, ...]] = ("region", "number", "target")


async def measure(pool: Pool, now: datetime) -> None:
    """Say in gauges what is ill, and for how long: regions, then numbers, then targets; others are not in them."""
    _, failed = await store.tried(pool, now - WINDOW, now)
    if not failed:
        forget()  # as at most times, and then there is no need to go through all that went well
        return
    ill = [line for line in await health(pool, now) if line.verdict == "ill"]
    lines = await dated(pool, ill[:MOST_ILL], now)
    ILL.replace(((line.kind, line.key), line.low) for line in lines)
    ILL_FOR.replace(((line.kind, line.key), (now - (line.since or now)).total_seconds()) for line in lines)


def forget() -> None:
    """Somebody else says it from now on."""
    ILL.replace(())
    ILL_FOR.replace(())


def verdict(failed: int, tried: int) -> Verdict:
    low, high = bounds(failed, tried)
    if low > LIMIT:
        return "ill"
    return "unknown" if high > LIMIT else "well"


async def health(
    db: store.Executor, now: datetime, *, window: timedelta = WINDOW, kinds: Collection[HealthKind] = KINDS
) -> list[LineHealth]:
    """Every region, number and target that legs or alerts of the window tell of; the ill ones and the worst first.

    Their `since` is not looked up: `dated` does.
    """
    since = now - window
    lines: dict[tuple[HealthKind, str], LineHealth] = {}
    for length in (window, *(short for short in SHORT if short < window)):
        for line in await asyncio.to_thread(judged, await store.legs(db, now - length, now)):
            if line.verdict != "unknown" or (line.kind, line.key) not in lines:
                lines[line.kind, line.key] = line
    alerts = _alerts(await store.alerts(db, since, now))
    found = [replace(line, alerts=alerts.pop(name, {})) for name, line in lines.items()]
    found += [_line(kind, key, [], "unknown", codes) for (kind, key), codes in alerts.items()]
    return sorted((line for line in found if line.kind in kinds), key=_order)


async def dated(db: store.Executor, lines: Iterable[LineHealth], now: datetime) -> list[LineHealth]:
    """The same lines, of the first `MOST_ILL` ill ones with when their failures began: a query each."""
    found = list(lines)
    for place in [place for place, line in enumerate(found) if line.verdict == "ill"][:MOST_ILL]:
        line = found[place]
        legs = await store.outcomes(db, line.kind, line.key, now - _LOOK_BACK, now)
        found[place] = replace(line, since=began(legs))
    return found


def judged(legs: Sequence[LegCount]) -> list[LineHealth]:
    """The lines that these legs tell of, by the rules above."""
    targets = _grouped(legs, "target")
    regions = _grouped(legs, "region")
    numbers = _grouped(legs, "number")
    found = [_line("target", key, rows, _of(rows)) for key, rows in targets.items()]
    ill_targets = {line.key for line in found if line.verdict == "ill"}
    of_regions = {key: _region(rows) for key, rows in regions.items()}
    ill_regions = {key for key, said in of_regions.items() if said == "ill"}
    found += [_line("region", key, rows, of_regions[key]) for key, rows in regions.items()]
    for key, rows in numbers.items():
        own = [row for row in rows if row.region not in ill_regions and not _ill_for_others(row, ill_targets, targets)]
        found.append(_line("number", key, rows, _number(rows, own)))
    return found


def _region(rows: Sequence[LegCount]) -> Verdict:
    said = _of(rows)
    if said != "ill":
        return said
    without = [_of(_without_worst(rows, what)) for what in ("target", "number")]
    shares = [_share(legs) for legs in _grouped(rows, "target").values()]
    most = sum(share > LIMIT for share in shares) * 2 > len(shares)
    return "ill" if most and without == ["ill", "ill"] else "unknown"


def _number(rows: Sequence[LegCount], own: Sequence[LegCount]) -> Verdict:
    """`own`: what nothing else explains."""
    said = _of(own)
    if said == "well" or not own:
        return said
    if said == "ill" and _of(_without_worst(own, "target")) == "ill":
        return "ill"
    return "unknown"


def _ill_for_others(row: LegCount, ill: Collection[str], targets: Mapping[str, Sequence[LegCount]]) -> bool:
    """Whether the target of these legs is ill, and fails for other numbers too."""
    others = [leg for leg in targets[row.target] if leg.phone != row.phone]
    return row.target in ill and _share(others) > LIMIT


def _of(rows: Iterable[LegCount]) -> Verdict:
    rows = list(rows)
    return verdict(sum(row.failed for row in rows), sum(row.tried for row in rows))


def _share(rows: Sequence[LegCount]) -> float:
    tried = sum(row.tried for row in rows)
    return sum(row.failed for row in rows) / tried if tried else 0.0


def _key(row: LegCount, kind: HealthKind) -> str:
    return row.target if kind == "target" else row.region if kind == "region" else row.phone


def _grouped(rows: Iterable[LegCount], kind: HealthKind) -> dict[str, list[LegCount]]:
    found: dict[str, list[LegCount]] = defaultdict(list)
    for row in rows:
        found[_key(row, kind)].append(row)
    return found


def _without_worst(rows: Sequence[LegCount], kind: HealthKind) -> list[LegCount]:
    """The legs without the target (or number) that has most failed ones."""
    groups = _grouped(rows, kind)
    worst = max(groups, key=lambda key: (sum(row.failed for row in groups[key]), key))
    return [row for row in rows if _key(row, kind) != worst]


def _line(
    kind: HealthKind, key: str, rows: Sequence[LegCount], said: Verdict, alerts: Mapping[str, int] | None = None
) -> LineHealth:
    tried, failed = sum(row.tried for row in rows), sum(row.failed for row in rows)
    low, high = bounds(failed, tried)
    answered = sum(row.answered for row in rows)
    return LineHealth(kind, key, tried, answered, failed, low, high, said, alerts or {}, None)


def _alerts(
    rows: Iterable[tuple[int, str | None, str | None, str | None, int]],
) -> dict[tuple[HealthKind, str], dict[str, int]]:
    found: dict[tuple[HealthKind, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for code, phone, region, target, count in rows:
        places: tuple[tuple[HealthKind, str | None], ...] = (("number", phone), ("region", region), ("target", target))
        for kind, key in places:
            if key is not None:
                found[kind, key][str(code)] += count
    return {line: dict(codes) for line, codes in found.items()}


def began(legs: Iterable[tuple[datetime, bool]]) -> datetime | None:
    """When failures began that go on: the first failed leg after which they never fell back below the limit.

    The point of change of a cumulative sum (E. S. Page, Continuous inspection schemes, Biometrika 41, 1954), which has
    a ceiling: about ten legs that go through end any failure.
    """
    total, since = 0.0, None
    for at, failed in legs:
        since = at if failed and not total else since
        total = accumulated(total, failed=failed)
        if not total:
            since = None
    return since


def accumulated(total: float, *, failed: bool) -> float:
    """The sum after one more leg."""
    return max(0.0, min(_CEILING, total + (1 - LIMIT if failed else -LIMIT)))


def _order(line: LineHealth) -> tuple[bool, int, float, int, str]:
    return (line.verdict != "ill", KINDS.index(line.kind), -line.low, -line.failed, line.key)
