"""Stripe events for tests, from the emulated Stripe's own maker."""

import json
import random
import time
from typing import Any

from holdfast.drills.stripe_objects import Json, ObjectMaker
from holdfast.drills.stripe_webhooks import render, sign
from holdfast.inbox.model import NewEvent, parse_stripe

SECRET = "whsec_test"
maker = ObjectMaker(random.Random(11))


def event(event_type: str = "payment_intent.succeeded", account: str | None = "acct_1A", **changes: Any) -> Json:
    """An event of a fresh payment intent."""
    now = int(time.time())
    about = maker.payment_intent(now, 1099, "usd", None)
    made = maker.event(event_type, about, now, account)
    return made | changes


def body(made: Json) -> bytes:
    return render(made)


def new(made: Json, received: float | None = None) -> NewEvent:
    """As the gateway hands it to the inbox."""
    headers = json.dumps({"stripe-signature": "t=1,v1=abc", "content-type": "application/json; charset=utf-8"})
    return parse_stripe(body(made), headers, received or time.time())


def signed(payload: bytes, *, secret: str = SECRET, at: int | None = None) -> dict[str, str]:
    return {"Stripe-Signature": sign(payload, secret, at or int(time.time())), "Content-Type": "application/json"}
