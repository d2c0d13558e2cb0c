"""The worker process: routes events, sends deliveries and texts. As many as wanted, on as many machines as wanted."""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog

from holdfast import retention
from holdfast.complaints import ticks as complaints
from holdfast.config import Settings
from holdfast.db.notifications import Listener, Notifier
from holdfast.db.pool import AWAY, Pool
from holdfast.delivery.backoff import Backoff
from holdfast.delivery.http import HttpSender
from holdfast.delivery.limiter import Limiter
from holdfast.delivery.mail import MailSender
from holdfast.delivery.service import Deliverer, Limits, Sender
from holdfast.delivery.team import TeamSender
from holdfast.levers import driver
from holdfast.levers.model import ROUTER_CONCURRENCY
from holdfast.levers.service import CHANNEL, EVERY, Levers, expire
from holdfast.loops import repeat
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import Kind
from holdfast.messaging.sender import TextSender
from holdfast.payments import signals as routing
from holdfast.payments.router import StripeWebhookRouter
from holdfast.queue.channels import DELIVER, ROUTE, SEND
from holdfast.queue.model import ClaimPolicy, Stage
from holdfast.queue.service import Claimer
from holdfast.service import Database, background, common_loops, pool, resize, settle_memory
from holdfast.signals import rollup
from holdfast.signals.system import System
from holdfast.text_watch import TextWatch
from holdfast.twilio import store as twilio_accounts
from holdfast.twilio.client import TwilioClient
from holdfast.voice import returning

if TYPE_CHECKING:
    from holdfast.payments.stripe import StripeReader

log = structlog.get_logger()

DRAIN = 6.0
"""Seconds from the word to stop that what is under way gets; the process itself gets `service.ENDING`."""
ADAPTS = True
"""Whether the number of routers at work follows how the store takes it, below the lever."""
FULL = 200
"""Events in a batch from which on its time says how busy the store is."""
ACCOUNTS_EVERY = 60.0
"""Seconds between looks at Twilio's subaccounts."""
POLL = 1.0
"""Seconds between looks at the queue when nobody says that there is work."""


