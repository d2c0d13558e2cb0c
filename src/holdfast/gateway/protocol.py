"""uvicorn's HTTP protocol with bounds: a sender must get its request across within some time and size."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PATIENCE = 10.0
"""Seconds for a whole request to arrive, its headers and its body, and for the first one of a connection to begin."""
LARGEST_HEADERS = 64 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn itself waits for ever and takes headers of any size."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._receiving = True
        self._since = asyncio.get_running_loop().time()
        self._header_bytes = 0

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._receiving = True
        self._since = self.loop.time()
        self._header_bytes = 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._receiving = False

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > LARGEST_HEADERS:
            self.transport.abort()

    def is_late(self, now: float) -> bool:
        return self._receiving and now - self._since > PATIENCE

    def hang_up(self) -> None:
        self.transport.abort()
