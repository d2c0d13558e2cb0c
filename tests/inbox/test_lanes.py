"""Which lane an event type goes to."""

import pytest

from holdfast.inbox import store
from holdfast.inbox.lanes import LaneTable
from holdfast.queue.model import Lane

pytestmark = pytest.mark.usefixtures("any_server")


def test_the_most_specific_pattern_wins():
    table = LaneTable({"*": Lane.BULK, "invoice.*": Lane.STANDARD, "invoice.paid": Lane.CRITICAL, "*.paid": Lane.BULK})
    assert table.lane("invoice.paid") is Lane.CRITICAL
    assert table.lane("invoice.voided") is Lane.STANDARD
    assert table.lane("customer.updated") is Lane.BULK


def test_a_type_without_a_rule_is_standard():
    assert LaneTable({}).lane("anything.new") is Lane.STANDARD


def test_a_thin_event_matters_as_much_as_its_snapshot():
    assert LaneTable({"charge.failed": Lane.CRITICAL}).lane("v1.charge.failed") is Lane.CRITICAL


def test_what_thin_events_have_of_their_own_can_have_a_rule():
    table = LaneTable(
        {"v2.core.*": Lane.BULK, "v1.charge.failed": Lane.BULK, "charge.*": Lane.CRITICAL, "*": Lane.CRITICAL}
    )
    assert table.lane("v2.core.account.updated") is Lane.BULK
    assert table.lane("v1.charge.failed") is Lane.BULK
    assert table.lane("v1.charge.succeeded") is Lane.CRITICAL


@pytest.mark.parametrize(
    ("event_type", "lane"),
    [
        ("payment_intent.succeeded", Lane.CRITICAL),
        ("payment_intent.created", Lane.STANDARD),
        ("charge.dispute.funds_withdrawn", Lane.CRITICAL),
        ("charge.updated", Lane.STANDARD),
        ("refund.updated", Lane.CRITICAL),
        ("checkout.session.async_payment_failed", Lane.CRITICAL),
        ("checkout.session.expired", Lane.STANDARD),
        ("radar.early_fraud_warning.created", Lane.CRITICAL),
        ("payout.paid", Lane.CRITICAL),
        ("payout.created", Lane.STANDARD),
        ("customer.updated", Lane.BULK),
        ("product.created", Lane.BULK),
        ("reporting.report_run.succeeded", Lane.BULK),
        ("balance.available", Lane.BULK),
    ],
)
async def test_the_defaults_put_money_first_and_metadata_last(pool, event_type, lane):
    assert LaneTable(await store.lane_rules(pool)).lane(event_type) is lane


async def test_the_table_can_be_edited(pool):
    await store.set_lane_rule(pool, "customer.subscription.*", Lane.CRITICAL)
    assert LaneTable(await store.lane_rules(pool)).lane("customer.subscription.deleted") is Lane.CRITICAL
    await store.set_lane_rule(pool, "customer.subscription.*", Lane.BULK)
    assert LaneTable(await store.lane_rules(pool)).lane("customer.subscription.deleted") is Lane.BULK
    assert await store.clear_lane_rule(pool, "customer.subscription.*")
    assert not await store.clear_lane_rule(pool, "customer.subscription.*")
