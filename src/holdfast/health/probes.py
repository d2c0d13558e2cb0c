"""What is asked, of whom, and from where on it alarms. Each probe returns findings and never raises."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import msgspec

from holdfast.db.pool import AWAY, Pool
from holdfast.health import store
from holdfast.health.model import Finding, Limits, Status, judged
from holdfast.messaging import standing_store
from holdfast.queue import service as queue
from holdfast.queue.model import Lane, Stage
from holdfast.signals import system
from holdfast.signals.registry import REGISTRY, Gauge

CONNECTIONS = REGISTRY.add(Gauge("postgres_connections_ratio", "Share of the allowed connections in use, 0 to 1."))
LOCK_WAITS = REGISTRY.add(Gauge("postgres_lock_waits", "Sessions that wait for a lock."))
OLDEST_TRANSACTION = REGISTRY.add(Gauge("postgres_oldest_transaction_seconds", "Age of the oldest open transaction."))
CACHE_HITS = REGISTRY.add(Gauge("postgres_cache_hit_ratio", "Share of page reads from memory since the start."))
SIZE = REGISTRY.add(Gauge("postgres_size_bytes", "Size of the database."))
ROUND_TRIP = REGISTRY.add(Gauge("postgres_round_trip_seconds", "A statement that does nothing, there and back."))
EVENT_LAG = REGISTRY.add(
    Gauge("event_lag_seconds", "How old a provider's events are when they come in; median.", ("provider",))
)

API_SECONDS = Limits(1.0, 5.0)
EVENT_LAG_SECONDS = Limits(60.0, 600.0)
ROUND_TRIP_SECONDS = Limits(0.1, 1.0)
CONNECTIONS_RATIO = Limits(0.8, 0.95)
LOCK_WAITS_LIMITS = Limits(5, 50)
TRANSACTION_SECONDS = Limits(60, 600)
AGE_SECONDS = {Lane.CRITICAL: Limits(10, 60), Lane.STANDARD: Limits(60, 600), Lane.BULK: Limits(900, 7200)}
"""The promises: how old the oldest work of a lane may be."""
CPU_RATIO, MEMORY_RATIO, DISK_RATIO = Limits(0.9, 0.98), Limits(0.9, 0.97), Limits(0.85, 0.95)
LAG_SECONDS = Limits(0.1, 1.0)
SILENT_SECONDS = Limits(15.0, 30.0)
FAILED_RATIO = Limits(0.1, 0.5)
REVIEW_SECONDS = Limits(3600.0, float("inf"))
"""It never fails: until somebody judges a doubtful reply, its writer is blocked."""
_FEW_TEXTS = 10
PATIENCE = 5.0
"""Seconds that a probe may take."""
_WINDOW = timedelta(minutes=10)


class StripeProbe:
    """Stripe's API and status page."""

    def __init__(self, session: aiohttp.ClientSession, api_url: str, api_key: str | None, status_url: str) -> None:
        self._session = session
        self._api = f"{api_url.rstrip('/')}/v1/events?limit=1"
        self._key = api_key
        self._status = status_url

    async def api(self) -> list[Finding]:
        """A small read with our key: its time, or why it failed."""
        if self._key is None:
            why = "HOLDFAST_STRIPE_API_KEY is not set"
            return [Finding("stripe", "api", "unknown", None, "s", str(API_SECONDS), why)]
        began = time.perf_counter()
        try:
            timeout = aiohttp.ClientTimeout(total=PATIENCE)
            headers = {"authorization": f"Bearer {self._key}"}
            async with self._session.get(self._api, headers=headers, timeout=timeout, allow_redirects=False) as answer:
                await answer.content.read(64 * 1024)
                took, status = time.perf_counter() - began, answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = f"{type(error).__name__}: Stripe's API did not answer within {PATIENCE:g} s"
            return [Finding("stripe", "api", "fail", None, "s", str(API_SECONDS), why)]
        if status == 200:
            return [judged("stripe", "api", took, "s", API_SECONDS, why=f"Stripe's API took {took:.1f} s")]
        if status >= 500:
            return [Finding("stripe", "api", "fail", took, "s", str(API_SECONDS), f"Stripe's API answered {status}")]
        why = f"Stripe's API answered {status}: {_REFUSALS.get(status, 'unexpected')}"
        return [Finding("stripe", "api", "warn", took, "s", str(API_SECONDS), why)]

    async def status_page(self) -> list[Finding]:
        """The provider's own words. They lag, so this is evidence; what cannot be read is unknown."""
        try:
            timeout = aiohttp.ClientTimeout(total=PATIENCE)
            async with self._session.get(self._status, timeout=timeout) as answer:
                answer.raise_for_status()
                page = read_status_page(await answer.content.read(1024 * 1024))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            why = f"the status page could not be read: {type(error).__name__}"
            return [Finding("stripe", "statusPage", "unknown", None, "indicator", _INDICATORS_IN_WORDS, why)]
        status, indicator, said = page
        return [Finding("stripe", "statusPage", status, indicator, "indicator", _INDICATORS_IN_WORDS, said)]


