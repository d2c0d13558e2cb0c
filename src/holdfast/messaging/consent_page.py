"""`/consent/{token}`: the page at which a person consents again. No cookies, no scripts, nothing of it is kept.

What changes anything needs a POST: mail scanners and link previews open every link that they see.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.consent import links
from holdfast.consent.links import Evidence
from holdfast.consent.links_store import Offer
from holdfast.consent.model import RefusedError, UnknownError
from holdfast.db.pool import AWAY, Connection, Pool
from holdfast.messaging import inbound_store as store
from holdfast.messaging import news
from holdfast.messaging.consent_words import Words, preferred
from holdfast.messaging.news import Told

log = structlog.get_logger()

T = TypeVar("T")
MOST_AT_ONCE = 8
"""Visits at work; more are asked to come again."""
PATIENCE = 5.0
_LONGEST_TOKEN = 100


class BusyError(Exception):
    """Too many visit at once."""


_NOT_NOW: tuple[type[BaseException], ...] = (*AWAY, BusyError)


class ConsentPage:
    """`routes` are the doors."""

    def __init__(self, pool: Pool, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._pool = pool
        self._clock = clock
        self._at_work = 0

    @property
    def routes(self) -> list[Route]:
        return [Route(f"{links.PATH}{{token}}", self.consent_page, methods=["GET", "POST"])]

    async def consent_page(self, request: Request) -> Response:
        words = preferred(request.headers.get("accept-language", ""))
        token = request.path_params["token"][:_LONGEST_TOKEN]
        try:
            if request.method == "POST":
                evidence = Evidence(
                    ip=request.client.host if request.client is not None else "",
                    agent=request.headers.get("user-agent", ""),
                    forwarded=request.headers.get("x-forwarded-for", ""),
                )
                offer = await self._bounded(self._consent(token, evidence))
                return _page(words, 200, words.done, words.done_more, offer)
            found = await self._bounded(links.find(self._pool, token))
        except _NOT_NOW as error:
            log.warning("consent.page_away", error=type(error).__name__)
            return _page(words, 503, words.away, words.away_more)
        except UnknownError:
            found = None
        except RefusedError:
            return _page(words, 410, words.gone, words.gone_more)
        if found is None:
            return _page(words, 404, words.unknown, words.unknown_more)
        if not links.is_good(found, self._clock()):
            return _page(words, 410, words.gone, words.gone_more)
        return _asked(words, found)

    async def _consent(self, token: str, evidence: Evidence) -> Offer:
        """One commit: the consent, what it opens, and that the merchant hears of it. Raises ConsentError."""
        now = self._clock()
        async with self._pool.acquire() as db, db.transaction():
            offer = await links.use(db, token, evidence, now)
            await _tell(db, offer, now)
        return offer

    async def _bounded(self, work: Coroutine[Any, Any, T]) -> T:
        if self._at_work >= MOST_AT_ONCE:
            work.close()  # nobody will wait for it
            raise BusyError
        self._at_work += 1
        try:
            async with asyncio.timeout(PATIENCE):
                return await work
        finally:
            self._at_work -= 1


async def _tell(db: Connection, offer: Offer, now: datetime) -> None:
    face = (await store.faces(db, [offer.merchant_id]))[offer.merchant_id]
    told = Told(
        "consent.granted",
        f"link-{offer.digest.hex()[:32]}",
        face,
        from_=offer.phone or "",
        to="",
        body="",
        media=(),
        at=now,
        purposes=(offer.purpose,),
    )
    await news.announce(db, [told], now)


def _asked(words: Words, offer: Offer) -> Response:
    title = words.ask.format(merchant=offer.merchant)
    number = words.ending.format(end=(offer.phone or "")[-2:])
    return _rendered(
        words, 200, title=title, lines=(), offer=offer, number=number, kind=words.kinds[offer.purpose], refused=False
    )


def _page(words: Words, status: int, title: str, text: str, offer: Offer | None = None) -> Response:
    """A page that says one thing."""
    line = text.format(merchant=offer.merchant) if offer is not None else text
    return _rendered(words, status, title=title, lines=(line,), offer=None, number="", kind="", refused=status >= 400)


def _rendered(words: Words, status: int, **values: object) -> Response:
    body = _templates().get_template("consent.html.j2").render(lang=words.lang, words=words, css=_style(), **values)
    headers = {
        "content-security-policy": _policy(),
        "content-language": words.lang,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-robots-tag": "noindex",
        "vary": "accept-language",
    }
    if status == 503:
        headers["retry-after"] = "60"
    return Response(body, status, headers, media_type="text/html; charset=utf-8")


@cache
def _policy() -> str:
    """Nothing from anywhere but this one style sheet; the form goes to us alone. Source: https://www.w3.org/TR/CSP3/"""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


@cache
def _style() -> str:
    """To the byte what is between the tags, since the policy names its hash."""
    return _templates().get_template("consent.css.j2").render()


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("holdfast.messaging"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
