"""A ramp brings a lever back in steps, as long as named readings say that all is well: what it does next, and why.

It is all decided here from the ramp's row, the readings and the time; `driver` does it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Literal

from holdfast.levers.model import VOICE, Lever, LeverError, Target, Value, written
from holdfast.signals.readings import WINDOW, Reading, ReadingError, reading

Verdict = Literal["well", "unwell", "worse", "unknown"]
Move = Literal["step", "back", "done", "stay"]
State = Literal["running", "done", "stopped"]

STEPS = (10, 25, 50, 100)
HOLD = 60.0
MOST_STEPS, MOST_GUARDS, MOST_TARGETS = 20, 12, 10_000
LONGEST_HOLD = 86_400.0
PERSISTS = timedelta(seconds=10)
"""How long a guard must be clearly worse before the ramp steps back: one look may be a blip."""
SETTLES = timedelta(seconds=WINDOW)
"""After a step back the readings still tell of the time before it; only then may there be another."""
UNWATCHED = timedelta(seconds=30)
"""When nobody looked for so long, nobody knows that all was well meanwhile: the hold begins anew."""

_GUARD = re.compile(
    r"\s*([a-z_.]+\.(?:region|number|target):[!-~]{1,260}?|[a-z0-9_.]+)\s*([<>])\s*(\d{1,9}(?:\.\d{1,6})?)\s*(%?)\s*",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Guard:
    """What a reading must be: below its bound, or above it."""

    reading: Reading
    below: bool
    bound: float

    @classmethod
    def read(cls, text: str) -> "Guard":
        """`database.round_trip<0.1`, `router.error_ratio<2%`, `router.rate>5`. Raises LeverError."""
        found = _GUARD.fullmatch(text)
        if found is None:
            raise LeverError(f"{text!r} is no guard; write a reading, < or >, and a number: database.round_trip<0.1")
        try:
            named = reading(found[1])
        except ReadingError as error:
            raise LeverError(f"guard {text!r}: {error}") from None
        bound = float(found[3]) / (100 if found[4] else 1)
        if bound == 0:
            raise LeverError(f"guard {text!r}: the bound must be above 0")
        return cls(named, found[2] == "<", bound)

    def __str__(self) -> str:
        return f"{self.reading.name}{'<' if self.below else '>'}{self.bound:g}"

    def judge(self, value: float | None) -> Verdict:
        """Clearly worse is half as far again from 0 as the bound; a share below 1, half the way from its bound to 1."""
        if value is None:
            return "unknown"
        if not self.below:
            return "well" if value > self.bound else "worse" if value <= self.bound / 1.5 else "unwell"
        worse = 1.5 * self.bound
        if self.reading.unit == "share" and self.bound < 1:
            worse = min(worse, (1 + self.bound) / 2)
        return "well" if value < self.bound else "worse" if value >= worse else "unwell"


_CALLS = ("calls.failing_legs<15%", "calls.unanswering<30%", "event_loop.lag.web<0.5")
DEFAULT_GUARDS: Mapping[str, tuple[str, ...]] = {
    "router.concurrency": ("database.round_trip<0.1", "event_loop.lag<0.5", "router.error_rate<0.5"),
    "delivery.concurrency": ("database.round_trip<0.1", "event_loop.lag<0.5"),
    "processes.workers": ("database.round_trip<0.1", "database.connections<80%", "system.memory<90%"),
    "database.pool": ("database.round_trip<0.1", "database.connections<80%"),
    "voice.voicemail_only": _CALLS,
    "voice.avoid": _CALLS,
    "voice.caller_id_pool": _CALLS,
}
"""Readings that always have data while Holdfast works: one that is unknown would hold the ramp for ever."""
_OTHERWISE = ("database.round_trip<0.1", "event_loop.lag<0.5")


LINE = "calls.ill."
"""Begins the reading of a line: `calls.ill.region:US`."""
_LINE_IS_WELL = f"{LINE}{{}}<20%"
"""What is ill fails for more than a third (`voice.health.LIMIT`): that is clearly worse, as soon as it is known."""


def default_guards(lever: Lever, targets: Sequence[Target] = ()) -> tuple[Guard, ...]:
    """Of calls of a line, also of the very line: among all calls those of a dead target are few."""
    of_lines = [one for one in targets if lever in VOICE and one.kind in ("region", "number", "target")]
    own = [_LINE_IS_WELL.format(one) for one in of_lines]
    return tuple(Guard.read(text) for text in (*DEFAULT_GUARDS.get(lever.name, _OTHERWISE), *own))


@dataclass(frozen=True, slots=True)
class Plan:
    """A ramp that may be started. `goal` is what the lever comes to; where `clears`, by being cleared, as its default.

    `steps` are percents of the way; a ramp over many switches turns so many of them. `hold` is in seconds.
    """

    lever: Lever
    targets: tuple[Target, ...]
    origin: Value
    goal: Value
    clears: bool
    steps: tuple[int, ...] = STEPS
    hold: float = HOLD
    guards: tuple[Guard, ...] = ()

    def __post_init__(self) -> None:
        """Raises LeverError."""
        if not self.targets or len(self.targets) > MOST_TARGETS:
            raise LeverError(f"a ramp has 1 to {MOST_TARGETS} targets")
        if len(self.targets) > 1 and self.lever.is_scale:
            raise LeverError(f"a ramp of {self.lever.name} has one target; only switches can be turned for many")
        if self.origin == self.goal:
            raise LeverError(f"{self.lever.name} is {written(self.goal)} already: there is no way to go")
        rising = all(one < two for one, two in zip(self.steps, self.steps[1:], strict=False))
        if not 1 <= len(self.steps) <= MOST_STEPS or not rising or self.steps[0] < 1 or self.steps[-1] != 100:
            raise LeverError(f"steps rise from 1 to 100 percent and end there, {MOST_STEPS} at most: 10,25,50,100")
        if not 0 < self.hold <= LONGEST_HOLD:
            raise LeverError("a step is held for a second to a day")
        if len(self.guards) > MOST_GUARDS:
            raise LeverError(f"a ramp has at most {MOST_GUARDS} guards")

    def at(self, position: int) -> dict[Target, Value | None]:
        """What each target is set to after so many steps; None: cleared."""
        percent = self.steps[position - 1] if position else 0
        end = None if self.clears else self.goal
        if not self.lever.is_scale:
            turned = ceil(len(self.targets) * percent / 100)
            return {target: end if index < turned else self.origin for index, target in enumerate(self.targets)}
        value = end if percent == 100 else along(self.lever, self.origin, self.goal, percent)
        return dict.fromkeys(self.targets, value)

    def values(self, position: int) -> dict[Target, Value]:
        """The same in values: what a lever that is cleared comes to."""
        return {target: self.goal if value is None else value for target, value in self.at(position).items()}

    def effective(self) -> "Plan":
        """Without the steps that would change nothing: half of the way from 1 to 2 is no step."""
        kept: list[int] = []
        before = self.at(0)
        for position, percent in enumerate(self.steps, 1):
            now = self.at(position)
            if now != before or percent == 100:
                if kept and percent == 100 and all(value is None or value == self.goal for value in before.values()):
                    kept.pop()  # the step before it would bring the goal already
                kept.append(percent)
                before = now
        return Plan(self.lever, self.targets, self.origin, self.goal, self.clears, tuple(kept), self.hold, self.guards)


def along(lever: Lever, origin: Value, goal: Value, percent: int) -> Value:
    """A part of the way, by at least one: numbers, and words by their order."""
    if lever.choices:
        number = along_numbers(lever.choices.index(str(origin)), lever.choices.index(str(goal)), percent)
        return lever.choices[number]
    return along_numbers(int(origin), int(goal), percent)


def along_numbers(origin: int, goal: int, percent: int) -> int:
    moved = ceil(abs(goal - origin) * percent / 100)
    return origin + moved if goal > origin else origin - moved


@dataclass(frozen=True, slots=True)
class Ramp:
    """A ramp as it stands: `position` steps taken, the last move, and since when. `note` says what it waits for."""

    id: int
    plan: Plan
    actor: str
    reason: str
    incident_id: int | None
    started_at: datetime
    state: State
    position: int
    moved: Literal["step", "back"] | None
    since: datetime
    looked_at: datetime | None
    well_since: datetime | None
    worse_since: datetime | None
    note: str
    ended_at: datetime | None
    stopped_by: str | None = None
    """The person who stopped it, or turned one of its levers by hand."""
    expires_at: datetime | None = None
    """When its levers would have expired; they do not while it runs."""

    @property
    def percent(self) -> int:
        return self.plan.steps[self.position - 1] if self.position else 0

    @property
    def targets(self) -> str:
        return str(self.plan.targets[0]) if len(self.plan.targets) == 1 else f"{len(self.plan.targets)} targets"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and what to remember. `evidence` has a row a guard."""

    move: Move
    why: str
    well_since: datetime | None
    worse_since: datetime | None
    evidence: Sequence[Mapping[str, Any]] = field(default=())

    @property
    def is_held(self) -> bool:
        """Whether a guard, not only the time, keeps it where it is."""
        return self.move == "stay" and self.well_since is None


