"""`POST /hooks/stripe`: a signed Stripe event in, 200 once it is committed.

Every event passes here: raw ASGI, and for plain requests not even that (`protocol.HotDoor`).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec
import structlog

from holdfast.gateway.receiving import Bodies, Receive, Refused, Scope, Send, away, content_length, refuse, whole
from holdfast.gateway.signals import RECEIVED, SECONDS
from holdfast.gateway.signature import SignatureError, StripeVerifier
from holdfast.gateway.whole import Headers
from holdfast.inbox.model import EventError, NewEvent, parse_stripe
from holdfast.inbox.service import Appended, Inbox, InboxAway

log = structlog.get_logger()

LARGEST_BODY = 1024 * 1024

_UNVERIFIABLE = "HOLDFAST_STRIPE_WEBHOOK_SECRETS is not set, so no event can be verified yet"
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
        self._bodies = Bodies()

    @property
    def trouble(self) -> str | None:
        """Why events are answered 503 now; None: they are taken."""
        if not self._verifier.has_secrets:
            return _UNVERIFIABLE
        return None if self._inbox.is_ready else "events cannot be stored now"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        try:
            answer = await self._take(scope, receive)
            await send(_OK_START)
            await send(_OK_BODY)
        except Refused as refused:
            answer = refused.answer
            await refuse(send, refused)
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
                raise away(str(error)) from None
        except Refused as refused:
            answer(whole(refused))
            _count(refused.answer, began)

    async def _take(self, scope: Scope, receive: Receive) -> str:
        if scope["method"] != "POST":
            raise Refused(405, "method", "send events with POST", (b"allow", b"POST"))
        signature, kept, length = _headers(scope["headers"])
        body = await self._bodies.read(receive, length, LARGEST_BODY)
        try:
            return _said(await self._inbox.append(self._read(signature, kept, body)))
        except InboxAway as error:
            raise away(str(error)) from None

    def _read(self, signature: bytes | None, kept: str, body: bytes) -> NewEvent:
        """Verify and read. Raises Refused."""
        if not self._verifier.has_secrets:
            log.error("stripe.no_secret", setting="HOLDFAST_STRIPE_WEBHOOK_SECRETS")
            raise Refused(503, "no_secret", _UNVERIFIABLE, (b"retry-after", b"60"))
        now = self._clock()
        try:
            self._verifier.verify(body, signature, now)
            return parse_stripe(body, kept, now)
        except SignatureError as error:
            log.warning("stripe.bad_signature", reason=str(error))
            raise Refused(400, "bad_signature", str(error)) from None
        except EventError as error:
            log.warning("stripe.malformed", reason=str(error), bytes=len(body))
            raise Refused(400, "malformed", str(error)) from None


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
        refused = away(str(said))
        answer(whole(refused))
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
            length = content_length(value)
        if name in _KEPT or name[:7] == b"stripe-":
            kept[name.decode("latin-1")] = value.decode("latin-1")
    return signature, _headers_json(kept).decode(), length
