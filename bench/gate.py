"""How many texts a second are decided with 1M suppressions and 5M rows in the ledger, and how soon a STOP holds."""

import asyncio
import json
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import aiohttp
import uvloop

from bench import calls, data, traffic
from bench.harness import p99, postgres, say, summary, web
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import Purpose
from holdfast.db.pool import create_pool
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.merchants.numbers import NewNumber
from holdfast.messaging.deciding import Gate
from holdfast.messaging.model import Ask

MERCHANTS = 200
ROWS_EACH = 2
"""Ledger rows of a person: two of five are suppressed, and one in 50 came back."""
TOKEN = "bench-token-of-the-api"
BODY = "Your appointment is tomorrow at 10. Reply STOP to end."
CALLERS = 16
LEVELS = (8, 12, 64)
"""Callers at once, each asking again as soon as it has its answer: of the gate, and over HTTP."""
SECONDS = 8.0
STOPS = 200


def run(*, quick: bool) -> dict[str, Any]:
    people, asked, rounds = (50_000, 4_000, 1) if quick else (2_500_000, 20_000, 3)
    with postgres() as server, ExitStack() as stack:
        began = time.monotonic()
        held = asyncio.run(_prepare(server.url(), people))
        say(f"{held['suppressions']:,} suppressions, {held['ledger_rows']:,} rows: {time.monotonic() - began:.0f} s")
        gate = [uvloop.run(_decisions(server.url(), people, 2.0 if quick else SECONDS, seed)) for seed in range(rounds)]
        say(f"the gate itself: {json.dumps(gate)}")
        settings = {
            "api_token": TOKEN,
            "public_url": calls.PUBLIC,
            "twilio_account_sid": calls.SID,
            "twilio_auth_token": calls.TOKEN,
        }
        ports = [stack.enter_context(web(server, **settings)) for _ in range(2)]
        found: dict[int, list[dict[str, Any]]] = {level: [] for level in LEVELS}
        traffic.blast(_asks(2_000, people, ports[0], seed=99), ports[0], connections=64)
        for number in range(rounds):
            for level in LEVELS:
                found[level].append(_round(ports[0], asked, people, level, seed=10 * number + level))
                say(f"{level} callers: {json.dumps(found[level][-1])}")
        stops = asyncio.run(_stops(ports, people, 20 if quick else STOPS))
    rates = {level: summary([one["per_second"] for one in taken]) for level, taken in found.items()}
    tails = {level: summary([one["p99_ms"] for one in taken]) for level, taken in found.items()}
    rate, tail = summary([one["per_second"] for one in gate]), summary([one["p99_ms"] for one in gate])
    return {
        "value": rate["median"],
        "target": ">= 3000 decisions/s with p99 <= 5 ms; STOP to refused in every process <= 100 ms",
        "ok": rate["median"] >= 3000 and tail["median"] <= 5.0 and stops["worst_ms"] <= 100 and stops["leaked"] == 0,
        "per_second": rate,
        "p99_ms": tail,
        "over_http_per_second_by_callers": rates,
        "over_http_p99_ms_by_callers": tails,
        "stop": stops,
        **held,
    }


async def _decisions(url: str, people: int, seconds: float, seed: int) -> dict[str, Any]:
    """The gate as the web process has it, without HTTP: asked until committed."""
    pool = await create_pool(url, size=3, name="bench", hot=True)
    ids = await merchants.ids(pool, [f"m{number:04}" for number in range(MERCHANTS)])
    gate, rng, took = Gate(pool, PhoneKey()), random.Random(seed), list[float]()
    began = time.perf_counter()

    async def caller() -> None:
        while (asked := time.perf_counter()) < began + seconds:
            person = rng.randrange(people)
            purpose: Purpose = "marketing" if rng.random() < 0.1 else "informational"
            key = secrets.token_hex(8)
            ask = Ask(
                ids[f"m{person % MERCHANTS:04}"], _phone(person), purpose, BODY, key=key, fingerprint=key.encode()
            )
            await gate.decide(ask)
            took.append(time.perf_counter() - asked)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    rate = len(took) / (time.perf_counter() - began)
    pool.terminate()
    return {"per_second": round(rate), "p99_ms": round(1000 * p99(took), 2)}


