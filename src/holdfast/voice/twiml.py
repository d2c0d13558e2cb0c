"""Decisions as TwiML, which the SDK writes.

Source: https://www.twilio.com/docs/voice/twiml (Dial, Record, Say, Play); relative addresses are resolved by Twilio
against the one that it called. What is needed to go on stands in the addresses: whatever process is called next can
answer, without any store. Twilio's signature covers them.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

from twilio.twiml.voice_response import Dial as DialVerb
from twilio.twiml.voice_response import VoiceResponse

from holdfast.voice.model import MOST_TARGETS, Announce, Decision, Dial, Line, Over, Plan, TakeMessage
from holdfast.voice.routing import target_region

DIALED = "/hooks/twilio/voice/dial"
"""Called when a target was rung: `Answerer.dialed`."""
RECORDED = "/hooks/twilio/voice/recorded"
"""Called when the caller has left a message and is still there: `Answerer.recorded`."""
RECORDING = "/hooks/twilio/recording"
"""Told when a recording can be fetched."""
TRANSCRIPTION = "/hooks/twilio/transcription"
"""Told when a recording was written down."""
OURS = "en-US"
"""The language of what is said where a plan says nothing."""
GOODBYE = "We have not heard a message. Goodbye."
THANKS = "Thank you. Goodbye."
SORRY = "We are sorry, we cannot put you through at the moment. Please leave a message after the tone."
SILENCE = 10
"""Seconds of silence that end a message."""


def twiml(decision: Decision, line: Line | None = None) -> bytes:
    """What Twilio is answered. `line`: the number that was called, where it is one of ours."""
    plan = line.plan if line is not None else Plan()
    response = VoiceResponse()
    match decision:
        case Dial():
            _ring(response, decision, plan)
        case TakeMessage():
            _take_message(response, decision.greeting, plan)
        case Announce():
            response.say(decision.text, language=OURS)
            response.hangup()
        case Over():
            response.hangup()
    return _written(response)


def thanks() -> bytes:
    """After a message."""
    response = VoiceResponse()
    response.say(THANKS, language=OURS)
    response.hangup()
    return _written(response)


def no_message() -> bytes:
    """After a recording that holds nothing, should the caller still be there."""
    response = VoiceResponse()
    response.say(GOODBYE, language=OURS)
    response.hangup()
    return _written(response)


def tried_in(query: Mapping[str, str]) -> tuple[str, ...]:
    """The addresses that were rung, from the query of an address that was written here."""
    return tuple(query.get("tried", "").split()[:MOST_TARGETS])


def _ring(response: VoiceResponse, decision: Dial, plan: Plan) -> None:
    if decision.greeting:
        _speak(response, decision.greeting, plan)
    target = decision.target
    tried = (*decision.tried, target.address)
    query = {
        "tried": " ".join(tried),
        "target": target.address,
        "region": target_region(target),
        "place": str(len(tried)),
    }
    if decision.caller_id is not None:
        query["caller_id"] = decision.caller_id
    dial = DialVerb(
        action=f"{DIALED}?{urlencode(query)}",
        answer_on_bridge=True,
        timeout=target.rings,
        caller_id=decision.caller_id,
    )
    if target.address.startswith(("sip:", "sips:")):
        dial.sip(target.address)
    else:
        dial.number(target.address)
    response.append(dial)


def _take_message(response: VoiceResponse, greeting: str, plan: Plan) -> None:
    _speak(response, greeting, plan)
    response.record(
        action=RECORDED,
        timeout=SILENCE,
        max_length=plan.voicemail_seconds,
        play_beep=True,
        recording_status_callback=RECORDING,
        transcribe=plan.transcribe,
        transcribe_callback=TRANSCRIPTION if plan.transcribe else None,
    )
    # Reached only by a caller who has said nothing: Twilio calls `action` when there is a recording.
    response.say(GOODBYE, language=OURS)
    response.hangup()


def _speak(response: VoiceResponse, text: str, plan: Plan) -> None:
    """A plan's own words in its language, ours in ours."""
    if text.startswith(("http://", "https://")):
        response.play(text)
        return
    theirs = text in (plan.greeting, plan.closed_greeting, plan.voicemail_greeting)
    response.say(text, language=plan.language if theirs else OURS)


def _written(response: VoiceResponse) -> bytes:
    return str(response).encode()


LAST_RESORT = twiml(TakeMessage(SORRY, "last resort"))
"""For when anything of ours fails: it apologises and takes a message, and was built before."""
