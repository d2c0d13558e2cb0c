"""Stories are coherent: the SDK reads them, ids link up, time only goes forward, and a seed repeats them."""

import itertools
import random
import re
from collections.abc import Callable, Iterator

import pytest
import stripe

from holdfast.drills import stripe_stories as stories
from holdfast.drills.stripe_objects import Json, ObjectMaker
from holdfast.drills.stripe_stories import Narrator, from_start
from holdfast.drills.stripe_traffic import Mix, Traffic

START = 1_800_000_000
MERCHANT = "acct_1MerchantAAAAAAA"
TELL: dict[str, Callable[[Narrator], Iterator[Json]]] = {
    "payment": stories.payment,
    "failed payment": stories.failed_payment,
    "checkout": stories.checkout,
    "invoice": stories.invoice,
    "payout": stories.payout,
    "transfer": lambda narrator: stories.transfer(narrator, MERCHANT),
    "noise": stories.noise,
}


def narrator(seed: int = 1, account: str | None = MERCHANT) -> Narrator:
    return Narrator(ObjectMaker(random.Random(seed)), from_start(START), account)


def types(events: list[Json]) -> list[str]:
    return [event["type"] for event in events]


@pytest.mark.parametrize("story", TELL)
def test_every_event_of_a_story_has_the_form_of_stripe(story):
    for seed in range(20):
        events = list(TELL[story](narrator(seed)))
        assert events
        for event in events:
            read = stripe.Event.construct_from(event, "key")
            assert re.fullmatch(r"evt_[A-Za-z0-9]{24}", read.id)
            assert read.data.object["object"] == event["data"]["object"]["object"]
            assert list(event) == [
                *("id", "object", "account", "api_version", "created", "data", "livemode", "pending_webhooks"),
                *("request", "type"),
            ]
            assert ("previous_attributes" in event["data"]) == event["type"].endswith("updated")
        created = [event["created"] for event in events]
        assert created == sorted(created)


@pytest.mark.parametrize("story", TELL)
def test_the_same_seed_tells_the_same_story(story):
    assert list(TELL[story](narrator(7))) == list(TELL[story](narrator(7)))
    assert list(TELL[story](narrator(7))) != list(TELL[story](narrator(8)))


def test_a_refunded_payment_links_its_intent_charge_and_refund():
    events = {event["type"]: event["data"]["object"] for event in stories.payment(narrator(), "refunded")}
    intent, charge, refund = (
        events[event_type] for event_type in ("payment_intent.succeeded", "charge.refunded", "refund.created")
    )
    assert charge["payment_intent"] == refund["payment_intent"] == intent["id"]
    assert intent["latest_charge"] == refund["charge"] == charge["id"]
    assert intent["amount"] == intent["amount_received"] == charge["amount"]
    assert charge["amount_refunded"] == refund["amount"] <= charge["amount"]
    assert events["charge.succeeded"]["amount_refunded"] == 0, "earlier snapshots stay as they were"
    assert (intent["id"][:3], charge["id"][:3], refund["id"][:3]) == ("pi_", "ch_", "re_")


def test_a_disputed_payment_ends_with_a_ruling():
    told = list(stories.payment(narrator(), "disputed"))
    events = {event["type"]: event["data"]["object"] for event in told}
    dispute = events["charge.dispute.closed"]
    assert dispute["id"].startswith("dp_")
    assert dispute["charge"] == events["charge.succeeded"]["id"]
    assert ("charge.dispute.funds_reinstated" in events) == (dispute["status"] == "won")
    assert told[-1]["created"] - told[0]["created"] > 20 * 86_400


def test_a_declined_payment_may_recover():
    lost = list(stories.failed_payment(narrator(), recovers=False))
    assert types(lost) == ["payment_intent.created", "charge.failed", "payment_intent.payment_failed"]
    assert lost[-1]["data"]["object"]["last_payment_error"]["code"] == "card_declined"
    won = list(stories.failed_payment(narrator(), recovers=True))
    assert types(won)[3:] == ["charge.succeeded", "payment_intent.succeeded"]
    assert won[-1]["data"]["object"]["last_payment_error"] is None


def test_an_invoice_is_paid_at_the_second_try():
    events = list(stories.invoice(narrator(), fails_first=True))
    assert types(events) == [
        *("invoice.created", "invoice.finalized", "invoice.payment_failed", "invoice.paid"),
        "invoice.payment_succeeded",
    ]
    bill = events[-1]["data"]["object"]
    assert (bill["status"], bill["attempt_count"], bill["amount_remaining"]) == ("paid", 2, 0)
    assert events[0]["data"]["object"]["status"] == "draft"


def test_payouts_fail_and_transfers_are_reversed_on_demand():
    assert types(list(stories.payout(narrator(), fails=True))) == ["payout.created", "payout.failed"]
    assert types(list(stories.payout(narrator(), fails=False))) == ["payout.created", "payout.paid"]
    reversed_events = list(stories.transfer(narrator(account=None), MERCHANT, is_reversed=True))
    assert types(reversed_events) == ["transfer.created", "transfer.reversed"]
    assert reversed_events[0]["data"]["object"]["destination"] == MERCHANT
    assert "account" not in reversed_events[0]


def test_a_completed_checkout_is_paid_by_its_intent():
    events = list(stories.checkout(narrator()))
    session = events[-1]["data"]["object"]
    assert session["id"].startswith("cs_test_")
    assert (session["status"], session["payment_status"]) == ("complete", "paid")
    assert session["payment_intent"] == events[0]["data"]["object"]["id"]


def test_a_thin_event_carries_no_snapshot():
    event = list(stories.payment(narrator(), "kept"))[-1]
    thin = ObjectMaker(random.Random(2)).thin_twin(event)
    assert thin["type"] == "v1.payment_intent.succeeded"
    assert thin["context"] == MERCHANT
    assert thin["related_object"]["url"] == f"/v1/payment_intents/{event['data']['object']['id']}"
    assert re.fullmatch(r"2027-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", thin["created"])
    assert "data" not in thin


def test_live_mode_marks_everything_live():
    maker = ObjectMaker(random.Random(1), livemode=True)
    events = list(stories.checkout(Narrator(maker, from_start(START))))
    assert all(event["livemode"] and event["data"]["object"]["livemode"] for event in events)
    assert events[-1]["data"]["object"]["id"].startswith("cs_live_")


def test_traffic_mixes_stories_of_all_accounts():
    traffic = Traffic(ObjectMaker(random.Random(1)), from_start(START), ["acct_1A", "acct_1B"])
    events = list(itertools.islice(traffic, 2_000))
    assert len({event["id"] for event in events}) == 2_000
    assert {event.get("account") for event in events} == {"acct_1A", "acct_1B", None}
    assert {event["type"] for event in events if "account" not in event} <= {"transfer.created", "transfer.reversed"}
    families = {event["type"].split(".")[0] for event in events}
    assert {"payment_intent", "charge", "checkout", "invoice", "payout", "customer"} <= families


def test_a_mix_chooses_what_is_played():
    only = Mix(payment=0, failed_payment=0, checkout=0, invoice=0, payout=1, transfer=0, noise=0)
    traffic = Traffic(ObjectMaker(random.Random(1)), from_start(START), mix=only)
    assert {event["type"].split(".")[0] for event in itertools.islice(traffic, 50)} == {"payout"}
    with pytest.raises(ValueError, match="weights"):
        Traffic(ObjectMaker(random.Random(1)), from_start(START), mix=Mix(0, 0, 0, 0, 0, 0, 0))
