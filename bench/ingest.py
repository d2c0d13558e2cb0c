"""Durable acknowledgements a second: committed to disk before the answer, beside the same server storing nothing."""

from statistics import median
from typing import Any

from bench import peers, traffic
from bench.harness import SECRET, postgres, say, summary, web
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.drills.stripe_objects import Json

ACCOUNTS = [f"acct_1Bench{number:04d}" for number in range(200)]
ROUNDS, EVENTS = 5, 40_000


def run(*, quick: bool) -> dict[str, Any]:
    rounds, count = (2, 4_000) if quick else (ROUNDS, EVENTS)
    durable: list[float] = []
    nothing: list[float] = []
    latencies: list[float] = []
    events = traffic.templates(400, ACCOUNTS)
    with postgres() as server:
        for number in range(rounds):
            load = _round(server, "holdfast", count, events, seed=number)
            durable.append(load.rate)
            latencies += load.latencies
            nothing.append(_round(server, "bench.null_web", count, events, seed=1000 + number).rate)
            say(f"round {number + 1}: {durable[-1]:,.0f}/s durable, {nothing[-1]:,.0f}/s storing nothing")
        beside = peers.acknowledged(server, quick=quick)
    ratio = median(one / other for one, other in zip(durable, nothing, strict=True))
    rate = median(durable)
    latencies.sort()
    return {
        "value": round(ratio, 3),
        "target": ">= 0.6 and >= 10000/s",
        "ok": ratio >= 0.6 and rate >= 10_000,
        "per_second": summary(durable),
        "storing_nothing_per_second": summary(nothing),
        "ack_ms": {"p50": _ms(latencies, 0.5), "p99": _ms(latencies, 0.99)},
        "peers": {"same job, events/s": beside},
    }


def _round(server: EmbeddedPostgres, module: str, count: int, events: list[Json], seed: int) -> traffic.Load:
    with web(server, module) as port:
        warm = traffic.requests(traffic.bodies(1000, events, seed=seed + 500), SECRET, port)
        made = traffic.requests(traffic.bodies(count, events, seed=seed), SECRET, port)
        traffic.blast(warm, port)
        load = traffic.blast(made, port)
    if load.statuses != {200: count}:
        raise RuntimeError(f"not every event was acknowledged: {load.statuses}")
    return load


def _ms(ordered: list[float], share: float) -> float:
    return round(1000 * ordered[int(share * (len(ordered) - 1))], 2)
