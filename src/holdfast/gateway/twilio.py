"""`/hooks/twilio/…`: Twilio's signed requests about calls. A verified call is always answered, whatever fails in us.

Raw ASGI, and nothing here waits for the store: see `voice.recorder`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec
import structlog

from holdfast.gateway.receiving import RETRY_AFTER, Receive, Refused, Scope, Send, refuse
from holdfast.gateway.signals import RECEIVED, SECONDS
from holdfast.gateway.twilio_requests import BASE, LARGEST_FORM, MOST_FIELDS, Request, Requests, wrong_merchant
from holdfast.merchants.model import COMPANY
from holdfast.twilio.model import Account
from holdfast.voice.answering import LAST_RESORT, Answer, Answerer
from holdfast.voice.callbacks import callback, recording_kind
from holdfast.voice.model import Callback, CallbackKind
from holdfast.voice.recorder import NotKeptError, Recorder

log = structlog.get_logger()

LARGEST_ALERT = 1024 * 1024
LAST_SAID = "voicemail: last resort"
"""What a call was told when anything of ours failed."""
_PLACES = frozenset(("To", "From", "CallSid", "resource_sid"))
"""What says of an alert which call or number it is about."""
_seconds = SECONDS.series("twilio")

Part = Literal["incoming", "dialed", "recorded"]


@dataclass(frozen=True, slots=True)
class _Path:
    """What comes in at a path: `part` of the answerer's that answers it, None where nobody on the phone waits."""

    kind: CallbackKind
    part: Part | None = None
    largest: int = LARGEST_FORM
    methods: tuple[str, ...] = ("POST",)


PATHS: Mapping[str, _Path] = {
    f"{BASE}voice": _Path("call.incoming", "incoming", methods=("POST", "GET")),
    f"{BASE}voice/dial": _Path("call.dialed", "dialed"),
    f"{BASE}voice/recorded": _Path("call.recording", "recorded"),
    f"{BASE}voice/status": _Path("call.status"),
    f"{BASE}recording": _Path("call.recording"),
    f"{BASE}transcription": _Path("call.transcription"),
    f"{BASE}debugger": _Path("debugger", largest=LARGEST_ALERT),
}


class TwilioDoor:
    """The ASGI endpoint of all paths in `PATHS`. Nothing that is not verified is answered from plans, or written.

    Calls: 200 with TwiML. The rest: 204 once it is committed or synced to disk, 503 with Retry-After where neither can
    be done. 400 not to be read, 403 bad signature or another merchant's number, 405, 413, 503 while no account is set.
    Refusals are problem details.
    """

    def __init__(
        self,
        answerer: Answerer,
        recorder: Recorder,
        requests: Requests,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives Unix time."""
        self._answerer = answerer
        self._recorder = recorder
        self._requests = requests
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        try:
            path, request = await self._read(scope, receive)
            account = self._verified(path, request)
            said = await self._take(path, request, account, send)
        except Refused as refused:
            said = refused.answer
            await refuse(send, refused)
        RECEIVED.inc(1, "twilio", said)
        _seconds.observe(time.perf_counter() - began)

    async def _read(self, scope: Scope, receive: Receive) -> tuple[_Path, Request]:
        path = PATHS[scope["path"]]
        request = await self._requests.read(scope, receive, methods=path.methods, largest=path.largest)
        path, query = _asked_first(path, request.params, request.query)
        return path, replace(request, query=query)

    def _verified(self, path: _Path, request: Request) -> Account:
        account = self._requests.verified(request, may_be_parents=path.kind == "debugger")
        line = self._answerer.line(request.params)
        if line is not None and account.merchant_id not in (COMPANY, line.merchant_id):
            # Its token is the merchant's own: with it, calls of others' numbers could be made up.
            raise wrong_merchant(account, line)
        return account

    async def _take(self, path: _Path, request: Request, account: Account, send: Send) -> str:
        part = path.part
        if part is None:
            said = await self._keep_news(path, request, account)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return said
        answer = self._answered(part, request)
        said = await self._keep_call(path, request, account, answer)
        length = str(len(answer.twiml)).encode()
        headers = [(b"content-type", b"text/xml; charset=utf-8"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.twiml})
        return said

    def _answered(self, part: Part, request: Request) -> Answer:
        try:
            answer: Answer = getattr(self._answerer, part)(request.params, request.query)
        except Exception:
            log.exception("twilio.answer_failed", call=request.params.get("CallSid"), part=part)
            return Answer(LAST_RESORT, LAST_SAID, None)
        return answer

    async def _keep_call(self, path: _Path, request: Request, account: Account, answer: Answer) -> str:
        """Whatever becomes of it, the call is answered."""
        try:
            kept = await self._keep(path, request, account, answer.said)
        except NotKeptError as error:
            log.error("twilio.call_not_kept", call=request.params.get("CallSid"), reason=str(error))
        except Exception:
            log.exception("twilio.call_not_kept", call=request.params.get("CallSid"))
        else:
            return kept if answer.said != LAST_SAID else "last_resort"
        return "not_kept"

    async def _keep_news(self, path: _Path, request: Request, account: Account) -> str:
        try:
            return await self._keep(path, request, account, "")
        except NotKeptError as error:
            log.error("twilio.callback_not_kept", kind=path.kind, reason=str(error))
            detail = f"not stored, send it again later: {error}"
            raise Refused(503, "away", detail, (b"retry-after", RETRY_AFTER)) from None

    async def _keep(self, path: _Path, request: Request, account: Account, answered: str) -> str:
        kind = path.kind
        if kind == "call.recording":
            kind = recording_kind(request.params)
        made = callback(
            kind,
            request.params,
            request.query,
            account=account.sid,
            received=self._clock(),
            headers=request.headers,
            body=request.body,
            answered=answered,
        )
        if kind == "debugger":
            made = self._placed(made, account)
        return (await self._recorder.keep(made, in_call=path.part is not None)).value

    def _placed(self, alert: Callback, account: Account) -> Callback:
        """The alert, without the number that it names where that is not of the account's merchant.

        Twilio signs what is in the payload with the account's token, and that is the merchant's own.
        """
        phone = alert.params.get("To")
        if account.merchant_id == COMPANY or phone is None:
            return alert
        line = self._answerer.line(alert.params)
        if line is not None and line.merchant_id == account.merchant_id:
            return alert
        if line is not None:
            log.warning("twilio.alert_of_another", account=account.sid, alert=alert.params.get("Sid"), number=phone)
        kept = {name: value for name, value in alert.params.items() if name not in _PLACES}
        return msgspec.structs.replace(alert, params=kept, call_sid=None)


def _asked_first(path: _Path, params: Mapping[str, str], query: Mapping[str, str]) -> tuple[_Path, Mapping[str, str]]:
    """What a call is really about that comes to us as a fallback: Twilio says in ErrorUrl which address failed.

    An address of ours that failed in mid-call says how far the call is; to begin anew would greet once more, and ring
    who was rung or has talked. The signature covers the field. Source:
    https://www.twilio.com/docs/usage/webhooks/voice-webhooks#fallback-urls
    """
    if path.part != "incoming" or not params.get("ErrorUrl"):
        return path, query
    try:
        failed = urlsplit(params["ErrorUrl"])
        theirs = dict(parse_qsl(failed.query, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        return path, query
    asked = PATHS.get(failed.path)
    if asked is None or asked.part is None:
        return path, query
    return asked, {**query, **theirs}
