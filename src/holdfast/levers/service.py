"""Every process's view of the levers: read again within a second of a change, and used by every decision."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from holdfast.db.pool import Pool
from holdfast.levers import store
from holdfast.levers.defaults import default_pool
from holdfast.levers.model import (
    BACKOFF,
    DELIVERY_CONCURRENCY,
    DESTINATION_CONCURRENCY,
    LEVERS,
    MESSAGING,
    NEWEST_FIRST,
    PAUSED,
    POOL,
    PROCESSES,
    ROUTER_CONCURRENCY,
    WEIGHT,
    LeverError,
    Snapshot,
    Target,
    Turned,
    Value,
)
from holdfast.queue.model import Lane, Pause, Rules, Stage

log = structlog.get_logger()

CHANNEL = "holdfast_levers"
"""Notified at every change; payloads are empty."""
EVERY = 1.0
EVERY_LANE = tuple(Lane)
_STAGES = {ROUTER_CONCURRENCY.name: Stage.ROUTE, DELIVERY_CONCURRENCY.name: Stage.DELIVER}
_FACTORS: Mapping[str, float] = {"normal": 1.0, "slow": 4.0, "slower": 16.0}


class Levers:
    """The snapshot, and what it means to queue and delivery. With the store away, the last one stays in force."""

    def __init__(self, *, routers: int, deliveries: int) -> None:
        """The defaults: `routers` and `deliveries` at the same time in this process."""
        self.snapshot = Snapshot()
        self.rules = Rules()
        self.text_rules = Rules()
        """The same for texts, of which `messaging.texts` may hold all or a merchant's."""
        self.lanes: Mapping[Stage, Mapping[Lane, int]] = _lanes(self.snapshot)
        """The most at the same time in this process of those lanes that have a limit: batches, deliveries."""
        self._routers = routers
        self._deliveries = deliveries
        self._ignored: set[tuple[str, str, str]] = set()

    async def refresh(self, pool: Pool, now: datetime | None = None) -> None:
        """Read them again. Raises what `AWAY` lists."""
        values = await self._read(pool, now)
        if values != self.snapshot.values:
            _tell(self.snapshot.values, values)
            self.take(Snapshot(values))

    async def look(self, pool: Pool, now: datetime | None = None) -> None:
        """Read them once, for a question: it is no news for the log that they are in force."""
        self.take(Snapshot(await self._read(pool, now)))

    async def _read(self, pool: Pool, now: datetime | None) -> dict[tuple[str, str], Value]:
        return {
            (turned.name, turned.target): turned.value
            for turned in await store.current(pool, now)
            if self._understands(turned)
        }

    def take(self, snapshot: Snapshot) -> None:
        """From now on these are in force."""
        self.snapshot, self.rules, self.lanes = snapshot, _rules(snapshot), _lanes(snapshot)
        self.text_rules = _text_rules(self.rules, snapshot)

    def _understands(self, turned: Turned) -> bool:
        """A newer version may have turned what this one does not know: it goes on without, and says so once."""
        lever = LEVERS.get(turned.name)
        try:
            if lever is not None:
                lever.accept(Target.read(turned.target))
                if lever.understands(turned.value):
                    return True
        except LeverError:
            pass
        key = (turned.name, turned.target, repr(turned.value))
        if key not in self._ignored:
            self._ignored.add(key)
            log.warning("lever.not_understood", lever=turned.name, target=turned.target or None, value=turned.value)
        return False

    def workers(self, default: int) -> int:
        """Worker processes of `holdfast up`."""
        return self.snapshot.number(PROCESSES, default)

    def pool_size(self, name: str) -> int:
        """The size of a pool, such as `web/general`."""
        return self.snapshot.number(POOL, default_pool(name, self.routers), Target("pool", name))

    @property
    def routers(self) -> int:
        return self.snapshot.number(ROUTER_CONCURRENCY, self._routers)

    def lanes_of_router(self, number: int) -> Sequence[Lane]:
        """What router `number` (from 0) may claim: so many of them as a lane's limit says, without counting batches."""
        limits = self.lanes[Stage.ROUTE]
        return [lane for lane in EVERY_LANE if number < limits.get(lane, number + 1)] if limits else EVERY_LANE

    @property
    def deliveries(self) -> int:
        return self.snapshot.number(DELIVERY_CONCURRENCY, self._deliveries)

    def pauses(self, merchant: Callable[[int], str]) -> list[Pause]:
        """The levers that keep work from being claimed: pauses, and concurrency of 0. `merchant` tells a key by id."""
        found = []
        for (name, target), value in self.snapshot.values.items():
            stage = _STAGES.get(name)
            if (name == PAUSED.name and value is True) or (stage is not None and value == 0):
                found.append(_pause(name, Target.read(target), stage, merchant))
            elif name == MESSAGING.name and value != "normal":
                found.append(_pause(name, Target.read(target), Stage.SEND, merchant))
        return found

    @property
    def backoff(self) -> float:
        """By how much retries wait longer."""
        return _FACTORS.get(self.snapshot.word(BACKOFF, "normal"), 1.0)

    def ceiling(self, destination_id: int, default: int) -> int:
        """The most requests at once to a destination: as set for it, else `default` but no more than set for all."""
        if not self.snapshot.values:
            return default
        general = min(default, self.snapshot.number(DESTINATION_CONCURRENCY, default))
        return self.snapshot.number(DESTINATION_CONCURRENCY, general, Target("destination", str(destination_id)))


