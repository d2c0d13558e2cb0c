"""The REST side of the emulated Twilio: authentication, limits and faults, accounts, numbers, recordings, alerts.

Sources: https://www.twilio.com/docs/usage/requests-to-twilio, /iam/api/account, /phone-numbers/api and
/usage/monitor-alert. Calls and messages are in `twilio_api_traffic`.
"""

import asyncio
import base64
import binascii
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from aiohttp import web

from holdfast.drills.pacing import RequestBudget
from holdfast.drills.twilio_exchange import API_VERSION, Exchange
from holdfast.drills.twilio_faults import Facts, Product
from holdfast.drills.twilio_listing import ApiError, answer, between, missing, page_2010, page_v1
from holdfast.drills.twilio_people import e164
from holdfast.drills.twilio_resources import account_json, alert_json, number_json, recording_json
from holdfast.drills.twilio_state import Account, Number
from holdfast.drills.twilio_status import StatusPage
from holdfast.drills.twilio_webhooks import is_address

STATUS_PATH: Final = "/api/v2/summary.json"
ACCOUNTS: Final = f"/{API_VERSION}/Accounts"
_ALERTS_KEPT: Final = timedelta(days=30)
_PRODUCTS: Final[dict[str, Product]] = {
    "Calls": "voice",
    "Messages": "sms",
    "Recordings": "recordings",
    "Alerts": "debugger",
}
_NUMBER_FIELDS: Final = {
    "FriendlyName": "friendly_name",
    "VoiceUrl": "voice_url",
    "VoiceMethod": "voice_method",
    "VoiceFallbackUrl": "voice_fallback_url",
    "VoiceFallbackMethod": "voice_fallback_method",
    "StatusCallback": "status_callback",
    "StatusCallbackMethod": "status_callback_method",
    "SmsUrl": "sms_url",
    "SmsMethod": "sms_method",
    "SmsFallbackUrl": "sms_fallback_url",
    "SmsFallbackMethod": "sms_fallback_method",
}
_URL_ERRORS: Final = {"VoiceUrl": 21502, "VoiceFallbackUrl": 21502, "SmsUrl": 21502, "StatusCallback": 21502}
# A tenth of a second of silence: a real file of each kind, so that players and type sniffers accept it.
_SILENCE: Final = bytes(1_600)
_WAV_FORMAT: Final = bytes.fromhex("10000000 0100 0100 401f0000 803e0000 0200 1000")  # PCM, mono, 8 kHz, 16 bits
_WAV: Final = b"".join(
    (
        *(b"RIFF", (36 + len(_SILENCE)).to_bytes(4, "little"), b"WAVEfmt ", _WAV_FORMAT),
        *(b"data", len(_SILENCE).to_bytes(4, "little"), _SILENCE),
    )
)
_MP3: Final = (bytes.fromhex("fff318c4") + bytes(68)) * 4
_CALLER: Final = web.RequestKey("caller", Account)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class ApiSetup:
    """What the API answers from. `rate_limit` is in requests a second for each account, `None` for none."""

    exchange: Exchange
    status: StatusPage
    rate_limit: float | None
    rng: random.Random


