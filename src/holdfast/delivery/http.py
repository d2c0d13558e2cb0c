"""Sends deliveries over HTTP."""

import asyncio
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from holdfast import __version__
from holdfast.delivery import signing
from holdfast.delivery.addresses import AddressRefused, GuardedResolver, NameRefused, Network, check_url
from holdfast.delivery.backoff import parse_retry_after
from holdfast.delivery.model import RESPONSE_KEPT, Attempt, DeliveryError, Message, Outcome
from holdfast.delivery.signing import SecretError
from holdfast.merchants.model import Destination

CONNECT_TIMEOUT = 5.0
_READ_AT_MOST = 64 * 1024
_KEEPALIVE = 4.0
"""Seconds. Below the usual 5 s of servers (Node, uvicorn, Apache), which else close just as we send."""
_TARGETS = 16_384

_DOWN = frozenset((408, 425, 429))
_CONGESTED = frozenset((408, 429, 503, 504))

_PROVIDERS_OWN = ("content-type", "stripe-", "x-twilio-", "i-twilio-")
"""The provider's headers that the application gets as they came; the others belong to the connection they came by."""
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class HttpSender:
    """Sends to destinations of kind `webhook` and `application`. One per process; use as `async with`.

    `allowed` are networks that are not public and yet may be sent to; `tls` is for a private certificate authority.
    Neither redirects nor proxies from the environment are followed: both would lead around the address guard.
    """

    def __init__(
        self, allowed: Sequence[Network] = (), *, https_only: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        self._allowed = tuple(allowed)
        self._https_only = https_only
        self._tls = tls
        self._targets: dict[str, URL] = {}
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    async def __aenter__(self) -> Self:
        self._resolver = GuardedResolver(self._allowed)
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            limit=0,
            keepalive_timeout=_KEEPALIVE,
            ttl_dns_cache=10,
            ssl=self._tls or True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"user-agent": f"Holdfast/{__version__}", "accept-encoding": "identity"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._resolver.close()

    async def send(self, destination: Destination, message: Message, now: datetime) -> Attempt:
        """Try once, for at most `destination.timeout` seconds. Never raises for what a destination does.

        2xx is delivered, 410 rejected for good, a URL that is not allowed refused. All else is worth a retry: the other
        4xx, since merchants mend their handlers; a name that leads to where we may not send, since name servers fail;
        and a 410 of the company's own application, since it is ours to mend.
        Source: Standard Webhooks, "Operational considerations".
        """
        began = time.perf_counter()
        try:
            target = self._target(destination.address)
            body, headers = _request(destination, message, int(now.timestamp()))
            async with self._session.post(
                target, data=body, headers=headers, allow_redirects=False, timeout=self._timeout(destination.timeout)
            ) as response:
                kept = await _read(response)
                can_leave = destination.kind != "application"
                return _answered(response, kept, time.perf_counter() - began, now, can_leave=can_leave)
        except (DeliveryError, aiohttp.ClientError, OSError, UnicodeError) as error:
            return _unanswered(error, time.perf_counter() - began, destination.timeout)

    def _target(self, address: str) -> URL:
        """The checked URL. What `check_url` says depends on the text alone, so it need not be asked twice."""
        known = self._targets.get(address)
        if known is None:
            check_url(address, self._allowed, https_only=self._https_only)
            known = URL(address)
            if len(self._targets) >= _TARGETS:
                self._targets.clear()
            self._targets[address] = known
        return known

    def _timeout(self, total: float) -> aiohttp.ClientTimeout:
        known = self._timeouts.get(total)
        if known is None:
            known = aiohttp.ClientTimeout(total=total, connect=min(CONNECT_TIMEOUT, total))
            self._timeouts[total] = known
        return known


def _request(destination: Destination, message: Message, unix: int) -> tuple[bytes, dict[str, str]]:
    """Body and headers. The application gets the provider's bytes, which its provider SDK can verify.

    (The SDK may find the provider's time stamp too old when a delivery is late; our own signature is always fresh.)
    """
    if destination.kind == "application":
        body = message.body
        headers = _providers(message.headers)
    else:
        body = signing.payload(message)
        headers = {"content-type": "application/json"}
    headers["holdfast-attempt"] = str(message.attempt)
    headers.update(signing.headers(message.webhook_id, unix, body, destination.secrets))
    return body, headers


def _providers(original: Mapping[str, str]) -> dict[str, str]:
    kept = {"content-type": "application/json"}
    for name, value in original.items():
        lower = name.lower()
        if lower.startswith(_PROVIDERS_OWN) and not _UNSENDABLE.search(lower + value):
            kept[lower] = value
    return kept


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The first bytes of the answer. The rest is read up to a bound, so that the connection can be used again.

    The status line has decided already: an answer that breaks off or does not end changes nothing.
    """
    kept, size = b"", 0
    try:
        while chunk := await response.content.read(_READ_AT_MOST):
            size += len(chunk)
            if len(kept) < RESPONSE_KEPT:
                kept += chunk[: RESPONSE_KEPT - len(kept)]
            if size >= _READ_AT_MOST:
                response.close()
                break
    except (aiohttp.ClientError, OSError):
        response.close()
    return kept


def _answered(
    response: aiohttp.ClientResponse, kept: bytes, latency: float, now: datetime, *, can_leave: bool
) -> Attempt:
    """`can_leave`: whether a 410 means that nothing is wanted there any more."""
    status = response.status
    has_left = status == 410 and can_leave
    if 200 <= status < 300:
        return Attempt(Outcome.DELIVERED, status, latency, response=kept)
    return Attempt(
        Outcome.REJECTED if has_left else Outcome.RETRY,
        status,
        latency,
        _failure(status, response.headers.get("location", "")),
        kept,
        parse_retry_after(response.headers.get("retry-after"), now),
        down=status >= 500 or status in _DOWN or (status == 410 and not has_left),
        congested=status in _CONGESTED,
    )


def _unanswered(error: Exception, latency: float, timeout: float) -> Attempt:
    match error:
        case NameRefused():
            return Attempt(Outcome.RETRY, None, latency, str(error), down=True, congested=True)
        case AddressRefused():
            return Attempt(Outcome.REFUSED, None, latency, str(error))
        case SecretError():  # the operator can mend it
            return Attempt(Outcome.RETRY, None, latency, str(error))
        case aiohttp.InvalidURL() | UnicodeError():  # a name that DNS cannot carry
            return Attempt(Outcome.REFUSED, None, latency, "the URL cannot be requested")
    return Attempt(Outcome.RETRY, None, latency, _readable(error, timeout), down=True, congested=True)


def _failure(status: int, location: str) -> str:
    if 300 <= status < 400:
        return f"redirect to {_shown(location)} not followed"
    if status == 410:
        return "answered 410: gone"
    return f"answered {status}"


def _shown(location: str) -> str:
    """A redirect's target without the parts that may hold secrets."""
    try:
        parts = urlsplit(location)
        host = parts.hostname or ""
    except ValueError:
        return "an unreadable address"
    shown = f"{parts.scheme}://{host}{parts.path}" if host else parts.path
    return "".join(char for char in shown[:200] if char.isprintable()) or "nowhere"


def _readable(error: Exception, timeout: float) -> str:  # noqa: PLR0911 a table of errors and their words
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"connect timed out after {min(CONNECT_TIMEOUT, timeout):g} s"
        case aiohttp.ClientConnectorCertificateError():
            return f"TLS: {_certificate(error.certificate_error)}"
        case aiohttp.ClientConnectorDNSError():
            return f"no such host: {error.host}"
        case aiohttp.ClientSSLError():
            return f"TLS: {_os_reason(error.os_error)}"
        case aiohttp.ClientConnectorError():
            return f"connect {_os_reason(error.os_error)}"
        case aiohttp.ServerDisconnectedError() | ConnectionResetError():
            return "the connection was closed before an answer came"
        case asyncio.TimeoutError():
            return f"timed out after {timeout:g} s"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return "the answer is not HTTP"
        case aiohttp.ClientOSError():
            return f"connection {_os_reason(error)}"
    return f"not sent: {type(error).__name__}"


def _os_reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionResetError):
        return "reset"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "handshake failed").lower().replace("_", " ")
    return (error.strerror or type(error).__name__).lower()[:200]


def _certificate(error: Exception) -> str:
    message = getattr(error, "verify_message", "") or "the certificate is not valid"
    return str(message)[:200]