def _rules(snapshot: Snapshot) -> Rules:
    lanes, stages = {lane.label: lane for lane in Lane}, {stage.name.lower(): stage for stage in Stage}
    return Rules(
        weights={lanes[key]: number for key, number in snapshot.by_key(WEIGHT, "lane").items()},
        newest_first=frozenset(lanes[key] for key in snapshot.on(NEWEST_FIRST, "lane")),
        paused_lanes=frozenset(lanes[key] for key in snapshot.on(PAUSED, "lane")),
        paused_stages=frozenset(stages[key] for key in snapshot.on(PAUSED, "stage")),
        paused_merchants=frozenset(int(key) for key in snapshot.on(PAUSED, "merchant")),
        paused_destinations=frozenset(int(key) for key in snapshot.on(PAUSED, "destination")),
    )


def _text_rules(rules: Rules, snapshot: Snapshot) -> Rules:
    """A merchant's own setting stands above that of all, so with one that is normal nothing is paused as a whole: who
    claims a text of the others is told to wait.
    """
    own = {int(key): word for key, word in snapshot.words(MESSAGING, "merchant").items()}
    held = frozenset(key for key, word in own.items() if word != "normal")
    is_off = snapshot.word(MESSAGING, "normal") != "normal" and "normal" not in own.values()
    stages = rules.paused_stages | {Stage.SEND} if is_off else rules.paused_stages
    return replace(rules, paused_stages=stages, paused_merchants=rules.paused_merchants | held)


def _lanes(snapshot: Snapshot) -> dict[Stage, dict[Lane, int]]:
    lanes = {lane.label: lane for lane in Lane}
    return {
        stage: {lanes[key]: number for key, number in snapshot.by_key(LEVERS[name], "lane").items()}
        for name, stage in _STAGES.items()
    }


def _pause(name: str, on: Target, stage: Stage | None, merchant: Callable[[int], str]) -> Pause:
    match on.kind:
        case "lane":
            return Pause(f"{name} {on}", stage, next(lane for lane in Lane if lane.label == on.key))
        case "stage":
            return Pause(f"{name} {on}", Stage[on.key.upper()])
        case "merchant":
            return Pause(f"{name} merchant:{merchant(int(on.key))}", stage, merchant_id=int(on.key))
        case "destination":
            return Pause(f"{name} {on}", stage, destination_id=int(on.key))
    return Pause(name, stage)


def _tell(before: Mapping[tuple[str, str], Value], now: Mapping[tuple[str, str], Value]) -> None:
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            log.info("lever.in_force", lever=key[0], target=key[1] or None, value=now.get(key, "default"))


async def expire(pool: Pool, now: datetime | None = None) -> None:
    """Undo what has reached its end."""
    for turned in await store.expire(pool, now):
        log.info("lever.expired", lever=turned.name, target=turned.target or None, actor=turned.actor)