def _round(port: int, count: int, people: int, callers: int, seed: int) -> dict[str, Any]:
    load = traffic.blast(_asks(count, people, port, seed), port, connections=callers)
    decided = load.statuses.get(202, 0) + load.statuses.get(422, 0)
    if decided != count:
        raise RuntimeError(f"not every text was decided: {load.statuses}")
    return {
        "per_second": round(decided / load.seconds),
        "p50_ms": round(1000 * sorted(load.latencies)[decided // 2], 2),
        "p99_ms": round(1000 * p99(load.latencies), 2),
        "accepted": load.statuses.get(202, 0),
        "refused": load.statuses.get(422, 0),
    }


def _phone(number: int) -> str:
    return f"+1{201 + number // 10_000_000 % 700}{number % 10_000_000:07}"


def _asks(count: int, people: int, port: int, seed: int) -> list[bytes]:
    """Reminders to random people of the merchant that they consented to; one in ten is marketing."""
    return list(_requests(random.Random(seed), count, people, port))


def _requests(rng: random.Random, count: int, people: int, port: int) -> Iterator[bytes]:
    for _ in range(count):
        person = rng.randrange(people)
        yield _request(person, port, "marketing" if rng.random() < 0.1 else "informational")


def _request(person: int, port: int, purpose: str) -> bytes:
    body = json.dumps(
        {
            "merchant": f"m{person % MERCHANTS:04}",
            "to": _phone(person),
            "purpose": purpose,
            "body": BODY,
        }
    )
    return (
        f"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nIdempotency-Key: {secrets.token_hex(8)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def _prepare(url: str, people: int) -> dict[str, int]:
    """Straight into the tables: the hashes are as long as real ones, and not linked."""
    pool = await data.opened(url)
    names = [f"m{number:04}" for number in range(MERCHANTS)]
    await merchants.upsert(pool, [NewMerchant(name, name) for name in names])
    ids = await merchants.ids(pool, names)
    order = [ids[name] for name in names]
    await number_store.put(
        pool,
        [NewNumber(f"+1415{2000000 + place}", merchant, "US") for place, merchant in enumerate(order)],
    )
    async with pool.acquire() as db:
        await db.execute("SET session_replication_role = replica", timeout=60)
        await db.execute("INSERT INTO disclosure (digest, text) VALUES (sha256('x'), 'I agree to get texts.')")
        indexes = await db.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('consent', 'suppression', 'customer') "
            "AND indexname NOT LIKE '%_pkey' AND indexname NOT LIKE 'customer_%_key'"
        )
        for name, _ in indexes:
            await db.execute(f"DROP INDEX {name}")
        for statement in _FILL:
            await db.execute(statement, people, order, timeout=600)
        await db.execute("UPDATE consent_head SET seq = (SELECT max(seq) FROM consent)")
        for _, definition in indexes:
            await db.execute(definition, timeout=600)
        await db.execute("SET session_replication_role = origin")
    await pool.execute("VACUUM ANALYZE", timeout=600)
    held = {
        "suppressions": await pool.fetchval("SELECT count(*) FROM suppression"),
        "ledger_rows": await pool.fetchval("SELECT count(*) FROM consent"),
    }
    await pool.close()
    return held


_FILL = (
    """
    INSERT INTO customer (phone, salt, zones)
    SELECT '+1' || (201 + n / 10000000 % 700) || lpad((n % 10000000)::text, 7, '0'), decode(md5(n::text), 'hex'),
           '{America/New_York}'
    FROM generate_series(0, $1::int - 1) AS n WHERE $2::bigint[] IS NOT NULL ORDER BY n
    """,
    """
    INSERT INTO consent (seq, customer_id, merchant_id, action, purpose, channel, source, given_at, recorded_at,
                         disclosure_id, origin, actor, who, detail, previous, hash)
    SELECT n + 1, n / 2 + 1, ($2::bigint[])[(n / 2) % cardinality($2::bigint[]) + 1], 'grant',
           CASE n % 2 WHEN 0 THEN 'informational' ELSE 'marketing' END, 'text', 'website',
           now() - interval '400 days' + n * interval '1 second', now() - interval '1 day', 1, 'web form', 'form',
           decode(md5(n::text), 'hex'), NULL, sha256(n::text::bytea), sha256((n + 1)::text::bytea)
    FROM generate_series(0, 2 * $1::int - 1) AS n ORDER BY n
    """,
    """
    INSERT INTO suppression (customer_id, merchant_id, reason, source, actor, made_at, lifted_at)
    SELECT n + 1, CASE n % 10 WHEN 0 THEN 0 ELSE ($2::bigint[])[n % cardinality($2::bigint[]) + 1] END, 'opt_out',
           'text', 'person', now() - interval '1 day', CASE n % 50 WHEN 7 THEN now() END
    FROM generate_series(0, $1::int - 1) AS n WHERE n % 5 < 2 ORDER BY n
    """,
)


async def _stops(ports: list[int], people: int, count: int) -> dict[str, Any]:
    """STOPs by text at one process, while both are asked over and over whether the person may be texted."""
    rng = random.Random(5)
    took: list[float] = []
    acknowledged: list[float] = []
    leaked = 0
    chosen = [5 * n + 3 for n in rng.sample(range(people // 5), count)]  # of those who may be texted
    async with aiohttp.ClientSession() as session:
        for person in chosen:
            blocked_at, ack, late = await _stop(session, ports, person)
            took.append(blocked_at)
            acknowledged.append(ack)
            leaked += late
    took.sort()
    return {
        "stops": count,
        "worst_ms": round(1000 * took[-1], 1),
        "median_ms": round(1000 * took[count // 2], 1),
        "acknowledged_worst_ms": round(1000 * max(acknowledged), 1),
        "leaked": leaked,
    }


async def _stop(session: aiohttp.ClientSession, ports: list[int], person: int) -> tuple[float, float, int]:
    """(seconds until every process refused, until the STOP was acknowledged, texts accepted after that)."""
    stopped = asyncio.Event()
    accepted_at: list[float] = []
    refused_at = dict.fromkeys(ports, 0.0)

    async def ask(port: int) -> None:
        while not refused_at[port]:
            sent = time.perf_counter()
            if await _ask(session, port, person):
                accepted_at.append(sent)
            elif stopped.is_set():
                refused_at[port] = time.perf_counter()

    askers = [asyncio.create_task(ask(port)) for port in ports]
    await asyncio.sleep(0.01)
    began = time.perf_counter()
    stopped.set()
    params = {
        "MessageSid": "SM" + secrets.token_hex(16),
        "AccountSid": calls.SID,
        "From": _phone(person),
        "To": f"+1415{2000000 + person % MERCHANTS}",
        "Body": "please stop texting me",
        "NumMedia": "0",
    }
    await _post(session, ports[0], calls.request("/hooks/twilio/message", params, ports[0]))
    ack = time.perf_counter()
    await asyncio.gather(*askers)
    return max(refused_at.values()) - began, ack - began, sum(at > ack for at in accepted_at)


async def _ask(session: aiohttp.ClientSession, port: int, person: int) -> bool:
    return await _post(session, port, _request(person, port, "informational")) == 202


async def _post(session: aiohttp.ClientSession, port: int, request: bytes) -> int:
    """A whole request as it would be written, through the session's connections."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if not line.startswith(("Host", "Content-Length")))
    async with session.post(f"http://127.0.0.1:{port}{first.split(' ')[1]}", data=body, headers=headers) as answer:
        await answer.read()
        if answer.status not in (200, 202, 204, 422):
            raise RuntimeError(f"{first}: {answer.status} {await answer.text()}")
        return answer.status
