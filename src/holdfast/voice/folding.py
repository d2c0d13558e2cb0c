"""What callbacks say of calls, folded together so that no order or repetition of them makes a difference.

Every field is the largest, smallest or latest of what was said: see `call_store`, which merges with what is stored in
the same way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import get_args

from holdfast.twilio.model import DebuggerAlert
from holdfast.voice.callbacks import LONGEST, sid
from holdfast.voice.model import Callback, LegOutcome, PlanTarget
from holdfast.voice.routing import target_region

RANKS = {
    "queued": 1,
    "initiated": 2,
    "ringing": 3,
    "in-progress": 4,
    "canceled": 5,
    "no-answer": 6,
    "busy": 7,
    "failed": 8,
    "completed": 9,
}
"""Twilio's states of a call in the order in which they follow each other; from `OVER` on nothing follows."""
OVER = 5
LEG_OUTCOMES: tuple[LegOutcome, ...] = get_args(LegOutcome)
_LONGEST_CALL = 86_400 * 7
_CLOCKS_DIFFER = 86_400


@dataclass(slots=True)
class CallChange:
    """What is known of a call from some callbacks; what is not is empty or None. Times are Unix seconds."""

    sid: str
    account: str
    phone: str = ""
    caller: str = ""
    is_test: bool = False
    status: str = ""
    rank: int = 0
    began: float = 0.0
    ended: float | None = None
    seconds: int | None = None
    answer: str = ""
    told: float | None = None

    def merge(self, other: "CallChange") -> None:
        self.phone = max(self.phone, other.phone)
        self.caller = max(self.caller, other.caller)
        self.is_test |= other.is_test
        self.rank, self.status = max((self.rank, self.status), (other.rank, other.status))
        self.began = min(self.began, other.began)
        self.ended = _least(self.ended, other.ended)
        self.seconds = max((n for n in (self.seconds, other.seconds) if n is not None), default=None)
        if other.told is not None and (self.told is None or (other.told, other.answer) > (self.told, self.answer)):
            self.told, self.answer = other.told, other.answer


@dataclass(frozen=True, slots=True)
class LegChange:
    call_sid: str
    target: str
    place: int
    phone: str
    region: str
    caller_id: str | None
    outcome: LegOutcome
    sip_code: int | None
    seconds: int | None
    at: float

    @property
    def order(self) -> tuple[bool, float, str]:
        """Of two that tell of the same target: that it answered counts, else what came last."""
        return (self.outcome == "answered", self.at, self.outcome)


@dataclass(slots=True)
class VoicemailChange:
    sid: str
    call_sid: str
    account: str
    url: str
    seconds: int | None
    at: float
    transcription: str | None

    def merge(self, other: "VoicemailChange") -> None:
        self.url = max(self.url, other.url)
        self.seconds = max((n for n in (self.seconds, other.seconds) if n is not None), default=None)
        self.at = min(self.at, other.at)
        self.transcription = max((t for t in (self.transcription, other.transcription) if t is not None), default=None)


@dataclass(slots=True)
class Changes:
    """By their keys in the store, so that each occurs once."""

    calls: dict[str, CallChange] = field(default_factory=dict)
    legs: dict[tuple[str, str], LegChange] = field(default_factory=dict)
    voicemails: dict[str, VoicemailChange] = field(default_factory=dict)
    alerts: dict[str, DebuggerAlert] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)
    """The number that was called, by the sid of the alert about it."""


def folded(callbacks: Iterable[Callback]) -> Changes:
    changes = Changes()
    for callback in callbacks:
        if callback.kind == "debugger":
            _take_alert(changes, callback)
        elif callback.call_sid is not None:
            _take(changes, callback, callback.call_sid)
    return changes


def _take(changes: Changes, callback: Callback, call_sid: str) -> None:
    call = _call(callback, call_sid)
    known = changes.calls.setdefault(call_sid, call)
    if known.account != call.account:  # as in the store: a call is its account's, whoever else names it
        return
    if known is not call:
        known.merge(call)
    if is_test(callback.query):  # nobody was rung, and nothing recorded: see `voice.testing`
        return
    if callback.kind == "call.dialed":
        leg = _leg(callback, call_sid)
        if leg is not None:
            key = (call_sid, leg.target)
            before = changes.legs.get(key)
            changes.legs[key] = leg if before is None else max(before, leg, key=lambda one: one.order)
    elif callback.kind in ("call.recording", "call.transcription"):
        message = _voicemail(callback, call_sid)
        if message is not None:
            held = changes.voicemails.setdefault(message.sid, message)
            if held is not message and held.account == message.account:
                held.merge(message)


