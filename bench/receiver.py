"""`python -m bench.receiver PORT`: a cheap webhook receiver, in a process of its own.

Paths are endpoints. Each serves `slots` requests at a time, each taking `seconds`; the others wait their turn, as with
a real server that is slow. `POST /_set/NAME?slots=8&seconds=1` changes one; `GET /_counts` tells how many each took.
"""

import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import parse_qs, urlsplit

import httptools
import uvloop


@dataclass
class Endpoint:
    slots: int = 0
    """0: any number at once."""
    seconds: float = 0.0
    turn: asyncio.Semaphore | None = None
    busy: set[asyncio.Task[None]] = field(default_factory=set)


class State:
    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.taken: Counter[str] = Counter()
        self.ids: dict[str, set[str]] = {}


class Receiver(asyncio.Protocol):
    def __init__(self, state: State) -> None:
        self._state = state
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._id = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._url = self._id = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"webhook-id":
            self._id = value

    def on_message_complete(self) -> None:
        name = self._url.decode().strip("/")
        if name.startswith("_"):
            self._control(name)
            return
        endpoint = self._state.endpoints.get(name)
        if endpoint is None or not endpoint.seconds:
            self._take(name, self._id)
            return
        task = asyncio.create_task(self._serve(name, self._id, endpoint))
        endpoint.busy.add(task)
        task.add_done_callback(endpoint.busy.discard)

    async def _serve(self, name: str, webhook_id: bytes, endpoint: Endpoint) -> None:
        if endpoint.turn is None:
            endpoint.turn = asyncio.Semaphore(endpoint.slots or 1_000_000)
        async with endpoint.turn:
            if self._transport.is_closing():
                return  # the sender gave up while this was waiting
            await asyncio.sleep(endpoint.seconds)
            self._take(name, webhook_id)

    def _take(self, name: str, webhook_id: bytes) -> None:
        self._state.taken[name] += 1
        self._answer(b"ok")

    def _control(self, name: str) -> None:
        parts = urlsplit(name)
        if parts.path == "_counts":
            self._answer(json.dumps(self._state.taken).encode())
            return
        asked = parse_qs(parts.query)
        which = parts.path.removeprefix("_set/")
        self._state.endpoints[which] = Endpoint(int(asked["slots"][0]), float(asked["seconds"][0]))
        self._answer(b"set")

    def _answer(self, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def main(port: int) -> None:
    state = State()
    server = await asyncio.get_running_loop().create_server(lambda: Receiver(state), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
