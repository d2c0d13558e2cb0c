"""Which targets, regions and numbers calls should go round, so that somebody is still reached.

Calls that have nobody else ring what is avoided all the same (`routing`), so that going round something helps or
changes nothing. Nothing is avoided for which it would change nothing at all: then taking messages is the way, which is
for a person to decide. Regions come before targets, since they explain them; numbers, as caller IDs, come last.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from holdfast.db.pool import Pool
from holdfast.levers import store as levers
from holdfast.levers.model import AVOID, Change, Target
from holdfast.merchants.model import COMPANY
from holdfast.voice import store
from holdfast.voice.health import WINDOW, health
from holdfast.voice.model import HealthKind, Line, LineHealth
from holdfast.voice.routing import avoids, target_region
from holdfast.voice.snapshot import Snapshot

WHOLE = 100
_KINDS: tuple[HealthKind, ...] = ("region", "target", "number")


@dataclass(frozen=True, slots=True)
class Detour:
    """Something to be gone round. `lines`: the numbers that ring it, `left`: those of them with somebody else.

    The others ring it all the same.
    """

    target: Target
    health: LineHealth
    lines: int
    left: int

    @property
    def alone(self) -> int:
        """Numbers that ring it all the same, since they have nobody else."""
        return self.lines - self.left

    @property
    def why(self) -> str:
        own = self.health
        return f"{own.failed} of {own.tried} could not be put through, at least {own.low:.0%} very probably"


@dataclass(frozen=True, slots=True)
class Proposal:
    """`chosen`: what to go round; `standing`: what is gone round already; `refused`: what is ill all the same, and why
    it is left.
    """

    chosen: tuple[Detour, ...] = ()
    standing: tuple[Detour, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


async def propose(pool: Pool, changes: Sequence[Change], now: datetime) -> Proposal:
    """By how calls go now. `changes`: what levers were turned lately, so that old failures count only once."""
    snapshot = await read(pool, now)
    return proposal(snapshot, await _ill(pool, snapshot, changes, now))


def last_moved(changes: Iterable[Change]) -> dict[str, datetime]:
    """When calls were last led round something, or no longer, by target of the lever."""
    moved: dict[str, datetime] = {}
    for change in changes:
        if change.name == AVOID.name:
            moved[change.target] = max(change.at, moved.get(change.target, change.at))
    return moved


async def read(pool: Pool, now: datetime) -> Snapshot:
    """All numbers with their plans, and the levers of calls, as of now."""
    rows = await store.lines(pool)
    turned = {
        (one.name, one.target): int(one.value)
        for one in await levers.current(pool, now)
        if one.name.startswith("voice.") and not isinstance(one.value, str)
    }
    return Snapshot.of(1, store.read_lines(rows, {}), (), turned)


async def _ill(pool: Pool, snapshot: Snapshot, changes: Sequence[Change], now: datetime) -> list[LineHealth]:
    """What is ill, by what happened since calls were led round it last, or round what explains it.

    What was tried before says nothing of how it is now: a target's region explains it, and all of them a number.
    """
    moved = last_moved(changes)
    found: list[LineHealth] = []
    doubtful: dict[datetime, list[LineHealth]] = defaultdict(list)
    for one in await health(pool, now):
        if one.verdict != "ill":
            continue
        about = [f"{one.kind}:{one.key}"]
        if one.kind == "target":
            about += [f"region:{region}" for region in _regions_of(snapshot, one.key)]
        elif one.kind == "number":
            about += moved
        at = max((moved[what] for what in about if what in moved), default=None)
        if at is None or now - at >= WINDOW:
            found.append(one)
        else:
            doubtful[at].append(one)
    for at, lines in doubtful.items():
        found += await _still_ill(pool, lines, at, now)
    return found


def _regions_of(snapshot: Snapshot, address: str) -> set[str]:
    return {
        target_region(target)
        for line in snapshot.lines.values()
        for target in line.plan.targets
        if target.address == address
    }


async def _still_ill(pool: Pool, lines: Iterable[LineHealth], since: datetime, now: datetime) -> list[LineHealth]:
    """Those of these lines that are ill by what was tried since. Asked once for all: there may be hundreds."""
    lately = await health(pool, now, window=now - since) if now > since else []
    ill = {(each.kind, each.key) for each in lately if each.verdict == "ill"}
    return [one for one in lines if (one.kind, one.key) in ill]


def proposal(snapshot: Snapshot, ill: Iterable[LineHealth]) -> Proposal:
    """What to go round of what is ill. Somebody else is there where a target is neither avoided nor ill itself."""
    ordered = sorted(ill, key=lambda one: (_KINDS.index(one.kind), -one.low, -one.failed, one.key))
    gone = {(AVOID.name, str(Target(one.kind, one.key))): WHOLE for one in ordered}
    without = replace(snapshot, levers={**snapshot.levers, **gone})
    found = _Found()
    for one in ordered:
        target = Target(one.kind, one.key)
        touched = list(_touched(snapshot, one))
        left = sum(_has_somebody(without, line, one.kind) for line in touched)
        detour = Detour(target, one, len(touched), left)
        if snapshot.levers.get((AVOID.name, str(target)), 0) == WHOLE:
            found.standing.append(detour)
        elif one.kind == "target" and touched and all(_region_of(line, one.key) in found.regions for line in touched):
            continue  # its region is gone round
        elif not touched:
            found.refused[str(target)] = "no call plan rings it" if one.kind != "number" else "it is none of ours"
            continue
        elif not left:
            found.refused[str(target)] = _NOBODY[one.kind]
            continue
        else:
            found.chosen.append(detour)
        if one.kind == "region":
            found.regions.add(one.key)
    return Proposal(tuple(found.chosen), tuple(found.standing), found.refused)


@dataclass(slots=True)
class _Found:
    chosen: list[Detour] = field(default_factory=list)
    standing: list[Detour] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    regions: set[str] = field(default_factory=set)


_NOBODY: Mapping[HealthKind, str] = {
    "region": "none of the numbers that ring it has anybody else: taking messages is the way",
    "target": "none of the numbers that ring it has anybody else: taking messages is the way",
    "number": "no other number stands in for it as caller ID",
}


def _touched(snapshot: Snapshot, one: LineHealth) -> Iterable[Line]:
    """The lines whose calls would be treated otherwise."""
    if one.kind == "number":
        line = snapshot.lines.get(one.key)
        return () if line is None else (line,)
    return (
        line
        for line in snapshot.lines.values()
        if any(
            (target.address if one.kind == "target" else target_region(target)) == one.key
            for target in line.plan.targets
        )
    )


def _region_of(line: Line, address: str) -> str | None:
    return next((target_region(target) for target in line.plan.targets if target.address == address), None)


def _has_somebody(snapshot: Snapshot, line: Line, kind: HealthKind) -> bool:
    """Whether a call to this line still has somebody to ring; of a caller ID, whether another one can be shown."""
    if kind == "number":
        owners = (line.merchant_id, COMPANY)
        others = [one for owner in owners for one in snapshot.pool.get(owner, ()) if one.phone != line.phone]
        return any(not snapshot.levers.get((AVOID.name, f"number:{one.phone}"), 0) for one in others)
    lines = [line, *(one for one in snapshot.by_merchant.get(line.merchant_id, ()) if one.phone != line.phone)]
    return any(not avoids(snapshot, line, target) for one in lines for target in one.plan.targets)