def _call(callback: Callback, call_sid: str) -> CallChange:
    said = callback.params
    change = CallChange(call_sid, callback.account, began=callback.received)
    if callback.answered:
        change.answer, change.told = callback.answered, callback.received
    if "ParentCallSid" in said:  # of a leg: its numbers and its state are not the call's
        return change
    change.phone, change.caller = said.get("To", "")[:LONGEST], said.get("From", "")[:LONGEST]
    # Nobody but our own test calls goes out from here; legs are no calls of their own.
    change.is_test = is_test(callback.query) or said.get("Direction", "").startswith("outbound")
    change.status = said.get("CallStatus", "")[:LONGEST]
    change.rank = RANKS.get(change.status, 0)
    change.seconds = number(said.get("CallDuration"), most=_LONGEST_CALL)
    if change.rank >= OVER and callback.kind == "call.status":
        change.ended = _time(said.get("Timestamp"), callback.received)
        change.began -= change.seconds or 0
    elif change.rank >= OVER:
        change.ended = callback.received
    return change


def is_test(query: Mapping[str, str]) -> bool:
    """Whether an address is that of a call that `voice.testing` walks."""
    return query.get("test", "") not in ("", "0")


def _leg(callback: Callback, call_sid: str) -> LegChange | None:
    """Which target it was, and where, is in our own query."""
    said, ours = callback.params, callback.query
    target = ours.get("target", "")[:LONGEST]
    status = said.get("DialCallStatus", "")
    outcome = next((one for one in LEG_OUTCOMES if one == ("answered" if status == "completed" else status)), None)
    if not target or outcome is None:
        return None
    phone = said.get("To", "")[:LONGEST]
    return LegChange(
        call_sid,
        target,
        number(ours.get("place"), most=1000) or 1,
        phone,
        ours.get("region", "")[:LONGEST] or target_region(PlanTarget(target)),
        ours.get("caller_id", "")[:LONGEST] or None,
        outcome,
        number(said.get("DialSipResponseCode"), most=999),
        number(said.get("DialCallDuration"), most=_LONGEST_CALL),
        callback.received,
    )


def _voicemail(callback: Callback, call_sid: str) -> VoicemailChange | None:
    """None for a recording that holds nothing."""
    said = callback.params
    found, url = sid(said.get("RecordingSid")), said.get("RecordingUrl", "")
    seconds = number(said.get("RecordingDuration"), most=_LONGEST_CALL)
    if found is None or not url or seconds == 0 or said.get("RecordingStatus", "completed") != "completed":
        return None
    text = said.get("TranscriptionText", "").strip() or None
    return VoicemailChange(found, call_sid, callback.account, url[:2000], seconds, callback.received, text)


def _take_alert(changes: Changes, callback: Callback) -> None:
    said = callback.params
    found = sid(said.get("Sid"))
    if found is None:
        return
    changes.alerts.setdefault(
        found,
        DebuggerAlert(
            found,
            callback.account,
            datetime.fromtimestamp(_time(said.get("Timestamp"), callback.received), UTC),
            said.get("Level", "error").lower()[:LONGEST],
            number(said.get("error_code"), most=2**31 - 1) or 0,
            said.get("resource_sid", "")[:LONGEST] or None,
            said.get("url", "")[:2000] or None,
            said.get("message", "")[:2000],
        ),
    )
    if said.get("To"):
        changes.called[found] = said["To"][:LONGEST]


def number(text: str | None, *, most: int) -> int | None:
    """A count from 0 to `most`; None for everything else."""
    if not text or not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    return int(text) if int(text) <= most else None


def _time(text: str | None, received: float) -> float:
    """RFC 2822 or ISO 8601, unless it is more than a day from when it came: then one of the clocks is wrong."""
    if text:
        try:
            at = datetime.fromisoformat(text) if text[:4].isdigit() else parsedate_to_datetime(text)
            stamp = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, IndexError, TypeError):
            return received
        if abs(stamp - received) <= _CLOCKS_DIFFER:
            return stamp
    return received


def _least(one: float | None, other: float | None) -> float | None:
    return min((at for at in (one, other) if at is not None), default=None)
