"""What can go wrong on the emulated Twilio's side, as one value that is replaced at run time."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, Self

Product = Literal["voice", "sms", "api", "debugger", "recordings"]
Effect = Literal[
    "outage",
    "leg_fails",
    "leg_unanswered",
    "call_lost",
    "message_fails",
    "text_lost",
    "api_error",
    "api_rate_limited",
    "api_slow",
    "api_refuses",
    "api_answer_lost",
    "callback_duplicated",
    "callback_reordered",
    "callback_late",
    "callback_lost",
    "callback_malformed",
    "alerts",
]

_NEED_SECONDS: Final = ("api_slow", "callback_reordered", "callback_late", "alerts")


class TwilioEmulatorError(Exception):
    """The emulated Twilio was set up or used wrongly; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a thing that may go wrong is about. `number` is one of ours, `target` the other end.

    `api`: it is a request to the API, which concerns a product and the API itself.
    """

    product: Product
    number: str | None = None
    region: str | None = None
    target: str | None = None
    api: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of misbehaviour: what happens (`effect`), how often (`rate`, 0 to 1), and to whom.

    Whatever is named of `product`, `region`, `number` and `target` must fit; what is not named fits everything.

    - `outage`: legs fail, incoming calls and texts are lost, messages fail; with no scope at all the API refuses too,
      and callbacks are lost. Of a region, it hits what goes in and what comes out; of a product, also
      its part of the API.
    - `leg_fails`: a dialled leg ends as `failed` with `sip_code` and a Debugger alert of `error_code`.
    - `leg_unanswered`: a dialled leg rings and nobody ever hears it: `no-answer`, and no alert.
    - `call_lost`: an incoming call never reaches us; its caller hears an error.
    - `message_fails`: a message ends as `undelivered` with `error_code` (30003 to 30008).
    - `text_lost`: a text to one of our numbers never reaches us, although its sender believes so.
    - `api_error` answers `status`, `api_rate_limited` 429, `api_slow` waits `seconds`, `api_refuses` cuts the
      connection; `api_answer_lost` cuts it after a POST was done, so that nobody hears of what was made.
      `product` narrows these to texts, recordings, the Debugger or calls.
    - `callback_…`: status, recording and Debugger callbacks are sent twice, out of order (each waits up to `seconds`),
      late by `seconds`, never, or with half of their fields missing. All `seconds` of a rule are real seconds.
    - `alerts`: Debugger alerts of `error_code` come by themselves, one in `seconds` on average.
    """

    effect: Effect
    rate: float = 1.0
    product: Product | None = None
    region: str | None = None
    number: str | None = None
    target: str | None = None
    error_code: int | None = None
    sip_code: int = 503
    status: int = 503
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise TwilioEmulatorError(f"the rate of {self.effect} is a probability: give 0 to 1, not {self.rate}")
        if self.seconds < 0:
            raise TwilioEmulatorError(f"{self.effect} lasts seconds: give 0 or more, not {self.seconds}")
        if self.effect in _NEED_SECONDS and self.seconds == 0:
            raise TwilioEmulatorError(f"{self.effect} needs `seconds` above 0")

    @property
    def everywhere(self) -> bool:
        """Whether it names nothing: the whole of Twilio."""
        return self.product is self.region is self.number is self.target is None

    def fits(self, facts: Facts) -> bool:
        return (
            (self.product in (None, facts.product) or (facts.api and self.product == "api"))
            and self.region in (None, facts.region)
            and self.number in (None, facts.number)
            and self.target in (None, facts.target)
        )


@dataclass(frozen=True, slots=True)
class TwilioFaults:
    """Misbehaviour in force: every rule is tried, in order."""

    rules: tuple[Rule, ...] = field(default=())

    @classmethod
    def of(cls, *rules: Rule) -> Self:
        return cls(rules)

    @classmethod
    def outage(cls, *, region: str | None = None, product: Product | None = None, rate: float = 1.0) -> Self:
        """A real outage: of everything, of a region, or of a product."""
        return cls((Rule("outage", rate, product=product, region=region),))

    def plus(self, *rules: Rule) -> Self:
        return type(self)(self.rules + rules)

    def with_effect(self, effect: Effect) -> Iterator[Rule]:
        return (rule for rule in self.rules if rule.effect == effect)

    def struck(self, rng: random.Random, facts: Facts, *effects: Effect) -> Rule | None:
        """The first rule of these effects that strikes this time; the dice are thrown only for rules that fit."""
        for rule in self.rules:
            if rule.effect in effects and rule.fits(facts) and (rule.rate >= 1 or rng.random() < rule.rate):
                return rule
        return None

    def down(self, rng: random.Random) -> bool:
        """Whether all of Twilio is out for this request or callback."""
        outages = (rule for rule in self.rules if rule.effect == "outage" and rule.everywhere)
        return any(rule.rate >= 1 or rng.random() < rule.rate for rule in outages)