_REFUSALS = {401: "the key is not valid", 403: "the key may not read events", 429: "too many requests with this key"}
_INDICATORS: dict[str, Status] = {"none": "pass", "minor": "warn", "major": "fail", "critical": "fail"}
_INDICATORS_IN_WORDS = "warn at minor, fail at major or critical"


def read_status_page(body: bytes) -> tuple[Status, str, str]:
    """(status, indicator, what is not operational) of a Statuspage summary. ValueError when it is none.

    Source: https://www.stripestatus.com/api
    """
    try:
        page = msgspec.json.decode(body)
        indicator = page["status"]["indicator"]
        parts: list[dict[str, Any]] = page.get("components") or []
        ill = [f"{part['name']}: {part['status']}" for part in parts if part.get("status") != "operational"]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a status page: {error}") from None
    if indicator not in _INDICATORS:
        raise ValueError(f"unknown indicator {str(indicator)[:40]}")
    return _INDICATORS[indicator], indicator, "; ".join(ill)[:500]


async def event_lag(pool: Pool, now: datetime) -> list[Finding]:
    """How old Stripe's events are when they reach us."""
    try:
        async with asyncio.timeout(PATIENCE):
            lag = await store.event_lag(pool, "stripe", now - _WINDOW)
    except AWAY:
        return []  # `database` says so
    if lag.median is None:
        why = f"no event in {_WINDOW.total_seconds() / 60:.0f} minutes"
        return [Finding("stripe", "eventLag", "unknown", None, "s", str(EVENT_LAG_SECONDS), why)]
    median = max(0.0, lag.median)
    EVENT_LAG.set(median, "stripe")
    why = f"half of the last {lag.received} events were older than {median:.0f} s when they came"
    return [judged("stripe", "eventLag", median, "s", EVENT_LAG_SECONDS, why=why)]


