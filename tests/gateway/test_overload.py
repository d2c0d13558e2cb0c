"""With too many connections open all is refused but calls."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
import uvicorn

from holdfast.gateway.protocol import IDLE, MOST_CONNECTIONS, PATIENCE, raise_file_limit
from holdfast.gateway.signals import REFUSED
from holdfast.gateway.whole import Headers
from holdfast.web import Doors, _config
from tests.gateway.test_short_way import Sender, request

MOST = 3


class Hot:
    def take(self, _headers: Headers, _body: bytes, answer: Callable[[bytes], None]) -> None:
        answer(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhot")


async def app(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Web:
    def __init__(self, port: int, server: uvicorn.Server) -> None:
        self.port = port
        self.server = server


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    rest: Any = app
    config = _config(Doors({}, rest), {b"POST /hooks/stripe HTTP/1.1": Hot()})
    assert config.limit_concurrency is None
    given: Any = config
    given.http = partial(given.http, most_connections=MOST)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield Web(listening.getsockname()[1], server)
    server.should_exit = True
    await serving


def post(path: str) -> bytes:
    return request(b"{}", line=f"POST {path} HTTP/1.1".encode())


async def test_calls_are_answered_when_all_else_is_refused(web):
    async with AsyncExitStack() as stack:
        senders = [await stack.enter_async_context(Sender(web)) for _ in range(MOST)]
        for path in ("/hooks/stripe", "/v1/alerts", "/hooks/twilio/voice"):
            await senders[0].send(post(path))
            assert (await senders[0].answer())[0] == 200
        refused = REFUSED.values.get((), 0)
        for path, cut in (("/hooks/stripe", 0), ("/hooks/stripe", 60), ("/v1/alerts", 0)):
            async with Sender(web) as sender:
                made = post(path)
                await sender.send(*([made[:cut], made[cut:]] if cut else [made]))
                status, headers, _ = await sender.answer()
                assert (status, headers["retry-after"], headers["connection"]) == (503, "5", "close")
                assert await sender.reader.read() == b"", "it is hung up on"
        assert REFUSED.values[()] == refused + 3
        async with Sender(web) as sender:
            for _ in range(2):
                await sender.send(post("/hooks/twilio/voice"))
                assert (await sender.answer())[0] == 200
        async with asyncio.timeout(10):
            while len(web.server.server_state.connections) > MOST:
                await asyncio.sleep(0.01)
        await senders[0].send(post("/hooks/stripe"))
        assert (await senders[0].answer())[2] == b"hot"


@pytest.mark.parametrize("path", ["/hooks/stripe", "/v1/alerts"])
async def test_line_ends_hold_no_connection(web, path):
    web.server.config.timeout_keep_alive = 0.3  # the usual way's own timer
    async with Sender(web) as sender:
        await sender.send(post(path))
        assert (await sender.answer())[0] == 200
        await sender.send(b"\r\n", b"\n", b"\r")
        [connection] = web.server.server_state.connections
        if connection.is_late(asyncio.get_running_loop().time() + IDLE):
            connection.hang_up()
        async with asyncio.timeout(10):
            assert await sender.reader.read() == b"", "it is hung up on"
    async with Sender(web) as sender:
        await sender.send(b"\r\n", b"\r\n" + post(path))
        assert (await sender.answer())[0] == 200
        await sender.send(b"\r\n", post(path))
        assert (await sender.answer())[0] == 200


async def test_line_ends_instead_of_a_first_request_are_none(web):
    async with Sender(web) as sender:
        await sender.send(b"\r\n")
        [connection] = web.server.server_state.connections
        assert connection.is_late(asyncio.get_running_loop().time() + PATIENCE)


def test_as_many_files_as_the_system_grants_are_taken():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[0]), before[1]))
    try:
        most = raise_file_limit()
        assert most <= MOST_CONNECTIONS
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