class TwilioApi:
    """Request handlers. `more_routes` are added to its own."""

    def __init__(self, setup: ApiSetup, more_routes: list[web.RouteDef]) -> None:
        self._setup = setup
        self._exchange = setup.exchange
        self._state = setup.exchange.state
        self._more_routes = more_routes
        self._budgets: dict[str, RequestBudget] = {}

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        one = f"{ACCOUNTS}/{{account}}"
        app.add_routes(
            [
                web.get(STATUS_PATH, self._summary),
                web.get(f"{ACCOUNTS}.json", self._accounts),
                web.get(f"{ACCOUNTS}/{{account}}.json", self._account),
                web.get(f"{one}/IncomingPhoneNumbers.json", self._numbers),
                web.get(f"{one}/IncomingPhoneNumbers/{{sid}}.json", self._number),
                web.post(f"{one}/IncomingPhoneNumbers/{{sid}}.json", self._update_number),
                web.get(f"{one}/Recordings.json", self._recordings),
                web.get(f"{one}/Recordings/{{name}}", self._recording),
                web.get("/v1/Alerts", self._alerts),
                web.get("/v1/Alerts/{sid}", self._alert),
                *self._more_routes,
                web.route("*", "/{path:.*}", self._unknown),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Faults, authentication and limits in front of every API request; the status page has none of them."""
        if request.path == STATUS_PATH:
            return await handler(request)
        await self._misbehave(request)
        try:
            self._refuse(request)
            answered = await handler(request)
            self._lose(request)
            return answered
        except ApiError as error:
            return error.response()

    async def _misbehave(self, request: web.Request) -> None:
        faults, rng, facts = self._exchange.faults(), self._setup.rng, _facts(request)
        slow = faults.struck(rng, facts, "api_slow")
        if slow is not None:
            await asyncio.sleep(slow.seconds)
        if faults.struck(rng, facts, "api_refuses", "outage") is not None and request.transport is not None:
            request.transport.abort()

    def _lose(self, request: web.Request) -> None:
        """What was asked is done, and the answer may be lost."""
        faults, rng = self._exchange.faults(), self._setup.rng
        if request.method == "POST" and faults.struck(rng, _facts(request), "api_answer_lost") is not None:
            assert request.transport is not None
            request.transport.abort()

    def _refuse(self, request: web.Request) -> None:
        """ApiError for a request that does not get as far as its handler."""
        faults, rng, facts = self._exchange.faults(), self._setup.rng, _facts(request)
        if failing := faults.struck(rng, facts, "api_error"):
            raise ApiError(failing.status, 20500, "Internal Server Error")
        account = self._authenticated(request)
        request[_CALLER] = account
        named = request.match_info.get("account")
        if named is not None and not self._may_see(account, named):
            raise ApiError(401, 20003, "Authenticate")
        if faults.struck(rng, facts, "api_rate_limited") or not self._fits_budget(account.sid):
            raise ApiError(429, 20429, "Too Many Requests")

    def _authenticated(self, request: web.Request) -> Account:
        sid, token = _credentials(request.headers.get("Authorization", ""))
        account = self._state.accounts.get(sid)
        if account is None or account.auth_token != token:
            raise ApiError(401, 20003, "Authenticate")
        return account

    def _may_see(self, account: Account, named: str) -> bool:
        """An account may act on itself and on its subaccounts."""
        other = self._state.accounts.get(named)
        return other is not None and account.sid in (other.sid, other.parent)

    def _fits_budget(self, account: str) -> bool:
        if self._setup.rate_limit is None:
            return True
        budget = self._budgets.setdefault(account, RequestBudget(self._setup.rate_limit))
        return budget.take(asyncio.get_running_loop().time())

    async def _summary(self, request: web.Request) -> web.Response:
        return answer(200, self._setup.status.document())

    async def _accounts(self, request: web.Request) -> web.Response:
        own = request[_CALLER]
        found = [account for account in self._state.accounts.values() if self._may_see(own, account.sid)]
        return page_2010("accounts", found, account_json, request)

    async def _account(self, request: web.Request) -> web.Response:
        return answer(200, account_json(self._state.accounts[request.match_info["account"]]))

    async def _numbers(self, request: web.Request) -> web.Response:
        wanted, name = request.query.get("PhoneNumber", ""), request.query.get("FriendlyName")
        wanted = e164(wanted) or wanted
        found = [
            number
            for number in self._state.numbers.newest_first(request.match_info["account"])
            if wanted.strip("*") in number.phone and name in (None, number.friendly_name)
        ]
        return page_2010("incoming_phone_numbers", found, number_json, request)

    def _find_number(self, request: web.Request) -> Number:
        found = self._state.numbers.get(request.match_info["sid"], request.match_info["account"])
        if found is None:
            raise missing(request.path)
        return found

    async def _number(self, request: web.Request) -> web.Response:
        return answer(200, number_json(self._find_number(request)))

    async def _update_number(self, request: web.Request) -> web.Response:
        """Change the fields that are given. Nothing changes if one of them is wrong."""
        number, given = self._find_number(request), await request.post()
        changes = {_NUMBER_FIELDS[name]: str(value) for name, value in given.items() if name in _NUMBER_FIELDS}
        for name, code in _URL_ERRORS.items():
            url = str(given.get(name, ""))
            if url and not is_address(url):
                raise ApiError(400, code, f"{name} is not a valid URL: {url}")
        for name, value in changes.items():
            setattr(number, name, value)
        number.updated = self._exchange.clock()
        return answer(200, number_json(number))

    async def _recordings(self, request: web.Request) -> web.Response:
        call = request.query.get("CallSid")
        every = self._state.recordings.newest_first(request.match_info["account"])
        found = [recording for recording in every if call in (None, recording.call_sid)]
        return page_2010("recordings", found, recording_json, request)

    async def _recording(self, request: web.Request) -> web.Response:
        """A recording: its resource (`.json`), or its sound (`.mp3`, `.wav`, which is also what no ending gives)."""
        sid, _, kind = request.match_info["name"].partition(".")
        found = self._state.recordings.get(sid, request.match_info["account"])
        if found is None or kind not in ("", "json", "mp3", "wav"):
            raise missing(request.path)
        if kind == "json":
            return answer(200, recording_json(found))
        if kind == "mp3":
            return web.Response(body=_MP3, content_type="audio/mpeg")
        return web.Response(body=_WAV, content_type="audio/x-wav")

    async def _alerts(self, request: web.Request) -> web.Response:
        level, account = request.query.get("LogLevel"), request[_CALLER].sid
        since, until = between(request.query, self._exchange.clock(), _ALERTS_KEPT)
        found = [
            alert
            for alert in self._state.alerts.newest_first(account)
            if level in (None, alert.level) and since <= alert.created < until
        ]
        base = self._exchange.base_url()
        return page_v1("alerts", found, lambda alert: alert_json(alert, base), request, base)

    async def _alert(self, request: web.Request) -> web.Response:
        found = self._state.alerts.get(request.match_info["sid"], request[_CALLER].sid)
        if found is None:
            raise missing(request.path)
        return answer(200, alert_json(found, self._exchange.base_url(), whole=True))

    async def _unknown(self, request: web.Request) -> web.Response:
        raise missing(request.path)


def _facts(request: web.Request) -> Facts:
    """Which product a request is about."""
    for part in request.path.split("/"):
        if (product := _PRODUCTS.get(part.partition(".")[0])) is not None:
            return Facts(product, api=True)
    return Facts("api", api=True)


def _credentials(authorization: str) -> tuple[str, str]:
    """User name and password of Basic authentication; empty if there are none."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
