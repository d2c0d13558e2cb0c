"""Plain requests that arrive whole take a short way past ASGI; nobody outside can tell."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gateway.whole import whole_request
from tests.inbox.events import body, event, signed
from tests.processes import running

LINE = b"POST /hooks/stripe HTTP/1.1"


def request(payload: bytes, *more: bytes, line: bytes = LINE, headers: dict[str, str] | None = None) -> bytes:
    fields = [b"Host: here", b"Content-Length: %d" % len(payload), b"Content-Type: application/json"]
    fields += [f"{name}: {value}".encode() for name, value in (headers or signed(payload)).items()]
    return b"\r\n".join([line, *fields, *more, b"", payload])


@pytest.fixture(scope="module")
async def web(database_url):
    async with running("web", database_url=database_url) as found:
        await found.answers()
        yield found


class Sender:
    """One connection that is read and written by hand."""

    def __init__(self, web) -> None:
        self._port = web.port

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_error) -> None:
        self.writer.close()

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.01)  # a packet of its own

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            line, *fields = head.strip().split("\r\n")
            headers = dict(field.lower().split(": ", 1) for field in fields)
            return int(line.split()[1]), headers, await self.reader.readexactly(int(headers["content-length"]))


def test_a_plain_request_is_read():
    payload = body(event())
    read = whole_request(request(payload, headers={"Stripe-Signature": "t=1,v1=00"}))
    assert read is not None
    line, headers, found = read
    assert (line, found) == (LINE, payload)
    assert (b"content-length", b"%d" % len(payload)) in headers
    assert (b"stripe-signature", b"t=1,v1=00") in headers


@pytest.mark.parametrize(
    "odd",
    [
        request(b"{}")[:-1],
        request(b"{}") + b"P",
        request(b"{}", b"Content-Length: 2"),
        request(b"{}", b"Transfer-Encoding: chunked"),
        request(b"{}", b"Expect: 100-continue"),
        request(b"{}", b"Connection: close"),
        request(b"{}", b" folded: line"),
        request(b"{}", b"no colon"),
        request(b"{}", b"Space : before"),
        request(b"{}", b": no name"),
        request(b"{}", b"A: \0"),
        request(b"{}", b"A: b\nContent-Length: 0"),
        request(b"{}", b"A: b\rc"),
        request(b"{}", b"A: " + b"x" * 20_000),
        request(b"{}").replace(b"Content-Length: 2", b"Content-Length: +2"),
        request(b"{}").replace(b"Content-Length: 2", b"Content-Length: 02"),
        request(b"{}").replace(b"Content-Length: 2\r\n", b""),
        request(b"{}").replace(b"\r\n", b"\n"),
    ],
)
def test_what_is_not_certainly_plain_and_whole_is_left_to_the_full_parser(odd):
    assert whole_request(odd) is None


@given(st.binary(max_size=300))
def test_no_bytes_are_an_error(data):
    for tried in (data, LINE + b"\r\n" + data, request(b"{}", data)):
        found = whole_request(tried)
        assert found is None or tried.endswith(found[2])


REQUESTS = {
    "good": lambda: request(body(event())),
    "badly signed": lambda: request(body(event()), headers={"Stripe-Signature": "t=1,v1=00"}),
    "not an event": lambda: request(b"{}"),
    "empty": lambda: request(b""),
    "another method": lambda: request(b"{}", line=b"PUT /hooks/stripe HTTP/1.1"),
    "another door": lambda: request(b"{}", line=b"POST /hooks/none HTTP/1.1"),
}


@pytest.mark.parametrize("kind", list(REQUESTS))
async def test_whole_or_in_pieces_the_answer_is_the_same(web, pool, kind):
    answers = []
    for cut in (0, 0.01, 0.2, 0.5, 0.99):
        made = REQUESTS[kind]()
        at = int(cut * len(made))
        async with Sender(web) as sender:
            await sender.send(*([made[:at], made[at:]] if at else [made]))
            answers.append(await sender.answer())
    assert answers == [answers[0]] * len(answers)


async def test_a_connection_may_mix_both_ways(web, pool):
    made = [request(body(event())) for _ in range(6)]
    async with Sender(web) as sender:
        for number, one in enumerate(made):
            await sender.send(*([one] if number % 2 else [one[:700], one[700:]]))
            assert (await sender.answer())[0] == 200
    assert await pool.fetchval("SELECT count(*) FROM event") == 6


async def test_what_comes_before_the_answer_waits_for_its_turn(web, pool):
    first, second, third, bad = (request(body(event())) for _ in range(4))
    bad = bad.replace(b"v1=", b"v2=")
    async with Sender(web) as sender:
        sender.writer.write(first)
        await sender.send(second[:900])
        await sender.send(second[900:] + bad + third)
        answers = [await sender.answer() for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 200, 400, 200]
    assert json.loads(answers[2][2])["status"] == 400
    assert await pool.fetchval("SELECT count(*) FROM event") == 3


async def test_a_sender_that_does_not_wait_for_the_answer_is_stored_all_the_same(web, pool):
    async with Sender(web) as sender:
        await sender.send(request(body(event())))
    async with asyncio.timeout(10):
        while not await pool.fetchval("SELECT count(*) FROM event"):
            await asyncio.sleep(0.02)


async def test_a_request_under_way_is_answered_before_the_process_stops(database_url, pool):
    async with running("web", database_url=database_url) as web:
        await web.answers()
        blocker = await pool.acquire()
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("LOCK TABLE event IN EXCLUSIVE MODE")
        async with Sender(web) as sender:
            await sender.send(request(body(event())))
            web.terminate()
            await asyncio.sleep(0.3)
            await transaction.rollback()
            await pool.release(blocker)
            assert (await sender.answer())[0] == 200
        assert await web.process.wait() == 0
