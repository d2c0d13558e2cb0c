"""The web process: the providers' front doors, health, metrics and the public status page."""

import asyncio
import errno
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Any, cast

import aiohttp
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from holdfast import __version__, problems
from holdfast.api.door import ApiDoor
from holdfast.api.inside import Inside
from holdfast.api.messages import PATH as TEXTS
from holdfast.api.messages import MessagesDoor
from holdfast.comms.status_service import PublicStatus
from holdfast.complaints import signals as complaints_signals
from holdfast.config import Settings
from holdfast.db.notifications import Listener, Notifier
from holdfast.db.pool import Pool
from holdfast.delivery import signals as delivery_signals
from holdfast.desk import open_desk
from holdfast.gateway.calls import Calls
from holdfast.gateway.protocol import BoundedProtocol, HotDoor, raise_file_limit
from holdfast.gateway.receiving import Message, Receive, Scope, Send
from holdfast.gateway.stripe import StripeDoor
from holdfast.gateway.twilio_texts import Texts as Inbound
from holdfast.health.board import Board
from holdfast.health.service import Health
from holdfast.inbox.service import Inbox
from holdfast.levers import driver
from holdfast.levers.service import CHANNEL, EVERY, Levers
from holdfast.loops import repeat
from holdfast.merchants.catalogue import Catalogue
from holdfast.messaging import reviews
from holdfast.messaging.consent_page import ConsentPage
from holdfast.payments import signals as payments_signals
from holdfast.queue import service as queue
from holdfast.queue.channels import ROUTE
from holdfast.runbooks import signals as runbooks_signals
from holdfast.service import Database, after, background, common_loops, pool, resize, say_ready, settle_memory
from holdfast.signals.exposition import CONTENT_TYPE, Exposition
from holdfast.signals.registry import REGISTRY, Distribution
from holdfast.signals.system import System
from holdfast.voice import returning
from holdfast.watch.channels import open_channels
from holdfast.watch.guard import Guard
from holdfast.watch.telling import Teller

log = structlog.get_logger()

DESCRIBED = (complaints_signals, delivery_signals, payments_signals, runbooks_signals)
"""What other processes count: imported so that `/metrics` can say what it is."""

GRACE = 5
"""Seconds that requests under way get when the process stops."""


class ListenError(Exception):
    """The address cannot be listened on; the message says why."""


POOLS_OF_WEB = (
    ("inbox", "inbox"),
    ("general", "web"),
    ("voice", "voice"),
    ("texts", "texts"),
    ("inbound_texts", "inbound texts"),
)
"""The pools, and what their connections are called. What people text waits for nobody who asks to text them."""
HTTP_SECONDS = REGISTRY.add(
    Distribution("http_request_seconds", "Requests other than webhooks, by route and status.", ("route", "status"))
)


class Doors:
    """The ASGI application: paths on the hot path go straight to their endpoint, everything else to Starlette."""

    def __init__(self, hooks: dict[str, Any], rest: Starlette) -> None:
        self._hooks = hooks
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hook = self._hooks.get(scope["path"]) if scope["type"] == "http" else None
        if hook is not None:
            await hook(scope, receive, send)
            return
        await self.serve_rest(scope, receive, send)

    async def serve_rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What is off the hot path, measured by its route."""
        began, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._rest(scope, receive, watched)
        finally:
            route = getattr(scope.get("endpoint"), "__name__", "none")
            HTTP_SECONDS.observe(time.perf_counter() - began, route, str(status))


async def serve(settings: Settings, database: Database, stop: asyncio.Event) -> int:
    """Serve until `stop` is set. Raises ListenError, MigrationError.

    The doors open before the database is there: until then events are answered 503, and Stripe sends them again.
    """
    listening = _listen(settings)
    async with AsyncExitStack() as stack:
        levers = Levers(routers=0, deliveries=0)
        pools = {
            name: await stack.enter_async_context(
                pool(database.url, size=levers.pool_size(f"web/{name}"), name=named, hot=name != "general")
            )
            for name, named in POOLS_OF_WEB
        }
        hot, general = pools["inbox"], pools["general"]
        prepared = asyncio.Event()
        system = System("web", settings.data_dir, pools)
        totals = await stack.enter_async_context(common_loops(database, general, system, prepared, stop))
        notifier = Notifier(hot, ROUTE)
        catalogue = Catalogue()
        box = Inbox(hot, merchant_of=catalogue.merchant_of, stored=lambda: notifier.notify(""))
        secrets = [secret.get_secret_value() for secret in settings.stripe_webhook_secrets]
        if not secrets:
            log.warning("stripe.no_secret", setting="HOLDFAST_STRIPE_WEBHOOK_SECRETS", effect="events are answered 503")
        stripe = StripeDoor(box, secrets)
        calls = stack.enter_context(Calls(settings, pools["voice"], general))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        teller = Teller(open_channels(settings.team_channels, settings.alert_webhooks, session, settings.public))
        guard = Guard(teller)
        health = await stack.enter_async_context(
            Health(
                settings,
                general,
                inbox_is_ready=lambda: box.is_ready,
                watch_silent_for=lambda: guard.silent_for,
                prepared=prepared,
            )
        )
        api, status = ApiDoor(settings, general, open_desk), PublicStatus(settings, general, prepared)
        texts = MessagesDoor(settings, pools["texts"], general, catalogue)
        from_people = Inbound(settings, pools["inbound_texts"], calls.requests)
        hooks = {"/hooks/stripe": stripe, TEXTS: texts, **calls.hooks, **from_people.hooks}
        metrics = Exposition(lambda: totals.exposition(general))
        app = Doors(
            hooks,
            _rest(metrics, box, stripe, health.board, api, inside=Inside(settings), public=_public(status, general)),
        )
        texts.otherwise = app.serve_rest
        server = _Server(_config(app, {b"POST /hooks/stripe HTTP/1.1": stripe}))

        async def refresh() -> None:
            await box.refresh_lanes(hot)  # first, and by the way that events take: it tells whether they can be stored
            await catalogue.refresh(general)

        turned = asyncio.Event()
        heard = {CHANNEL: lambda _: turned.set(), calls.channel: lambda _: calls.changed.set()}
        listener = Listener(database.url, heard, name="holdfast web listener")

        async def heed() -> None:
            await levers.refresh(general)
            await resize(pools, "web", levers)
            calls.heed(levers.snapshot)

        preparing = database.prepare(prepared, stop)
        async with background(
            box.run(),
            notifier.run(),
            api.prepare(),
            after(prepared, listener.run()),
            _stop_serving(server, stop),
            repeat("hang_up", partial(_hang_up, server), every=1.0, stop=stop),
            *health.loops(stop),
            *status.loops(stop),
            *calls.loops(partial(after, prepared), stop),
            *texts.loops(),
            after(prepared, repeat("refresh_catalogue", refresh, every=1.0, stop=stop)),
            after(prepared, repeat("heed_levers", heed, every=EVERY, stop=stop, wake=turned)),
            after(
                prepared,
                repeat(
                    "drive_ramps",
                    partial(driver.drive, general, settings, of_line=returning.failing),
                    every=driver.EVERY,
                    stop=stop,
                ),
            ),
            after(prepared, repeat("count_reviews", lambda: reviews.measure(general), every=5.0, stop=stop)),
            after(prepared, repeat("guard_watch", lambda: guard.tick(general), every=5.0, stop=stop)),
            after(prepared, repeat("tell_alerts", lambda: teller.tick(general), every=2.0, stop=stop)),
            after(
                prepared,
                repeat(
                    "queue_gauges",
                    lambda: queue.measure(general, levers.pauses(catalogue.key_of)),
                    every=5.0,
                    stop=stop,
                ),
            ),
            stop=stop,
        ):
            log.info("web.listening", address=settings.listen)
            settle_memory()
            await server.serve(sockets=[listening])
        stop.set()
        await preparing
    return 0


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        say_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled in `service.run`; uvicorn's way ends the process before it has cleaned up."""
        yield


