"""Open-loop calls, as Twilio makes them: each begins when it is due, and goes on where the TwiML tells it. A process.

A call is an incoming request, one or two `<Dial>` actions, and a status callback; three of ten are busy at the first
target.
"""

import asyncio
import base64
import hmac
import html
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import uvloop

from bench.load import Sender

SID, TOKEN = "AC" + "0" * 32, "bench-auth-token"
PUBLIC = "https://calls.bench.example"
_ACTION = re.compile(rb'action="([^"]+)"')
_BUSY = 0.3


@dataclass(slots=True)
class _Run:
    port: int
    rng: random.Random
    answers: list[float] = field(default_factory=list)
    """Seconds that each TwiML answer took."""
    statuses: dict[str, int] = field(default_factory=dict)
    told: int = 0
    """Requests that were answered well."""
    idle: "asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]" = field(
        default_factory=asyncio.LifoQueue
    )


def request(path: str, params: dict[str, str], port: int) -> bytes:
    """A whole signed request."""
    signed = PUBLIC + path + "".join(name + params[name] for name in sorted(params))
    signature = base64.b64encode(hmac.digest(TOKEN.encode(), signed.encode(), "sha1")).decode()
    body = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in params.items())
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\n"
        f"Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nContent-Length: {len(body)}\r\n"
        f"X-Twilio-Signature: {signature}\r\n\r\n{body}"
    ).encode()


async def _ask(run: _Run, path: str, params: dict[str, str], *, twiml: bool) -> bytes:
    try:
        reader, writer = run.idle.get_nowait()
    except asyncio.QueueEmpty:
        reader, writer = await asyncio.open_connection("127.0.0.1", run.port)
    asked = request(path, params, run.port)
    began = time.perf_counter()
    try:
        writer.write(asked)
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        body = await reader.readexactly(int(length or b"0"))
        status = head[9:12].decode()
        run.idle.put_nowait((reader, writer))
    except (OSError, asyncio.IncompleteReadError, ValueError):
        writer.close()
        status, body = "none", b""
    if twiml:
        run.answers.append(time.perf_counter() - began)
    run.statuses[status] = run.statuses.get(status, 0) + 1
    run.told += status in ("200", "204")
    return body


async def _call(run: _Run, number: str) -> None:
    sid = "CA" + "".join(run.rng.choices("0123456789abcdef", k=32))
    common = {
        "CallSid": sid,
        "AccountSid": SID,
        "From": f"+1555{run.rng.randrange(10**7):07}",
        "To": number,
        "Direction": "inbound",
        "ApiVersion": "2010-04-01",
    }
    body = await _ask(run, "/hooks/twilio/voice", {**common, "CallStatus": "ringing"}, twiml=True)
    first = True
    while found := _ACTION.search(body):
        busy = first and run.rng.random() < _BUSY
        first = False
        given = {**common, "CallStatus": "in-progress", "DialCallSid": "CA" + sid[:1:-1]}
        given |= {"DialCallStatus": "busy"} if busy else {"DialCallStatus": "completed", "DialCallDuration": "30"}
        body = await _ask(run, html.unescape(found[1].decode()), given, twiml=True)
        if not busy:
            break
    ended = {**common, "CallStatus": "completed", "CallDuration": "35", "SequenceNumber": "2"}
    await _ask(run, "/hooks/twilio/voice/status", ended, twiml=False)


async def _paced(asked: dict[str, Any]) -> dict[str, Any]:
    run = _Run(asked["port"], random.Random(asked["seed"]))
    tasks: set[asyncio.Task[None]] = set()
    began = due = time.perf_counter()
    behind = 0.0
    while due < began + asked["seconds"]:
        due += run.rng.expovariate(asked["rate"])
        wait = due - time.perf_counter()
        behind = max(behind, -wait)
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(_call(run, run.rng.choice(asked["numbers"])))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks, timeout=30)
    return _result(run, behind, time.perf_counter() - began)


async def _closed(asked: dict[str, Any]) -> dict[str, Any]:
    """As many as get through, `at_once` at a time: what the server can do at most."""
    run = _Run(asked["port"], random.Random(asked["seed"]))
    began = time.perf_counter()

    async def caller() -> None:
        while time.perf_counter() < began + asked["seconds"]:
            await _call(run, run.rng.choice(asked["numbers"]))

    await asyncio.gather(*(caller() for _ in range(asked["at_once"])))
    return _result(run, 0.0, time.perf_counter() - began)


def _result(run: _Run, behind: float, seconds: float) -> dict[str, Any]:
    return {
        "answers": run.answers,
        "statuses": run.statuses,
        "told": run.told,
        "behind": behind,
        "seconds": seconds,
    }


@contextmanager
def calling(port: int, numbers: list[str], seconds: float, seed: int, **how: float) -> Iterator[Sender]:
    """Begin to call: `rate` calls a second, or `at_once` callers without a pause."""
    asked = json.dumps({"port": port, "numbers": numbers, "seconds": seconds, "seed": seed, **how})
    process = subprocess.Popen([sys.executable, "-m", "bench.calls", asked], stdout=subprocess.PIPE)
    try:
        yield Sender(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(uvloop.run(_paced(given) if "rate" in given else _closed(given))))
