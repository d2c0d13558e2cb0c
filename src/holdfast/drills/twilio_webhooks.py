"""How the emulated Twilio asks a server for something: signing, time limits, connection overrides.

Sources: https://www.twilio.com/docs/usage/webhooks/webhooks-security (signatures),
https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides (`#rc=2&rp=5xx,ct`), and
https://www.twilio.com/docs/api/errors (112xx).
"""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import parse_qsl, urldefrag, urlencode, urlsplit

import aiohttp

from holdfast.drills.twilio_state import Account

USER_AGENT: Final = "TwilioProxy/1.1"

_DIGESTS: Final = {"HMAC_SHA1": hashlib.sha1, "HMAC_SHA256": hashlib.sha256}
_ANSWER_LIMIT: Final = 64 * 1024  # bytes of a TwiML document: more is error 11750
Failure = Literal["4xx", "5xx", "ct", "rt"]


def sign(url: str, params: Mapping[str, str], secret: str, algorithm: str = "HMAC_SHA1") -> str:
    """The `X-Twilio-Signature` of a request to `url` (query included) with these form fields."""
    signed = url + "".join(f"{name}{params[name]}" for name in sorted(params))
    digest = hmac.new(secret.encode(), signed.encode(), _DIGESTS[algorithm]).digest()
    return base64.b64encode(digest).decode()


def signature_headers(url: str, params: Mapping[str, str], account: Account) -> dict[str, str]:
    """The headers that sign a request: by the auth token, or by the shared key of an account that has one."""
    if account.shared_key is None:
        return {"X-Twilio-Signature": sign(url, params, account.auth_token)}
    key_id, secret = account.shared_key
    return {
        "X-Twilio-Signature": sign(url, params, secret, "HMAC_SHA256"),
        "X-Twilio-Webhooks-Signature-Settings": f"key={key_id},algorithm=HMAC_SHA256",
    }


@dataclass(frozen=True, slots=True)
class Overrides:
    """How a URL is asked: retries after the first try, after which failures, and time limits in real seconds."""

    retries: int = 1
    policy: frozenset[str] = frozenset({"ct"})
    connect: float = 10.0
    read: float = 15.0


def split_overrides(url: str, default: Overrides) -> tuple[str, Overrides]:
    """A URL without its fragment, and what the fragment asks for; what it says wrongly is ignored."""
    bare, fragment = urldefrag(url)
    asked = dict(parse_qsl(fragment))
    return bare, Overrides(
        retries=int(_between(asked.get("rc"), 0, 5, default.retries)),
        policy=frozenset(asked["rp"].split(",")) if "rp" in asked else default.policy,
        connect=_between(asked.get("ct"), 100, 10_000, default.connect * 1_000) / 1_000,
        read=_between(asked.get("rt"), 100, 15_000, default.read * 1_000) / 1_000,
    )


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to be made to a server of ours."""

    url: str
    params: Mapping[str, str]
    account: Account
    token: str
    method: str = "POST"
    json: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `error` is Twilio's error code, `None` for a 2xx; `seconds` are real ones."""

    status: int | None
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    error: int | None = None
    failure: Failure | None = None
    why: str = ""
    attempts: int = 1
    seconds: float = 0.0


class WebhookPoster:
    """Makes requests to our servers with at most `concurrency` at once; an async context manager.

    `speed` compresses only the wait before a retry; time limits are real, because the server's work is.
    """

    def __init__(self, *, speed: float, read_timeout: float, connect_timeout: float, concurrency: int) -> None:
        self._default = Overrides(connect=connect_timeout, read=read_timeout)
        self._speed = speed
        self._concurrency = concurrency
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._concurrency)
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "X-Home-Region": "us1"}
        self._session = aiohttp.ClientSession(connector=connector, headers=headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, ask: Ask) -> Answer:
        """Make a request, again as often as its URL's overrides say. Never raises for what a server does."""
        url, overrides = split_overrides(ask.url, self._default)
        if not is_address(url):
            return Answer(None, error=11100, why=f"{url!r} is no absolute http address")
        began = asyncio.get_running_loop().time()
        attempts = 0
        while True:
            attempts += 1
            answer = await self._try(url, ask, overrides)
            retried = answer.failure is not None and bool({answer.failure, "all"} & overrides.policy)
            if not retried or attempts > overrides.retries:
                seconds = asyncio.get_running_loop().time() - began
                return replace(answer, attempts=attempts, seconds=seconds)
            await asyncio.sleep(attempts / self._speed)

    async def _try(self, url: str, ask: Ask, overrides: Overrides) -> Answer:
        assert self._session is not None, "used outside `async with`"
        method, params, body = ask.method.upper(), ask.params, ask.json
        headers = {"I-Twilio-Idempotency-Token": ask.token}
        if body is not None:
            url = f"{url}{'&' if '?' in url else '?'}bodySHA256={hashlib.sha256(body).hexdigest()}"
            headers["Content-Type"], params = "application/json", {}
        elif method == "GET":
            url, params = (f"{url}{'&' if '?' in url else '?'}{urlencode(params)}" if params else url), {}
        else:
            headers["Content-Type"], body = (
                "application/x-www-form-urlencoded; charset=UTF-8",
                urlencode(params).encode(),
            )
        headers |= signature_headers(url, params, ask.account)
        limits = aiohttp.ClientTimeout(
            total=overrides.connect + overrides.read, sock_connect=overrides.connect, sock_read=overrides.read
        )
        try:
            async with self._session.request(method, url, data=body, headers=headers, timeout=limits) as got:
                content = await got.content.read(_ANSWER_LIMIT + 1)
                return _judged(got.status, content, got.headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Answer(None, error=11205, failure="ct", why=str(error))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Answer(None, error=11205, failure="rt", why=str(error) or type(error).__name__)


def _judged(status: int, content: bytes, headers: Mapping[str, str]) -> Answer:
    kept = dict(headers)
    content_type = headers.get("Content-Type", "")
    if not 200 <= status < 300:
        failure: Failure = "5xx" if status >= 500 else "4xx"
        return Answer(status, content, content_type, kept, 11200, failure, f"HTTP {status}")
    if len(content) > _ANSWER_LIMIT:
        return Answer(status, b"", content_type, kept, 11750, why=f"the body is larger than {_ANSWER_LIMIT} bytes")
    return Answer(status, content, content_type, kept)


def is_address(url: str) -> bool:
    """Whether a URL is one that Twilio would ask."""
    try:
        parts = urlsplit(url)
    except ValueError:  # as for an unclosed bracket in the host
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _between(given: str | None, low: float, high: float, default: float) -> float:
    try:
        value = float(given) if given is not None else default
    except ValueError:
        return default
    return min(high, max(low, value)) if given is not None else default
