"""Signed Stripe requests, made before the measuring begins, and a load generator that costs little."""

import asyncio
import hmac
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import uvloop

from holdfast.drills.stripe_objects import Json, ObjectMaker
from holdfast.drills.stripe_traffic import Mix, Traffic
from holdfast.drills.stripe_webhooks import render

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def templates(count: int, accounts: Sequence[str], mix: Mix | None = None, seed: int = 7) -> list[Json]:
    """Realistic events of several accounts."""
    traffic = Traffic(ObjectMaker(random.Random(seed)), lambda _elapsed: int(time.time()), accounts, mix)
    return [next(traffic) for _ in range(count)]


def bodies(count: int, events: Sequence[Json], seed: int = 1) -> Iterator[bytes]:
    """`count` events with ids of their own: the templates over and over, each time another event and object."""
    rng = random.Random(seed)
    rendered = []
    for event in events:
        about = event["data"]["object"].get("id")
        rendered.append((render(event), event["id"].encode(), about.encode() if about else None))
    for number in range(count):
        body, event_id, about = rendered[number % len(rendered)]
        fresh = "".join(rng.choices(_ALPHABET, k=14)).encode()
        body = body.replace(event_id, event_id[:-14] + fresh)
        if about is not None:
            body = body.replace(about, about[:-8] + fresh[:8])
        yield body


def sign(body: bytes, secret: str, at: int) -> str:
    digest = hmac.digest(secret.encode(), b"%d.%b" % (at, body), "sha256").hex()
    return f"t={at},v1={digest}"


def requests(signed: Iterable[bytes], secret: str, port: int) -> list[bytes]:
    """Whole HTTP requests to `/hooks/stripe`."""
    at = int(time.time())
    made = []
    for body in signed:
        head = (
            f"POST /hooks/stripe HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: application/json; charset=utf-8\r\n"
            f"User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\nAccept: */*\r\n"
            f"Content-Length: {len(body)}\r\nStripe-Signature: {sign(body, secret, at)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


@dataclass(slots=True)
class Load:
    """What came of a run: answers by status, seconds it took, and each answer's latency in seconds."""

    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.statuses.get(200, 0) / self.seconds


class _Connection(asyncio.Protocol):
    def __init__(self, source: Iterator[bytes], load: Load, done: asyncio.Event) -> None:
        self._source = source
        self._load = load
        self._done = done
        self._sent_at = 0.0
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class
        self._next()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer.endswith(b"}"):  # every answer is a JSON object; it may come in parts
            return
        self._load.latencies.append(time.perf_counter() - self._sent_at)
        status = int(self._answer[9:12])
        self._answer = b""
        self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
        self._next()

    def connection_lost(self, _error: Exception | None) -> None:
        self._done.set()

    def _next(self) -> None:
        request = next(self._source, None)
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


def blast(made: Sequence[bytes], port: int, *, connections: int = 256, host: str = "127.0.0.1") -> Load:
    """Send all requests over keep-alive connections, each the next one as soon as the last is answered."""

    async def run() -> Load:
        load = Load()
        source = iter(made)
        loop = asyncio.get_running_loop()
        ends = [asyncio.Event() for _ in range(connections)]
        began = time.perf_counter()
        for done in ends:
            await loop.create_connection(lambda done=done: _Connection(source, load, done), host, port)  # type: ignore[misc]
        for done in ends:
            await done.wait()
        load.seconds = time.perf_counter() - began
        return load

    return uvloop.run(run())
