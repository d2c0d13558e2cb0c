"""What every emulated call and text shares, and what is known of a call when it is over."""

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal

from holdfast.drills.twilio_callbacks import Callback, Callbacks
from holdfast.drills.twilio_debugger import Debugger
from holdfast.drills.twilio_faults import Facts, TwilioFaults
from holdfast.drills.twilio_people import People, Regions
from holdfast.drills.twilio_state import CallRecord, TwilioState
from holdfast.drills.twilio_webhooks import Ask, WebhookPoster

API_VERSION = "2010-04-01"
EndedAs = Literal["person", "voicemail", "hung_up", "error", "announcement"]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened in a call, `at` simulated seconds after it began.

    A request has its URL as `what`, the answer's HTTP `status` (`None` for none) and the `verbs` it held; a verb has
    its name as `what`. `outcome` is what came of it.
    """

    at: float
    kind: Literal["request", "verb"]
    what: str
    outcome: str
    status: int | None = None
    verbs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallResult:
    """How a call went for the one who called.

    `answered_by`: the target that picked up and was connected. `ended_as`: `person` (talked to somebody), `voicemail`
    (came to a recording, of ours or of the carrier of the person called), `hung_up` (lost patience before any of these,
    or was cut off), `error` (heard Twilio's error, or never got through), `announcement` (heard our words to the end,
    or was rejected). `status` is Twilio's call status. `began` is Unix time, `duration` simulated seconds from
    the first ring.
    """

    sid: str
    from_: str
    to: str
    began: float
    duration: float
    status: str
    ended_as: EndedAs
    answered_by: str | None = None
    recordings: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def heard_error(self) -> bool:
        return self.ended_as == "error"


@dataclass(slots=True)
class Exchange:
    """The switchboard. `clock` gives Unix time, `speed` simulated seconds per real second."""

    state: TwilioState
    people: People
    regions: Regions
    poster: WebhookPoster
    callbacks: Callbacks
    debugger: Debugger
    clock: Callable[[], float]
    speed: float
    faults: Callable[[], TwilioFaults]
    seed: int
    base_url: Callable[[], str]

    def rng_of(self, number: int) -> random.Random:
        """The dice of the call or text with this number: what happens in one must not change the others."""
        return random.Random(self.seed * 1_000_003 + number)  # noqa: S311 - repeatable, not secret

    async def sleep(self, seconds: float, until: asyncio.Event | None = None) -> bool:
        """Let simulated seconds pass; `False` if `until` was set before or meanwhile."""
        real = seconds / self.speed
        if until is None:
            await asyncio.sleep(real)
            return True
        if until.is_set():
            return False
        try:
            async with asyncio.timeout(None if math.isinf(real) else real):
                await until.wait()
        except TimeoutError:
            return True
        return False

    def progress(self, record: CallRecord, url: str, method: str, event: "Event") -> None:
        """Send a status callback of a call or leg."""
        params = call_params(record, self.regions) | {
            "CallStatus": event.status,
            "CallbackSource": "call-progress-events",
            "Timestamp": rfc2822(self.clock()),
            "SequenceNumber": str(event.sequence),
        }
        params |= event.extra
        if event.status == "completed" and record.duration is not None:
            params |= {"CallDuration": str(record.duration), "Duration": str(math.ceil(record.duration / 60))}
        self.callback(record, url, method, params, complaint=15003)

    def callback(
        self,
        record: CallRecord,
        url: str,
        method: str,
        params: Mapping[str, str],
        *,
        product: Literal["voice", "recordings"] = "voice",
        complaint: int = 11200,
        after: float = 0.0,
    ) -> None:
        """Send a callback about a call, `after` simulated seconds."""
        ask = Ask(url, params, self.state.account(record.account), self.state.new_sid("IT"), method)
        ours, target = self._ends(record)
        facts = Facts(product, ours, self.regions.of(ours or target), target)
        self.callbacks.send(Callback(ask, facts, record.sid, complaint, after / self.speed))

    def _ends(self, record: CallRecord) -> tuple[str | None, str]:
        """Our number and the other end."""
        if record.to in self.state.by_phone:
            return record.to, record.from_
        return (record.from_ if record.from_ in self.state.by_phone else None), record.to


@dataclass(frozen=True, slots=True)
class Event:
    """A step of a call's life for its status callback. `extra` are parameters that only this one has."""

    status: str
    sequence: int
    extra: Mapping[str, str]


def call_params(record: CallRecord, regions: Regions) -> dict[str, str]:
    """The parameters that all requests about a call carry."""
    params = {
        "CallSid": record.sid,
        "AccountSid": record.account,
        "From": record.from_,
        "To": record.to,
        "Caller": record.from_,
        "Called": record.to,
        "CallStatus": record.status,
        "Direction": record.direction,
        "ApiVersion": API_VERSION,
    }
    if record.parent is not None:
        params["ParentCallSid"] = record.parent
    for end, number in (("From", record.from_), ("To", record.to)):
        also = "Caller" if end == "From" else "Called"
        for name, value in {"City": "", "State": "", "Zip": "", "Country": regions.of(number) or ""}.items():
            params[f"{end}{name}"] = params[f"{also}{name}"] = value
    return params


def rfc2822(at: float) -> str:
    """Unix time as Twilio's 2010 API writes it."""
    return format_datetime(datetime.fromtimestamp(at, UTC))
