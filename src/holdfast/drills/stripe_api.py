"""The REST side of the emulated Stripe: reading events, objects and accounts, with Stripe's errors and faults.

Sources: https://docs.stripe.com/api/errors, https://docs.stripe.com/rate-limits, https://docs.stripe.com/api/authentication
and, for acting on a connected account, https://docs.stripe.com/api/connected-accounts.
"""

import asyncio
import base64
import binascii
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from holdfast.drills.pacing import RequestBudget
from holdfast.drills.stripe_endpoints import as_event_destination, as_webhook_endpoint
from holdfast.drills.stripe_faults import StripeFaults
from holdfast.drills.stripe_listing import InvalidRequest, parse_event_query, parse_page, parse_thin_query
from holdfast.drills.stripe_objects import Json, ObjectMaker, resource_path
from holdfast.drills.stripe_state import StripeState
from holdfast.drills.stripe_status import StatusPage
from holdfast.drills.stripe_webhooks import WebhookEndpoint

_EVENT_LIFE: Final = 30 * 86_400  # "events, going back up to 30 days"
READABLE: Final = (
    "billing.meter",
    "charge",
    "checkout.session",
    "customer",
    "dispute",
    "invoice",
    "payment_intent",
    "payout",
    "price",
    "product",
    "refund",
    "transfer",
)
_STATUS_PATH: Final = "/api/v2/summary.json"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class ApiSetup:
    """What the API answers from. `accounts` maps ids to account objects, the platform's own included; `endpoints`, the
    platform's, by id.
    """

    state: StripeState
    status: StatusPage
    accounts: dict[str, Json]
    endpoints: dict[str, WebhookEndpoint]
    platform: str
    livemode: bool
    api_keys: frozenset[str]
    clock: Callable[[], float]
    faults: Callable[[], StripeFaults]
    rate_limit: float | None


