"""`POST /v1/messages`: a text to one person, decided and recorded before it is answered. Raw ASGI.

202 with the decision, once it is committed; 422 with the rule that refused, and the rows that decided, as members of
the problem. The same Idempotency-Key of the same merchant gets what was decided the first time. See `messaging.gate`.
"""

import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

import msgspec

from holdfast import problems
from holdfast.api.bearer import CHALLENGE, Bearer, ClosedError
from holdfast.api.door import idempotency_key
from holdfast.config import Settings
from holdfast.consent.keys import PhoneKey
from holdfast.db.notifications import Notifier
from holdfast.db.pool import AWAY, Pool
from holdfast.gateway.receiving import Bodies, Message, Receive, Refused, Scope, Send, content_length, refuse
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import MerchantError
from holdfast.merchants.numbers import e164
from holdfast.messaging import templates
from holdfast.messaging.deciding import Gate
from holdfast.messaging.model import WHY, Ask, AwayError, Decision, MessagingError, UnsureError
from holdfast.queue.channels import SEND

PATH = "/v1/messages"
LARGEST_BODY = 64 * 1024
FURTHEST = timedelta(days=90)
_JSON = b"application/json"
_RETRY = (b"retry-after", b"5")


class NewText(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """What is asked for. Either `body` or `template` with its `variables`; `send_at` with its zone."""

    merchant: str
    to: str
    purpose: Literal["marketing", "informational"]
    body: str | None = None
    template: str | None = None
    variables: dict[str, str] = {}
    from_: str | None = None
    send_at: datetime | None = None


_decode = msgspec.json.Decoder(NewText).decode
_phone = lru_cache(maxsize=100_000)(e164)


class MessagesDoor:
    """The ASGI endpoint of `PATH`; what is no POST goes on to `otherwise`, which is set once that is there."""

    def __init__(self, settings: Settings, pool: Pool, general: Pool, catalogue: Catalogue) -> None:
        """`pool` is for decisions alone, `general` for templates and for telling the senders."""
        self._bearer = Bearer(settings)
        self._to_send = Notifier(general, SEND)
        self._gate = Gate(pool, PhoneKey.load(settings), queued=lambda: self._to_send.notify(""))
        self._catalogue = catalogue
        self._general = general
        self._bodies = Bodies()
        self.otherwise: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside it."""
        return [self._to_send.run()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST" and self.otherwise is not None:
            await self.otherwise(scope, receive, send)
            return
        try:
            status, document, is_repeat = await self._decided(scope, receive)
        except Refused as refused:
            await refuse(send, refused)
            return
        content = problems.CONTENT_TYPE if status == 422 else _JSON
        headers = [(b"content-type", content), (b"content-length", str(len(document)).encode())]
        if is_repeat:
            headers.append((b"idempotent-replayed", b"true"))
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": document})

    async def _decided(self, scope: Scope, receive: Receive) -> tuple[int, bytes, bool]:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._bearer.admit(headers)
        except ClosedError as error:
            challenge = (CHALLENGE[0].encode(), CHALLENGE[1].encode())
            raise Refused(401, "closed", str(error), challenge) from None
        length = content_length(headers.get("content-length", "").encode())
        body = await self._bodies.read(receive, length, LARGEST_BODY)
        ask = await self._ask(body, headers.get("idempotency-key"))
        try:
            decision = await self._gate.decide(ask)
        except UnsureError as error:
            again = (
                "ask again under the same Idempotency-Key"
                if ask.key is not None
                else "it had no Idempotency-Key, so look with `GET /v1/messages` before you ask again"
            )
            raise _away(f"perhaps decided: {error}; {again}") from None
        except AwayError as error:
            raise _away(f"not decided, ask again later: {error}") from None
        if decision.is_conflict:
            raise Refused(422, "conflict", "this Idempotency-Key was used for another text; take a new one")
        if decision.is_refused:
            return 422, _refusal(decision), decision.is_repeat
        return 202, msgspec.json.encode(document(decision)), decision.is_repeat

    async def _ask(self, body: bytes, key: str | None) -> Ask:
        try:
            new = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(400 if isinstance(error, UnicodeDecodeError) else 422, "malformed", f"{error}") from None
        merchant_id = await self._merchant(new.merchant)
        try:
            to, from_ = _phone(new.to), new.from_ and (new.from_ if new.from_.startswith("MG") else _phone(new.from_))
        except MerchantError as error:
            raise _invalid("to", str(error)) from None
        try:
            kept = idempotency_key(key) if key is not None else None
        except ValueError as error:
            raise Refused(400, "malformed", str(error)) from None
        return Ask(
            merchant_id,
            to,
            new.purpose,
            await self._text(merchant_id, new),
            key=kept,
            fingerprint=hashlib.sha256(body).digest() if kept is not None else None,
            template=new.template,
            from_=from_,
            send_at=_send_at(new.send_at),
        )

    async def _text(self, merchant_id: int, new: NewText) -> str:
        if (new.body is None) == (new.template is None):
            raise _invalid("body", "give either a body or a template")
        if new.body is not None and new.variables:
            raise _invalid("variables", "they are for templates; a body is sent as it is")
        try:
            if new.body is not None:
                return templates.checked_body(new.body)
            assert new.template is not None
            found = await templates.find(self._general, merchant_id, new.template)
            return templates.render(found.body, new.variables)
        except MessagingError as error:
            raise _invalid("template" if new.body is None else "body", str(error)) from None
        except AWAY:
            raise _away("not decided, ask again later: the template could not be read") from None

    async def _merchant(self, key: str) -> int:
        """One that is new may not be in the catalogue yet."""
        if (found := self._catalogue.id_of(key)) is not None:
            return found
        if not self._catalogue.is_read:
            raise _away("not decided, ask again later: the merchants were not read yet")
        try:
            known = await merchants.ids(self._general, [key]) if "\0" not in key else {}
        except AWAY:
            raise _away(
                f"not decided, ask again later: whether there is a merchant {key[:80]!r} is not known"
            ) from None
        if key not in known:
            raise _invalid("merchant", f"there is no merchant {key[:80]!r}")
        return known[key]


def document(decision: Decision) -> dict[str, Any]:
    """A decision as callers see it. `consent`: the number of the ledger's row; `suppression`: that of the block."""
    return {
        "id": decision.id,
        "state": decision.state,
        "rule": decision.rule,
        "consent": decision.consent_seq,
        "suppression": decision.suppression_id,
        "send_at": decision.send_at.astimezone(UTC),
        "held_by": decision.held_by,
    }


def _refusal(decision: Decision) -> bytes:
    why = WHY.get(decision.rule, decision.rule)
    detail = f"{why}: {decision.reason.replace('_', ' ')}" if decision.reason else why
    shown = {name: value for name, value in document(decision).items() if name not in ("send_at", "held_by", "state")}
    return problems.problem(422, f"not sent: {detail}", **shown, reason=decision.reason)


def _send_at(at: datetime | None) -> datetime | None:
    if at is None:
        return None
    if at.tzinfo is None:
        raise _invalid("send_at", "write the time with its zone, such as 2026-05-04T12:00:00-07:00")
    if at > datetime.now(UTC) + FURTHEST:
        raise _invalid("send_at", f"at most {FURTHEST.days} days ahead")
    return at


def _away(detail: str) -> Refused:
    return Refused(503, "away", detail, _RETRY)


def _invalid(field: str, detail: str) -> Refused:
    return Refused(422, "invalid", f"{field}: {detail}")


def described() -> dict[str, Any]:
    """Its part of the API's description (OpenAPI): path to operations; and its schemas."""
    (schema,), schemas = msgspec.json.schema_components([NewText], ref_template="#/components/schemas/{name}")
    key = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 255}}
    problem = {"content": {problems.CONTENT_TYPE.decode(): {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    operation = {
        "tags": ["texts"],
        "summary": "Send a text",
        "description": "Decided and recorded before it is answered; sent soon after, or at `send_at`. With an "
        "Idempotency-Key it is one text however often it is asked for.",
        "parameters": [key],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "202": {"description": "It will be sent: what decided, and when it goes out."},
            "422": {"description": "Refused: `rule`, `consent` and `suppression` say what decided."} | problem,
            "default": {"description": "A problem (RFC 9457)."} | problem,
        },
    }
    return {"paths": {"/messages": {"post": operation}}, "schemas": schemas}
