"""Which levers there are, what they may be set to, and on what."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, get_args

from holdfast.db.pool import LARGEST
from holdfast.queue.model import Lane, Stage

Value = int | bool | str
TargetKind = Literal["", "lane", "stage", "merchant", "destination", "pool", "region", "number", "target"]

POOLS: Mapping[str, int] = {
    "web/inbox": 3,
    "web/general": 4,
    "web/voice": 3,
    "web/texts": 3,
    "web/inbound_texts": 3,
    "worker/router": 4,
    "worker/delivery": 4,
    "worker/general": 3,
}
"""The connection pools that can be resized, by kind of process and name, and their sizes by default.

The router's follows `router.concurrency`: `PER_ROUTER` connections each.
"""
PER_ROUTER = 2


def written(value: Value | None) -> str:
    if value is None:
        return "its default"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


class LeverError(Exception):
    """The lever cannot be set so; the message says why and what can be."""


class UnknownError(LeverError):
    """There is no such lever, target or ramp."""


class RefusedError(LeverError):
    """It could be set so, but not now: the message says what is in the way."""


class NoWayError(RefusedError):
    """There is nothing between where the lever is and where it would come back to: it can only be cleared."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a lever is turned for: everything (kind ""), or one of something.

    A merchant or destination by its id; a region of calls, a phone number of ours, or a target that calls are put
    through to, as they are written.
    """

    kind: TargetKind = ""
    key: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.key}" if self.kind else ""

    @classmethod
    def read(cls, text: str) -> "Target":
        """`lane:bulk`, `stage:deliver`, `merchant:12`, `destination:7`, `pool:web/general`, `region:US`,
        `number:+14155550123`, `target:sip:desk@example.com`; empty for everything. Raises LeverError.
        """
        kind, colon, key = text.partition(":")
        if not text:
            return EVERYTHING
        match kind:
            case "lane" | "stage" | "pool" if key in _KEYS[kind]:
                return cls(kind, key)
            case "merchant" | "destination" if key.isdecimal() and len(key) < 19:
                return cls(kind, str(int(key)))
            case "region" | "number" | "target" if _OF_CALLS[kind].fullmatch(key):
                return cls(kind, key)
            case "region" | "number" | "target":
                raise LeverError(f"{key!r} is no {kind}; write {_CALLS_ARE[kind]}")
            case "lane" | "stage" | "pool":
                raise LeverError(f"{key!r} is no {kind}; there are {', '.join(_KEYS[kind])}")
        if not colon:
            raise LeverError(
                f"{text!r} is no target; write lane:bulk, stage:deliver, merchant:KEY, destination:ID, "
                "pool:web/general, region:US, number:+1… or target:+1…"
            )
        raise LeverError(f"{text!r} is no target; it begins with {', '.join(f'{kind}:' for kind in _KINDS)}")


_OF_CALLS = {
    "region": re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}"),
    "number": re.compile(r"\+[1-9][0-9]{5,14}"),
    "target": re.compile(r"\+[1-9][0-9]{5,14}|sips?:[!-~]{1,250}"),
}
_CALLS_ARE = {"region": "region:US", "number": "number:+14155550123", "target": "target:+14155550123 or target:sip:…"}


_KEYS = {
    "lane": [lane.label for lane in Lane],
    "stage": [stage.name.lower() for stage in Stage],
    "pool": list(POOLS),
}
_KINDS = [kind for kind in get_args(TargetKind) if kind]
EVERYTHING = Target()


@dataclass(frozen=True, slots=True)
class Lever:
    """One lever. Numbers lie between `low` and `high`; words are `choices`."""

    name: str
    what: str
    targets: tuple[TargetKind, ...]
    low: int = 0
    high: int = 1
    choices: tuple[str, ...] = ()
    switch: bool = False
    """Whether it is on or off."""

    def read(self, text: str) -> Value:
        """The value that a text means. Raises LeverError."""
        if self.switch:
            if text.lower() in ("on", "true", "yes", "1"):
                return True
            if text.lower() in ("off", "false", "no", "0"):
                return False
            raise LeverError(f"{self.name} is on or off, not {text!r}")
        if self.choices:
            if text in self.choices:
                return text
            raise LeverError(f"{self.name} is one of {', '.join(self.choices)}, not {text!r}")
        if text.isdecimal() and len(text) < 10 and self.low <= int(text) <= self.high:
            return int(text)
        raise LeverError(f"{self.name} is a number from {self.low} to {self.high}, not {text!r}")

    def understands(self, value: object) -> bool:
        """Whether a stored value is one of this lever's: another version may have written it."""
        if self.switch:
            return isinstance(value, bool)
        if self.choices:
            return value in self.choices
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    @property
    def values(self) -> str:
        """What it may be set to, for people."""
        return "on, off" if self.switch else ", ".join(self.choices) or f"{self.low} to {self.high}"

    @property
    def is_scale(self) -> bool:
        """Whether there is something between its values: numbers, and words in their order."""
        return not self.switch

    def accept(self, target: Target) -> None:
        """Raises LeverError if the lever cannot be turned for this."""
        if target.kind in self.targets:
            return
        names = [f"{kind}:…" if kind else "no target" for kind in self.targets]
        raise LeverError(f"{self.name} takes {' or '.join(names)}" + (f", not {target}" if target.kind else ""))


