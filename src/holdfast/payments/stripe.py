"""What we ask Stripe's API for: an object that a thin event points at, lists of events, where Stripe sends them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
import stripe
from stripe import StripeClient

from holdfast.delivery.backoff import parse_retry_after
from holdfast.patterns import matches
from holdfast.payments.model import StripeApiError

PAGE: Final = 100
MOST_TYPES: Final = 20
"""As many types can be asked for at once."""
REQUESTS_PER_SECOND: Final = 50.0
"""Half of Stripe's read limit in live mode: the application reads with the same key."""
_TRIES: Final = 6
_LONGEST_WAIT: Final = 30.0
_TIMEOUT: Final = 20.0
_ANOTHER: Final = "account_invalid"
Form = TypeVar("Form", bound=msgspec.Struct)


class RevokedError(StripeApiError):
    """The account is not connected (any more): it revoked our access, or is gone."""


class _CursorGoneError(StripeApiError):
    """What a page should go on behind is no longer listed."""


class ListedEvent(msgspec.Struct):
    """An event in one of Stripe's lists: what reconciling needs, and its bytes. `created`: Unix time, or RFC 3339."""

    id: str
    type: str
    created: int | str
    body: bytes = b""


class Endpoint(msgspec.Struct):
    """Where Stripe sends webhooks. `events` are exact types, or `*`; `own`, `connected`: whose; `thin`: v2."""

    id: str
    url: str
    events: tuple[str, ...]
    enabled: bool
    thin: bool
    own: bool
    connected: bool


class _WebhookEndpoint(msgspec.Struct):
    """`application` is that of Connect; it is how an endpoint for connected accounts can be told from others."""

    id: str
    url: str
    enabled_events: tuple[str, ...]
    status: str
    application: str | None = None


class _Address(msgspec.Struct):
    url: str | None = None


class _Destination(msgspec.Struct):
    id: str
    enabled_events: tuple[str, ...]
    event_payload: str
    status: str
    events_from: tuple[str, ...] | None = None
    webhook_endpoint: _Address | None = None


class _Page(msgspec.Struct):
    """Of v1, and of v2: there the address of the next one is given."""

    data: list[msgspec.Raw]
    has_more: bool = False
    next_page_url: str | None = None