class StripeApi:
    """Request handlers. Ids of requests and injected errors come from a generator of their own, so that API calls do
    not change the traffic that a seed produces.
    """

    def __init__(self, setup: ApiSetup, rng: random.Random) -> None:
        self._setup = setup
        self._rng = rng
        self._ids = ObjectMaker(rng)
        self._budget = RequestBudget(setup.rate_limit) if setup.rate_limit is not None else None

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get(_STATUS_PATH, self._summary)
        app.router.add_get("/v1/events", self._events)
        app.router.add_get("/v1/events/{id}", self._event)
        app.router.add_get("/v1/webhook_endpoints", self._webhook_endpoints)
        app.router.add_get("/v2/core/events", self._thin_events)
        app.router.add_get("/v2/core/events/{id}", self._thin_event)
        app.router.add_get("/v2/core/event_destinations", self._event_destinations)
        app.router.add_get("/v1/account", self._own_account)
        app.router.add_get("/v1/accounts", self._accounts)
        app.router.add_get("/v1/accounts/{id}", self._account)
        for kind in READABLE:
            app.router.add_get(f"/v1/{resource_path(kind)}/{{id}}", self._reader(kind))
        app.router.add_route("*", "/{path:.*}", self._unknown)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Faults, authentication and limits in front of every API request; the status page has none of them."""
        if request.path == _STATUS_PATH:
            return await handler(request)
        faults = self._setup.faults()
        if faults.api_latency:
            await asyncio.sleep(faults.api_latency)
        if faults.api_down and request.transport is not None:
            request.transport.abort()
        refusal = self._refusal(request, faults)
        try:
            answer = refusal if refusal is not None else await handler(request)
        except InvalidRequest as error:
            answer = _error(400, error.message, error.code, param=error.param)
        answer.headers["Request-Id"] = self._ids.new_id("request")
        answer.headers["Stripe-Version"] = request.headers.get("Stripe-Version", self._ids.api_version)
        return answer

    def _refusal(self, request: web.Request, faults: StripeFaults) -> web.Response | None:
        if faults.api_error_rate and self._rng.random() < faults.api_error_rate:
            return _error(500, "An unknown error occurred. Please contact support.", None, "api_error")
        key = _api_key(request.headers.get("Authorization", ""))
        if not key:
            return _error(401, "You did not provide an API key, in the Authorization header (Bearer or Basic).", None)
        if key not in self._setup.api_keys:
            return _error(401, f"Invalid API Key provided: {key[:8]}****", None)
        now = asyncio.get_running_loop().time()
        if faults.api_rate_limited or (self._budget is not None and not self._budget.take(now)):
            refused = _error(429, "Request rate limit exceeded. Retry with exponential backoff.", "rate_limit")
            refused.headers["Stripe-Rate-Limited-Reason"] = "global-rate"
            if faults.api_retry_after:
                refused.headers["Retry-After"] = str(faults.api_retry_after)
            return refused
        account = _account_header(request)
        if account is not None and account not in self._setup.accounts:
            message = f"The provided key '{key[:8]}****' does not have access to account '{account}'."
            return _error(403, message, "account_invalid")
        return None

    def _scope(self, request: web.Request) -> str | None:
        """The connected account a request acts on; `None` for the platform, also when it names itself."""
        account = _account_header(request)
        return None if account == self._setup.platform else account

    async def _summary(self, request: web.Request) -> web.Response:
        return _json(200, self._setup.status.document())

    async def _events(self, request: web.Request) -> web.Response:
        query = parse_event_query(request.query.items())
        oldest = int(self._setup.clock()) - _EVENT_LIFE
        events, has_more = self._setup.state.list_events(self._scope(request), query, oldest)
        return _list("/v1/events", events, has_more)

    async def _event(self, request: web.Request) -> web.Response:
        event_id = request.match_info["id"]
        event = self._setup.state.event(event_id)
        if event is None or event["object"] != "event" or event.get("account") != self._scope(request):
            return _missing("event", event_id)
        expired = event["created"] < int(self._setup.clock()) - _EVENT_LIFE
        return _missing("event", event_id) if expired else _json(200, event)

    async def _thin_events(self, request: web.Request) -> web.Response:
        query = parse_thin_query(request.query.items())
        oldest = int(self._setup.clock()) - _EVENT_LIFE
        events, has_more = self._setup.state.list_events(self._scope(request), query, oldest, thin=True)
        following = {**request.query, "page": events[-1]["id"]} if has_more else None
        next_page = f"{request.path}?{urlencode(following)}" if following is not None else None
        return _json(200, {"data": events, "next_page_url": next_page, "previous_page_url": None})

    async def _webhook_endpoints(self, request: web.Request) -> web.Response:
        ours = self._scope(request) is None
        found = [one for one in reversed(self._setup.endpoints.values()) if ours and "snapshot" in one.payloads]
        limit, after, _ = parse_page(dict(request.query))
        ids = [one.id for one in found]
        if after is not None and after not in ids:
            return _missing("webhook_endpoint", after)
        older = found[ids.index(after) + 1 :] if after is not None else found
        page = [as_webhook_endpoint(one, self._setup.livemode) for one in older[:limit]]
        return _list("/v1/webhook_endpoints", page, len(older) > limit)

    async def _event_destinations(self, request: web.Request) -> web.Response:
        with_url = "webhook_endpoint.url" in request.query.values()
        ours = self._scope(request) is None
        found = [
            as_event_destination(one, self._setup.livemode, with_url=with_url)
            for one in reversed(self._setup.endpoints.values())
            if ours and "thin" in one.payloads
        ]
        return _json(200, {"data": found, "next_page_url": None, "previous_page_url": None})

    async def _thin_event(self, request: web.Request) -> web.Response:
        event_id = request.match_info["id"]
        event = self._setup.state.event(event_id)
        if event is None or event["object"] != "v2.core.event" or event["context"] != self._scope(request):
            return _error(404, f"Event not found: {event_id}", "not_found")
        return _json(200, event)

    async def _own_account(self, request: web.Request) -> web.Response:
        return _json(200, self._setup.accounts[self._scope(request) or self._setup.platform])

    async def _account(self, request: web.Request) -> web.Response:
        account = self._setup.accounts.get(request.match_info["id"])
        return _missing("account", request.match_info["id"]) if account is None else _json(200, account)

    async def _accounts(self, request: web.Request) -> web.Response:
        """The connected accounts, those added last first."""
        limit, after, before = parse_page(dict(request.query))
        ids = [account for account in reversed(self._setup.accounts) if account != self._setup.platform]
        for cursor, param in ((after, "starting_after"), (before, "ending_before")):
            if cursor is not None and cursor not in ids:
                raise InvalidRequest(f"No such account: '{cursor}'", param, "resource_missing")
        if before is not None:
            newer = ids[: ids.index(before)]
            page, has_more = newer[-limit:], len(newer) > limit
        else:
            older = ids[ids.index(after) + 1 :] if after is not None else ids
            page, has_more = older[:limit], len(older) > limit
        return _list("/v1/accounts", [self._setup.accounts[account] for account in page], has_more)

    def _reader(self, kind: str) -> _Handler:
        async def read(request: web.Request) -> web.Response:
            object_id = request.match_info["id"]
            found = self._setup.state.find_object(kind, object_id, self._scope(request))
            return _missing(kind, object_id) if found is None else _json(200, found)

        return read

    async def _unknown(self, request: web.Request) -> web.Response:
        message = f"Unrecognized request URL ({request.method}: {request.path})."
        return _error(404, f"{message} The emulated Stripe reads events, accounts and {', '.join(READABLE)}.", None)


def _account_header(request: web.Request) -> str | None:
    """The account a request acts on: `Stripe-Account`, or `Stripe-Context`, which replaces it for v2 events."""
    return request.headers.get("Stripe-Account") or request.headers.get("Stripe-Context") or None


def _api_key(authorization: str) -> str:
    """The key in an `Authorization` header, as a bearer token or as the user name of Basic; empty if there is none."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _json(status: int, document: Json) -> web.Response:
    body = msgspec.json.format(msgspec.json.encode(document), indent=2)
    return web.Response(status=status, body=body, content_type="application/json")


def _list(url: str, data: list[Json], has_more: bool) -> web.Response:
    return _json(200, {"object": "list", "url": url, "has_more": has_more, "data": data})


def _missing(kind: str, object_id: str) -> web.Response:
    return _error(404, f"No such {kind.replace('.', ' ')}: '{object_id}'", "resource_missing", param="id")


def _error(
    status: int, message: str, code: str | None, error_type: str = "invalid_request_error", param: str | None = None
) -> web.Response:
    error: Json = {"message": message, "type": error_type}
    if code is not None:
        error |= {"code": code, "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"}
    if param is not None:
        error["param"] = param
    return _json(status, {"error": error})
