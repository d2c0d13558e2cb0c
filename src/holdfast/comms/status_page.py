"""The doors of the public status page: no login, no cookies, no scripts; bytes from memory.

What changes anything needs a POST: mail scanners open every link that they see.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import parse_qs

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast import problems
from holdfast.comms import subscribing
from holdfast.comms.networks import NetworkLimit
from holdfast.comms.status_board import ATOM, HTML, JSON, Page, StatusBoard
from holdfast.comms.status_html import policy
from holdfast.config import Settings
from holdfast.db.pool import AWAY, Pool

log = structlog.get_logger()

LARGEST_FORM = 2048
MOST_AT_ONCE = 8
"""Subscriptions at work; more are asked to come later."""
MOST_OF_NETWORK = 20
"""Subscriptions that one network may ask for in the time in which all together may ask for `subscribing.MOST`."""
PATIENCE = 5.0
EVEN = 0.3
"""Seconds that an answer to a subscription takes at least, whatever was done: its time says nothing."""
_CACHED = "public, max-age=5, stale-while-revalidate=30, stale-if-error=86400"
_JSON_PATHS = ("summary.json", "status.json", "components.json", "incidents.json", "incidents/unresolved.json")
_ASKED = "If {} is an address that gets mail, there is a message in it now. Follow the link in it within 24 hours."
_SOON = timedelta(seconds=5)
_TOO_MANY = "Too many people have subscribed within the last hour. Nothing was sent: please try again in an hour."
_AWAY = "This cannot be done right now. Please try again in a few minutes."
Endpoint = Callable[[Request], Awaitable[Response]]


class StatusPage:
    """`routes` are the doors."""

    def __init__(self, settings: Settings, pool: Pool, board: StatusBoard) -> None:
        self._settings = settings
        self._pool = pool
        self._board = board
        self._at_work = 0
        self._networks = NetworkLimit(MOST_OF_NETWORK, subscribing.WINDOW)

    @property
    def routes(self) -> list[Route]:
        routes = [
            Route("/status", self.status_page),
            Route("/status/history", self.status_page),
            Route("/status/feed.atom", self.status_page),
            Route("/status/incidents/{number}", self.status_incident),
            Route("/status/unsubscribe/{token}", self.status_unsubscribe, methods=["GET", "POST"]),
            *(Route(f"/api/v2/{path}", self.status_json, methods=["GET", "OPTIONS"]) for path in _JSON_PATHS),
        ]
        if subscribing.is_on(self._settings):
            routes += [
                Route("/status/subscribe", self.status_subscribe, methods=["POST"]),
                Route("/status/confirm/{token}", self.status_confirm, methods=["GET", "POST"]),
            ]
        return routes

    async def status_page(self, request: Request) -> Response:
        page = self._board.page(request.url.path)
        if page is None:
            return self._say(503, "Not known yet", "The status is being read. Please try again in a moment.")
        return _sent(request, page)

    async def status_incident(self, request: Request) -> Response:
        if not self._board.is_known:
            return await self.status_page(request)
        number = request.path_params["number"]
        found = (
            self._board.incident(int(number)) if number.isascii() and number.isdecimal() and len(number) < 19 else None
        )
        if found is None:
            return self._say(404, "No such incident", "There is no public incident of this number.")
        return _sent(request, found)

    async def status_json(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            allowed = {"access-control-allow-methods": "GET, HEAD", "access-control-allow-headers": "If-None-Match"}
            return Response(status_code=204, headers=_OPEN | allowed | {"access-control-max-age": "86400"})
        page = self._board.page(request.url.path)
        if page is None:
            body = problems.problem(503, "the status is not known yet; try again in a moment")
            headers = _OPEN | {"retry-after": "5", "cache-control": "no-store"}
            return Response(body, 503, headers, media_type=problems.CONTENT_TYPE.decode())
        return _sent(request, page)

    # Subscriptions

    async def status_subscribe(self, request: Request) -> Response:
        """The answer to a plausible address is the same whatever is known of it, and takes the same time."""
        given = await _field(request, "email")
        if given is None:
            return self._say(413, "Too much", "Only an e-mail address is taken here.")
        address = subscribing.read_address(given)
        if address is None:
            return self._say(400, "Not an e-mail address", "Go back and write an address such as name@example.com.")
        now, asked = datetime.now(UTC), False
        if not self._networks.take(request.client.host if request.client is not None else None, now):
            return self._say(429, "Later, please", _TOO_MANY, again_in=subscribing.WINDOW)

        async def ask() -> None:
            nonlocal asked
            asked = await subscribing.ask(self._pool, self._settings, address, now)

        even = asyncio.ensure_future(asyncio.sleep(EVEN))
        said = await self._done(ask)
        await even
        if said is None and not asked:
            return self._say(503, "Later, please", _TOO_MANY, again_in=subscribing.WINDOW)
        return said or self._say(200, "Look into your mailbox", _ASKED.format(address))

    async def status_confirm(self, request: Request) -> Response:
        token, now = request.path_params["token"], datetime.now(UTC)
        if request.method != "POST":
            text = "Mail about every update of the status will come to your address."
            return self._say(200, "Confirm your subscription", text, button="Confirm")
        confirmed = False

        async def confirm() -> None:
            nonlocal confirmed
            confirmed = await subscribing.confirm(self._pool, token, now)

        said = await self._done(confirm)
        if said is not None:
            return said
        if not confirmed:
            return self._say(410, "This link is not valid any more", "Ask for a new one on the status page.")
        return self._say(200, "You are subscribed", "Every mail has a link to unsubscribe.")

    async def status_unsubscribe(self, request: Request) -> Response:
        """A POST is enough, whatever is in it: mail programs send one of their own (RFC 8058)."""
        token = request.path_params["token"]
        if request.method != "POST":
            text = "There will be no more mail about the status to your address."
            return self._say(200, "Unsubscribe", text, button="Unsubscribe")
        said = await self._done(lambda: subscribing.unsubscribe(self._pool, token, datetime.now(UTC)))
        return said or self._say(200, "You are not subscribed", "No mail about the status goes to you any more.")

    async def _done(self, work: Callable[[], Awaitable[object]]) -> Response | None:
        """Do it, within bounds; an answer if it cannot be done now."""
        if self._at_work >= MOST_AT_ONCE:
            return self._say(503, "Not now", _AWAY)
        self._at_work += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await work()
        except AWAY as error:
            log.warning("status.subscription_failed", error=type(error).__name__)
            return self._say(503, "Not now", _AWAY)
        finally:
            self._at_work -= 1
        return None

    def _say(
        self,
        status: int,
        title: str,
        text: str,
        *,
        button: str | None = None,
        again_in: timedelta = _SOON,
    ) -> Response:
        body = self._board.html.message(self._board.about, title, text, button=button, refused=status >= 400)
        headers = _GUARDED | {"cache-control": "no-store"}
        if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
            headers["retry-after"] = f"{again_in.total_seconds():.0f}"
        return Response(body, status, headers, media_type=HTML)


_OPEN = {"access-control-allow-origin": "*", "x-content-type-options": "nosniff"}
_GUARDED = {
    "content-security-policy": policy(),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_HEADERS = {
    kind: (_GUARDED if kind == HTML else _OPEN) | {"cache-control": _CACHED, "vary": "accept-encoding"}
    for kind in (HTML, JSON, ATOM)
}


def _sent(request: Request, page: Page) -> Response:
    headers = _HEADERS[page.kind] | {"etag": page.tag}
    known = request.headers.get("if-none-match")
    if known is not None and _matches(known, page.tag):
        return Response(status_code=304, headers=headers)
    body = page.body
    if _takes_gzip(request.headers.get("accept-encoding", "")):
        body = page.zipped
        headers["content-encoding"] = "gzip"
    return Response(body, headers=headers, media_type=page.kind)


def _matches(known: str, tag: str) -> bool:
    """The weak comparison. Source: RFC 9110 section 13.1.2"""
    plain = tag.removeprefix("W/")
    return known.strip() == "*" or any(one.strip().removeprefix("W/") == plain for one in known.split(","))


def _takes_gzip(accepted: str) -> bool:
    for coding in accepted.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


async def _field(request: Request, name: str) -> str | None:
    """A field of a posted form, "" if it is not in it; None if the form is larger than any should be."""
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_FORM:
                return None
    except ClientDisconnect:
        return ""
    try:
        return parse_qs(body.decode("ascii"), max_num_fields=8, errors="strict").get(name, [""])[0]
    except ValueError:  # not a form, or too many fields
        return ""