class StripeReader:
    """Reads from Stripe, no faster than it likes. Use as `async with`."""

    def __init__(self, api_key: str, api_url: str, *, per_second: float = REQUESTS_PER_SECOND) -> None:
        self._http = stripe.AIOHTTPClient(timeout=_TIMEOUT)
        self._client = StripeClient(
            api_key, base_addresses={"api": api_url}, http_client=self._http, max_network_retries=2
        )
        self._api_key = api_key
        self._interval = 1.0 / per_second
        self._next = 0.0
        self._rng = Random()  # noqa: S311 - jitter

    @property
    def mode(self) -> str:
        """What the key is for, by its beginning: `live`, `test`, or `unknown`. Each mode has events of its own."""
        kind = self._api_key.split("_")[1:2]
        return kind[0] if kind and kind[0] in ("live", "test") else "unknown"

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
        self, account: str | None, since: datetime, until: datetime, types: Sequence[str] = ("*",)
    ) -> AsyncIterator[list[ListedEvent]]:
        """Pages of an account's events created in [since, until), newest first. `account` None is the platform.

        `types` are exact, or `*`. Raises StripeApiError. Source: https://docs.stripe.com/api/events/list
        """
        created = {"gte": int(since.timestamp()), "lt": int(until.timestamp())}
        asked: dict[str, Any] = {"limit": PAGE, "created": created, **_types(types)}
        last = 0
        while True:
            try:
                page = await self._page("/v1/events", asked, account)
            except _CursorGoneError:
                # It was the oldest that Stripe still listed, and is too old by now: what is as old may be there yet.
                created["lt"] = last + 1
                del asked["starting_after"]
                continue
            events = [_listed(raw) for raw in page.data]
            yield [event for event in events if matches(types, event.type)]
            if not page.has_more or not events:
                return
            asked["starting_after"], last = events[-1].id, int(events[-1].created)

    async def thin_events(
        self, account: str | None, since: datetime, until: datetime, types: Sequence[str] = ("*",)
    ) -> AsyncIterator[list[ListedEvent]]:
        """As `events`, of the thin ones, which have a list of their own.

        Source: https://docs.stripe.com/api/v2/core/events/list
        """
        created = {"gte": _rfc3339(since), "lt": _rfc3339(until)}
        async for page in self._pages("/v2/core/events", {"limit": PAGE, "created": created, **_types(types)}, account):
            events = [_listed(raw) for raw in page]
            yield [event for event in events if matches(types, event.type)]

    async def webhook_endpoints(self) -> list[Endpoint]:
        """The platform's. Raises StripeApiError. Source: https://docs.stripe.com/api/webhook_endpoints/list"""
        asked: dict[str, Any] = {"limit": PAGE}
        found: list[Endpoint] = []
        while True:
            page = await self._page("/v1/webhook_endpoints", asked, None)
            for raw in page.data:
                one = _read(raw, _WebhookEndpoint)
                connected = one.application is not None
                enabled = one.status == "enabled"
                found.append(Endpoint(one.id, one.url, one.enabled_events, enabled, False, not connected, connected))
            if not page.has_more or not page.data:
                return found
            asked["starting_after"] = found[-1].id

    async def event_destinations(self) -> list[Endpoint]:
        """Those that lead to an address, snapshot or thin. Raises StripeApiError.

        Source: https://docs.stripe.com/api/v2/core/event-destinations/list
        """
        found: list[Endpoint] = []
        asked = {"limit": PAGE, "include": ["webhook_endpoint.url"]}
        async for page in self._pages("/v2/core/event_destinations", asked, None):
            for raw in page:
                one = _read(raw, _Destination)
                url = one.webhook_endpoint.url if one.webhook_endpoint is not None else None
                if url is not None and one.events_from is not None:
                    sources = {source.removeprefix("@") for source in one.events_from}
                    own, connected = "self" in sources, bool(sources & {"accounts", "other_accounts"})
                    thin, enabled = one.event_payload == "thin", one.status == "enabled"
                    found.append(Endpoint(one.id, url, one.enabled_events, enabled, thin, own, connected))
        return found

    async def _pages(
        self, path: str, asked: Mapping[str, Any], account: str | None
    ) -> AsyncIterator[list[msgspec.Raw]]:
        """Of a v2 list."""
        following: str | None = path
        while following is not None:
            page = await self._page(following, asked, account)
            yield page.data
            following, asked = page.next_page_url, {}
            if following is not None and not following.startswith("/v2/"):
                raise StripeApiError(f"Stripe's list {path} goes on at a strange address", passing=False)

    async def _page(self, path: str, asked: Mapping[str, Any], account: str | None) -> _Page:
        return _read(await self._get(path, asked, account), _Page)

    async def _get(self, path: str, asked: Mapping[str, Any], account: str | None) -> bytes:
        options = {"stripe_account": account} if account else {}
        if path.startswith("/v2/"):
            options = {"stripe_context": account} if account else {}
        for attempt in range(1, _TRIES + 1):
            await self._turn()
            try:
                answer = await self._client.raw_request_async("get", path, **asked, **options)
                return str(answer.body).encode()
            except stripe.RateLimitError as error:
                if attempt == _TRIES:
                    raise StripeApiError("Stripe limits our requests", passing=True) from None
                await asyncio.sleep(wait_after(error.headers or {}, attempt, self._rng))
            except stripe.StripeError as error:
                if asked.get("starting_after") and error.code == "resource_missing":
                    raise _CursorGoneError(f"the list {path} changed meanwhile", passing=True) from None
                raise _failed(path, account, error) from None
        raise AssertionError("unreachable")

    async def _turn(self) -> None:
        """Requests are spaced evenly, however many ask at once."""
        now = asyncio.get_running_loop().time()
        at = max(now, self._next)
        self._next = at + self._interval
        if at > now:
            await asyncio.sleep(at - now)


def wait_after(headers: Mapping[str, str], attempt: int, rng: Random) -> float:
    """Seconds until a request that was limited is tried again: what Stripe asks for, and longer each time.

    Spread, so that those who were refused together do not come back together.
    """
    step = float(0.25 * 2**attempt)
    asked = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    least = parse_retry_after(asked, datetime.now(UTC)) or 0.0
    return min(least, _LONGEST_WAIT) + step * rng.uniform(0.5, 1.0)


def _types(types: Sequence[str]) -> dict[str, list[str]]:
    """What to ask for: nothing, where Stripe cannot be asked for these, and they are chosen here."""
    return {"types": list(types)} if "*" not in types and len(types) <= MOST_TYPES else {}


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _listed(raw: msgspec.Raw) -> ListedEvent:
    event = _read(raw, ListedEvent)
    event.body = bytes(raw)
    return event


def _read(body: bytes | msgspec.Raw, form: type[Form]) -> Form:
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.MsgspecError as error:
        raise StripeApiError(f"what Stripe lists has a strange form: {error}", passing=False) from None


def _failed(path: str, account: str | None, error: stripe.StripeError) -> StripeApiError:
    where = f"{path} of {account}" if account else path
    match error:
        case stripe.AuthenticationError():
            return StripeApiError("Stripe does not accept HOLDFAST_STRIPE_API_KEY", passing=False)
        case stripe.PermissionError() if account and error.error is not None and error.error.code == _ANOTHER:
            return RevokedError(f"{account} has revoked our access, or is not an account of this key", passing=False)
        case stripe.PermissionError():
            return StripeApiError(f"the API key may not read {where}: what may it read at Stripe?", passing=False)
        case stripe.APIConnectionError():
            return StripeApiError("Stripe's API cannot be reached", passing=True)
    status = error.http_status
    return StripeApiError(
        f"Stripe answered {status} for {where}: {error.user_message or type(error).__name__}",
        passing=status is None or status >= 500,
    )