ROUTER_CONCURRENCY = Lever(
    "router.concurrency",
    "Batches that a worker process routes at the same time; of a lane: those with events of it. 0 stops it.",
    ("", "lane"),
    low=0,
    high=16,
)
DELIVERY_CONCURRENCY = Lever(
    "delivery.concurrency",
    "Deliveries, in all or of a lane, that a worker process tries at the same time. 0 stops them.",
    ("", "lane"),
    low=0,
    high=4096,
)
DESTINATION_CONCURRENCY = Lever(
    "delivery.per_destination",
    "The most requests at once to a destination; below it the limiter adapts.",
    ("", "destination"),
    low=1,
    high=1024,
)
WEIGHT = Lever("queue.weight", "A lane's share of a batch where several lanes have work.", ("lane",), low=1, high=100)
NEWEST_FIRST = Lever(
    "queue.newest_first", "Serve a lane's newest work first; a quarter still drains the oldest.", ("lane",), switch=True
)
PAUSED = Lever(
    "queue.paused",
    "Claim nothing of it. What comes in is still stored and acknowledged.",
    ("lane", "stage", "merchant", "destination"),
    switch=True,
)
BACKOFF = Lever(
    "retry.backoff",
    "How long retries wait: as set up, four times, or sixteen times as long.",
    ("",),
    choices=("normal", "slow", "slower"),
)
PROCESSES = Lever("processes.workers", "Worker processes of `holdfast up`.", ("",), low=0, high=64)
POOL = Lever("database.pool", "Connections of a pool, in each process that has it.", ("pool",), low=1, high=LARGEST)
VOICEMAIL_ONLY = Lever(
    "voice.voicemail_only",
    "Percent of the numbers of what is named whose calls go straight to voicemail: always the same ones.",
    ("", "region", "merchant", "number"),
    low=0,
    high=100,
)
AVOID = Lever(
    "voice.avoid",
    "Percent of the numbers that go round what is named: targets are not rung, numbers not shown as caller ID.",
    ("region", "target", "number"),
    low=0,
    high=100,
)
CALLER_ID_POOL = Lever(
    "voice.caller_id_pool",
    "Percent of the numbers of what is named whose calls show a number of the pool instead of the caller's.",
    ("", "region", "merchant", "number"),
    low=0,
    high=100,
)
MESSAGING = Lever(
    "messaging.texts",
    "What becomes of texts: normal; hold: taken, and they wait; refuse: not taken, and those that wait go on waiting.",
    ("", "merchant"),
    choices=("normal", "hold", "refuse"),
)
VOICE = (VOICEMAIL_ONLY, AVOID, CALLER_ID_POOL)
"""The levers that calls are answered by."""
LEVERS: Mapping[str, Lever] = {
    lever.name: lever
    for lever in (
        ROUTER_CONCURRENCY,
        DELIVERY_CONCURRENCY,
        DESTINATION_CONCURRENCY,
        WEIGHT,
        NEWEST_FIRST,
        PAUSED,
        BACKOFF,
        PROCESSES,
        POOL,
        *VOICE,
        MESSAGING,
    )
}


def lever(name: str) -> Lever:
    """Raises LeverError, naming those there are."""
    found = LEVERS.get(name)
    if found is None:
        raise UnknownError(f"there is no lever {name!r}; there are {', '.join(LEVERS)}")
    return found


@dataclass(frozen=True, slots=True)
class Turned:
    """A lever that is off its default: by whom, why, since when, until when (None: until it is cleared)."""

    name: str
    target: str
    value: Value
    actor: str
    reason: str
    set_at: datetime
    expires_at: datetime | None
    incident_id: int | None = None
    before: "Turned | None" = None
    """What the turn for an incident covers; None: the default."""

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def without(self, incident_id: int) -> "Turned | None":
        """What is left when everything that was turned for the incident is taken out."""
        below = self.before.without(incident_id) if self.before is not None else None
        return below if self.incident_id == incident_id else replace(self, before=below)


@dataclass(frozen=True, slots=True)
class Cleared:
    """A lever that was off its default and no longer is as it was: `now` is what came back, None for the default."""

    was: Turned
    now: Turned | None


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the history. `what`: set, renewed, cleared, expired; ramp started, step, back, held, done, stopped.

    `evidence` is what the guards of a ramp saw, `percent` how far of its way the ramp was.
    """

    at: datetime
    what: str
    name: str
    target: str
    value: Value | None
    before: Value | None
    actor: str
    reason: str
    expires_at: datetime | None
    incident_id: int | None = None
    ramp_id: int | None = None
    percent: int | None = None
    evidence: Any = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All levers that are off their default, by name and target."""

    values: Mapping[tuple[str, str], Value] = field(default_factory=dict)

    def number(self, lever: Lever, default: int, target: Target = EVERYTHING) -> int:
        """The value for just this target, else the default."""
        return int(self.values.get((lever.name, str(target)), default))

    def word(self, lever: Lever, default: str) -> str:
        return str(self.values.get((lever.name, ""), default))

    def on(self, lever: Lever, kind: TargetKind) -> frozenset[str]:
        """The keys of this kind for which a switch is on."""
        prefix = f"{kind}:"
        return frozenset(
            target.removeprefix(prefix)
            for (name, target), value in self.values.items()
            if name == lever.name and value is True and target.startswith(prefix)
        )

    def words(self, lever: Lever, kind: TargetKind) -> dict[str, str]:
        """The words set for single targets of this kind."""
        prefix = f"{kind}:"
        return {
            target.removeprefix(prefix): str(value)
            for (name, target), value in self.values.items()
            if name == lever.name and target.startswith(prefix)
        }

    def by_key(self, lever: Lever, kind: TargetKind) -> dict[str, int]:
        """The numbers set for single targets of this kind."""
        prefix = f"{kind}:"
        return {
            target.removeprefix(prefix): int(value)
            for (name, target), value in self.values.items()
            if name == lever.name and target.startswith(prefix)
        }
