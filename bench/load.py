"""Open-loop load: requests are sent when they are due, answered or not. A process of its own."""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

from bench import data, traffic
from bench.harness import SECRET


async def _run(port: int, flows: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    load = traffic.Load()
    sent: list[bytes] = []
    fresh = [flow for flow in flows if not flow.get("again")]
    again = [flow for flow in flows if flow.get("again")]
    await asyncio.gather(
        *(_flow(port, flow, seconds, load, sent) for flow in fresh),
        *(_repeat(port, flow, seconds, load, sent) for flow in again),
    )
    return {"statuses": load.statuses, "behind": max(load.latencies, default=0.0)}


async def _flow(port: int, flow: dict[str, Any], seconds: float, load: traffic.Load, sent: list[bytes]) -> None:
    """One kind of events at a steady average rate; `load.latencies` collects how late the sender itself was."""
    count = int(flow["rate"] * seconds)
    mix = {"bulk": data.BULK, "money": data.MONEY, "mixed": data.MIXED}[flow["mix"]]
    events = traffic.templates(300, flow["accounts"], mix, flow["seed"])
    if flow["mix"] == "money":
        events = [event for event in events if event["type"] in ("payment_intent.succeeded", "charge.succeeded")]
    made = traffic.requests(traffic.bodies(count, events, flow["seed"]), SECRET, port)
    await _paced(port, flow, made, load, sent)


async def _repeat(port: int, flow: dict[str, Any], seconds: float, load: traffic.Load, sent: list[bytes]) -> None:
    """A retry storm: Stripe sends again, at random, what was sent in this run before."""
    rng = random.Random(flow["seed"])
    while not sent:
        await asyncio.sleep(0.01)
    await _paced(port, flow, (rng.choice(sent) for _ in range(int(flow["rate"] * seconds))), load, [])


async def _paced(port: int, flow: dict[str, Any], made: Iterable[bytes], load: traffic.Load, sent: list[bytes]) -> None:
    idle: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()
    rng = random.Random(flow["seed"])
    tasks: set[asyncio.Task[None]] = set()
    due = time.perf_counter()
    for request in made:
        due += rng.expovariate(flow["rate"])
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        load.latencies.append(max(0.0, -wait))
        task = asyncio.create_task(_send(port, request, idle, load))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        sent.append(request)
    if tasks:
        await asyncio.wait(tasks, timeout=30)


async def _send(
    port: int,
    request: bytes,
    idle: "asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]",
    load: traffic.Load,
) -> None:
    try:
        reader, writer = idle.get_nowait()
    except asyncio.QueueEmpty:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        status = int(head[9:12])
        idle.put_nowait((reader, writer))
    except (OSError, asyncio.IncompleteReadError):
        status = 0
        writer.close()
    load.statuses[status] = load.statuses.get(status, 0) + 1


@contextmanager
def sending(port: int, flows: list[dict[str, Any]], seconds: float) -> Iterator["Sender"]:
    """Begin to send; `Sender.result` waits for the end."""
    asked = json.dumps({"port": port, "flows": flows, "seconds": seconds})
    process = subprocess.Popen([sys.executable, "-m", "bench.load", asked], stdout=subprocess.PIPE)
    try:
        yield Sender(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Sender:
    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def result(self, patience: float) -> dict[str, Any]:
        out, _ = self._process.communicate(timeout=patience)
        found: dict[str, Any] = json.loads(out)
        return found


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps(uvloop.run(_run(asked["port"], asked["flows"], asked["seconds"]))))
