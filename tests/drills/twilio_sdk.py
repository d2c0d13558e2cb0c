"""The official SDK pointed at an emulated Twilio."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from twilio.http.async_http_client import AsyncTwilioHttpClient  # type: ignore[import-untyped, unused-ignore]
from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped, unused-ignore]
from twilio.http.response import Response  # type: ignore[import-untyped, unused-ignore]
from twilio.rest import Client  # type: ignore[import-untyped, unused-ignore]

from holdfast.drills.twilio import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, EmulatedTwilio

_HOSTS = ("https://api.twilio.com", "https://monitor.twilio.com")


def _moved(url: str, to: str) -> str:
    """The SDK has the hosts built in: everything of theirs is on the emulator's one address."""
    for host in _HOSTS:
        if url.startswith(host):
            return to + url.removeprefix(host)
    return url


class RewritingHttpClient(AsyncTwilioHttpClient):  # type: ignore[misc]  # untyped
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    async def request(self, method: str, url: str, *rest: Any, **named: Any) -> Response:
        return await super().request(method, _moved(url, self._url), *rest, **named)


class BlockingRewritingHttpClient(TwilioHttpClient):  # type: ignore[misc]  # untyped
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def request(self, method: str, url: str, *rest: Any, **named: Any) -> Response:
        return super().request(method, _moved(url, self._url), *rest, **named)


@asynccontextmanager
async def async_sdk(
    emulated: EmulatedTwilio,
    user: str = DEFAULT_ACCOUNT_SID,
    token: str = DEFAULT_AUTH_TOKEN,
    account: str | None = None,
) -> AsyncIterator[Client]:
    http = RewritingHttpClient(emulated.url)
    try:
        yield Client(user, token, account, http_client=http)
    finally:
        await http.session.close()


def blocking_sdk(emulated: EmulatedTwilio) -> Client:
    return Client(DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, http_client=BlockingRewritingHttpClient(emulated.url))
