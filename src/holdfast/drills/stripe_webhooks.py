"""How the emulated Stripe delivers webhooks: signing, sending, retrying on a compressed clock.

Sources: https://docs.stripe.com/webhooks (signatures, retries, what counts as success) and
https://docs.stripe.com/event-destinations (thin events).
"""

import asyncio
import hashlib
import heapq
import hmac
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Self

import aiohttp
import msgspec

from holdfast.drills.stripe_faults import StripeEmulatorError
from holdfast.drills.stripe_objects import Json
from holdfast.drills.stripe_state import Delivery, StripeState

USER_AGENT: Final = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"

_HOUR: Final = 3_600.0
# Stripe publishes "exponential back off for up to three days" in live mode and "three times over the course of a few
# hours" in a sandbox; the intervals are those commonly observed.
_FIRST_WAITS: Final = (300.0, 1_800.0, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR)
_LATER_WAIT: Final = 12 * _HOUR
_LIVE_SPAN: Final = 72 * _HOUR
_SANDBOX_RETRIES: Final = 3


def sign(payload: bytes, secret: str, at: int) -> str:
    """The `Stripe-Signature` header of a raw body, signed with one `whsec_…` secret at Unix second `at`."""
    return _signature_header(payload, (secret,), at)


def retry_waits(*, livemode: bool) -> Iterator[float]:
    """Simulated seconds from each failed try to the next; ends when Stripe gives up."""
    spent = 0.0
    waits = itertools.chain(_FIRST_WAITS, itertools.repeat(_LATER_WAIT))
    for retry, wait in enumerate(waits):
        spent += wait
        if spent > _LIVE_SPAN or (not livemode and retry == _SANDBOX_RETRIES):
            return
        yield wait


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where webhooks go. Several `secrets` are in force while one is being rolled: each signs every webhook.

    `connect` endpoints receive the events of connected accounts, the others those of the platform itself.
    `payloads` names the event generations it takes: `"snapshot"` (v1), `"thin"` (v2) or both. `enabled_events` are
    exact types, or `*` for all. Nothing is sent to one that is not `enabled`.
    """

    id: str
    url: str
    secrets: tuple[str, ...]
    connect: bool = False
    payloads: frozenset[Literal["snapshot", "thin"]] = frozenset({"snapshot", "thin"})
    enabled_events: tuple[str, ...] = ("*",)
    enabled: bool = True

    def __post_init__(self) -> None:
        if not self.secrets:
            raise StripeEmulatorError(f"the endpoint {self.url} needs at least one signing secret")

    def takes(self, event: Json) -> bool:
        thin = event["object"] == "v2.core.event"
        account = event["context"] if thin else event.get("account")
        wanted = "*" in self.enabled_events or event["type"] in self.enabled_events
        payload = ("thin" if thin else "snapshot") in self.payloads
        return self.enabled and wanted and payload and self.connect == (account is not None)


@dataclass(slots=True)
class _Try:
    """One webhook to send. `waits` is `None` for an extra copy, which is never retried."""

    delivery: Delivery
    waits: Iterator[float] | None = None
    failed: bool = False


@dataclass(order=True, slots=True)
class _Due:
    at: float
    number: int
    what: _Try = field(compare=False)


class WebhookSender:
    """Sends webhooks with at most `concurrency` requests in flight; an async context manager.

    A try succeeds if any 2xx arrives within `timeout` real seconds; redirects and everything else fail and are retried,
    `retry_waits` divided by `speed`. `endpoints` is looked up by id at every try, so retries go to the present address
    and carry the present secrets. `clock` gives the Unix time that signatures carry, fresh for each try.
    """

    def __init__(
        self,
        state: StripeState,
        endpoints: Mapping[str, WebhookEndpoint],
        *,
        clock: Callable[[], float],
        speed: float = 1.0,
        timeout: float = 10.0,
        concurrency: int = 64,
    ) -> None:
        if speed <= 0:
            raise StripeEmulatorError(f"speed is simulated seconds per real second: give more than 0, not {speed}")
        self._state = state
        self._endpoints = endpoints
        self._clock = clock
        self._speed = speed
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._concurrency = concurrency
        self._later: list[_Due] = []
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._ready: asyncio.Queue[_Try] = asyncio.Queue()
        self._open = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._concurrency)
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*; q=0.5, application/xml"}
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, headers=headers)
        loops = [self._dispatch(), *(self._work(self._session) for _ in range(self._concurrency))]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def deliver(self, delivery: Delivery, *, livemode: bool, delay: float = 0.0) -> None:
        """Send an event for the first time after `delay` real seconds, and retry until Stripe would give up."""
        self._schedule(_Try(delivery, retry_waits(livemode=livemode)), delay)

    def send_again(self, delivery: Delivery, delay: float = 0.0) -> None:
        """Send one more copy, without retries, whether or not the event was acknowledged before."""
        self._schedule(_Try(delivery), delay)

    async def settled(self) -> None:
        """Wait until every webhook was acknowledged or given up."""
        await self._settled.wait()

    def _schedule(self, what: _Try, delay: float) -> None:
        self._open += 1
        self._settled.clear()
        if delay <= 0:
            self._ready.put_nowait(what)
            return
        at = asyncio.get_running_loop().time() + delay
        heapq.heappush(self._later, _Due(at, next(self._numbers), what))
        self._wake.set()

    async def _dispatch(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            self._wake.clear()
            while self._later and self._later[0].at <= now():
                self._ready.put_nowait(heapq.heappop(self._later).what)
            try:
                async with asyncio.timeout_at(self._later[0].at if self._later else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while True:
            what = await self._ready.get()
            try:
                await self._attempt(session, what)
            finally:
                self._open -= 1
                if self._open == 0:
                    self._settled.set()

    async def _attempt(self, session: aiohttp.ClientSession, what: _Try) -> None:
        delivery = what.delivery
        # A copy that was sent by hand may have been acknowledged before a retry came due.
        overtaken = what.failed and delivery.state == "delivered"
        event = None if overtaken else self._state.event(delivery.event_id)
        if event is None:
            return
        body, endpoint = render(event), self._endpoints[delivery.endpoint_id]
        header = _signature_header(body, endpoint.secrets, int(self._clock()))
        headers = {"Stripe-Signature": header, "Content-Type": "application/json; charset=utf-8"}
        delivery.attempts += 1
        try:
            async with session.post(endpoint.url, data=body, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                delivery.last_status, delivery.last_error = answer.status, None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            delivery.last_status, delivery.last_error = None, str(error) or type(error).__name__
        self._judge(what)

    def _judge(self, what: _Try) -> None:
        delivery = what.delivery
        if delivery.last_status is not None and 200 <= delivery.last_status < 300:
            delivery.state = "delivered"
            return
        what.failed = True
        if what.waits is None or delivery.state == "delivered":
            return
        wait = next(what.waits, None)
        if wait is None:
            delivery.state = "undelivered"
        else:
            self._schedule(what, wait / self._speed)


def render(event: Json) -> bytes:
    """The body of a webhook: indented by two spaces, as Stripe sends it. Thin events go without their `data`."""
    if event["object"] == "v2.core.event":
        event = {name: part for name, part in event.items() if name != "data"}
    return msgspec.json.format(msgspec.json.encode(event), indent=2)


def _signature_header(payload: bytes, secrets: tuple[str, ...], at: int) -> str:
    signed = f"{at}.".encode() + payload
    digests = (hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets)
    return f"t={at}," + ",".join(f"v1={digest}" for digest in digests)
