"""Reads the payment object out of a Stripe event.

Sources: https://docs.stripe.com/api (the objects), https://docs.stripe.com/payments/paymentintents/lifecycle,
https://docs.stripe.com/disputes/how-disputes-work, https://docs.stripe.com/invoicing/overview#invoice-statuses.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from holdfast.payments.model import KINDS, NEVER_NAME_AN_OWNER, Fact, State

_TYPES: Final = re.compile(r"(?:v\d+\.)?(payment_intent|charge|refund|checkout\.session|invoice|payout|transfer)\.")
_LARGEST: Final = 2**62
_RANK_STEP: Final = 2**48

# How far each status is along the object's life: decides between events of the same second.
_PROGRESS: Final[Mapping[str, Mapping[str, int]]] = {
    "payment_intent": {
        "requires_payment_method": 0,
        "requires_confirmation": 1,
        "requires_action": 2,
        "processing": 3,
        "requires_capture": 5,  # 4 is a failed try: again requires_payment_method, but with an error
        "canceled": 6,
        "succeeded": 7,
    },
    "charge": {"pending": 0, "failed": 1, "succeeded": 2},
    "refund": {"pending": 0, "requires_action": 1, "succeeded": 2, "failed": 3, "canceled": 3},
    "dispute": {
        "warning_needs_response": 0,
        "warning_under_review": 1,
        "warning_closed": 2,
        "needs_response": 3,
        "under_review": 4,
        "prevented": 5,
        "won": 6,
        "lost": 6,
    },
    "checkout.session": {"open": 0, "complete": 1, "expired": 1},
    "invoice": {"draft": 0, "open": 1, "uncollectible": 2, "void": 3, "paid": 4},
    "payout": {"pending": 0, "in_transit": 1, "paid": 2, "failed": 3, "canceled": 3},
    "transfer": {"paid": 0, "partially_reversed": 1, "reversed": 2},
}
_FAILED_TRY: Final = 4


class UnreadableError(Exception):
    """The event is about a payment object, but not in a form we know; the message says what is wrong."""


class Object(msgspec.Struct):
    """The fields of all payment objects that the ledger needs; what points elsewhere is an id or an expanded object."""

    object: str
    created: int | None = None
    id: str | None = None
    status: str | None = None
    currency: str | None = None
    amount: int | None = None
    amount_received: int | None = None
    amount_captured: int | None = None
    amount_refunded: int | None = None
    amount_total: int | None = None
    amount_paid: int | None = None
    amount_reversed: int | None = None
    total: int | None = None
    payment_status: str | None = None
    last_payment_error: Any = None
    payment_intent: Any = None
    charge: Any = None
    invoice: Any = None
    payments: Any = None
    source_transaction: Any = None
    destination: Any = None
    on_behalf_of: Any = None
    transfer_data: Any = None


class _Data(msgspec.Struct):
    object: Object


class _Kind(msgspec.Struct):
    object: Any = None


class _AnyData(msgspec.Struct):
    object: _Kind | None = None


class _AnyEvent(msgspec.Struct):
    data: _AnyData | None = None


class _Event(msgspec.Struct):
    data: _Data | None = None


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_object = msgspec.json.Decoder(Object).decode


@lru_cache(maxsize=4096)
def concerns_payments(event_type: str) -> bool:
    """Whether events of this type are about an object of the ledger."""
    return _TYPES.match(event_type) is not None


def read_event(body: bytes, event_id: str, at: datetime) -> Fact | None:
    """The fact in a snapshot event's body; None if its object is not one of the ledger's. Raises UnreadableError."""
    try:
        event = _decode_event(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if _is_something_else(body):
            return None
        raise UnreadableError(str(error)) from None
    if event.data is None:
        raise UnreadableError("the event carries no object")
    return _fact(event.data.object, event_id, at)


def _is_something_else(body: bytes) -> bool:
    """Whether the event is about an object that is none of the ledger's, whatever fields that has."""
    try:
        event = msgspec.json.decode(body, type=_AnyEvent)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    kind = event.data.object.object if event.data is not None and event.data.object is not None else None
    return isinstance(kind, str) and kind not in KINDS


