"""Answers Twilio when it asks what to do with a call: from memory, without waiting for anything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.voice import twiml
from holdfast.voice.folding import is_test, number
from holdfast.voice.model import Announce, Decision, Dial, Line, Over, TakeMessage
from holdfast.voice.routing import decide
from holdfast.voice.signals import ANSWERS
from holdfast.voice.snapshot import Snapshots

LAST_RESORT = twiml.LAST_RESORT
"""What to answer when anything of ours fails."""
HUNG_UP = "the caller hung up"
"""What `call_store.derive` takes for a call that was abandoned."""
_GONE = frozenset(("completed", "canceled", "busy", "failed", "no-answer"))
"""States of a call in which nobody listens any more."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call is told. `said`: in words, for its row: `dial +15550100`, `voicemail: closed`."""

    twiml: bytes
    said: str
    line: Line | None
    """The number that was called; None where it is not one of ours."""


class Answerer:
    """`params` are Twilio's form, `query` what we wrote into the address that it called."""

    def __init__(self, snapshots: Snapshots, clock: Callable[[], datetime] = _utc_now) -> None:
        self._snapshots = snapshots
        self._clock = clock

    def incoming(self, params: Mapping[str, str], query: Mapping[str, str]) -> Answer:
        """A call begins; or its first question failed, and Twilio asks at the fallback address."""
        return self._decided(params, query)

    def dialed(self, params: Mapping[str, str], query: Mapping[str, str]) -> Answer:
        """A target was rung: over if somebody answered or the caller is gone, else the next."""
        if params.get("DialCallStatus") in ("completed", "answered"):
            return self._told(params, query, Over("answered"))
        if params.get("DialCallStatus") == "canceled" or params.get("CallStatus") in _GONE:
            return self._told(params, query, Over(HUNG_UP))
        return self._decided(params, query)

    def recorded(self, params: Mapping[str, str], query: Mapping[str, str]) -> Answer:
        """A message was left; or a recording was begun that holds nothing, which `folding` takes for no message."""
        is_empty = number(params.get("RecordingDuration"), most=0) == 0
        why, told = (HUNG_UP, twiml.no_message()) if is_empty else ("message left", twiml.thanks())
        _count(query, "over", why)
        return Answer(told, f"over: {why}", self.line(params))

    def _decided(self, params: Mapping[str, str], query: Mapping[str, str]) -> Answer:
        decision = decide(
            self._snapshots.current,
            params.get("To", ""),
            call_sid=params.get("CallSid", ""),
            tried=twiml.tried_in(query),
            now=self._clock(),
        )
        return self._told(params, query, decision)

    def _told(self, params: Mapping[str, str], query: Mapping[str, str], decision: Decision) -> Answer:
        line = self.line(params)
        answer, said = in_words(decision)
        _count(query, answer, decision.why.partition(":")[0])
        return Answer(twiml.twiml(decision, line), said, line)

    def line(self, params: Mapping[str, str]) -> Line | None:
        """The number that was called; None where it is not one of ours."""
        return self._snapshots.current.lines.get(params.get("To", ""))


def _count(query: Mapping[str, str], answer: str, why: str) -> None:
    """Calls that only test must not hide that no others come."""
    if not is_test(query):
        ANSWERS.inc(1, answer, why)


def in_words(decision: Decision) -> tuple[str, str]:
    """(dial, voicemail, announcement or over; the same with what or why)."""
    match decision:
        case Dial(target):
            return "dial", f"dial {target.address}"
        case TakeMessage():
            return "voicemail", f"voicemail: {decision.why}"
        case Announce():
            return "announcement", f"announcement: {decision.why}"
        case Over():
            return "over", f"over: {decision.why}"
