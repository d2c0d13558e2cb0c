"""Twilio's requests as all of its doors read them: within bounds, their form or JSON, whose account signed them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

import msgspec
import structlog

from holdfast.gateway.receiving import Bodies, Receive, Refused, Scope, content_length
from holdfast.twilio.model import Account
from holdfast.twilio.signature import Claim, Fields, SignatureError, Signed, Verifier, claim
from holdfast.voice.callbacks import PATH
from holdfast.voice.model import Line

log = structlog.get_logger()

BASE = "/hooks/twilio/"
LARGEST_FORM = 64 * 1024
MOST_FIELDS = 1000
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
SIGNATURE, SETTINGS = b"x-twilio-signature", b"x-twilio-webhooks-signature-settings"
_KEPT = (b"content-type", b"user-agent", b"i-twilio-idempotency-token")
_LONGEST_KEPT = 1024
_NO_ACCOUNT = "HOLDFAST_TWILIO_ACCOUNT_SID and HOLDFAST_TWILIO_AUTH_TOKEN are not set: nothing can be verified"


@dataclass(frozen=True, slots=True)
class Request:
    """`target`: path and query as they came."""

    target: str
    params: dict[str, str]
    query: Mapping[str, str]
    signed: Signed
    claimed: Claim
    headers: dict[str, str]
    body: bytes


class Requests:
    """Reads the requests of one door, and says whose they are."""

    def __init__(
        self, verifier: Verifier, main: Account | None, accounts: Callable[[], Mapping[str, Account] | None]
    ) -> None:
        """`main`: the account of the settings; `accounts`: the subaccounts by sid, None while they are not known."""
        self._verifier = verifier
        self._main = main
        self._accounts = accounts
        self._bodies = Bodies()

    async def read(
        self, scope: Scope, receive: Receive, *, methods: tuple[str, ...] = ("POST",), largest: int = LARGEST_FORM
    ) -> Request:
        """Raises Refused."""
        method = scope["method"]
        if method not in methods:
            allowed = ", ".join(methods)
            raise Refused(405, "method", f"send this with {allowed}", (b"allow", allowed.encode()))
        headers = _headers(scope["headers"])
        length = content_length(headers.get(b"content-length", b""))
        body = await self._bodies.read(receive, length, largest)
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
        kept = {
            name.decode("latin-1"): value.decode("latin-1")[:_LONGEST_KEPT]
            for name, value in headers.items()
            if name in _KEPT or name.startswith(b"x-twilio-")
        }
        kept[PATH] = f"{method} {target}"
        return Request(target, dict(fields), query, signed, claimed, kept, body)

    def verified(self, request: Request, *, may_be_parents: bool = False) -> Account:
        """The account that signed it. `may_be_parents`: the main account signs it for subaccounts as well.

        Raises Refused.
        """
        subaccounts = self._accounts()
        claimed = self._claimed_accounts(request, subaccounts or {}, may_be_parents=may_be_parents)
        if not claimed and (subaccounts is None or (self._main is None and not subaccounts)):
            why = _NO_ACCOUNT if self._main is None else "the subaccounts are not known yet: the store was away so far"
            log.error("twilio.no_account", account=request.params.get("AccountSid"), reason=why)
            raise Refused(503, "no_account", why, (b"retry-after", b"60"))
        try:
            return self._verifier.verify(request.claimed, request.signed, claimed)
        except SignatureError as error:
            raise _forged(error) from None

    def _claimed_accounts(
        self, request: Request, subaccounts: Mapping[str, Account], *, may_be_parents: bool
    ) -> list[Account]:
        """Who may have signed it: the account that it names, and of alerts about a subaccount the main one as well.

        What names none can only be the main account's. The names are not verified; the signature then is.
        """
        named = request.params.get("AccountSid")
        found = []
        if self._main is not None:
            is_parents = may_be_parents and request.params.get("ParentAccountSid") == self._main.sid
            if named in (None, "", self._main.sid) or is_parents:
                found.append(self._main)
        if named and named in subaccounts:
            found.append(subaccounts[named])
        return found


def _headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The first of each name."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found.setdefault(name, value)
    return found


def _content(content_type: bytes, body: bytes, target: str) -> tuple[Fields, Signed]:
    """The fields of a form or of a JSON object, and what is signed of them. Raises Refused."""
    kind = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    if kind == FORM or not (kind or body):
        fields = _form(body, "the form")
        return fields, Signed(target, fields)
    if kind == JSON:
        return _json(body), Signed(target, body=body)
    raise malformed(f"the content type {kind[:80]!r} is not {FORM} or {JSON}")


def _form(text: bytes, what: str) -> Fields:
    try:
        return parse_qsl(
            text.decode(), keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=MOST_FIELDS
        )
    except UnicodeDecodeError:
        raise malformed(f"{what} is not UTF-8") from None
    except ValueError:
        raise malformed(f"{what} has more than {MOST_FIELDS} fields") from None


def _json(body: bytes) -> Fields:
    """Its members as texts, as a form's are."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise malformed("the body is JSON but not an object")
    return [(name, value if isinstance(value, str) else _written(value)) for name, value in found.items()]


def _written(value: object) -> str:
    return msgspec.json.encode(value).decode() if value is not None else ""


def malformed(why: str) -> Refused:
    log.warning("twilio.malformed", reason=why)
    return Refused(400, "malformed", why)


def _forged(error: SignatureError) -> Refused:
    log.warning("twilio.bad_signature", reason=str(error))
    return Refused(403, "bad_signature", str(error))


def wrong_merchant(account: Account, line: Line) -> Refused:
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
