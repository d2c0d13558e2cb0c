"""Destinations and messages for the tests of delivery."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from holdfast.delivery.model import Message
from holdfast.delivery.signing import new_secret
from holdfast.merchants.model import Destination

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
SECRET = new_secret()


def destination(address: str, **changes: Any) -> Destination:
    return replace(Destination(7, 3, "webhook", address, (SECRET,), ("*",), True), **changes)


def event(event_type: str, about: dict[str, Any], **fields: Any) -> bytes:
    """Laid out as Stripe does: indented by two."""
    whole = {"id": "evt_1", "object": "event", "type": event_type, "data": {"object": about}} | fields
    return json.dumps(whole, indent=2).encode()


PAYMENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 1099,
    "currency": "usd",
    "status": "succeeded",
    "description": "Grüße 👋",
}


def message(event_type: str = "payment_intent.succeeded", body: bytes | None = None, **changes: Any) -> Message:
    made = Message(
        delivery_id=11,
        webhook_id="msg_11",
        attempt=1,
        event_id="evt_1",
        event_type=event_type,
        created=datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
        received=datetime(2026, 3, 4, 5, 6, 8, tzinfo=UTC),
        account="acct_1",
        merchant="bakery",
        livemode=True,
        body=event(event_type, PAYMENT) if body is None else body,
        headers={"stripe-signature": "t=1,v1=abc", "content-type": "application/json; charset=utf-8"},
    )
    return replace(made, **changes)


def now() -> datetime:
    return datetime.now(UTC)
