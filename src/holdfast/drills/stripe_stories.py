"""Coherent sequences of Stripe events: what one payment, invoice, payout or transfer goes through.

A story is an iterator of event envelopes. Its clock is a function from seconds since the story began to Unix seconds:
`from_start(t)` spreads the events over the days they would take, a function that ignores its argument gives live
traffic the present time. The orders of types follow https://docs.stripe.com/payments/paymentintents/lifecycle,
https://docs.stripe.com/disputes/how-disputes-work and https://docs.stripe.com/invoicing/integration/workflow-transitions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.drills.stripe_objects import Json, ObjectMaker

StoryClock = Callable[[int], int]
AfterPayment = Literal["kept", "refunded", "disputed"]

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_CURRENCIES = ("usd", "usd", "eur", "gbp", "cad")


def from_start(start: int) -> StoryClock:
    """A story clock that starts at Unix second `start` and runs as fast as the story says."""
    return lambda elapsed: start + elapsed


@dataclass(frozen=True, slots=True)
class Narrator:
    """Tells stories of one account: `None` is the platform itself, otherwise the connected account's id."""

    maker: ObjectMaker
    clock: StoryClock
    account: str | None = None

    def tell(self, event_type: str, about: Json, elapsed: int, **changes: Any) -> Json:
        """Apply `changes` to `about`, then the event of it, `elapsed` seconds into the story."""
        previous = {name: about.get(name) for name in changes} if changes else None
        about.update(changes)
        shown = previous if event_type.endswith("updated") else None
        return self.maker.event(event_type, about, self.clock(elapsed), self.account, shown)

    def price(self) -> tuple[int, str]:
        """A plausible amount and its currency."""
        rng = self.maker.rng
        return round(rng.lognormvariate(8.2, 0.9)) + 50, rng.choice(_CURRENCIES)


def payment(narrator: Narrator, after: AfterPayment | None = None) -> Iterator[Json]:
    """One card payment that succeeds, and what happens later; `after` is drawn when it is not given."""
    maker, rng = narrator.maker, narrator.maker.rng
    ending = after or rng.choices(("kept", "refunded", "disputed"), (88, 9, 3))[0]
    amount, currency = narrator.price()
    intent = maker.payment_intent(narrator.clock(0), amount, currency, maker.new_id("customer"))
    yield narrator.tell("payment_intent.created", intent, 0)
    intent["payment_method"] = maker.new_id("payment_method")
    way = rng.choices(("at once", "authenticated", "settles later"), (75, 20, 5))[0]
    if way == "authenticated":
        action = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
        yield narrator.tell("payment_intent.requires_action", intent, 3, status="requires_action", next_action=action)
    elif way == "settles later":
        yield narrator.tell("payment_intent.processing", intent, 3, status="processing")
    charge = maker.charge(narrator.clock(20), intent)
    yield from _paid(narrator, intent, charge)
    if ending == "refunded":
        yield from _refunded(narrator, charge)
    elif ending == "disputed":
        yield from _disputed(narrator, charge)


def failed_payment(narrator: Narrator, recovers: bool | None = None) -> Iterator[Json]:
    """A payment whose first card is declined; `recovers` (drawn if not given) by a second card a minute later."""
    maker = narrator.maker
    amount, currency = narrator.price()
    intent = maker.payment_intent(narrator.clock(0), amount, currency, maker.new_id("customer"))
    yield narrator.tell("payment_intent.created", intent, 0)
    intent["payment_method"] = maker.new_id("payment_method")
    decline = maker.rng.choice(("insufficient_funds", "generic_decline", "do_not_honor", "expired_card"))
    declined = maker.failed_charge(narrator.clock(5), intent, decline)
    yield narrator.tell("charge.failed", declined, 5)
    error = {
        "charge": declined["id"],
        "code": "card_declined",
        "decline_code": decline,
        "message": "Your card was declined.",
        "type": "card_error",
    }
    failure: Json = {"last_payment_error": error, "latest_charge": declined["id"], "payment_method": None}
    yield narrator.tell("payment_intent.payment_failed", intent, 5, **failure)
    if recovers if recovers is not None else maker.rng.random() < 0.5:
        intent.update(payment_method=maker.new_id("payment_method"), last_payment_error=None)
        charge = maker.charge(narrator.clock(_MINUTE), intent)
        yield from _paid(narrator, intent, charge, _MINUTE)