async def _stop_serving(server: _Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


async def _hang_up(server: _Server) -> None:
    now = asyncio.get_running_loop().time()
    for connection in list(server.server_state.connections):
        if isinstance(connection, BoundedProtocol) and connection.is_late(now):
            connection.hang_up()


def _config(app: Doors, hot: Mapping[bytes, HotDoor]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=cast(type[BoundedProtocol], partial(BoundedProtocol, hot=hot, most_connections=raise_file_limit())),
        proxy_headers=False,  # addresses of senders are not used
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=GRACE,
        limit_concurrency=None,  # it refuses calls as well; see BoundedProtocol
        backlog=2048,
    )


def _listen(settings: Settings) -> socket.socket:
    address = settings.address
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
    except OSError as error:
        listening.close()
        reason = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise ListenError(f"cannot listen on {settings.listen}: {reason}; set HOLDFAST_LISTEN") from None
    listening.set_inheritable(True)
    return listening


def _public(status: PublicStatus, general: Pool) -> list[Route]:
    """Pages for whoever has their address."""
    return [*status.routes, *ConsentPage(general).routes]


def _rest(
    exposition: Exposition,
    box: Inbox,
    stripe: StripeDoor,
    board: Board,
    api: ApiDoor,
    *,
    inside: Inside,
    public: Sequence[Route],
) -> Starlette:
    async def health(_request: Request) -> Response:
        body = f'{{"status":"pass","version":"{__version__}","serviceId":"holdfast"}}'
        return Response(body, media_type="application/health+json")

    async def ready(_request: Request) -> Response:
        # A process without the secrets is warned of and serves: with others in front of it, calls need it all the same.
        is_ready, trouble = box.is_ready, stripe.trouble
        status = "pass" if trouble is None else "warn" if is_ready else "fail"
        said = {"status": status, "output": trouble, "version": __version__, "serviceId": "holdfast"}
        return JSONResponse(
            {name: value for name, value in said.items() if value is not None},
            status_code=200 if is_ready else 503,
            media_type="application/health+json",
        )

    async def report(_request: Request) -> Response:
        status, body = board.report()
        headers = {"cache-control": "no-store"}
        return Response(body, status_code=status, headers=headers, media_type="application/health+json")

    async def metrics(_request: Request) -> Response:
        return Response(await exposition.text(), headers={"content-type": CONTENT_TYPE})

    async def refuse(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = str(error.detail) if isinstance(error, HTTPException) else "an error of ours; see the log"
        return Response(problems.problem(status, detail), status_code=status, media_type=problems.CONTENT_TYPE.decode())

    rest = Starlette(
        routes=[
            Route("/health", health),
            Route("/health/ready", ready),
            Route("/health/report", inside.only(report)),
            Route("/metrics", inside.only(metrics)),
            *public,
            Mount("/v1", api),
        ],
        exception_handlers={HTTPException: refuse, Exception: refuse},
    )
    rest.router.redirect_slashes = False
    return rest
