"""Mixed incoming calls for the emulated Twilio, and what a stretch of time brought for those who called."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from holdfast.drills.twilio_exchange import CallResult
from holdfast.drills.twilio_faults import TwilioEmulatorError
from holdfast.drills.twilio_people import Caller


@dataclass(frozen=True, slots=True)
class CallMix:
    """Who calls whom: `numbers` of ours (all, if none are named), from numbers that begin with `caller_prefix`.

    `callers` are kinds of callers with weights.
    """

    numbers: Sequence[str] = ()
    caller_prefix: str = "+1646555"
    callers: Sequence[tuple[Caller, float]] = field(default=((Caller(), 1.0),))

    def __post_init__(self) -> None:
        if not self.callers or sum(weight for _, weight in self.callers) <= 0:
            raise TwilioEmulatorError("a mix of calls needs at least one kind of caller with a weight above 0")

    def draw(self, rng: random.Random, numbers: Sequence[str]) -> tuple[str, str, Caller]:
        """One call: who calls, whom, and what kind of caller they are."""
        kinds, weights = zip(*self.callers, strict=True)
        caller: Caller = rng.choices(kinds, weights)[0]
        return f"{self.caller_prefix}{rng.randrange(10_000):04}", rng.choice(self.numbers or numbers), caller


@dataclass(slots=True)
class Totals:
    """What `run` brought so far: calls placed, those left out because too many were under way, and how they ended."""

    placed: int = 0
    left_out: int = 0
    ended: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Shares:
    """Of `calls` in a window, the share that ended each way; all 0 if there were none."""

    calls: int
    person: float = 0.0
    voicemail: float = 0.0
    hung_up: float = 0.0
    error: float = 0.0
    announcement: float = 0.0

    @property
    def answered(self) -> float:
        """The share that reached a person or could leave word."""
        return self.person + self.voicemail


def shares(results: Iterable[CallResult], since: float = 0.0, until: float = float("inf")) -> Shares:
    """How the calls that began in [since, until) (Unix times) ended."""
    ended = Counter(result.ended_as for result in results if since <= result.began < until)
    total = ended.total()
    return Shares(total, **{kind: count / total for kind, count in ended.items()})
