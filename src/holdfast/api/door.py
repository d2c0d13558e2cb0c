"""The door of `/v1`: who may come in, how much at once and for how long; and every error as a problem (RFC 9457).

FastAPI and the Stripe SDK take a second to import, so that is done beside the running process: once the doors are open
where a token is set, else by the first caller. A request without the token gets no further than here.
"""

import asyncio
import hashlib
import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

from holdfast import problems
from holdfast.api import store
from holdfast.api.bearer import CHALLENGE, Bearer, ClosedError
from holdfast.config import Settings
from holdfast.db.pool import AWAY, Pool
from holdfast.runbooks.working import Desk

log = structlog.get_logger()

LARGEST_BODY = 64 * 1024
LARGER_BODIES = {"/v1/consents": 1024 * 1024}
"""Of addresses that take many things at once."""
PATIENCE = 10.0
"""Seconds for an answer."""
MOST_AT_ONCE = 32
OPEN = "/v1/openapi.json"
"""The only address that needs no token."""
LONGEST_KEY = 255
_JSON = problems.CONTENT_TYPE.decode()
_BUSY = (("retry-after", "5"),)


@dataclass(slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)


class _Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error of ours
    def __init__(self, status: int, detail: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(detail)
        self.answer = Answer(status, problems.problem(status, detail), [("content-type", _JSON), *headers])


class ApiDoor:
    """An ASGI application for everything under `/v1`."""

    def __init__(self, settings: Settings, pool: Pool, open_desk: Callable[[Pool, Settings], Desk]) -> None:
        self._settings = settings
        self._pool = pool
        self._open_desk = open_desk
        self._bearer = Bearer(settings)
        self._app: Any = None
        self._loading = asyncio.Lock()
        self._at_work = 0

    async def prepare(self) -> None:
        """Import what the API needs, where somebody may call it."""
        if self._bearer.is_set:
            await self._load()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        try:
            answer = await self._bounded(scope, receive)
        except _Refusal as refusal:
            answer = refusal.answer
        except AWAY as error:
            detail = f"the store cannot be reached now: {type(error).__name__}; try again later"
            answer = _Refusal(503, detail, _BUSY).answer
        except Exception:
            log.exception("api.failed", method=scope["method"], path=scope["path"])
            answer = _Refusal(500, "an error of ours; see the log").answer
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        headers += [(b"content-length", str(len(answer.body)).encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _bounded(self, scope: Any, receive: Any) -> Answer:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._admit(scope, headers)
        if self._at_work >= MOST_AT_ONCE:
            raise _Refusal(503, f"{MOST_AT_ONCE} requests are at work already; try again later", _BUSY)
        self._at_work += 1
        try:
            async with asyncio.timeout(PATIENCE) as patience:
                body = await _read(receive, headers, LARGER_BODIES.get(scope["path"], LARGEST_BODY))
                return await self._answer(scope, headers, body)
        except TimeoutError:
            if patience.expired():
                raise _Refusal(503, f"it took longer than {PATIENCE:.0f} s; try again later", _BUSY) from None
            raise
        finally:
            self._at_work -= 1

    def _admit(self, scope: Any, headers: dict[str, str]) -> None:
        if scope["path"] == OPEN and scope["method"] == "GET":
            return
        try:
            self._bearer.admit(headers)
        except ClosedError as error:
            raise _Refusal(401, str(error), (CHALLENGE,)) from None

    async def _answer(self, scope: Any, headers: dict[str, str], body: bytes) -> Answer:
        app = await self._load()
        given = headers.get("idempotency-key")
        if scope["method"] != "POST" or given is None:
            return await _call(app, scope, body)
        try:
            key = idempotency_key(given)
        except ValueError as error:
            raise _Refusal(400, str(error)) from None
        return await self._once(app, scope, body, key)

    async def _once(self, app: Any, scope: Any, body: bytes, key: str) -> Answer:
        """Do it once a key; a repetition gets the first one's answer.

        Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
        """
        request = b"\n".join((scope["path"].encode(), scope["query_string"], body))
        fingerprint = hashlib.sha256(request).digest()
        earlier = await store.begin(self._pool, key, fingerprint)
        if earlier is not None:
            if earlier.fingerprint != fingerprint:
                raise _Refusal(422, "this Idempotency-Key was used for another request; take a new one")
            if earlier.status is None:
                raise _Refusal(409, "a request with this Idempotency-Key is at work; try again later", _BUSY)
            return Answer(earlier.status, earlier.body, [*earlier.headers, ("idempotent-replayed", "true")])
        answer = None
        try:
            answer = await _call(app, scope, body)
        finally:
            if answer is None or answer.status >= 500:
                await store.forget(self._pool, key)
            else:
                await store.remember(self._pool, key, answer.status, answer.headers, answer.body)
        return answer

    async def _load(self) -> Any:
        async with self._loading:
            if self._app is None:
                self._app = await asyncio.to_thread(self._build)
        return self._app

    def _build(self) -> Any:
        module = importlib.import_module("holdfast.api.app")
        return module.build(self._settings, self._pool, self._open_desk(self._pool, self._settings))


def idempotency_key(given: str) -> str:
    """What an Idempotency-Key header says. Raises ValueError."""
    key = given.strip().removeprefix('"').removesuffix('"')
    if not 1 <= len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise ValueError(f"an Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters")
    return key


async def _read(receive: Any, headers: dict[str, str], most: int) -> bytes:
    large = _Refusal(413, f"the body is larger than {most} bytes", (("connection", "close"),))
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 9 or int(length) > most:
        raise large
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refusal(400, "the caller hung up before the body was complete")
        body += bytes(message.get("body", b""))
        if len(body) > most:
            raise large
        if not message.get("more_body", False):
            return body


async def _call(app: Any, scope: Any, body: bytes) -> Answer:
    """The application's whole answer."""
    answer = Answer(500, b"")
    parts: list[bytes] = []
    given = False

    async def receive() -> dict[str, Any]:
        nonlocal given
        if given:
            await asyncio.Event().wait()  # who hangs up meanwhile is of no interest
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in message["headers"]
                if name != b"content-length"
            ]
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    answer.body = b"".join(parts)
    return answer
