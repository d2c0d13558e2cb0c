"""What we ask Stripe's API for: an object that a thin event points at, an account's list of events."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import stripe
from stripe import StripeClient

from holdfast.payments.model import StripeApiError

PAGE: Final = 100
REQUESTS_PER_SECOND: Final = 50.0
"""Half of Stripe's read limit in live mode: the application reads with the same key."""
_TRIES: Final = 6
_TIMEOUT: Final = 20.0


class ListedEvent(msgspec.Struct):
    """An event in Stripe's list: what reconciling needs, and its bytes."""

    id: str
    type: str
    created: int
    account: str | None = None
    body: bytes = b""


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool


class StripeReader:
    """Reads from Stripe, no faster than it likes. Use as `async with`."""

    def __init__(self, api_key: str, api_url: str, *, per_second: float = REQUESTS_PER_SECOND) -> None:
        self._http = stripe.AIOHTTPClient(timeout=_TIMEOUT)
        self._client = StripeClient(
            api_key, base_addresses={"api": api_url}, http_client=self._http, max_network_retries=2
        )
        self._interval = 1.0 / per_second
        self._next = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def fetch(self, path: str, account: str | None) -> bytes:
        """The object at an API path such as `/v1/charges/ch_…`, as JSON. Raises StripeApiError."""
        return await self._get(path, {}, account)

    async def events(
        self, account: str | None, since: datetime, until: datetime, types: tuple[str, ...] = ()
    ) -> AsyncIterator[list[ListedEvent]]:
        """Pages of an account's events created in [since, until), newest first. `account` None is the platform.

        Raises StripeApiError. Source: https://docs.stripe.com/api/events/list
        """
        asked: dict[str, Any] = {
            "limit": PAGE,
            "created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())},
        }
        if types:
            asked["types"] = list(types)
        while True:
            page = msgspec.json.decode(await self._get("/v1/events", asked, account), type=_Page)
            events = [_listed(raw) for raw in page.data]
            yield events
            if not page.has_more or not events:
                return
            asked["starting_after"] = events[-1].id

    async def _get(self, path: str, asked: Mapping[str, Any], account: str | None) -> bytes:
        options = {"stripe_account": account} if account else {}
        if path.startswith("/v2/"):
            options = {"stripe_context": account} if account else {}
        for attempt in range(1, _TRIES + 1):
            await self._turn()
            try:
                answer = await self._client.raw_request_async("get", path, **asked, **options)
                return str(answer.body).encode()
            except stripe.RateLimitError:
                if attempt == _TRIES:
                    raise StripeApiError("Stripe limits our requests", passing=True) from None
                await asyncio.sleep(0.25 * 2**attempt)
            except stripe.StripeError as error:
                raise _failed(path, account, error) from None
        raise AssertionError("unreachable")

    async def _turn(self) -> None:
        """Requests are spaced evenly, however many ask at once."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._next)
        self._next = at + self._interval
        if at > now:
            await asyncio.sleep(at - now)


def _listed(raw: msgspec.Raw) -> ListedEvent:
    event = msgspec.json.decode(raw, type=ListedEvent)
    event.body = bytes(raw)
    return event


def _failed(path: str, account: str | None, error: stripe.StripeError) -> StripeApiError:
    where = f"{path} of {account}" if account else path
    match error:
        case stripe.AuthenticationError():
            return StripeApiError("Stripe does not accept HOLDFAST_STRIPE_API_KEY", passing=False)
        case stripe.PermissionError():
            return StripeApiError(f"the API key may not read {where}: is the account still connected?", passing=False)
        case stripe.APIConnectionError():
            return StripeApiError("Stripe's API cannot be reached", passing=True)
    status = error.http_status
    return StripeApiError(
        f"Stripe answered {status} for {where}: {error.user_message or type(error).__name__}",
        passing=status is None or status >= 500,
    )
