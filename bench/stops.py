"""Texts to people who said stop: 10,000 random interleavings of texts, STOPs, complaints, imports and crashes.

Everything is real but Twilio: processes of Holdfast that are killed again and again, texts by the API, STOPs by signed
webhooks. A text that reaches the emulated Twilio after a stop of that person was acknowledged, before the person came
back, is one too many. So is a text that reaches it twice.
"""

import asyncio
import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import aiohttp

from bench import data
from bench.crash import at_work
from bench.harness import environment, free_port, postgres, say
from holdfast.consent import customers, ledger
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import Entry
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.pool import Pool
from holdfast.drills.twilio import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, EmulatedTwilio
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.merchants.numbers import NewNumber

SHOPS = [f"shop{number:02}" for number in range(20)]
TOKEN = "bench-token-of-the-api"
PROCESSES = {"web": "web", "worker 1": "worker", "worker 2": "worker"}
STOP_WORDS = ("STOP", "please stop texting me", "take me off your list", "UNSUBSCRIBE", "ya no me manden mensajes")
Deed = Literal["text", "later", "stop", "complaint", "import", "start"]
WEIGHTS: dict[Deed, float] = {"text": 5, "later": 2, "stop": 2, "complaint": 1, "import": 1, "start": 0.5}


@dataclass(frozen=True, slots=True)
class Person:
    phone: str
    shops: tuple[str, str]


@dataclass(slots=True)
class Done:
    """One deed of a person's story. `shop` None: towards every one. `acknowledged`: 0 if it never was."""

    what: Deed
    shop: str | None
    began: float
    acknowledged: float = 0.0


@dataclass(slots=True)
class Outcome:
    people: int = 0
    deeds: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    acknowledged_stops: int = 0
    texts: int = 0
    """That reached Twilio, confirmations apart."""
    confirmations: int = 0
    after_a_stop: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unsettled: int = 0
    """Texts that neither went out nor were refused or cancelled in the end."""
    slowest_stop: float = 0.0


def run(*, quick: bool) -> dict[str, Any]:
    count = 300 if quick else 10_000
    with postgres() as server:
        outcome = asyncio.run(interleavings(server, count, seed=int(time.time())))
    return {
        "value": len(outcome.after_a_stop),
        "target": "0 texts after an acknowledged stop, 0 texts twice",
        "ok": not outcome.after_a_stop and not outcome.twice and outcome.unsettled == 0,
        "interleavings": outcome.people,
        "after_a_stop": outcome.after_a_stop[:10],
        "twice": len(outcome.twice),
        "unsettled": outcome.unsettled,
        "texts": outcome.texts,
        "confirmations": outcome.confirmations,
        "acknowledged_stops": outcome.acknowledged_stops,
        "slowest_stop_s": round(outcome.slowest_stop, 2),
        "deeds": dict(outcome.deeds),
        "kills": dict(outcome.kills),
    }


async def interleavings(
    server: EmbeddedPostgres, count: int, seed: int, *, at_once: int = 150, killed_every: float = 2.0
) -> Outcome:
    """Each is a person with two shops and a handful of deeds at random moments; many at once."""
    outcome = Outcome(people=count)
    rng = random.Random(seed)
    async with AsyncExitStack() as stack:
        twilio = await stack.enter_async_context(EmulatedTwilio(kept=2_000_000))
        pool = await data.opened(server.url())
        port = free_port()
        people = [_person(number) for number in range(count)]
        await _introduce(pool, twilio, people, port)
        env = environment(
            server,
            listen=f"127.0.0.1:{port}",
            api_token=TOKEN,
            twilio_account_sid=DEFAULT_ACCOUNT_SID,
            twilio_auth_token=DEFAULT_AUTH_TOKEN,
            twilio_api_url=twilio.url,
            twilio_status_url=twilio.status_url,
        )
        pids = await stack.enter_async_context(at_work(PROCESSES, env))
        session = await stack.enter_async_context(aiohttp.ClientSession(headers={"authorization": f"Bearer {TOKEN}"}))
        town = _Town(pool, twilio, session, f"http://127.0.0.1:{port}")
        await town.opened()
        room = asyncio.Semaphore(at_once)
        async with _killing(pids, killed_every, random.Random(seed + 1), outcome.kills):
            stories = await asyncio.gather(
                *(_story(town, person, random.Random(rng.random()), room) for person in people)
            )
        say(f"{count:,} stories told; waiting until the last lease of a killed process has ended")
        outcome.unsettled = await _drained(pool)
        for story in stories:
            outcome.deeds.update(done.what for done in story)
        await _examine(pool, twilio, people, stories, outcome)
        pool.terminate()
    return outcome