async def database(pool: Pool) -> list[Finding]:
    """Whether the server answers, how fast, and how full it is."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            await pool.fetchval("SELECT 1")
            took = time.perf_counter() - began
            state = await store.server_state(pool)
    except AWAY as error:
        why = f"the database does not answer: {type(error).__name__}"
        return [Finding("database", "roundTrip", "fail", None, "s", str(ROUND_TRIP_SECONDS), why)]
    ROUND_TRIP.set(took)
    CONNECTIONS.set(state.connections)
    LOCK_WAITS.set(state.lock_waits)
    OLDEST_TRANSACTION.set(state.oldest_transaction)
    CACHE_HITS.set(state.cache_hits)
    SIZE.set(state.size)
    oldest = state.oldest_transaction
    return [
        judged("database", "roundTrip", took, "s", ROUND_TRIP_SECONDS, why=f"an empty statement took {took:.2f} s"),
        judged("database", "connections", state.connections, "ratio", CONNECTIONS_RATIO, why="connections run out"),
        judged("database", "lockWaits", state.lock_waits, "sessions", LOCK_WAITS_LIMITS, why="sessions wait for locks"),
        judged("database", "oldestTransaction", oldest, "s", TRANSACTION_SECONDS, why="a transaction stays open"),
    ]


def queues(*, inbox_is_ready: bool) -> list[Finding]:
    """The inbox and the deliveries, from the gauges that this process keeps anyway."""
    ready: Status = "pass" if inbox_is_ready else "fail"
    why = "" if inbox_is_ready else "events are answered 503: the store does not take them"
    found = [Finding("inbox", "ready", ready, None, "", "fail when events are refused", why)]
    for stage, component in ((Stage.ROUTE, "inbox"), (Stage.DELIVER, "delivery")):
        for lane in Lane:
            age = queue.OLDEST.values.get((stage.name.lower(), lane.label))
            if age is not None:
                depth = queue.DEPTH.values.get((stage.name.lower(), lane.label), 0)
                why = f"{depth:,.0f} wait in the {lane.label} lane, the oldest for {age:,.0f} s"
                found.append(judged(component, f"oldestAge.{lane.label}", age, "s", AGE_SECONDS[lane], why=why))
    return found


async def texts(pool: Pool, now: datetime) -> list[Finding]:
    """How sending texts goes, and what of their answers waits for a person."""
    try:
        async with asyncio.timeout(PATIENCE):
            going = await standing_store.going(pool, now - _WINDOW)
    except AWAY:
        return []  # `database` says so
    found = [_waiting(lane, is_held=going.is_held) for lane in Lane]
    share = going.failed / going.tried if going.tried >= _FEW_TEXTS else 0.0
    why = f"{going.failed} of {going.tried} texts of the last {_WINDOW.total_seconds() / 60:.0f} minutes failed"
    found.append(judged("messaging", "failedRatio", share, "ratio", FAILED_RATIO, why=why))
    age = (now - going.oldest_review_at).total_seconds() if going.oldest_review_at is not None else 0.0
    why = f"{going.to_review} doubtful replies wait for somebody to judge them, the oldest for {age / 60:.0f} min"
    found.append(judged("messaging", "unreviewed", age, "s", REVIEW_SECONDS, why=why))
    return found


def _waiting(lane: Lane, *, is_held: bool) -> Finding:
    """A lever that keeps texts back is no failure."""
    age = queue.OLDEST.values.get((Stage.SEND.name.lower(), lane.label), 0.0)
    what, limits = f"oldestAge.{lane.label}", AGE_SECONDS[lane]
    if is_held:
        return Finding("messaging", what, "pass", age, "s", str(limits), "the lever messaging.texts keeps texts back")
    depth = queue.DEPTH.values.get((Stage.SEND.name.lower(), lane.label), 0.0)
    why = f"{depth:,.0f} texts wait in the {lane.label} lane, the oldest for {age:,.0f} s"
    return judged("messaging", what, age, "s", limits, why=why)


def watch(silent_for: float | None) -> list[Finding]:
    """Whether `health_watch` looks; None: not known yet."""
    if silent_for is None:
        return []
    why = f"health_watch last looked {silent_for:.0f} s ago"
    return [judged("watch", "silent", silent_for, "s", SILENT_SECONDS, why=why)]


def machine() -> list[Finding]:
    """This machine and process."""
    found = []
    for gauge, what, unit, limits, why in (
        (system.CPU, "cpu", "ratio", CPU_RATIO, "the processors are busy"),
        (system.MEMORY, "memory", "ratio", MEMORY_RATIO, "memory runs out"),
        (system.DISK, "disk", "ratio", DISK_RATIO, "the data's disk fills up"),
        (system.LAG_NOW, "eventLoopLag", "s", LAG_SECONDS, "the process is too busy to be prompt"),
    ):
        found += [judged("system", what, value, unit, limits, why=why) for value in gauge.values.values()]
    return found
