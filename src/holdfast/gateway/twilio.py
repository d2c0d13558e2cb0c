"""`/hooks/twilio/…`: Twilio's signed requests about calls. A verified call is always answered, whatever fails in us.

Raw ASGI, and nothing here waits for the store: see `voice.recorder`.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec
import structlog

from holdfast.gateway.receiving import RETRY_AFTER, Bodies, Receive, Refused, Scope, Send, content_length, refuse
from holdfast.gateway.signals import RECEIVED, SECONDS
from holdfast.merchants.model import COMPANY
from holdfast.twilio.model import Account
from holdfast.twilio.signature import Claim, Fields, SignatureError, Signed, Verifier, claim
from holdfast.voice.answering import LAST_RESORT, Answer, Answerer
from holdfast.voice.callbacks import PATH, callback, recording_kind
from holdfast.voice.model import Callback, CallbackKind, Line
from holdfast.voice.recorder import NotKeptError, Recorder

log = structlog.get_logger()

BASE = "/hooks/twilio/"
LARGEST_FORM = 64 * 1024
LARGEST_ALERT = 1024 * 1024
MOST_FIELDS = 1000
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
SIGNATURE, SETTINGS = b"x-twilio-signature", b"x-twilio-webhooks-signature-settings"
_KEPT = (b"content-type", b"user-agent", b"i-twilio-idempotency-token")
_LONGEST_KEPT = 1024
LAST_SAID = "voicemail: last resort"
"""What a call was told when anything of ours failed."""
_PLACES = frozenset(("To", "From", "CallSid", "resource_sid"))
"""What says of an alert which call or number it is about."""
_NO_ACCOUNT = "HOLDFAST_TWILIO_ACCOUNT_SID and HOLDFAST_TWILIO_AUTH_TOKEN are not set: nothing can be verified"
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


@dataclass(frozen=True, slots=True)
class _Request:
    path: _Path
    target: str
    """Path and query as they came."""
    params: dict[str, str]
    query: Mapping[str, str]
    signed: Signed
    claimed: Claim
    headers: dict[str, str]
    body: bytes


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
        *,
        verifier: Verifier,
        main: Account | None,
        accounts: Callable[[], Mapping[str, Account] | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`main`: the account of the settings; `accounts`: the subaccounts by sid, None while they are not known.

        `clock` gives Unix time.
        """
        self._answerer = answerer
        self._recorder = recorder
        self._verifier = verifier
        self._main = main
        self._accounts = accounts
        self._clock = clock
        self._bodies = Bodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        try:
            request = await self._read(scope, receive)
            account = self._verified(request)
            said = await self._take(request, account, send)
        except Refused as refused:
            said = refused.answer
            await refuse(send, refused)
        RECEIVED.inc(1, "twilio", said)
        _seconds.observe(time.perf_counter() - began)

    async def _read(self, scope: Scope, receive: Receive) -> _Request:
        path = PATHS[scope["path"]]
        method = scope["method"]
        if method not in path.methods:
            allowed = ", ".join(path.methods)
            raise Refused(405, "method", f"send this with {allowed}", (b"allow", allowed.encode()))
        headers = _headers(scope["headers"])
        length = content_length(headers.get(b"content-length", b""))
        body = await self._bodies.read(receive, length, path.largest)
        raw_query: bytes = scope["query_string"]
        target = scope["raw_path"].decode("latin-1") + (f"?{raw_query.decode('latin-1')}" if raw_query else "")
        query: Mapping[str, str] = dict(_form(raw_query, "the query"))
        fields: Fields
        if method == "GET":
            fields, signed, body = tuple(query.items()), Signed(target), raw_query
        else:
            fields, signed = _content(headers.get(b"content-type", b""), body, target)
        try:
            claimed = claim(headers.get(SIGNATURE), headers.get(SETTINGS))
        except SignatureError as error:
            raise _forged(error) from None
        params = dict(fields)
        path, query = _asked_first(path, params, query)
        kept = {
            name.decode("latin-1"): value.decode("latin-1")[:_LONGEST_KEPT]
            for name, value in headers.items()
            if name in _KEPT or name.startswith(b"x-twilio-")
        }
        kept[PATH] = f"{method} {target}"
        return _Request(path, target, params, query, signed, claimed, kept, body)

    def _verified(self, request: _Request) -> Account:
        subaccounts = self._accounts()
        claimed = self._claimed_accounts(request, subaccounts or {})
        if not claimed and (subaccounts is None or (self._main is None and not subaccounts)):
            why = _NO_ACCOUNT if self._main is None else "the subaccounts are not known yet: the store was away so far"
            log.error("twilio.no_account", account=request.params.get("AccountSid"), reason=why)
            raise Refused(503, "no_account", why, (b"retry-after", b"60"))
        try:
            account = self._verifier.verify(request.claimed, request.signed, claimed)
        except SignatureError as error:
            raise _forged(error) from None
        line = self._answerer.line(request.params)
        if line is not None and account.merchant_id not in (COMPANY, line.merchant_id):
            # Its token is the merchant's own: with it, calls of others' numbers could be made up.
            raise _wrong_merchant(account, line)
        return account

    def _claimed_accounts(self, request: _Request, subaccounts: Mapping[str, Account]) -> list[Account]:
        """Who may have signed it: the account that it names, and of alerts about a subaccount the main one as well.

        What names none can only be the main account's. The names are not verified; the signature then is.
        """
        named = request.params.get("AccountSid")
        found = []
        if self._main is not None:
            is_parents = request.path.kind == "debugger" and request.params.get("ParentAccountSid") == self._main.sid
            if named in (None, "", self._main.sid) or is_parents:
                found.append(self._main)
        if named and named in subaccounts:
            found.append(subaccounts[named])
        return found

    async def _take(self, request: _Request, account: Account, send: Send) -> str:
        part = request.path.part
        if part is None:
            said = await self._keep_news(request, account)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return said
        answer = self._answered(part, request)
        said = await self._keep_call(request, account, answer)
        length = str(len(answer.twiml)).encode()
        headers = [(b"content-type", b"text/xml; charset=utf-8"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.twiml})
        return said

    def _answered(self, part: Part, request: _Request) -> Answer:
        try:
            answer: Answer = getattr(self._answerer, part)(request.params, request.query)
        except Exception:
            log.exception("twilio.answer_failed", call=request.params.get("CallSid"), part=part)
            return Answer(LAST_RESORT, LAST_SAID, None)
        return answer

    async def _keep_call(self, request: _Request, account: Account, answer: Answer) -> str:
        """Whatever becomes of it, the call is answered."""
        try:
            kept = await self._keep(request, account, answer.said)
        except NotKeptError as error:
            log.error("twilio.call_not_kept", call=request.params.get("CallSid"), reason=str(error))
        except Exception:
            log.exception("twilio.call_not_kept", call=request.params.get("CallSid"))
        else:
            return kept if answer.said != LAST_SAID else "last_resort"
        return "not_kept"

    async def _keep_news(self, request: _Request, account: Account) -> str:
        try:
            return await self._keep(request, account, "")
        except NotKeptError as error:
            log.error("twilio.callback_not_kept", kind=request.path.kind, reason=str(error))
            detail = f"not stored, send it again later: {error}"
            raise Refused(503, "away", detail, (b"retry-after", RETRY_AFTER)) from None

    async def _keep(self, request: _Request, account: Account, answered: str) -> str:
        kind = request.path.kind
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
        return (await self._recorder.keep(made, in_call=request.path.part is not None)).value

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


