"""From what Twilio sent to the event that it is kept as.

Source of the parameters: https://www.twilio.com/docs/voice/twiml#twilios-request-to-your-application and, of the
Debugger, https://www.twilio.com/docs/usage/troubleshooting/debugging-event-webhooks
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from holdfast.voice.model import Callback, CallbackKind

LONGEST = 255
"""Characters of a name or number that are kept outside of the body; more is none of Twilio's."""
PATH, ANSWER = "holdfast-path", "holdfast-answer"
"""What is kept with the headers: the address that Twilio called, and what the call was told."""
_SID = re.compile(r"[A-Z]{2}[0-9a-zA-Z]{1,62}")


def callback(
    kind: CallbackKind,
    params: Mapping[str, str],
    query: Mapping[str, str],
    *,
    account: str,
    received: float,
    headers: Mapping[str, str],
    body: bytes,
    answered: str = "",
) -> Callback:
    """A verified request as it is kept. `params`: its form; `account`: whose it is if the form does not say."""
    plain = {_clean(name): _clean(value) for name, value in params.items()}
    if kind == "debugger":
        plain |= alert_fields(plain.get("Payload", ""))
    return Callback(
        kind=kind,
        event_id=_event_id(kind, plain, query),
        account=sid(plain.get("AccountSid")) or account,
        call_sid=_call_sid(kind, plain),
        received=received,
        headers=msgspec.json.encode({**headers, ANSWER: answered} if answered else dict(headers)).decode(),
        body=body,
        params=plain,
        query={_clean(name): _clean(value) for name, value in query.items()},
        answered=_clean(answered),
    )


def recording_kind(params: Mapping[str, str]) -> CallbackKind:
    """Of what came for a recording: that it is there, or what was said in it."""
    is_text = "TranscriptionSid" in params or "TranscriptionStatus" in params or "TranscriptionText" in params
    return "call.transcription" if is_text else "call.recording"


def sid(text: str | None) -> str | None:
    """An id of Twilio's, None if it is not one."""
    return text if text and _SID.fullmatch(text) else None


def alert_fields(payload: str) -> dict[str, str]:
    """The fields of a Debugger event's payload that are used, by Twilio's own names; what is not there is left out."""
    try:
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    request = _in(found, "webhook", "request")
    parameters = _in(request, "parameters")
    more = _in(found, "more_info")
    fields = {
        "error_code": _in(found, "error_code") or _in(more, "ErrorCode"),
        "resource_sid": _in(found, "resource_sid"),
        "service_sid": _in(found, "service_sid"),
        "url": _in(request, "url") or _in(more, "url"),
        "To": _in(parameters, "To"),
        "From": _in(parameters, "From"),
        "CallSid": _in(parameters, "CallSid"),
        "message": _in(more, "Msg") or _in(more, "msg") or _in(more, "message"),
    }
    return {name: _clean(str(value)) for name, value in fields.items() if isinstance(value, str | int)}


def _in(found: Any, *names: str) -> Any:
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _call_sid(kind: CallbackKind, params: Mapping[str, str]) -> str | None:
    """Of a leg's own callback, the call that it is a leg of."""
    found = sid(params.get("ParentCallSid")) or sid(params.get("CallSid"))
    if found is None and kind == "debugger":
        found = sid(params.get("resource_sid"))
        return found if found and found.startswith("CA") else None
    return found


def _event_id(kind: CallbackKind, params: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The same for the same request sent again, another one for everything else."""
    names = ("Sid",) if kind == "debugger" else ("TranscriptionSid", "RecordingSid", "CallSid")
    about = next((found for name in names if (found := sid(params.get(name)))), "none")
    told = msgspec.json.encode([sorted(params.items()), sorted(query.items())])
    return f"{kind}:{about}:{blake2b(told, digest_size=12).hexdigest()}"


def _clean(text: str) -> str:
    """What the store cannot hold is replaced; the body keeps what was sent."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
