"""What all front doors do with a request: read its body within bounds, and refuse with a problem that says why."""

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from holdfast import problems
from holdfast.gateway.whole import Headers

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MOST_READING = 128 * 1024 * 1024
"""Bytes of a door's unfinished bodies; a sender above that is asked to come again."""
MOST_DISCARDED = 8 * 1024 * 1024
"""Bytes of a body that is too large which are read all the same: hanging up on a sender loses it the answer."""
RETRY_AFTER = b"5"


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error of ours
    """`status` is HTTP's, `answer` the word that it is counted as, `detail` what a person reads."""

    def __init__(self, status: int, answer: str, detail: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(detail)
        self.status = status
        self.answer = answer
        self.detail = detail
        self.headers = headers


class Bodies:
    """Reads the bodies of one door's requests, bounded over all of them.

    How long one may take is the connection's business: see `protocol.PATIENCE`.
    """

    def __init__(self) -> None:
        self._reading = 0

    async def read(self, receive: Receive, announced: int, largest: int) -> bytes:
        """The whole body, which usually comes in one piece. `announced`: its content-length, 0 without. Raises Refused.

        `largest`: bytes.
        """
        if announced > largest:
            await _discard(receive, after={"more_body": True})
            raise too_large(largest)
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            if message["type"] == "http.disconnect":
                raise _hung_up()
            if len(body) > largest:
                raise too_large(largest)
            return body
        return await self._rest(receive, message, largest)

    async def _rest(self, receive: Receive, message: Message, largest: int) -> bytes:
        parts: list[bytes] = [message.get("body", b"")]
        size = len(parts[0])
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
                if size > largest:
                    await _discard(receive, after=message)
                    raise too_large(largest)
                if self._reading > MOST_READING:
                    raise away("too many large bodies are arriving at once")
        finally:
            self._reading -= size
        return b"".join(parts)


async def _discard(receive: Receive, after: Message) -> None:
    left = MOST_DISCARDED
    while after.get("more_body", False) and left > 0:
        after = await receive()
        left -= len(after.get("body", b""))


def content_length(value: bytes) -> int:
    return int(value) if value.isdigit() and len(value) < 20 else 0


def _hung_up() -> Refused:
    return Refused(400, "hung_up", "the sender hung up before the body was complete")


def too_large(largest: int) -> Refused:
    return Refused(413, "too_large", f"the body is larger than {largest} bytes", (b"connection", b"close"))


def away(why: str) -> Refused:
    return Refused(503, "away", f"not stored, send it again later: {why}", (b"retry-after", RETRY_AFTER))


async def refuse(send: Send, refused: Refused) -> None:
    """Answer with a problem (RFC 9457)."""
    headers, body = _problem(refused)
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def whole(refused: Refused) -> bytes:
    """The same as one response, for `protocol.HotDoor`."""
    headers, body = _problem(refused)
    lines = [b"HTTP/1.1 %d %b" % (refused.status, HTTPStatus(refused.status).phrase.encode())]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join([*lines, b"", body])


def _problem(refused: Refused) -> tuple[Headers, bytes]:
    body = problems.problem(refused.status, refused.detail)
    length = str(len(body)).encode()
    return [(b"content-type", problems.CONTENT_TYPE), (b"content-length", length), *refused.headers], body