def checkout(narrator: Narrator) -> Iterator[Json]:
    """A checkout session that a customer completes and pays."""
    maker = narrator.maker
    amount, currency = narrator.price()
    session = maker.checkout_session(narrator.clock(0), amount, currency)
    intent = maker.payment_intent(narrator.clock(90), amount, currency, maker.new_id("customer"))
    yield narrator.tell("payment_intent.created", intent, 90)
    intent["payment_method"] = maker.new_id("payment_method")
    yield from _paid(narrator, intent, maker.charge(narrator.clock(92), intent), 92)
    links: Json = {"payment_intent": intent["id"], "customer": intent["customer"]}
    done: Json = {"status": "complete", "payment_status": "paid", "url": None}
    yield narrator.tell("checkout.session.completed", session, 93, **links, **done)


def invoice(narrator: Narrator, fails_first: bool | None = None) -> Iterator[Json]:
    """An invoice from draft to paid; `fails_first` (drawn if not given) adds one failed collection a day before."""
    maker = narrator.maker
    amount, currency = narrator.price()
    bill = maker.invoice(narrator.clock(0), amount, currency, maker.new_id("customer"))
    yield narrator.tell("invoice.created", bill, 0)
    steps = bill["status_transitions"] | {"finalized_at": narrator.clock(_HOUR)}
    number = f"{maker.rng.getrandbits(32):08X}-0001"
    yield narrator.tell("invoice.finalized", bill, _HOUR, status="open", number=number, status_transitions=steps)
    tries, elapsed = 1, _HOUR + 30
    if fails_first if fails_first is not None else maker.rng.random() < 0.2:
        retry_at = narrator.clock(elapsed + _DAY)
        failure: Json = {"attempted": True, "attempt_count": 1, "next_payment_attempt": retry_at}
        yield narrator.tell("invoice.payment_failed", bill, elapsed, **failure)
        tries, elapsed = 2, elapsed + _DAY
    steps = steps | {"paid_at": narrator.clock(elapsed)}
    paid: Json = {"status": "paid", "amount_paid": amount, "amount_remaining": 0, "status_transitions": steps}
    paid |= {"attempted": True, "attempt_count": tries, "next_payment_attempt": None}
    yield narrator.tell("invoice.paid", bill, elapsed, **paid)
    yield narrator.tell("invoice.payment_succeeded", bill, elapsed)


def payout(narrator: Narrator, fails: bool | None = None) -> Iterator[Json]:
    """A payout to a bank account; `fails` (drawn if not given) when the bank refuses it."""
    maker = narrator.maker
    amount, currency = narrator.price()
    sent = maker.payout(narrator.clock(0), amount * 40, currency)
    yield narrator.tell("payout.created", sent, 0)
    if fails if fails is not None else maker.rng.random() < 0.05:
        why: Json = {"failure_code": "account_closed", "failure_message": "The bank account has been closed."}
        why["failure_balance_transaction"] = maker.new_id("balance_transaction")
        yield narrator.tell("payout.failed", sent, 2 * _DAY, status="failed", **why)
    else:
        yield narrator.tell("payout.paid", sent, 2 * _DAY, status="paid")


