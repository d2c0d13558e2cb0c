"""The parameters of `GET /v1/events` and `GET /v2/core/events`, read as strictly as Stripe reads them.

Source: https://docs.stripe.com/api/events/list, https://docs.stripe.com/api/v2/core/events/list and
https://docs.stripe.com/api/pagination.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 10
MAX_TYPES: Final = 20

_BOUND: Final = re.compile(r"created\[(gt|gte|lt|lte)\]")
_TYPES: Final = re.compile(r"types\[\d*\]")
_IGNORED: Final = re.compile(r"expand\[\d*\]")


class InvalidRequest(Exception):  # noqa: N818 - Stripe's own name for it
    """A request that Stripe refuses: `message` and the `param` at fault, `code` when Stripe has one for it."""

    def __init__(self, message: str, param: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


@dataclass(frozen=True, slots=True)
class EventQuery:
    """One page of events. `created_from` and `created_to` are Unix seconds, both included.

    `types` may end in `*`; empty means every type. `delivery_success` is `None` for both.
    """

    limit: int = DEFAULT_LIMIT
    starting_after: str | None = None
    ending_before: str | None = None
    types: tuple[str, ...] = ()
    created_from: int | None = None
    created_to: int | None = None
    delivery_success: bool | None = None

    def fits_type(self, event_type: str) -> bool:
        return not self.types or any(_fits(pattern, event_type) for pattern in self.types)


def parse_event_query(parameters: Iterable[tuple[str, str]]) -> EventQuery:
    """The page that the query string asks for. InvalidRequest for what Stripe answers 400 to."""
    single: dict[str, str] = {}
    types: list[str] = []
    for name, value in parameters:
        if _TYPES.fullmatch(name):
            types.append(value)
        elif not _IGNORED.fullmatch(name):
            single[name] = value
    if "type" in single and types:
        raise InvalidRequest("You may pass either `type` or `types`, but not both.", "types")
    if len(types) > MAX_TYPES:
        raise InvalidRequest(f"You may pass at most {MAX_TYPES} types.", "types")
    if "type" in single:
        types = [single.pop("type")]
    limit, after, before = parse_page(single)
    success = _boolean(single.pop("delivery_success", None))
    since, until = _created(single)
    if single:
        unknown = next(iter(single))
        raise InvalidRequest(f"Received unknown parameter: {unknown}", unknown, "parameter_unknown")
    return EventQuery(limit, after, before, tuple(types), since, until, success)


def parse_thin_query(parameters: Iterable[tuple[str, str]]) -> EventQuery:
    """As `parse_event_query`, for v2: times are RFC 3339, and `page` is the cursor. InvalidRequest."""
    translated = []
    for name, value in parameters:
        if _BOUND.fullmatch(name):
            translated.append((name, str(_moment(value, name))))
        else:
            translated.append(("starting_after" if name == "page" else name, value))
    return parse_event_query(translated)


def parse_page(parameters: dict[str, str]) -> tuple[int, str | None, str | None]:
    """Take `limit`, `starting_after` and `ending_before` out of `parameters`. InvalidRequest if they are wrong."""
    limit = DEFAULT_LIMIT
    if "limit" in parameters:
        limit = _integer(parameters.pop("limit"), "limit")
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(f"Invalid limit: it must be between 1 and {MAX_LIMIT}.", "limit")
    after, before = parameters.pop("starting_after", None), parameters.pop("ending_before", None)
    if after and before:
        raise InvalidRequest("You can only provide one of `starting_after` and `ending_before`.", "ending_before")
    return limit, after or None, before or None


def _created(parameters: dict[str, str]) -> tuple[int | None, int | None]:
    since: list[int] = []
    until: list[int] = []
    for name in [name for name in parameters if name == "created" or _BOUND.fullmatch(name)]:
        at = _integer(parameters.pop(name), name)
        if name in ("created", "created[gte]", "created[gt]"):
            since.append(at + (name == "created[gt]"))
        if name in ("created", "created[lte]", "created[lt]"):
            until.append(at - (name == "created[lt]"))
    return max(since, default=None), min(until, default=None)


def _integer(value: str, param: str) -> int:
    if not re.fullmatch(r"-?\d{1,18}", value):
        raise InvalidRequest(f"Invalid integer: {value}", param, "parameter_invalid_integer")
    return int(value)


def _moment(value: str, param: str) -> int:
    try:
        return int(datetime.fromisoformat(value).timestamp())
    except ValueError:
        raise InvalidRequest(f"Invalid timestamp: {value}", param, "parameter_invalid") from None


def _boolean(value: str | None) -> bool | None:
    if value not in (None, "true", "false"):
        raise InvalidRequest(f"Invalid boolean: {value}", "delivery_success")
    return None if value is None else value == "true"


def _fits(pattern: str, event_type: str) -> bool:
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1])
    return pattern == event_type
