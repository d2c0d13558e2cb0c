"""Thin events carry no state: what they point at is fetched from Stripe, a few at once, each with its own time-out."""

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec
import structlog

from holdfast.inbox.model import Event
from holdfast.payments.model import Fact, StripeApiError
from holdfast.payments.reading import UnreadableError, concerns_payments, read_object
from holdfast.payments.signals import ERRORS
from holdfast.queue.model import Postponed, Settled

if TYPE_CHECKING:
    from holdfast.payments.stripe import StripeReader

log = structlog.get_logger()

AT_ONCE = 8
"""Objects that one router fetches at the same time."""
IN_HAND = 64
"""Thin events that one router holds: those being fetched, and those in line for it."""
LONGEST = 60.0
"""Seconds after which a thin event that found no room comes back at the latest: Stripe may be faster again by then."""
_FIRST_GUESS = 0.5
_SMOOTHING = 0.2


class Fetcher:
    """Fetches for one router. Whoever calls `fetch` keeps within `IN_HAND`."""

    def __init__(self, stripe: "StripeReader | None", patience: float) -> None:
        """`patience`: the seconds that an event stands in line, and then those that Stripe has for an answer."""
        self._stripe = stripe
        self._patience = patience
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._takes = _FIRST_GUESS  # seconds of a fetch, smoothed
        self._free_at = 0.0

    def unread(self, event: Event) -> Settled | Postponed:
        """What a thin event is as long as nothing was fetched for it: back a little later, if that may help."""
        if _path(event) is None:
            return Settled(event.seq, "unreadable", "the event does not say where its object is")
        if self._stripe is None:
            return Settled(event.seq, "unfetched", "HOLDFAST_STRIPE_API_KEY is not set")
        return self._later(event)

    def can_fetch(self, event: Event) -> bool:
        return self._stripe is not None and is_thin(event) and _path(event) is not None

    async def fetch(self, event: Event) -> Fact | Settled | Postponed | StripeApiError | None:
        """What the object says now; the error, if it cannot be had; or Postponed, if it was not the event's turn."""
        try:
            async with asyncio.timeout(self._patience):
                await self._turn.acquire()
        except TimeoutError:
            return self._later(event)
        began = time.monotonic()
        try:
            return await self._fetch(event)
        finally:
            self._turn.release()
            self._takes += _SMOOTHING * (time.monotonic() - began - self._takes)

    async def _fetch(self, event: Event) -> Fact | Settled | StripeApiError | None:
        path = _path(event)
        assert self._stripe is not None
        assert path is not None
        try:
            async with asyncio.timeout(self._patience):
                body = await self._stripe.fetch(path, event.account)
            return read_object(body, event.event_id, event.created_at)
        except StripeApiError as error:
            return error
        except UnreadableError as error:
            return Settled(event.seq, "unreadable", str(error))
        except TimeoutError:
            return StripeApiError(f"Stripe did not answer within {self._patience:g} s", passing=True)
        except Exception as error:  # what goes wrong with one object concerns its event only
            ERRORS.inc(1, "thin")
            log.exception("router.fetch_failed", event_id=event.event_id)
            return StripeApiError(f"{type(error).__name__}: {error}"[:500], passing=True)

    def _later(self, event: Event) -> Postponed:
        """Not tried, and due when those before it have had their turn, so that no backlog is claimed over and over."""
        now = time.monotonic()
        self._free_at = min(max(self._free_at, now) + self._takes / AT_ONCE, now + LONGEST)
        return Postponed(event.seq, self._free_at - now, tried=False)


class _Related(msgspec.Struct):
    url: str | None = None


class _Thin(msgspec.Struct):
    object: str | None = None
    related_object: _Related | None = None


_decode_thin = msgspec.json.Decoder(_Thin).decode


def is_thin(event: Event) -> bool:
    """Whether the state of a payment object must be fetched: a v2 event about one."""
    return event.type.startswith("v") and concerns_payments(event.type) and b'"v2.core.event"' in event.body


def _path(event: Event) -> str | None:
    """Where a thin event's object is, if that is a path of Stripe's API."""
    try:
        related = _decode_thin(event.body).related_object
    except msgspec.MsgspecError:
        return None
    url = related.url if related is not None else None
    return url if url is not None and url.startswith(("/v1/", "/v2/")) and ".." not in url else None
