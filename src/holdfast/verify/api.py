"""`/v1/verify`."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response

from holdfast import durations
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.payments.endpoints import our_addresses
from holdfast.payments.reconcile import every_account
from holdfast.payments.stripe import StripeReader
from holdfast.verify import service
from holdfast.verify.model import AtStripe, VerifyError, document

LONGEST = timedelta(days=7)
STRIPE_PATIENCE = 5.0
"""Seconds for Stripe's lists: half of what the door gives an answer."""


def router(pool: Pool, settings: Settings) -> APIRouter:
    """Its routes."""
    made = APIRouter(tags=["verify"])
    turn = asyncio.Lock()  # a verification reads a whole window: one at a time leaves the pool to others

    @made.get("/verify", response_class=Response, responses={200: {"content": {"application/json": {}}}})
    async def verify(
        since: Annotated[
            str, Query(max_length=40, description="Events received from here on: 2h, 3d (ago), 2026-11-24T15:30:00Z.")
        ] = "24h",
        until: Annotated[str, Query(max_length=40, description="Up to here, written likewise; or now.")] = "now",
        stripe: Annotated[bool, Query(description="Compare with Stripe's list of events.")] = False,
    ) -> Response:
        """What became of every event received in the window, with counts that add up, and what needs a person.

        The document of `holdfast verify --json`. Nothing is replayed.
        """
        now = datetime.now(UTC)
        begin, end = _time("since", since, now), _time("until", until, now)
        if end - begin > LONGEST:
            raise VerifyError(f"the window is longer than {LONGEST.days} days; `holdfast verify` takes longer ones")
        async with turn:
            listed = await _listed(pool, settings, begin, end, now) if stripe else AtStripe("stripe=true was not asked")
            kept = timedelta(days=settings.retention_days)
            found = await service.verify(pool, begin, end, now=datetime.now(UTC), kept=kept, stripe=listed)
        return Response(msgspec.json.encode(document(found) | {"replayed": None}), media_type="application/json")

    return made


def _time(name: str, text: str, now: datetime) -> datetime:
    """Raises VerifyError."""
    text = text.strip()
    if text == "now":
        return now
    if durations.WRITTEN.fullmatch(text):
        return now - min(durations.read(text), timedelta(days=36_500))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise VerifyError(f"{name}: {text!r} is not a time: write 15m, 2h or 3d (ago), now, or 2026-11-24T15:30:00Z")
    return at


async def _listed(pool: Pool, settings: Settings, since: datetime, until: datetime, now: datetime) -> AtStripe:
    if settings.stripe_api_key is None:
        return AtStripe("HOLDFAST_STRIPE_API_KEY is not set")
    accounts = await every_account(pool)
    async with StripeReader(settings.stripe_api_key.get_secret_value(), settings.stripe_api_url) as reader:
        try:
            async with asyncio.timeout(STRIPE_PATIENCE):
                kept, addresses = timedelta(days=settings.retention_days), our_addresses(settings)
                return await service.compare(
                    pool, reader, accounts, since, until, now=now, kept=kept, addresses=addresses
                )
        except TimeoutError:
            return AtStripe(f"its lists took longer than {STRIPE_PATIENCE:.0f} s; `holdfast verify` waits for them")
