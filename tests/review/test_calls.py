"""What an outage did to calls is in its review."""

from datetime import timedelta

import pytest

from holdfast.incidents import store as incidents
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.review.blocks import Paragraph, Table
from holdfast.review.call_impact import call_summary, of_calls
from holdfast.review.figures import impact
from holdfast.review.model import CallImpact
from tests.comms.incidents import NOON, opened
from tests.voice import calls as kept

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def outage(pool):
    made = await opened(pool, "twilio-outage", now=NOON)
    await incidents.set_state(pool, made.id, "resolved", NOON + 60 * MINUTE)
    found = await incidents.get(pool, made.id)
    assert found is not None
    return found


async def test_calls_of_the_outages_time_are_counted_by_merchant(pool, outage):
    bakery = (await merchants.insert(pool, NewMerchant("bakery", "Bakery", None, None))).id
    quiet = (await merchants.insert(pool, NewMerchant("quiet", "Quiet", None, None))).id
    for became in ("failed", "missed", "person"):
        await kept.call(pool, became, merchant_id=bakery, at=NOON + 5 * MINUTE)
    await kept.call(pool, "person", merchant_id=quiet, at=NOON + 5 * MINUTE)
    await kept.call(pool, "failed", merchant_id=quiet, at=NOON - 5 * MINUTE)
    found = (await impact(pool, outage, NOON + 90 * MINUTE)).calls
    assert found is not None
    assert (found.calls, found.answered, found.failed, found.missed, found.merchants_affected) == (4, 2, 1, 1, 1)
    assert [(one.merchant, one.calls) for one in found.merchants] == [("bakery", 3)]
    words, table, _ = of_calls(found)
    assert isinstance(words, Paragraph)
    assert "1 merchant was affected" in words.text
    assert isinstance(table, Table)
    assert table.rows[0][:4] == ("bakery", "Bakery", "3", "1")


async def test_another_incident_has_no_calls_in_its_review(pool):
    made = await opened(pool, "webhook-backlog", now=NOON)
    assert (await impact(pool, made, NOON + 90 * MINUTE)).calls is None
    assert list(of_calls(None)) == []


def test_an_outage_without_calls_says_so():
    assert call_summary(CallImpact(0, 0, 0, 0, 0, 0)) == "No call came meanwhile."