def _person(number: int) -> Person:
    first = number % len(SHOPS)
    return Person(f"+1303{2_000_000 + number}", (SHOPS[first], SHOPS[(first + 7) % len(SHOPS)]))


def _number(shop: str) -> str:
    return f"+1415{2_000_000 + SHOPS.index(shop)}"


async def _introduce(pool: Pool, twilio: EmulatedTwilio, people: Sequence[Person], port: int) -> None:
    """Everybody agreed a month ago to be texted by both of their shops."""
    await merchants.upsert(pool, [NewMerchant(key, key) for key in SHOPS])
    ids = await merchants.ids(pool, SHOPS)
    await number_store.put(pool, [NewNumber(_number(key), ids[key], "US") for key in SHOPS])
    for key in SHOPS:
        twilio.add_number(_number(key), sms_url=f"http://127.0.0.1:{port}/hooks/twilio/message")
    now = datetime.now(UTC)
    for begin in range(0, len(people), 1000):
        part = people[begin : begin + 1000]
        async with pool.acquire() as db, db.transaction():
            found = await customers.ensure(db, [one.phone for one in part], PhoneKey(), now)
            await ledger.append(
                db,
                [
                    _grant(found[one.phone].id, ids[shop], now - timedelta(days=30), "website")
                    for one in part
                    for shop in one.shops
                ],
                now,
            )


def _grant(customer_id: int, merchant_id: int, at: datetime, source: Any) -> Entry:
    return Entry(customer_id, merchant_id, "grant", "informational", source, at, "bench", disclosure="I agree.")


@dataclass(frozen=True, slots=True)
class _Town:
    pool: Pool
    twilio: EmulatedTwilio
    session: aiohttp.ClientSession
    url: str

    async def opened(self) -> None:
        """Once the doors are open and who is who is known."""
        async with asyncio.timeout(60):
            while True:
                with suppress(aiohttp.ClientError, OSError):
                    async with self.session.get(f"{self.url}/health/ready") as answer:
                        if answer.status == 200:
                            break
                await asyncio.sleep(0.2)
        await asyncio.sleep(2.0)

    async def do(self, person: Person, done: Done, rng: random.Random) -> None:
        """The deed, until it is acknowledged; what is not acknowledged is not counted as done."""
        match done.what:
            case "text" | "later":
                ok = await self._text(person, done, rng)
            case "stop" | "start":
                word = "START" if done.what == "start" else rng.choice(STOP_WORDS)
                assert done.shop is not None
                said = await self.twilio.text(person.phone, _number(done.shop), word)
                ok = said.status == 200
            case "complaint":
                asked = {"phone": person.phone, "text": "I never asked for these.", "actor": "bench"}
                ok = await self._post("/v1/complaints", asked, secrets.token_hex(8), {200, 201})
            case "import":
                ok = await self._import(person, done, rng)
        if ok:
            done.acknowledged = time.time()

    async def _text(self, person: Person, done: Done, rng: random.Random) -> bool:
        asked = {"merchant": done.shop, "to": person.phone, "purpose": "informational", "body": secrets.token_hex(8)}
        if done.what == "later":
            asked["send_at"] = (datetime.now(UTC) + timedelta(seconds=rng.uniform(0.2, 3.0))).isoformat()
        key = secrets.token_hex(8)
        for _ in range(20):  # whoever asks does so again under the same key until there is an answer
            if await self._post("/v1/messages", asked, key, {202, 422}):
                return True
            await asyncio.sleep(0.3)
        return False

    async def _post(self, path: str, asked: dict[str, Any], key: str, done: set[int]) -> bool:
        try:
            async with self.session.post(
                self.url + path, json=asked, headers={"idempotency-key": key}, timeout=aiohttp.ClientTimeout(30)
            ) as answer:
                await answer.read()
                if answer.status not in done and answer.status < 500:
                    raise RuntimeError(f"{path}: {answer.status} {await answer.text()}")
                return answer.status in done
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def _import(self, person: Person, done: Done, rng: random.Random) -> bool:
        """A list with a consent, given before or after whatever the person said since; it must change nothing."""
        now = datetime.now(UTC)
        async with self.pool.acquire() as db, db.transaction():
            found = (await customers.ensure(db, [person.phone], PhoneKey(), now))[person.phone]
            ids = await merchants.ids(db, [done.shop or ""])
            at = now - timedelta(days=rng.choice((400, 0)))
            await ledger.append(db, [_grant(found.id, ids[done.shop or ""], at, "import")], now)
        return True


