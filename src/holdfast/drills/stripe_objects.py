"""Stripe objects and event envelopes with real shapes: Stripe's own example objects, given fresh ids and values.

The examples are `stripe-fixtures3.json` of Stripe's OpenAPI repository (https://github.com/stripe/openapi, MIT). Times
are Unix seconds, amounts are in the smallest unit of the currency. Randomness comes in as a seeded `random.Random`,
so the same seed tells the same story.
"""

import random
import string
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

Json = dict[str, Any]

API_VERSION: Final = "2026-10-28.endive"

_ALNUM: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_TEMPLATE_NUMBER: Final = 100_000_000  # larger numbers in the examples are generated filler or frozen times

# What precedes the random part, and how long that part is, as seen in https://docs.stripe.com/api examples.
_ID_FORMS: Final[dict[str, tuple[str, int]]] = {
    "account": ("acct_1", 15),
    "balance_transaction": ("txn_1", 23),
    "billing.meter": ("mtr_test_61", 30),
    "charge": ("ch_3", 23),
    "checkout.session": ("cs_test_a1", 56),
    "customer": ("cus_", 14),
    "dispute": ("dp_1", 23),
    "event": ("evt_1", 23),
    "invoice": ("in_1", 23),
    "payment_intent": ("pi_3", 23),
    "payment_method": ("pm_1", 23),
    "payout": ("po_1", 23),
    "price": ("price_1", 23),
    "product": ("prod_", 14),
    "radar.early_fraud_warning": ("issfr_1", 23),
    "refund": ("re_3", 23),
    "request": ("req_", 14),
    "transfer": ("tr_3", 23),
    "transfer_reversal": ("trr_1", 23),
    "v2.core.event": ("evt_test_65", 27),
    "webhook_endpoint": ("we_1", 23),
}

# Optional parts that the examples fill only to show that they exist; a plain card payment leaves them empty.
_EMPTY_PARTS: Final[dict[str, Json]] = {
    "payment_intent": {"next_action": None, "processing": None, "transfer_data": None, "shipping": None},
    "charge": {"transfer_data": None, "shipping": None, "receipt_url": None},
    "checkout.session": {
        "after_expiration": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "currency_conversion": None,
        "invoice_creation": None,
        "saved_payment_method_options": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
    },
    "customer": {"discount": None, "shipping": None},
    "invoice": {
        "from_invoice": None,
        "parent": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
    },
    "payout": {"trace_id": None},
    "product": {"package_dimensions": None},
    "price": {"custom_unit_amount": None, "transform_quantity": None},
}


@cache
def _template(kind: str) -> bytes:
    """The cleaned example of `kind` as JSON; KeyError for a kind that Stripe has no example of."""
    example = _plain(_examples()[kind])
    if not isinstance(example, dict):
        raise TypeError(f"the example of {kind} is not an object")
    return msgspec.json.encode(example | _EMPTY_PARTS.get(kind, {}))


@cache
def _examples() -> Json:
    raw = files("holdfast.drills").joinpath("stripe-fixtures3.json").read_bytes()
    resources: Json = msgspec.json.decode(raw)["resources"]
    return resources


def _plain(value: Any) -> Any:
    """`value` without the filler of generated examples: invented ids, numbers and enumeration names."""
    if isinstance(value, dict):
        if value.get("id") == "obj_123" or value.get("type") in ("idempotency_error", "type"):
            return None
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, int) and value >= _TEMPLATE_NUMBER:
        return None
    return value


