"""How the emulated Twilio executes Dial: rings everybody at once, connects the first, reports how it went.

Sources: https://www.twilio.com/docs/voice/twiml/dial, /number and /sip (attributes, parameters of the action URL).
What each leg does is decided before it rings, so that a call goes the same way at any speed.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

from holdfast.drills.twilio_calls import CallOver, Document, LiveCall, Plan
from holdfast.drills.twilio_exchange import Event
from holdfast.drills.twilio_faults import Facts, Rule
from holdfast.drills.twilio_people import Caller, Reaction, e164
from holdfast.drills.twilio_state import CallRecord
from holdfast.drills.twilio_twiml import Verb

_TIMEOUT: Final = 30.0
_TIME_LIMIT: Final = 4 * 3_600.0
_MOST_NOUNS: Final = 10
_SETUP: Final = 0.5  # seconds until a leg that cannot be set up has failed
_BAD_NUMBER, _BAD_CALLER_ID, _SIP_ERROR = 13224, 13214, 32011
_SIP_PARAMETERS: Final = re.compile("[;?]")  # what follows is for the device, and not who is called
_NOT_FOUND: Final = 404
_GOODBYE: Final = 10.0  # seconds that somebody who has talked still listens


@dataclass(slots=True)
class Leg:
    """A target that is rung: `ends_after` seconds it is out as `status`, unless `reaction` picks up before."""

    record: CallRecord
    noun: Verb
    reaction: Reaction
    ends_after: float = math.inf
    status: str = "no-answer"
    sip_code: int | None = None
    error_code: int | None = None
    sequence: int = 0


async def dial(call: LiveCall, verb: Verb) -> Document | None:
    if not verb.flag("answerOnBridge"):
        await call.answer()
    began = call.at
    legs = [_leg(call, verb, noun) for noun in _nouns(verb)[:_MOST_NOUNS]]
    for leg in legs:
        _progress(call, leg, "initiated", "initiated")
        if leg.error_code is None:
            _progress(call, leg, "ringing", "ringing")
    try:
        told = await _ring(call, verb, legs)
    except CallOver as over:
        await _abandoned(call, verb, legs, over, began)
        raise
    call.note("Dial", f"{told['DialCallStatus']} ({', '.join(leg.record.to for leg in legs)})", began)
    return await _conclude(call, verb, told)


async def _conclude(call: LiveCall, verb: Verb, told: dict[str, str]) -> Document | None:
    """What follows a Dial that is over: the action URL if there is one, else the next verb."""
    action = verb.get("action")
    talked = told.get("DialBridged") == "true"
    if talked and call.rng.random() < call.party.hangs_up_first:
        if action is not None:
            await call.tell(call.address(action), verb.get("method"), told)
        raise CallOver("finished")
    if talked:
        call.deadline = call.at + _GOODBYE
    if action is None:
        return None
    return await call.fetch(call.address(action), verb.get("method"), told)


async def _ring(call: LiveCall, verb: Verb, legs: list[Leg]) -> dict[str, str]:
    """Ring until somebody is connected and has talked, or nobody is left; returns the parameters of the action URL."""
    timeout = min(600.0, max(1.0, verb.number("timeout", _TIMEOUT)))
    rung = 0.0
    for leg in sorted(legs, key=lambda leg: leg.reaction.after):
        if leg.status in ("failed", "busy") or leg.reaction.after > timeout:
            continue
        await call.wait(max(0.0, leg.reaction.after - rung))
        rung = max(rung, leg.reaction.after)
        if leg.reaction.who in ("person", "machine") and await _accepted(call, leg):
            return await _talk(call, verb, leg, legs)
    out = timeout if any(math.isinf(leg.ends_after) for leg in legs) else max(leg.ends_after for leg in legs)
    await call.wait(max(0.0, min(out, timeout) - rung))
    for leg in legs:
        _close(call, leg, leg.status)
    return _failure(legs)


async def _talk(call: LiveCall, verb: Verb, leg: Leg, legs: list[Leg]) -> dict[str, str]:
    await call.answer()
    for other in legs:
        if other is not leg:
            _close(call, other, other.status if other.ends_after < leg.reaction.after else "canceled")
    if leg.record.started is None:
        _pick_up(call, leg)
    call.answered_by = leg.record.to
    call.ended_as = "person" if leg.reaction.who == "person" else "voicemail"
    limit = verb.number("timeLimit", _TIME_LIMIT)
    began = call.at
    try:
        await call.wait(min(leg.reaction.talks, limit), patient=True)
    finally:
        leg.record.duration = round(call.at - began)
        _close(call, leg, "completed")
    return _talked(leg)


def _talked(leg: Leg) -> dict[str, str]:
    return {
        "DialCallStatus": "completed",
        "DialCallSid": leg.record.sid,
        "DialCallDuration": str(leg.record.duration),
        "DialBridged": "true",
    }


async def _accepted(call: LiveCall, leg: Leg) -> bool:
    """Whether the noun's `url` lets the call through: the person called hears it first, and may hang up."""
    url = leg.noun.get("url")
    if url is None:
        return True
    _pick_up(call, leg)
    ear = Caller(patience=math.inf, presses=leg.reaction.presses, leaves_voicemail=0.0)
    side = LiveCall(call.exchange, leg.record, Plan(), ear, call.rng, call.executors, at=call.at)
    side.answered_at, through = call.at, True
    try:
        await side.follow(await side.fetch(call.address(url), leg.noun.get("method"), {}))
    except CallOver:
        through = False
    call.steps.extend(side.steps)
    await call.wait(max(0.0, side.at - call.at))
    if not through:
        leg.record.duration = round(side.at - side.answered_at)
        leg.status = "completed"
    return through


