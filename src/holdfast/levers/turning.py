"""Turning levers for people and programs: what they name is looked up, and what cannot be honoured is refused."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from holdfast.config import Settings
from holdfast.db.notifications import hint
from holdfast.db.pool import Connection, Pool
from holdfast.incidents.model import ENGINE
from holdfast.levers import ramp_store, store
from holdfast.levers.connections import refuse_too_many
from holdfast.levers.defaults import default
from holdfast.levers.model import (
    Cleared,
    Lever,
    LeverError,
    NoWayError,
    RefusedError,
    Target,
    Turned,
    UnknownError,
    Value,
    lever,
    written,
)
from holdfast.levers.ramp import HOLD, STEPS, Guard, Plan, Ramp, default_guards
from holdfast.levers.service import CHANNEL

LONGEST_TEXT = 1000
"""Characters of an actor or a reason."""


class Names(Protocol):
    """What merchants and destinations are called: merchants by their keys outside, by their ids here."""

    async def merchant_id(self, key: str) -> int | None: ...

    async def merchant_keys(self, ids: Sequence[int]) -> Mapping[int, str]: ...

    async def has_destination(self, destination_id: int) -> bool: ...


class Turner:
    """Turns levers, and starts and stops their ramps."""

    def __init__(self, pool: Pool, settings: Settings, names: Names) -> None:
        self._pool = pool
        self._settings = settings
        self._names = names

    async def read(self, name: str, target: str, *, exists: bool = True) -> tuple[Lever, Target]:
        """The lever and its target as written; with `exists`, a destination must be there. Raises LeverError."""
        chosen = lever(name)
        if not target.isprintable():
            raise LeverError("a target is written in letters, digits and signs")
        kind, _, key = target.partition(":")
        if kind == "merchant":
            merchant_id = await self._names.merchant_id(key)
            if merchant_id is None:
                raise UnknownError(f"there is no merchant {key!r}; see `holdfast merchants list`")
            target = f"merchant:{merchant_id}"
        on = Target.read(target)
        chosen.accept(on)
        if exists and on.kind == "destination" and not await self._names.has_destination(int(on.key)):
            raise UnknownError(f"there is no destination {on.key}; see `holdfast destinations list`")
        return chosen, on

    async def shown(self, targets: Iterable[str]) -> dict[str, str]:
        """Targets as they are written outside."""
        wanted = set(targets)
        ids = [int(one.removeprefix("merchant:")) for one in wanted if one.startswith("merchant:")]
        keys = await self._names.merchant_keys(ids) if ids else {}
        return {one: _shown(one, keys) for one in wanted}

    async def turn(
        self,
        name: str,
        target: str,
        value: str,
        *,
        actor: str,
        reason: str,
        lasts: timedelta | None = None,
        incident_id: int | None = None,
        now: datetime | None = None,
    ) -> Turned:
        """In force everywhere within a second. Raises LeverError."""
        chosen, on = await self.read(name, target)
        wanted = chosen.read(value)
        _bounded(actor, reason)
        async with self._pool.acquire() as connection, connection.transaction():
            await store.lock(connection)
            await refuse_too_many(connection, self._settings, chosen, {on: wanted})
            turned = await store.turn(
                connection,
                name,
                on,
                wanted,
                actor=actor,
                reason=reason,
                lasts=lasts,
                incident_id=incident_id,
                now=now,
            )
        await hint(self._pool, CHANNEL)
        return turned

    async def clear(
        self, name: str, target: str, *, actor: str, reason: str, now: datetime | None = None
    ) -> Cleared | None:
        """Back to what an incident's turn covers, else to the default; None if it was there. Raises LeverError."""
        _, on = await self.read(name, target, exists=False)
        _bounded(actor, reason)
        async with self._pool.acquire() as connection, connection.transaction():
            await store.lock(connection)
            cleared = await store.clear(connection, name, on, actor=actor, reason=reason, now=now)
        await hint(self._pool, CHANNEL)
        return cleared

    async def start_ramp(
        self,
        name: str,
        targets: Sequence[str],
        *,
        to: str | None = None,
        steps: Sequence[int] = STEPS,
        hold: float = HOLD,
        guards: Sequence[str] | None = None,
        actor: str,
        reason: str,
        incident_id: int | None = None,
        now: datetime | None = None,
    ) -> Ramp:
        """Bring a lever back to its default, or to `to`. `guards` None: those that suit the lever. Raises LeverError.

        `merchant:*` and the like stand for all for which a switch is on.
        """
        chosen = lever(name)
        _bounded(actor, reason)
        exact = [(await self.read(name, one, exists=False))[1] for one in targets or ("",) if not one.endswith(":*")]
        kinds = {one.removesuffix(":*") for one in targets if one.endswith(":*")}
        guarding = default_guards(chosen, exact) if guards is None else tuple(Guard.read(text) for text in guards)
        async with self._pool.acquire() as connection, connection.transaction():
            await store.lock(connection)
            at = now or await store.clock(connection)
            current = {one.target: one for one in await store.current(connection, at) if one.name == name}
            on = tuple(dict.fromkeys((*exact, *_all_on(chosen, kinds, current.values()))))
            usual = await self._usual(connection, chosen, on, current, at)
            plan = self._plan(chosen, on, current, usual, to=to, steps=tuple(steps), hold=hold, guards=guarding)
            await refuse_too_many(connection, self._settings, chosen, plan.values(len(plan.steps)))
            other = await ramp_store.running_of(connection, name, on)
            if other is not None:
                raise RefusedError(f"ramp {other} is bringing it back already; stop it first")
            owner = _owner(current[str(one)] for one in on if str(one) in current) or incident_id
            expires_at = await ramp_store.keep(connection, name, on, adopted_by=owner if plan.clears else None)
            number = await ramp_store.add_ramp(
                connection, plan, actor=actor, reason=reason, incident_id=owner, expires_at=expires_at, now=at
            )
            ramp = await ramp_store.ramp(connection, number)
            assert ramp is not None
            said = written_plan(plan) + (f"; {reason}" if reason else "")
            await ramp_store.tell(connection, ramp, "started", said, actor=actor, now=at)
        await hint(self._pool, CHANNEL)
        return ramp

    async def stop_ramp(self, ramp_id: int, *, actor: str, reason: str, now: datetime | None = None) -> Ramp:
        """The lever stays where it is. Raises UnknownError, and RefusedError if the ramp is over."""
        _bounded(actor, reason)
        async with self._pool.acquire() as connection, connection.transaction():
            await store.lock(connection)
            ramp = await ramp_store.ramp(connection, ramp_id)
            if ramp is None:
                raise UnknownError(f"there is no ramp {ramp_id}; see `holdfast levers ramps --all`")
            note = f"stopped by {actor}" + (f": {reason}" if reason else "")
            at = now or await store.clock(connection)
            stopped_by = actor if actor != ENGINE else None
            if not await ramp_store.stop(connection, ramp, note, stopped_by=stopped_by, now=at):
                raise RefusedError(f"ramp {ramp_id} is {ramp.state} already")
            await ramp_store.tell(connection, ramp, "stopped", reason, actor=actor, now=at)
            stopped = await ramp_store.ramp(connection, ramp_id)
        assert stopped is not None
        return stopped

    async def _usual(
        self,
        connection: Connection,
        chosen: Lever,
        on: tuple[Target, ...],
        current: Mapping[str, Turned],
        now: datetime,
    ) -> Value | None:
        """What clearing brings back; None if there is nothing to clear."""
        if not on:
            return None
        there = current.get(str(on[0])) if len(on) == 1 else None
        below = await store.underneath(connection, there, now) if there is not None else None
        return below.value if below is not None else default(chosen, on[0], self._settings)

    def _plan(
        self,
        chosen: Lever,
        on: tuple[Target, ...],
        current: Mapping[str, Turned],
        usual: Value | None,
        *,
        to: str | None,
        steps: tuple[int, ...],
        hold: float,
        guards: tuple[Guard, ...],
    ) -> Plan:
        if usual is None:
            raise RefusedError(f"{chosen.name} is on for nothing of that kind: there is nothing to bring back")
        goal = usual if to is None else chosen.read(to)
        origins = {current[str(one)].value if str(one) in current else usual for one in on}
        if len(origins) > 1:
            raise LeverError(f"{chosen.name} is not the same for all of these; ramp those that are on")
        (origin,) = origins
        if to is None and not any(str(one) in current for one in on):
            raise RefusedError(
                f"{chosen.name} is at its default: there is nothing to bring back; give a value to go to"
            )
        if origin == goal and to is None:
            raise NoWayError(f"{chosen.name} is {written(goal)}, as it would be without; clear it")
        return Plan(chosen, on, origin, goal, to is None, steps, hold, guards).effective()


