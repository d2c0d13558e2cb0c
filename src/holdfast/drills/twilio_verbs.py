"""What the emulated Twilio does for each TwiML verb but Dial. Lengths of speech and audio are plausible, not measured.

Source: https://www.twilio.com/docs/voice/twiml, a page a verb.
"""

from collections.abc import Mapping
from typing import Final

from holdfast.drills.twilio_calls import CallOver, Document, LiveCall
from holdfast.drills.twilio_exchange import rfc2822
from holdfast.drills.twilio_state import Recording
from holdfast.drills.twilio_twiml import Verb

_LETTERS_PER_SECOND: Final = 15
_CLIP: Final = 5.0  # seconds of a played file, whose real length nobody measures here
_BEEP: Final = 1.0
_TRANSCRIBED: Final = (2, 120)  # seconds of recording that Twilio transcribes
_TRANSCRIBING: Final = 10.0  # seconds until a transcription is there


async def say(call: LiveCall, verb: Verb) -> Document | None:
    await call.answer()
    text = " ".join([verb.text, *(child.text for child in verb.children)]).strip()
    await _hear(call, verb, len(text) / _LETTERS_PER_SECOND, text)
    return None


async def play(call: LiveCall, verb: Verb) -> Document | None:
    await call.answer()
    await _hear(call, verb, _CLIP, verb.text)
    return None


async def _hear(call: LiveCall, verb: Verb, seconds: float, what: str) -> None:
    loops = verb.number("loop", 1) or 1_000  # 0 repeats until the call ends; Twilio stops at 1000
    began = call.at
    try:
        await call.wait(seconds * loops)
    except CallOver as over:
        call.note(verb.name, over.reason, began)
        raise
    call.note(verb.name, f"heard: {what[:200]}", began)


async def pause(call: LiveCall, verb: Verb) -> Document | None:
    # A call that has not been answered keeps ringing during a leading Pause.
    await call.wait(verb.number("length", 1))
    call.note("Pause", "waited")
    return None


async def hang_up(call: LiveCall, verb: Verb) -> Document | None:
    await call.answer()
    call.note("Hangup", "hung up")
    raise CallOver("hangup")


async def reject(call: LiveCall, verb: Verb) -> Document | None:
    reason = verb.get("reason") or "rejected"
    call.note("Reject", reason)
    raise CallOver("busy" if reason == "busy" else "rejected")


async def redirect(call: LiveCall, verb: Verb) -> Document | None:
    address = call.address(verb.text)
    call.note("Redirect", address)
    return await call.fetch(address, verb.get("method"), {})


async def gather(call: LiveCall, verb: Verb) -> Document | None:
    """Says what is in it, then waits for digits; falls through if none come."""
    await call.answer()
    for child in verb.children:
        if child.name in ("Say", "Play", "Pause"):
            await call.executors[child.name](call, child)
    digits = call.party.presses[: int(verb.number("numDigits", 1_000))].rstrip("#")
    await call.wait(1.0 if digits else verb.number("timeout", 5))
    if not digits and not verb.flag("actionOnEmptyResult"):
        call.note("Gather", "no input")
        return None
    call.note("Gather", f"digits {digits}" if digits else "no input")
    return await call.fetch(call.address(verb.get("action")), verb.get("method"), {"Digits": digits})


async def record(call: LiveCall, verb: Verb) -> Document | None:
    """Record the caller, who speaks or hangs up at the beep; one who has talked to a person has nothing to add."""
    await call.answer()
    await call.wait(_BEEP if verb.flag("playBeep", default=True) else 0.0, patient=True)
    if call.ended_as != "person":
        call.ended_as = "voicemail"
        speaks = call.rng.random() < call.party.leaves_voicemail
    else:
        speaks = False
    if not speaks:
        return await _left_nothing(call, verb)
    longest = verb.number("maxLength", 3_600)
    ending, began = call.party.ends_voicemail, call.at
    if ending == "key" and verb.get("finishOnKey") not in (None, "#", "1234567890*#"):
        ending = "silence"
    # The silence that ends a recording is trimmed off it.
    await call.wait(min(call.party.voicemail, longest), patient=True)
    found = _keep(call, round(call.at - began))
    if ending == "silence" and call.party.voicemail < longest:
        await call.wait(verb.number("timeout", 5), patient=True)
    call.note("Record", f"{found.duration} s as {found.sid}", began)
    _report(call, verb, found)
    told = _about(call, found) | {"Digits": {"hang_up": "hangup", "key": "#", "silence": ""}[ending]}
    if ending == "hang_up":
        if verb.get("action"):
            await call.tell(call.address(verb.get("action")), verb.get("method"), told)
        raise CallOver("finished")
    return await call.fetch(call.address(verb.get("action")), verb.get("method"), told)


async def _left_nothing(call: LiveCall, verb: Verb) -> Document | None:
    if call.party.ends_voicemail != "silence":
        call.note("Record", "hung up at the beep")
        raise CallOver("finished")
    await call.wait(verb.number("timeout", 5), patient=True)
    call.note("Record", "silence")
    return None


def _keep(call: LiveCall, seconds: int) -> Recording:
    state = call.exchange.state
    found = Recording(
        state.new_sid("RE"), call.record.account, call.record.sid, seconds, call.exchange.clock(), call.party.says
    )
    call.recordings.append(found.sid)
    return state.recordings.add(found)


def _about(call: LiveCall, found: Recording) -> dict[str, str]:
    address = f"{call.exchange.base_url()}/2010-04-01/Accounts/{found.account}/Recordings/{found.sid}"
    return {"RecordingUrl": address, "RecordingSid": found.sid, "RecordingDuration": str(found.duration)}


def _report(call: LiveCall, verb: Verb, found: Recording) -> None:
    """The callbacks about a recording: that it is there, and later what was said."""
    about = _about(call, found)
    who = {"AccountSid": found.account, "CallSid": found.call_sid}
    if callback := verb.get("recordingStatusCallback"):
        told = {
            "RecordingStatus": "completed",
            "RecordingChannels": "1",
            "RecordingSource": "RecordVerb",
            "RecordingStartTime": rfc2822(found.created),
            "ErrorCode": "0",
        }
        _send(call, callback, verb.get("recordingStatusCallbackMethod"), who | about | told)
    if verb.flag("transcribe") or verb.get("transcribeCallback"):
        _transcribe(call, verb.get("transcribeCallback"), found, who | about)


def _transcribe(call: LiveCall, callback: str | None, found: Recording, about: Mapping[str, str]) -> None:
    found.transcription_sid = call.exchange.state.new_sid("TR")
    if callback is None:
        return
    done = _TRANSCRIBED[0] <= found.duration <= _TRANSCRIBED[1]
    base = f"{call.exchange.base_url()}/2010-04-01/Accounts/{found.account}"
    told = {
        "From": call.record.from_,
        "To": call.record.to,
        "ApiVersion": "2010-04-01",
        "TranscriptionSid": found.transcription_sid,
        "TranscriptionText": found.text if done else "",
        "TranscriptionStatus": "completed" if done else "failed",
        "TranscriptionUrl": f"{base}/Recordings/{found.sid}/Transcriptions/{found.transcription_sid}",
        "TranscriptionType": "fast",
    }
    _send(call, callback, None, dict(about) | told, after=_TRANSCRIBING)


def _send(call: LiveCall, url: str, method: str | None, params: Mapping[str, str], after: float = 0.0) -> None:
    call.exchange.callback(call.record, call.address(url), method or "POST", params, product="recordings", after=after)
