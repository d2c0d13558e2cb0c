"""The emulated Stripe: a real HTTP server and a real webhook sender, misbehaving on request.

It plays Stripe for drills, tests and measurements: the official SDK reads from it and accepts what it signs.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from holdfast.drills.pacing import YIELD_EVERY, discard, paced
from holdfast.drills.serving import serve
from holdfast.drills.stripe_api import READABLE, ApiSetup, StripeApi
from holdfast.drills.stripe_faults import StripeEmulatorError, StripeFaults
from holdfast.drills.stripe_objects import Json, ObjectMaker
from holdfast.drills.stripe_state import KEPT_EVENTS, Delivery, StripeState
from holdfast.drills.stripe_status import ComponentStatus, Indicator, StatusPage
from holdfast.drills.stripe_stories import StoryClock
from holdfast.drills.stripe_traffic import Mix, Traffic
from holdfast.drills.stripe_webhooks import WebhookEndpoint, WebhookSender

DEFAULT_API_KEY: Final = "sk_test_emulated"

_STORM_SAMPLE: Final = 5_000


class EmulatedStripe:
    """A Stripe of our own: an async context manager that serves while it is open.

    `accounts` are ids of connected accounts, `platform` the id of the platform's own. `seed` fixes all randomness.
    `speed` is simulated seconds per real second for retries; everything else, `rate_limit` (requests/s) and
    `webhook_timeout` (seconds) included, is in real time. `clock` gives Unix time. `faults` may be replaced at any
    moment. StripeEmulatorError when it is set up or used wrongly.
    """

    def __init__(
        self,
        *,
        accounts: Sequence[str] = (),
        platform: str = "acct_1EmulatedPlatform",
        api_keys: Sequence[str] = (DEFAULT_API_KEY,),
        livemode: bool = False,
        seed: int = 0,
        speed: float = 1.0,
        rate_limit: float | None = None,
        webhook_timeout: float = 10.0,
        webhook_concurrency: int = 64,
        max_events: int = KEPT_EVENTS,
        faults: StripeFaults | None = None,
        clock: Callable[[], float] = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.faults = faults or StripeFaults()
        self.maker = ObjectMaker(random.Random(seed), livemode=livemode)  # noqa: S311 - repeatable, not secret
        self.base_rate = 0.0
        self._rng = random.Random(seed + 1)  # noqa: S311 - faults must not change the traffic of a seed
        self._clock = clock
        self._state = StripeState(max_events)
        self._status = StatusPage()
        self._platform = platform
        self._accounts: dict[str, Json] = {}
        self._endpoints: dict[str, WebhookEndpoint] = {}
        for account in (platform, *accounts):
            self.add_account(account)
        self._sender = WebhookSender(
            self._state,
            self._endpoints,
            clock=clock,
            speed=speed,
            timeout=webhook_timeout,
            concurrency=webhook_concurrency,
        )
        setup = ApiSetup(
            state=self._state,
            status=self._status,
            accounts=self._accounts,
            endpoints=self._endpoints,
            platform=platform,
            livemode=livemode,
            api_keys=frozenset(api_keys),
            clock=clock,
            faults=lambda: self.faults,
            rate_limit=rate_limit,
        )
        self._api = StripeApi(setup, random.Random(seed + 2))  # noqa: S311 - as above
        self._host, self._port = host, port
        self._stack = AsyncExitStack()
        self._url: str | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._url = await serve(stack, self._api.application(), self._host, self._port)
            await stack.enter_async_context(self._sender)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """The base address of the API, without a path. StripeEmulatorError when not open."""
        if self._url is None:
            raise StripeEmulatorError("the emulated Stripe has no address yet: use it with `async with`")
        return self._url

    @property
    def status_url(self) -> str:
        return f"{self.url}/api/v2/summary.json"

    @property
    def accounts(self) -> tuple[str, ...]:
        """Ids of the connected accounts."""
        return tuple(account for account in self._accounts if account != self._platform)

    def add_account(self, account: str) -> None:
        """Connect an account."""
        self._accounts[account] = self.maker.account(int(self._clock()), account)

    def remove_account(self, account: str) -> None:
        """An account revokes its access: whoever acts on it is refused from now on."""
        del self._accounts[account]

    def add_endpoint(
        self, url: str, secrets: Sequence[str], *, connect: bool = False, enabled_events: Sequence[str] = ("*",)
    ) -> WebhookEndpoint:
        """Send webhooks to `url` from now on: those of connected accounts if `connect`, else the platform's own."""
        endpoint = WebhookEndpoint(
            self.maker.new_id("webhook_endpoint"), url, tuple(secrets), connect, enabled_events=tuple(enabled_events)
        )
        self.set_endpoint(endpoint)
        return endpoint

    def set_endpoint(self, endpoint: WebhookEndpoint) -> None:
        """Add an endpoint for events emitted from now on, or replace the one with its id for every try from now on."""
        self._endpoints[endpoint.id] = endpoint

    def set_status(self, indicator: Indicator, components: Mapping[str, ComponentStatus] | None = None) -> None:
        """Change what the status page says."""
        self._status.update(indicator, components or {}, self._clock())

    def keep_object(self, found: Json, account: str | None = None) -> None:
        """Make an object readable through the API that no snapshot event carries."""
        self._state.keep_object(found, account, int(self._clock()))

    def event(self, event_id: str) -> Json | None:
        """An event as the API would show it now, whatever its account; `None` if it is not kept."""
        return self._state.event(event_id)

    @property
    def event_ids(self) -> tuple[str, ...]:
        """All events that are kept, the oldest first."""
        return self._state.event_ids

    def deliveries(self, event_id: str) -> Mapping[str, Delivery]:
        """How sending an event went, by endpoint id. StripeEmulatorError for an unknown event."""
        return self._state.deliveries(event_id)

    async def emit(self, events: Iterable[Json]) -> list[str]:
        """Record events, start sending their webhooks, and return the events' ids without waiting for answers."""
        ids = []
        for event in events:
            ids.append(self._emit(event))
            if len(ids) % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        return ids

    async def play(self, events: Iterable[Json]) -> list[str]:
        """Emit events and wait until each webhook was acknowledged or, after all its retries, given up."""
        ids = await self.emit(events)
        await self.settled()
        return ids

    async def settled(self) -> None:
        """Wait until every webhook that was begun is acknowledged or given up."""
        await self._sender.settled()

    def resend(self, event_id: str) -> None:
        """Send an event once more to its endpoints, as the Dashboard's "Resend" does, delivered or not."""
        for delivery in self._state.deliveries(event_id).values():
            self._sender.send_again(delivery)

    def traffic(self, mix: Mix | None = None, clock: StoryClock | None = None) -> Traffic:
        """Endless mixed events of the connected accounts, stamped with the present time unless `clock` says else."""
        return Traffic(self.maker, clock or (lambda _elapsed: int(self._clock())), self.accounts, mix)

    async def burst(self, n: int, mix: Mix | None = None) -> list[str]:
        """Emit `n` new events as fast as possible."""
        return await self.emit(itertools.islice(self.traffic(mix), n))

    async def run(self, rate_per_s: float, until: Awaitable[object], mix: Mix | None = None) -> int:
        """Emit mixed traffic at random moments, on average `rate_per_s` a second, until `until` is done.

        The pace does not wait for answers: a slow receiver gets as much as a fast one. Returns the number of events.
        """
        self.base_rate = rate_per_s
        traffic = self.traffic(mix)
        try:
            return await self._paced(rate_per_s, until, lambda: self._emit(next(traffic)))
        finally:
            self.base_rate = 0.0

    async def storm(self, factor: float, until: Awaitable[object], base_rate: float | None = None) -> int:
        """Redeliver events that were acknowledged before, at `factor` times the base rate, until `until` is done.

        The base rate (events/s) is that of `run` unless given. Returns the number of events sent again.
        StripeEmulatorError if there is no base rate, or nothing was acknowledged yet.
        """
        rate = factor * (self.base_rate if base_rate is None else base_rate)
        acknowledged = self._state.delivered(_STORM_SAMPLE)
        if rate <= 0 or not acknowledged:
            discard(until)
            wrong = "no event was acknowledged yet" if rate > 0 else f"its rate would be {rate}/s: `run` or give a rate"
            raise StripeEmulatorError(f"a storm cannot start: {wrong}")
        self._rng.shuffle(acknowledged)
        again = itertools.cycle(acknowledged)
        return await self._paced(rate, until, lambda: self._redeliver(next(again)))

    def _redeliver(self, event_id: str) -> None:
        if self._state.event(event_id) is None:  # evicted since the storm began
            return
        for delivery in self._state.deliveries(event_id).values():
            if delivery.state == "delivered":
                self._sender.send_again(delivery)

    async def _paced(self, rate_per_s: float, until: Awaitable[object], act: Callable[[], object]) -> int:
        if rate_per_s <= 0:
            discard(until)
            raise StripeEmulatorError(f"a rate is events a second: give more than 0, not {rate_per_s}")
        return await paced(rate_per_s, until, act, self._rng)

    def _emit(self, event: Json) -> str:
        endpoints = [endpoint.id for endpoint in self._endpoints.values() if endpoint.takes(event)]
        deliveries = self._state.record(event, endpoints)
        if event["object"] == "v2.core.event":
            self._keep_related_object(event)
        for delivery in deliveries:
            self._send(delivery, livemode=event["livemode"])
        event_id: str = event["id"]
        return event_id

    def _keep_related_object(self, thin: Json) -> None:
        """Make what a thin event points at readable: receivers are meant to fetch it, and no snapshot may have come."""
        related, account = thin.get("related_object"), thin["context"]
        if related is None or related["type"] not in READABLE:
            return
        if self._state.find_object(related["type"], related["id"], account) is None:
            maker = ObjectMaker(self._rng, livemode=thin["livemode"])
            found = maker.make(related["type"], int(self._clock()), id=related["id"])
            self._state.keep_object(found, account, 0)  # any snapshot knows better

    def _send(self, delivery: Delivery, *, livemode: bool) -> None:
        faults, chance = self.faults, self._rng.random
        if chance() < faults.gap:
            return
        self._sender.deliver(delivery, livemode=livemode, delay=chance() * faults.reorder_window)
        if chance() < faults.duplicate:
            self._sender.send_again(delivery, delay=chance() * faults.reorder_window)