class ObjectMaker:
    """Makes objects and events of one Stripe mode.

    `rng` decides every random choice; `livemode` is stamped on everything. Times (`at`) are Unix seconds.
    """

    def __init__(self, rng: random.Random, *, livemode: bool = False, api_version: str = API_VERSION) -> None:
        self.rng = rng
        self.livemode = livemode
        self.api_version = api_version

    def new_id(self, kind: str) -> str:
        """A fresh id of an object kind (`"charge"` → `"ch_3…"`). KeyError for a kind without a known form."""
        start, length = _ID_FORMS[kind]
        if self.livemode:
            start = start.replace("_test_", "_live_") if kind == "checkout.session" else start.replace("_test_", "_")
        return start + "".join(self.rng.choices(_ALNUM, k=length))

    def make(self, kind: str, at: int, **fields: Any) -> Json:
        """A `kind` created at `at`, with a fresh id and `fields` on top of Stripe's example."""
        made: Json = msgspec.json.decode(_template(kind))
        for stamped, value in (("created", at), ("livemode", self.livemode)):
            if stamped in made:
                made[stamped] = value
        if "id" in made and "id" not in fields:
            made["id"] = self.new_id(kind)
        made.update(fields)
        return made

    def payment_intent(self, at: int, amount: int, currency: str, customer: str | None) -> Json:
        made = self.make("payment_intent", at, amount=amount, currency=currency, customer=customer)
        made["client_secret"] = f"{made['id']}_secret_{''.join(self.rng.choices(_ALNUM, k=25))}"
        return made

    def charge(self, at: int, payment_intent: Json) -> Json:
        """A captured charge of a payment intent: same amount, currency and customer."""
        amount = payment_intent["amount"]
        charge_id = self.new_id("charge")
        made = self.make(
            "charge",
            at,
            id=charge_id,
            amount=amount,
            amount_captured=amount,
            captured=True,
            currency=payment_intent["currency"],
            customer=payment_intent["customer"],
            payment_intent=payment_intent["id"],
            payment_method=payment_intent["payment_method"],
            balance_transaction=self.new_id("balance_transaction"),
            description=payment_intent["description"],
            outcome=_outcome("approved_by_network", None, "Payment complete.", "authorized"),
        )
        made["refunds"]["url"] = f"/v1/charges/{charge_id}/refunds"
        return made

    def failed_charge(self, at: int, payment_intent: Json, decline_code: str) -> Json:
        """A charge that the issuer declined; `decline_code` as in https://docs.stripe.com/declines/codes."""
        made = self.charge(at, payment_intent)
        made.update(
            amount_captured=0,
            captured=False,
            paid=False,
            status="failed",
            balance_transaction=None,
            failure_code="card_declined",
            failure_message="Your card was declined.",
            outcome=_outcome("declined_by_network", decline_code, "The bank declined the payment.", "issuer_declined"),
        )
        return made

    def refund(self, at: int, charge: Json, amount: int) -> Json:
        return self.make("refund", at, amount=amount, **_links(charge), reason="requested_by_customer")

    def dispute(self, at: int, charge: Json) -> Json:
        """A formal dispute of the whole charge, evidence due in a week."""
        made = self.make("dispute", at, amount=charge["amount"], **_links(charge))
        made.update(reason="fraudulent", status="needs_response", is_charge_refundable=False)
        made["evidence_details"]["due_by"] = at + 7 * 86_400
        return made

    def checkout_session(self, at: int, amount: int, currency: str) -> Json:
        session_id = self.new_id("checkout.session")
        return self.make(
            "checkout.session",
            at,
            id=session_id,
            amount_subtotal=amount,
            amount_total=amount,
            currency=currency,
            expires_at=at + 86_400,
            payment_intent=None,
            url=f"https://checkout.stripe.com/c/pay/{session_id}",
        )

    def invoice(self, at: int, amount: int, currency: str, customer: str) -> Json:
        """A draft invoice with one line."""
        invoice_id = self.new_id("invoice")
        totals = (
            "amount_due",
            "amount_remaining",
            "subtotal",
            "subtotal_excluding_tax",
            "total",
            "total_excluding_tax",
        )
        fields: Json = dict.fromkeys(totals, amount) | {"currency": currency, "customer": customer}
        made = self.make("invoice", at, id=invoice_id, period_start=at, period_end=at, **fields)
        made["lines"]["url"] = f"/v1/invoices/{invoice_id}/lines"
        for line in made["lines"]["data"]:
            line.update(amount=amount, subtotal=amount, currency=currency, invoice=invoice_id, parent=None)
        return made

    def payout(self, at: int, amount: int, currency: str) -> Json:
        return self.make(
            "payout",
            at,
            amount=amount,
            currency=currency,
            arrival_date=at + 2 * 86_400,
            balance_transaction=self.new_id("balance_transaction"),
            status="pending",
        )

    def transfer(self, at: int, amount: int, currency: str, destination: str) -> Json:
        """A transfer of the platform's money to the connected account `destination`."""
        made = self.make("transfer", at, amount=amount, currency=currency, destination=destination)
        made["balance_transaction"] = self.new_id("balance_transaction")
        made["reversals"]["url"] = f"/v1/transfers/{made['id']}/reversals"
        return made

    def account(self, at: int, account_id: str) -> Json:
        """An account that is fully set up: charges and payouts enabled, nothing due."""
        made = self.make(
            "account", at, id=account_id, charges_enabled=True, payouts_enabled=True, details_submitted=True
        )
        made["requirements"].update(currently_due=[], eventually_due=[], disabled_reason=None)
        made["external_accounts"]["url"] = f"/v1/accounts/{account_id}/external_accounts"
        return made

    def event(self, event_type: str, about: Json, at: int, account: str | None, previous: Json | None = None) -> Json:
        """The snapshot event of `about` as it is now; later changes of `about` do not reach it.

        `previous` holds the old values of what changed (`data.previous_attributes`); `account` is set for Connect
        events only. Shape: https://docs.stripe.com/api/events/object.
        """
        data: Json = {"object": _snapshot(about)}
        if previous is not None:
            data["previous_attributes"] = previous
        event: Json = {"id": self.new_id("event"), "object": "event"}
        if account is not None:
            event["account"] = account
        return event | {
            "api_version": self.api_version,
            "created": at,
            "data": data,
            "livemode": self.livemode,
            "pending_webhooks": 0,
            "request": {"id": self.new_id("request"), "idempotency_key": self._idempotency_key()},
            "type": event_type,
        }

    def thin_event(self, event_type: str, about: Json, url: str, at: int, account: str | None) -> Json:
        """A v2 event about `about`, which is found at the API path `url`: no snapshot, an RFC 3339 time.

        Shape: https://docs.stripe.com/api/v2/core/events/object.
        """
        created = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            "id": self.new_id("v2.core.event"),
            "object": "v2.core.event",
            "context": account,
            "created": created,
            "livemode": self.livemode,
            "reason": None,
            "related_object": {"id": about["id"], "type": about["object"], "url": url},
            "type": event_type,
        }

    def thin_twin(self, event: Json) -> Json:
        """The thin event that Stripe sends, to destinations that ask for it, beside the snapshot event `event`.

        KeyError for an event about an object without an id, such as a balance.
        """
        about = event["data"]["object"]
        url = f"/v1/{resource_path(about['object'])}/{about['id']}"
        twin = self.thin_event(f"v1.{event['type']}", about, url, event["created"], event.get("account"))
        return twin | {"snapshot_event": event["id"]}

    def _idempotency_key(self) -> str:
        digits = f"{self.rng.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def resource_path(kind: str) -> str:
    """Where the API keeps objects of a kind, after the version: `"checkout.session"` → `"checkout/sessions"`."""
    return kind.replace(".", "/") + "s"


def _snapshot(value: Json) -> Json:
    copied: Json = msgspec.json.decode(msgspec.json.encode(value))
    return copied


def _links(charge: Json) -> Json:
    return {"charge": charge["id"], "currency": charge["currency"], "payment_intent": charge["payment_intent"]}


def _outcome(network_status: str, reason: str | None, seller_message: str, outcome_type: str) -> Json:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": network_status,
        "reason": reason,
        "risk_level": "normal",
        "seller_message": seller_message,
        "type": outcome_type,
    }
