"""The official SDK pointed at an emulated Twilio."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
from twilio.http import AsyncHttpClient  # type: ignore[import-untyped, unused-ignore]
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


class RewritingAsyncClient(AsyncHttpClient):  # type: ignore[misc]  # untyped
    """The SDK's own asynchronous client uses aiohttp's BasicAuth, which warns that it is deprecated."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        super().__init__(logger=None, is_async=True)
        self._url = url
        self._session = session

    async def request(
        self,
        method: str,
        url: str,
        params: Any = None,
        data: Any = None,
        headers: Any = None,
        auth: Any = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        signed = (headers or {}) | ({"Authorization": aiohttp.encode_basic_auth(*auth)} if auth else {})
        async with self._session.request(
            method, _moved(url, self._url), params=params, data=data, headers=signed, allow_redirects=allow_redirects
        ) as answer:
            return Response(answer.status, await answer.text(), answer.headers)


class RewritingBlockingClient(TwilioHttpClient):  # type: ignore[misc]  # untyped
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
    async with aiohttp.ClientSession() as session:
        yield Client(user, token, account, http_client=RewritingAsyncClient(emulated.url, session))


@contextmanager
def blocking_sdk(emulated: EmulatedTwilio) -> Iterator[Client]:
    http = RewritingBlockingClient(emulated.url)
    try:
        yield Client(DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, http_client=http)
    finally:
        http.session.close()
