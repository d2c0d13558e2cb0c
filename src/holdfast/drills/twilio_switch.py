"""Places calls on the emulated Twilio: incoming ones, and those that an account asks for through the API."""

import asyncio
import math
from collections import deque
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.drills.tasks import Tasks
from holdfast.drills.twilio_calls import CallOver, Document, Executor, LiveCall, Plan
from holdfast.drills.twilio_dial import dial
from holdfast.drills.twilio_exchange import CallResult, Exchange, Step
from holdfast.drills.twilio_faults import Facts, Rule, TwilioEmulatorError
from holdfast.drills.twilio_people import Caller
from holdfast.drills.twilio_state import CallRecord, Number
from holdfast.drills.twilio_twiml import parse_xml
from holdfast.drills.twilio_verbs import gather, hang_up, pause, play, record, redirect, reject, say

EXECUTORS: Final[Mapping[str, Executor]] = {
    "Say": say,
    "Play": play,
    "Pause": pause,
    "Dial": dial,
    "Record": record,
    "Redirect": redirect,
    "Reject": reject,
    "Hangup": hang_up,
    "Gather": gather,
}
_LOST: Final = 3.0  # seconds until a caller who cannot be put through hears so
_RING_TIMEOUT: Final = 60.0
_SIP_ERROR: Final = 32011


@dataclass(frozen=True, slots=True)
class Order:
    """An outgoing call as the API takes it: `document` is inline TwiML, else the plan's URL is asked."""

    record: CallRecord
    plan: Plan
    timeout: float = _RING_TIMEOUT
    document: Document | None = None