def _owner(turned: Iterable[Turned]) -> int | None:
    """The incident that they all belong to: a ramp of its levers is its ramp, whoever starts it."""
    owners = {one.incident_id for one in turned}
    return next(iter(owners)) if len(owners) == 1 else None


def _all_on(chosen: Lever, kinds: set[str], current: Iterable[Turned]) -> list[Target]:
    """All of these kinds for which a switch is on, the oldest first."""
    if not kinds:
        return []
    if not chosen.switch:
        raise LeverError(f"{chosen.name} has one value a target; write a single target, not {min(kinds)}:*")
    for kind in kinds:
        if kind not in chosen.targets or not kind:
            raise LeverError(f"{kind}:* is no target of {chosen.name}")
    found = (Target.read(one.target) for one in current if one.value is True)
    return sorted((one for one in found if one.kind in kinds), key=lambda one: (one.kind, len(one.key), one.key))


def _bounded(actor: str, reason: str) -> None:
    if not actor or len(actor) > LONGEST_TEXT or len(reason) > LONGEST_TEXT or "\0" in actor + reason:
        raise LeverError(f"say who turns it, and why in at most {LONGEST_TEXT} characters")


def _shown(target: str, keys: Mapping[int, str]) -> str:
    kind, _, key = target.partition(":")
    return f"merchant:{keys.get(int(key), key)}" if kind == "merchant" else target


def written_plan(plan: Plan) -> str:
    """From what to what, in which steps."""
    end = f"back to {written(plan.goal)}" if plan.clears else f"to {written(plan.goal)}"
    return f"from {written(plan.origin)} {end} by {', '.join(str(step) for step in plan.steps)} %"
