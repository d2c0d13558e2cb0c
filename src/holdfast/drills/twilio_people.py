"""Who is at the ends of emulated calls: people that are called, people that call, and where they are."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import phonenumbers

from holdfast.drills.twilio_faults import TwilioEmulatorError

EndsVoicemail = Literal["hang_up", "key", "silence"]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is called. Times are simulated seconds, `answers` and `busy` probabilities of a call.

    `rings`: how long it rings until they answer. `talks`: how long the conversation lasts. `presses`: the digits that
    they press when asked. With `voicemail_text`, calls that they do not take are taken by their own carrier's voicemail
    after `voicemail_after`: to Twilio that is an answered call, unless it is asked to press a digit.
    """

    answers: float = 1.0
    rings: float = 3.0
    talks: float = 40.0
    busy: float = 0.0
    presses: str = "1"
    voicemail_text: str | None = None
    voicemail_after: float = 25.0

    def __post_init__(self) -> None:
        _check_shares(answers=self.answers, busy=self.busy)

    def reaction(self, rng: random.Random) -> "Reaction":
        """What they do about one call."""
        if rng.random() < self.busy:
            return Reaction("busy", 1.0)
        if rng.random() < self.answers:
            return Reaction("person", self.rings, self.talks, self.presses)
        if self.voicemail_text is not None:
            return Reaction("machine", self.voicemail_after, len(self.voicemail_text) / 15)
        return Reaction("nobody", float("inf"))


@dataclass(frozen=True, slots=True)
class Reaction:
    """What happens to one call at its far end: who picks up `after` how many seconds, and talks how long."""

    who: Literal["person", "machine", "nobody", "busy"]
    after: float
    talks: float = 0.0
    presses: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who calls one of our numbers. Times are simulated seconds.

    `patience`: they hang up after waiting that long for a person. `leaves_voicemail`: the probability that they speak
    after the beep, for `voicemail` seconds, saying `says`; then they end it as `ends_voicemail` tells.
    `hangs_up_first`: the probability that they, not the person called, end a conversation. `presses`: the digits that
    they press when asked.
    """

    patience: float = 120.0
    leaves_voicemail: float = 1.0
    voicemail: float = 20.0
    says: str = "Please call me back."
    ends_voicemail: EndsVoicemail = "hang_up"
    hangs_up_first: float = 0.5
    presses: str = ""

    def __post_init__(self) -> None:
        _check_shares(leaves_voicemail=self.leaves_voicemail, hangs_up_first=self.hangs_up_first)


@dataclass(slots=True)
class People:
    """The people known, by number or SIP address; `default` is at the end of every other."""

    known: dict[str, Person] = field(default_factory=dict)
    default: Person = field(default_factory=Person)

    def at(self, target: str) -> Person:
        return self.known.get(target, self.default)


@dataclass(slots=True)
class Regions:
    """Where a number is: as said for that number, else by the longest prefix given, else its ISO country."""

    prefixes: Mapping[str, str] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)

    def of(self, target: str) -> str | None:
        """The region of an E.164 number; of a SIP address only if its number or a prefix says so."""
        if target in self.numbers:
            return self.numbers[target]
        fitting = [prefix for prefix in self.prefixes if target.startswith(prefix)]
        return self.prefixes[max(fitting, key=len)] if fitting else country(target)


def country(number: str) -> str | None:
    """The ISO country of an E.164 number, `None` for what is none."""
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return None


def e164(given: str) -> str | None:
    """A number as Twilio reads it: E.164, or in US notation. `None` if it can be no number."""
    try:
        parsed = phonenumbers.parse(given, "US")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise TwilioEmulatorError(f"{name} is a probability: give 0 to 1, not {share}")
