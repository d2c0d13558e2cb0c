from collections.abc import AsyncIterator

import pytest

from holdfast.drills.stripe import DEFAULT_API_KEY, EmulatedStripe
from holdfast.payments.stripe import StripeReader


@pytest.fixture
async def emulated() -> AsyncIterator[EmulatedStripe]:
    async with EmulatedStripe(accounts=["acct_1A"]) as stripe:
        yield stripe


@pytest.fixture
async def reader(emulated) -> AsyncIterator[StripeReader]:
    async with StripeReader(DEFAULT_API_KEY, emulated.url, per_second=1000) as opened:
        yield opened
