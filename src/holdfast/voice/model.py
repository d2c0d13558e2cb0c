"""Call plans, what a call is told, and what becomes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import msgspec

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
LegOutcome = Literal["answered", "busy", "no-answer", "canceled", "failed"]
CallOutcome = Literal["person", "voicemail", "abandoned", "announcement", "missed", "failed"]
"""person: talked to one; voicemail: left a message; abandoned: hung up while it rang, or asked for a message and gave
none; announcement: heard one, such as that the number is not in service; missed: rang out without voicemail; failed:
an error."""
MOST_TARGETS = 10


class VoiceError(Exception):
    """It cannot be done so; the message says what was wrong, and what to write instead."""


class UnknownError(VoiceError):
    """There is no such number, call or voicemail."""


# Plans. msgspec structs, since they are stored and sent as JSON; hidden from the garbage collector, which would stop
# every call to look through those of all numbers, and in which no cycle can be.


class PlanTarget(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Somebody who may answer: an E.164 number or a SIP address (`sip:desk@example.com`).

    `rings`: seconds. `region`: None for the country of its number.
    """

    address: str
    rings: int = 20
    region: str | None = None


class Opening(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """When somebody is there: on these days, from `opens` to `closes`, `HH:MM` of the merchant's clock.

    `closes` may be `24:00`; where it is not after `opens`, it is on the next day.
    """

    days: tuple[Day, ...]
    opens: str
    closes: str


class Plan(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What is done with a call, in order: greeting, targets one after the other, voicemail.

    No `hours`: always open. `time_zone`: None for the merchant's, else that of the number's place. Greetings are said
    in `language`; one that begins with http(s):// is played. `voicemail_seconds`: the longest message.
    """

    targets: tuple[PlanTarget, ...] = ()
    hours: tuple[Opening, ...] = ()
    time_zone: str | None = None
    greeting: str | None = None
    closed_greeting: str | None = None
    voicemail_greeting: str | None = None
    voicemail_seconds: int = 120
    transcribe: bool = False
    language: str = "en-US"


class Line(msgspec.Struct, frozen=True, gc=False):
    """One of our numbers, with all that is needed to answer a call to it. `time_zone` is the one that counts."""

    phone: str
    merchant_id: int
    merchant: str
    """The merchant's key."""
    merchant_name: str
    region: str
    time_zone: str
    plan: Plan
    stands_in: bool = False


# Decisions: what a call is told.


@dataclass(frozen=True, slots=True)
class Dial:
    """Ring this target. `tried` are addresses that were rung before, `caller_id` what it shows (None: the caller's)."""

    target: PlanTarget
    tried: tuple[str, ...]
    why: str
    caller_id: str | None = None
    greeting: str | None = None


@dataclass(frozen=True, slots=True)
class TakeMessage:
    """Ask for a message. `why`: `voicemail only: region:US`, `closed`, `nobody answered`, `no plan`."""

    greeting: str
    why: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Say this and hang up."""

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Over:
    """Nothing more to say: the call was answered, or the caller is gone."""

    why: str


Decision = Dial | TakeMessage | Announce | Over


# Callbacks: what Twilio tells us.

CallbackKind = Literal[
    "call.incoming", "call.dialed", "call.status", "call.recording", "call.transcription", "debugger"
]
"""Types of the events that callbacks are kept as, with `twilio.` before: `twilio.call.status`."""


class Callback(msgspec.Struct, frozen=True):
    """One verified request of Twilio's. `params`: its form, and of a debugger alert its own fields.

    `query` is ours: what we wrote into the address that Twilio called. `answered`: what the call was told, in words.
    `received` is Unix time. `event_id` is the same for the same request sent again.
    """

    kind: CallbackKind
    event_id: str
    account: str
    call_sid: str | None
    received: float
    headers: str
    body: bytes
    params: dict[str, str]
    query: dict[str, str]
    answered: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A call at one of our numbers, as far as it is known."""

    sid: str
    account: str
    phone: str
    merchant_id: int
    region: str
    caller: str
    is_test: bool
    status: str
    began_at: datetime
    ended_at: datetime | None
    seconds: int | None
    answer: str
    answered_by: str | None
    outcome: CallOutcome | None


@dataclass(frozen=True, slots=True)
class Leg:
    """A target that a call was put through to, and what came of it."""

    call_sid: str
    target: str
    place: int
    phone: str
    region: str
    caller_id: str | None
    outcome: LegOutcome
    sip_code: int | None
    seconds: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Voicemail:
    """A message that a caller left. `url` is at Twilio, and wants its account's password unless that is turned off."""

    sid: str
    call_sid: str
    account: str
    merchant_id: int
    phone: str
    caller: str
    url: str
    seconds: int | None
    at: datetime
    transcription: str | None


# Health


HealthKind = Literal["number", "region", "target"]
Verdict = Literal["well", "ill", "unknown"]


@dataclass(frozen=True, slots=True)
class LineHealth:
    """How calls through one number, region or target went lately.

    `tried` legs, of which `failed` could not be put through at all; `low` to `high` is where the true share of
    failures lies, very probably. `ill` once `low` is above the limit; `unknown` while `high` is too, or nothing was
    tried. `alerts`: Twilio's own complaints about it in the same time.
    """

    kind: HealthKind
    key: str
    tried: int
    answered: int
    failed: int
    low: float
    high: float
    verdict: Verdict
    alerts: Mapping[str, int]
    since: datetime | None
    """When its failures began, where it is ill."""