def _headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The first of each name."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found.setdefault(name, value)
    return found


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


def _content(content_type: bytes, body: bytes, target: str) -> tuple[Fields, Signed]:
    """The fields of a form or of a JSON object, and what is signed of them. Raises Refused."""
    kind = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    if kind == FORM or not (kind or body):
        fields = _form(body, "the form")
        return fields, Signed(target, fields)
    if kind == JSON:
        return _json(body), Signed(target, body=body)
    raise _malformed(f"the content type {kind[:80]!r} is not {FORM} or {JSON}")


def _form(text: bytes, what: str) -> Fields:
    try:
        return parse_qsl(
            text.decode(), keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=MOST_FIELDS
        )
    except UnicodeDecodeError:
        raise _malformed(f"{what} is not UTF-8") from None
    except ValueError:
        raise _malformed(f"{what} has more than {MOST_FIELDS} fields") from None


def _json(body: bytes) -> Fields:
    """Its members as texts, as a form's are."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise _malformed("the body is JSON but not an object")
    return [(name, value if isinstance(value, str) else _written(value)) for name, value in found.items()]


def _written(value: object) -> str:
    return msgspec.json.encode(value).decode() if value is not None else ""


def _malformed(why: str) -> Refused:
    log.warning("twilio.malformed", reason=why)
    return Refused(400, "malformed", why)


def _forged(error: SignatureError) -> Refused:
    log.warning("twilio.bad_signature", reason=str(error))
    return Refused(403, "bad_signature", str(error))


def _wrong_merchant(account: Account, line: Line) -> Refused:
    whose = line.merchant or "the company"
    why = f"{account.sid} ({account.name}) is another merchant's account, and {line.phone} is a number of {whose}"
    log.error(
        "twilio.wrong_merchant",
        account=account.sid,
        number=line.phone,
        reason=why,
        help=f"if that is its account at Twilio: holdfast twilio accounts add {account.sid} --merchant "
        f"{line.merchant or repr('')}, or holdfast numbers set {line.phone} --merchant KEY; else its token is misused",
    )
    return Refused(403, "wrong_merchant", why)