def decide(ramp: Ramp, readings: Mapping[str, float | None], now: datetime) -> Decision:
    """What a ramp does now: on when all was well for the whole hold, back when clearly worse, else it waits."""
    judged = [(guard, readings.get(guard.reading.name)) for guard in ramp.plan.guards]
    verdicts = [guard.judge(value) for guard, value in judged]
    evidence = [
        {"guard": str(guard), "value": value, "unit": guard.reading.unit, "verdict": verdict}
        for (guard, value), verdict in zip(judged, verdicts, strict=True)
    ]
    watched = ramp.looked_at is not None and now - ramp.looked_at <= UNWATCHED
    is_well, is_worse = all(one == "well" for one in verdicts), "worse" in verdicts
    well = ((ramp.well_since if watched else None) or now) if is_well else None
    worse = ((ramp.worse_since if watched else None) or now) if is_worse else None
    trouble = "; ".join(_said(row) for row in evidence if row["verdict"] != "well")
    if worse is not None and ramp.position and now - worse >= PERSISTS and not _settling(ramp, now):
        return Decision("back", f"clearly worse: {trouble}", None, None, evidence)
    if well is None:
        return Decision("stay", f"waits until all is well: {trouble}", None, worse, evidence)
    begins = ramp.moved is None
    held = (now - max(well, ramp.since)).total_seconds()
    if not begins and held < ramp.plan.hold:
        return Decision("stay", f"all is well; held for {held:.0f} of {ramp.plan.hold:.0f} s", well, None, evidence)
    if ramp.position == len(ramp.plan.steps):
        return Decision("done", f"all was well for {held:.0f} s", well, None, evidence)
    why = "all is well" if begins else f"all was well for {held:.0f} s"
    return Decision("step", why, well, None, evidence)


def _settling(ramp: Ramp, now: datetime) -> bool:
    return ramp.moved == "back" and now - ramp.since < SETTLES


def _said(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return f"{row['guard']} is unknown"
    return f"{row['guard']} is {row['value']:.4g}"
