"""The official SDK pointed at an emulated Stripe."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import stripe

from holdfast.drills.stripe import DEFAULT_API_KEY, EmulatedStripe


@asynccontextmanager
async def async_sdk(emulated: EmulatedStripe, api_key: str = DEFAULT_API_KEY) -> AsyncIterator[stripe.StripeClient]:
    http = stripe.AIOHTTPClient()
    try:
        yield _client(emulated, api_key, http)
    finally:
        await http.close_async()


@contextmanager
def blocking_sdk(emulated: EmulatedStripe) -> Iterator[stripe.StripeClient]:
    http = stripe.RequestsClient()
    try:
        yield _client(emulated, DEFAULT_API_KEY, http)
    finally:
        http.close()


def _client(emulated: EmulatedStripe, api_key: str, http: stripe.HTTPClient) -> stripe.StripeClient:
    return stripe.StripeClient(api_key, base_addresses={"api": emulated.url}, http_client=http, max_network_retries=0)
