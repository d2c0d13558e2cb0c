"""How fast calls are answered with PostgreSQL up, stopped and hung; and that no callback of theirs is lost."""

import asyncio
import signal
import tempfile
import time
from typing import Any

import msgspec
import psutil  # type: ignore[import-untyped]

from bench import calls, data
from bench.harness import p99, postgres, say, web
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.pool import Pool
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.merchants.numbers import NewNumber
from holdfast.voice.model import DAYS, Opening, Plan, PlanTarget

RATE = 200
MERCHANTS, NUMBERS = 200, 2000
BUDGET_MS = 20.0


def run(*, quick: bool) -> dict[str, Any]:
    seconds, rounds = (3.0, 1) if quick else (15.0, 3)
    found: dict[str, list[dict[str, Any]]] = {"up": [], "stopped": [], "hung": []}
    with postgres() as server, tempfile.TemporaryDirectory(prefix="holdfast-bench-") as place:
        numbers = asyncio.run(_prepare(server.url()))
        settings = {
            "public_url": calls.PUBLIC,
            "twilio_account_sid": calls.SID,
            "twilio_auth_token": calls.TOKEN,
            "data_dir": place,
        }
        with web(server, **settings) as port:
            time.sleep(2.0)  # plans are read and kept
            told = 0
            with calls.calling(port, numbers, 2.0, 99, rate=RATE / 2) as sender:
                told += sender.result(60)["told"]
            for number in range(rounds):
                for turn, (state, taken) in enumerate(found.items()):
                    measured = _measure(server, port, numbers, seconds, 10 * number + turn, state)
                    told += measured.pop("told")
                    taken.append(measured)
                    say(f"PostgreSQL {state}: p99 {measured['p99_ms']} ms of {measured['answers']:,} answers")
            with calls.calling(port, numbers, seconds, 77, at_once=64) as sender:
                most = sender.result(seconds + 60)
            told += most["told"]
            kept = asyncio.run(_kept(server.url(), told))
    middle = {state: sorted(one["p99_ms"] for one in taken)[len(taken) // 2] for state, taken in found.items()}
    well = all(one["statuses"] in (["200"], ["200", "204"]) for taken in found.values() for one in taken)
    return {
        "value": max(middle["up"], middle["stopped"]),
        "target": f"p99 <= {BUDGET_MS:.0f} ms at {RATE} calls/s, PostgreSQL up and stopped; 0 callbacks lost",
        "ok": max(middle["up"], middle["stopped"]) <= BUDGET_MS and well and kept["lost"] == 0,
        "p99_ms": middle,
        "rounds": found,
        "most_answers_per_second": round(len(most["answers"]) / most["seconds"]),
        "callbacks": kept,
    }


def _measure(
    server: EmbeddedPostgres, port: int, numbers: list[str], seconds: float, seed: int, state: str
) -> dict[str, Any]:
    stopped = _hold(server) if state == "hung" else []
    if state == "stopped":
        server.stop()
    try:
        with calls.calling(port, numbers, seconds, 1000 + seed, rate=RATE) as sender:
            result = sender.result(seconds + 60)
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)
        if state == "stopped":
            server.start()
    taken = sorted(result["answers"])
    time.sleep(3.0)  # what was spooled is stored
    return {
        "p99_ms": round(1000 * p99(taken), 2),
        "p50_ms": round(1000 * taken[len(taken) // 2], 2),
        "worst_ms": round(1000 * taken[-1], 1),
        "answers": len(taken),
        "statuses": sorted(result["statuses"]),
        "sender_behind_ms": round(1000 * result["behind"], 1),
        "told": result["told"],
    }


def _hold(server: EmbeddedPostgres) -> list[psutil.Process]:
    """Stop every process of the server where it stands: it takes connections and never answers."""
    postmaster = psutil.Process(server.pid())
    held = [postmaster, *postmaster.children(recursive=True)]
    for process in held:
        process.suspend()
    return held


async def _prepare(url: str) -> list[str]:
    pool = await data.opened(url)
    names = [f"m{number:04}" for number in range(MERCHANTS)]
    await merchants.upsert(pool, [NewMerchant(name, name) for name in names])
    ids = await merchants.ids(pool, names)
    phones = [f"+1415{2000000 + number}" for number in range(NUMBERS)]
    await number_store.put(
        pool, [NewNumber(phone, ids[names[number % MERCHANTS]], "US") for number, phone in enumerate(phones)]
    )
    await _plans(pool, phones)
    await pool.close()
    return phones


async def _plans(pool: Pool, phones: list[str]) -> None:
    always = (Opening(DAYS, "00:00", "24:00"),)
    plans = [
        Plan(
            targets=tuple(PlanTarget(f"+1646{3000000 + 3 * number + place}") for place in range(3)),
            hours=always,
            time_zone="America/New_York",
            greeting="Thank you for calling.",
        )
        for number, _ in enumerate(phones)
    ]
    await pool.execute(
        """
        INSERT INTO call_plan (phone, plan, changed_at, changed_by)
        SELECT phone, plan::jsonb, now(), 'bench' FROM unnest($1::text[], $2::text[]) AS n(phone, plan)
        """,
        phones,
        [msgspec.json.encode(plan).decode() for plan in plans],
    )


async def _kept(url: str, told: int) -> dict[str, int]:
    """How many of the callbacks that were answered are stored, once all is."""
    pool = await data.opened(url)
    end = time.monotonic() + 60
    while True:
        stored = await pool.fetchval("SELECT count(*) FROM event WHERE provider = 'twilio'")
        if stored >= told or time.monotonic() > end:
            break
        await asyncio.sleep(0.5)
    await pool.close()
    return {"answered": told, "stored": stored, "lost": max(0, told - stored)}