def transfer(narrator: Narrator, destination: str, is_reversed: bool | None = None) -> Iterator[Json]:
    """The platform's transfer to the connected account `destination`; `is_reversed` is drawn if not given."""
    maker = narrator.maker
    amount, currency = narrator.price()
    moved = maker.transfer(narrator.clock(0), amount, currency, destination)
    yield narrator.tell("transfer.created", moved, 0)
    if is_reversed if is_reversed is not None else maker.rng.random() < 0.1:
        at = narrator.clock(_DAY)
        back = maker.make("transfer_reversal", at, amount=amount, currency=currency, transfer=moved["id"])
        reversals = moved["reversals"] | {"data": [back]}
        whole: Json = {"amount_reversed": amount, "reversed": True, "reversals": reversals}
        yield narrator.tell("transfer.reversed", moved, _DAY, **whole)


def noise(narrator: Narrator) -> Iterator[Json]:
    """One change of no consequence: metadata of a customer, product or price, or a balance that became available."""
    maker = narrator.maker
    at = narrator.clock(0)
    kind = maker.rng.choice(("customer", "customer", "product", "price", "balance"))
    about = maker.make(kind, at)
    if kind == "balance":
        amount, currency = narrator.price()
        about["available"] = [{"amount": amount, "currency": currency, "source_types": {"card": amount}}]
        yield narrator.tell("balance.available", about, 0)
    else:
        about["metadata"] = {"synced": str(at - _DAY)}
        yield narrator.tell(f"{kind}.updated", about, 0, metadata={"synced": str(at)})


def meter_errors(narrator: Narrator) -> Iterator[Json]:
    """The thin event of a billing meter that received usage it could not count.

    Shape of `data`: https://docs.stripe.com/api/v2/core/events/event-types.
    """
    at = narrator.clock(0)
    meter = narrator.maker.make("billing.meter", at, status_transitions={"deactivated_at": None})
    url = f"/v1/billing/meters/{meter['id']}"
    thin = narrator.maker.thin_event("v1.billing.meter.error_report_triggered", meter, url, at, narrator.account)
    window = {"validation_start": thin["created"], "validation_end": thin["created"]}
    reason = {"error_count": 1, "error_types": [{"code": "meter_event_no_customer_defined", "error_count": 1}]}
    yield thin | {"data": {"developer_message_summary": "There is 1 invalid event", "reason": reason, **window}}


def _paid(narrator: Narrator, intent: Json, charge: Json, elapsed: int = 20) -> Iterator[Json]:
    yield narrator.tell("charge.succeeded", charge, elapsed)
    received: Json = {"amount_received": charge["amount"], "latest_charge": charge["id"], "next_action": None}
    yield narrator.tell("payment_intent.succeeded", intent, elapsed + 1, status="succeeded", **received)


def _refunded(narrator: Narrator, charge: Json) -> Iterator[Json]:
    maker, elapsed = narrator.maker, 2 * _DAY
    amount = charge["amount"] if maker.rng.random() < 0.7 else max(1, charge["amount"] // 2)
    refund = maker.refund(narrator.clock(elapsed), charge, amount)
    yield narrator.tell("refund.created", refund, elapsed)
    whole = amount == charge["amount"]
    yield narrator.tell("charge.refunded", charge, elapsed, amount_refunded=amount, refunded=whole)


def _disputed(narrator: Narrator, charge: Json) -> Iterator[Json]:
    maker, opened, ruled = narrator.maker, 6 * _DAY, 30 * _DAY
    at = narrator.clock(opened)
    warning = maker.make("radar.early_fraud_warning", at, charge=charge["id"], payment_intent=charge["payment_intent"])
    yield narrator.tell("radar.early_fraud_warning.created", warning, opened)
    dispute = maker.dispute(at, charge)
    yield narrator.tell("charge.dispute.created", dispute, opened)
    yield narrator.tell("charge.dispute.funds_withdrawn", dispute, opened)
    ruling = maker.rng.choice(("won", "lost"))
    yield narrator.tell("charge.dispute.closed", dispute, ruled, status=ruling)
    if ruling == "won":
        yield narrator.tell("charge.dispute.funds_reinstated", dispute, ruled)
