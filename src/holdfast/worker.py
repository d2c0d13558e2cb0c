"""The worker process: routes events and sends deliveries. As many as wanted, on as many machines as wanted."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial

import structlog

from holdfast import retention
from holdfast.config import Settings
from holdfast.db.notifications import Listener, Notifier
from holdfast.delivery.backoff import Backoff
from holdfast.delivery.http import HttpSender
from holdfast.delivery.mail import MailSender
from holdfast.delivery.service import Deliverer, Limits, Sender
from holdfast.loops import repeat
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import Kind
from holdfast.payments.router import StripeWebhookRouter
from holdfast.queue.channels import DELIVER, ROUTE
from holdfast.queue.model import ClaimPolicy, Stage
from holdfast.queue.service import Claimer
from holdfast.service import Database, background, common_loops, pool, settle_memory
from holdfast.signals import rollup
from holdfast.signals.system import System

log = structlog.get_logger()

DRAIN = 6.0
"""Seconds that tries under way get when the process stops."""
POLL = 1.0
"""Seconds between looks at the queue when nobody says that there is work."""


async def work(settings: Settings, database: Database, stop: asyncio.Event) -> int:
    """Route and deliver until `stop` is set; then finish or give back what is in hand. Raises MigrationError."""
    if not await database.bring_up(stop):
        return 0
    routers = settings.router_concurrency
    async with AsyncExitStack() as stack:
        # Routing is done again after a crash of the server, as a whole: its commits need not wait for the disk.
        route_pool = await stack.enter_async_context(
            pool(database.url, size=max(1, 2 * routers), name="router", hot=True, asynchronous_commit=True)
        )
        # A claim that is committed to disk puts the planning before it there as well: what is sent was never undone.
        deliver_pool = await stack.enter_async_context(pool(database.url, size=4, name="delivery", hot=True))
        general = await stack.enter_async_context(pool(database.url, size=3, name="worker"))
        prepared = asyncio.Event()
        prepared.set()
        pools = {"router": route_pool, "delivery": deliver_pool, "general": general}
        system = System("worker", settings.data_dir, pools)
        await stack.enter_async_context(common_loops(database, general, system, prepared, stop))
        senders = await _senders(settings, stack)
        stripe = None
        if settings.stripe_api_key is not None:
            from holdfast.payments.stripe import StripeReader  # the SDK takes half a second to import

            key = settings.stripe_api_key.get_secret_value()
            stripe = await stack.enter_async_context(StripeReader(key, settings.stripe_api_url))

        catalogue = Catalogue()
        to_deliver, never = asyncio.Event(), asyncio.Event()
        others = Notifier(general, DELIVER)

        def planned() -> None:
            to_deliver.set()
            others.notify("")

        async def rolled_up() -> None:
            await rollup.roll_up(general, datetime.now(UTC))

        deliverer = Deliverer(deliver_pool, catalogue, senders, limits=_limits(settings), backoff=_backoff(settings))
        deliverer.progress = to_deliver
        routing = [
            StripeWebhookRouter(
                route_pool, Claimer(route_pool, Stage.ROUTE, ClaimPolicy()), catalogue, stripe=stripe, planned=planned
            )
            for _ in range(routers)
        ]
        wakes = [asyncio.Event() for _ in range(routers)]

        def arrived(_payload: str) -> None:
            for wake in wakes:
                wake.set()

        listener = Listener(
            database.url, {ROUTE: arrived, DELIVER: lambda _: to_deliver.set()}, name="holdfast listener"
        )
        log.info("worker.started", routers=routers, deliveries=settings.delivery_concurrency)
        settle_memory()
        async with background(
            others.run(),
            listener.run(),
            repeat("settle_deliveries", deliverer.settle, every=POLL, stop=never, wake=deliverer.ended),
            repeat("renew_leases", deliverer.renew, every=5.0, stop=stop),
            repeat(
                "retention",
                partial(retention.prune, general, settings.retention_days),
                every=retention.EVERY,
                stop=stop,
            ),
            repeat("roll_up_signals", rolled_up, every=rollup.EVERY, stop=stop),
            stop=stop,
        ):
            await asyncio.gather(
                *(
                    repeat(f"router_{number}", router.tick, every=POLL, stop=stop, wake=wake, pause=0.003)
                    for number, (router, wake) in enumerate(zip(routing, wakes, strict=True), 1)
                ),
                repeat("deliverer", deliverer.tick, every=POLL, stop=stop, wake=to_deliver, pause=0.005),
            )
            log.info("worker.draining", in_flight=deliverer.in_flight)
            await deliverer.drain(DRAIN)
            for router in routing:
                await router.finish()
    log.info("worker.stopped")
    return 0


async def _senders(settings: Settings, stack: AsyncExitStack) -> dict[Kind, Sender]:
    http = await stack.enter_async_context(HttpSender(settings.networks))
    senders: dict[Kind, Sender] = {"webhook": http, "application": http}
    if settings.smtp_url is not None:
        url = settings.smtp_url.get_secret_value()
        senders["email"] = await stack.enter_async_context(MailSender(url, settings.mail_from))
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
