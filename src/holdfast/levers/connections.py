"""What all processes would open: levers that ask PostgreSQL for more connections than it gives are refused."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.config import Settings
from holdfast.db import processes
from holdfast.db.connections import allowed
from holdfast.db.pool import Connection
from holdfast.levers import store
from holdfast.levers.defaults import default_pool
from holdfast.levers.model import (
    POOL,
    POOLS,
    PROCESSES,
    ROUTER_CONCURRENCY,
    Lever,
    RefusedError,
    Snapshot,
    Target,
    Value,
)

BESIDE: Mapping[str, int] = {"web": 1, "worker": 1, "watch": 14}
"""Connections outside the pools that can be resized: listeners, the watch's and the engine's pools, its leadership."""
SPARE = 8
"""For `holdfast up` itself, for commands, and for looking at the server."""
CONCERNED = frozenset(lever.name for lever in (PROCESSES, ROUTER_CONCURRENCY, POOL))


@dataclass(frozen=True, slots=True)
class Need:
    """What would be open at most: by kind of process (how many, connections of each)."""

    kinds: Mapping[str, tuple[int, int]]

    @property
    def total(self) -> int:
        return SPARE + sum(count * each for count, each in self.kinds.values())

    def __str__(self) -> str:
        parts = [f"{count} {kind} with {each}" for kind, (count, each) in self.kinds.items()]
        return f"{' + '.join(parts)} + {SPARE} for commands = {self.total}"


def need(snapshot: Snapshot, alive: Mapping[str, int], settings: Settings, before: Snapshot | None = None) -> Need:
    """With these levers in force; `alive` processes by kind are as they came to be under those of `before`.

    Settings of processes on other machines are not known here: they are taken to be like ours.
    """
    asked = snapshot.number(PROCESSES, settings.workers)
    asked_before = (before or snapshot).number(PROCESSES, settings.workers)
    routers = snapshot.number(ROUTER_CONCURRENCY, settings.router_concurrency)

    def size(name: str) -> int:
        return snapshot.number(POOL, default_pool(name, routers), Target("pool", name))

    counts = {
        "web": max(1, alive.get("web", 0)),
        "worker": max(asked, alive.get("worker", 0) - asked_before + asked),
        "watch": max(1, alive.get("watch", 0)),
    }
    return Need(
        {
            kind: (count, BESIDE[kind] + sum(size(name) for name in POOLS if name.startswith(f"{kind}/")))
            for kind, count in counts.items()
        }
    )


async def refuse_too_many(
    db: Connection, settings: Settings, lever: Lever, turned: Mapping[Target, Value | None]
) -> None:
    """Raises RefusedError if so turned (None: cleared), more connections may be wanted than the server gives."""
    if lever.name not in CONCERNED:
        return
    values = {(one.name, one.target): one.value for one in await store.current(db)}
    before = Snapshot(values)
    alive = Counter(process.kind for process in await processes.alive(db))
    limit = await allowed(db)

    def with_(value: Value | None) -> Need:
        changed = dict(values)
        for target, given in turned.items():
            wanted = value if value is not None else given
            if wanted is None:
                changed.pop((lever.name, str(target)), None)
            else:
                changed[lever.name, str(target)] = wanted
        return need(Snapshot(changed), alive, settings, before)

    wanted = with_(None)
    if wanted.total <= limit.ours or wanted.total <= need(before, alive, settings).total:
        return
    most = next((value for value in range(lever.high, lever.low - 1, -1) if with_(value).total <= limit.ours), None)
    what = " and ".join(
        f"{lever.name}{f' of {target}' if target.kind else ''} {'its default' if value is None else value}"
        for target, value in turned.items()
    )
    hint = f"; {most} is the most that fits" if most is not None else ""
    raise RefusedError(
        f"with {what}, processes may open {wanted} connections, and PostgreSQL gives {limit.ours} "
        f"(max_connections {limit.most}, of which {limit.reserved} are reserved){hint}"
    )