async def work(settings: Settings, database: Database, stop: asyncio.Event) -> int:
    """Route and deliver until `stop` is set; then finish or give back what is in hand. Raises MigrationError."""
    if not await database.bring_up(stop):
        return 0
    levers = Levers(routers=settings.router_concurrency, deliveries=settings.delivery_concurrency)

    def size(name: str) -> int:
        return levers.pool_size(f"worker/{name}")

    async with AsyncExitStack() as stack:
        # Routing is done again after a crash of the server, as a whole: its commits need not wait for the disk.
        route_pool = await stack.enter_async_context(
            pool(database.url, size=size("router"), name="router", hot=True, asynchronous_commit=True)
        )
        # A claim that is committed to disk puts the planning before it there as well: what is sent was never undone.
        deliver_pool = await stack.enter_async_context(
            pool(database.url, size=size("delivery"), name="delivery", hot=True)
        )
        general = await stack.enter_async_context(pool(database.url, size=size("general"), name="worker"))
        prepared = asyncio.Event()
        prepared.set()
        pools = {"router": route_pool, "delivery": deliver_pool, "general": general}
        system = System("worker", settings.data_dir, pools)
        await stack.enter_async_context(common_loops(database, general, system, prepared, stop))
        senders = await _senders(settings, stack)
        texts = await _texts(settings, deliver_pool, levers, stack)
        stripe = await _stripe(settings, stack)
        catalogue = Catalogue()
        to_deliver, never = asyncio.Event(), asyncio.Event()
        others = Notifier(general, DELIVER)

        def planned() -> None:
            to_deliver.set()
            others.notify("")

        deliverer = Deliverer(
            deliver_pool, catalogue, senders, limits=_limits(settings), backoff=_backoff(settings), levers=levers
        )
        deliverer.progress = to_deliver

        def router(number: int) -> StripeWebhookRouter:
            claimer = Claimer(route_pool, Stage.ROUTE, ClaimPolicy(), lambda: levers.rules)
            return StripeWebhookRouter(
                route_pool, claimer, catalogue, number=number, stripe=stripe, planned=planned, levers=levers
            )

        routers = _Routers([router(number) for number in range(ROUTER_CONCURRENCY.high)], levers)
        turned = asyncio.Event()

        async def heed() -> None:
            before = levers.snapshot
            await levers.refresh(general)
            await resize(pools, "worker", levers)
            if levers.snapshot is not before:
                to_deliver.set()
                routers.wake()
                texts.wake()

        channels = {
            ROUTE: lambda _: routers.wake(),
            DELIVER: lambda _: to_deliver.set(),
            SEND: lambda _: texts.wake(),
            CHANNEL: lambda _: turned.set(),
        }
        listener = Listener(database.url, channels, name="holdfast listener")
        with suppress(*AWAY):  # then within a second of its being back
            await heed()
        log.info("worker.started", routers=levers.routers, deliveries=levers.deliveries)
        settle_memory()
        async with background(
            others.run(),
            listener.run(),
            repeat("settle_deliveries", deliverer.settle, every=POLL, stop=never, wake=deliverer.ended),
            texts.beside(never),
            repeat("heed_levers", heed, every=EVERY, stop=stop, wake=turned),
            repeat("expire_levers", partial(expire, general), every=EVERY, stop=stop),
            repeat(
                "drive_ramps",
                partial(driver.drive, general, settings, of_line=returning.failing),
                every=driver.EVERY,
                stop=stop,
            ),
            repeat("renew_leases", deliverer.renew, every=5.0, stop=stop),
            repeat(
                "retention",
                partial(retention.prune, general, settings.retention_days),
                every=retention.EVERY,
                stop=stop,
            ),
            *complaints.loops(general, settings, stop),
            repeat("roll_up_signals", partial(rollup.roll_up, general), every=rollup.EVERY, stop=stop),
            *(await stack.enter_async_context(TextWatch(settings, general, database.url))).loops(stop),
            stop=stop,
        ):
            taking = asyncio.gather(
                *routers.loops(stop),
                repeat("deliverer", deliverer.tick, every=POLL, stop=stop, wake=to_deliver, pause=0.005),
                texts.sending(stop),
            )
            await _until(stop, taking)
            log.info("worker.draining", in_flight=deliverer.in_flight)
            left = await _left_of(DRAIN, taking)
            await asyncio.gather(deliverer.drain(left), texts.drain(left))
            await routers.finish()
    log.info("worker.stopped")
    return 0


async def _until(stop: asyncio.Event, taking: "asyncio.Future[list[None]]") -> None:
    """Until told to stop; what ends before that has died, and is raised where it is awaited."""
    taking.add_done_callback(lambda _: stop.set())
    await stop.wait()


async def _left_of(patience: float, ending: Awaitable[object]) -> float:
    """What is left of the patience once something has ended."""
    began = time.monotonic()
    await ending
    return max(0.0, patience - (time.monotonic() - began))


class _Routers:
    """As many routers as a lever may ask for; those above what it asks for now do nothing.

    Below the lever it adapts: when full batches take much longer than the best of them did, or fail, the store has
    more to do than it can, and fewer at once get through faster.
    """

    def __init__(self, routers: list[StripeWebhookRouter], levers: Levers) -> None:
        self._routers = routers
        self._levers = levers
        self._limiter = Limiter(max(1, levers.routers))
        self._wakes = [asyncio.Event() for _ in routers]

    @property
    def allowed(self) -> int:
        """How many route at the same time now."""
        wanted = self._levers.routers
        return min(wanted, int(self._limiter.limit)) if ADAPTS else wanted

    def wake(self) -> None:
        for wake in self._wakes[: self.allowed]:
            wake.set()

    def loops(self, stop: asyncio.Event) -> list[Awaitable[None]]:
        return [
            repeat(f"router_{number + 1}", partial(self._tick, number), every=POLL, stop=stop, wake=wake, pause=0.003)
            for number, wake in enumerate(self._wakes)
        ]

    async def finish(self) -> None:
        for router in self._routers:
            await router.finish()

    async def _tick(self, number: int) -> int:
        self._limiter.ceiling = max(1, self._levers.routers)
        if number >= self.allowed and not self._routers[number].holds_work:
            return 0
        began = time.monotonic()
        self._limiter.acquire()
        try:
            routed = await self._routers[number].tick()
        except AWAY:
            now = time.monotonic()
            self._limiter.release(now - began, ok=False, now=now)
            raise
        except BaseException:
            self._limiter.abandon()
            raise
        now = time.monotonic()
        if routed >= FULL:
            self._limiter.release(now - began, ok=True, now=now)
        else:
            self._limiter.abandon()  # a small batch says nothing about what the store can take
        routing.ROUTERS.set(self.allowed)
        return routed


