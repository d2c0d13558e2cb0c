"""uvicorn's HTTP protocol with bounds and a short way.

A sender must get its request across within some time and size. Requests to the hot doors that arrive whole are answered
without ASGI, whose machinery costs more than everything else that is done for an event. With too many
connections open all is refused but calls: a caller on the phone cannot come again.
"""

import resource
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast.gateway.receiving import Receive, Refused, Scope, Send, refuse
from holdfast.gateway.signals import REFUSED
from holdfast.gateway.whole import Headers, whole_request

log = structlog.get_logger()

PATIENCE = 10.0
"""Seconds for a whole request to arrive, its headers and its body, and for the first one of a connection to begin."""
IDLE = 60.0
"""Seconds that a connection may be without requests; uvicorn's own timer would cost more for each of them."""
LARGEST_HEADERS = 64 * 1024
MOST_CONNECTIONS = 8192
"""Above that only calls are answered."""
_MOST_FILES = 65_536
_CALLS = b"/hooks/twilio/"
_FULL = Refused(
    503, "full", "too many connections are open; send it again later", (b"retry-after", b"5"), (b"connection", b"close")
)


class HotDoor(Protocol):
    def take(self, headers: Headers, body: bytes, answer: Callable[[bytes], None]) -> None:
        """Handle a request; `answer` is called once, now or later, with the whole response."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn itself waits for ever and takes headers of any size."""

    def __init__(
        self,
        *arguments: Any,
        hot: Mapping[bytes, HotDoor] | None = None,
        most_connections: int = MOST_CONNECTIONS,
        **named: Any,
    ) -> None:
        """`hot`: request lines such as `POST /hooks/stripe HTTP/1.1`, each to its door."""
        super().__init__(*arguments, **named)
        self._hot = hot or {}
        self._most_connections = most_connections
        self._receiving = True
        self._since = self.loop.time()
        self._idle_since: float | None = None
        self._header_bytes = 0
        self._at_boundary = True
        self._taken = False
        """Whether a request went the short way and waits for its answer."""
        self._early = b""
        """What came before that answer."""
        self._ending = False

    def data_received(self, data: bytes) -> None:
        if self._taken:
            self._early += data
            self.flow.pause_reading()
            return
        if self._at_boundary and (self.cycle is None or self.cycle.response_complete):
            if data[0] in b"\r\n" and not data.strip(b"\r\n"):
                return  # line ends begin no request (RFC 9112, section 2.2): whoever sends only these is idle
            self._idle_since = None
            found = whole_request(data)
            if found is not None and found[0] in self._hot and not self._is_full:
                self._unset_keepalive_if_required()
                self._receiving, self._taken = False, True
                self._hot[found[0]].take(found[1], found[2], self._answer)
                return
        super().data_received(data)

    def _answer(self, response: bytes) -> None:
        self._taken = False
        if self.transport.is_closing():
            return
        self.transport.write(response)
        self._idle_since = self.loop.time()
        if self._ending:
            self.transport.close()
        elif self._early:
            data, self._early = self._early, b""
            self.flow.resume_reading()
            self.data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._receiving, self._at_boundary = True, False
        self._since = self.loop.time()
        self._header_bytes = 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._receiving, self._at_boundary = False, True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    @property
    def _is_full(self) -> bool:
        return len(self.connections) > self._most_connections

    def on_headers_complete(self) -> None:
        if not self._is_full or self.url.startswith(_CALLS):
            super().on_headers_complete()
            return
        app, self.app = self.app, _refuse
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > LARGEST_HEADERS:
            self.transport.abort()

    def shutdown(self) -> None:
        if self._taken:
            self._ending = True
        else:
            super().shutdown()

    def is_late(self, now: float) -> bool:
        if self._receiving:
            return now - self._since > PATIENCE
        return self._idle_since is not None and now - self._idle_since > IDLE

    def hang_up(self) -> None:
        self.transport.abort()


async def _refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
    REFUSED.inc(1)
    await refuse(send, _FULL)


def raise_file_limit() -> int:
    """Let this process have as many files as the system grants, within reason; how many connections it takes.

    Some files are left for calls, the store and the spool.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        log.debug("web.file_limit", before=soft, now=most)
        soft = most
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, soft * 3 // 4)