@dataclass(slots=True)
class Switch:
    """Runs calls, at most `concurrency` at once, and keeps the latest results."""

    exchange: Exchange
    concurrency: int
    history: int
    results: deque[CallResult] = field(init=False)
    live: dict[str, LiveCall] = field(default_factory=dict)
    _tasks: Tasks = field(default_factory=Tasks)
    _placed: int = 0

    def __post_init__(self) -> None:
        self.results = deque(maxlen=self.history)

    @property
    def full(self) -> bool:
        return len(self._tasks) >= self.concurrency

    @property
    def under_way(self) -> int:
        return len(self._tasks)

    def begin(self, call: Coroutine[Any, Any, CallResult]) -> asyncio.Task[CallResult]:
        """Run a call in the background. TwilioEmulatorError if too many are under way."""
        if self.full:
            call.close()
            raise TwilioEmulatorError(f"{self.concurrency} calls are under way: raise `call_concurrency` or wait")
        return self._tasks.begin(call)

    async def settled(self) -> None:
        await self._tasks.settled()

    async def close(self) -> None:
        await self._tasks.close()

    async def incoming(self, from_: str, number: Number, caller: Caller) -> CallResult:
        """A call from outside to one of our numbers."""
        call = self._incoming_call(from_, number, caller)
        return await self._carry(call, number)

    async def outgoing(self, order: Order) -> CallResult:
        """A call that the API was asked for: to a person, or to one of our own numbers."""
        number = self.exchange.state.by_phone.get(order.record.to)
        return await (self._to_person(order) if number is None else self._to_ourselves(order, number))

    def _incoming_call(self, from_: str, number: Number, caller: Caller) -> LiveCall:
        exchange = self.exchange
        record = CallRecord(
            sid=exchange.state.new_sid("CA"),
            account=number.account,
            from_=from_,
            to=number.phone,
            direction="inbound",
            created=exchange.clock(),
            status="ringing",
            number_sid=number.sid,
        )
        plan = Plan(
            number.voice_url,
            number.voice_method,
            number.voice_fallback_url,
            number.voice_fallback_method,
            number.status_callback,
            number.status_callback_method,
            frozenset(number.status_callback_events),
        )
        return self._live(record, plan, caller)

    def _live(self, record: CallRecord, plan: Plan, party: Caller) -> LiveCall:
        self._placed += 1
        self.exchange.state.calls.add(record)
        return LiveCall(self.exchange, record, plan, party, self.exchange.rng_of(self._placed), EXECUTORS)

    async def _carry(self, call: LiveCall, number: Number) -> CallResult:
        """Put an incoming call through, if the carriers do."""
        exchange = self.exchange
        facts = Facts("voice", number=number.phone, region=number.region, target=call.record.from_)
        struck = exchange.faults().struck(call.rng, facts, "outage", "call_lost")
        if struck is not None:
            return await self._lose(call, struck)
        call.progress("initiated", "initiated")
        call.progress("ringing", "ringing")
        return await self._run(call, None)

    async def _lose(self, call: LiveCall, rule: Rule) -> CallResult:
        self.exchange.debugger.alert(call.record.account, rule.error_code or _SIP_ERROR, call.record.sid)
        await self.exchange.sleep(_LOST)
        call.record.status, call.record.ended = "failed", self.exchange.clock()
        lost = Step(0.0, "verb", "carrier", f"lost by a fault ({rule.effect})")
        result = CallResult(
            call.record.sid, call.record.from_, call.record.to, call.began, _LOST, "failed", "error", steps=(lost,)
        )
        self.results.append(result)
        return result

    async def _run(self, call: LiveCall, first: Document | None) -> CallResult:
        self.live[call.record.sid] = call
        try:
            result = await call.run(first)
        finally:
            del self.live[call.record.sid]
        if call.record.direction == "inbound":
            self.results.append(result)
        return result

    async def _to_person(self, order: Order) -> CallResult:
        exchange, record = self.exchange, order.record
        call = self._live(record, order.plan, Caller(patience=math.inf, leaves_voicemail=0.0))
        reaction = exchange.people.at(record.to).reaction(call.rng)
        facts = Facts("voice", record.from_, exchange.regions.of(record.to), record.to)
        struck = exchange.faults().struck(call.rng, facts, "outage", "leg_fails", "leg_unanswered")
        self.live[record.sid] = call
        try:
            status = await self._ring(call, order, struck, reaction.who == "busy", reaction.after)
        finally:
            del self.live[record.sid]
        if status is not None:
            return self._unanswered(call, status)
        # Whoever picked up stays for as long as they would talk.
        call.party = Caller(patience=reaction.talks, presses=reaction.presses, leaves_voicemail=0.0)
        call.deadline = call.at + reaction.talks
        call.answered_by = record.to
        call.ended_as = "person" if reaction.who == "person" else "voicemail"
        await call.answer()
        return await self._run(call, order.document)

    async def _ring(self, call: LiveCall, order: Order, struck: Rule | None, busy: bool, after: float) -> str | None:
        """Ring somebody; the final status if they do not pick up."""
        call.progress("initiated", "initiated")
        if struck is not None and struck.effect != "leg_unanswered":
            self.exchange.debugger.alert(call.record.account, struck.error_code or 13224, call.record.sid)
            return "failed"
        call.record.status = "ringing"
        call.progress("ringing", "ringing")
        if struck is not None:
            after = math.inf
        try:
            await call.wait(min(after, order.timeout))
        except CallOver:
            return "canceled"
        if busy:
            return "busy"
        return "no-answer" if after > order.timeout else None

    def _unanswered(self, call: LiveCall, status: str) -> CallResult:
        record = call.record
        record.status, record.ended = status, self.exchange.clock()
        call.progress("completed", status)
        return CallResult(record.sid, record.from_, record.to, call.began, call.at, status, "hung_up")

    async def _to_ourselves(self, order: Order, number: Number) -> CallResult:
        """A call to a number of ours walks that number's plan, for as long as the caller's own TwiML keeps the line.

        How long that is, is found out at the answer, so that who hangs up first does not depend on speed.
        """
        outgoing = self._live(order.record, order.plan, Caller(patience=math.inf, leaves_voicemail=0.0))
        incoming = self._incoming_call(order.record.from_, number, Caller(patience=order.timeout, leaves_voicemail=0.0))
        outgoing.progress("initiated", "initiated")
        order.record.status = "ringing"
        outgoing.progress("ringing", "ringing")

        async def answered() -> None:
            await outgoing.answer()
            stays = await self._length(outgoing, order.document)
            incoming.deadline = incoming.leaves_at = incoming.at + stays

        incoming.on_answer = answered
        self.live[order.record.sid] = incoming  # ending one end of a call ends the other
        try:
            result = await self._carry(incoming, number)
        finally:
            del self.live[order.record.sid]
        if outgoing.answered_at is None:
            return self._unanswered(outgoing, "failed" if result.heard_error else result.status)
        outgoing.at = outgoing.answered_at + incoming.at - (incoming.answered_at or 0.0)
        outgoing.finish("finished")
        return result

    async def _length(self, outgoing: LiveCall, document: Document | None) -> float:
        """How long the TwiML of a test call keeps the line, without waiting for it."""
        began = outgoing.at
        patient = LiveCall(
            _Timeless(self.exchange), outgoing.record, outgoing.plan, outgoing.party, outgoing.rng, EXECUTORS, at=began
        )
        patient.answered_at = began
        try:
            await patient.follow(document or await patient.fetch(outgoing.plan.url, outgoing.plan.method, {}))
        except CallOver as over:
            patient.note("call", over.reason)
        return patient.at - began


class _Timeless(Exchange):
    """The same exchange, where simulated time takes none."""

    def __init__(self, exchange: Exchange) -> None:
        for name in Exchange.__slots__:
            setattr(self, name, getattr(exchange, name))

    async def sleep(self, seconds: float, until: asyncio.Event | None = None) -> bool:
        await asyncio.sleep(0)
        return until is None or not until.is_set()


def inline(document: str) -> Document:
    """TwiML given with a request. TwimlError if it is none."""
    return Document("", parse_xml(document))
