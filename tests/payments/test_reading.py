"""Reading payment objects: Stripe's own examples, and what is not as it should be."""

import json
import random
from datetime import UTC, datetime

import msgspec
import pytest

from holdfast.drills.stripe_objects import ObjectMaker, _examples
from holdfast.payments.model import KINDS, Fact
from holdfast.payments.reading import UnreadableError, concerns_payments, read_event, read_object

AT = datetime(2026, 11, 24, tzinfo=UTC)


def event(about: object) -> bytes:
    return json.dumps({"id": "evt_1", "data": {"object": about}}).encode()


def read(**about: object) -> Fact:
    found = read_any(**about)
    assert found is not None
    return found


def read_any(**about: object) -> Fact | None:
    whole = {"object": "charge", "id": "ch_1", "created": 1_800_000_000, "currency": "usd", "amount": 100} | about
    return read_event(event(whole), "evt_1", AT)


@pytest.mark.parametrize("kind", KINDS)
def test_stripes_own_example_of_every_kind_can_be_read(kind):
    for about in (_examples()[kind], ObjectMaker(random.Random(1)).make(kind, 1_800_000_000)):
        fact = read_event(event(about), "evt_1", AT)
        assert fact is not None
        assert (fact.id, fact.kind, fact.event_id, fact.at) == (about["id"], kind, "evt_1", AT)
        assert fact.state.status != "unknown"
        assert read_object(json.dumps(about).encode(), "evt_1", AT) == fact


def test_the_examples_of_other_objects_are_none_of_the_ledgers():
    for about in _examples().values():
        if about["object"] not in KINDS:
            assert read_event(event(about), "evt_1", AT) is None


@pytest.mark.parametrize(
    ("event_type", "concerned"),
    [
        ("charge.succeeded", True),
        ("charge.dispute.closed", True),
        ("v1.charge.succeeded", True),
        ("checkout.session.completed", True),
        ("invoice.paid", True),
        ("transfer.reversed", True),
        ("customer.updated", False),
        ("invoiceitem.created", False),
        ("invoice_payment.paid", False),
        ("issuing_dispute.closed", False),
        ("v1.billing.meter.error_report_triggered", False),
    ],
)
def test_which_types_are_about_payments(event_type, concerned):
    assert concerns_payments(event_type) is concerned


def test_what_is_linked_may_be_an_id_or_an_expanded_object():
    assert read(payment_intent="pi_1").state.belongs_to == "pi_1"
    assert read(payment_intent={"id": "pi_1", "object": "payment_intent"}).state.belongs_to == "pi_1"
    assert read(payment_intent=None).state.belongs_to is None


def test_an_amount_may_be_missing_or_below_zero():
    assert read(amount=None).state.amount is None
    assert read(object="invoice", total=-500, amount_paid=0).state.amount == -500
    assert read(object="refund", amount=-5, status="succeeded").rank >= 0


def test_an_object_without_its_time_counts_as_made_with_the_event():
    assert read(created=None).created_at == AT


def test_an_upcoming_invoice_is_no_payment():
    assert read_any(object="invoice", id=None) is None


def test_a_destination_charge_names_its_owner():
    assert read(transfer_data={"destination": "acct_1B"}).owner == "acct_1B"
    assert read(on_behalf_of="acct_1C").owner == "acct_1C"
    assert read(object="transfer", destination="acct_1D").owner == "acct_1D"
    assert read().owner is None


def test_what_never_names_an_owner_says_what_may():
    assert read(object="refund", charge="ch_1", payment_intent="pi_1").parents == ("ch_1", "pi_1")
    assert read(object="dispute", charge={"id": "ch_1"}, payment_intent=None).parents == ("ch_1",)
    assert read(object="checkout.session", payment_intent=None, invoice="in_1").parents == ("in_1",)
    assert read(object="charge", payment_intent="pi_1").parents == ()


def test_an_invoice_its_intent_and_its_session_are_linked_in_every_api_version():
    paid = {"status": "paid", "payment": {"type": "payment_intent", "payment_intent": "pi_2"}}
    tried = {"status": "open", "payment": {"type": "payment_intent", "payment_intent": {"id": "pi_1"}}}
    for about, parent in (
        ({"object": "invoice", "payment_intent": "pi_1"}, "pi_1"),
        ({"object": "invoice", "payments": {"object": "list", "data": [tried]}}, "pi_1"),
        ({"object": "invoice", "payments": {"object": "list", "data": [tried, paid]}}, "pi_2"),
        ({"object": "invoice", "payments": {"data": [{"payment": {"type": "charge", "charge": "ch_1"}}]}}, None),
        ({"object": "invoice", "payments": {"data": [None, {"payment": "?"}]}}, None),
        ({"object": "invoice", "payments": None}, None),
        ({"object": "payment_intent", "invoice": "in_1"}, "in_1"),
        ({"object": "payment_intent"}, None),
        ({"object": "checkout.session", "payment_intent": None, "invoice": "in_1"}, "in_1"),
        ({"object": "checkout.session", "payment_intent": "pi_1", "invoice": "in_1"}, "pi_1"),
    ):
        assert read(**about).state.belongs_to == parent


def test_a_status_we_have_never_heard_of_is_kept():
    assert read(status="half_succeeded").state.status == "half_succeeded"


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": "100"},
        {"amount": 100.5},
        {"amount": 1e2},
        {"amount": True},
        {"amount": 2**70},
        {"created": "today"},
        {"created": 10**18},
        {"currency": "x" * 300},
        {"status": "\0"},
        {"id": "ch_" + "x" * 300},
    ],
)
def test_an_object_of_another_form_is_unreadable_and_says_why(wrong):
    with pytest.raises(UnreadableError, match=r".{5}"):
        read(**wrong)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"data": 5}', b'{"data": {"object": []}}', b"{}", b"\xff"])
def test_a_body_without_an_object_is_unreadable(body):
    with pytest.raises(UnreadableError):
        read_event(body, "evt_1", AT)


def test_a_failed_try_counts_as_further_than_an_authentication():
    def rank(**about):
        return read(object="payment_intent", id="pi_1", **about).rank

    error = {"code": "card_declined"}
    ways = [
        rank(status="requires_payment_method"),
        rank(status="requires_action"),
        rank(status="requires_payment_method", last_payment_error=error),
        rank(status="succeeded", amount_received=100),
    ]
    assert ways == sorted(ways)
    assert len(set(ways)) == 4
    assert msgspec.json.encode(max(ways)), "fits a bigint"
    assert max(ways) < 2**63