def read_object(body: bytes, event_id: str, at: datetime) -> Fact | None:
    """The fact in an object that was fetched for a thin event. Raises UnreadableError."""
    try:
        found = _decode_object(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableError(str(error)) from None
    return _fact(found, event_id, at)


def _fact(found: Object, event_id: str, at: datetime) -> Fact | None:
    if found.object not in KINDS or found.id is None:  # an upcoming invoice is a forecast and has no id
        return None
    state = _state(found)
    for amount in (state.amount, state.settled, state.reversed):
        if amount is not None and not -_LARGEST < amount < _LARGEST:
            raise UnreadableError(f"the amount {amount} is beyond all bounds")
    parents = _parents(found)
    for name in (found.id, state.status, state.currency or "", state.belongs_to or "", *parents):
        if len(name) > 255 or "\0" in name:
            raise UnreadableError("an id, status or currency is no such thing")
    try:
        created_at = at if found.created is None else _second(found.created)
    except (ValueError, OverflowError, OSError):
        raise UnreadableError(f"created is {found.created}, which is no time") from None
    return Fact(found.id, found.object, created_at, state, _rank(found, state), at, event_id, _owner(found), parents)


def _state(found: Object) -> State:  # noqa: PLR0911 - a table of kinds
    """Stripe's words where there are some; a transfer has no status of its own, so it is told by its amounts."""
    status, currency = found.status or "unknown", found.currency
    amount = found.amount
    match found.object:
        case "payment_intent":
            return State(status, currency, amount, found.amount_received or 0, None, _id(found.invoice))
        case "charge":
            captured = found.amount_captured or 0
            return State(status, currency, amount, captured, found.amount_refunded or 0, _id(found.payment_intent))
        case "refund":
            settled = amount if status == "succeeded" else 0
            return State(status, currency, amount, settled, None, _id(found.charge) or _id(found.payment_intent))
        case "dispute":
            return State(status, currency, amount, None, None, _id(found.charge) or _id(found.payment_intent))
        case "checkout.session":
            amount = found.amount_total
            settled = amount if found.payment_status == "paid" else 0
            return State(status, currency, amount, settled, None, _id(found.payment_intent) or _id(found.invoice))
        case "invoice":
            return State(status, currency, found.total, found.amount_paid or 0, None, _intent_of_invoice(found))
        case "payout":
            return State(status, currency, amount, amount if status == "paid" else 0, None, None)
    back = found.amount_reversed or 0
    status = "paid" if back == 0 else "reversed" if back >= (amount or 0) else "partially_reversed"
    return State(status, currency, amount, amount, back, _id(found.source_transaction))


def _rank(found: Object, state: State) -> int:
    progress = _PROGRESS[found.object].get(state.status, 0)
    if state.status == "requires_payment_method" and found.last_payment_error is not None:
        progress = _FAILED_TRY
    moved = max(0, state.settled or 0) + max(0, state.reversed or 0)  # both only grow
    return progress * _RANK_STEP + min(moved, _RANK_STEP - 1)


def _owner(found: Object) -> str | None:
    if found.object == "transfer":
        return _id(found.destination)
    if isinstance(found.transfer_data, dict):
        return _id(found.transfer_data.get("destination"))
    return _id(found.on_behalf_of)


def _intent_of_invoice(found: Object) -> str | None:
    """`payment_intent` up to API version 2025-02-24; after it one of `payments`, where these are expanded.

    Source: https://docs.stripe.com/changelog/basil/2025-03-31/add-support-for-multiple-partial-payments-on-invoices
    """
    if found.payment_intent is not None or not isinstance(found.payments, dict):
        return _id(found.payment_intent)
    listed = found.payments.get("data")
    made = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    made.sort(key=lambda item: item.get("status") != "paid")
    ways = [item["payment"] for item in made if isinstance(item.get("payment"), dict)]
    return next((intent for way in ways if (intent := _id(way.get("payment_intent"))) is not None), None)


def _parents(found: Object) -> tuple[str, ...]:
    if found.object not in NEVER_NAME_AN_OWNER:
        return ()
    links = (found.charge, found.payment_intent, found.invoice)
    return tuple(parent for parent in map(_id, links) if parent is not None)


def _id(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) else None


@lru_cache(maxsize=4096)
def _second(unix: int) -> datetime:
    return datetime.fromtimestamp(unix, UTC)
