"""Whom an alert affects, found in the store as it opens; and an alert goes out whether or not that can be found."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast import detectors
from holdfast.delivery import store as deliveries
from holdfast.delivery.store import NewDelivery
from holdfast.inbox import store as inbox
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.queue.detectors import DeliverBacklog, RouteBacklog
from holdfast.queue.model import Lane
from holdfast.watch.model import Alert, Evidence
from tests.inbox.events import event, new
from tests.voice.calls import call, legs


def alert(key, runbook):
    now = datetime.now(UTC)
    return Alert(key, runbook, "cause", "warning", "title", "why", now, now)


@pytest.fixture
async def bakery(pool):
    return await merchants.insert(pool, NewMerchant("bakery", "The Bakery", None, "acct_1A"))


async def test_a_storm_names_the_merchants_whose_events_come_again(pool, bakery):
    ours, strange, own = event(account="acct_1A"), event(account="acct_9Z"), event(account=None)
    made = [new(one) for one in (ours, strange, own)]
    await inbox.append(pool, made, [Lane.CRITICAL] * 3, [bakery.id, 0, 0])
    now = datetime.now(UTC).timestamp()
    again = [("stripe", ours["id"], now)] * 5 + [("stripe", strange["id"], now)] * 2
    await inbox.count_duplicates(pool, [*again, ("stripe", own["id"], now)])
    assert await detectors.affected(pool, alert("stripe-retry-storm", "stripe-retry-storm")) == {
        "merchants": [
            {"merchant": "bakery", "duplicates": 5},
            {"merchant": "acct_9Z", "duplicates": 2},
            {"merchant": "the platform", "duplicates": 1},
        ]
    }


async def test_a_backlog_names_lanes_and_merchants_that_wait(pool, bakery):
    received = (datetime.now(UTC) - timedelta(minutes=5)).timestamp()
    await inbox.append(pool, [new(event(), received=received) for _ in range(3)], [Lane.BULK] * 3, [bakery.id] * 3)
    found = await detectors.affected(pool, alert(RouteBacklog.key, "webhook-backlog"))
    assert [(one["lane"], one["waiting"]) for one in found["lanes"]] == [("bulk", 3)]
    assert [(one["merchant"], one["waiting"]) for one in found["merchants"]] == [("bakery", 3)]
    assert found["merchants"][0]["oldest_s"] >= 295


async def test_a_delivery_backlog_names_destinations_too(pool, bakery):
    await deliveries.plan(pool, [NewDelivery(1, 7, bakery.id, Lane.CRITICAL)])
    found = await detectors.affected(pool, alert(DeliverBacklog.key, "webhook-backlog"))
    assert [(one["destination"], one["waiting"]) for one in found["destinations"]] == [(7, 1)]


async def test_a_slow_system_names_nobody(pool):
    assert await detectors.affected(pool, alert("performance-degradation/disk", "performance-degradation")) == {}


async def test_a_twilio_outage_names_merchants_that_lost_calls_and_what_is_ill(pool, bakery):
    now = datetime.now(UTC)
    lately = now - timedelta(minutes=2)
    for _ in range(3):
        await call(pool, "missed", merchant_id=bakery.id, at=lately)
    await call(pool, "failed", merchant_id=99, region="DE", at=lately)
    await call(pool, "person", merchant_id=98, at=lately)
    await legs(pool, "+14155550111", "FFFFF", at=lately)
    found = await detectors.affected(pool, alert("twilio-outage/targets", "twilio-outage"))
    assert found["merchants"] == [
        {"merchant": "bakery", "region": "US", "calls": 3, "unheard": 3, "failed_legs": 0},
        {"merchant": "unknown", "region": "DE", "calls": 1, "unheard": 1, "failed_legs": 0},
    ]
    assert found["targets"] == [{"target": "+14155550111", "tried": 5, "failed": 5, "at_least": 0.43}]
    assert "regions" not in found


async def test_trouble_with_consent_names_merchants_imports_and_forms_and_nobodys_number(pool, bakery):
    now = datetime.now(UTC)
    people = replace(
        alert("consent-complaint/x", "consent-complaint"), evidence=(Evidence("people who", 9, 5, "", ""),)
    )
    batch_id = await pool.fetchval(
        "INSERT INTO import_batch (merchant_id, file, sha256, state, actor, began_at) "
        "VALUES ($1, 'list.csv', '', 'applied', 'ann', $2) RETURNING id",
        bakery.id,
        now,
    )
    for key, found in (
        ("stop-rate:bakery", {"merchants": [{"merchant": "bakery", "people": 9}]}),
        (f"stop-rate:batch:{batch_id}", {"batches": [{"batch": batch_id, "merchant": "bakery", "people": 9}]}),
        ("stop-rate:form:bakery:a:b", {"forms": [{"form": "a:b", "merchant": "bakery", "people": 9}]}),
    ):
        assert await detectors.affected(pool, replace(people, key=f"consent-complaint/{key}")) == found


async def test_complaints_and_findings_name_their_merchants(pool, bakery):
    await pool.execute(
        "WITH person AS (INSERT INTO customer (phone, salt) VALUES ('+14155550111', '') RETURNING id), "
        "found AS (INSERT INTO audit_finding (kind, subject, merchant_id, customer_id, sent_at, found_at, said, "
        "is_critical) SELECT 'bypassed', 'SM1', $1, id, now(), now(), '', false FROM person) "
        "INSERT INTO complaint (customer_id, merchant_id, source, received_at, recorded_at, due_at, filed_by) "
        "SELECT id, $1, 'api', now(), now(), now(), 'ann' FROM person",
        bakery.id,
    )
    filed = await detectors.affected(pool, alert("consent-complaint/filed", "consent-complaint"))
    assert filed == {"merchants": [{"merchant": "bakery", "complaints": 1}]}
    found = await detectors.affected(pool, alert("consent-complaint/audit:bypassed", "consent-complaint"))
    assert found == {"merchants": [{"merchant": "bakery", "texts": 1, "people": 1}]}