async def _abandoned(call: LiveCall, verb: Verb, legs: list[Leg], over: CallOver, began: float) -> None:
    """The caller is gone: who still rings stops ringing, and the action URL is told."""
    call.note("Dial", over.reason, began)
    for leg in legs:
        _close(call, leg, "canceled")
    talked = next((leg for leg in legs if leg.record.duration is not None), None)
    told = {"DialCallStatus": "canceled", "DialCallSid": legs[0].record.sid, "DialBridged": "false"}
    if talked is not None:
        told = _talked(talked)
    if over.reason == "hung_up" and (action := verb.get("action")):
        await call.tell(call.address(action), verb.get("method"), told)


def _failure(legs: list[Leg]) -> dict[str, str]:
    """How a Dial that connected nobody went: all failed, all busy, or not answered."""
    statuses = {leg.status for leg in legs}
    leg = legs[0]
    told = {"DialCallSid": leg.record.sid, "DialBridged": "false"}
    told["DialCallStatus"] = leg.status if len(statuses) == 1 else "no-answer"
    if leg.record.duration is not None:
        told["DialCallDuration"] = str(leg.record.duration)
    if told["DialCallStatus"] == "failed":
        told |= {"DialSipResponseCode": str(leg.sip_code), "ErrorCode": str(leg.error_code)}
    return told


def _nouns(verb: Verb) -> list[Verb]:
    """Whom a Dial names. The text of the verb itself is a plain number."""
    nouns = [child for child in verb.children if child.name in ("Number", "Sip")]
    if verb.text or not nouns:
        nouns.insert(0, Verb("Number", {}, verb.text))
    return nouns


def _leg(call: LiveCall, verb: Verb, noun: Verb) -> Leg:
    """Decide what a leg will do."""
    exchange, parent = call.exchange, call.record
    target = _SIP_PARAMETERS.split(noun.text)[0] if noun.name == "Sip" else e164(noun.text)
    sender = verb.get("callerId") or parent.from_
    record = CallRecord(
        sid=exchange.state.new_sid("CA"),
        account=parent.account,
        from_=sender,
        to=target or noun.text,
        direction="outbound-dial",
        created=exchange.clock(),
        parent=parent.sid,
    )
    exchange.state.calls.add(record)
    leg = Leg(record, noun, Reaction("nobody", math.inf))
    if target is None:
        return _failed(call, leg, _BAD_NUMBER, _NOT_FOUND)
    if sender not in exchange.state.by_phone and sender not in (parent.from_, parent.to):
        return _failed(call, leg, _BAD_CALLER_ID, 403)
    struck = _struck(call, target)
    if struck is not None:
        if struck.effect == "leg_unanswered":
            return leg
        return _failed(call, leg, struck.error_code or _default_error(noun), struck.sip_code)
    leg.reaction = exchange.people.at(target).reaction(call.rng)
    if leg.reaction.who == "busy":
        leg.status, leg.ends_after = "busy", leg.reaction.after
    return leg


def _struck(call: LiveCall, target: str) -> Rule | None:
    exchange, record = call.exchange, call.record
    ours = record.to if record.to in exchange.state.by_phone else record.from_
    facts = Facts("voice", number=ours, region=exchange.regions.of(target), target=target)
    return exchange.faults().struck(call.rng, facts, "outage", "leg_fails", "leg_unanswered")


def _failed(call: LiveCall, leg: Leg, error_code: int, sip_code: int) -> Leg:
    leg.status, leg.ends_after = "failed", _SETUP
    leg.error_code, leg.sip_code = error_code, sip_code
    call.exchange.debugger.alert(leg.record.account, error_code, leg.record.sid)
    return leg


def _default_error(noun: Verb) -> int:
    return _SIP_ERROR if noun.name == "Sip" else _BAD_NUMBER


def _pick_up(call: LiveCall, leg: Leg) -> None:
    leg.record.started = call.exchange.clock()
    leg.record.status = "in-progress"
    _progress(call, leg, "answered", "in-progress")


def _close(call: LiveCall, leg: Leg, status: str) -> None:
    """End a leg, once."""
    record = leg.record
    if record.ended is not None:
        return
    record.status, record.ended = status, call.exchange.clock()
    record.updated = record.ended
    sip = {"person": 200, "machine": 200, "busy": 486, "nobody": 487}[leg.reaction.who]
    _progress(call, leg, "completed", status, {"SipResponseCode": str(leg.sip_code or sip)})


def _progress(call: LiveCall, leg: Leg, event: str, status: str, extra: dict[str, str] | None = None) -> None:
    """The status callback of a noun, for the events that it asks for."""
    url = leg.noun.get("statusCallback")
    wanted = (leg.noun.get("statusCallbackEvent") or "completed").split()
    if url is not None and event in wanted:
        method = leg.noun.get("statusCallbackMethod") or "POST"
        told = Event(status, leg.sequence, extra or {})
        call.exchange.progress(leg.record, call.address(url), method, told)
        leg.sequence += 1
