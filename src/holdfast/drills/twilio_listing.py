"""How the emulated Twilio's API answers: pages, filters by date, and errors.

Sources: https://www.twilio.com/docs/usage/twilios-response (paging, errors) and the lists of each resource.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from holdfast.drills.twilio_resources import Json

_PAGE_SIZE: Final = 50
_LARGEST_PAGE: Final = 1_000


class _Listed(Protocol):
    sid: str


_Item = TypeVar("_Item", bound=_Listed)


class ApiError(Exception):
    """A request is answered with an error: HTTP `status` and Twilio's `code`."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self) -> web.Response:
        more_info = f"https://www.twilio.com/docs/errors/{self.code}"
        return answer(
            self.status, {"code": self.code, "message": self.message, "more_info": more_info, "status": self.status}
        )


def missing(path: str) -> ApiError:
    return ApiError(404, 20404, f"The requested resource {path} was not found")


def answer(status: int, document: Json) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(document), content_type="application/json")


class Page(Generic[_Item]):
    """One page of a list: `items`, of which `parameters` are the query that asked for them."""

    def __init__(self, found: Iterable[_Item], path: str, parameters: Mapping[str, str]) -> None:
        self.path = path
        self.size = _whole(parameters, "PageSize", _PAGE_SIZE, 1, _LARGEST_PAGE)
        self.number = _whole(parameters, "Page", 0, 0, 1_000_000)
        self._query = {
            name: value for name, value in parameters.items() if name not in ("PageSize", "Page", "PageToken")
        }
        items = _after(found, parameters.get("PageToken"), self.number * self.size)
        self._items = items[: self.size]
        self._more = len(items) > self.size

    @property
    def items(self) -> list[_Item]:
        return self._items

    @property
    def first(self) -> str:
        return self._address(0, None)

    @property
    def next(self) -> str | None:
        return self._address(self.number + 1, f"PA{self._items[-1].sid}") if self._more else None

    @property
    def previous(self) -> str | None:
        return self._address(self.number - 1, None) if self.number else None

    def _address(self, page: int, token: str | None) -> str:
        query = self._query | {"PageSize": str(self.size), "Page": str(page)}
        return f"{self.path}?{urlencode(query | ({'PageToken': token} if token else {}))}"


def page_2010(key: str, found: Iterable[_Item], render: Callable[[_Item], Json], request: web.Request) -> web.Response:
    """A list of the 2010 API, whose addresses are relative."""
    page = Page(found, request.path, request.query)
    shown = [render(item) for item in page.items]
    start = page.number * page.size
    return answer(
        200,
        {
            key: shown,
            "page": page.number,
            "page_size": page.size,
            "start": start,
            "end": max(start, start + len(shown) - 1),
            "uri": request.path_qs,
            "first_page_uri": page.first,
            "next_page_uri": page.next,
            "previous_page_uri": page.previous,
        },
    )


def page_v1(
    key: str, found: Iterable[_Item], render: Callable[[_Item], Json], request: web.Request, base_url: str
) -> web.Response:
    """A list of a newer API, whose addresses are whole."""
    page = Page(found, base_url + request.path, request.query)
    shown = [render(item) for item in page.items]
    meta = {
        "key": key,
        "page": page.number,
        "page_size": page.size,
        "url": base_url + request.path_qs,
        "first_page_url": page.first,
        "next_page_url": page.next,
        "previous_page_url": page.previous,
    }
    return answer(200, {key: shown, "meta": meta})


def within(parameters: Mapping[str, str], name: str) -> Callable[[float | None], bool]:
    """A filter by the moments `name`, `name<` and `name>` of a 2010 list. ApiError for what is no date."""
    exact, until, since = (_moment(parameters.get(key)) for key in (name, f"{name}<", f"{name}>"))

    def fits(at: float | None) -> bool:
        if at is None:
            return exact is until is since is None
        return (
            (exact is None or exact[0] <= at < exact[1])
            and (until is None or at < until[0] + 1)
            and (since is None or at >= since[0])
        )

    return fits


def between(parameters: Mapping[str, str], now: float, longest: timedelta) -> tuple[float, float]:
    """The span from `StartDate` to `EndDate`, both included, by default all that is kept. ApiError for no dates."""
    start, end = _moment(parameters.get("StartDate")), _moment(parameters.get("EndDate"))
    oldest = now - longest.total_seconds()
    return max(oldest, start[0] if start else oldest), end[1] if end else now + 1


def _moment(given: str | None) -> tuple[float, float] | None:
    """The span that a date (a day) or a time (a second) means, as Unix times."""
    if given is None:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError as error:
        raise ApiError(400, 20001, f"Invalid date {given!r}") from error
    at = at.replace(tzinfo=at.tzinfo or UTC)
    # The SDK writes a date as its midnight.
    whole_day = (at.hour, at.minute, at.second) == (0, 0, 0)
    return at.timestamp(), at.timestamp() + (86_400 if whole_day else 1)


def _after(found: Iterable[_Item], token: str | None, skip: int) -> list[_Item]:
    """What follows the item that a token names. Items that came in the meantime do not shift the pages."""
    items = list(found)
    if token is None:
        return items[skip:]
    for place, item in enumerate(items):
        if item.sid == token.removeprefix("PA"):
            return items[place + 1 :]
    raise ApiError(400, 20001, f"Invalid PageToken {token!r}")


def _whole(parameters: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    try:
        return min(high, max(low, int(parameters.get(name, default))))
    except ValueError as error:
        raise ApiError(400, 20001, f"{name} must be a whole number") from error
