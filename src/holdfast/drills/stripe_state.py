"""What the emulated Stripe remembers: events, the latest state of objects, and how the deliveries went. Bounded."""

import zlib
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final, Literal

import msgspec

from holdfast.drills.stripe_faults import StripeEmulatorError
from holdfast.drills.stripe_listing import EventQuery, InvalidRequest
from holdfast.drills.stripe_objects import Json

KEPT_EVENTS: Final = 200_000

DeliveryState = Literal["pending", "delivered", "undelivered"]
_Position = tuple[int, int]


@dataclass(slots=True)
class Delivery:
    """How sending one event to one endpoint goes.

    `last_status` is the HTTP status of the last answer, `None` when there was none (`last_error` says why).
    `undelivered` means that Stripe stopped retrying.
    """

    event_id: str
    endpoint_id: str
    state: DeliveryState = "pending"
    attempts: int = 0
    last_status: int | None = None
    last_error: str | None = None


@dataclass(slots=True)
class _Kept:
    """An event as kept: its JSON is compressed, since a drill keeps hundreds of thousands of them."""

    position: _Position
    event_type: str
    account: str | None
    body: bytes
    deliveries: dict[str, Delivery] = field(default_factory=dict)

    def pending(self) -> int:
        return sum(delivery.state != "delivered" for delivery in self.deliveries.values())


class StripeState:
    """Everything the API can answer from. At most `max_events` events and as many objects; the oldest go first."""

    def __init__(self, max_events: int = KEPT_EVENTS) -> None:
        if max_events < 1:
            raise StripeEmulatorError(f"max_events must be at least 1, not {max_events}")
        self._max = max_events
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        # The two generations of events have separate lists.
        self._timelines: dict[tuple[bool, str | None], list[tuple[_Position, str]]] = {}
        self._objects: OrderedDict[tuple[str | None, str], tuple[int, bytes]] = OrderedDict()
        self._recorded = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def event_ids(self) -> tuple[str, ...]:
        return tuple(self._kept)

    def record(self, event: Json, endpoints: Iterable[str]) -> tuple[Delivery, ...]:
        """Keep an event and open a delivery for each endpoint. StripeEmulatorError for an id that is kept already."""
        event_id, thin = event["id"], event["object"] == "v2.core.event"
        if event_id in self._kept:
            raise StripeEmulatorError(f"{event_id} was emitted before; use `resend` to send it again")
        account = event["context"] if thin else event.get("account")
        created = int(datetime.fromisoformat(event["created"]).timestamp()) if thin else event["created"]
        self._recorded += 1
        kept = _Kept((created, self._recorded), event["type"], account, _packed(event))
        kept.deliveries = {endpoint: Delivery(event_id, endpoint) for endpoint in endpoints}
        self._kept[event_id] = kept
        timeline = self._timelines.setdefault((thin, account), [])
        entry = (kept.position, event_id)
        timeline.insert(bisect_right(timeline, entry), entry)
        if not thin:
            self.keep_object(event["data"]["object"], account, created)
        self._evict()
        return tuple(kept.deliveries.values())

    def keep_object(self, found: Json, account: str | None, at: int) -> None:
        """Remember an object's state at Unix second `at`, unless a later one is known. No id, nothing to keep."""
        key = (account, str(found.get("id")))
        known = self._objects.get(key)
        if "id" not in found or (known is not None and known[0] > at):
            return
        self._objects[key] = (at, _packed(found))
        self._objects.move_to_end(key)
        while len(self._objects) > self._max:
            self._objects.popitem(last=False)

    def find_object(self, kind: str, object_id: str, account: str | None) -> Json | None:
        packed = self._objects.get((account, object_id))
        found = _unpacked(packed[1]) if packed else None
        return found if found is not None and found["object"] == kind else None

    def event(self, event_id: str) -> Json | None:
        """The event with `pending_webhooks` as it is now, or `None` if it is not kept (any more)."""
        kept = self._kept.get(event_id)
        if kept is None:
            return None
        event = _unpacked(kept.body)
        if event["object"] == "event":
            event["pending_webhooks"] = kept.pending()
        return event

    def deliveries(self, event_id: str) -> Mapping[str, Delivery]:
        """The deliveries of an event by endpoint id. StripeEmulatorError for an unknown event."""
        if event_id not in self._kept:
            raise StripeEmulatorError(f"there is no event {event_id}: it was never emitted, or is too old to be kept")
        return self._kept[event_id].deliveries

    def delivered(self, at_most: int) -> list[str]:
        """Ids of events with an acknowledged delivery, the latest emitted first."""
        newest_first = (event_id for event_id in reversed(self._kept) if self._is_delivered(event_id))
        return list(islice(newest_first, at_most))

    def list_events(
        self, account: str | None, query: EventQuery, oldest: int, *, thin: bool = False
    ) -> tuple[list[Json], bool]:
        """One page of an account's v1 events, newest first, and whether there are more in the direction of travel.

        `thin`: v2 events instead. Those created before Unix second `oldest` are left out. InvalidRequest for a cursor
        that is not in the list (any more).
        """
        timeline = self._timelines.get((thin, account), [])
        listed = bisect_left(timeline, ((oldest, 0), ""))
        since = oldest if query.created_from is None else max(oldest, query.created_from)
        low = bisect_left(timeline, ((since, 0), ""))
        high = len(timeline)
        if query.created_to is not None:
            high = bisect_left(timeline, ((query.created_to + 1, 0), ""))
        if query.ending_before is not None:
            low = max(low, self._cursor(timeline, listed, query.ending_before, "ending_before") + 1)
            found = self._fitting(timeline, range(low, high), query)
        else:
            if query.starting_after is not None:
                high = min(high, self._cursor(timeline, listed, query.starting_after, "starting_after"))
            found = self._fitting(timeline, range(high - 1, low - 1, -1), query)
        ids = list(islice(found, query.limit + 1))
        page = ids[: query.limit]
        if query.ending_before is not None:
            page.reverse()
        return [event for event in map(self.event, page) if event is not None], len(ids) > query.limit

    def _fitting(self, timeline: list[tuple[_Position, str]], places: range, query: EventQuery) -> Iterator[str]:
        for place in places:
            event_id = timeline[place][1]
            kept = self._kept[event_id]
            if not query.fits_type(kept.event_type):
                continue
            if query.delivery_success is None or query.delivery_success == (kept.pending() == 0):
                yield event_id

    def _cursor(self, timeline: list[tuple[_Position, str]], listed: int, event_id: str, param: str) -> int:
        """Its place in the timeline, of which what comes before `listed` is too old to be named."""
        kept = self._kept.get(event_id)
        place = bisect_left(timeline, (kept.position, event_id)) if kept else len(timeline)
        if not listed <= place < len(timeline) or timeline[place][1] != event_id:
            raise InvalidRequest(f"No such event: '{event_id}'", param, "resource_missing")
        return place

    def _is_delivered(self, event_id: str) -> bool:
        return any(delivery.state == "delivered" for delivery in self._kept[event_id].deliveries.values())

    def _evict(self) -> None:
        if len(self._kept) <= self._max:
            return
        # A hundredth at a time: rebuilding the timelines for every single event would be quadratic.
        for _ in range(max(1, self._max // 100)):
            self._kept.popitem(last=False)
        for key, timeline in self._timelines.items():
            self._timelines[key] = [entry for entry in timeline if entry[1] in self._kept]


def _packed(value: Json) -> bytes:
    return zlib.compress(msgspec.json.encode(value), 1)


def _unpacked(body: bytes) -> Json:
    value: Json = msgspec.json.decode(zlib.decompress(body))
    return value
