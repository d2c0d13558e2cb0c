"""`POST /hooks/stripe`: a signed Stripe event in, 200 once it is committed.

Every event passes here: raw ASGI, and for plain requests not even that (`protocol.HotDoor`).
"""

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec
import structlog

from holdfast import problems
from holdfast.gateway.signals import RECEIVED, SECONDS
from holdfast.gateway.signature import SignatureError, StripeVerifier
from holdfast.gateway.whole import Headers
from holdfast.inbox.model import EventError, NewEvent, parse_stripe
from holdfast.inbox.service import Appended, Inbox, InboxAway

log = structlog.get_logger()

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LARGEST_BODY = 1024 * 1024
MOST_READING = 128 * LARGEST_BODY
"""Bytes of unfinished bodies; a sender above that is asked to come again."""
MOST_DISCARDED = 8 * LARGEST_BODY
"""Bytes of a body that is too large which are read all the same: hanging up on a sender loses it the answer."""
RETRY_AFTER = b"5"

_seconds = SECONDS.series("stripe")
_OK = b'{"received":true}'
_OK_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"17")],
}
_OK_BODY = {"type": "http.response.body", "body": _OK}
_OK_WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n" + _OK
_headers_json = msgspec.json.Encoder().encode
_KEPT = (b"content-type", b"user-agent")
"""Headers that are kept beside Stripe's own; others belong to the connection, or may hold secrets of a proxy."""


class _Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error of ours
    def __init__(self, status: int, answer: str, detail: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(detail)
        self.status = status
        self.answer = answer
        self.detail = detail
        self.headers = headers


class StripeDoor:
    """The ASGI endpoint. Nothing that is not verified is written, and nothing is acknowledged before it is committed.

    200 committed (or held already), 400 bad signature or not an event, 405, 413 larger than 1 MiB, 503 with
    Retry-After while the event cannot be stored. Refusals are problem details.
    """

    def __init__(self, inbox: Inbox, secrets: Sequence[str], clock: Callable[[], float] = time.time) -> None:
        """`secrets`: the endpoints' `whsec_…`, current and rolling; `clock` gives Unix time."""
        self._inbox = inbox
        self._verifier = StripeVerifier([secret.encode() for secret in secrets])
        self._clock = clock
        self._reading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        try:
            answer = await self._take(scope, receive)
            await send(_OK_START)
            await send(_OK_BODY)
        except _Refused as refused:
            answer = refused.answer
            await _refuse(send, refused)
        _count(answer, began)

    def take(self, headers: Headers, body: bytes, answer: Callable[[bytes], None]) -> None:
        """A whole request, not larger than it may be; gives `answer` the response."""
        began = time.perf_counter()
        try:
            signature, kept, _ = _headers(headers)
            event = self._read(signature, kept, body)
            try:
                self._inbox.put(event, partial(_answer_whole, answer, began))
            except InboxAway as error:
                raise _away(str(error)) from None
        except _Refused as refused:
            answer(_whole(refused))
            _count(refused.answer, began)

    async def _take(self, scope: Scope, receive: Receive) -> str:
        if scope["method"] != "POST":
            raise _Refused(405, "method", "send events with POST", (b"allow", b"POST"))
        signature, kept, length = _headers(scope["headers"])
        if length > LARGEST_BODY:
            await _discard(receive, after={"more_body": True})
            raise _too_large()
        body = await self._body(receive)
        try:
            return _said(await self._inbox.append(self._read(signature, kept, body)))
        except InboxAway as error:
            raise _away(str(error)) from None

    def _read(self, signature: bytes | None, kept: str, body: bytes) -> NewEvent:
        """Verify and read. Raises _Refused."""
        if not self._verifier.has_secrets:
            log.error("stripe.no_secret", setting="HOLDFAST_STRIPE_WEBHOOK_SECRETS")
            raise _Refused(
                503,
                "no_secret",
                "HOLDFAST_STRIPE_WEBHOOK_SECRETS is not set, so no event can be verified yet",
                (b"retry-after", b"60"),
            )
        now = self._clock()
        try:
            self._verifier.verify(body, signature, now)
            return parse_stripe(body, kept, now)
        except SignatureError as error:
            log.warning("stripe.bad_signature", reason=str(error))
            raise _Refused(400, "bad_signature", str(error)) from None
        except EventError as error:
            log.warning("stripe.malformed", reason=str(error), bytes=len(body))
            raise _Refused(400, "malformed", str(error)) from None

    async def _body(self, receive: Receive) -> bytes:
        """The whole body, which usually comes in one piece. Bounded in size, over all requests too.

        How long it may take is the connection's business: see `protocol.PATIENCE`.
        """
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            if message["type"] == "http.disconnect":
                raise _hung_up()
            if len(body) > LARGEST_BODY:
                raise _too_large()
            return body
        parts, size = [body], len(body)
        self._reading += size
        try:
            while message.get("more_body", False):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _hung_up()
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                self._reading += len(part)
                if size > LARGEST_BODY:
                    await _discard(receive, after=message)
                    raise _too_large()
                if self._reading > MOST_READING:
                    raise _away("too many large bodies are arriving at once")
        finally:
            self._reading -= size
        return b"".join(parts)


def _count(answer: str, began: float) -> None:
    RECEIVED.inc(1, "stripe", answer)
    _seconds.observe(time.perf_counter() - began)


def _said(appended: Appended) -> str:
    return "new" if appended is Appended.NEW else "duplicate"


def _answer_whole(answer: Callable[[bytes], None], began: float, said: Appended | InboxAway) -> None:
    if isinstance(said, Appended):
        answer(_OK_WHOLE)
        _count(_said(said), began)
    else:
        refused = _away(str(said))
        answer(_whole(refused))
        _count(refused.answer, began)


def _headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes | None, str, int]:
    """The signature, the headers to keep as a JSON object, and the announced length (0 if there is none)."""
    signature: bytes | None = None
    length = 0
    kept: dict[str, str] = {}
    for name, value in headers:
        if name == b"stripe-signature":
            signature = value
        elif name == b"content-length":
            length = int(value) if value.isdigit() and len(value) < 20 else 0
        if name in _KEPT or name[:7] == b"stripe-":
            kept[name.decode("latin-1")] = value.decode("latin-1")
    return signature, _headers_json(kept).decode(), length


async def _discard(receive: Receive, after: Message) -> None:
    left = MOST_DISCARDED
    while after.get("more_body", False) and left > 0:
        after = await receive()
        left -= len(after.get("body", b""))


def _hung_up() -> _Refused:
    return _Refused(400, "hung_up", "the sender hung up before the body was complete")


def _too_large() -> _Refused:
    return _Refused(413, "too_large", f"the body is larger than {LARGEST_BODY} bytes", (b"connection", b"close"))


def _away(why: str) -> _Refused:
    return _Refused(503, "away", f"not stored, send it again later: {why}", (b"retry-after", RETRY_AFTER))


async def _refuse(send: Send, refused: _Refused) -> None:
    headers, body = _problem(refused)
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _whole(refused: _Refused) -> bytes:
    headers, body = _problem(refused)
    lines = [b"HTTP/1.1 %d %b" % (refused.status, HTTPStatus(refused.status).phrase.encode())]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join([*lines, b"", body])


def _problem(refused: _Refused) -> tuple[Headers, bytes]:
    body = problems.problem(refused.status, refused.detail)
    length = str(len(body)).encode()
    return [(b"content-type", problems.CONTENT_TYPE), (b"content-length", length), *refused.headers], body
