"""What watching costs: processor time of the watch and of its sessions in PostgreSQL, and what it takes from ingest.

The throughput with and without it is measured in turns too, but on a noisy machine one per cent is below what that can
tell; so the share of ingest is the processor time that watching takes while ingest has all of the rest.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import asyncpg
import psutil  # type: ignore[import-untyped]

from bench import traffic
from bench.harness import SECRET, environment, postgres, process, say, web, with_connection, worker
from bench.ingest import ACCOUNTS
from bench.load import sending
from holdfast.db.embedded import EmbeddedPostgres

STEADY = {"rate": 200, "mix": "mixed", "accounts": ACCOUNTS, "seed": 1}


def run(*, quick: bool) -> dict[str, Any]:
    seconds, rounds, count = (15.0, 1, 4_000) if quick else (60.0, 5, 40_000)
    with postgres() as server:
        steady = _steady(server, seconds)
        say(f"at {STEADY['rate']} events a second, watching takes {100 * steady:.2f} % of a core")
        with_it, without, shares = [], [], []
        for number in range(rounds):
            rate, share = _blast(server, count, seed=number, watching=True)
            with_it.append(rate)
            shares.append(share)
            without.append(_blast(server, count, seed=100 + number, watching=False)[0])
            say(f"ingest {with_it[-1]:,.0f}/s watched, {without[-1]:,.0f}/s not; watching takes {100 * share:.2f} %")
    share = median(shares)
    return {
        "value": round(100 * steady, 2),
        "target": "<= 2 % of a core, <= 1 % of ingest",
        "ok": steady <= 0.02 and share <= 0.01,
        "percent_of_a_core": round(100 * steady, 2),
        "percent_of_ingest": round(100 * share, 2),
        "ingest_watched_over_not": round(median(one / other for one, other in zip(with_it, without, strict=True)), 3),
        "ingest_per_second": {"watched": round(median(with_it)), "not": round(median(without))},
    }


def _steady(server: EmbeddedPostgres, seconds: float) -> float:
    """The share of a core at a usual load, with a worker."""
    with ExitStack() as stack:
        port = stack.enter_context(web(server))
        stack.enter_context(worker(server))
        spent = stack.enter_context(_watching(server))
        sender = stack.enter_context(sending(port, [STEADY], seconds))
        began, before = time.monotonic(), spent()
        sender.result(seconds + 60)
        return (spent() - before) / (time.monotonic() - began)


def _blast(server: EmbeddedPostgres, count: int, seed: int, *, watching: bool) -> tuple[float, float]:
    """Acknowledgements a second, and watching's share of all processor time meanwhile."""
    events = traffic.templates(400, ACCOUNTS)
    with ExitStack() as stack:
        port = stack.enter_context(web(server))
        spent = stack.enter_context(_watching(server)) if watching else None
        made = traffic.requests(traffic.bodies(count, events, seed=seed), SECRET, port)
        began, before = time.monotonic(), spent() if spent is not None else 0.0
        load = traffic.blast(made, port)
        taken = spent() - before if spent is not None else 0.0
        share = taken / (time.monotonic() - began) / (psutil.cpu_count() or 1)
    return load.rate, share


class _Spent:
    """Seconds of processor time that the watch and its sessions have taken so far."""

    def __init__(self, server: EmbeddedPostgres, watch: psutil.Process) -> None:
        self._server = server
        self._watch = watch

    def __call__(self) -> float:
        own = self._watch.cpu_times()
        total = float(own.user + own.system)
        for pid in with_connection(self._server.url(), _sessions):
            try:
                times = psutil.Process(pid).cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total


async def _sessions(connection: "asyncpg.Connection[asyncpg.Record]") -> list[int]:
    rows = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'holdfast watch%'")
    return [row[0] for row in rows]


@contextmanager
def _watching(server: EmbeddedPostgres) -> Iterator[_Spent]:
    """A watch process that leads and has learned what is usual."""
    with process(["-m", "holdfast", "watch"], environment(server)) as started:
        time.sleep(12.0)
        yield _Spent(server, psutil.Process(started.pid))