class _Texts:
    """The sending of texts, where Twilio is set up: nothing where it is not, and what is queued waits."""

    def __init__(self, pool: Pool, client: TwilioClient | None, settings: Settings, levers: Levers) -> None:
        """The pool is that of deliveries: a leave to send has to be on disk before anything is sent by it."""
        self._pool = pool
        self._client = client
        self._sender = TextSender(pool, client, settings.public, levers=levers) if client is not None else None

    def wake(self) -> None:
        if self._sender is not None:
            self._sender.progress.set()

    async def sending(self, stop: asyncio.Event) -> None:
        if self._sender is not None:
            wake = self._sender.progress
            await repeat("text_sender", self._sender.tick, every=POLL, stop=stop, wake=wake, pause=0.003)

    async def beside(self, stop: asyncio.Event) -> None:
        """What goes on beside it, and until all is written down."""
        if self._sender is not None:
            await asyncio.gather(
                repeat("settle_texts", self._sender.settle, every=POLL, stop=stop, wake=self._sender.ended),
                repeat("know_accounts", self._know, every=ACCOUNTS_EVERY, stop=stop),
            )

    async def _know(self) -> None:
        """Subaccounts come and their tokens change; until they are known, the main account's token opens them too."""
        assert self._client is not None
        self._client.know(await twilio_accounts.accounts(self._pool))

    async def drain(self, patience: float) -> None:
        if self._sender is not None:
            await self._sender.drain(patience)


async def _stripe(settings: Settings, stack: AsyncExitStack) -> "StripeReader | None":
    if settings.stripe_api_key is None:
        return None
    from holdfast.payments.stripe import StripeReader  # the SDK takes half a second to import

    key = settings.stripe_api_key.get_secret_value()
    return await stack.enter_async_context(StripeReader(key, settings.stripe_api_url))


async def _texts(settings: Settings, pool: Pool, levers: Levers, stack: AsyncExitStack) -> _Texts:
    if settings.twilio_account_sid is None or settings.twilio_auth_token is None:
        log.info("worker.no_texts", reason="HOLDFAST_TWILIO_ACCOUNT_SID and HOLDFAST_TWILIO_AUTH_TOKEN are not set")
        return _Texts(pool, None, settings, levers)
    client = await stack.enter_async_context(TwilioClient.of(settings, tries=2))
    return _Texts(pool, client, settings, levers)


async def _senders(settings: Settings, stack: AsyncExitStack) -> dict[Kind, Sender]:
    http = await stack.enter_async_context(HttpSender(settings.networks))
    senders: dict[Kind, Sender] = {"webhook": http, "application": http, "team": TeamSender(settings.team_channels)}
    if settings.smtp_url is not None:
        url = settings.smtp_url.get_secret_value()
        senders["email"] = senders["contact"] = await stack.enter_async_context(MailSender(url, settings.mail_from))
    return senders


def _limits(settings: Settings) -> Limits:
    return Limits(
        concurrency=settings.delivery_concurrency,
        reserve=max(1, settings.delivery_concurrency // 8),
        per_destination=settings.destination_concurrency,
        timeout=settings.delivery_timeout,
    )


def _backoff(settings: Settings) -> Backoff:
    return Backoff(tries=settings.delivery_attempts)
