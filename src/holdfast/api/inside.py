"""Pages for operators and their tools: open to this machine, to everybody else with the token of the API."""

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response

from holdfast import problems
from holdfast.api.bearer import CHALLENGE, Bearer, ClosedError
from holdfast.comms.networks import address_of
from holdfast.config import Settings

Endpoint = Callable[[Request], Awaitable[Response]]
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""What proxies add. It is only believed to say that somebody else asks."""


class Inside:
    """Whom such pages are shown to."""

    def __init__(self, settings: Settings) -> None:
        self._bearer = Bearer(settings)

    def only(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint, behind the door; to others it is a 401."""

        @wraps(endpoint)
        async def guarded(request: Request) -> Response:
            if not is_here(request.client.host if request.client else "", request.headers):
                try:
                    self._bearer.admit(request.headers)
                except ClosedError as error:
                    return Response(
                        problems.problem(401, str(error)),
                        status_code=401,
                        headers=dict([CHALLENGE]),
                        media_type=problems.CONTENT_TYPE.decode(),
                    )
            return await endpoint(request)

        return guarded


def is_here(peer: str, headers: Mapping[str, str]) -> bool:
    """Whether a program of this machine asks, and for itself as far as can be told."""
    if any(name in headers for name in _FORWARDED):
        return False
    address = address_of(peer)
    return address is not None and address.is_loopback