async def _story(town: _Town, person: Person, rng: random.Random, room: asyncio.Semaphore) -> list[Done]:
    deeds = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=rng.randint(4, 9))
    told: list[Done] = []

    async def one(what: Deed, after: float) -> None:
        await asyncio.sleep(after)
        done = Done(what, None if what == "complaint" else rng.choice(person.shops), time.time())
        told.append(done)
        await town.do(person, done, rng)

    async with room:
        await asyncio.gather(*(one(what, rng.uniform(0, 1.5)) for what in deeds))
    return told


@asynccontextmanager
async def _killing(pids: dict[str, int], every: float, rng: random.Random, kills: Counter[str]) -> AsyncIterator[None]:
    async def kill() -> None:
        while True:
            await asyncio.sleep(rng.uniform(0.5, 1.5) * every)
            name = rng.choice(["worker 1", "worker 2", "worker 1", "worker 2", "web"])
            with suppress(ProcessLookupError):
                os.kill(pids[name], signal.SIGKILL)
                kills[name] += 1

    task = asyncio.create_task(kill())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _drained(pool: Pool, patience: float = 240.0) -> int:
    end = time.monotonic() + patience
    while True:
        left: int = await pool.fetchval("SELECT count(*) FROM message WHERE state IN ('queued', 'sending')")
        if not left or time.monotonic() > end:
            return left
        await asyncio.sleep(1.0)


async def _examine(
    pool: Pool, twilio: EmulatedTwilio, people: Sequence[Person], stories: Sequence[list[Done]], outcome: Outcome
) -> None:
    rows = await pool.fetch("SELECT body FROM message WHERE kind <> 'text'")
    ours = {row[0] for row in rows}
    shops = {_number(key): key for key in SHOPS}
    told = {person.phone: story for person, story in zip(people, stories, strict=True)}
    seen: Counter[str] = Counter()
    for sent in twilio.messages:
        if sent.direction == "inbound":
            continue
        if sent.body in ours:
            outcome.confirmations += 1
            continue
        outcome.texts += 1
        seen[sent.body] += 1
        if _is_after_a_stop(told[sent.to], shops[sent.from_], sent.created):
            outcome.after_a_stop.append(f"{sent.to} {sent.from_} {sent.created:.3f} {told[sent.to]}")
    outcome.twice = [body for body, count in seen.items() if count > 1]
    for story in stories:
        for done in story:
            if done.what in ("stop", "complaint") and done.acknowledged:
                outcome.acknowledged_stops += 1
                outcome.slowest_stop = max(outcome.slowest_stop, done.acknowledged - done.began)


def _is_after_a_stop(story: list[Done], shop: str, at: float) -> bool:
    """Whether the person had stopped this shop's texts by then, for certain, and not begun to come back since."""
    stops = [
        one
        for one in story
        if one.what in ("stop", "complaint") and one.shop in (None, shop) and 0 < one.acknowledged < at
    ]
    if not stops:
        return False
    last = max(one.began for one in stops)
    return not any(
        one.what == "start" and one.shop == shop and one.began < at and (one.acknowledged or at) > last for one in story
    )
